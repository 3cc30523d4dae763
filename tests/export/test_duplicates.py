"""Near copies: found in every file that quantizes a tied kernel twice, never between unrelated kernels, whatever the size."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import flatbuffers
import ml_dtypes
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tiedae.base.errors import FormatError
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.export import duplicates as searching
from tiedae.export.duplicates import copies
from tiedae.export.model_file import Constant, Contents
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.reals import TILE, Real, sample_places
from tiedae.export.targets import read_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.runtimes.native_output import quiet
from tiedae.verify.stock.converters import stock_onnx, stock_onnx_int8, stock_tflite

from ..conftest import build_program
from .tflite.test_writer import PROGRAMS, split

WIDTHS = (32, 16, 6)


def dequantize(constant: Constant) -> np.ndarray:
    """The float32 values that a constant stands for, in its shape: (q − zero point) · scale, per axis where it has several."""
    real = Real.of(constant)
    return real.at((...,))[0].astype(np.float32).reshape(constant.values.shape)


@functools.cache
def stock_files() -> dict[str, bytes]:
    """A tied model of kernels 32×16 and 16×6 as the stock tools convert it, by file name."""
    with quiet():
        import tensorflow as tf

        class Tied(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                rng = np.random.default_rng(0)
                self.config = ModelConfig((LayerConfig(WIDTHS[1], "relu"), LayerConfig(WIDTHS[2])), "sigmoid", WIDTHS[0])
                self.kernels = [
                    tf.Variable(tf.constant(rng.normal(0, 0.3, shape), tf.float32)) for shape in itertools.pairwise(WIDTHS)
                ]

            def encoder(self, x):
                return tf.matmul(tf.nn.relu(tf.matmul(x, self.kernels[0])), self.kernels[1])

            def decoder(self, code):
                hidden = tf.nn.relu(tf.matmul(code, self.kernels[1], transpose_b=True))
                return tf.sigmoid(tf.matmul(hidden, self.kernels[0], transpose_b=True))

        model = Tied()
        samples = np.random.default_rng(1).uniform(size=(100, WIDTHS[0])).astype(np.float32)
        float_onnx = stock_onnx(model)
        per_tensor = tf.lite.TFLiteConverter.from_concrete_functions(
            [
                tf.function(lambda x: model.decoder(model.encoder(x))).get_concrete_function(
                    tf.TensorSpec([None, WIDTHS[0]], tf.float32)
                )
            ],
            model,
        )
        per_tensor.optimizations = [tf.lite.Optimize.DEFAULT]
        per_tensor.representative_dataset = lambda: ([sample[None]] for sample in samples)
        per_tensor.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        per_tensor._experimental_disable_per_channel = True
        return {
            "float.tflite": stock_tflite(model),
            "channel.tflite": stock_tflite(model, representative=samples),
            "tensor.tflite": per_tensor.convert(),
            "float.onnx": float_onnx,
            "tensor.onnx": stock_onnx_int8(float_onnx, samples),
            "channel.onnx": stock_onnx_int8(float_onnx, samples, per_channel=True),
        }


@pytest.mark.parametrize(
    ("name", "relation"),
    [
        ("float.tflite", "transposed"),
        ("channel.tflite", "near"),
        ("tensor.tflite", None),
        ("float.onnx", "transposed"),
        ("tensor.onnx", None),
        ("channel.onnx", "near"),
    ],
)
def test_the_second_copy_of_every_kernel_is_found_in_stock_files(name, relation, tmp_path):
    path = tmp_path / name
    path.write_bytes(stock_files()[name])
    contents = read_model(path)
    found = copies(contents)
    named = {constant.name: constant for constant in contents.constants}
    pairs = [(named[copy.name].values, named[copy.original].values) for copy in found]
    assert sorted(first.size for first, _ in pairs) == [WIDTHS[1] * WIDTHS[2], WIDTHS[0] * WIDTHS[1]]
    assert all(first.shape == second.shape[::-1] for first, second in pairs)
    assert {copy.order for copy in found} == {"transposed"}
    assert relation is None or {copy.relation for copy in found} == {relation}
    for copy in found:
        if copy.relation == "near":
            assert 0 < copy.mean < copy.largest <= searching.WITHIN and 0 < copy.equal < 1
            assert copy.text.startswith(f"{copy.name} is near to {copy.original}, transposed: {copy.equal:.1%} of its values")


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_of_ours_is_flagged(options, tmp_path):
    for name, data in {"a.tflite": to_tflite(split(**options)), "a.onnx": to_onnx(build_program(form="fused"))}.items():
        (tmp_path / name).write_bytes(data)
        assert copies(read_model(tmp_path / name)) == []


# --- near copies of made kernels ---


def quantized(name: str, real: np.ndarray, axis: int | None = None, bits: int = 8, dtype: type = np.int8) -> Constant:
    """Symmetric, with one scale, or one per index of an axis."""
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(real).max(axis=None if axis is None else tuple({*range(real.ndim)} - {axis}), keepdims=True)
    scales = (largest / limit).astype(np.float32)
    q = np.rint(real / scales).astype(dtype)
    return Constant(name, q, name, tuple(scales.ravel().tolist()), (0,) * scales.size, axis or 0)


def plain(name: str, values: np.ndarray) -> Constant:
    return Constant(name, values, name)


def file(*constants: Constant) -> Contents:
    return Contents("test", 0, constants, ())


KERNEL = np.random.default_rng(3).normal(0, 0.2, (24, 10)).astype(np.float32)
CUBE = np.random.default_rng(4).normal(0, 0.2, (5, 6, 7)).astype(np.float32)
UNSIGNED = Constant(
    "u", (quantized("", KERNEL, 1).values.astype(np.int16) + 128).astype(np.uint8), "u", quantized("", KERNEL, 1).scales,
    (128,) * 10, 1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "order", "axes"),
    [
        (quantized("a", KERNEL, 1), quantized("b", KERNEL), "equal", (0, 1)),
        (quantized("a", KERNEL, 1), quantized("b", KERNEL.T, 1), "transposed", (1, 0)),
        (quantized("a", KERNEL), quantized("b", KERNEL.T, 0, 4, ml_dtypes.int4), "transposed", (1, 0)),
        (quantized("a", KERNEL, 1), quantized("b", KERNEL.reshape(4, 6, 10), 0), "reshaped", (0, 1)),
        (quantized("a", KERNEL, 1), quantized("b", KERNEL.T.ravel()), "transposed", (1, 0)),
        (quantized("a", KERNEL.T.ravel()), quantized("b", KERNEL, 1), "transposed", None),
        (quantized("a", KERNEL, 1), quantized("b", KERNEL.reshape(10, 24), 1), "reshaped", (0, 1)),
        (quantized("a", KERNEL, 1), quantized("b", KERNEL.T.reshape(16, 15), 1), "transposed", (1, 0)),
        (quantized("a", CUBE, 0), quantized("b", CUBE.transpose(2, 0, 1), 0), "transposed", (2, 0, 1)),
        (quantized("a", CUBE[:, None], 0), quantized("b", CUBE.transpose(1, 2, 0), 1), "transposed", (2, 3, 0, 1)),
        (UNSIGNED, quantized("b", KERNEL), "equal", (0, 1)),
        (plain("a", KERNEL), quantized("b", KERNEL.T, 0), "transposed", (1, 0)),
        (quantized("a", KERNEL, 1), plain("b", KERNEL.astype(np.float16)), "equal", (0, 1)),
        (plain("a", KERNEL), plain("b", KERNEL.T.astype(np.float16)), "transposed", (1, 0)),
        (plain("a", KERNEL.astype(ml_dtypes.bfloat16)), plain("b", KERNEL), "equal", (0, 1)),
        (quantized("a", KERNEL * (np.abs(KERNEL) > 0.2), 1), quantized("b", KERNEL * (np.abs(KERNEL) > 0.2)), "equal", (0, 1)),
    ],
    ids=[
        "two granularities", "per channel of each direction", "int4", "reshaped", "flattened transpose", "flat original",
        "reshaped, no common axes", "transposed, no common axes", "three axes", "an axis of 1", "uint8", "float and int8",
        "int8 and float16", "float16", "bfloat16", "pruned",
    ],
)  # fmt: skip
def test_near_copies_in_any_order(first, second, order, axes):
    (copy,) = copies(file(first, second))
    assert (copy.relation, copy.order, copy.axes, copy.by) == ("near", order, axes, "values")
    assert (copy.name, copy.original) == (second.name, first.name) and copy.storage == second.name
    a, b = dequantize(first).astype(np.float64), dequantize(second).astype(np.float64)
    if axes is not None:
        apart = np.abs(a.transpose(axes).ravel() - b.ravel())
        last_place = float(np.finfo(np.float16).eps * np.abs(a).max())
        coarser = max(max(constant.scales, default=last_place) for constant in (first, second))
        assert 0 < copy.mean < copy.largest <= searching.WITHIN
        assert apart.max() <= coarser * 8
    if not (first.scales and second.scales):
        return
    left, right = (each.values.astype(int) - np.reshape(each.zero_points[0], ()) for each in (first, second))
    if axes is not None:
        assert copy.equal == pytest.approx(np.mean(left.transpose(axes).ravel() == right.ravel()))


def test_the_distance_is_in_steps_of_the_coarser_quantization():
    values = np.arange(-64, 64, dtype=np.int8).reshape(8, 16)
    moved = values.astype(np.float32) * np.float32(0.5) + np.where(np.arange(16) % 4 == 0, 0.25, 0).astype(np.float32)
    (copy,) = copies(file(Constant("a", values, "a", (0.5,), (0,)), plain("b", moved)))
    assert (copy.relation, copy.largest, copy.mean, copy.equal) == ("near", 0.5, 0.125, 0.75)
    assert copy.text == (
        "b is near to a: 75.0% of its values equal, the others up to 0.50 of a step apart (mean 0.12): 512 bytes stored again"
    )


@pytest.mark.parametrize("beyond", [1.5, np.nan, np.inf])
def test_one_value_further_than_a_step_is_no_copy(beyond):
    """Even where the samples, which are compared first, do not meet it."""
    first = quantized("a", np.tile(KERNEL, (4, 1)))
    other = dequantize(first)
    unseen = np.ones(other.shape, bool)
    unseen[sample_places(other.shape)] = False
    other[tuple(np.argwhere(unseen)[0])] += np.float32(beyond * first.scales[0])
    assert copies(file(first, plain("b", other))) == []


ZEROS = np.zeros(512, np.int8)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Constant("a", ZEROS, "a", (0.1,), (0,)), Constant("b", np.where(np.arange(512), ZEROS, 1), "b", (0.1,), (0,))),
        (quantized("a", KERNEL), Constant("b", KERNEL.astype(np.int8), "b", (100.0,), (0,))),
        (quantized("a", KERNEL), Constant("b", quantized("", KERNEL.T, 0).values, "b", (0.1,) * 7, (0,) * 7)),
        (quantized("a", KERNEL), Constant("b", quantized("", KERNEL, 1).values, "b", (np.nan,), (0,))),
        (plain("a", np.round(KERNEL, 3)), plain("b", np.round(KERNEL, 2))),
    ],
    ids=["biases near zero", "one step of all", "scales that do not fit", "no number", "floats of a coarser grid"],
)  # fmt: skip
def test_what_agrees_by_chance_or_not_at_all_is_no_copy(first, second):
    assert copies(file(first, second)) == []


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(4, 4), (8, 4), (4, 5, 6), (32, 16), (64,), (3, 3, 8, 8)]),
    bits=st.sampled_from([(8, 8), (4, 4), (4, 8), (2, 2), (2, 8)]),
    axes=st.tuples(st.booleans(), st.booleans()),
    sparsity=st.sampled_from([0.0, 0.5, 0.9]),
    sigma=st.sampled_from([1.0, 1e-6]),
)
def test_unrelated_kernels_of_one_shape_and_scale_never_match(seed, shape, bits, axes, sparsity, sigma):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) >= sparsity
    mask.flat[0] = True
    reals = [rng.normal(0, sigma, shape) * mask for _ in bits]
    whole = mask.reshape(len(mask), -1).any(axis=1).all()
    made = [
        quantized(str(i), real, 0 if channels and whole else None, width)
        for i, (real, width, channels) in enumerate(zip(reals, bits, axes, strict=True))
    ]
    assert [copy for copy in copies(file(*made)) if copy.by == "values"] == []


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.lists(st.integers(2, 6), min_size=2, max_size=4),
    order=st.randoms(),
    axes=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_a_kernel_quantized_twice_is_found_in_any_order(seed, shape, order, axes):
    real = np.random.default_rng(seed).normal(size=(*shape, 16))
    permutation = list(range(real.ndim))
    order.shuffle(permutation)
    other = real.transpose(permutation)
    first = quantized("a", real, axes[0] % real.ndim)
    (copy,) = copies(file(first, quantized("b", other, axes[1] % real.ndim)))
    ordered = dequantize(first).transpose(copy.axes)
    np.testing.assert_allclose(ordered.ravel(), other.ravel(), atol=np.abs(real).max() / 127)


def test_an_exact_copy_of_a_near_copy_is_exact():
    first, second = quantized("a", KERNEL, 1), quantized("b", KERNEL.T, 1)
    third = Constant("c", second.values.T, "c", second.scales, second.zero_points, 0)
    found = copies(file(first, second, third))
    assert [(copy.name, copy.original, copy.relation) for copy in found] == [("b", "a", "near"), ("c", "b", "transposed")]


def test_views_of_one_storage_are_compared_with_another_each():
    kernel = quantized("a", KERNEL, 1)
    views = [Constant("v", kernel.values, "a", (7.0,), (0,)), kernel, Constant("w", kernel.values, "a")]
    (copy,) = copies(file(*views, quantized("b", KERNEL.T, 1)))
    assert (copy.name, copy.original, copy.order) == ("b", "a", "transposed")


@pytest.mark.ci
def test_many_constants_of_one_size_take_no_square_of_time():
    """4,000 kernels of one shape, of which two are near: each is compared with each at a few places only."""
    rng = np.random.default_rng(0)
    kernels = rng.integers(-127, 128, (4000, 8, 8)).astype(np.int8)
    many = [Constant(str(i), kernel, str(i), (0.1,), (0,)) for i, kernel in enumerate(kernels)]
    moved = kernels[1234] + rng.uniform(-0.4, 0.4, (8, 8))
    (copy,) = copies(file(*many[:3999], plain("near", (moved.T * 0.1).astype(np.float32))))
    assert copy.original == "1234"


# --- larger than memory ---


@pytest.mark.parametrize("transposed", [False, True])
def test_tiles_lead_through_every_value(transposed):
    shape = (1100, 701)
    assert np.prod(shape) > 2 * TILE
    values = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    last = values.T.copy() if transposed else values.copy()
    assert len(copies(file(plain("a", values), plain("b", last)))) == 1
    last[-1, -1] += 1
    assert copies(file(plain("a", values), plain("b", last))) == []


LARGE = """
import sys
from pathlib import Path
from tiedae.dedupe.inspection import inspect_file
def most():  # not ru_maxrss, which begins with that of the parent
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
before = most()
found = inspect_file(Path(sys.argv[1]))
relations = [copy["relation"] for copy in found["copies"]] or ["none"]
print(*relations, found["bytes"], (most() - before) // 1024)
"""


def measured(path: Path) -> tuple[str, int, int]:
    """(relation of the copy, bytes, MiB of memory above that of the imports) of `inspect_file` in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LARGE, path], capture_output=True, text=True, check=True)
    relation, size, memory = done.stdout.split()
    return relation, int(size), int(memory)


COLUMNS = 1024


def external(path: Path, size: int, count: int, *, transposed: bool = False) -> Path:
    """An .onnx file of int8 matrices of so many bytes each in a sparse file beside it: zeros but for one value."""
    rows = size // COLUMNS
    tensors, places = [], []
    for name, offset in zip("ab"[:count], (0, size), strict=False):
        shape = (COLUMNS, rows) if transposed and name == "b" else (rows, COLUMNS)
        places.append(offset + (7 * rows + 5 if shape[0] == COLUMNS else 5 * COLUMNS + 7))
        tensor = TensorProto(name=name, data_type=TensorProto.INT8, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "big.bin"), ("offset", str(offset)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        tensors.append(tensor)
    graph = helper.make_graph([], "g", [], [helper.make_tensor_value_info("a", TensorProto.INT8, None)], tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with (path.parent / "big.bin").open("wb") as file:
        file.truncate(count * size)
        for place in places:
            file.seek(place)
            file.write(b"\x01")
    return path


def behind(path: Path, size: int) -> Path:
    """A .tflite file with one int8 constant of this many bytes behind the flatbuffer, sparse."""

    def build(offset: int) -> bytes:
        buffers = [schema.BufferT(), schema.BufferT(offset=offset, size=size)]
        tensor = schema.TensorT(name="a", shape=[size], type=schema.TensorType.INT8, buffer=1)
        graph = schema.SubGraphT(tensors=[tensor], inputs=[], outputs=[], operators=[], name="main")
        builder = flatbuffers.Builder()
        builder.Finish(schema.ModelT(version=3, subgraphs=[graph], buffers=buffers).Pack(builder), b"TFL3")
        return bytes(builder.Output())

    data = build(len(build(1 << 40)))
    path.write_bytes(data)
    os.truncate(path, len(data) + size)
    return path


GIB = 1 << 30


@pytest.mark.ci
@pytest.mark.parametrize(
    ("make", "relation"),
    [
        (lambda folder: external(folder / "a.onnx", 2 * GIB, 1), "none"),
        (lambda folder: external(folder / "a.onnx", GIB // 16, 2), "equal"),
        (lambda folder: external(folder / "a.onnx", GIB // 16, 2, transposed=True), "transposed"),
        (lambda folder: behind(folder / "a.tflite", 2 * GIB - 1), "none"),
    ],
    ids=["one of 2 GiB", "copies", "transposed copies", "behind the flatbuffer"],
)
def test_memory_is_bounded(make, relation, tmp_path):
    path = make(tmp_path)
    found, size, memory = measured(path)
    assert found == relation and size > GIB // 8
    assert memory < 100


def test_an_onnx_file_of_2_gib_is_refused_unread(tmp_path):
    path = tmp_path / "zeros.onnx"
    path.touch()
    os.truncate(path, 2 * GIB)
    with pytest.raises(FormatError, match="2,147,483,648 bytes, must be fewer than 2,147,483,648"):
        read_model(path)
