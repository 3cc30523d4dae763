"""Write a folder that an application is built from, of a bundle: C sources with a check of golden samples, and build files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .command import Call, Parser

if TYPE_CHECKING:
    from tiedae.apps.c.core import Core
    from tiedae.export.c.codec_source import Promise

FAILS = "the core has less flash or RAM than is needed (nothing is written)"


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    text = "c: C99 sources with a check, for CMake, Arduino and Zephyr; web: a page that runs the model, and an npm package; "
    text += "npm: the package alone; "
    text += "android: a library module; ios: a Swift package"
    parser.add_value("--for", "KIND", text, required=True)
    text = "of kernels: dense (default), or sparse, which leaves zeros out"
    parser.add_value("--storage", "NAME", text, default="dense")
    text = "what the sources compute: encode, decode, reconstruct, score (default: all)"
    parser.add_value("--signatures", "LIST", text)
    text = "kinds of .tae files: lossy, bounded, lossless, or none (default: for web and npm lossy, else all)"
    parser.add_value("--files", "LIST", text)
    text = "C compiler of a core, with its flags, whose flash and RAM are stated (default: that of this machine)"
    parser.add_value("--cc", "COMMAND", text)
    parser.add_value("--flash", "SIZE", "flash that the core of --cc has: 262144, 256K or 1M")
    parser.add_value("--ram", "SIZE", "RAM that it has")
    text = "of --for web: the page shows the first 64 samples of a file, folder or known name (default: golden samples)"
    parser.add_value("--samples", "DATA", text)
    parser.add_json("files, bytes and memory")
    parser.add_new_folder("the new folder")


def run(call: Call) -> None:
    from tiedae.base.errors import InputError

    from ..app_folders import APPS, AppOptions, package_app

    kind = getattr(call, "for")
    if kind not in APPS:
        raise InputError(f"--for {kind}: must be one of {', '.join(APPS)}")
    if call.samples is not None and kind != "web":
        raise InputError(f"--samples {call.samples}: must be left out for --for {kind}, only the page of web shows samples")
    given = {"storage": call.storage, "files": _listed_files(call), "core": _core(call), "samples": call.samples}
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
    from tiedae.base.errors import InputError
    from tiedae.export.c.codec_source import PROMISES

    if call.files is None:
        return None
    if call.files == "none":
        return []
    listed = call.files.split(",")
    if not set(listed) <= set(PROMISES):
        raise InputError(f"--files {call.files}: must be some of {', '.join(PROMISES)}, or none")
    return [kind for kind in PROMISES if kind in listed]


def _core(call: Call) -> Core | None:
    """The core of --cc; InputError for a compiler that does not compile, and for memory without one."""
    from tiedae.apps.c.core import Core
    from tiedae.base.errors import InputError

    memory = {name: _memory(name, text) for name in ("flash", "ram") if (text := getattr(call, name)) is not None}
    if call.cc is None and memory:
        raise InputError(f"--{next(iter(memory))}: needs --cc, the C compiler of the core")
    return None if call.cc is None else Core.of(call.cc, **memory)


def _memory(option: str, text: str) -> int:
    """Bytes; InputError for another text."""
    from tiedae.base.errors import InputError

    found = re.fullmatch(r"([1-9][0-9]{0,11})([KM]?)", text)
    if found is None:
        raise InputError(f"--{option}: got {text!r}, must be bytes, such as 262144, 256K or 1M")
    return int(found[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20}[found[2]]
