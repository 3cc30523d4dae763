"""Decode codes with a bundle: samples as .npy, in the data's own unit."""

from .command import Call, Parser

FAILS = ""


def add_arguments(parser: Parser) -> None:
    parser.add_path("bundle", "BUNDLE")
    parser.add_path("codes", "CODES.npy", "codes as `tiedae encode` writes them")
    parser.add_file("-o", "--out", text="where to: samples.npy", required=True)
    parser.add_value("--runtime", "NAME", "auto (default), program, or a runtime of `tiedae verify`", default="auto")
    parser.add_json("what was written")


def run(call: Call) -> None:
    from ..coding import decode

    options = {"runtime": call.runtime, "replace": call.force, "progress": call.console.progress}
    coded = decode(call.bundle, call.codes, call.out, **options)
    call.console.say(f"{call.out}: {coded.samples:,} samples of {coded.sample_bytes:,} bytes, by {coded.runtime}")
    call.write(coded)
