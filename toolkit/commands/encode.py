"""Encode the samples of a source with a bundle: codes as .npy."""

from .command import Call, Parser

FAILS = ""


def add_arguments(parser: Parser) -> None:
    parser.add_path("bundle", "BUNDLE")
    parser.add_path("data", "DATA", "a file, a folder of images or a known name, as in a recipe", type=str)
    parser.add_file("-o", "--out", text="where to: codes.npy, uint8 [samples, units]", required=True)
    parser.add_value("--runtime", "NAME", "auto (default), program, or a runtime of `tiedae verify`", default="auto")
    parser.add_json("what was written")


def run(call: Call) -> None:
    from ..coding import encode

    options = {"runtime": call.runtime, "replace": call.force, "progress": call.console.progress}
    coded = encode(call.bundle, call.data, call.out, **options)
    each = f"{coded.sample_bytes:,} bytes to {coded.code_bytes:,} each, {coded.ratio:.3g} x"
    call.console.say(f"{call.out}: {coded.samples:,} samples, {each}, by {coded.runtime}")
    call.write(coded)
