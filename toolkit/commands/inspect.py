"""Show constants, duplicates, operations and bytes of a .tflite or .onnx file."""

from .command import Call, Parser, as_json


def add_arguments(parser: Parser) -> None:
    parser.add_path("files", "FILE", nargs="+")
    parser.add_flag("--json", "as JSON: one object, of several files a list")
    parser.add_flag("--fail-on-copies", "exit 1 where a constant is stored more than once, near duplicates included")


def run(call: Call) -> None:
    from tiedae.compress.errors import CheckError
    from tiedae.export.inspection import inspect_file, render

    found = {path: inspect_file(path) for path in call.files}
    rows = list(found.values())
    text = as_json(rows if len(rows) > 1 else rows[0], ascii=True) if call.json else "\n\n".join(map(render, rows))
    call.console.say(text)
    copies = {path: len(row["copies"]) for path, row in found.items() if row["copies"]}
    if call.fail_on_copies and copies:
        raise CheckError(
            "; ".join(f"{path}: {count} of its constants are duplicates of others" for path, count in copies.items())
        )
