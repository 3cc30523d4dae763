"""Files with layers of people's own classes, whose code nothing runs: refused unless a user says what they compute."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tiedae as ta
from tiedae.base.errors import InputError, RecipeError
from tiedae.cli import main
from tiedae.pipeline.recipe import load_recipe

from ..compress.imports.hand_made import chain, encoder, layers, library, mirrored

NAME = "subtracting.keras"


@pytest.fixture(scope="module")
def folder(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A decoder that subtracts the encoder's bias before its product, and x.npy: what Keras is given, and gives."""

    def fill(folder: Path) -> None:
        keras = library("keras")
        keras.utils.set_random_seed(0)
        own, held = layers("keras").Subtracting, encoder(keras)
        model = chain(keras, [*held, own(held[1], "relu", name="out_0"), own(held[0], "sigmoid", name="out_1")])
        for layer in held:
            layer.bias.assign(np.full(layer.bias.shape, 0.5, np.float32))
        x = np.random.default_rng(0).uniform(0, 1, (200, 24)).astype(np.float32)
        with warnings.catch_warnings(action="ignore"):
            model.save(folder / NAME)
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", model.predict(x, verbose=0))

    return make_once("subtracting", fill)


REFUSED = (
    r"subtracting\.keras: out_0 \(Subtracting\), out_1 \(Subtracting\): of a class of your own, whose code is not read and "
    r'which nothing can compare; `\[model\] assume = \["Subtracting"\]` takes such a layer for x·Wᵀ \+ b'
)


def test_a_class_that_nothing_is_compared_with_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=REFUSED):
        ta.from_keras(folder / NAME)


def test_a_user_takes_it_for_a_product_and_may_be_wrong(folder: Path) -> None:
    """The bias that its call subtracts is not read, so the import gives something else, which its origin doesn't hide."""
    model = ta.from_keras(folder / NAME, assume=["Subtracting"])
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    assert np.abs(np.asarray(model(x)) - y).max() > 0.1
    origin = model.lineage.origin
    assert origin is not None and origin.difference is None and "as `assume` says" in origin.compared


@pytest.mark.parametrize(
    ("assume", "error", "text"),
    [
        (["Other"], InputError, r"assume: got Other, must be of Subtracting: the classes whose code is not read"),
        ("Subtracting", RecipeError, r"assume: got 'Subtracting', must be a list"),
    ],
)
def test_another_class_or_no_list_is_refused(folder: Path, assume, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ta.from_keras(folder / NAME, assume=assume)


def test_a_live_model_is_compared_and_needs_no_assumption() -> None:
    live = mirrored("DenseTied")("keras")
    assert ta.from_keras(live).lineage.origin is not None
    with pytest.raises(InputError, match=r"assume: got DenseTied, must be left out"):
        ta.from_keras(live, assume=["DenseTied"])


def test_a_run_and_a_recipe_refuse_it_in_one_line(folder: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f'[data]\nsource = "{folder / "x.npy"}"\n[model]\nsource = "{folder / NAME}"\n')
    for call in (["run", str(path), "--out", str(tmp_path / "out")], ["recipe", "--from", str(folder / NAME)]):
        assert main(call) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "Subtracting" in line and "`[model] assume = " in line and not (tmp_path / "out").exists()
    path.write_text(path.read_text() + 'assume = ["Subtracting"]\n')
    assert load_recipe(path).model.assume == ("Subtracting",)


def test_an_assumption_without_a_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[data]\nsource = "x.npy"\n[model]\nlayers = [4]\nassume = ["Tied"]\n')
    with pytest.raises(RecipeError, match=r"model\.assume: got \['Tied'\], must be left out, or beside `source`"):
        load_recipe(tmp_path / "r.toml")


def test_inspect_says_it(folder: Path, capsys) -> None:
    assert main(["inspect", str(folder / NAME)]) == 0
    shown = capsys.readouterr().out
    assert "an import refuses" in shown and 'assume = ["Subtracting"]' in shown
