"""A codec of a bundle: one sample is a row of many, pieces are the whole, and what is not finite is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import DataError, InputError
from tiedae.codec.backends import BATCH, FileBackend
from tiedae.codec.codec import Codec
from tiedae.codec.opening import load

RESULTS = ("encode", "reconstruct", "score", "errors")


@pytest.fixture
def codec(bundle: Path) -> Codec:
    return load(bundle)


@pytest.mark.parametrize("result", RESULTS)
def test_one_sample_is_a_row_of_many_and_many_are_their_pieces(codec: Codec, samples: np.ndarray, result: str) -> None:
    function: Any = getattr(codec, result)
    x = np.concatenate([samples] * 6)[: 2 * BATCH + 5]
    whole = function(x)
    assert len(whole) == len(x)
    np.testing.assert_array_equal(whole[3], function(x[3]))
    for part in (slice(0, 1), slice(0, 2), slice(BATCH - 1, BATCH + 1), slice(2 * BATCH, None), slice(0, 0)):
        np.testing.assert_array_equal(whole[part], function(x[part]))


def test_codes_decode_one_by_one_as_together(codec: Codec, samples: np.ndarray) -> None:
    codes = codec.encode(samples[:9])
    np.testing.assert_array_equal(codec.decode(codes)[4], codec.decode(codes[4]))
    np.testing.assert_array_equal(codec.decode(codes), codec.reconstruct(samples[:9]))


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("row", [0, BATCH + 2])
def test_what_is_not_finite_is_refused_by_its_row(coded_runs: Path, samples: np.ndarray, result: str, row: int) -> None:
    codec, x = load(coded_runs / "table" / "bundle"), np.zeros((BATCH + 3, 10))
    x[row, 7] = np.nan
    for wrong in (x, x[row]):
        with pytest.raises(DataError, match="nan" if wrong.ndim == 1 else rf"\b{row}\b.*nan"):
            getattr(codec, result)(wrong)
    if result == "score":
        for axis in (0, None):
            with pytest.raises(DataError, match=rf"\b{row}\b.*nan"):
                codec.score(x, axis=axis)


def test_a_file_of_float32_quantizes_its_input_itself(coded_runs: Path) -> None:
    codec = load(coded_runs / "table" / "bundle")
    x = np.random.default_rng(0).normal(size=(5, 10))
    assert isinstance(codec.backend, FileBackend) and codec.backend.io.dtype == "float32"
    given = codec.backend.input(x)
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, codec.spec.scaling.apply(x))


def test_without_a_detector_nothing_is_an_anomaly(codec: Codec, samples: np.ndarray) -> None:
    assert codec.threshold is None
    with pytest.raises(InputError, match="is_anomaly"):
        codec.is_anomaly(samples)
    with pytest.raises(
        InputError, match=re.escape("axis: got 2, must be 1 (per sample), 0 (per feature) or None (all values)")
    ):
        codec.score(samples, axis=2)  # pyright: ignore[reportArgumentType]
