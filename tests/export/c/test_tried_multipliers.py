"""Which multipliers of a rounding are tried: a slope is computed in floats, so the one that fits may not be the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.export.c.rounding import Steps, _constraints, _exact, fit_rounding


@pytest.mark.parametrize(("multiplier", "most"), [(0.02082835, 6_363), (0.0461495, 2_958), (0.00413905, 31_210)])
def test_the_only_multiplier_that_fits_is_found_from_two_beside_it(multiplier: float, most: int) -> None:
    steps = Steps(np.array([-most]), np.array([most]), np.array([multiplier], np.float32), 128, 0, 255)
    right, bounds = fit_rounding(steps, ("shift",)), _constraints(steps)
    found = {}
    for distance in range(-4, 5):
        tried = _exact(*bounds, (right.multiplier + distance) / 2.0**right.shift, right.shift)
        found[distance] = tried and (tried[0].tolist(), tried[1].tolist())
    fits = (right.multiplier.tolist(), right.addend.tolist())
    assert found == {distance: fits if abs(distance) <= 2 else None for distance in range(-4, 5)}
