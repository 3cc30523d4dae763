"""A map gives the first and the last value what it gives those between, on a grid of slopes and offsets."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.program import integer_maps


@pytest.mark.parametrize("count", range(2, 12))
def test_no_end_is_left_out(count: int) -> None:
    values = np.arange(count)
    for slope in np.arange(1, 61) / 37:
        for offset in np.arange(5) / 5:
            results = np.floor(values * slope + offset).astype(np.int64)
            for low, high in ((-99, 99), (int(results[0]), 99), (-99, int(results[-1]))):
                found = integer_maps._linear(values, results, slope, low, high)
                assert found is not None
                np.testing.assert_array_equal(found.apply(values, low, high), results)
