"""Train, compress, export and check what a recipe describes; `tiedae recipe` prints one with every key."""

from .command import RUNS, TRAINING, Call, Parser, require_checks, require_packages, say_checks, say_verdict

FAILS = "a check of the bundle failed (the bundle is written all the same)"


def add_arguments(parser: Parser) -> None:
    parser.add_path("recipe", "RECIPE.toml")
    add_results(parser)


def add_results(parser: Parser) -> None:
    parser.add_run_folder("NAME", "run", "recipe's run")
    parser.add_json("the metrics")


def run(call: Call) -> None:
    require_packages(*TRAINING, "tf2onnx", "onnxruntime")  # stock converters too, and the runtimes of all checks
    from tiedae.pipeline.recipe import load_recipe

    recipe = load_recipe(call.recipe)
    call.check_outputs(*(call.recipe.parent / source for source in recipe.sources))
    from tiedae.bundle.results import Kind, to_json
    from tiedae.pipeline.runs import run_recipe
    from tiedae.report.summary import HEADER, table_rows
    from tiedae.report.tie_cost import HEADER as TIE_HEADER
    from tiedae.report.tie_cost import tie_rows
    from tiedae.report.verdict import HEADER as VERDICT_HEADER
    from tiedae.report.verdict import verdict_rows

    out, console = call.out or RUNS / recipe.name, call.console
    metrics = run_recipe(recipe, base=call.recipe.parent, out=out, resume=call.resume, force=call.force, console=console)
    console.table(recipe.name, HEADER, table_rows(metrics))
    if rows := verdict_rows(metrics.verdict):
        console.table("Baselines", VERDICT_HEADER, rows)
    if rows := tie_rows(metrics):
        console.table("Cost of the tie", TIE_HEADER, rows)
    over = "samples" if metrics.samples is None else metrics.samples.text
    console.say(f"error: squared, summed over the values of a sample, averaged over {over}; in scaled values")
    say_checks(metrics, console)
    for skipped in (row for row in metrics.skipped if row.kind in (Kind.QUALITY, Kind.TASK)):
        console.say(f"{skipped.what}: not measured, {skipped.reason}")
    console.say(f"bundle: {out / 'bundle'}")
    say_verdict(metrics, console)
    call.write(metrics, {"json": to_json})
    require_checks(out / "bundle", metrics)
