"""Bundles, recipes, archives, calibrations and baselines written before the keys of 2026-11-26 stay usable."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiedae.calibration.calibration_file import read_calibration
from tiedae.cli import main
from tiedae.compress import FormatError
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.export.bundle import Bundle
from tiedae.export.codec.codec import load
from tiedae.export.interpreter import execute
from tiedae.export.lowering import lower
from tiedae.export.targets import read_model
from tiedae.export.verify.results import Kind, Lost, Maker, Precision, read_metrics
from tiedae.export.verify.schema1 import _COMPARED, _SKIPPED, _matched, upgraded
from tiedae.recipe import load_recipe

from .typed import changed_somewhere, typed

pytestmark = pytest.mark.parametrize("name", ["bytes", "table"])


def test_a_bundle_verifies_against_its_own_metrics_as_baseline(schema1: Path, name: str, tmp_path: Path):
    bundle, out = schema1 / name / "bundle", tmp_path / "metrics.json"
    assert (
        main(
            ["verify", str(bundle), "-q", "--json", str(out), "--baseline", str(bundle / "metrics.json"), "--allow-unmeasured"]
        )
        == 0
    )
    metrics = read_metrics(out)
    assert not metrics.failed and metrics.baseline is not None and metrics.baseline.compared > 100
    held = {check.detail for check in metrics.checks if check.kind is Kind.BASELINE}
    assert {f"bytes {name}.int8.tflite", f"parity {name}.int8.onnx ort-cpu", "quantization fused", "checks"} <= held


def stated(name: str) -> dict[str, Any]:
    """metrics.json of a run, as it was written."""
    with zipfile.ZipFile(Path(__file__).parent / "schema1.zip") as archive:
        return json.loads(archive.read(f"{name}/bundle/metrics.json"))


def test_every_sentence_of_an_old_file_is_known_by_its_kind(name: str):
    found = stated(name)
    for table, patterns in (("parity", _COMPARED), ("skipped", _SKIPPED)):
        kinds = {row["what"]: _matched(patterns, row["what"], "unknown")["kind"] for row in found[table]}
        assert kinds and "unknown" not in kinds.values(), kinds


def test_rows_say_the_same_as_before_by_their_fields(name: str):
    found = stated(name)
    metrics = typed(upgraded({key: value for key, value in found.items() if key != "schema"}, Path("metrics.json")))
    for old, row in zip(found["parity"], metrics.parity, strict=True):
        assert old["what"] in (row.label, f"{row.label} (decode)", row.label.removesuffix(" (reconstruct)"))
        assert row.tensor == old.get("operation", row.tensor) and row.tensor
        assert (row.precision is Precision.INT8) == (old["kind"] == "int8")
        named = {Kind.FLOAT: "keras", Kind.WITNESS: "litert-reference"} if ".stock." in row.file else {}
        assert row.reference == named.get(row.kind, old["reference"])
        assert row.equal_fraction == pytest.approx(1 - old["share"])
    for old, check in zip(found["checks"], metrics.checks, strict=True):
        assert sorted(check.name.split()) == sorted(old["name"].split()) and check.ok == old["ok"]
        assert check.runtime or check.kind in (Kind.SHA256, Kind.STORAGE, Kind.MANIFEST, Kind.GOLDEN, Kind.FLOAT)
    assert [f"{row.kernel}.{row.statement}".removeprefix(".") for row in metrics.storage] == [
        row["name"] for row in found["storage"]
    ]
    assert [row.title for row in metrics.quality] == [row["row"] for row in found["quality"]]
    assert [row.layout for row in metrics.errors] == [row.get("form", "") for row in found["errors"]]
    assert {row.error for row in metrics.errors} == {*Lost} and {row.maker for row in metrics.files} == {
        Maker.TIEDAE,
        Maker.STOCK,
    }
    assert [row.column for row in metrics.warnings] == [row["column"] for row in found.get("warnings", ())]


@settings(max_examples=50)
@given(st.data())
def test_no_change_of_a_value_makes_an_old_file_crash(name: str, data: st.DataObject):
    """Whatever stands at one place of the file, it is read or damaged."""
    found = changed_somewhere({key: value for key, value in stated(name).items() if key != "schema"}, data)
    try:
        typed(upgraded(found, Path("metrics.json")))
    except FormatError as error:
        assert "\n" not in str(error) and "damaged" in str(error)


def test_a_changed_kernel_of_an_old_bundle_is_still_found(schema1: Path, name: str):
    kernels = schema1 / name / "bundle" / f"{name}.int8.kernels.bin"
    data = bytearray(kernels.read_bytes())
    data[0] ^= 1
    kernels.write_bytes(bytes(data))
    assert main(["verify", str(schema1 / name / "bundle"), "-q"]) == 1


def test_files_of_an_old_bundle_are_scaled(schema1: Path, name: str):
    bundle = Bundle.open(schema1 / name / "bundle")
    manifest, x = bundle.manifest, bundle.golden()["x"]
    assert manifest.recipe.export.scaled and manifest.io.folded is None and manifest.io.floats.folded is None
    values = [v for info in manifest.models.values() for each in info.signatures.values() for v in each.values]
    assert {v.scaled for v in values if v.dtype == "float32" and v.name != "code"} == {True}
    codes = [load(bundle.path, runtime=runtime).encode(x) for runtime in ("litert-xnnpack", "ort-cpu", "program")]
    assert all(np.array_equal(each, bundle.golden()["code"]) for each in codes)


def test_a_report_is_rendered(schema1: Path, name: str):
    bundle = schema1 / name / "bundle"
    (bundle / "report.html").unlink()
    assert main(["report", str(bundle), "-q"]) == 0
    assert name in (bundle / "report.html").read_text(encoding="utf-8")


def test_an_archive_gives_the_program_of_its_bundle(schema1: Path, name: str):
    folder = schema1 / name
    bundle = Bundle.open(folder / "bundle")
    stored = bundle.programs({each: read_model(folder / "bundle" / each) for each in bundle.models}).split
    program = lower(TiedAutoencoder.load(folder / "quantize.npz"), name, layout="split")
    x = np.random.default_rng(0).integers(0, 256, (50, *program.tensors["x"].shape), dtype=np.uint8)
    ours, theirs = execute(program, "reconstruct", x), execute(stored, "reconstruct", x)
    assert all(np.array_equal(ours[key], theirs[key]) for key in ("code", "y"))


def test_recipe_and_calibration_are_read(schema1: Path, name: str):
    assert load_recipe(schema1 / name / f"{name}.toml").name == name
    assert len(read_calibration(schema1 / name / "calibration.json").sha256) == 64
