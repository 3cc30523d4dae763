"""Show constants, duplicates, operations and bytes of a model file, or of each of a bundle; of a trained model what is tied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .command import Call, Parser

FAILS = (
    "with --fail-on-copies, a constant is stored more than once; with --fail-on-untied, mirrored kernels are not one variable"
)


def add_arguments(parser: Parser) -> None:
    parser.add_path("files", "FILE", "a model file or SavedModel of any tool, a bundle or OUT of a run", nargs="+")
    parser.add_value("--min-bytes", "N", "leave out duplicates of fewer bytes (default: 64)", type=int)
    parser.add_json("what was found (one object, of several files a list)")
    parser.add_flag("--fail-on-copies", "exit 1 where a constant is stored more than once, near duplicates included")
    parser.add_flag("--fail-on-untied", "exit 1 where kernels that mirror each other are not one variable, or none do")


def run(call: Call) -> None:
    from tiedae.base.errors import CheckError, FormatError

    rows, damaged, failed = [], [], []
    for i, path in enumerate(file for given in call.files for file in _files(given)):
        try:
            row, text = _inspected(path, call.min_bytes)
        except FormatError as error:
            damaged.append(str(error))
            rows.append({"file": path.name, "error": str(error)})
            continue
        rows.append(row)
        call.console.say("\n" * (i > 0) + text)
        failed += [f"{path}: {reason}" for reason in _failures(call, row)]
    call.write(rows if len(rows) > 1 else rows[0])
    if damaged:
        raise FormatError("; ".join(damaged))
    if failed:
        raise CheckError("; ".join(failed))


def _inspected(path: Path, minimum: int | None) -> tuple[dict[str, Any], str]:
    """What a file has, and the text that shows it."""
    from tiedae.compress.imports.formats import FORMATS, ONNX, format_of, is_trained

    if is_trained(path):
        from tiedae.dedupe.models import inspect_model
        from tiedae.report.models import render

        return (model := inspect_model(path)), render(model)
    from tiedae.base.errors import FormatError
    from tiedae.dedupe.inspection import inspect_file
    from tiedae.export.duplicates import MINIMUM
    from tiedae.export.targets import TARGETS, is_model
    from tiedae.report.inspection import render as render_file

    if path.is_file() and not is_model(path.name):
        formats = dict.fromkeys([*FORMATS, *(target.suffix for target in TARGETS.values())])
        raise FormatError(f"{path}: is no model that can be read: {', '.join(formats)}")
    row = inspect_file(path, minimum=MINIMUM if minimum is None else minimum)
    text = render_file(row)
    if format_of(path) is FORMATS[ONNX]:
        from tiedae.dedupe.models import graph_pairs
        from tiedae.report.models import findings

        row |= graph_pairs(path)
        text = "\n".join([text, "", *findings(row)]) if row["pairs"] else text
    return row, text


def _failures(call: Call, row: dict[str, Any]) -> list[str]:
    """Why the options say that a file fails."""
    copies = row.get("copies", []) if call.fail_on_copies else []
    reasons = [f"{len(copies)} of its constants are duplicates of others"] if copies else []
    if call.fail_on_untied:
        from tiedae.dedupe.models import untied

        reasons += [reason] if (reason := untied(row)) else []
    return reasons


def _files(path: Path) -> list[Path]:
    """The file or SavedModel itself, or the model files of a bundle or of OUT of a run."""
    from tiedae.compress.imports.formats import SAVED_MODEL

    if not path.is_dir() or (path / SAVED_MODEL).is_file():
        return [path]
    from tiedae.codec.opening import bundle_of

    bundle = bundle_of(path)
    return [bundle.path / name for name in bundle.models]
