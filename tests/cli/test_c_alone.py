"""A bundle of C files alone: what scores samples by default is its program, in the layout that the C files compute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle
from tiedae.cli import main
from tiedae.export.targets import TARGETS

from ..export.c.compiled import compiler

RECIPE = """
[data]
source = "x.npy"
test = 0.2
validation = 0.2
[model]
layers = [{units = 6, activation = "relu"}, {units = 3}]
[train]
epochs = 2
[quantize]
method = "ptq"
[task]
kind = "anomaly"
quantile = 0.9
[export]
stock = false
targets = ["c"]
"""


def scores(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[dict, str]:
    """The summary, and the lines of each sample."""
    out = folder / f"{'-'.join(('scores', *options[1:]))}.csv"
    capsys.readouterr()
    data = str(folder / "x.npy")
    assert main(["score", str(folder / "out"), data, "--json", "-", "--csv", str(out), *options]) == 0
    return json.loads(capsys.readouterr().out), out.read_text()


def test_scores_are_those_of_the_program_and_of_the_compiled_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("x.npy", (rng.normal(size=(400, 2)) @ rng.normal(size=(2, 10))).astype(np.float32))
    Path("recipe.toml").write_text(RECIPE)
    assert main(["run", "recipe.toml", "--out", "out"]) == 0
    manifest = Bundle.open(tmp_path / "out" / "bundle").manifest
    assert {info.format for info in manifest.models.values()} == {"c"} and manifest.detector is not None
    default, lines = scores(tmp_path, capsys)
    exact, same = scores(tmp_path, capsys, "--runtime", "program")
    assert default == exact and lines == same and default["runtime"] == "program"
    assert default["threshold"] == manifest.detector.threshold(manifest.layout("c")) and TARGETS["c"].source
    assert default["alarms"] > 0
    if compiler():
        built, same = scores(tmp_path, capsys, "--runtime", "c")
        assert built == {**default, "runtime": "c"} and lines == same
