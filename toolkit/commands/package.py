"""Write a folder that an application is built from, of a bundle: C sources with a check of golden samples, and build files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import Call, Parser

if TYPE_CHECKING:
    from tiedae.export.c.codec_source import Promise


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    text = "c: C99 sources with a check, for CMake, Arduino and Zephyr; web: a page that runs the model, and an npm package; "
    text += "npm: the package alone; "
    text += "android: a library module; ios: a Swift package"
    parser.add_value("--for", "KIND", text, required=True)
    text = "of kernels: dense (default), or sparse, which leaves zeros out"
    parser.add_value("--storage", "NAME", text, default="dense")
    text = "what the sources compute, such as encode or encode,decode (default: all)"
    parser.add_value("--signatures", "LIST", text)
    parser.add_value(
        "--files", "LIST", "kinds of .tae files: lossy, bounded, lossless (default: for web and npm lossy, else all)"
    )
    text = "of --for web: the page shows the first 64 samples of a file, folder or known name (default: golden samples)"
    parser.add_value("--samples", "DATA", text)
    parser.add_json("files, bytes and memory")
    parser.add_new_folder("the new folder")


def run(call: Call) -> None:
    from tiedae.compress.errors import InputError

    from ..app_folders import APPS, AppOptions, package_app

    kind = getattr(call, "for")
    if kind not in APPS:
        raise InputError(f"--for {kind}: must be one of {', '.join(APPS)}")
    if call.samples is not None and kind != "web":
        raise InputError(f"--samples {call.samples}: must be left out for --for {kind}, only the page of web shows samples")
    given = {"storage": call.storage, "files": _listed_files(call), "samples": call.samples}
    if call.signatures is not None:
        given["signatures"] = call.signatures.split(",")
    made = package_app(call.bundle, call.out, kind, AppOptions(**given), replace=call.force)
    rows = [(path, f"{size:,}") for path, size in made.files.items()]
    call.console.table(f"{made.name}: {APPS[kind].summary}", ("file", "bytes"), rows)
    if made.memory:
        call.console.table("memory", ("what", "size"), made.memory)
    if made.adds:
        call.console.table("adds to an application", ("what", "bytes"), made.adds)
    call.console.say(f"folder: {call.out}")
    call.write(made)
    if kind == "web":
        call.console.say(f"to see it: python -m http.server --directory {call.out}")


def _listed_files(call: Call) -> list[Promise] | None:
    """The kinds of --files; InputError for another one."""
    from tiedae.compress.errors import InputError
    from tiedae.export.c.codec_source import PROMISES

    if call.files is None:
        return None
    listed = call.files.split(",")
    if not set(listed) <= set(PROMISES):
        raise InputError(f"--files {call.files}: must be some of {', '.join(PROMISES)}")
    return [kind for kind in PROMISES if kind in listed]
