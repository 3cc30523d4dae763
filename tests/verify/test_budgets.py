"""Slow runtimes run as many samples as their budget of multiply-adds allows, at any load; the report says how many."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.manifest import read
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind, Why
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.collecting import MeasuredSamples
from tiedae.verify.verify import verify_bundle

from ..conftest import build_program

RUNS = Path(__file__).parents[1] / "runs.zip"
SAMPLES = 300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    zipfile.ZipFile(RUNS).extractall(folder)
    return folder / "bytes" / "bundle"


def test_a_budget_follows_from_the_multiply_adds_of_a_net() -> None:
    small, large = build_program((20, 12, 5)), build_program((400, 300, 20))
    assert (small.multiply_adds, large.multiply_adds) == (2 * (20 * 12 + 12 * 5), 2 * (400 * 300 + 300 * 20))
    row = dataclasses.replace(RUNTIMES["tflm"], budget=60_000_000)
    assert row.samples(large, 10_000) == 60_000_000 // large.multiply_adds
    assert row.samples(large, 50) == 50 and row.samples(small, 10_000) == 10_000
    assert dataclasses.replace(row, budget=1.0).samples(large, 10_000) == 64  # at least
    assert {name for name, each in RUNTIMES.items() if each.budget < np.inf} == {"litert-builtin", "litert-reference", "tflm"}


def test_a_slow_runtime_runs_the_first_samples_and_says_how_many(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read(bundle)
    x = np.tile(np.load(bundle / "golden" / "x.npy"), (10, *[1] * len(manifest.data.shape)))[:SAMPLES]
    said: list[str] = []
    monkeypatch.setitem(RUNTIMES, "litert-reference", dataclasses.replace(RUNTIMES["litert-reference"], budget=1.0))
    metrics = verify_bundle(bundle, MeasuredSamples.of(Samples(x, scaling=manifest.data.scaling)), announce=said.append)
    assert not metrics.failed
    assert f"int8 litert-reference, 64 of {SAMPLES} samples" in said and "int8 litert-xnnpack" in said
    rows = [row for row in metrics.skipped if row.why is Why.LIMITED and row.kind is Kind.QUALITY]
    assert {row.runtime for row in rows} == {"litert-reference"}
    assert all(f"64 of {SAMPLES} samples run in it" in row.reason for row in rows)
    assert {row.runtime for row in metrics.quality} >= {"litert-xnnpack"}
    assert "litert-reference" not in {row.runtime for row in metrics.quality}
    codes = {row.runtime: row.count for row in metrics.parity if row.kind is Kind.CODES and row.signature == "encode"}
    assert codes["litert-reference"] * SAMPLES == codes["litert-xnnpack"] * 64
