"""Each number of a score is the one that its formula gives in whole numbers, and what cannot be scored is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import DataError, ExportError, FormatError, RecipeError
from tiedae.base.records import decode, plain
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import MOST_INPUTS, ScoreKind
from tiedae.program.scoring import LARGEST, LARGEST_SUM, MOST_SHIFT, Detector, Scoring, Thresholds, fixed_point, scoring_of

Y = Quantization(0.25, 100)
WEIGHTED = {"kind": "standardized", "weights": (65535, 3, 1)}


def scoring(kind: ScoreKind = "mse", inputs: int = 3, scale: float = 0.25, **more: object) -> Scoring:
    return Scoring(kind, inputs, scale, 100, **more)


@pytest.mark.parametrize(
    ("more", "unit"),
    [
        ({"kind": "mse"}, 0.25 * 0.25 / 2**16 / 3),
        ({"kind": "mae"}, 0.25 / 2**16 / 3),
        ({"kind": "max"}, 0.25 / 2**16),
        (WEIGHTED | {"unit_weight": 5.0}, 0.25 * 0.25 * 5 / 3),
    ],
)
def test_a_score_of_one(more: dict, unit: float) -> None:
    found = scoring(**more)
    assert found.factor == pytest.approx(unit, rel=1e-15)
    assert found.value_factor == pytest.approx(unit * (1 if found.kind == "max" else 3), rel=1e-15)


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=3, max_size=3))
def test_terms_are_rounded_to_the_nearest(errors: list[int]) -> None:
    given = np.array([errors], np.int64)
    squares = [(error * error + 2**15) // 2**16 for error in errors]
    weighted = [(square * weight + 2**15) // 2**16 for square, weight in zip(squares, WEIGHTED["weights"], strict=True)]
    sizes = [abs(error) for error in errors]
    for more, terms in (({}, squares), (WEIGHTED, weighted), ({"kind": "mae"}, sizes), ({"kind": "max"}, sizes)):
        found = scoring(**more)
        assert found.terms(given).tolist() == [terms]
        assert found.totals(given).tolist() == [max(terms) if found.kind == "max" else sum(terms)]


def test_errors_are_limited_on_both_sides() -> None:
    units = np.array([[2**40, -(2**40), (100 << 16) + 7]])
    found = scoring().errors(units, np.full((1, 3), 100, np.uint8))
    assert found.tolist() == [[2**31 - 1, 1 - 2**31, 7]] and LARGEST == 2**31 - 1


@given(st.integers(0, 2**24 - 1), st.integers(1, 254), st.booleans(), st.integers(-100, 120))
def test_a_float_in_units_is_its_formula(fraction: int, exponent: int, negative: bool, scale: int) -> None:
    """P = (m · M) >> 24, then P · 2^(E − K) to the nearest; from 2³² on only that it is as large."""
    found = scoring(scale=float(np.float32(1.37 * 2.0**scale)))
    value = np.array([fraction & 0x7FFFFF | exponent << 23], np.uint32).view(np.float32)
    multiplier, point = fixed_point(2**16 / found.scale)
    product, shift = ((fraction & 0x7FFFFF | 1 << 23) * multiplier) >> 24, point - exponent
    size = Fraction(product) / Fraction(2) ** shift
    (got,) = found.real_units(-value if negative else value).tolist()
    got = (got - (100 << 16)) * (-1 if negative else 1)
    if size < 2**32:
        assert got == math.floor(size + Fraction(1, 2))
    else:
        assert got >= 2**32


@pytest.mark.parametrize("factor", [1.0, 1.5, 2**-40 / 3, 2.0**90 / 7, 65536 / 0.25])
def test_a_factor_has_32_bits(factor: float) -> None:
    multiplier, point = fixed_point(factor)
    assert 2**31 <= multiplier < 2**32
    exact = Fraction(factor) / Fraction(2) ** (126 - point)
    assert multiplier == math.floor(exact)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize(
    "scaling",
    [Scaling("standard", 1024.0, 37.5), Scaling("minmax", -3.0, 1e-4), Scaling("minmax", (-3.0, 9.0, 0.5), (2.0, 900.0, 0.01))],
)
def test_integers_in_units_have_as_many_bits_as_64_hold(dtype: str, scaling: Scaling) -> None:
    found = scoring_of("mse", SampleSpec((3,), dtype, scaling, "table"), Y)
    limits = np.iinfo(dtype)
    farthest = max(abs(int(limits.min)), int(limits.max))
    offsets, scales = (np.broadcast_to(each.astype(np.float64), 3).tolist() for each in scaling.float32)
    count = len(found.multiplier)
    sums = [abs(found.multiplier[i]) * farthest + abs(found.addend[i]) for i in range(count)]
    assert max(sums) < LARGEST_SUM and (found.shift == MOST_SHIFT or max(sums) >= LARGEST_SUM / 2.01)
    for i in range(3):
        one = Fraction(2) ** (16 + found.shift)
        step = Fraction(scales[i]) * Fraction(Y.scale)
        at = i if count > 1 else 0
        assert abs(found.multiplier[at] - one / step) <= 1 + one / step / 2**50
        right = one * (Y.zero_point - Fraction(offsets[i]) / step) + Fraction(2**found.shift, 2)
        assert abs(found.addend[at] - right) <= 1 + abs(right) / 2**50
        for value in (int(limits.min), 0, 77, int(limits.max)):
            exact = 2**16 * ((value - Fraction(offsets[i])) / step + Y.zero_point)
            sample = np.full((1, 3), value, dtype)
            assert abs(int(found.units(sample, sample)[0, i]) - exact) <= 1 + abs(exact) / 2**40 + Fraction(
                farthest, 2**found.shift
            )


def test_a_scaling_that_64_bits_do_not_hold_is_refused() -> None:
    spec = SampleSpec((3,), "uint16", Scaling("minmax", 0.0, 1e-30), "table")
    with pytest.raises(ExportError, match="so large beside the scale of y that 64 bits do not hold it"):
        scoring_of("mse", spec, Y)


SPEC = SampleSpec((3,), "float32", Scaling("standard", 0.0, 1.0), "table")


@pytest.mark.parametrize(
    ("errors", "weights", "unit"),
    [
        ([0.5, 1.0, 2.0], (65535, 16384, 4096), 4 / 65535),
        ([0.01, 0.25, 100.0], (65535, 65535, 1), 16 / 65535),
        ([3.0, 3.0, 3.0], (65535, 65535, 65535), 1 / 9 / 65535),
    ],
)
def test_weights_are_precisions_beside_the_largest(errors: list[float], weights: tuple[int, ...], unit: float) -> None:
    found = scoring_of("standardized", SPEC, Y, errors)
    assert found.weights == weights and found.unit_weight == pytest.approx(unit, rel=1e-12)
    assert scoring_of("mse", SPEC, Y, errors).weights == ()


@pytest.mark.parametrize("errors", [[1.0, 2.0], [1.0, math.nan, 1.0], [1.0, math.inf, 1.0], [[1.0, 1.0, 1.0]]])
def test_errors_that_are_not_one_finite_number_each_are_refused(errors: list) -> None:
    with pytest.raises(DataError, match="must be 3 finite ones, one per feature"):
        scoring_of("standardized", SPEC, Y, errors)


def test_as_many_inputs_as_64_bits_sum() -> None:
    assert scoring_of("mse", SampleSpec((MOST_INPUTS,), "float32", Scaling(), "table"), Y).inputs == MOST_INPUTS
    with pytest.raises(ExportError, match=r"^score: got 65,537 inputs, must be at most 65,536$"):
        scoring_of("mse", SampleSpec((MOST_INPUTS + 1,), "float32", Scaling(), "table"), Y)


RIGHT = {"multiplier": (), "addend": ()}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"multiplier": (1,), "addend": (2,)},
        {"multiplier": (1, 2, 3), "addend": (4, 5, 6)},
        {"inputs": 1},
        {"scale": 2.0**-108},
        WEIGHTED,
    ],
)
def test_what_a_scoring_may_be(more: dict) -> None:
    assert scoring(**more) == decode(Scoring, plain(scoring(**more)), "f")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"inputs": 0}, "inputs: got 0"),
        ({"inputs": MOST_INPUTS + 1}, "inputs: got 65537"),
        ({"multiplier": (1,)}, r"multiplier, addend: got \[1, 0\]"),
        ({"addend": (1,)}, r"multiplier, addend: got \[0, 1\]"),
        ({"multiplier": (1, 2), "addend": (1, 2)}, r"multiplier, addend: got \[2, 2\]"),
        ({"multiplier": (1,), "addend": (1, 2)}, r"multiplier, addend: got \[1, 2\]"),
        ({"multiplier": (1, 2), "addend": (1,)}, r"multiplier, addend: got \[2, 1\]"),
        ({"weights": (1, 2, 3)}, "weights: got 3"),
        ({"kind": "standardized"}, "weights: got 0"),
        ({"scale": 2.0**-109}, "scale: got"),
        ({"scale": math.inf}, "scale: got inf"),
        ({"unit_weight": 0.0}, "unit_weight: got 0"),
        ({"unit_weight": math.inf}, "unit_weight: got inf"),
    ],
)
def test_what_a_scoring_may_not_be(more: dict, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        scoring(**more)


@pytest.mark.parametrize(
    ("path", "value", "right"),
    [
        (("scoring", "weights"), [65535, 1, 1], True),
        (("scoring", "weights"), [65536, 1, 1], False),
        (("scoring", "weights"), [65535, 0, 1], False),
        (("scoring", "shift"), 24, True),
        (("scoring", "shift"), 25, False),
        (("scoring", "shift"), -1, False),
        (("thresholds", "split"), 0, True),
        (("thresholds", "split"), -1, False),
        (("thresholds", "fused"), 0, True),
        (("thresholds", "fused"), -1, False),
        (("quantile",), 0.001, True),
        (("quantile",), 0.999, True),
        (("quantile",), 0.0, False),
        (("quantile",), 1.0, False),
        (("samples",), 1, True),
        (("samples",), 0, False),
    ],
)
def test_numbers_of_a_manifest_s_detector_are_within_their_range(path: tuple[str, ...], value: object, right: bool) -> None:
    text = plain(Detector(scoring(**WEIGHTED), Thresholds(3, 4), 0.5, 10))
    *parents, last = path
    place = text
    for name in parents:
        place = place[name]
    place[last] = value
    if right:
        assert plain(decode(Detector, text, "f")) == text
    else:
        with pytest.raises(FormatError, match=".".join(path)):
            decode(Detector, text, "f")


def test_the_threshold_of_a_layout_is_a_score() -> None:
    detector = Detector(scoring(), Thresholds(3, 5), 0.5, 10)
    assert detector.threshold("split") == 3 * scoring().factor and detector.threshold("fused") == 5 * scoring().factor
