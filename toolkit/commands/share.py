"""Store equal and transposed-equal constants of a .tflite or .onnx file once."""

from .command import Call, Parser, as_json, require_packages


def add_arguments(parser: Parser) -> None:
    parser.add_path("file", "FILE")
    parser.add_path("--out", "FILE", "where to", required=True)
    parser.add_flag("--force", "replace FILE where it is there already")
    parser.add_value("--tolerance", "STEPS", "also merge duplicates that are this close, in quantization steps", type=float)
    parser.add_flag("--json", "as JSON")


def run(call: Call) -> None:
    require_packages(*(("onnxruntime",) if call.file.suffix == ".onnx" else ()))
    from tiedae.export.deduplicate.share import render, share_file

    shared = share_file(call.file, call.out, tolerance=call.tolerance, force=call.force, announce=call.console.note)
    call.console.say(as_json(shared, ascii=True) if call.json else render(shared))
