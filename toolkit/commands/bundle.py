"""Write a folder that an application is built from, of a bundle: C sources with a check of golden samples, and build files."""

from .command import Call, Parser

FAILS = ""


def add_arguments(parser: Parser) -> None:
    parser.add_path("bundle", "BUNDLE", "or OUT of a run; it stays as it is")
    text = "c: C99 sources with a check, for CMake, Arduino and Zephyr; android: a library module; ios: a Swift package"
    parser.add_value("--for", "TARGET", text, required=True)
    text = "of kernels: dense (default), or sparse, which leaves zeros out"
    parser.add_value("--storage", "NAME", text, default="dense")
    text = "what the sources compute, such as encode or encode,decode (default: all)"
    parser.add_value("--signatures", "LIST", text)
    parser.add_json("files, bytes and memory")
    parser.add_new_folder("the new folder")


def run(call: Call) -> None:
    from tiedae.compress.errors import InputError

    from ..apps import APPS, AppOptions, bundle_app

    target = getattr(call, "for")
    if target not in APPS:
        raise InputError(f"--for {target}: must be one of {', '.join(APPS)}")
    given = {"storage": call.storage}
    if call.signatures is not None:
        given["signatures"] = call.signatures.split(",")
    made = bundle_app(call.bundle, call.out, target, AppOptions(**given), replace=call.force)
    rows = [(path, f"{size:,}") for path, size in made.files.items()]
    call.console.table(f"{made.name}: {APPS[target].summary}", ("file", "bytes"), rows)
    if made.memory:
        call.console.table("memory", ("what", "size"), made.memory)
    if made.adds:
        call.console.table("adds to an application", ("what", "bytes"), made.adds)
    call.console.say(f"folder: {call.out}")
    call.write(made)
