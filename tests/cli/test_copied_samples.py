"""A source of few samples that it holds many times: the whole job, from the recipe to a verdict by the different ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import read_metrics
from tiedae.cli import main

SMALLER = (("epochs = 267", "epochs = 30"), ("epochs = 24", "epochs = 3"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.npy"])
def test_thirty_copies_of_twenty_samples_are_a_run_with_a_verdict_on_four(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.repeat(np.random.default_rng(0).normal(size=(20, 8)).round(3), 30, axis=0).astype(np.float32)
    source, recipe = tmp_path / name, tmp_path / "recipe.toml"
    if source.suffix == ".npy":
        np.save(source, rows)
    else:
        np.savetxt(source, rows, "%.3f", delimiter=",", header="a,b,c,d,e,f,g,h", comments="")
    assert main(["recipe", "--data", str(source), "-o", str(recipe)]) == 0
    text = recipe.read_text()
    for before, after in SMALLER:
        assert text.count(f"\n{before}\n") == 1
        text = text.replace(f"\n{before}\n", f"\n{after}\n")
    recipe.write_text(text + '\n[export]\ntargets = ["onnx"]\nstock = false\n')
    assert main(["run", str(recipe), "--out", str(tmp_path / "out")]) == 0
    metrics = read_metrics(Bundle.open(tmp_path / "out" / "bundle").path / "metrics.json")
    assert metrics.verdict is not None and (metrics.verdict.samples, metrics.verdict.different) == (120, 4)
    printed = capsys.readouterr().out
    assert "120 test samples, 4 of them different" in printed
    assert main(["verify", str(tmp_path / "out"), "--data", str(source)]) == 0
