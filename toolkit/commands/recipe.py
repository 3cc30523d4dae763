"""Print a recipe with every key, its default, what it means and what it may be."""

from .command import STDOUT, Call, Parser, as_json

FAILS = ""
STARTERS = {"images": "fashion", "record": "ecg", "table": "ecg-table"}
"""The recipe in `assets` to start from, by the kind of data."""
TASK_STARTERS = {"anomaly": "anomaly", "denoising": "denoising", "reduction": "reduction"}
"""The same by the kind of task."""


def add_arguments(parser: Parser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--for",
        dest="kind",
        choices=STARTERS | TASK_STARTERS,
        help="a short recipe to start from, for this kind of data or task",
    )
    which.add_argument(
        "--schema", action="store_true", help="the JSON Schema of recipes, by which an editor completes and checks"
    )
    parser.add_file("-o", "--out", text="where to (default: -, standard output)", default=STDOUT)


def run(call: Call) -> None:
    from ..recipe import recipe_schema, recipe_text
    from ..sources import ASSETS

    call.require_suffix(".json" if call.schema else ".toml")
    if call.schema:
        text = as_json(recipe_schema())
    elif call.kind:
        text = (ASSETS / f"{(STARTERS | TASK_STARTERS)[call.kind]}.toml").read_text(encoding="utf-8")
    else:
        text = recipe_text()
    call.write(text, {"out": str})
