"""Sizes and limits of C files, each at its end: kernels, sums, memory, estimates, the codec's constants."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import ExportError, FormatError
from tiedae.base.windows import Window
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.entropy.channels import COUNT, Links
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.tables import FrequencyTables
from tiedae.export.c.builder import CBuilder, CStep
from tiedae.export.c.codec_source import SampleCodec, code_tables, codec_text
from tiedae.export.c.convolutions import Plane, WindowAxis
from tiedae.export.c.kernels import sparse_arrays, stored
from tiedae.export.c.memory import plan
from tiedae.export.c.operations import C_OPERATIONS
from tiedae.export.c.reader import read_c
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.export.c.streams import stream_declarations
from tiedae.export.c.text import literal
from tiedae.program.file_io import FileIO
from tiedae.program.operations import AddBias, Convolution, Dense, Operation, Product
from tiedae.program.program import Kernel, Program, Tensor

from ...conftest import build_program
from ...program import convolutions
from .codec_models import IDENTITY, model_of
from .models import backend_of, detector_of

LARGEST = 2**31 - 1


def dense_program(inputs: int, units: int, quantization: Quantization) -> Program:
    """One layer of ones."""
    shapes = {"x": (inputs,), "code": (units,), "y": (inputs,)}
    return Program(
        "ends",
        {name: Tensor(name, shape, quantization) for name, shape in shapes.items()},
        {"kernel": Kernel("kernel", inputs, units, (1 / 64,))},
        (Dense("x", "code", "kernel", False, None, "linear"),),
        (Dense("code", "y", "kernel", True, None, "linear"),),
        {"kernel": np.ones((inputs, units), np.int8)},
    )


@pytest.mark.parametrize("value", [-LARGEST - 1, -LARGEST, 0, LARGEST])
def test_a_literal_of_32_bits_has_no_number_beyond_them(value: int) -> None:
    """In C −2147483648 is the negative of a number that an int does not hold."""
    terms = [int(term.replace(" ", "")) for term in re.findall(r"-? ?\d+", literal(value, 32))]
    assert sum(terms) == value and all(abs(term) <= LARGEST for term in terms)


@pytest.mark.parametrize("value", [-(2**63), -LARGEST - 1])
def test_a_literal_of_64_bits_says_so(value: int) -> None:
    assert literal(value, 64) == f"INT64_C({value})"


def test_a_kernel_has_at_most_65535_units() -> None:
    program = dense_program(1, 65535, Quantization(0.5, 0))
    assert CBuilder(program).kernel("kernel").kernel.units == 65535
    with pytest.raises(ExportError, match="kernel kernel: got 65,536 units, a C file has at most 65,535"):
        CBuilder(dense_program(1, 65536, Quantization(0.5, 0))).kernel("kernel")


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_kernel_is_packed_where_that_is_smaller(bits: int) -> None:
    """Rows are whole groups of 8 values, of `bits` bytes each."""
    for units in range(1, 26):
        values = np.ones((3, units), np.int8)
        found = stored(Kernel("k", 3, units, (1.0,), bits), values, "dense")
        smaller = -(-units // 8) * bits < units
        assert (found.layout, found.size) == (("packed", 3 * -(-units // 8) * bits) if smaller else ("dense", 3 * units)), units


@pytest.mark.parametrize(
    ("values", "pairs"),
    [
        ([[64, 64], [64, 64]], (True, True)),
        ([[64, 0], [65, 0]], (False, True)),
        ([[64, 65], [0, 0]], (True, False)),
        ([[-64, -65], [-65, 0]], (False, False)),
        ([[1], [127], [127]], (True, True)),
    ],
)
def test_the_pair_rule_of_rows_and_of_values_of_a_row(values: list[list[int]], pairs: tuple[bool, bool]) -> None:
    kernel = np.array(values, np.int8)
    assert stored(Kernel("k", len(kernel), len(kernel.T), (1.0,)), kernel, "dense").pairs == pairs


def test_titles_say_which_layers_read_the_kernel_transposed() -> None:
    titles = re.findall(r"/\* (\w+) \[\d+\] to \w+ \[\d+\], kernel_\d( transposed)?,", to_c(build_program()).source)
    assert [(x, bool(turned)) for x, turned in titles if x in ("x", "code")] == [("x", False), ("code", True)]


def test_a_file_without_kernels_has_no_bytes_of_them() -> None:
    assert CSource("empty", "", "", "", 0, {}).kernel_bytes == 0


def test_the_first_number_of_a_kernel_is_decimal_too(tmp_path: Path) -> None:
    """~5 is −6 in C."""
    source = to_c(dense_program(3, 2, Quantization(0.5, 0)))
    text = source.source.replace("] = {\n1,1", "] = {~5,1", 1)
    assert text != source.source
    for name, each in (source.files | {"ends.c": text}).items():
        (tmp_path / name).write_text(each)
    with pytest.raises(FormatError, match="kernel kernel: its values must be decimal numbers"):
        read_c(tmp_path / "ends.c")


def steps(*sizes: int, scratch: int = 0) -> tuple[list[CStep], dict[str, int]]:
    """A chain from `x` of tensors of these sizes."""
    names = ["x", *(f"t{i}" for i in range(len(sizes)))]
    made = [CStep(f"step_{i}", x, y, scratch, False) for i, (x, y) in enumerate(pairwise(names))]
    return made, dict(zip(names[1:], sizes, strict=True))


@pytest.mark.parametrize(
    ("sizes", "starts", "memory"),
    [
        ((8, 8, 8, 1), [0, 8, 0], 16),
        ((8, 8, 9, 1), [0, 8, 16], 25),
        ((7, 8, 8, 1), [0, 8, 0], 16),
        ((5,), [], 0),
        ((), [], 0),
    ],
)
def test_a_place_is_the_first_that_is_large_enough(sizes: tuple[int, ...], starts: list[int], memory: int) -> None:
    chain, of = steps(*sizes)
    calls, size = plan(chain, of, "x", "y")
    assert [call.y.start for call in calls[:-1]] == starts and size == memory
    assert all(call.y.name == "y" for call in calls[-1:])


@pytest.mark.parametrize(
    ("exponent", "zero_point", "fits"), [(-42, 0, True), (-42, 1, False), (-43, 0, False), (-40, 2, True), (-40, 200, False)]
)
def test_the_rest_of_a_sum_of_64_bits_is_below_2_62(exponent: int, zero_point: int, fits: bool) -> None:
    """The shift is 20 − the exponent of the scales' ratio: half a step alone is 2⁶¹ at 62, and another step 2⁶² more."""
    small, large = Quantization(2.0**exponent, 0), Quantization(1.0, zero_point)
    shapes = {"x": ((3,), large), "code": ((2,), large), "p": ((3,), small), "y": ((3,), large)}
    bias = AddBias("p", "y", "bias", small, "linear")
    operations: tuple[Operation, ...] = (Product("code", "p", "kernel"), bias)
    program = Program(
        "ends",
        {name: Tensor(name, *each) for name, each in shapes.items()},
        {"kernel": Kernel("kernel", 3, 2, (1 / 64,))},
        (Dense("x", "code", "kernel", False, None, "linear"),),
        operations,
        {"kernel": np.ones((3, 2), np.int8), "bias": np.zeros(3, np.uint8)},
    )
    graph = CBuilder(program)
    if fits:
        C_OPERATIONS.write(graph, bias)
        assert len(graph.steps) == 1
    else:
        with pytest.raises(ExportError, match="y: its scale is too far from those of p and bias for sums of 64 bits"):
            C_OPERATIONS.write(graph, bias)


@pytest.mark.parametrize("beyond", [0, 1])
def test_sums_of_a_convolution_are_below_2_31(beyond: int) -> None:
    """A bias and all products of the largest integers, twice: with the zero point's."""
    program = convolutions.random_program(3)[0]
    operation = next(each for each in program.encoder if isinstance(each, Convolution))
    sums = 2 * program.quantization(operation.x).top * np.abs(program.constants[operation.kernel].astype(int)).sum(axis=0)
    bias = np.zeros(len(sums), np.int32)
    bias[sums.argmax()] = LARGEST + beyond - sums.max()
    wide = dataclasses.replace(operation, bias="wide")
    graph = CBuilder(dataclasses.replace(program, constants={**program.constants, "wide": bias}))
    if not beyond:
        C_OPERATIONS.write(graph, wide)
        assert len(graph.steps) == 1
    else:
        with pytest.raises(ExportError, match="sums reach 2,147,483,648, C holds them in 32 bits: must be below 2,147,483,648"):
            C_OPERATIONS.write(graph, wide)


def test_a_transposed_convolution_holds_32_bits_of_each_value_under_a_window() -> None:
    for seed in range(6):
        program = convolutions.random_program(seed)[0]
        graph, transposed = CBuilder(program), [each for each in program.decoder if isinstance(each, Convolution)]
        for each in transposed:
            C_OPERATIONS.write(graph, each)
            columns, channels = max(each.sizes[-1], each.strides[-1]), program.tensors[each.y].shape[-1]
            assert graph.steps[-1].scratch == 4 * columns * channels + graph.kernel(each.kernel).scratch


def test_a_zero_follows_the_values_of_a_sparse_kernel() -> None:
    """A decoder reads one value beyond the last row before it knows that none is left."""
    found = sparse_arrays(np.array([[0, 3, 0], [-4, 0, 5]], np.int8))
    assert {name: values.tolist() for name, values in found.items()} == {
        "mask": [[0b010], [0b101]],
        "values": [3, -4, 5, 0],
        "counts": [0, 1],
    }


@pytest.mark.parametrize(
    ("x", "scale", "estimated"),
    [
        (2.0**-55, 2.0**-55, True),
        (2.0**-55, 2.0**-56, False),
        (2.0**7, 2.0**100, True),
        (2.0**8, 2.0**100, False),
        (2.0**100, 1.0, True),
        (2.0**100 * (1 + 2**-23), 1.0, False),
        (0.5, 1.0, True),
    ],
)
def test_values_are_estimated_where_their_steps_and_scales_are_in_range(x: float, scale: float, estimated: bool) -> None:
    """2¹⁴ / step is M · 2^(126 − K) with K of 33…250: steps of 2⁻¹¹⁰ to 2¹⁰⁷; scales of x up to 2¹⁰⁰."""
    program, scaling = dense_program(3, 2, Quantization(x, 7)), Scaling("standard", 0.0, scale)
    unit = DataUnit(SampleSpec((3,), "float32", scaling, "table"), None, FileIO("float32", scaling))
    assert ("tae_estimated((float)value" in to_c(dataclasses.replace(program, name="tae"), unit=unit).floats) == estimated


@pytest.mark.parametrize(("lag", "kept"), [(1, 4), (2, 4), (3, 8), (6, 8), (7, 16), (14, 16), (15, 32)])
def test_a_power_of_two_of_the_last_changes_is_kept(lag: int, kept: int) -> None:
    """A link to the channel before, `lag` steps back, reaches `lag` + 2 changes."""
    spec = SampleSpec((5, 2), "uint16", kind="record")
    model = model_of(spec)
    assert model.residuals is not None
    lags = np.full((2, COUNT), 2, np.uint8)
    lags[1] = 0
    lags[1, 3] = lag
    links = Links(np.repeat(np.array([[1], [-1]], np.int8), COUNT, axis=1), lags, np.zeros((2, COUNT), np.int32))
    coder = model.residuals.prediction
    coder = dataclasses.replace(coder, part=dataclasses.replace(coder.part, links=links))
    codec = SampleCodec(model.coding.tables, IDENTITY, ResidualTables(coder, coder))
    assert re.findall(r"#define TAE_DEPTH (\d+)u", codec_text(spec, codec).header) == [str(kept)]


@pytest.mark.parametrize(("last", "kind"), [(65535, "uint16_t"), (65536, "uint32_t")])
def test_places_of_tables_have_16_bits_up_to_65535(last: int, kind: str) -> None:
    """The ends of the tables' lists, of a slot per symbol and one more: 257 and one of 256 of 255 tables and a shorter one."""
    tables = 255
    frequencies = np.zeros((tables, 257), np.uint16)
    frequencies[:, :-1] = 1
    frequencies[:, -1] = (1 << 14) - 256
    rest = last - (tables - 1) * 258
    frequencies[-1] = 0
    frequencies[-1, : rest - 2] = 1
    frequencies[-1, -1] = (1 << 14) - (rest - 2)
    text = code_tables(FrequencyTables(8, frequencies), ["encode"])
    assert f"static const {kind} tae_places[" in text


def test_windows_over_an_image_have_an_axis_each_and_over_a_signal_one() -> None:
    window = Window((3, 5), (2, 1), "same")
    image, signal = Plane.of(window, (7, 20, 4)), Plane.of(Window((5,), (2,), "valid"), (20, 4))
    assert (image.lines, image.columns) == (WindowAxis(7, 3, 2, 4, 1), WindowAxis(20, 5, 1, 20, 2))
    assert (signal.lines, signal.columns) == (WindowAxis(1, 1, 1, 1, 0), WindowAxis(20, 5, 2, 8, 0))
    assert image.channels == signal.channels == 4 and image.width == signal.width == 80


@pytest.mark.parametrize("shape", [(12,), (4, 3), (2, 6)])
def test_a_stream_states_steps_and_channels(shape: tuple[int, ...]) -> None:
    unit = DataUnit(SampleSpec(shape, "int16", kind="record"))
    numbers = dict(re.findall(r"#define TAE_STREAM_(STEPS|CHANNELS) (\d+)", stream_declarations(unit)))
    assert numbers == {"STEPS": str(shape[0]), "CHANNELS": str(12 // shape[0])}


@pytest.mark.parametrize(("signatures", "converted"), [(("encode",), 16), (("decode",), 0), (("score",), 16 + 12)])
def test_an_arena_has_a_sample_that_is_converted_and_the_code_of_one_that_is_scored(
    signatures: tuple[str, ...], converted: int
) -> None:
    """13 inputs and 9 units, in whole words: behind the memory of either half."""
    backend = backend_of(dense_program(13, 9, Quantization(0.5, 100)), "int16", per_feature=False)
    detector = detector_of(backend, "mse") if "score" in signatures else None
    source = to_c(backend.program, signatures=signatures, unit=DataUnit(backend.spec, backend.maps), detector=detector)
    halves = [int(size) for size in re.findall(r"(?:en|de)code (\d+)", source.header.partition("in bytes:")[2].split(".")[0])]
    assert source.arena == max(halves) + converted
