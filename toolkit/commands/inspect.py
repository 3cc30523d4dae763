"""Show constants, duplicates, operations and bytes of a .tflite or .onnx file, or of each file of a bundle."""

from pathlib import Path

from .command import Call, Parser

FAILS = "with --fail-on-copies, a constant is stored more than once"


def add_arguments(parser: Parser) -> None:
    parser.add_path("files", "FILE", "a model file, a bundle or OUT of a run", nargs="+")
    parser.add_value("--min-bytes", "N", "leave out duplicates of fewer bytes (default: 64)", type=int)
    parser.add_json("what was found (one object, of several files a list)")
    parser.add_flag("--fail-on-copies", "exit 1 where a constant is stored more than once, near duplicates included")


def run(call: Call) -> None:
    from tiedae.compress.errors import CheckError, FormatError
    from tiedae.dedupe.inspection import inspect_file
    from tiedae.export.duplicates import MINIMUM
    from tiedae.report.inspection import render

    rows, damaged, copied = [], [], []
    minimum = MINIMUM if call.min_bytes is None else call.min_bytes
    for i, path in enumerate(file for given in call.files for file in _files(given)):
        try:
            row = inspect_file(path, minimum=minimum)
        except FormatError as error:
            damaged.append(str(error))
            rows.append({"file": path.name, "error": str(error)})
            continue
        rows.append(row)
        call.console.say("\n" * (i > 0) + render(row))
        if row["copies"]:
            copied.append(f"{path}: {len(row['copies'])} of its constants are duplicates of others")
    call.write(rows if len(rows) > 1 else rows[0])
    if damaged:
        raise FormatError("; ".join(damaged))
    if call.fail_on_copies and copied:
        raise CheckError("; ".join(copied))


def _files(path: Path) -> list[Path]:
    """The file itself, or the model files of a bundle or of OUT of a run."""
    if not path.is_dir():
        return [path]
    from tiedae.codec.opening import bundle_of

    bundle = bundle_of(path)
    return [bundle.path / name for name in bundle.models]
