"""A table of 1e9 and small differences: the gate compares in the data's dtype, and a suggested recipe has scaled values."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.config.scaling import Scaling
from tiedae.export.kinds import Kind
from tiedae.pipeline.suggesting import Wish, suggest
from tiedae.pipeline.suggesting.facts import coarse_inputs

RECIPE = """
name = "t"
[data]
source = "t.npy"
kind = "table"
test = 0.2
[model]
layers = [{{ units = 8, activation = "tanh" }}, 2]
output_activation = "linear"
[train]
epochs = 10
batch_size = 32
[quantize]
method = "ptq"
[export]
targets = ["onnx"]
scaled = {scaled}
"""


def far_away(folder: Path, dtype: str = "float64", offset: float = 1e9) -> Path:
    """Rows of six columns on a plane, 0.3 around `offset`: float32 has steps of 64 at 1e9."""
    rng = np.random.default_rng(0)
    rows = 0.3 * rng.normal(size=(600, 2)) @ rng.normal(size=(2, 6))
    np.save(folder / "t.npy", (offset + rows).astype(dtype))
    return folder / "t.npy"


@pytest.mark.parametrize(("scaled", "code"), [("false", 1), ("true", 0)])
def test_a_constant_output_fails_where_float32_rounds_all_samples_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaled: str, code: int
) -> None:
    """Against samples rounded to float32 its error is 0, and it passed."""
    monkeypatch.chdir(tmp_path)
    far_away(tmp_path)
    Path("r.toml").write_text(RECIPE.format(scaled=scaled), encoding="utf-8")
    assert main(["run", "r.toml", "--out", "o", "-q"]) == code
    metrics = read_metrics(Path("o/bundle/metrics.json"))
    quality = {check.ok for check in metrics.checks if check.kind is Kind.QUALITY}
    assert quality == {not code}
    assert all(row.error > 1e-4 for row in metrics.quality)
    assert main(["verify", "o", "--data", "t.npy", "--model", "o/model", "-q"]) == code


@pytest.mark.parametrize(
    ("dtype", "offset", "scaled"),
    [("float64", 1e9, True), ("float64", 10.0, False), ("float32", 1e4, True), ("float32", 10.0, False)],
)
def test_a_recipe_has_scaled_values_where_float32_is_coarse(tmp_path: Path, dtype: str, offset: float, scaled: bool) -> None:
    """A 255th of the range is the step: 0.01 or so, a tenth of which float32 has to resolve."""
    far_away(tmp_path, dtype, offset)
    suggestion = suggest(Wish.of("t.npy"), base=tmp_path, to=tmp_path)
    assert tomllib.loads(suggestion.text).get("export", {}).get("scaled", False) == scaled
    assert bool(suggestion.facts.coarse) == scaled


def test_inputs_are_coarse_at_the_step_of_a_byte() -> None:
    """float32 has steps of 1 / 1,024 at 10,000: too coarse for a byte of 0.0078, not for one of 0.012."""
    for scale, count in ((2.0, 1), (3.0, 0)):
        assert coarse_inputs(Scaling("minmax", (1e4, 0.0), (scale, 1.0)), "float32", 1.0) == count
    assert coarse_inputs(Scaling("byte", 0.0, 255.0), "uint8", 1.0) == 0
    assert coarse_inputs(Scaling("minmax", (0.0, 0.0), (1e-42, 1.0)), "float64", 1.0) == 2, "no float32 number"
