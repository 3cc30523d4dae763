"""Samples with NaN or infinity under a detector: the model sees 0 in their place, and other samples score as without them."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.codec.detector import integer_errors

from ..data.test_windows import codec_of, steps_of
from ..export.c.stream_library import RECORDS


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float64).max], ids=str)
def test_the_model_sees_nothing_of_what_is_missing(value: float) -> None:
    codec = codec_of(next(case for case in RECORDS if case.dtype == "float32").made())
    assert codec.detector is not None
    scoring, backend = codec.detector.scoring, codec.backend
    x = steps_of(codec.spec, 4 * codec.spec.shape[0]).reshape(4, -1).astype(np.float64)
    whole, none = integer_errors(scoring, backend, x)
    assert not none.any()
    x[2, [1, 5]] = value
    found, missing = integer_errors(scoring, backend, x)
    assert missing.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(np.delete(found, 2, axis=0), np.delete(whole, 2, axis=0))
    x[2, [1, 5]] = 0
    scaled = codec.spec.scaling.apply(backend.io.samples(x))
    scaled[2, [1, 5]] = 0
    y = backend.integers(backend.reconstruct(x)[1])
    np.testing.assert_array_equal(found, scoring.errors(scoring.units(x, scaled), y))
