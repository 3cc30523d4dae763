"""Samples in the data's unit of measure go into files and come back, as closely as `resolution` says."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.compress import ExportConfig, ExportError
from tiedae.compress.affine import BYTE
from tiedae.config.scaling import Scaling
from tiedae.program.differences import LEAST_SCALE
from tiedae.program.file_io import COARSE, OFFSET, SCALE, SCALED_IO, FileIO

COUNTS = Scaling("minmax", -300.0, 701.0)
EACH = Scaling("standard", (1.0, -20.0), (2.0, 0.5))
BYTES = Scaling("byte", 0.0, 255.0)
EPS = 2.0**-23


@pytest.mark.parametrize(
    ("config", "scaling", "dtype", "expected"),
    [
        (ExportConfig(scaled=False), COUNTS, "int16", FileIO("auto", COUNTS)),
        (ExportConfig(scaled=False, io="uint8"), COUNTS, "int16", FileIO("uint8", COUNTS)),
        (ExportConfig(scaled=True), COUNTS, "int16", FileIO("auto")),
        (ExportConfig(scaled=False), BYTES, "uint8", FileIO("auto")),
    ],
)
def test_int8_files_have_the_io_of_the_recipe(config: ExportConfig, scaling: Scaling, dtype: str, expected: FileIO) -> None:
    found = FileIO.of(config, scaling, dtype)
    assert found.scaling == expected.scaling
    assert found.scaled == (expected.scaling is None) and FileIO.parse(found) is found
    assert FileIO.parse("float32") == FileIO("float32") and FileIO.parse("uint8").dtype == "uint8"
    assert found.floats == FileIO("float32", expected.scaling)


@pytest.mark.parametrize(
    ("io", "folded"),
    [
        (FileIO("float32", COUNTS), COUNTS),
        (FileIO("uint8", COUNTS), None),
        (FileIO("float32", Scaling("none", 0.0, 1.0)), None),
        (FileIO("float32"), None),
        (SCALED_IO, None),
    ],
)
def test_only_floats_in_the_data_s_unit_are_scaled_in_the_file(io: FileIO, folded: Scaling | None) -> None:
    assert io.folded == folded
    y = np.array([[0.25, 0.5], [1.0, 0.0]], np.float32)
    assert io.resolution(y) == (0 if folded is None else pytest.approx(EPS * (4 * 1.0 + 300 / 701), rel=1e-6))
    expected = {} if folded is None else {OFFSET: -300.0, SCALE: 701.0}
    assert {name: float(values) for name, values in io.constants((2,)).items()} == expected
    restored = io.restored(y)
    np.testing.assert_allclose(restored, y if folded is None else y * 701.0 - 300.0, rtol=1e-6)
    assert np.abs(io.scaled_values(restored) - y).max() <= io.resolution(y)


def test_one_pair_for_each_input_has_the_shape_of_a_sample() -> None:
    constants = FileIO("float32", EACH).constants((1, 2))
    assert constants[OFFSET].tolist() == [[1.0, -20.0]] and constants[SCALE].tolist() == [[2.0, 0.5]]
    y = np.array([[-3.0, 2.0]], np.float32)
    assert FileIO("float32", EACH).resolution(y) == pytest.approx(EPS * (4 * 3 + 40), rel=1e-6)


@pytest.mark.parametrize(
    ("y", "scale"), [([[0.25, -4.0]], 4.0), ([[0.0, 0.0]], LEAST_SCALE), ([[LEAST_SCALE / 2, 0.0]], LEAST_SCALE)]
)
def test_a_relative_resolution_is_one_of_full_scale(y: list[list[float]], scale: float) -> None:
    io, values = FileIO("float32", COUNTS), np.array(y, np.float32)
    assert io.relative_resolution(values) == pytest.approx(io.resolution(values) / scale)


def test_values_that_are_not_finite_do_not_count_for_the_resolution() -> None:
    io = FileIO("float32", COUNTS)
    assert io.resolution(np.array([[np.nan, np.inf, 0.5]], np.float32)) == io.resolution(np.array([[0.5]], np.float32))
    assert io.resolution(np.zeros((0, 2), np.float32)) == pytest.approx(EPS * 300 / 701)


@pytest.mark.parametrize("scale", [0.0, 1e-39, np.inf, np.nan, 1e39])
def test_a_scaling_that_float32_does_not_hold_is_refused(scale: float) -> None:
    with pytest.raises(ExportError, match=r"offset and scale: got .* must be float32 numbers, or \[export\] scaled = true"):
        FileIO("float32", Scaling("minmax", 0.0, scale))


def test_the_least_normal_number_is_a_scale() -> None:
    assert FileIO("float32", Scaling("minmax", 0.0, float(np.finfo(np.float32).tiny))).folded is not None


def test_inputs_that_float32_resolves_coarsely_are_listed_worst_first() -> None:
    """Between 2²⁴ and 2²⁵ floats are 2 apart, between 2²³ and 2²⁴ 1; a step of x is 1 / 255 of the scale."""
    x = BYTE
    scaling = Scaling("minmax", (0.0, 2.0**23, 2.0**24, 2.0**23), (1.0, 255.0, 255.0, 2550.0))
    found = FileIO("float32", scaling).coarse(x)
    assert [index for index, _, _ in found] == [2, 1]
    assert [step for _, step, _ in found] == [2.0, 1.0] and [wanted for _, _, wanted in found] == pytest.approx([1.0, 1.0])
    fine = Scaling("minmax", 2.0**23, 255 * 1 / (COARSE * 0.99))
    enough = Scaling("minmax", 2.0**23, 255 * 1 / (COARSE * 1.01))
    assert COARSE == 0.1 and len(FileIO("float32", enough).coarse(x)) == 1 and FileIO("float32", fine).coarse(x) == []
    assert FileIO("uint8", scaling).coarse(x) == []


def test_integers_and_scaled_floats_pass_unchanged() -> None:
    q = np.array([[0, 255]], np.uint8)
    for io in (SCALED_IO, FileIO("uint8", COUNTS), FileIO("float32", COUNTS)):
        assert io.scaled_values(q) is q
    x = np.array([[1, 2]], np.int16)
    assert SCALED_IO.samples(x) is x and FileIO("float32", COUNTS).samples(x).dtype == np.float32
