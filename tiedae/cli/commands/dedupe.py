"""Store equal and transposed-equal constants of a .tflite or .onnx file once."""

from .command import Call, Parser, require_packages

FAILS = "an output of the rewritten file would differ, or change by more than --max-change (nothing is written)"


def add_arguments(parser: Parser) -> None:
    parser.add_path("file", "FILE")
    parser.add_file("-o", "--out", text="where to", required=True)
    text = "also merge near duplicates: values that differ by this many LSB at most"
    parser.add_value("--near", "LSB", text, type=float)
    text = "refuse a larger change of an output, as a fraction of its full scale (largest magnitude, 255 for 8-bit)"
    parser.add_value("--max-change", "FRACTION", text, type=float)
    parser.add_value("--min-bytes", "N", "leave smaller constants as they are (default: 64)", type=int)
    text = "shape of an input that both files are run with (repeatable); default: a search over usual sizes"
    parser.add_value("--shape", "NAME=1x16", text, action="append", default=[])
    parser.add_path("--data", "FILE", "values of inputs: .npz by input name, or .npy for a file with one input")
    parser.add_json("what was merged, compared and measured")


def run(call: Call) -> None:
    call.require_suffix(call.file.suffix.lower())
    require_packages(*(("onnxruntime",) if call.file.suffix.lower() == ".onnx" else ()))
    from tiedae.dedupe.inputs import parse_shapes
    from tiedae.dedupe.share import share_file
    from tiedae.export.duplicates import MINIMUM
    from tiedae.report.sharing import render

    shared = share_file(
        call.file,
        call.out,
        tolerance=call.near,
        minimum=MINIMUM if call.min_bytes is None else call.min_bytes,
        shapes=parse_shapes(call.shape),
        data=call.data,
        max_change=call.max_change,
        force=call.force,
        announce=call.console.note,
    )
    call.console.say(render(shared))
    call.write(shared)
