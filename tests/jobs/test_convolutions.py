"""A detector of convolutions over a record as a whole job: run, verify, encode, decode, score of each time step, C."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tiedae.cli import main
from tiedae.data.data_sets import ASSETS

from ..export.c.compiled import tool

RECIPE = """
[data]
source = "ecg-anomaly"
window = 256
stride = 32
split = "tail"
validation = 0.15
test = 0.4
[model]
layers = [
    { kind = "conv1d", filters = 8, kernel = 9, strides = 4, activation = "relu" },
    { kind = "conv1d", filters = 12, kernel = 5, strides = 2, activation = "relu" },
    { kind = "maxpool" },
    { kind = "flatten" },
    { units = 16 },
]
output_activation = "linear"
[train]
epochs = 2
[quantize]
epochs = 1
[export]
targets = ["tflite", "onnx", "c"]
stock = false
[task]
kind = "anomaly"
quantile = 0.95
"""
STEPS = 2560


@pytest.mark.night
def test_a_detector_of_a_record(tmp_path: Path) -> None:
    tool("gcc")
    record = np.load(ASSETS / "ecg" / "mitbih208.npy")[:STEPS]
    np.save(tmp_path / "record.npy", record)
    (tmp_path / "net.toml").write_text(RECIPE)

    def call(*arguments: str) -> None:
        places = [str(tmp_path / each[1:]) if each.startswith("@") else each for each in arguments]
        assert main([*places, "-q"]) == 0, arguments

    call("run", "@net.toml", "--out", "@run")
    call("verify", "@run/bundle")
    call("encode", "@run/bundle", "@record.npy", "-o", "@record.tae")
    call("decode", "@run/bundle", "@record.tae", "-o", "@decoded.npy")
    call("score", "@run/bundle", "@record.npy", "--csv", "@steps.csv")
    call("package", "@run/bundle", "--for", "c", "-o", "@c")
    with (tmp_path / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    errors, scores = (np.array([float(row[name]) for row in rows]).reshape(-1, 256) for name in ("error", "score"))
    np.testing.assert_allclose(errors.mean(axis=1), scores[:, 0], rtol=1e-4)
    squared = np.square(record - np.load(tmp_path / "decoded.npy").astype(np.float64)).reshape(errors.shape)
    np.testing.assert_allclose(np.corrcoef(squared.ravel(), errors.ravel())[0, 1], 1, atol=1e-3)
