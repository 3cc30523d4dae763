"""A run on a float table, whose files are float32 in the table's own units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiedae.cli import main

FLOAT_RECIPE = """
name = "table"
[data]
source = "table.npy"
[model]
layers = [ {units = 8, activation = "relu"}, {units = 4} ]
output_activation = "linear"
[train]
epochs = 2
batch_size = 32
[quantize]
epochs = 1
samples = 64
[verify]
max_quality_loss = 100.0
"""


@pytest.fixture(scope="session")
def float_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of seconds, OUT, on a float64 table: columns of scales 0.01 to 100, around −40 to 320."""
    folder = tmp_path_factory.mktemp("float")
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (400, 3)) @ rng.normal(0, 1, (3, 10))
    np.save(folder / "table.npy", table * np.logspace(-2, 2, 10) + np.linspace(-40, 320, 10))
    (folder / "table.toml").write_text(FLOAT_RECIPE, encoding="utf-8")
    assert main(["run", str(folder / "table.toml"), "--out", str(folder / "out"), "-q"]) == 0
    return folder / "out"
