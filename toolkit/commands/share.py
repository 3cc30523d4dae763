"""Store equal and transposed-equal constants of a .tflite or .onnx file once."""

from .command import Call, Parser, require_packages

FAILS = "an output of the rewritten file would differ (nothing is written)"


def add_arguments(parser: Parser) -> None:
    parser.add_path("file", "FILE")
    parser.add_file("-o", "--out", text="where to", required=True)
    text = "also merge near duplicates: values that are this close, in quantization steps"
    parser.add_value("--near", "STEPS", text, type=float)
    parser.add_renamed("--tolerance", "--near")
    parser.add_json("what was merged and compared")


def run(call: Call) -> None:
    require_packages(*(("onnxruntime",) if call.file.suffix == ".onnx" else ()))
    from tiedae.export.deduplicate.share import render, share_file

    shared = share_file(call.file, call.out, tolerance=call.near, force=call.force, announce=call.console.note)
    call.console.say(render(shared))
    call.write(shared)
