"""The scale of a table: the nearest at which no output lies next to a tie, and which keeps the table if one does."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.compress.affine import SIGMOID_OUTPUT, TANH_OUTPUT, Quantization
from tiedae.program.arithmetic import activation_table, clear_of_ties

REAL = {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh}
OUTPUT = {"sigmoid": SIGMOID_OUTPUT, "tanh": TANH_OUTPUT}


def distance(function: str, x: Quantization) -> float:
    """Of the output that is nearest to a tie, in steps of the output, that of 0 aside."""
    values = (np.delete(np.arange(256), x.zero_point) - x.zero_point) * x.scale
    steps = REAL[function](values) / OUTPUT[function].scale
    return float(np.abs(np.mod(steps, 1) - 0.5).min())


def near(x: Quantization, steps: int) -> Quantization:
    return Quantization(float(np.float32(x.scale * (1 + steps * 2.0**-20))), x.zero_point)


@pytest.mark.parametrize("function", list(REAL))
def test_the_nearest_scale_that_is_clear_and_keeps_the_table(function: str) -> None:
    rng, y, moved = np.random.default_rng(5), OUTPUT[function], 0
    for _ in range(2000):
        x = Quantization(float(np.float32(rng.uniform(0.01, 0.06))), int(rng.integers(60, 196)))
        if distance(function, x) > 2.0**-14:
            continue
        found, table = clear_of_ties(function, x, y), activation_table(function, x, y)
        candidates = [near(x, steps) for steps in sorted(range(-1000, 1001), key=abs)]
        clear = [each for each in candidates if distance(function, each) > 2.0**-14]
        kept = [each for each in clear if (activation_table(function, each, y) == table).all()]
        assert found == (kept or clear)[0] and found != x
        moved += distance(function, x) > 2.0**-15
        if moved == 3:
            return
    raise AssertionError(f"{moved} scales have an output of 2⁻¹⁵ to 2⁻¹⁴ beside a tie, must be three")


@pytest.mark.parametrize("function", list(REAL))
def test_a_scale_that_is_clear_stays(function: str) -> None:
    x = Quantization(2.0**-5, 128)
    assert distance(function, x) > 2.0**-14
    assert clear_of_ties(function, x, OUTPUT[function]) == x
