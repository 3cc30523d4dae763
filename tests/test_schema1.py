"""Bundles, recipes, archives, calibrations and baselines written before the keys of 2026-11-26 stay usable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiedae.calibration.artefact import read_calibration
from tiedae.cli import main
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.export.bundle import Bundle
from tiedae.export.interpreter import execute
from tiedae.export.lowering import lower
from tiedae.export.targets import read_model
from tiedae.recipe import load_recipe

pytestmark = pytest.mark.parametrize("name", ["bytes", "table"])


def test_a_bundle_verifies_against_its_own_metrics_as_baseline(schema1: Path, name: str, tmp_path: Path):
    bundle, out = schema1 / name / "bundle", tmp_path / "metrics.json"
    assert main(["verify", str(bundle), "-q", "--json", str(out), "--baseline", str(bundle / "metrics.json")]) == 0
    assert all(check["ok"] for check in json.loads(out.read_bytes())["checks"])


def test_a_changed_kernel_of_an_old_bundle_is_still_found(schema1: Path, name: str):
    kernels = schema1 / name / "bundle" / f"{name}.int8.kernels.bin"
    data = bytearray(kernels.read_bytes())
    data[0] ^= 1
    kernels.write_bytes(bytes(data))
    assert main(["verify", str(schema1 / name / "bundle"), "-q"]) == 1


def test_a_report_is_rendered(schema1: Path, name: str):
    bundle = schema1 / name / "bundle"
    (bundle / "report.html").unlink()
    assert main(["report", str(bundle), "-q"]) == 0
    assert name in (bundle / "report.html").read_text(encoding="utf-8")


def test_an_archive_gives_the_program_of_its_bundle(schema1: Path, name: str):
    folder = schema1 / name
    bundle = Bundle.open(folder / "bundle")
    stored = bundle.programs({each: read_model(folder / "bundle" / each) for each in bundle.models}).split
    program = lower(TiedAutoencoder.load(folder / "quantize.npz"), name, form="split")
    x = np.random.default_rng(0).integers(0, 256, (50, *program.tensors["x"].shape), dtype=np.uint8)
    ours, theirs = execute(program, "reconstruct", x), execute(stored, "reconstruct", x)
    assert all(np.array_equal(ours[key], theirs[key]) for key in ("code", "y"))


def test_recipe_and_calibration_are_read(schema1: Path, name: str):
    assert load_recipe(schema1 / name / f"{name}.toml").name == name
    assert len(read_calibration(schema1 / name / "calibration.json").sha256) == 64
