"""Show constants, duplicates, operations and bytes of a .tflite or .onnx file."""

from .command import Call, Parser

FAILS = "with --fail-on-copies, a constant is stored more than once"


def add_arguments(parser: Parser) -> None:
    parser.add_path("files", "FILE", nargs="+")
    parser.add_json("what was found (one object, of several files a list)")
    parser.add_flag("--fail-on-copies", "exit 1 where a constant is stored more than once, near duplicates included")


def run(call: Call) -> None:
    from tiedae.compress.errors import CheckError
    from tiedae.export.inspection import inspect_file, render

    found = {path: inspect_file(path) for path in call.files}
    rows = list(found.values())
    call.console.say("\n\n".join(map(render, rows)))
    call.write(rows if len(rows) > 1 else rows[0])
    copies = {path: len(row["copies"]) for path, row in found.items() if row["copies"]}
    if call.fail_on_copies and copies:
        raise CheckError(
            "; ".join(f"{path}: {count} of its constants are duplicates of others" for path, count in copies.items())
        )
