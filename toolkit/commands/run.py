"""Train, compress, export and check what a recipe describes."""

from .command import RUNS, TRAINING, Call, Parser, require_checks, require_packages, say_quality

RECIPE_HELP = """\
the smallest recipe; every other key has a default, and an error names the key and what would be right:

  [data]
  source = "samples.npy"    # .npy, .npz, .csv, idx(.gz), a folder of images, or a name from `tiedae data`
  [model]
  layers = [256, 16]        # relu where hidden, the code linear; or {units = 256, activation = "tanh"}

more tables: [train] [prune] [cluster] [quantize] [export] [verify] [search]
a run's bundle/manifest.json holds its recipe with every default

"""


def add_arguments(parser: Parser) -> None:
    parser.epilog = f"{RECIPE_HELP}{parser.epilog}"
    parser.add_path("recipe", "RECIPE.toml")
    parser.add_run_folder("NAME", "run", "recipe's run")


def run(call: Call) -> None:
    require_packages(*TRAINING, "tf2onnx", "onnxruntime")  # stock converters too, and the runtimes of all checks
    from ..recipe import load_recipe

    recipe = load_recipe(call.recipe)
    from tiedae.export.report.summary import HEADER, table_rows
    from tiedae.export.verify.results import Kind

    from ..pipeline import run_recipe

    out, console = call.out or RUNS / recipe.name, call.console
    metrics = run_recipe(recipe, base=call.recipe.parent, out=out, resume=call.resume, force=call.force, console=console)
    console.table(recipe.name, HEADER, table_rows(metrics))
    console.say("error: squared, summed over the values of a test sample, averaged over samples; in model units")
    say_quality(metrics, console)
    for skipped in (row for row in metrics.skipped if row.kind is Kind.QUALITY):
        console.say(f"{skipped.what}: not measured, {skipped.reason}")
    console.say(f"bundle: {out / 'bundle'}")
    require_checks(out / "bundle", metrics)
