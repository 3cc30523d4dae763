"""A net with batch normalization as a whole job at real size: trained, pruned, quantized, exported and verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import tiedae as ta
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.export import execute, lower
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.sources import recipe_data
from tiedae.program.interpreter import program_input
from tiedae.program.operations import Gain

from ..export.c.compiled import tool
from ..samples import curve

RECIPE = """
[data]
source = "samples.npy"
validation = 0.1
[model]
layers = [
  {units = 512, activation = "relu", batch_norm = true},
  {units = 256, activation = "relu", batch_norm = true},
  {units = 64, batch_norm = true},
]
[train]
epochs = 3
[prune]
pattern = "structured"
sparsity = 0.1
epochs = 1
[quantize]
epochs = 2
samples = 128
[export]
targets = ["tflite", "onnx", "c"]
[verify]
max_quality_loss = 0.1
"""


@pytest.mark.night
def test_a_net_of_784_512_256_64(tmp_path: Path) -> None:
    tool("gcc")
    samples = np.ascontiguousarray(ta.load_data("fashion").train.values[:3000].reshape(-1, 28, 28))
    np.save(tmp_path / "samples.npy", samples)
    (tmp_path / "net.toml").write_text(RECIPE)
    assert main(["run", str(tmp_path / "net.toml"), "--out", str(tmp_path / "run"), "-q"]) == 0
    bundle = Bundle.open(tmp_path / "run" / "bundle")
    assert [check.text for check in read_metrics(bundle.path / "metrics.json").failed] == []
    split, fused = bundle.manifest.operations.split, bundle.manifest.operations.fused
    assert sum(each["op"] == Gain.__name__ for each in split.decoder) == 2
    assert sum("gains" in each for each in fused.encoder + fused.decoder) == 5
    assert main(["verify", str(bundle.path), "-q"]) == 0
    assert "of the units of layers 1, 2, 3: a gain and a bias" in (bundle.path / "report.html").read_text()
    coded, decoded = tmp_path / "samples.tae", tmp_path / "decoded.npy"
    np.save(tmp_path / "few.npy", samples[:200])
    assert main(["encode", str(bundle.path), str(tmp_path / "few.npy"), "-o", str(coded), "--lossless", "-q"]) == 0
    assert main(["decode", str(bundle.path), str(coded), "-o", str(decoded), "-q"]) == 0
    np.testing.assert_array_equal(np.load(decoded), samples[:200])


@pytest.mark.night
def test_the_net_of_mlperf_tiny_scores_in_int8_as_in_float(tmp_path: Path) -> None:
    """The recipe's net on 2,000 windows made here, 60 · curve − 60 dB and noise of 3 dB, eight epochs of small batches."""
    assert main(["recipe", "--for", "machine-sound", "-o", str(tmp_path / "sound.toml"), "-q"]) == 0
    noise = np.random.default_rng(0).normal(0, 3, (2000, 640))
    np.savez(tmp_path / "windows.npz", x=(60 * curve(2000, 640) - 60 + noise).astype(np.float32), groups=np.arange(2000) // 100)
    recipe = load_recipe(tmp_path / "sound.toml")
    assert recipe.model.widths[1:] == (128, 128, 128, 128, 8) and all(layer.batch_norm for layer in recipe.model.layers)
    data = recipe_data(recipe, tmp_path)
    model = ta.TiedAutoencoder(recipe.model.of_samples(data.train.shape))
    model.fit(data, train=replace(recipe.train, epochs=8, batch_size=64), verbose=0)
    x = data.test.take(np.arange(len(data.test)))
    program = lower(ta.quantize(model, data, epochs=0, verbose=0), "sound", layout="split")
    q = program_input(program, x)
    y = program.tensors["y"].quantization.dequantize(execute(program, "reconstruct", q)["y"])
    score, own = (float(np.square(x - each).mean()) for each in (y, model(x).numpy()))
    assert score == pytest.approx(own, rel=0.01)
    assert own < 0.8 * np.square(x - x.mean(axis=0)).mean()
