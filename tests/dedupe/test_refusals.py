"""`tiedae inspect` says every reason for which a run would refuse a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.dedupe.models import inspect_model

from ..compress.imports.model_files import dense_layers, dense_weights, kernels, sequential, write_h5

WIDTHS = (12, 6, 3, 6, 12)
Layers = list[dict[str, Any]]


def refused(
    path: Path, widths: Sequence[int], change: Callable[[Layers], object], arrays: Sequence[np.ndarray] = ()
) -> list[str]:
    layers = dense_layers(widths)
    change(layers)
    arrays = arrays or kernels(widths)
    return inspect_model(write_h5(path, sequential(layers), dense_weights(arrays)))["refused"]


def with_config(**values: Any) -> Callable[[Layers], object]:
    """The last layer but one, of other values."""
    return lambda layers: layers[-2]["config"].update(values)


def nothing(_: Layers) -> None:
    pass


CASES: Mapping[str, tuple[Sequence[int], Callable[[Layers], object], tuple[str, ...]]] = {
    "a classifier": (
        (12, 6, 3),
        nothing,
        ("dense_1 (Dense): gives 3 values (12-6-3), must give the 12 values of a sample back",),
    ),
    "a skewed one": ((12, 6, 5, 7, 12), nothing, ("dense_3 (Dense): widths 12-6-5-7-12, must be mirrored",)),
    "an odd number": ((12, 6, 6, 12), nothing, ("dense_1 (Dense): is one of 3 products, an odd number",)),
    "no layer": (
        (12, 12),
        lambda layers: layers.__setitem__(0, {"class_name": "ReLU", "config": {"name": "r", "batch_input_shape": [None, 12]}}),
        ("has no Dense layer and no convolution",),
    ),
    "an activation": (
        WIDTHS,
        with_config(activation="tanh"),
        ("dense_2 (Dense): activation tanh, must be relu, as of dense (Dense)",),
    ),
    "several at once": (
        WIDTHS,
        lambda layers: (
            with_config(activation="tanh")(layers),
            layers.insert(0, {"class_name": "Activation", "config": {"name": "first", "activation": "relu"}}),
            layers.append({"class_name": "Rescaling", "config": {"name": "scaled", "scale": 2.0, "offset": 0.0}}),
            layers[0]["config"].update(layers[1]["config"].pop("batch_input_shape") and {"batch_input_shape": [None, 12]}),
        ),
        (
            "scaled (Rescaling): scales the output, must be the inverse",
            "first (Activation): activation relu of the sample, must be behind a product",
            "dense_2 (Dense): activation tanh, must be relu",
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_reason_is_said(tmp_path: Path, case: str) -> None:
    widths, change, expected = CASES[case]
    found = refused(tmp_path / "m.h5", widths, change)
    for text in expected:
        assert sum(line.startswith(text) for line in found) == 1, found


def test_kernels_that_are_not_finite_are_said(tmp_path: Path) -> None:
    arrays = kernels(WIDTHS)
    arrays[0][0, 0] = arrays[3][1] = np.nan
    found = refused(tmp_path / "m.h5", WIDTHS, nothing, arrays)
    lines = [line for line in found if "got NaN or infinity, weights must be finite" in line]
    assert [line.partition(":")[0] for line in lines] == ["dense (Dense)", "dense_1 (Dense)"]


def test_a_model_that_a_run_takes_has_no_reason(tmp_path: Path) -> None:
    found = refused(tmp_path / "m.h5", WIDTHS, nothing)
    assert found == ["2 of its pairs, which are not tied; `[model] tie = true` would tie it"]
