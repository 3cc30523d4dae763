"""Take the ranges of a trained model from its recipe's training data."""

from .command import RUNS, TRAINING, Call, Parser, as_json, require_packages


def add_arguments(parser: Parser) -> None:
    parser.add_path("recipe", "RECIPE.toml")
    parser.add_path("--model", "DIR", "the folder OUT/model of a run (default: runs/NAME/model)")
    parser.add_value("--observer", "NAME", "in place of the recipe's, as in its [quantize]")
    parser.add_value("--samples", "N", "how many training samples (default: the recipe's)", type=int)
    text = "report tensors clipped more (default: 0.01)"
    parser.add_value("--max-clipping", "FRACTION", text, type=float, default=0.01)
    parser.add_file("-o", "--out", text="where to (default: calibration.json beside DIR)")
    parser.add_file("--html", text="draw the histograms with the chosen ranges here")
    parser.add_json("the diagnosis")


def run(call: Call) -> None:
    if call.out is not None:
        call.require_suffix(".json")
    require_packages(*TRAINING)
    from tiedae.pipeline.recipe import load_recipe

    stated = load_recipe(call.recipe)
    model = call.model or RUNS / stated.name / "model"
    call.out = call.out or model.parent / "calibration.json"
    call.check_outputs(*(call.recipe.parent / source for source in stated.sources))
    from tiedae.pipeline.calibrating import calibrate, recipe_for, table_rows
    from tiedae.report.calibration_page import render_page

    recipe = recipe_for(stated, observer=call.observer, samples=call.samples)
    found = calibrate(recipe, base=call.recipe.parent, model=model, clipping=call.max_clipping)
    forms = {
        "out": lambda found: found.calibration.to_json(),
        "json": lambda found: as_json(found.to_json()),
        "html": lambda found: render_page(recipe.name, found.calibration, found.diagnosis),
    }
    call.write(found, forms)
    call.console.table(recipe.name, ("tensor", "range", "scale", "clipped", "dead units"), table_rows(found))
    findings = [f"{kind}: {text}" for kind, text in found.diagnosis.lines]
    for line in (*findings, *found.summary, f"calibration: {call.out}"):
        call.console.say(line)
