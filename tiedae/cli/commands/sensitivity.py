"""Measure which kernels and activations bear coarsening."""

from .command import RUNS, TRAINING, Call, Parser, require_packages


def add_arguments(parser: Parser) -> None:
    parser.add_path("recipe", "RECIPE.toml")
    parser.add_path("--model", "DIR", "OUT/model of the recipe's run (default: runs/NAME/model)")
    parser.add_value("--samples", "N", "training samples (default: quantize.samples)", type=int)
    parser.add_file("--html", text="write a page with curves here")
    parser.add_json("the rows")


def run(call: Call) -> None:
    require_packages(*TRAINING)
    from tiedae.base.archive import archive_path
    from tiedae.base.errors import InputError
    from tiedae.base.records import plain, require
    from tiedae.pipeline.recipe import load_recipe
    from tiedae.pipeline.sources import recipe_data
    from tiedae.report.sensitivity_page import render_sensitivity, sensitivity_tables

    recipe = load_recipe(call.recipe)
    call.check_outputs(*(call.recipe.parent / source for source in recipe.sources))
    samples = recipe.quantize.samples if call.samples is None else call.samples
    require(samples >= 1, "--samples", samples, "at least 1")
    archive = archive_path(call.model or RUNS / recipe.name / "model", "train")
    if not archive.is_file():
        raise InputError(f"{archive.parent}: holds no {archive.name}; must be the folder OUT/model of a run")
    splits = recipe_data(recipe, call.recipe.parent)
    from tiedae.calibration.representative import representative
    from tiedae.calibration.sensitivity import sensitivity
    from tiedae.compress.autoencoder import TiedAutoencoder

    model = TiedAutoencoder.load(archive)
    data = representative(splits.train, samples, seed=recipe.data.seed, noise=recipe.train.noise)
    measured = {
        "schema": 1,
        "name": recipe.name,
        "widths": list(model.config.widths),
        "samples": len(data.inputs),
        "sha256": data.sha256,
        "seed": data.seed,
        "rows": [plain(row) | {"increase": row.increase} for row in sensitivity(model, data)],
    }
    for table in sensitivity_tables(measured):
        call.console.table(*table)
    call.console.say(f"float error {measured['rows'][0]['float_error']:.4g} over {measured['samples']:,} training samples")
    call.write(measured, {"html": render_sensitivity})
