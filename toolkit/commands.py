"""What each command does once its call is parsed. Every module that a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from tiedae.export.verify.results import Metrics

FINE = 0
TRAINING = ("tensorflow", "tf_keras", "tensorflow_model_optimization")
"""What trains a model, or loads one."""
RUN = (*TRAINING, "tf2onnx", "onnxruntime")
"""What a run needs: stock converters too, and every runtime that its files are checked in."""


def _require(*modules: str) -> None:
    """Raise UnavailableError, exit code 2, where a package is missing that no bare install has."""
    from tiedae.compress.packages import require_installed

    require_installed(*modules)


def _require_for(bundle: Path, model: Path | None) -> None:
    """What runs a bundle's files, and the Keras model of its run where one is given."""
    _require(*(("onnxruntime",) if any(bundle.glob("*.onnx")) else ()), *(TRAINING if model else ()))


def demo(arguments: argparse.Namespace, console: Console) -> int:
    from .sources import ASSETS

    return _execute(ASSETS / f"{arguments.data}.toml", arguments, console)


def run(arguments: argparse.Namespace, console: Console) -> int:
    return _execute(arguments.recipe, arguments, console)


def _execute(path: Path, arguments: argparse.Namespace, console: Console) -> int:
    _require(*RUN)
    from .recipe import load_recipe

    recipe = load_recipe(path)
    from tiedae.export.report.summary import HEADER
    from tiedae.export.verify.results import Kind

    from .pipeline import run_recipe

    out = arguments.out or Path("runs") / recipe.name
    result = run_recipe(recipe, base=path.parent, out=out, resume=arguments.resume, force=arguments.force, console=console)
    console.table(recipe.name, HEADER, result.table_rows)
    console.say("error: squared, summed over the values of a test sample, averaged over samples; in model units")
    _say_quality(result.metrics, console)
    for skipped in result.metrics.skipped:
        if skipped.kind is Kind.QUALITY:
            console.say(f"{skipped.what}: not measured, {skipped.reason}")
    console.say(f"bundle: {result.bundle}")
    _require_checks(result.bundle, result.metrics)
    return FINE


SHOWN = 5
"""How many warnings are listed."""


def _say_quality(metrics: Metrics, console: Console) -> None:
    """What the quality is, in the user's unit, and a note for each of the worst columns that it warns of."""
    from tiedae.export.parity.fidelity import MEANINGS

    measure = next((row.fidelity.measure for row in metrics.quality if row.fidelity), None)
    if measure is not None:
        console.say(f"quality: {measure} = {MEANINGS[measure]}")
    for warning in metrics.warnings[:SHOWN]:
        console.note(f"warning: column {warning.text}")
    if len(metrics.warnings) > SHOWN:
        console.note(f"warning: {len(metrics.warnings) - SHOWN} more columns, see `warnings` in metrics.json")


def _require_checks(bundle: Path, metrics: Metrics) -> None:
    """Raise CheckError, exit code 1, naming the first check that failed."""
    from tiedae.compress.errors import CheckError

    if metrics.failed:
        counts = f"{len(metrics.failed)} of {len(metrics.checks)} checks failed"
        raise CheckError(f"{bundle}: {counts}: {metrics.failed[0].text}")


def search(arguments: argparse.Namespace, console: Console) -> int:
    _require("optuna", *TRAINING)
    from .recipe import load_recipe
    from .searching.constraints import SearchLimits, parse_bytes, parse_fraction, parse_latency
    from .searching.front import HEADER, cells
    from .searching.search import require_found, search

    asked = (arguments.max_bytes, arguments.max_error_increase, arguments.max_latency_us)
    parsers = (parse_bytes, parse_fraction, parse_latency)
    limits = SearchLimits(*(math.inf if text is None else parse(text) for text, parse in zip(asked, parsers, strict=True)))
    recipe = load_recipe(arguments.recipe)
    out = arguments.out or Path("runs") / f"{recipe.name}-search"
    front = search(
        recipe,
        base=arguments.recipe.parent,
        out=out,
        limits=limits,
        trials=arguments.trials,
        timeout=arguments.timeout,
        resume=arguments.resume,
        force=arguments.force,
        console=console,
    )
    if arguments.json:
        console.say(json.dumps(front, indent=2, ensure_ascii=False))
    else:
        rows = [cells(row, front) for row in front["front"]]
        console.table(f"{recipe.name}: front of {len(front['trials'])} trials", HEADER, rows)
        console.say(f"front: {out / 'front.html'}")
    require_found(front, limits, out)
    return FINE


def verify(arguments: argparse.Namespace, console: Console) -> int:
    _require_for(arguments.bundle, arguments.model)
    from tiedae.export.report.result_writers import overview

    from .verification import verify

    metrics = verify(
        arguments.bundle,
        model=arguments.model,
        data=arguments.data,
        tolerances=arguments.tolerance,
        baseline=arguments.baseline,
        allow=arguments.allow,
        announce=console.note,
    )
    for check in metrics.checks:
        console.detail(f"{'ok' if check.ok else 'FAILED'}  {check.text}")
    for title, header, rows in overview(metrics):
        console.table(title, header, rows)
    _say_quality(metrics, console)
    _write_outcome(metrics, {"json": arguments.json, "junit": arguments.junit, "markdown": arguments.markdown})
    _require_checks(arguments.bundle, metrics)
    console.say(f"{arguments.bundle}: all {len(metrics.checks)} checks hold")
    return FINE


def _write_outcome(metrics: Metrics, paths: Mapping[str, Path | None]) -> None:
    from tiedae.compress.files import write_atomic
    from tiedae.export.report.result_writers import OUTCOMES

    for kind, path in paths.items():
        if path is not None:
            write_atomic(path, OUTCOMES[kind](metrics).encode())


def bench(arguments: argparse.Namespace, console: Console) -> int:
    _require_for(arguments.bundle, arguments.model)
    from tiedae.export.bench.benchmark import QUICK, Plan, tables, verdict

    from .run_directory import write_json
    from .verification import bench

    plan = QUICK if arguments.quick else Plan()
    measured = bench(arguments.bundle, model=arguments.model, data=arguments.data, plan=plan, announce=console.note)
    for title, header, rows in tables(measured) if console.verbosity >= 0 else ():
        console.table(title, header, rows)
    for line in verdict(measured):
        console.say(line)
    if arguments.json:
        write_json(arguments.json, measured)
    return FINE


def sensitivity(arguments: argparse.Namespace, console: Console) -> int:
    _require(*TRAINING)
    from dataclasses import asdict

    from tiedae.compress.archive import archive_path
    from tiedae.compress.errors import InputError
    from tiedae.compress.files import write_atomic
    from tiedae.export.report.sensitivity_page import render_sensitivity, sensitivity_tables

    from .recipe import load_recipe
    from .run_directory import write_json
    from .sources import load_splits

    recipe = load_recipe(arguments.recipe)
    samples = recipe.quantize.samples if arguments.samples is None else arguments.samples
    if samples < 1:
        raise InputError(f"--samples: got {samples}, must be at least 1")
    archive = archive_path(arguments.model or Path("runs") / recipe.name / "model", "train")
    if not archive.is_file():
        raise InputError(f"{archive.parent}: holds no {archive.name}; must be the folder OUT/model of a run")
    splits = load_splits(recipe.data, recipe.model.output_activation, base=arguments.recipe.parent)
    from tiedae.calibration.representative import representative
    from tiedae.calibration.sensitivity import sensitivity
    from tiedae.compress.autoencoder import TiedAutoencoder

    model = TiedAutoencoder.load(archive)
    data = representative(splits.train, samples, seed=recipe.data.seed)
    measured = {
        "schema": 1,
        "name": recipe.name,
        "widths": list(model.config.widths),
        "samples": len(data.inputs),
        "sha256": data.sha256,
        "seed": data.seed,
        "rows": [asdict(row) | {"increase": row.increase} for row in sensitivity(model, data)],
    }
    for title, header, rows in sensitivity_tables(measured):
        console.table(title, header, rows)
    console.say(f"float error {measured['rows'][0]['float_error']:.4g} over {measured['samples']:,} training samples")
    if arguments.json:
        write_json(arguments.json, measured)
    if arguments.html:
        write_atomic(arguments.html, render_sensitivity(measured).encode())
    return FINE


def calibrate(arguments: argparse.Namespace, console: Console) -> int:
    _require(*TRAINING)
    from tiedae.calibration.page import render_page
    from tiedae.compress.files import write_atomic

    from .calibrating import calibrate, recipe_for, table_rows

    recipe = recipe_for(arguments.recipe, observer=arguments.observer, samples=arguments.samples)
    model = arguments.model or Path("runs") / recipe.name / "model"
    out = arguments.out or model.parent / "calibration.json"
    found = calibrate(recipe, base=arguments.recipe.parent, model=model, clipping=arguments.max_clipping)
    if arguments.html:
        write_atomic(arguments.html, render_page(recipe.name, found.calibration, found.diagnosis).encode())
    write_atomic(out, found.calibration.to_json().encode())
    if arguments.json:
        console.say(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return FINE
    console.table(recipe.name, ("tensor", "range", "step", "clipped", "dead units"), table_rows(found))
    for finding in found.diagnosis.findings:
        console.say(f"{finding.kind}: {finding.text}")
    for line in found.summary:
        console.say(line)
    console.say(f"calibration: {out}")
    return FINE


def report(arguments: argparse.Namespace, console: Console) -> int:
    from tiedae.export.report.rendering import render_bundle

    for path in render_bundle(arguments.bundle):
        console.say(str(path))
    return FINE


def inspect(arguments: argparse.Namespace, console: Console) -> int:
    from tiedae.compress.errors import CheckError
    from tiedae.export.inspection import inspect_file, render

    found = {path: inspect_file(path) for path in arguments.files}
    rows = list(found.values())
    console.say(json.dumps(rows if len(rows) > 1 else rows[0], indent=2) if arguments.json else "\n\n".join(map(render, rows)))
    copied = [
        f"{path}: {len(row['copies'])} of its constants are duplicates of others"
        for path, row in found.items()
        if row["copies"]
    ]
    if arguments.fail_on_copies and copied:
        raise CheckError("; ".join(copied))
    return FINE


def share(arguments: argparse.Namespace, console: Console) -> int:
    _require(*(("onnxruntime",) if arguments.file.suffix == ".onnx" else ()))
    from tiedae.export.deduplicate.share import render, share_file

    options = {"tolerance": arguments.tolerance, "force": arguments.force}
    shared = share_file(arguments.file, arguments.out, **options, announce=console.note)
    console.say(json.dumps(shared, indent=2) if arguments.json else render(shared))
    return FINE


def data(arguments: argparse.Namespace, console: Console) -> int:
    from .sources import DATA_SETS, VARIABLE

    places = {name: known.find() for name, known in DATA_SETS.items()}
    if arguments.json:
        keys = ("name", "description", "shape", "licence", "origin", "files")
        rows = [
            {key: getattr(known, key) for key in keys} | {"found": None if places[name] is None else str(places[name])}
            for name, known in DATA_SETS.items()
        ]
        console.say(json.dumps(rows, indent=2, ensure_ascii=False))
        return FINE

    def found(name: str) -> str:
        return "ships with tiedae" if DATA_SETS[name].ships else str(places[name] or f"not found; set {VARIABLE}")

    rows = [(k.name, k.description, k.shape, k.licence, k.origin, found(k.name)) for k in DATA_SETS.values()]
    console.table("Data sets", ("name", "what", "shape", "licence", "from", "found"), rows)
    return FINE
