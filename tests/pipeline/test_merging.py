"""Runs and calls of a model whose pairs are equal copies: one kernel a pair, no training, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiedae as ta
from tiedae.base.archive import FORMAT, unpack
from tiedae.base.errors import InputError
from tiedae.bundle.manifest import read
from tiedae.bundle.results import FILE, read_metrics
from tiedae.cli import main
from tiedae.pipeline.recipe import load_recipe

from ..compress.imports.onnx_graphs import Graph
from .imported_models import samples

RECIPE = """
name = "r"
[data]
source = "floats.npy"
[model]
source = "net.onnx"
tie = true
{}
[quantize]
method = "ptq"
samples = 64
[export]
stock = false
targets = ["tflite"]
[verify]
max_quality_loss = 20.0
"""
SAID = "its pairs are equal copies, which become one kernel each without training: no value changes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """net.onnx, 24-12-4-12-24 as PyTorch's exporter writes a tied one, floats.npy, and a recipe r.toml."""
    graph = Graph(("n", 24))
    kernels = [graph.rng.normal(0, 0.4, shape).astype(np.float32) for shape in ((12, 24), (4, 12))]
    for i, kernel in enumerate((*kernels, *(np.ascontiguousarray(kernel.T) for kernel in kernels[::-1]))):
        graph.add("Gemm", graph.array(kernel, f"kernel_{i}"), graph.floats(len(kernel), low=-0.2, high=0.2), transB=1)
        if activation := {0: "Relu", 2: "Relu", 3: "Sigmoid"}.get(i):
            graph.add(activation)
    graph.save(tmp_path)
    np.save(tmp_path / "floats.npy", samples())
    (tmp_path / "r.toml").write_text(RECIPE.format(""))
    return tmp_path


def kernels_of(folder: Path) -> list[bytes]:
    """The encoder's kernels of net.onnx as [inputs, units]."""
    import onnx

    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(folder / "net.onnx").graph.initializer}
    return [np.ascontiguousarray(arrays[f"kernel_{i}"].T).tobytes() for i in range(2)]


def test_a_run_keeps_every_value_and_says_so(folder: Path, capsys) -> None:
    assert main(["run", str(folder / "r.toml"), "--out", str(folder / "out")]) == 0
    assert SAID in " ".join(capsys.readouterr().err.split())
    _, arrays = unpack(folder / "out" / "model" / "train.safetensors", FORMAT)
    shapes = ((24, 12), (12, 4))
    stored = [[each.tobytes() for each in arrays.values() if each.shape == shape] for shape in shapes]
    assert stored == [[kernel] for kernel in kernels_of(folder)]
    bundle = folder / "out" / "bundle"
    imported = read(bundle).imported
    assert imported is not None and imported.tie == "merged" and SAID in imported.notes
    assert imported.difference is not None and imported.difference < 1e-6
    assert SAID in (bundle / "MODEL_CARD.md").read_text() and SAID in (bundle / "report.html").read_text()
    metrics = read_metrics(bundle / FILE)
    assert not metrics.untied and not metrics.history


def test_python_ties_it_without_training(folder: Path) -> None:
    data = ta.Dataset.from_array(samples(), scaling="none")
    model = ta.tie(folder / "net.onnx", data)
    assert [np.ascontiguousarray(kernel.matrix).tobytes() for kernel in model.kernels] == kernels_of(folder)
    assert model.lineage.origin is not None and model.lineage.origin.tie == "merged" and not model.lineage.history
    with pytest.raises(InputError, match="epochs: got 3, must be left out: the kernels of a pair are equal"):
        ta.tie(folder / "net.onnx", data, epochs=3)


@pytest.mark.parametrize("options", [[], ["--data", "floats.npy"]])
def test_a_recipe_for_it_trains_nothing(folder: Path, monkeypatch, options: list[str]) -> None:
    monkeypatch.chdir(folder)
    np.save("samples.npy", samples())
    assert main(["recipe", "--from", "net.onnx", *options, "-o", "made.toml"]) == 0
    found = load_recipe(Path("made.toml"))
    assert found.model.tie and found.train.epochs == 0
    assert "nothing is trained for it" in Path("made.toml").read_text()


def test_a_teacher_of_equal_kernels_is_refused(folder: Path, capsys) -> None:
    (folder / "r.toml").write_text(RECIPE.format("[train]\ndistill = 0.5\nepochs = 2"))
    assert main(["run", str(folder / "r.toml"), "--out", str(folder / "out")]) == 2
    assert "train.distill: got 0.5, must be 0: the kernels of a pair are equal" in capsys.readouterr().err


def test_inspect_says_that_no_training_is_needed(folder: Path, capsys) -> None:
    assert main(["inspect", str(folder / "net.onnx")]) == 0
    shown = capsys.readouterr().out
    assert "2 of its pairs, which are not tied; `[model] tie = true` makes one kernel of each pair, without training" in shown
