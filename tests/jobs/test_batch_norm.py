"""A net with batch normalization as a whole job at real size: trained, pruned, quantized, exported and verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiedae as ta
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.program.operations import Gain

from ..export.c.compiled import tool

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


@pytest.mark.ci
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
    coded, decoded = tmp_path / "samples.tae", tmp_path / "decoded.npy"
    np.save(tmp_path / "few.npy", samples[:200])
    assert main(["encode", str(bundle.path), str(tmp_path / "few.npy"), "-o", str(coded), "--lossless", "-q"]) == 0
    assert main(["decode", str(bundle.path), str(coded), "-o", str(decoded), "-q"]) == 0
    np.testing.assert_array_equal(np.load(decoded), samples[:200])
