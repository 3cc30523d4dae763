"""Run the whole pipeline on data that ships with the package."""

from . import run as recipes
from .command import RUNS, Call, Parser

FAILS = recipes.FAILS


def add_arguments(parser: Parser) -> None:
    names = ("fashion", "ecg", "ecg-table", "anomaly", "ecg-anomaly", "denoising", "reduction")
    parser.add_argument("--data", choices=names, default=names[0], help=f"which recipe (default: {names[0]})")
    recipes.add_results(parser)


def run(call: Call) -> None:
    from tiedae.data.data_sets import ASSETS

    recipes.run(Call(**vars(call), recipe=ASSETS / f"{call.data}.toml"))
    from ..tae_files import encode_test, quality_text

    done, path = encode_test(call.out or RUNS / call.data)
    quality = "" if done.quality is None else f", {quality_text(done)}"
    call.console.say(f"{path}: {done.samples:,} test samples, {done.bytes:,} bytes, {done.ratio:.3g} x smaller{quality}")
