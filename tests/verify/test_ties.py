"""`assert_tied` on live models and on files, as people's tests call it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tiedae as ta

from ..compress.imports.hand_made import apart, by_name, library, mirrored


def test_a_tied_model_passes_live_and_saved(tmp_path: Path) -> None:
    model = mirrored("DenseTied")("tf_keras")
    model.save(tmp_path / "model.keras")
    for tied in (model, tmp_path / "model.keras", str(tmp_path / "model.keras")):
        assert [pair.status for pair in ta.assert_tied(tied)] == ["tied", "tied"]


@pytest.mark.parametrize(
    ("layers", "inputs"),
    [
        ([12, 5], 48),
        ([{"units": 12, "activation": "relu", "batch_norm": True}, 5], 48),
        ([{"kind": "conv2d", "filters": 4, "strides": 2, "activation": "relu"}, {"kind": "flatten"}, 5], (6, 8, 1)),
    ],
    ids=["dense", "batch_norm", "conv2d"],
)
def test_a_model_of_ours_is_tied_until_a_layer_uses_no_kernel(layers: list, inputs: Any) -> None:
    model = type("Own", (ta.TiedAutoencoder,), {})(layers, inputs=inputs)
    before = [each.numpy() for each in model.variables]
    assert [pair.status for pair in ta.assert_tied(model)] == ["tied", "tied"]
    assert [pair.status for pair in ta.assert_tied(model, inputs=np.ones((3, 6, 8)))] == ["tied", "tied"]
    assert all(np.array_equal(each.numpy(), was) for each, was in zip(model.variables, before, strict=True))
    model.decoder.stack[-1].call = lambda x, training, kernel: np.ones((len(x), 48), np.float32)
    with pytest.raises(ta.CheckError, match="2 of 2 pairs are not tied"):
        ta.assert_tied(model)


def test_an_untied_model_fails_with_each_pair() -> None:
    model = apart(0.02)("keras")
    with pytest.raises(AssertionError) as raised:
        ta.assert_tied(model)
    first, *rest = str(raised.value).splitlines()
    assert first == f"{model.name}: 2 of 2 pairs are not tied"
    assert re.fullmatch(r"  wide \(Dense\) and out_1 \(Dense\), 24×12: near \(distance 0\.0\d+\)", rest[0])
    assert isinstance(raised.value, ta.CheckError)


def test_pairs_that_are_tied_are_not_named() -> None:
    model = mirrored("DenseTied")("keras")
    model.layers[-1].call = lambda x: x @ np.ones((12, 24), np.float32)
    with pytest.raises(ta.CheckError) as raised:
        ta.assert_tied(model)
    assert str(raised.value).splitlines() == [
        f"{model.name}: 1 of 2 pairs are not tied",
        "  wide (Dense) and out_1 (DenseTied): unknown: out_1 (DenseTied) multiplies by no variable of the model, and by no "
        "matrix that it shows",
    ]


def test_what_a_file_does_not_prove_is_tied_where_that_will_do(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    by_name("tf_keras").save(path)
    with pytest.raises(ta.CheckError, match="2 of 2 pairs are not tied"):
        ta.assert_tied(path)
    assert [pair.status for pair in ta.assert_tied(path, assumed=True)] == ["assumed", "assumed"]


def test_a_model_without_pairs_is_not_tied() -> None:
    keras = library("keras")
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(3)], name="half")
    with pytest.raises(ta.CheckError, match=r"^half: no kernels mirror each other$"):
        ta.assert_tied(model)


def test_samples_are_taken_where_the_model_has_no_shape() -> None:
    model = mirrored("DenseTied")("keras")
    assert ta.assert_tied(model, inputs=np.random.default_rng(0).normal(0, 1, (40, 24)).astype(np.float32))


def test_the_guides_test_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n(.*?)```", guide.partition("## Ties")[2], re.DOTALL)
    models: Any = ModuleType("my_model")
    monkeypatch.setitem(sys.modules, "my_model", models)
    names: dict[str, Any] = {}
    for make, passes in ((mirrored("DenseTied"), True), (mirrored("Snapshot"), False)):
        models.build_autoencoder = lambda make=make: make("keras")
        exec(text, names)
        if passes:
            names["test_the_decoder_uses_the_encoders_kernels"]()
        else:
            with pytest.raises(AssertionError, match=r"out_0 .Snapshot., 12×5: equal copy: equal now, two variables: training"):
                names["test_the_decoder_uses_the_encoders_kernels"]()
