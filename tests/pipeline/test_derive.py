"""A derived bundle of a float table, whose files are in the data's own unit of measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.cli import main
from tiedae.codec.opening import load


@pytest.mark.ci
def test_a_float_table_keeps_its_unit(float_run: Path, tmp_path: Path) -> None:
    data, out = float_run.parent / "table.npy", tmp_path / "out"
    assert main(["rescale", str(float_run), "--data", str(data), "-o", str(out), "--factor", "1.5", "-q"]) == 0
    before, after = load(float_run, runtime="program"), load(out, runtime="program")
    x = np.load(data)
    x += x.std(axis=0) * np.random.default_rng(1).normal(0, 0.2, x.shape)  # errors that no scale of codes changes
    np.testing.assert_allclose(before.score(x).mean(), after.score(x).mean(), rtol=0.2)
    assert after.code.quantization.scale == float(np.float32(1.5 * before.code.quantization.scale))
    assert main(["verify", str(out), "--data", str(data), "-q"]) == 0
