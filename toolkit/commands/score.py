"""Score the samples of a source: the reconstruction error of each, in model units."""

from .command import Call, Parser

FAILS = ""


def add_arguments(parser: Parser) -> None:
    parser.add_path("bundle", "BUNDLE")
    parser.add_path("data", "DATA", "a file, a folder of images or a known name, as in a recipe", type=str)
    parser.add_file("--csv", text="write sample and score of each, one a line")
    parser.add_value("--runtime", "NAME", "auto (default), program, or a runtime of `tiedae verify`", default="auto")
    parser.add_json("mean, median, 95th percentile and the largest score")


def run(call: Call) -> None:
    from ..coding import score

    scores, brief = score(call.bundle, call.data, runtime=call.runtime, progress=call.console.progress)
    line = f"mean {brief.mean:.4g}, median {brief.median:.4g}, 95 % below {brief.p95:.4g}"
    worst = f"largest {brief.largest:.4g} at sample {brief.largest_at}"
    call.console.say(f"{brief.samples:,} samples: {line}, {worst} (mean squared error in model units, {brief.runtime})")
    rows = "".join(f"{i},{value!r}\n" for i, value in enumerate(scores.tolist()))
    call.write(brief, {"csv": lambda _: "sample,score\n" + rows})
