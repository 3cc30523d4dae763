"""Print a recipe: one that fits your data, with the reason for each value; or every key with its default and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .command import STDOUT, Call, Parser, as_json

STARTERS = {"image": "fashion", "record": "ecg", "table": "ecg-table"} | {
    name: name for name in ("fashion-conv", "ecg-conv", "anomaly", "ecg-anomaly", "machine-sound", "denoising", "reduction")
}
"""The recipe in `assets` to start from, by the kind of data, net or task."""


def add_arguments(parser: Parser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--data", metavar="SOURCE", help="a recipe for these data: a name of `tiedae data`, a file or a folder of images"
    )
    which.add_argument(
        "--for",
        dest="kind",
        choices=STARTERS,
        help="a short recipe to start from, for this kind of data, net or task",
    )
    which.add_argument(
        "--schema", action="store_true", help="the JSON Schema of recipes, by which an editor completes and checks"
    )
    text = "start from a trained model: .h5, .keras, .onnx or the folder of a SavedModel; with --data it fits both"
    parser.add_path("--from", "MODEL", text, dest="model")
    parser.add_value("--task", "KIND", "beside --data: compression (default), anomaly, denoising or reduction")
    text = "beside --data: the fraction of the variance that the code keeps (default: by the task, 0.8 to 0.97)"
    parser.add_value("--keep", "FRACTION", text, type=float)
    text = "beside --data: a key that is yours to choose, such as data.window=128 or task.normal=[1]; of --from: model.assume"
    parser.add_value("--set", "KEY=VALUE", text, action="append", default=[])
    parser.add_file("-o", "--out", text="where to (default: -, standard output)")
    parser.add_json("beside --data: the recipe, the three sizes of its code, the facts about the data and the reasons")


def run(call: Call) -> None:
    from tiedae.data.data_sets import ASSETS
    from tiedae.pipeline.recipe import recipe_schema, recipe_text

    if call.out is None and call.json != STDOUT:
        call.out = STDOUT
    if call.out is not None:
        call.require_suffix(".json" if call.schema else ".toml")
    if call.data is not None:
        return suggested(call)
    if call.model is not None:
        return of_model(call)
    require_unused(call)
    if call.schema:
        text = as_json(recipe_schema())
    elif call.kind:
        text = (ASSETS / f"{STARTERS[call.kind]}.toml").read_text(encoding="utf-8")
    else:
        text = recipe_text()
    call.write(text, {"out": str})


def suggested(call: Call) -> None:
    """Write the recipe for --data."""
    from tiedae.data.data_sets import DATA_SETS
    from tiedae.pipeline.suggesting import Wish, suggest
    from tiedae.pipeline.suggesting.sizes import COLUMNS

    if call.data not in DATA_SETS:
        call.check_outputs(Path(call.data))
    to = Path() if call.out is None else call.out.parent  # that of - is the working directory as well
    model = "" if call.model is None else str(call.model)
    wish = Wish.of(call.data, call.task or "compression", call.keep, call.set, model)
    suggestion = suggest(wish, to=to, progress=call.console.progress)
    call.write(suggestion, {"out": lambda suggestion: suggestion.text})
    if suggestion.proposals and call.out != STDOUT:
        rows = [proposal.cells for proposal in suggestion.proposals]
        call.console.table("Three sizes of the code", COLUMNS, rows)
        call.console.note(f"{call.out} has the middle one; --keep FRACTION another")


def of_model(call: Call) -> None:
    """Write the recipe for --from alone."""
    from tiedae.base.errors import InputError
    from tiedae.pipeline.suggesting import Wish, model_recipe

    require_unused(call, "--set")
    for option, given in {"--for": call.kind, "--schema": call.schema}.items():
        if given:
            raise InputError(f"{option}: got it beside --from, must be one of them")
    to = Path() if call.out is None else call.out.parent
    wish = Wish.of("", settings=call.set, model=str(call.model))
    call.write(model_recipe(wish, to=to), {"out": str})


def require_unused(call: Call, *used: str) -> None:
    """Raise InputError for an option, other than those that are `used`, that goes with --data alone."""
    from tiedae.base.errors import InputError

    options: dict[str, Any] = {"--task": call.task, "--keep": call.keep, "--set": call.set, "--json": call.json}
    for option, value in options.items():
        if value not in (None, []) and option not in used:
            raise InputError(f"{option}: goes with --data SOURCE, which is missing")
