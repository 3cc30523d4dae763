"""Runs and calls that start from a convolutional model that Keras trained, tied or not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiedae as ta
from tiedae.bundle.manifest import read
from tiedae.cli import main
from tiedae.compress.imports.formats import read_model
from tiedae.compress.symmetries import permute_units, rescale_units
from tiedae.compress.tying import match
from tiedae.pipeline.importing import Start, exactly

from ..compress.imports.conv_models import IMAGE, image

RECIPE = """
name = "r"
[data]
source = "x.npy"
scaling = "none"
validation = 0.2
[model]
source = "model.keras"
{model}
[quantize]
method = "ptq"
samples = 64
[export]
targets = ["tflite"]
[verify]
max_quality_loss = 1000.0
"""


def files(folder: Path, *, tied: bool) -> Path:
    model: Any = image("tf_keras", tied=tied)
    x = np.random.default_rng(0).uniform(0, 1, (200, *IMAGE)).astype(np.float32)
    with warnings.catch_warnings(action="ignore"):
        model.save(folder / "model.keras")
    np.save(folder / "x.npy", x)
    return folder / "model.keras"


@pytest.mark.night
@pytest.mark.parametrize("tied", [True, False])
def test_a_run_starts_from_a_convolutional_model(tied: bool, tmp_path: Path) -> None:
    files(tmp_path, tied=tied)
    (tmp_path / "r.toml").write_text(RECIPE.format(model='assume = ["Tied"]' if tied else "tie = true\n[train]\nepochs = 1"))
    assert main(["run", str(tmp_path / "r.toml"), "--out", str(tmp_path / "out"), "-q"]) == 0
    imported = read(tmp_path / "out" / "bundle").imported
    assert imported is not None and imported.tie == ("stored" if tied else "trained")
    if not tied:
        assert imported.difference is not None and imported.difference < 1e-5


def test_an_import_is_the_original_in_float64(tmp_path: Path) -> None:
    path = files(tmp_path, tied=True)
    found, x = ta.from_keras(path, assume=("Tied",)), np.random.default_rng(0).uniform(0, 1, (5, *IMAGE))
    assert [layer.kind for layer in found.config.layers] == ["conv2d", "conv2d", "dense"]
    y = exactly(found, x.reshape(5, -1))[1]
    np.testing.assert_allclose(y, read_model(path)(x).reshape(5, -1), atol=1e-6)
    assert y.dtype == np.float64


def test_channels_of_a_decoder_in_another_order_and_size_are_matched(tmp_path: Path) -> None:
    start = Start.read(files(tmp_path, tied=True), assume=("Tied",))
    encodes, decodes = start.tied(), start.tied()
    rng = np.random.default_rng(1)
    for i in (0, 1):
        permute_units(decodes, i, rng.permutation(decodes.kernels[i].units))
    rescale_units(decodes, [rng.uniform(0.5, 2, 4).astype(np.float32), np.ones(6, np.float32)])
    match(encodes, decodes)
    for own, other in zip(encodes.kernels, decodes.kernels, strict=True):
        np.testing.assert_allclose(other.matrix, own.matrix, atol=1e-5)
