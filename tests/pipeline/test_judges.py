"""Recipes hold the judges of quantization-aware training out of all training, and later commands know which they were."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle
from tiedae.compress.held_out import FEWEST
from tiedae.pipeline.recipe import parse_recipe
from tiedae.pipeline.run_artifacts import load_scored
from tiedae.pipeline.runs import run_recipe
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console

SAMPLES, TEST = 1300, 130


def recipe_of(folder: Path, **quantize: object):
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", (rng.normal(size=(SAMPLES, 2)) @ rng.normal(size=(2, 8))).astype(np.float32))
    tables = {
        "data": {"source": "x.npy"},
        "model": {"layers": [{"units": 6, "activation": "relu"}, {"units": 2}]},
        "train": {"epochs": 1},
        "quantize": {"epochs": 1, **quantize},
        "export": {"targets": ["c"], "stock": False},
    }
    return parse_recipe(tables, "judges")


@pytest.mark.parametrize(("method", "held"), [("qat", FEWEST), ("ptq", 0)])
def test_training_for_quantization_holds_samples_out(tmp_path: Path, method: str, held: int) -> None:
    splits = recipe_data(recipe_of(tmp_path, method=method), tmp_path)
    assert (splits.validation is None) == (held == 0)
    assert len(splits.train) == SAMPLES - TEST - held


def test_a_run_is_judged_by_them_and_later_commands_know_them(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    with Console() as console:
        metrics = run_recipe(recipe, base=tmp_path, out=tmp_path / "run", resume=False, force=False, console=console)
    kept = metrics.history[-1].kept
    assert kept is not None and kept.split == "validation"
    manifest = Bundle.open(tmp_path / "run" / "bundle").manifest
    splits = Counter(load_scored(manifest, str(tmp_path / "x.npy"))[1].tolist())
    assert splits == {"train": SAMPLES - TEST - FEWEST, "validation": FEWEST, "test": TEST}
