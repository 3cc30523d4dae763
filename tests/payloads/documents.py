"""Subjects of the grid that are JSON or TOML: a manifest, metrics, a calibration, a recipe, and what shows each."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tiedae.base.records import decode, load_json, plain
from tiedae.bundle import manifest as manifests
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.results import Metrics, to_json
from tiedae.bundle.verdict import Reason
from tiedae.calibration.calibration_file import CalibratedTensor, Calibration, CalibrationData, Fingerprint
from tiedae.calibration.diagnosis import CalibrationFinding, Diagnosis
from tiedae.calibration.histogram import PackedHistogram
from tiedae.cli.commands.command import as_json, say_checks, say_verdict
from tiedae.config.config import Recipe
from tiedae.config.scaling import Scaling
from tiedae.export.file_info import ModelFileInfo
from tiedae.export.model_file import Contents
from tiedae.export.targets import read_model
from tiedae.pipeline.calibrating import Calibrated
from tiedae.pipeline.calibrating import table_rows as table_rows_of
from tiedae.pipeline.recipe import parse_recipe, recipe_to_toml
from tiedae.report.calibration_page import render_page
from tiedae.report.console import Console
from tiedae.report.key_figures import Report
from tiedae.report.rendering import render_pages
from tiedae.report.result_writers import headline, overview, to_junit, to_markdown
from tiedae.report.summary import HEADER, table_rows
from tiedae.verify.bench.benchmark import tables, verdict

from .fields import Step, TextField, text_fields
from .grid import Subject, Surfaces


def terminal(say: Callable[[Console], object]) -> str:
    """What a command prints on both streams."""
    stream = io.StringIO()
    say(Console(verbosity=1, out=stream, err=stream))
    return stream.getvalue()


def metrics_surfaces(metrics: Metrics) -> Surfaces:
    """What `verify`, `run` and `bench` show of metrics beside the pages of the bundle."""

    def say(console: Console) -> None:
        console.say(headline(metrics))
        for table in (*overview(metrics), (metrics.name, HEADER, table_rows(metrics))):
            console.table(*table)
        say_checks(metrics, console)
        say_verdict(metrics, console)
        if metrics.bench is not None:
            for table in tables(metrics.bench):
                console.table(*table)
            for line in verdict(metrics.bench):
                console.say(line)

    return {
        "verify.terminal": terminal(say),
        "junit.xml": to_junit(metrics),
        "summary.md": to_markdown(metrics),
        "metrics.json": to_json(metrics),
        "stdout.json": as_json(metrics),
    }


def read_json(text: bytes) -> Any:
    return load_json(text, "payload")


def written(document: Any) -> bytes:
    """JSON that a stranger's program may write: lone surrogates too."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return json.dumps(document).encode()


def manifest_subject(bundle: Bundle, change: Callable[[dict[str, Any]], object] = lambda _: None, name: str = "") -> Subject:
    """manifest.json of a bundle, and its pages."""
    document = json.loads((bundle.path / manifests.FILE).read_bytes())
    change(document)
    metrics = decode(Metrics, _metrics(bundle), "metrics.json")
    contents, golden, masks = _contents(bundle), bundle.golden(), bundle.masks()

    def read(document: Any) -> Manifest:
        return manifests.parse(read_json(written(document)), "manifest.json")

    def show(manifest: Manifest) -> Surfaces:
        kernels = Bundle(bundle.path, manifest).programs(contents).reference.constants
        pages = render_pages(Report(manifest, metrics, golden, kernels, masks))
        return {name: text.decode() for name, text in pages.items()}

    files = Step(None, "files"), Step(None, next(each for each in document["files"] if each.endswith(".int8.onnx")))
    described = document["files"][files[1].to]
    more = [TextField((*files, *each.steps), each.leaf) for each in text_fields(ModelFileInfo, described)]
    return Subject(f"manifest{name}", document, [*text_fields(Manifest, document), *more], read, show)


def _contents(bundle: Bundle) -> Mapping[str, Contents]:
    return {name: read_model(bundle.path / name) for name in bundle.manifest.models if ".int8." in name}


def _metrics(bundle: Bundle) -> dict[str, Any]:
    """metrics.json with a few rows of each kind."""
    document = json.loads((bundle.path / "metrics.json").read_bytes())
    del document["schema"]
    few = {key: rows[:: max(1, len(rows) // ROWS)] if isinstance(rows, list) else rows for key, rows in document.items()}
    return document | few


def metrics_subject(bundle: Bundle, change: Callable[[dict[str, Any]], object] = lambda _: None, name: str = "") -> Subject:
    """metrics.json of a bundle: its pages, and what commands print."""
    document = _metrics(bundle)
    change(document)
    arrays = bundle.golden(), bundle.programs(_contents(bundle)).reference.constants, bundle.masks()

    def read(document: Any) -> Metrics:
        return decode(Metrics, read_json(written(document)), "metrics.json")

    def show(metrics: Metrics) -> Surfaces:
        pages = render_pages(Report(bundle.manifest, metrics, *arrays))
        return {name: text.decode() for name, text in pages.items()} | dict(metrics_surfaces(metrics))

    return Subject(f"metrics{name}", document, text_fields(Metrics, document), read, show)


def table(manifest: dict[str, Any]) -> None:
    """The columns of a table, with a label, and what else a recipe of one says."""
    data = manifest["data"]
    data |= {"kind": "table", "columns": [f"c{i}" for i in range(data["inputs"])], "label": "l"}
    manifest["recipe"]["data"]["validation"] = 0.1


VERDICT: Mapping[str, Any] = {
    **{"samples": 40, "observed": 40, "seed": 0, "resamples": 100, "constant": False},
    "comparisons": [
        {"criterion": "ROC-AUC", "ours": 0.5, "theirs": 0.6, "gain": {"value": -0.1, "low": -0.2, "high": 0.1}} | each
        for each in ({"baseline": "pca"}, {"baseline": "mean", "setting": "s"})
    ],
    "layers": [{"layer": "code", "units": 4, "dead": [1]}, {"layer": "encoder_0", "units": 8, "dead": [0, 1, 2, 3, 4, 5]}],
}
ROWS = 6


def with_findings(*reasons: Reason) -> Callable[[dict[str, Any]], None]:
    """A verdict with these findings."""

    def change(metrics: dict[str, Any]) -> None:
        subjects = {Reason.DEAD_UNITS: "code"}
        found = [{"reason": each, "subject": subjects.get(each, "pca"), "value": 0.4, "limit": 0.5} for each in reasons]
        metrics["verdict"] = {**VERDICT, "findings": found}

    return change


def only(subject: Subject, *parts: str) -> Subject:
    """The subject with the fields whose names have one of these parts."""
    return replace(subject, fields=[each for each in subject.fields if any(part in each.name for part in parts)])


def recipe_subject(bundle: Bundle) -> Subject:
    """A recipe, and what writes one as TOML, such as `search`; a recipe that is written reads as it was."""
    document = json.loads((bundle.path / manifests.FILE).read_bytes())["recipe"]
    document["data"]["validation"] = 0.1

    def read(document: Any) -> Recipe:
        return parse_recipe(document, "name")

    def show(recipe: Recipe) -> Surfaces:
        text = recipe_to_toml(recipe, f"Made of {recipe.data.source}: {recipe.name}")
        tables = tomllib.loads(text)
        model = plain(recipe.model) if recipe.model.source else {}  # its layers are those of the source
        again = parse_recipe({**tables, "model": {**model, **tables.get("model", {})}}, recipe.name)
        assert again == recipe, "another recipe is read"
        return {"recipe.toml": text, "recipe.json": as_json(recipe)}

    return Subject("recipe", document, text_fields(Recipe, document), read, show)


def calibration_subject() -> Subject:
    """calibration.json: the page, the table and the lines of `calibrate`."""
    counts = {"exponent": 0, "bins": 4, "first": 0, "counts": [1, 2, 3, 4], "zeros": 1, "low": -1.0, "high": 2.0}
    document = json.loads(
        Calibration(
            observer="minmax",
            settings={"a": 1},
            samples=1,
            seed=0,
            data=CalibrationData("0" * 64, Scaling("byte", 0.0, 255.0)),
            model=Fingerprint((6, 3), ("relu",), "linear", "tensor", (8,), {"kernel_0": "0"}, {"y": "0"}),
            tensors={"y": CalibratedTensor((-1.0, 2.0), 10, 0.01, 8, None, (), PackedHistogram(**counts))},
        ).to_json()
    )

    def read(document: Any) -> Calibration:
        return Calibration.from_json(written(document), "calibration.json")

    def show(calibration: Calibration) -> Surfaces:
        findings = [CalibrationFinding("clipping", name, f"{name} is clipped") for name in calibration.tensors]
        diagnosis = Diagnosis((*findings, *findings), tuple(calibration.tensors), None, "few samples")
        found = Calibrated(Path("archive"), calibration, diagnosis, 1, {"float": 1.0, "int8 simulation": 1.0})

        def say(console: Console) -> None:
            console.table("name", ("tensor", "range", "scale", "clipped", "dead units"), table_rows_of(found))
            for line in (*(f"{kind}: {text}" for kind, text in diagnosis.lines), *found.summary):
                console.say(line)

        text = calibration.to_json()
        assert Calibration.from_json(text).to_json() == text, "another calibration is read"
        page = render_page("name", calibration, diagnosis)
        return {"calibration.html": page, "calibrate.terminal": terminal(say), "calibration.json": text}

    return Subject("calibration", document, text_fields(Calibration, document), read, show)
