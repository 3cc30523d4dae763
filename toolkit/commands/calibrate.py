"""Take the ranges of a trained model from its recipe's training data."""

from .command import RUNS, TRAINING, Call, Parser, as_json, require_packages


def add_arguments(parser: Parser) -> None:
    parser.add_path("recipe", "RECIPE.toml")
    parser.add_path("--model", "DIR", "the folder OUT/model of a run (default: runs/NAME/model)")
    parser.add_value("--observer", "NAME", "minmax, moving-average, percentile, mse or kl (default: the recipe's)")
    parser.add_value("--samples", "N", "how many training samples (default: the recipe's)", type=int)
    parser.add_value("--max-clipping", "FRACTION", "report tensors clipped more (default: 0.01)", type=float, default=0.01)
    parser.add_path("--out", "FILE", "where to (default: calibration.json beside DIR)")
    parser.add_path("--html", "FILE", "draw the histograms with the chosen ranges here")
    parser.add_flag("--json", "the diagnosis as JSON")


def run(call: Call) -> None:
    require_packages(*TRAINING)
    from tiedae.calibration.page import render_page
    from tiedae.compress.files import write_atomic

    from ..calibrating import calibrate, recipe_for, table_rows

    recipe = recipe_for(call.recipe, observer=call.observer, samples=call.samples)
    model = call.model or RUNS / recipe.name / "model"
    out = call.out or model.parent / "calibration.json"
    found = calibrate(recipe, base=call.recipe.parent, model=model, clipping=call.max_clipping)
    call.write(found, {"html": lambda found: render_page(recipe.name, found.calibration, found.diagnosis)})
    write_atomic(out, found.calibration.to_json().encode())
    if call.json:
        call.console.say(as_json(found.to_json()))
        return
    call.console.table(recipe.name, ("tensor", "range", "step", "clipped", "dead units"), table_rows(found))
    findings = [f"{finding.kind}: {finding.text}" for finding in found.diagnosis.findings]
    for line in (*findings, *found.summary, f"calibration: {out}"):
        call.console.say(line)
