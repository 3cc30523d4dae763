"""`tiedae inspect` of models that somebody else trained: what it says, its exit codes, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tiedae.cli import main

from ..compress.imports.model_files import dense_layers, dense_weights, kernels, sequential, write_h5


def model(path: Path, widths: tuple[int, ...] = (12, 6, 3, 6, 12), tied: bool = False) -> Path:
    arrays = kernels(widths)
    layers, weights = dense_layers(widths), dense_weights(arrays)
    if tied:
        layers[-1] = {"class_name": "Mine", "config": {"name": "mine"}}
        weights["mine"] = {"dense/kernel:0": arrays[0], "mine/bias:0": weights.popitem()[1]["dense_3/bias:0"]}
    return write_h5(path, sequential(layers), weights)


def test_json_has_layers_constants_pairs_and_refusals(tmp_path, capsys) -> None:
    path = model(tmp_path / "m.h5", tied=True)
    assert main(["inspect", str(path), "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["file"], row["format"], row["sample"]) == ("m.h5", "Keras 2.4.0 (HDF5)", [12])
    assert row["bytes"] == path.stat().st_size
    assert row["constant_bytes"] == 4 * (12 * 6 + 6 * 3 + 3 * 6 + 6 + 3 + 6 + 12)
    assert row["layers"][0] == {"name": "dense", "class": "Dense", "computes": "product 12 → 6, bias", "refused": None}
    assert row["layers"][-1]["computes"] == "product 6 → 12, bias, the transposed kernel dense/dense/kernel:0"
    assert row["constants"][0] == {"name": "dense/dense/kernel:0", "dtype": "float32", "shape": [12, 6], "bytes": 288}
    assert [pair["status"] for pair in row["pairs"]] == ["tied", "untied"]
    own, pair = row["refused"]
    assert own.startswith("mine (Mine): of a class of your own, whose code is not read")
    assert pair == "1 of its pairs, which are not tied; `[model] tie = true` would tie it"


@pytest.mark.parametrize(
    ("widths", "tied", "text"),
    [
        ((12, 6, 3, 6, 12), False, "dense (Dense) and dense_3 (Dense), 12×6: untied (cosine "),
        ((12, 6, 12), False, "dense (Dense) and dense_1 (Dense), 12×6: untied"),
        ((12, 6, 3), False, "no kernel mirrors another"),
    ],
)
def test_fail_on_untied_names_the_pairs(tmp_path, capsys, widths, tied, text) -> None:
    path = model(tmp_path / "m.h5", widths, tied)
    assert main(["inspect", str(path)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(path), "--fail-on-untied"]) == 1
    assert f"{path}: {text}" in capsys.readouterr().err


def holder(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """12-6-12 whose second layer is of a class of its own."""
    kernel, bias = kernels((12, 6))
    layers = [dense_layers((12, 6))[0], {"class_name": "Mine", "config": {"name": "mine"}}]
    weights = dense_weights([kernel, bias]) | {"mine": {name: array for name, array in arrays.items()}}
    return write_h5(path, sequential(layers), weights)


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"dense/kernel:0": kernels((12, 6))[0]}, 0),
        ({"mine/bias:0": np.zeros(12)}, 0),
        ({}, 0),
        ({"mine/a:0": np.zeros((6, 12)), "mine/b:0": np.zeros((6, 12))}, 1),
    ],
    ids=["tied", "assumed", "assumed without a bias", "unknown"],
)
def test_an_assumed_tie_passes_and_an_unknown_one_fails(tmp_path, arrays, code) -> None:
    assert main(["inspect", str(holder(tmp_path / "m.h5", arrays)), "--fail-on-untied", "-q"]) == code


def test_without_h5py_one_line_names_the_extra(tmp_path, capsys, monkeypatch) -> None:
    path = model(tmp_path / "m.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert main(["inspect", str(path)]) == 2
    assert capsys.readouterr().err == "tiedae: h5py is not installed: pip install 'tiedae[keras]'\n"


def test_of_several_files_the_damaged_one_is_named_and_the_others_are_shown(tmp_path, capsys) -> None:
    (tmp_path / "a.h5").write_bytes(b"nothing")
    files = [str(tmp_path / "a.h5"), str(model(tmp_path / "b.h5")), str(tflite(tmp_path))]
    assert main(["inspect", *files, "--json", "-"]) == 2
    captured = capsys.readouterr()
    damaged, *others = json.loads(captured.out)
    assert list(damaged) == ["file", "error"] and [row["format"] for row in others] == ["Keras 2.4.0 (HDF5)", "tflite"]
    assert "a.h5: is no model that can be read" in captured.err


def test_an_exported_file_has_no_variables(tmp_path, capsys) -> None:
    assert main(["inspect", str(tflite(tmp_path)), "--fail-on-untied"]) == 2
    assert "got a tflite file, must be a trained model" in capsys.readouterr().err


def tflite(folder: Path) -> Path:
    example = Path(__file__).parents[2] / "examples" / "bundle.zip"
    with zipfile.ZipFile(example) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".int8.tflite"))
        return Path(archive.extract(name, folder))


def test_what_a_user_should_know_is_said(tmp_path, capsys) -> None:
    layers = [*dense_layers((6, 9, 6)), {"class_name": "Dropout", "config": {"name": "dropout"}}]
    layers.insert(1, {"class_name": "LeakyReLU", "config": {"name": "leaky"}})
    layers.insert(2, {"class_name": "LeakyReLU", "config": {"name": "leaky_1"}})
    path = write_h5(tmp_path / "m.h5", sequential(layers), dense_weights(kernels((6, 9, 6))))
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "leaky, leaky_1 (LeakyReLU): is no activation" in shown
    assert "left out, without effect outside training: dropout (Dropout)" in shown
    assert "its code of 9 values is no smaller than a sample of 6" in shown


def test_names_of_a_file_are_printed_without_control_characters(tmp_path, capsys) -> None:
    layers, weights = dense_layers((6, 6)), dense_weights(kernels((6, 6)), ["a\x1b[2J\nb"])
    layers[0]["config"]["name"] = "a\x1b[2J\nb"
    assert main(["inspect", str(write_h5(tmp_path / "m.h5", sequential(layers), weights))]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "a\\x1b[2J\\nb (Dense)" in shown


MEASURE = """
import resource, sys
from tiedae.cli import main
code = main(["inspect", sys.argv[1], "-q"])
loaded = [name for name in ("tensorflow", "keras", "tf_keras", "onnx") if name in sys.modules]
print(code, loaded, next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) >> 10)
"""


def measured(path: Path) -> tuple[str, int]:
    """Exit code and imported packages, and the peak of resident memory in MiB, of a process of its own."""
    run = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=60)
    result, _, peak = run.stdout.splitlines()[-1].rpartition(" ")
    return result, int(peak)


def test_inspect_imports_no_tensorflow_and_takes_little_memory(tmp_path) -> None:
    result, peak = measured(model(tmp_path / "m.h5"))
    assert result == "0 []"
    assert peak < 80


@pytest.mark.parametrize("where", ["optimizer_weights/m", pytest.param("model_weights", marks=pytest.mark.ci)])
def test_a_file_of_a_gigabyte(tmp_path, where: str) -> None:
    """Optimizer state is not touched; the values of a pair are in memory, each array once, of a sparse file."""
    widths = (12, 6, 12) if where.startswith("optimizer") else (16_384, 8_192, 16_384)
    path = tmp_path / "m.h5"
    with h5py.File(write_h5(path, sequential(dense_layers(widths)), {}), "a") as file:
        root: Any = file["model_weights"]
        root.attrs["layer_names"] = [b"dense", b"dense_1"]
        for name, pair in (("dense", widths[:2]), ("dense_1", widths[1:])):
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            allocate(group, f"{name}/kernel:0", pair)
            allocate(group, f"{name}/bias:0", pair[1:])
        if where.startswith("optimizer"):
            allocate(file, where, (1 << 28,))
    assert path.stat().st_size > 1 << 30
    result, peak = measured(path)
    assert result == "0 []"
    assert peak < (80 if where.startswith("optimizer") else 1_300)


def allocate(group: h5py.Group, name: str, shape: tuple[int, ...]) -> None:
    """An array of zeros that takes no space on the disk."""
    space, properties = h5py.h5s.create_simple(shape), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, properties, links)
