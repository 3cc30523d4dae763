"""Look for sizes, sparsities and bits that keep within limits, over what the recipe's [search] names."""

from functools import partial

from .command import RUNS, TRAINING, Call, Parser, require_packages

FAILS = "no point is within the limits (the front is written all the same)"


def add_arguments(parser: Parser) -> None:
    parser.add_path("recipe", "RECIPE.toml")
    parser.add_value("--max-bytes", "SIZE", "the int8 .tflite file: 60000, 60k, 64Ki, 1.5M")
    text = "how much the error may grow over the recipe's float model: 2%% or 0.02"
    parser.add_value("--max-quality-loss", "FRACTION", text)
    parser.add_value("--max-bits", "N", "per sample of a .tae file")
    parser.add_value("--max-latency-us", "N", "a call in XNNPACK, one thread, batch 1, median")
    parser.add_value("--trials", "N", "models to train at most (default: 30)", type=int, default=30)
    parser.add_value("--timeout", "S", "no trial begins after this many seconds", type=float)
    parser.add_run_folder("NAME-search", "search", "search")
    parser.add_json("the front")


def run(call: Call) -> None:
    require_packages("optuna", *TRAINING)
    from tiedae.pipeline.recipe import load_recipe
    from tiedae.pipeline.searching.constraints import SearchLimits, parse_above_zero, parse_bytes, parse_fraction
    from tiedae.pipeline.searching.search import require_found, search
    from tiedae.report.search.front import HEADER, cells

    parsers = {
        "bytes": (call.max_bytes, parse_bytes),
        "error_increase": (call.max_quality_loss, parse_fraction),
        "latency_us": (call.max_latency_us, partial(parse_above_zero, option="--max-latency-us")),
        "bits": (call.max_bits, partial(parse_above_zero, option="--max-bits")),
    }
    limits = SearchLimits(**{name: parse(text) for name, (text, parse) in parsers.items() if text is not None})
    recipe = load_recipe(call.recipe)
    call.check_outputs(*(call.recipe.parent / source for source in recipe.sources))
    out = call.out or RUNS / f"{recipe.name}-search"
    options = {"trials": call.trials, "timeout": call.timeout, "resume": call.resume, "force": call.force}
    front = search(recipe, base=call.recipe.parent, out=out, limits=limits, **options, console=call.console)
    rows = [cells(row, front) for row in front["front"]]
    call.console.table(f"{recipe.name}: front of {len(front['trials'])} trials", HEADER, rows)
    call.console.say(f"front: {out / 'front.html'}")
    call.write(front)
    require_found(front, limits, out)
