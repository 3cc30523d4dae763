"""Copies in files, and the proof of ours: each way in which a tie can break is found and named."""

import dataclasses
import itertools
import time

import flatbuffers
import ml_dtypes
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec import structs

from tiedae.compress.patterns import PATTERNS
from tiedae.config.config import PruneConfig
from tiedae.export.duplicates import MINIMUM, TINY, TINY_MATRIX, UNIFORM, copies
from tiedae.export.model_file import Constant, Contents
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.storage_check import prove
from tiedae.export.targets import read_model
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.program import Program
from tiedae.verify.stock.measurement import kernel_copies

from ..conftest import build_program
from .test_duplicates import dequantize
from .tflite.test_writer import PROGRAMS, split

WEIGHTS = np.random.default_rng(0).integers(-127, 128, (16, 10)).astype(np.int8)


def contents(**values: np.ndarray | Constant) -> Contents:
    """A file in which each constant has a storage of its own."""
    constants = [
        value if isinstance(value, Constant) else Constant(name, value, storage=name) for name, value in values.items()
    ]
    return Contents("test", 0, tuple(constants), ())


def quantized(name: str, values: np.ndarray, scales: tuple[float, ...], zero_points: tuple[int, ...], axis: int = 0):
    return Constant(name, values, name, scales, zero_points, axis)


@pytest.mark.parametrize(
    ("other", "relation", "by"),
    [
        (WEIGHTS, "equal", "bytes"),
        (WEIGHTS.reshape(4, 40), "reshaped", "bytes"),
        (WEIGHTS.ravel(), "reshaped", "bytes"),
        (WEIGHTS[None, :, :, None], "reshaped", "bytes"),
        (np.ascontiguousarray(WEIGHTS.T), "transposed", "bytes"),
        (WEIGHTS.T.ravel(), "transposed", "bytes"),
        (WEIGHTS.reshape(4, 4, 10).transpose(2, 0, 1), "transposed", "bytes"),
    ],
)
def test_copies_by_bytes(other, relation, by):
    (copy,) = copies(contents(first=WEIGHTS, second=other))
    assert (copy.name, copy.original, copy.relation, copy.by, copy.size) == ("second", "first", relation, by, WEIGHTS.nbytes)
    assert copy.text == f"second is {relation} to first: 160 bytes stored again"


def test_copies_of_three_axes_in_any_order():
    cube = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    found = copies(contents(a=cube, b=cube.transpose(1, 0, 2), c=cube.transpose(2, 0, 1), d=cube[::-1]))
    assert [(copy.name, copy.relation) for copy in found] == [("b", "transposed"), ("c", "transposed")]


SCALE = 0.25
PER_COLUMN = tuple(float(s) for s in np.linspace(0.5, 1.5, 10, dtype=np.float32))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            quantized("first", WEIGHTS, (SCALE,), (0,)),
            quantized("second", (WEIGHTS.view(np.uint8) ^ 128).T, (SCALE,), (128,)),
        ),
        (quantized("first", WEIGHTS, (SCALE,), (0,)), WEIGHTS.astype(np.float32) * np.float32(SCALE)),
        (
            quantized("first", WEIGHTS, PER_COLUMN, (0,) * 10, axis=1),
            (WEIGHTS.astype(np.float32) * np.array(PER_COLUMN, np.float32)).T,
        ),
    ],
    ids=["uint8 and int8", "dequantized", "dequantized per column"],
)
def test_copies_by_value(first, second):
    (copy,) = copies(contents(first=first, second=second))
    assert (copy.original, copy.name, copy.by) == ("first", "second", "values")


@pytest.mark.parametrize(
    "other",
    [
        WEIGHTS + np.int8(WEIGHTS[3, 4] == WEIGHTS),
        np.random.default_rng(1).permutation(WEIGHTS.ravel()).reshape(WEIGHTS.shape),
        WEIGHTS[::-1],
        WEIGHTS.astype(np.int16),
    ],
)
def test_shape_or_content_alone_is_no_copy(other):
    assert copies(contents(first=WEIGHTS, second=other)) == []


def test_equal_integers_of_other_scales_are_a_copy_by_bytes():
    found = copies(contents(a=quantized("a", WEIGHTS, (0.5,), (0,)), b=quantized("b", WEIGHTS, (0.25,), (0,))))
    assert [copy.by for copy in found] == ["bytes"]


def test_views_of_one_storage_are_no_copy():
    views = Contents("test", 0, (Constant("a", WEIGHTS, "1"), Constant("b", WEIGHTS, "1", (0.5,), (0,))), ())
    assert copies(views) == []


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (ramp(MINIMUM // 4), 1),
        (ramp(MINIMUM // 4 - 1), 0),
        (ramp(2, MINIMUM // 8), 1),
        (ramp(3, 5), 0),
        (np.zeros(MINIMUM // 4, np.float32), 1),
        (np.full(MINIMUM, 7, np.int8), 1),
        (np.full(MINIMUM - 1, 7, np.int8), 0),
        (np.zeros(MINIMUM, ml_dtypes.int4), 1),
        (np.zeros((4, 4), np.complex128), 1),
        (np.zeros((0, 3), np.float32), 0),
    ],
    ids=lambda value: f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else None,
)
def test_which_constants_are_searched(values, found):
    assert len(copies(contents(a=values, b=values))) == found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (ramp(TINY), 1),
        (ramp(TINY - 1), 0),
        (ramp(2, TINY_MATRIX // 2), 1),
        (ramp(3, 5), 0),
        (np.zeros((8, 8), np.float32), 0),
        (np.full(UNIFORM - 1, 7, np.float32), 0),
        (np.zeros(UNIFORM, np.float32), 1),
    ],
    ids=lambda value: str(value.shape) if isinstance(value, np.ndarray) else None,
)
def test_which_constants_are_searched_by_value(values, found):
    other = values.astype(np.float64)
    assert [copy.by for copy in copies(contents(a=values, b=other), minimum=1)] == ["values"] * found


@pytest.mark.parametrize("minimum", [1, 128, 160, 161])
def test_the_minimum_counts_stored_bytes(minimum):
    packed = [Constant(name, WEIGHTS.astype(ml_dtypes.int4), name, stored=80) for name in "cd"]
    found = copies(contents(a=WEIGHTS, b=WEIGHTS, c=packed[0], d=packed[1]), minimum)
    assert {copy.name for copy in found} == {name for name, size in (("b", 160), ("d", 80)) if size >= minimum}


def test_the_original_is_the_one_with_the_same_order_of_bytes():
    """So that a duplicate that cannot become a view of its transpose still shares its bytes with its equal."""
    found = copies(contents(a=WEIGHTS, b=WEIGHTS.T, c=WEIGHTS.T, d=WEIGHTS.T.ravel()))
    assert [(copy.name, copy.original, copy.relation) for copy in found] == [
        ("b", "a", "transposed"),
        ("c", "b", "equal"),
        ("d", "b", "reshaped"),
    ]


def test_a_small_matrix_that_is_stored_three_times():
    matrix = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    found = copies(contents(a=matrix, b=matrix, c=matrix.T))
    assert [(copy.name, copy.original, copy.relation) for copy in found] == [("b", "a", "equal"), ("c", "a", "transposed")]


def test_every_extra_copy_is_counted_once():
    found = copies(contents(a=WEIGHTS, b=WEIGHTS, c=WEIGHTS.T, d=WEIGHTS.ravel()))
    assert [(copy.name, copy.original) for copy in found] == [("b", "a"), ("c", "a"), ("d", "a")]


def flattened_orders(values: np.ndarray) -> set[tuple[str, bytes]]:
    values = values.squeeze()
    return {(values.dtype.name, values.transpose(axes).tobytes()) for axes in itertools.permutations(range(values.ndim))}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_constant_with_the_bytes_of_another_in_some_order_is_found_and_no_other(data):
    """Against a count of its own: many constants of few values, so that equal ones abound, uniform ones too."""
    shapes = st.sampled_from([(4, 6), (6, 4), (24,), (2, 3, 4), (4, 3, 2), (1, 24), (2, 12), (12, 2), (3, 1, 8)])
    dtypes = st.sampled_from([np.int8, np.uint8, np.float32])
    arrays = [
        np.random.default_rng(data.draw(st.integers(0, 3))).integers(0, data.draw(st.integers(1, 2)), 24).astype(dtype)
        for dtype in data.draw(st.lists(dtypes, min_size=2, max_size=8))
    ]
    made = [
        array.reshape(shape := data.draw(shapes)).transpose(data.draw(st.permutations(range(len(shape))))) for array in arrays
    ]
    made = [np.ascontiguousarray(each) for each in made]
    expected = {
        str(i)
        for i, second in enumerate(made)
        for first in made[:i]
        if (first.dtype.name, first.tobytes()) in flattened_orders(second)
        or (second.dtype.name, second.tobytes()) in flattened_orders(first)
    }
    found = copies(contents(**{str(i): each for i, each in enumerate(made)}), minimum=1)
    assert {copy.name for copy in found if copy.by == "bytes"} == expected


def test_thousands_of_equal_constants_take_no_square_of_time():
    zeros = np.zeros((64, 64), np.int32)
    almost = [zeros.copy() for _ in range(2000)]
    for i, each in enumerate(almost):
        each.flat[i] = 1
    start = time.process_time()
    found = copies(contents(**{f"z{i}": zeros for i in range(2000)}, **{f"a{i}": each for i, each in enumerate(almost)}))
    assert time.process_time() - start < 10
    equal = [copy for copy in found if copy.by == "bytes"]
    assert {copy.original for copy in equal if copy.name.startswith("z")} == {"z0"} and len(equal) > 1999


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=2, max_side=6)), st.randoms())
def test_any_order_of_axes_is_found(values, random):
    assume(values.min() < values.max())
    order = list(range(values.ndim))
    random.shuffle(order)
    values = np.tile(values, -(-TINY // values.size)) if values.size < TINY else values
    assert len(copies(contents(a=values, b=values.transpose(order)))) == 1


def test_dequantize():
    constant = quantized("t", np.array([[1, 2], [3, 4]], np.int8), (0.5, 2.0), (1, 0), axis=1)
    np.testing.assert_array_equal(dequantize(constant), [[0, 4], [1, 8]])


# --- how often the stock files hold a kernel ---


def integers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


SQUARE = integers(4, 4)
SMALL = integers(10, 4), integers(4, 10)
SAME = np.count_nonzero(SMALL[0] == SMALL[1].T)
"""How many integers of the two agree, each read as 10 × 4."""


@pytest.mark.parametrize(
    ("kernels", "matrices", "expected"),
    [
        ([(16, 10)], [WEIGHTS, WEIGHTS.T], (2, 1.0)),
        ([(16, 10)], [WEIGHTS, WEIGHTS], (2, 1.0)),
        ([(16, 10)], [WEIGHTS, np.where(np.arange(10) < 9, WEIGHTS, 100).T], (2, 0.9)),
        ([(16, 10)], [WEIGHTS.astype(np.float32), WEIGHTS.T], (2, None)),
        ([(16, 10)], [WEIGHTS], (1, None)),
        ([(4, 4)], [SQUARE, SQUARE.T], (2, 1.0)),
        ([(20, 8), (8, 20)], [integers(20, 8, seed=i) for i in range(4)], (2, None)),
        ([(16, 10), (10, 4)], [WEIGHTS, *SMALL, WEIGHTS.T, integers(7, 7)], (2, (160 + SAME) / 200)),
        ([(20, 8), (8, 20)], [integers(20, 8, seed=i) for i in range(3)], (None, None)),
        ([(16, 10), (10, 4)], [WEIGHTS, WEIGHTS.T, integers(10, 4)], (None, None)),
        ([(16, 10)], [WEIGHTS.ravel()], (None, None)),
        ([(1, 4)], [integers(1, 4), integers(4, 1)], (None, None)),
        ([(1, 8), (8, 4)], [integers(8, 1), integers(8, 4), integers(8, 4).T], (2, 1.0)),
    ],
    ids=[
        "transposed", "equal", "some differ", "float and int8", "once", "square", "two of one shape", "another matrix",
        "odd", "unlike", "flat", "one input", "one input, two layers",
    ],
)  # fmt: skip
def test_kernel_copies(kernels, matrices, expected):
    assert kernel_copies(contents(**{f"m{i}": values for i, values in enumerate(matrices)}), kernels) == expected


# --- the proof ---


def masks_of(program) -> dict[str, np.ndarray]:
    return {name: program.constants[name] != 0 for name in program.kernels}


def pruned(**options):
    """A program with half of each kernel zero."""
    program = split(widths=(40, 24, 6), **options)
    rng = np.random.default_rng(0)
    constants = dict(program.constants)
    for name in program.kernels:
        constants[name] = constants[name] * (rng.random(constants[name].shape) < 0.5).astype(constants[name].dtype)
    return dataclasses.replace(program, constants=constants)


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_our_files_hold(options):
    program = pruned(**options)
    file = read_tflite(to_tflite(program))
    findings = prove(file, program, masks_of(program))
    assert all(finding.ok for finding in findings), [finding.text for finding in findings if not finding.ok]
    pairs = ["pairs"] if program.quantized else []
    names = [f"{kernel}.{what}" for kernel in program.kernels for what in ("copies", "values", "scales", *pairs, "zeros")]
    assert [finding.name for finding in findings] == [*names, "weights"]
    assert copies(file) == []


@pytest.mark.parametrize(
    ("pruning", "text"),
    [
        (PruneConfig("2:4", skip=(1,)), "kernel_0: at most 2 of every 4 values are not zero, along inputs and along units"),
        (PruneConfig("block", block=(4, 2), skip=(1,)), "kernel_0: 60 of 120 blocks of 4 × 2 are zero"),
        (PruneConfig("2:8", 0.75), "kernel_1: has shape [24, 6], expected tiles of [8, 8] and a mask of the same shape"),
    ],
    ids=["2:4", "block", "of another model"],
)
def test_the_pattern_is_found_in_the_stored_integers(pruning, text):
    program = split(widths=(40, 24, 6))
    kernel = program.constants["kernel_0"]
    dividing = structs.replace(pruning, skip=(1,))
    (mask,) = PATTERNS[pruning.kind]([np.abs(kernel.astype(float))], pruning.sparsity, dividing)
    masks = {"kernel_0": mask, "kernel_1": np.ones((24, 6), bool)}
    held = dataclasses.replace(program, constants={**program.constants, "kernel_0": kernel * mask})
    rows = {row.name: row for row in prove(read_tflite(to_tflite(held)), held, masks, pruning=pruning)}
    assert text in [row.text for name, row in rows.items() if name.endswith(".pattern")]
    assert rows["kernel_0.pattern"].ok and (bool(pruning.skip) or not rows["kernel_1.pattern"].ok)
    assert ("kernel_1.pattern" in rows) == (not pruning.skip)
    broken = {row.name: row for row in prove(read_tflite(to_tflite(program)), program, masks, pruning=pruning)}
    assert not broken["kernel_0.pattern"].ok


@pytest.mark.parametrize("widths", [(40, 1), (1, 40), (12, 12), (2, 1)])
def test_slim_and_square_kernels_hold(widths):
    program = split(widths=widths, activations=("linear",))
    assert all(finding.ok for finding in prove(read_tflite(to_tflite(program)), program))


@pytest.mark.parametrize("options", [{}, {"granularity": "unit"}, {"quantized": False}], ids=["tensor", "unit", "float"])
def test_onnx_files_hold(options, tmp_path):
    from tiedae.export.onnx.reader import read_onnx

    program = build_program(widths=(40, 24, 6), **options)
    path = tmp_path / "toy.onnx"
    path.write_bytes(to_onnx(program))
    findings = prove(read_onnx(path), program)
    assert all(finding.ok for finding in findings), [finding.text for finding in findings if not finding.ok]


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
def test_an_int8_kernel_that_can_saturate_is_named(tmp_path, monkeypatch):
    """In an .onnx file it is a failure, as uint8 it is stated; LiteRT is exact with any integers."""
    program = build_program(widths=(40, 24, 6), pairs=False)
    count = program.exceeding_pairs["kernel_0"]
    text = f"kernel_0: {count} pairs of neighbours add to more than 128"

    def found(path, data):
        path.write_bytes(data)
        return next(each for each in prove(read_model(path), program) if each.name == "kernel_0.pairs")

    assert count > 0
    unsigned = found(tmp_path / "unsigned.onnx", to_onnx(program))
    assert (unsigned.ok, unsigned.text) == (True, f"{text}; stored as uint8, which is exact everywhere")
    lite = found(tmp_path / "lite.tflite", to_tflite(split(widths=(40, 24, 6), pairs=False)))
    assert lite.ok and "saturates" in lite.text
    monkeypatch.setattr(Program, "exceeding_pairs", {})
    signed = found(tmp_path / "signed.onnx", to_onnx(dataclasses.replace(program)))
    assert (signed.ok, signed.text) == (False, f"{text}; int8 saturates on x86-64 without VNNI")


def test_more_values_than_clusters_are_named():
    program = split(widths=(40, 24, 6))
    program = dataclasses.replace(program, constants={**program.constants, "kernel_0": np.sign(program.constants["kernel_0"])})
    found = {row.name: row for row in prove(read_tflite(to_tflite(program)), program, clusters=3)}
    assert (
        found["kernel_0.clusters"].ok and found["kernel_0.clusters"].text == "kernel_0: 3 distinct values, expected at most 3"
    )
    values = len(np.unique(program.constants["kernel_1"]))
    assert not found["kernel_1.clusters"].ok
    assert found["kernel_1.clusters"].text == f"kernel_1: {values} distinct values, expected at most 3"


def failures(file: Contents, program, masks=None) -> dict[str, str]:
    return {finding.name: finding.text for finding in prove(file, program, masks) if not finding.ok}


KINDS = pytest.mark.parametrize("options", [{}, {"granularity": "unit"}, {"quantized": False}], ids=["tensor", "unit", "float"])


@KINDS
def test_a_flipped_weight_is_named(options):
    program = split(widths=(40, 24, 6), **options)
    expected = program.constants["kernel_0"]
    data = bytearray(to_tflite(program))
    place = data.index(np.ascontiguousarray(expected.T).tobytes())
    data[place + (5 * 40 + 7) * expected.itemsize] ^= 1  # unit 5, input 7
    wrong = failures(read_tflite(bytes(data)), program)
    assert set(wrong) == {"kernel_0.copies", "kernel_0.values"}
    assert wrong["kernel_0.copies"] == "kernel_0: stored 0 times, expected once; kernel_0 comes nearest"
    text = "kernel_0: 1 of 960 values of kernel_0 differ from the program's, first at [7, 5]: got "
    assert wrong["kernel_0.values"].startswith(text) and wrong["kernel_0.values"].endswith(f"expected {expected[7, 5]}")


def with_own_buffer(data: bytes, name: str, change) -> bytes:
    """The file with one tensor moved to a buffer of its own: `change` of the values that it had, [units, inputs]."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    values = np.empty(0)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.name == name.encode():
                dtype = {schema.TensorType.INT8: np.int8, schema.TensorType.FLOAT32: np.float32}[tensor.type]
                values = change(np.asarray(model.buffers[tensor.buffer].data).view(dtype).reshape(tensor.shape))
                tensor.shape, tensor.buffer = list(values.shape), len(model.buffers)
    model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@KINDS
@pytest.mark.parametrize(("change", "relation"), [(np.copy, "equal"), (np.transpose, "transposed")])
def test_a_second_buffer_is_named(change, relation, options):
    program = split(widths=(40, 24, 6), **options)
    file = read_tflite(with_own_buffer(to_tflite(program), "kernel_0.decode", change))
    wrong = failures(file, program)
    assert set(wrong) == {"kernel_0.copies", "weights"}
    assert wrong["kernel_0.copies"] == "kernel_0: stored 2 times (kernel_0, kernel_0.decode), expected once"
    assert wrong["weights"] == "weights: 2,064 in the file, expected 1,104"
    assert [(copy.name, copy.relation) for copy in copies(file)] == [("kernel_0.decode", relation)]


@KINDS
def test_a_second_buffer_that_differs_is_named(options):
    """The tie silently gone: the decoder has values of its own, almost the encoder's."""
    program = split(widths=(40, 24, 6), **options)
    file = read_tflite(with_own_buffer(to_tflite(program), "kernel_0.decode", lambda values: values[::-1].copy()))
    assert copies(file) == []
    wrong = failures(file, program)
    assert wrong == {"weights": "weights: 2,064 in the file, expected 1,104; not a kernel: kernel_0.decode [24, 40]"}


def test_a_dequantized_copy_is_named():
    program = split(widths=(40, 24, 6))
    file = read_tflite(to_tflite(program))
    kernel = program.kernels["kernel_0"]
    real = program.constants["kernel_0"].astype(np.float32) * np.float32(kernel.scales[0])
    file = dataclasses.replace(file, constants=(*file.constants, Constant("real", real, "real")))
    assert set(failures(file, program)) == {"weights"}
    assert [(copy.name, copy.relation, copy.by) for copy in copies(file)] == [("real", "transposed", "values")]


@pytest.mark.parametrize(
    "values", [integers(24 * 6), integers(1, 24 * 6), np.zeros(24 * 6, np.float32)], ids=["flat", "row", "float"]
)
def test_further_weights_are_counted_whatever_their_shape(values):
    program = split(widths=(40, 24, 6))
    file = read_tflite(to_tflite(program))
    file = dataclasses.replace(file, constants=(*file.constants, Constant("more", values, "more")))
    assert failures(file, program) == {
        "weights": f"weights: 1,248 in the file, expected 1,104; not a kernel: more {list(values.shape)}"
    }


@pytest.mark.parametrize(
    ("widths", "size", "holds"),
    [((40, 24, 6), 24 * 6 - 1, True), ((40, 24, 6), 24 * 6, False), ((40, 1), 40, True), ((40, 1), 41, False)],
)
def test_a_flat_constant_counts_from_the_size_of_the_smallest_kernel_if_no_bias_is_as_long(widths, size, holds):
    program = split(widths=widths, activations=("linear",) * (len(widths) - 1))
    file = read_tflite(to_tflite(program))
    file = dataclasses.replace(file, constants=(*file.constants, Constant("more", integers(size), "more")))
    assert ("weights" not in failures(file, program)) == holds


def test_three_of_the_constants_that_are_no_kernels_are_named():
    program = split(widths=(40, 24, 6))
    file = read_tflite(to_tflite(program))
    more = [Constant(name, np.zeros((2, 1)), name) for name in "dbca"]
    wrong = failures(dataclasses.replace(file, constants=(*file.constants, *more)), program)
    assert wrong["weights"].endswith("expected 1,104; not a kernel: a [2, 1], b [2, 1], c [2, 1]")


def flipped(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size).reshape(values.shape) == 5, values ^ 1, values)


FIRST, SECOND = (split(widths=(16, 16, 16)).constants[name] for name in ("kernel_0", "kernel_1"))
NEAREST = {
    "by name": ({"other": integers(16, 16), "kernel_1": flipped(SECOND), "kernel_0": FIRST}, "kernel_1"),
    "by size": ({"small": integers(4, 4), "b": flipped(SECOND), "a": FIRST}, "b"),
    "no other kernel": ({"a": FIRST, "b": flipped(SECOND)}, "b"),
    "no other kernel, turned": ({"a": FIRST.T, "b": flipped(SECOND).T}, "b"),
    "of four axes": ({"a": FIRST, "b": flipped(SECOND)[None, None]}, "b"),
    "nothing flat": ({"a": FIRST, "b": flipped(SECOND).ravel()}, None),
    "nothing of another dtype": ({"a": FIRST, "b": SECOND.astype(np.int16)}, None),
}


@pytest.mark.parametrize(("constants", "nearest"), NEAREST.values(), ids=NEAREST)
def test_what_a_damaged_kernel_was_meant_to_be_is_named(constants, nearest):
    wrong = failures(contents(**constants), split(widths=(16, 16, 16)))
    near = f"; {nearest} comes nearest" if nearest else ""
    assert wrong["kernel_1.copies"] == f"kernel_1: stored 0 times, expected once{near}"
    assert ("no constant holds" in wrong["kernel_1.values"]) == (nearest is None)


SCALES = {
    "as the program": ((0.5,), (0,), "kernel_0: 1 use with the program's scales"),
    "the decoder's": ((2.0,), (0,), "kernel_0: kernel_0 has scales [2], expected [0.5]"),
    "none": ((), (), "kernel_0: kernel_0 has scales [], expected [0.5]"),
    "two": ((0.5, 0.25), (0, 0), "kernel_0: kernel_0 has scales [0.5, 0.25], expected [0.5]"),
    "three": ((0.5,) * 3, (0,) * 3, "kernel_0: kernel_0 has scales [0.5, 0.5, …], expected [0.5]"),
    "zero point": ((0.5,), (3,), "kernel_0: kernel_0 has zero point 3, expected 0"),
    "zero points": ((0.5,), (0, 3, 4), "kernel_0: kernel_0 has zero point 3, expected 0"),
}


def one_kernel(**options):
    program = build_program(widths=(40, 6), activations=("linear",), **options)
    kernel = dataclasses.replace(program.kernels["kernel_0"], scales=(0.5,))
    return dataclasses.replace(program, kernels={"kernel_0": kernel})


@pytest.mark.parametrize(("scales", "zero_points", "text"), SCALES.values(), ids=SCALES)
def test_a_use_of_other_scales_or_a_zero_point_is_named(scales, zero_points, text):
    program = one_kernel()
    file = contents(kernel_0=quantized("kernel_0", program.constants["kernel_0"], scales, zero_points))
    row = {row.name: row for row in prove(file, program)}["kernel_0.scales"]
    assert row.text == text and row.ok == ("program's" in text)


def test_of_several_wrong_values_the_first_is_named_and_the_scales_are_looked_at_all_the_same():
    program = one_kernel()
    values, mask = program.constants["kernel_0"].copy(), np.ones((40, 6))
    values[[3, 9], [2, 4]] ^= 1
    mask[[5, 7], [1, 0]] = 0
    values[[5, 7], [1, 0]] = program.constants["kernel_0"][[5, 7], [1, 0]] = 9
    wrong = failures(contents(kernel_0=quantized("kernel_0", values, (0.75,), (0,))), program, {"kernel_0": mask})
    assert "2 of 240 values of kernel_0 differ from the program's, first at [3, 2]: " in wrong["kernel_0.values"]
    assert wrong["kernel_0.zeros"].endswith("2 of 2 pruned places are not zero, first at [5, 1]: got 9, expected 0")
    assert wrong["kernel_0.scales"] == "kernel_0: kernel_0 has scales [0.75], expected [0.5]"


def test_every_use_of_the_one_storage_is_looked_at():
    program = one_kernel()
    values = program.constants["kernel_0"]
    views = [Constant(name, values, "s", (scale,), (0,)) for name, scale in (("encode", 0.5), ("decode", 0.5), ("odd", 0.75))]
    rows = {row.name: row for row in prove(Contents("test", 0, tuple(views[:2]), ()), program)}
    assert rows["kernel_0.scales"].text == "kernel_0: 2 uses with the program's scales" and all(row.ok for row in rows.values())
    assert failures(Contents("test", 0, tuple(views), ()), program) == {
        "kernel_0.scales": "kernel_0: odd has scales [0.75], expected [0.5]"
    }


@KINDS
def test_a_nonzero_at_a_masked_place_is_named(options):
    program = pruned(**options)
    masks = masks_of(program)
    kept = np.argwhere(masks["kernel_1"])[0]
    masks["kernel_1"][tuple(kept)] = False
    got = program.constants["kernel_1"][tuple(kept)]
    wrong = failures(read_tflite(to_tflite(program)), program, masks)
    row, column = kept.tolist()
    count = np.count_nonzero(~masks["kernel_1"])
    assert wrong == {
        "kernel_1.zeros": f"kernel_1: 1 of {count} pruned places are not zero, first at [{row}, {column}]: "
        f"got {got}, expected 0"
    }


def test_masks_of_other_kernels_or_shapes_are_named():
    program = split(widths=(40, 24, 6))
    masks = {"kernel_0": np.ones((24, 40)), "kernel_9": np.ones(3)}
    assert failures(read_tflite(to_tflite(program)), program, masks) == {
        "kernel_0.zeros": "kernel_0: its mask has shape [24, 40], expected [40, 24]",
        "kernel_9.zeros": "kernel_9: has a mask, but the kernels are kernel_0, kernel_1",
    }


def test_another_scale_is_named():
    program = split(widths=(40, 24, 6))
    kernels = dict(program.kernels)
    kernels["kernel_1"] = dataclasses.replace(kernels["kernel_1"], scales=(0.5,))
    wrong = failures(read_tflite(to_tflite(dataclasses.replace(program, kernels=kernels))), program)
    assert set(wrong) == {"kernel_1.scales"}
    assert "kernel_1: kernel_1 has scales [0.5], expected [" in wrong["kernel_1.scales"]


def test_a_missing_kernel_is_named():
    program, other = split(widths=(40, 24, 6)), split(widths=(40, 25, 6))
    found = {row.name: row.text for row in prove(read_tflite(to_tflite(other)), program)}
    assert [name for name in found if name.startswith("kernel_1")] == ["kernel_1.copies", "kernel_1.values"]
    wrong = failures(read_tflite(to_tflite(other)), program)
    assert wrong["kernel_0.copies"] == "kernel_0: stored 0 times, expected once"
    assert wrong["kernel_0.values"] == "kernel_0: no constant holds 960 int8 values of shape [40, 24] or [24, 40]"
    assert "weights: 1,150 in the file, expected 1,104" in wrong["weights"]
