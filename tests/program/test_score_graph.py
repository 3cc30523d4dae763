"""The grid of a mean, the constants and the steps of a score, and integer scores between two ends of y."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tiedae.compress.affine import BYTE, Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import ScoreKind
from tiedae.program import score_graph
from tiedae.program.file_io import FileIO
from tiedae.program.score_graph import (
    CENTRED,
    COARSE,
    GIVEN,
    LIMIT,
    THRESHOLD,
    TOLERANCE,
    UNIT,
    WEIGHTS,
    Scored,
    Step,
    X,
    Y,
    constants,
    grid,
    steps,
)
from tiedae.program.scoring import FRACTION_BITS, LARGEST, Detector, Thresholds, scoring_of

OUTPUT = Quantization(0.25, 100)
KINDS: tuple[ScoreKind, ...] = ("mse", "mae", "max", "standardized")


def detector_of(kind: ScoreKind, inputs: int, thresholds: tuple[int, int] = (5000, 7000), dtype: str = "float32") -> Detector:
    spec = SampleSpec((inputs,), dtype, Scaling("standard", 1.0, 2.0), "table")
    rms = np.linspace(0.5, 1.5, inputs) if kind == "standardized" else ()
    return Detector(scoring_of(kind, spec, OUTPUT, rms), Thresholds(*thresholds), 0.9, 10)


@pytest.mark.parametrize(
    ("inputs", "rows", "columns"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 3),
        (4, 2, 2),
        (5, 1, 5),
        (7, 3, 3),
        (9, 3, 3),
        (10, 2, 5),
        (12, 3, 4),
        (23, 5, 5),
        (784, 28, 28),
    ],
)
def test_a_grid_is_nearly_square(inputs: int, rows: int, columns: int) -> None:
    assert grid(inputs) == (rows, columns)


def test_a_grid_of_any_size_is_the_least_without_zeros_or_else_has_few() -> None:
    for inputs in range(1, 600):
        rows, columns = grid(inputs)
        least = math.ceil(math.sqrt(inputs))
        whole = [size for size in range(least, 2 * least) if inputs % size == 0]
        assert columns == (whole[0] if whole else least) and 0 <= rows * columns - inputs < columns


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [7, 9])
def test_constants_are_those_that_the_steps_read(kind: ScoreKind, inputs: int) -> None:
    """7 values have two zeros behind them in a grid of 9: the mean of that is multiplied by 9 / 7."""
    detector = detector_of(kind, inputs)
    scoring, found = detector.scoring, constants(detector, "fused")
    unit = 1.0 if kind == "max" else scoring.unit_weight * 9 / inputs
    expected = {LIMIT: LARGEST * scoring.scale / 2**FRACTION_BITS, THRESHOLD: 7000 * scoring.factor * (1 + TOLERANCE / 2)}
    expected |= {WEIGHTS: scoring.weights} if kind == "standardized" else {}
    expected |= {UNIT: unit} if unit != 1 else {}
    assert found.keys() == expected.keys() and all(values.dtype == np.float32 for values in found.values())
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
    read = {name for step in steps(detector, (inputs,), real=X) for name in step.inputs}
    assert read & {LIMIT, THRESHOLD, WEIGHTS, UNIT} == expected.keys()
    np.testing.assert_allclose(constants(detector, "split")[THRESHOLD] / found[THRESHOLD], 5 / 7, rtol=1e-6)


def computed(found: list[Step], values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the steps give for one sample, in float64."""
    values = dict(values)
    for step in found:
        given = [values[name] for name in step.inputs]
        values[step.output] = {
            "subtract": lambda a, b: a - b,
            "absolute": np.abs,
            "least": np.minimum,
            "multiply": lambda a, b: a * b,
            "largest": np.max,
            "reshape": lambda a, step=step: a.reshape(step.shape),
            "pad": lambda a, step=step: np.pad(a, (0, step.shape[0] - len(a))),
            "mean": lambda a: a.mean(axis=-1),
            "at most": lambda a, b: a <= b,
            "not": np.logical_not,
        }[step.kind](*given)
        if step.kind in ("subtract", "absolute", "least", "multiply") and np.ndim(values[step.output]):
            assert values[step.output].shape == step.shape
    return values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(9,), (7,), (3, 3), (2, 3, 1)])
@pytest.mark.parametrize("real", ["", X, CENTRED])
def test_the_steps_compute_the_score(kind: ScoreKind, shape: tuple[int, ...], real: str) -> None:
    inputs, rng = math.prod(shape), np.random.default_rng(0)
    detector = detector_of(kind, inputs)
    x, y = rng.normal(0, 1, shape), rng.normal(0, 1, shape)
    read = {name: np.asarray(values, np.float64) for name, values in constants(detector, "fused").items()}
    given = {X: x, Y: y, CENTRED: x, GIVEN: 3 * x + 1, **read}
    found = computed(steps(detector, shape, real=real), given)
    errors = np.abs(x - y).ravel()
    weights = np.array(detector.scoring.weights or 1.0) * detector.scoring.unit_weight
    right = {"mse": np.mean(errors**2), "mae": errors.mean(), "max": errors.max(), "standardized": np.mean(weights * errors**2)}
    np.testing.assert_allclose(found["score"], right[kind], rtol=1e-6)
    assert found["anomaly"] == (right[kind] > read[THRESHOLD])
    if real:
        for broken in (np.nan, np.inf):
            for place in (0, inputs - 1):
                wrong = {name: values.copy() for name, values in given.items()}
                for name in (X, CENTRED, GIVEN):
                    wrong[name].flat[place] = broken
                with np.errstate(invalid="ignore"):
                    found = computed(steps(detector, shape, real=real), wrong)
                assert np.isnan(found["score"]) and found["anomaly"]


def between(make_program, detector: Detector, io: str, y: tuple[np.ndarray, np.ndarray], n: int = 6, quantization=None):
    program = make_program((4, 3), ("linear",), "linear", byte_data=quantization is None)
    rng = np.random.default_rng(1)
    scaled = rng.normal(0, 3, (n, 4)).astype(np.float32)
    x = program.quantization("x").quantize(scaled)
    return program, scaled, x, Scored.between(detector, "fused", program, FileIO(io), scaled, scaled, x, y)


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_an_error_that_may_be_nothing_is_nothing(make_program, kind: ScoreKind) -> None:
    """Between the least and the largest y lies every sample: the least score is 0, the largest that of the farther end."""
    detector, ends = detector_of(kind, 4), (np.zeros((6, 4), np.uint8), np.full((6, 4), 255, np.uint8))
    _, scaled, _, (low, high) = between(make_program, detector, "float32", ends)
    assert low.totals.tolist() == [0] * 6
    real = [OUTPUT.dequantize(each).astype(np.float64) for each in ends]
    farther = np.maximum(*(np.abs(scaled - each) for each in real))
    np.testing.assert_allclose(high.score, (farther ** (2 if kind == "mse" else 1)).mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("end", [0, 255])
def test_beside_the_ends_the_nearer_one_counts(make_program, end: int) -> None:
    """Both ends above each sample, or both below."""
    ends = np.full((6, 4), min(end, 254), np.uint8), np.full((6, 4), min(end, 254) + 1, np.uint8)
    _, scaled, _, (low, high) = between(make_program, detector_of("mae", 4), "float32", ends)
    distances = np.array([np.abs(scaled - OUTPUT.dequantize(each)) for each in ends])
    np.testing.assert_allclose(low.score, distances.min(axis=0).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(high.score, distances.max(axis=0).mean(axis=1), rtol=1e-5)


def test_files_of_integers_score_what_they_are_given(make_program) -> None:
    """uint8 `x` that is no byte of the data is what `quantization` makes of samples; that of bytes is the sample itself."""
    y = np.full((6, 4), 100, np.uint8)
    program, scaled, x, (low, _) = between(make_program, detector_of("mae", 4), "uint8", (y, y), quantization="own")
    assert program.quantization("x") != BYTE
    np.testing.assert_allclose(low.score, np.abs(program.quantization("x").dequantize(x)).mean(axis=1), rtol=1e-5)
    _, scaled, _, (low, _) = between(make_program, detector_of("mae", 4), "uint8", (y, y))
    np.testing.assert_allclose(low.score, np.abs(scaled).mean(axis=1), rtol=1e-5)


def test_samples_are_scored_in_parts(make_program, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.random.default_rng(2).integers(0, 256, (6, 4)).astype(np.uint8)
    whole = between(make_program, detector_of("mse", 4), "float32", (y, y))[3][0]
    monkeypatch.setattr(score_graph, "ROWS", 4)
    assert between(make_program, detector_of("mse", 4), "float32", (y, y))[3][0].totals.tolist() == whole.totals.tolist()


def test_differences_are_relative_to_the_score_or_two_steps_of_y() -> None:
    detector = detector_of("mae", 4, (0, 400))
    least = COARSE * OUTPUT.scale
    totals = np.array([0, round(4 * least / detector.scoring.value_factor), round(40 * least / detector.scoring.value_factor)])
    scored = Scored(detector, "fused", totals)
    score = scored.score
    assert COARSE == 2 and score[1] == pytest.approx(least)
    np.testing.assert_allclose(scored.below(score - 0.01 * least), [0.01, 0.01, 0.001], rtol=1e-3)
    np.testing.assert_allclose(scored.above(score - 0.01 * least), [-0.01, -0.01, -0.001], rtol=1e-3)
    np.testing.assert_allclose(scored.relative(score - 0.01 * least), [0.01, 0.01, 0.001], rtol=1e-3)
    np.testing.assert_allclose(scored.relative(score + 0.01 * least), [0.01, 0.01, 0.001], rtol=1e-3)
    assert scored.outputs["score"].dtype == np.float32 and scored.outputs["anomaly"].tolist() == [False, True, True]


def test_near_the_threshold_is_within_the_tolerance_of_files() -> None:
    threshold = 10**9
    apart = round(threshold * TOLERANCE)
    totals = threshold + np.array([-2 * apart, -apart // 2, 0, apart // 2, 2 * apart])
    scored = Scored(detector_of("mse", 4, (0, threshold)), "fused", totals)
    assert scored.near.tolist() == [False, True, True, True, False]
    assert scored.anomaly.tolist() == [False, False, False, True, True]
    split = Scored(detector_of("mse", 4, (0, threshold)), "split", totals)
    assert split.anomaly.all() and not split.near.any()
