"""The integers of a rounding: the least shift that any multiplier allows, and where a formula, a list or 32 bits end."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.export.c.rounding import INT32, IntegerRounding, Steps, _wrong, fit_rounding

WIDE = 1 << 61


def steps_of(
    multipliers: list[float] | float, least: int, most: int, zero_point: int = 0, low: int = 0, high: int = 255
) -> Steps:
    multiplier = np.atleast_1d(np.float32(multipliers))
    first, last = (np.full(len(multiplier), end) for end in (least, most))
    return Steps(first, last, multiplier, zero_point, low, high)


def random_steps(seed: int) -> Steps:
    rng = np.random.default_rng(seed)
    multiplier = 10 ** rng.uniform(-3, 0)
    span = int(rng.integers(5, 400) / multiplier ** rng.uniform(0.3, 1))
    zero_point, low = int(rng.integers(0, 256)), int(rng.integers(0, 200))
    centre = int(rng.integers(-span, span + 1))
    return steps_of(multiplier, centre - span, centre + span, zero_point, low, int(rng.integers(low + 1, 256)))


def least_shift(steps: Steps) -> int:
    """By trial of all multipliers near the program's, from the outputs of all accumulators."""
    sums = np.arange(int(steps.least[0]), int(steps.most[0]) + 1)
    outputs = steps.values(sums[None])[0].astype(np.int64) - steps.low
    last = np.flatnonzero(np.diff(outputs, append=outputs[-1]))
    below, above = (sums[last], outputs[last]), (sums[last + 1], outputs[last + 1]) if len(last) else (sums[:0], sums[:0])
    for shift in range(47):
        nearest = round(float(steps.multiplier[0]) * (1 << shift))
        for multiplier in range(max(nearest - 8, 0), nearest + 9):
            least = (above[1] << shift) - multiplier * above[0]
            most = ((below[1] + 1) << shift) - multiplier * below[0] - 1
            free = outputs[0] > 0, outputs[-1] < steps.high - steps.low
            least = np.append(least, (outputs[0] << shift) - multiplier * sums[0]) if free[0] else least
            most = np.append(most, ((outputs[-1] + 1) << shift) - multiplier * sums[-1] - 1) if free[1] else most
            if least.max(initial=-WIDE) <= most.min(initial=WIDE):
                return shift
    raise AssertionError("no formula")


def test_a_formula_has_the_least_shift_that_any_multiplier_allows() -> None:
    for seed in range(250):
        steps = random_steps(seed)
        found = fit_rounding(steps)
        assert (found.form, found.shift) == ("shift", least_shift(steps)), seed


@pytest.mark.parametrize(("least", "addend"), [(-40, 10), (300, -23)])
def test_an_addend_lies_between_0_and_its_limit_where_one_side_is_free(least: int, addend: int) -> None:
    """Of −40…−20, which become 0, it is 20 at most; of 300…320, which become 255, −45 at least."""
    found = fit_rounding(steps_of(1.0, least, least + 20))
    assert (found.form, found.shift, found.multiplier.tolist(), found.addend.tolist()) == ("shift", 0, [1], [addend])


def test_an_emulation_has_no_formula() -> None:
    found = fit_rounding(steps_of([1.0, 0.5], -9, 9), ["emulation"])
    assert (found.multiplier.tolist(), found.addend.tolist(), found.shift, found.exceptions) == ([0, 0], [0, 0], 0, ())


@pytest.mark.parametrize("count", [8, 9])
def test_a_list_has_at_most_8_sums(count: int) -> None:
    """This formula is 1 too low for all sums from 1 on."""
    steps, listed = steps_of(1.0, 0, count), [(0, a, a) for a in range(1, count + 1)]
    found = _wrong(steps, np.array([16]), np.array([-8]), 4)
    assert found == (tuple(listed) if count <= 8 else None)


@pytest.mark.parametrize("units", [2, 3])
def test_units_share_the_addend_that_rounds_to_nearest_where_it_fits(units: int) -> None:
    """One addend takes 4 bytes in place of 4 per unit."""
    steps = steps_of([0.01137, 0.01291, 0.01201][:units], -900, 1533, 90, 20)
    found = fit_rounding(steps, ["exceptions"])
    assert found.form == "exceptions"
    assert found.addend.tolist() == [(2 * (90 - 20) + 1) << (found.shift - 1)] * units
    np.testing.assert_array_equal(found.multiplier, np.rint(steps.multiplier.astype(np.float64) * 2.0**found.shift))


def test_a_free_addend_leaves_a_bit_to_the_products() -> None:
    """Sums that all become the lowest output, of products near 2⁶²."""
    found = fit_rounding(steps_of(0.9, -INT32, -(1 << 20)), ["exceptions"])
    assert not found.exceptions and abs(int(found.addend[0])) <= WIDE


@pytest.mark.parametrize("edge", [INT32 - 1, INT32])
@pytest.mark.parametrize("which", ["addend", "multiplier", "sum"])
def test_32_bits_hold_a_formula_whose_numbers_are_below_2_31(which: str, edge: int) -> None:
    numbers = {"addend": (-7, 1, edge), "multiplier": (0, edge, 0), "sum": (edge - 5, 1, 5)}
    a, multiplier, addend = numbers[which]
    found = IntegerRounding(steps_of(1.0, a, a), "shift", np.array([multiplier]), np.array([addend]), 0)
    assert found.bits == (32 if edge < INT32 else 64)
