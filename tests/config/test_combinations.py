"""What may not be combined: each pair of the table is refused in one line when the recipe is read, before any training."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import RecipeError
from tiedae.base.records import plain
from tiedae.cli import main
from tiedae.config.combinations import FEATURES, FORBIDDEN, Forbidden, require_combination
from tiedae.config.config import with_rate
from tiedae.pipeline.recipe import parse_recipe, recipe_to_toml

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "keys.md").read_text(encoding="utf-8")
CODE = [{"units": 4, "activation": "relu"}, {"units": 2, "activation": "tanh"}]
ON: dict[str, dict[str, Any]] = {
    "C": {"export": {"targets": ["c"]}},
    "decoder by view": {"export": {"decoder": "view"}},
    "packed kernels": {"quantize": {"bits": [4]}},
    "portable kernels": {"export": {"kernels": "portable"}},
    "score of C files": {"export": {"c_signatures": ["score"]}},
    "scales per unit": {"quantize": {"granularity": "unit"}},
    "code below 8 bits": {"quantize": {"code_bits": 5}},
    "stated code scale": {"quantize": {"code_scale": 0.1}},
    "block or N:M pruning of the code": {"prune": {"pattern": "2:4"}},
    "batch normalization": {"model": {"layers": [{"units": 4, "activation": "relu", "batch_norm": True}, {"units": 2}]}},
    "batches of one sample": {"train": {"batch_size": 1}},
    "interleave": {"model": {"interleave": 2}},
    "convolutions": {"model": {"layers": [{"kind": "conv1d", "filters": 4}, 2]}},
    "clusters": {"cluster": {}},
    "fraction of a rate": {"quantize": {"rate_fraction": 0.5}},
    "training for rate": {"train": {"rate": 0.1}},
    "tanh or sigmoid code": {"model": {"layers": CODE}},
    "output other than sigmoid": {"model": {"output_activation": "linear"}},
    "standard scaling": {"data": {"scaling": "standard"}},
    "loss bce": {"train": {"loss": "bce"}},
    "anomaly": {"task": {"kind": "anomaly"}},
    "denoising": {"task": {"kind": "denoising"}},
    "noise": {"train": {"noise": {"kind": "gaussian", "level": 0.1}}},
    "clean samples": {"data": {"clean": "clean.npy"}},
    "patience": {"train": {"patience": 3}},
}
"""The tables that switch a feature on; others are there without, or are those of the data."""
DTYPES = {"float16 data": "float16", "int16 data": "int16", "float data": "float32"}


def tables(*features: str) -> dict[str, Any]:
    merged: dict[str, Any] = {"name": "pair", "data": {"source": "x.npy"}, "model": {"layers": [4, 2]}}
    for feature in features:
        for table, keys in ON.get(feature, {}).items():
            merged[table] = {**merged.get(table, {}), **keys}
    return merged


def of(pair: Forbidden) -> str:
    return f"{pair.first} and {pair.second}"


@pytest.mark.parametrize("pair", FORBIDDEN, ids=of)
def test_each_pair_is_refused_in_one_line(pair: Forbidden) -> None:
    dtype = next((DTYPES[name] for name in (pair.first, pair.second) if name in DTYPES), "")
    with pytest.raises(RecipeError) as caught:
        require_combination(parse_recipe(tables(pair.first, pair.second), "pair"), dtype)
    assert str(caught.value).startswith(f"{pair.key}: got ") and str(caught.value).endswith(f"must be {pair.right}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("feature", ON)
def test_a_feature_alone_is_not_refused_unless_it_needs_another(feature: str) -> None:
    needs = {"denoising": "noise", "score of C files": "anomaly", "fraction of a rate": "training for rate"}.get(feature, "")
    given = tables(feature, needs)
    if {"anomaly", "patience"} & {feature, needs}:
        given["data"]["validation"] = 0.1
    recipe = parse_recipe(given, "alone")
    assert FEATURES[feature](recipe, "") and not FEATURES[feature](parse_recipe(tables(), "none"), "")


def test_the_table_forbids_at_most_a_tenth_of_the_pairs() -> None:
    names = {name for pair in FORBIDDEN for name in (pair.first, pair.second)}
    assert names <= set(FEATURES) and len({frozenset((pair.first, pair.second)) for pair in FORBIDDEN}) == len(FORBIDDEN)
    assert len(FORBIDDEN) / len(list(combinations(FEATURES, 2))) <= 0.1


def test_a_pair_with_the_data_is_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((40, 8)).astype(np.float16))
    path = tmp_path / "half.toml"
    path.write_text(recipe_to_toml(parse_recipe(tables("C"), "half")))
    assert main(["run", str(path), "--out", str(tmp_path / "out"), "-q"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "export.targets: got ['c'], must be without c: C has no type for data of float16" in line
    assert not (tmp_path / "out").exists()


def test_a_combination_that_is_allowed_is_read() -> None:
    recipe = parse_recipe(tables("clusters", "training for rate", "C"), "fine")
    require_combination(recipe, "int16")
    assert plain(recipe)["cluster"]["clusters"] == 16


def test_another_rate_of_0_takes_the_fraction_along() -> None:
    """A search over rates may have 0 among them."""
    recipe = parse_recipe(tables("fraction of a rate", "training for rate"), "searched")
    other, none = with_rate(recipe, 0.2), with_rate(recipe, 0.0)
    assert (other.train.rate, other.quantize.rate_fraction) == (0.2, 0.5)
    assert (none.train.rate, none.quantize.rate_fraction) == (0.0, 1.0)


def test_the_page_has_every_pair() -> None:
    for pair in FORBIDDEN:
        assert f"| {pair.first} | {pair.second} | `{pair.key}`: {pair.right} |" in PAGE
