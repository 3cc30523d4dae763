"""Look for sizes, sparsities and bits that keep within limits."""

from .command import RUNS, TRAINING, Call, Parser, as_json, require_packages

SEARCH_HELP = """\
a table [search] in the recipe says what is looked over; these are its defaults, where an empty list is the recipe's own value:

  [search]
  code = []                 # sizes of the code; empty: ½, ¾, 1, 1¼ and 1½ of the recipe's
  hidden = [0.125, 0.25, 0.375, 0.5, 0.75, 1.0]     # factors on the units of hidden layers
  patterns = []             # as in [prune]
  sparsity = []             # of each pattern, 0 for no pruning
  bits = [4, 8]             # of all kernels
  granularity = []          # "tensor", "unit"
  size = "file"             # what counts as bytes: the file as it is, or after "gzip"

"""


def add_arguments(parser: Parser) -> None:
    parser.epilog = f"{SEARCH_HELP}{parser.epilog}"
    parser.add_path("recipe", "RECIPE.toml")
    parser.add_value("--max-bytes", "SIZE", "the int8 .tflite file: 60000, 60k, 64Ki, 1.5M")
    parser.add_value("--max-error-increase", "FRACTION", "over the recipe's float model: 2%% or 0.02")
    parser.add_value("--max-latency-us", "N", "a call in XNNPACK, one thread, batch 1, median")
    parser.add_value("--trials", "N", "models to train at most (default: 30)", type=int, default=30)
    parser.add_value("--timeout", "S", "no trial begins after so many seconds", type=float)
    parser.add_flag("--json", "the front as JSON")
    parser.add_run_folder("NAME-search", "search", "search")


def run(call: Call) -> None:
    require_packages("optuna", *TRAINING)
    from ..recipe import load_recipe
    from ..searching.constraints import SearchLimits, parse_bytes, parse_fraction, parse_latency
    from ..searching.front import HEADER, cells
    from ..searching.search import require_found, search

    parsers = {"bytes": parse_bytes, "error_increase": parse_fraction, "latency_us": parse_latency}
    asked = {name: text for name in parsers if (text := getattr(call, f"max_{name}")) is not None}
    limits = SearchLimits(**{name: parsers[name](text) for name, text in asked.items()})
    recipe = load_recipe(call.recipe)
    out = call.out or RUNS / f"{recipe.name}-search"
    options = {"trials": call.trials, "timeout": call.timeout, "resume": call.resume, "force": call.force}
    front = search(recipe, base=call.recipe.parent, out=out, limits=limits, **options, console=call.console)
    if call.json:
        call.console.say(as_json(front))
    else:
        rows = [cells(row, front) for row in front["front"]]
        call.console.table(f"{recipe.name}: front of {len(front['trials'])} trials", HEADER, rows)
        call.console.say(f"front: {out / 'front.html'}")
    require_found(front, limits, out)
