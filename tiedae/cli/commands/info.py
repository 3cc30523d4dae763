"""Show header, frames and ratio of a .tae file, and whether it is whole; needs no bundle."""

from .command import Call, Parser

FAILS = "the file is damaged or cut off"


def add_arguments(parser: Parser) -> None:
    parser.add_path("file", "FILE.tae")
    parser.add_json("what was found")


def run(call: Call) -> None:
    from tiedae.codec.reader import require_whole

    from ..tae_files import inspect

    found = inspect(call.file)
    frames = ", ".join(f"{count:,} of {mode}" for mode, count in found.frames.items()) or "none"
    bound = f" by {found.bound:g}" if found.kind == "bounded" else ""
    rows = (
        ("version", f"{found.version}"),
        ("kind", found.kind + bound),
        *([("classes", "one per sample, of the tables that the bundle holds")] if found.classed else []),
        ("identity", found.identity),
        ("samples", f"{found.samples:,} of {found.sample_bytes:,} bytes"),
        *([("records", f"{found.records:,}, or pictures")] if found.records else []),
        ("frames", f"{frames}, at most {found.samples_per_frame:,} samples each"),
        ("size", f"{found.bytes:,} bytes, {found.ratio:.3g} x smaller"),
    )
    for name, value in rows:
        call.console.say(f"{name:<9} {value}")
    call.write(found)
    require_whole(found.problems, call.file)
