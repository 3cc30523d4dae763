"""Run the whole pipeline on data that ships with the package."""

from . import run as recipes
from .command import Call, Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--data", choices=("fashion", "ecg"), default="fashion", help="which data (default: fashion)")
    parser.add_run_folder("NAME", "run", "recipe's run")


def run(call: Call) -> None:
    from ..sources import ASSETS

    recipes.run(Call(**vars(call), recipe=ASSETS / f"{call.data}.toml"))
