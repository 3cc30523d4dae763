"""Sharing in .tflite files: dynamic-range kernels, and kernels of convolutions."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.duplicates import copies
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import Op
from tiedae.runtimes.native_output import quiet

from .tflite_files import Activation, File, convolution, hybrid_pair, run

HYBRID = {
    "one scale": (dict(bias=False), "FULLY_CONNECTED → BATCH_MATMUL on a view", 0),
    "asymmetric": (dict(bias=False, asymmetric=True), "FULLY_CONNECTED → BATCH_MATMUL on a view", 0),
    "scales per unit": (dict(bias=False, scales=2), "FULLY_CONNECTED → BATCH_MATMUL on a view", 0),
    "scales per unit, asymmetric": (dict(bias=False, scales=2, asymmetric=True), "FULLY_CONNECTED → BATCH_MATMUL on a view", 0),
    "bias and relu": (dict(activation=Activation.RELU, scales=2), "FULLY_CONNECTED → BATCH_MATMUL on a view", 1e-6),
    "near": (dict(near=True, scales=2), "FULLY_CONNECTED → MUL + BATCH_MATMUL on a view", 0.02),
}


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-reference"])
@pytest.mark.parametrize(("options", "how", "most"), HYBRID.values(), ids=HYBRID)
def test_dynamic_range_kernels_turn_and_their_products_are_the_same_bits(options, how, most, runtime):
    data = hybrid_pair(**options)
    near = options.get("near", False)
    shared = share_tflite(data, tolerance=1.0 if near else None)
    assert [(each.relation, each.how) for each in shared.merged] == [("near" if near else "transposed", how)]
    assert copies(read_tflite(shared.data)) == [] and len(shared.data) < len(data)
    x = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
    before, after = (run(each, "main", x, runtime)["y"] for each in (data, shared.data))
    assert np.ptp(before) > 1 and np.abs(after - before).max() <= most * np.abs(before).max()


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-reference"])
def test_a_stock_dynamic_range_file_stores_each_kernel_once(stock_hybrid, runtime):
    data = stock_hybrid
    assert {c.values.dtype for c in read_tflite(data).constants if c.values.ndim == 2} == {np.dtype(np.int8)}
    shared = share_tflite(data, tolerance=1.0)
    assert len(shared.merged) == len(copies(read_tflite(data))) == 2 and shared.kept == ()
    (name,) = [signature.name for signature in read_tflite(data).signatures]
    x = np.random.default_rng(1).uniform(size=(100, 96)).astype(np.float32)
    before, after = (run(each, name, x, runtime) for each in (data, shared.data))
    for output, values in before.items():
        assert np.abs(after[output] - values).max() < 0.02 * np.abs(values).max() and np.ptp(values) > 1


@pytest.fixture(scope="module")
def stock_hybrid() -> bytes:
    """A tied model of two layers, both with kernels that the stock converter quantizes without samples."""
    with quiet():
        import tensorflow as tf

        rng, module = np.random.default_rng(0), tf.Module()
        shapes = (96, 64), (64, 32)
        module.kernels = kernels = [tf.Variable(tf.constant(rng.normal(0, 0.2, shape), tf.float32)) for shape in shapes]

        @tf.function(input_signature=[tf.TensorSpec([None, 96], tf.float32, name="x")])
        def reconstruct(x):
            code = tf.nn.relu(x @ kernels[0]) @ kernels[1]
            return tf.matmul(tf.nn.relu(tf.matmul(code, kernels[1], transpose_b=True)), kernels[0], transpose_b=True)

        converter = tf.lite.TFLiteConverter.from_concrete_functions([reconstruct.get_concrete_function()], module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def conv_pair(make, *, dtype="int8") -> bytes:
    """Two convolutions of one kernel [units, 1, 1, inputs], stored as `make` has it, of float or int8 activations."""
    file, rng = File(), np.random.default_rng(0)
    real = rng.normal(size=(8, 1, 1, 12)) * rng.uniform(0.7, 1, (8, 1, 1, 1))
    graph = file.graph("main")
    scale = 1 / 32 if dtype == "int8" else None
    x = graph.tensor("x", (1, 6, 6, 12), dtype, scale)
    outputs = []
    for name, (stored, steps) in zip(("first", "second"), make(real), strict=True):
        y = graph.tensor(f"{name}.y", (1, 6, 6, 8), dtype, 1 / 8 if dtype == "int8" else None)
        kernel = graph.constant(name, stored, steps)
        unit = np.broadcast_to(np.asarray(steps) / 32, 8)
        offsets = rng.normal(size=8)
        bias = (
            graph.constant(f"{name}.bias", np.rint(offsets / unit).astype(np.int32), unit)
            if dtype == "int8"
            else graph.constant(f"{name}.bias", offsets.astype(np.float32))
        )
        graph.add(Op.CONV_2D, [x, kernel, bias], [y], convolution(), 3 if dtype == "int8" else 5)
        outputs.append(y)
    graph.set_io([x], outputs)
    return file.data()


def _quantized(real, axis):
    step = np.abs(real).max(axis, keepdims=True) / 127
    return np.rint(real / step).astype(np.int8), np.broadcast_to(step.ravel(), 8) if axis is None else step.ravel()


CONVOLUTIONS = {
    "equal": (lambda real: 2 * [_quantized(real, (1, 2, 3))], None, "a second view of one buffer"),
    "equal, other scales": (
        lambda real: [(q := _quantized(real, (1, 2, 3))), (q[0], 2 * q[1])],
        None,
        "a second view of one buffer",
    ),
    "near": (lambda real: [_quantized(real, (1, 2, 3)), _quantized(real, None)], 1.0, "CONV_2D with the other's scales"),
}


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(("make", "tolerance", "how"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_int8_kernels_of_convolutions(make, tolerance, how, dtype):
    data = conv_pair(make, dtype=dtype)
    shared = share_tflite(data, tolerance=tolerance)
    assert [each.how for each in shared.merged] == [how] and not shared.kept
    x = np.random.default_rng(1).integers(-100, 100, (1, 6, 6, 12))
    x = x.astype(np.int8) if dtype == "int8" else (x / 32).astype(np.float32)
    for runtime in ("litert-xnnpack", "litert-reference"):
        before, after = (run(each, "main", x, runtime) for each in (data, shared.data))
        for name, values in before.items():
            apart, most = np.abs(values.astype(float) - after[name]).max(), np.ptp(values.astype(float))
            assert apart <= (0 if tolerance is None else 1 if dtype == "int8" else 0.01 * most) and most > 3


def test_a_kernel_of_a_layer_and_of_a_convolution_of_1x1_are_one_where_their_bytes_are():
    file, rng = File(), np.random.default_rng(0)
    kernel = rng.normal(size=(8, 12)).astype(np.float32)
    graph = file.graph("main")
    x, y, z = graph.tensor("x", (1, 6, 6, 12)), graph.tensor("y", (1, 6, 6, 8)), graph.tensor("z", (1, 6, 6, 8))
    bias = graph.constant("bias", rng.normal(size=8).astype(np.float32))
    graph.add(Op.CONV_2D, [x, graph.constant("conv", kernel.reshape(8, 1, 1, 12)), bias], [y], convolution())
    dense = schema.FullyConnectedOptionsT(keepNumDims=True)
    graph.add(Op.FULLY_CONNECTED, [x, graph.constant("dense", kernel), bias], [z], dense)
    turned = graph.constant("turned", np.ascontiguousarray(kernel.T))
    w = graph.tensor("w", (1, 6, 6, 12))
    graph.add(Op.FULLY_CONNECTED, [y, turned, -1], [w], dense)
    graph.set_io([x], [y, z, w])
    data = file.data()
    shared = share_tflite(data)
    assert [(each.name, each.relation, each.how) for each in shared.merged] == [
        ("dense", "reshaped", "a second view of one buffer"),
        ("turned", "transposed", "FULLY_CONNECTED → BATCH_MATMUL on a view"),
    ]
    values = rng.normal(size=(1, 6, 6, 12)).astype(np.float32)
    before, after = (run(each, "main", values) for each in (data, shared.data))
    for name, each in before.items():
        np.testing.assert_allclose(after[name], each, atol=1e-5)
