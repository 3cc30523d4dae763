"""Models in models: where their arrays are in an archive, and how many layers a file may make of few."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tiedae.base.errors import FormatError
from tiedae.base.limits import KERAS_LAYERS
from tiedae.cli import main
from tiedae.compress.imports.formats import read_model
from tiedae.dedupe.models import inspect_model

from .model_files import hdf5_bytes, write_archive


def saved(model: Any, path: Path) -> Path:
    with warnings.catch_warnings(action="ignore"):
        model.save(path)
    return path


def half(name: str, *units: int) -> Any:
    """A model of Dense layers, whose group in an archive has no arrays of its own."""
    return keras.Sequential([keras.layers.Dense(each) for each in units], name=name)


def test_models_beside_a_layer_with_weights_have_their_arrays(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).uniform(0, 1, (50, 20)).astype(np.float32)
    scaling = keras.layers.Normalization()
    scaling.adapt(x)
    model = keras.Sequential([keras.Input((20,)), scaling, half("encoder_half", 8, 4), half("decoder_half", 8, 20)])
    chain = read_model(saved(model, tmp_path / "m.keras"))
    np.testing.assert_allclose(chain(x), model.predict(x, verbose=0), atol=1e-5)


def test_arrays_of_cells_beside_a_layer_with_weights_are_counted(tmp_path: Path) -> None:
    cells = keras.layers.RNN([keras.layers.LSTMCell(4), keras.layers.LSTMCell(3)])
    model = keras.Sequential([keras.Input((5, 3)), cells, keras.layers.Dense(3)])
    assert inspect_model(saved(model, tmp_path / "m.keras"))["constant_bytes"] == 4 * model.count_params()


def in_each_other(depth: int, calls: int = 2) -> dict[str, Any]:
    """A model that calls the model inside it so many times; the innermost has a layer without weights."""
    inner: dict[str, Any] = {"class_name": "Dropout", "config": {"name": "inner"}}
    for level in range(depth):
        x = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 4]}, "inbound_nodes": []}
        first = [[["x", 0, 0, {}]]]
        nodes = first + [[["inner", call, 0, {}]] for call in range(calls - 1)]
        name = "inner" if level < depth - 1 else "model"
        ends = {"input_layers": [["x", 0, 0]], "output_layers": [["inner", calls - 1, 0]]}
        config = {"name": name, "layers": [x, inner | {"name": "inner", "inbound_nodes": nodes}], **ends}
        inner = {"class_name": "Functional", "config": config}
    return inner


def test_models_that_call_each_other_twice_end_in_one_line(tmp_path: Path, capsys) -> None:
    path = write_archive(tmp_path / "m.keras", in_each_other(16), hdf5_bytes({}))
    assert path.stat().st_size < 40_000
    with pytest.raises(FormatError, match=rf"m\.keras: inner \(Functional\): .*more than {KERAS_LAYERS:,} layers up to it"):
        read_model(path)
    assert main(["inspect", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_few_models_in_each_other_are_read(tmp_path: Path) -> None:
    chain = read_model(write_archive(tmp_path / "m.keras", in_each_other(8), hdf5_bytes({})))
    assert len(chain.left_out) == 2**8
