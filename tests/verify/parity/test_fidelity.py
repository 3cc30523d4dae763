"""The error in the data's unit of measure: PSNR, R² and PRDN by their formulas, whatever the scaling."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.base.records import decode, plain
from tiedae.bundle.fidelity import Fidelity, fit_text, most_lost, squared_errors, warnings_of
from tiedae.bundle.manifest import Data
from tiedae.bundle.results import Column, ColumnWarning, Fit, Quality, Stage, warning_lines
from tiedae.config.scaling import Scaling
from tiedae.data.dataset import Dataset
from tiedae.data.samples import Samples
from tiedae.data.scaling_fit import fit_scaling

RNG = np.random.default_rng(0)


def fitted(x: np.ndarray, *, windows: bool = False, **options) -> tuple[Fidelity, Scaling]:
    scaling = fit_scaling("auto", Samples(x), **options)
    samples = Samples(x, scaling=scaling)
    return Fidelity.of_splits(Dataset(samples, None, samples, scaling, windows)), scaling


def test_bytes_have_their_psnr_at_255() -> None:
    x = RNG.integers(0, 256, (20, 4, 4), np.uint8)
    fidelity, scaling = fitted(x)
    flat = x.reshape(20, -1)
    y = np.clip(flat.astype(np.int16) + RNG.integers(-9, 10, flat.shape), 0, 255).astype(np.uint8)
    row = fidelity.measure(flat, scaling.apply(y))
    mse = float(np.mean((flat.astype(float) - y) ** 2))
    assert row.mse == pytest.approx(mse, rel=1e-6)
    assert row.value == pytest.approx(20 * math.log10(255) - 10 * math.log10(mse), rel=1e-6)
    assert (row.measure, row.unit, row.columns) == ("PSNR", "dB", ())


def test_other_pictures_have_it_at_the_range_of_the_training_data() -> None:
    x = RNG.uniform(-2, 6, (20, 4, 4))
    x.flat[:2] = -2, 6
    fidelity, scaling = fitted(x)
    flat = x.reshape(20, -1)
    row = fidelity.measure(flat[:5], scaling.apply(flat[:5] + 0.5))
    assert fidelity.peak == 8
    assert (row.mse, row.value) == (pytest.approx(0.25, rel=1e-5), pytest.approx(10 * math.log10(64 / 0.25), rel=1e-5))


def test_a_table_has_r2_of_each_column_and_their_mean() -> None:
    x = RNG.normal(0, 1, (500, 4)) * [1e-3, 1, 1e3, 0] + [0, 5, -1e4, 7]
    fidelity, scaling = fitted(x, per_feature=True)
    y = x.copy()
    y[:, 0] = x[:, 0].mean()
    y[:, 1] += RNG.normal(0, 0.1, 500)
    y[:, 2] = x[:, 2].mean() - (x[:, 2] - x[:, 2].mean())
    row = fidelity.measure(x, (y - scaling.offset) / scaling.scale)
    r2 = [1 - ((y[:, i] - x[:, i]) ** 2).sum() / ((x[:, i] - x[:, i].mean()) ** 2).sum() for i in range(3)]
    assert [column.r2 for column in row.columns] == [*(pytest.approx(value, abs=1e-6) for value in r2), None]
    assert [column.name for column in row.columns] == ["value 0", "value 1", "value 2", "value 3"]
    assert row.value == pytest.approx(np.mean(r2), abs=1e-6)
    assert (row.measure, row.unit) == ("R²", "")
    assert fit_text(row).endswith(", worst -3 (value 2)")


def test_a_record_has_the_prdn_about_its_mean() -> None:
    x = RNG.normal(1000, 3, (30, 16))
    fidelity, scaling = fitted(x, windows=True)
    y = x + RNG.normal(0, 0.3, x.shape)
    row = fidelity.measure(x, (y - scaling.offset) / scaling.scale)
    expected = 100 * math.sqrt(((y - x) ** 2).sum() / ((x - x.mean()) ** 2).sum())
    assert (row.measure, row.unit, row.value) == ("PRDN", "%", pytest.approx(expected, rel=1e-6))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1e-6, 1.0, 4096.0]), st.sampled_from([0.0, 1.0, -64.0]), st.sampled_from(["table", "record"]))
def test_no_unit_of_the_data_changes_r2_and_prdn(scale: float, offset: float, kind: str) -> None:
    rng = np.random.default_rng(1)
    x, names = rng.normal(0, 1, (40, 3)), ("a", "b", "c") if kind == "table" else ()
    noise = rng.normal(0, 0.1, x.shape)

    def value(values: np.ndarray) -> float | None:
        return Fidelity(kind, Scaling(), names).measure(values, values + noise * scale).value

    assert value(x * scale + offset * scale) == pytest.approx(
        Fidelity(kind, Scaling(), names).measure(x, x + noise).value, rel=1e-7
    )


@pytest.mark.parametrize("level", [0.1, 1 / 3, 7e5 + 0.1, 1e-9])
def test_what_never_changes_has_no_measure_though_its_mean_rounds(level: float) -> None:
    x = np.full((7, 2), level)
    x[:, 1] = np.arange(7)
    row = Fidelity("table", Scaling(), ("still", "moves")).measure(x, x + 0.5)
    assert (row.columns[0].name, row.columns[0].r2, row.columns[0].rmse) == ("still", None, pytest.approx(0.5))
    assert row.value == pytest.approx(row.columns[1].r2)
    constant = Fidelity("table", Scaling(), ("a", "b")).measure(x[:, :1].repeat(2, 1), x[:, :1].repeat(2, 1) + 1)
    assert constant.value is None and fit_text(constant) == "R² not defined"
    assert Fidelity("record", Scaling()).measure(x[:, :1], x[:, :1] + 1).value is None


def test_what_a_file_loses_is_in_the_unit_of_measure_of_the_column() -> None:
    """Temperatures in tenths and pressures in thousands: the column that loses most of its R² is named, with its own errors."""
    x = np.stack([np.arange(8) / 10, np.arange(8) * 1000.0], axis=1)
    measure = Fidelity("table", Scaling(), ("temperature", "pressure")).measure
    reference, worse = (measure(x, x + np.array(errors)) for errors in ([0.01, 10.0], [0.02, 400.0]))
    assert [column.rmse for column in worse.columns] == pytest.approx([0.02, 400.0])
    assert [(ours.name, ours.rmse, theirs.rmse) for _, ours, theirs in worse.lost(reference)] == [
        ("pressure", pytest.approx(400), pytest.approx(10)),
        ("temperature", pytest.approx(0.02), pytest.approx(0.01)),
    ]
    assert most_lost(worse, reference) == "; most of it in pressure: RMSE 400 instead of 10"
    assert most_lost(reference, worse) == most_lost(None, reference) == most_lost(worse, None) == ""


def test_what_is_exact_says_so_and_is_json() -> None:
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    row = Fidelity("image", Scaling(), peak=255.0).measure(x, x.astype(np.float32))
    assert (row.value, fit_text(row)) == (None, "PSNR: exact, MSE 0")
    json.dumps(plain(row), allow_nan=False)


DATA = {"kind": "table", "columns": ["a", "b"], "label": None, "peak": None, "inputs": 2, "scaling": plain(Scaling())}
DATA |= {"source": "a.csv", "shape": [2], "dtype": "float32", "train": 8, "validation": 0, "test": 2, "sha256": 64 * "0"}


def test_a_manifest_gives_the_measure_that_its_data_have() -> None:
    assert Fidelity.of_data(decode(Data, DATA, "data")) == Fidelity("table", Scaling(), ("a", "b"))


@pytest.mark.parametrize(
    "change", [{"kind": "text"}, {"columns": ["a"]}, {"columns": "ab"}, {"peak": "255"}, {"shape": [3]}, {"speed": 1}]
)
def test_damaged_data_are_named_by_their_key(change: dict) -> None:
    with pytest.raises(FormatError, match=f"data: damaged: {next(iter(change))}: "):
        decode(Data, DATA | change, "data")


def row(stage: Stage, name: str, r2: dict[str, float | None], **more: str) -> Quality:
    columns = tuple(Column(column, value, 1.0) for column, value in r2.items())
    return Quality(name, stage, 1.0, Fit("R²", "", 1.0, None, columns), **more)


def test_columns_that_no_constant_beats_are_warned_of_in_the_worst_file() -> None:
    rows = [
        row(Stage.TRAIN, "Keras float", {"a": -9.0, "b": 0.5, "c": None}),
        row(Stage.EXPORT, "tiedae t.onnx", {"a": 0.1, "b": -0.2, "c": None}, runtime="ort-cpu"),
        row(Stage.EXPORT, "tiedae t.tflite", {"a": 0.2, "b": -0.3, "c": None}, runtime="litert-xnnpack"),
        row(Stage.STOCK, "stock t.tflite", {"a": -7.0, "b": -7.0, "c": None}),
    ]
    poor, still = warnings_of(rows, Scaling())
    assert (poor.column, poor.r2, poor.where) == ("b", -0.3, "tiedae t.tflite in litert-xnnpack")
    assert poor.text.startswith("b: R² is -0.3 in tiedae t.tflite in litert-xnnpack: its mean")
    assert "or `per_feature = true`" in poor.text
    on = warnings_of(rows, Scaling("standard", offset=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0)))[0]
    assert on.text.endswith("; try more epochs or units")  # each column has a scale of its own already
    assert (still.column, still.r2) == ("c", None) and still.text.startswith("c: never changes in the measured samples")
    assert [each.column for each in warnings_of(rows[:1] + rows[-1:], Scaling())] == ["a", "c"]
    assert warnings_of([Quality("Keras float", Stage.TRAIN, 1.0)], Scaling()) == ()


def test_a_channel_of_which_little_is_kept_is_a_warning() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 40))
    noise = rng.standard_normal((50, 20, 2)) * [0.85, 0.1]
    fit = Fidelity("record", Scaling(), ("ax", "ay"), channels=2).measure(x, (x + noise.reshape(50, 40)).astype(np.float32))
    assert [channel.name for channel in fit.channels] == ["ax", "ay"]
    (warning,) = warnings_of([Quality("tiedae t.onnx", Stage.EXPORT, 1.0, fit, runtime="ort-cpu")], Scaling())
    assert warning.column == "ax" and warning.prdn == pytest.approx(85, abs=3)
    assert warning_lines([warning])[0].startswith("channel ax: PRDN is 8")
    two = [warning, ColumnWarning("ay", 0.1, "t", 95.0)]
    assert warning_lines(two)[0].startswith("2 channels have a large PRDN, the worst ax with 8")


def test_outputs_of_other_samples_are_refused() -> None:
    x = np.ones((70_000, 2), np.float32)
    assert np.array_equal(squared_errors(x, 3 * x), np.full(70_000, 8.0))
    with pytest.raises(ValueError, match=r"shape \[70001, 2\], must be \[70000, 2\]"):
        squared_errors(x, np.ones((70_001, 2), np.float32))
