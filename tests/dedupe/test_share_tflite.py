"""Sharing in .tflite files: what is merged, what is kept and why, and that the file computes the same and loses nothing."""

import itertools
import random
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError, TiedaeError
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.duplicates import copies
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import Op, pack_model, unpack_model
from tiedae.runtimes.native_output import quiet
from tiedae.verify.stock.converters import stock_tflite

from ..runtimes.opening import open_tflite
from .tflite_files import Activation, File, hybrid_pair, int8_pair, run, tied_pair

WIDTHS = (40, 24, 12, 6)


@pytest.fixture(scope="module")
def autoencoder():
    """Three layers of plain TensorFlow; `kernels` serve both directions, `others` only the decoder of an untied one."""
    with quiet():
        import tensorflow as tf

        class Model(tf.Module):
            def __init__(self, tied: bool) -> None:
                super().__init__()
                rng = np.random.default_rng(5)
                layers = (LayerConfig(24, "relu"), LayerConfig(12, "relu"), LayerConfig(6))
                self.config = ModelConfig(layers, "sigmoid", WIDTHS[0])

                def variables(shapes, deviation):
                    return [tf.Variable(tf.constant(rng.normal(0, deviation, shape), tf.float32)) for shape in shapes]

                self.kernels = variables(itertools.pairwise(WIDTHS), 0.3)
                self.others = self.kernels if tied else variables(itertools.pairwise(WIDTHS), 0.3)
                self.biases = variables([(24,), (12,), (6,), (12,), (24,), (40,)], 0.1)

            def encoder(self, x):
                for kernel, bias in zip(self.kernels[:2], self.biases[:2], strict=True):
                    x = tf.nn.relu(x @ kernel + bias)
                return x @ self.kernels[2] + self.biases[2]

            def decoder(self, code):
                for kernel, bias in zip(self.others[:0:-1], self.biases[3:5], strict=True):
                    code = tf.nn.relu(tf.matmul(code, kernel, transpose_b=True) + bias)
                return tf.sigmoid(tf.matmul(code, self.others[0], transpose_b=True) + self.biases[5])

        return Model


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(6).uniform(size=(100, WIDTHS[0])).astype(np.float32)


@pytest.fixture(scope="module")
def stock_float(autoencoder):
    return stock_tflite(autoencoder(tied=True))


@pytest.fixture(scope="module")
def stock_int8(autoencoder, samples):
    return stock_tflite(autoencoder(tied=True), representative=samples, io_dtype="uint8")


def test_a_tied_float_file_stores_each_kernel_once(stock_float, samples):
    shared = share_tflite(stock_float)
    contents, rewritten = read_tflite(stock_float), read_tflite(shared.data)
    assert [(m.relation, m.how, m.steps) for m in shared.merged] == 3 * [
        ("transposed", "FULLY_CONNECTED → BATCH_MATMUL on a view", 0.0)
    ]
    assert sum(merged.saved for merged in shared.merged) == 4 * sum(a * b for a, b in itertools.pairwise(WIDTHS))
    assert len(shared.data) < len(stock_float) - sum(merged.saved for merged in shared.merged)
    assert shared.kept == () and copies(rewritten) == [] and len(copies(contents)) == 3
    signatures = [[(each.name, each.inputs, each.outputs) for each in file.signatures] for file in (contents, rewritten)]
    assert signatures[0] == signatures[1]
    assert rewritten.details["min_runtime_version"] == "2.3.0" != contents.details["min_runtime_version"]
    for runtime in ("litert-xnnpack", "litert-reference"):
        codes = [run(data, "encode", samples, runtime)["code"] for data in (stock_float, shared.data)]
        np.testing.assert_array_equal(*codes)
        for signature, x in (("reconstruct", samples), ("decode", codes[0])):
            before, after = (run(data, signature, x, runtime)["y"] for data in (stock_float, shared.data))
            np.testing.assert_allclose(after, before, atol=1e-6)


def test_xnnpack_takes_every_operation_that_it_took(stock_float, stock_int8):
    for data, tolerance, taken in ((stock_float, None, "7 of 7"), (stock_int8, 1.0, "10 of 12")):
        provider = open_tflite("litert-xnnpack", share_tflite(data, tolerance=tolerance).data).provider
        assert f"decode {taken} operations" in provider.replace(",", " operations,")


def test_a_tied_int8_file_needs_a_tolerance(stock_int8, samples):
    strict = share_tflite(stock_int8)
    assert strict.data == stock_int8 and strict.merged == ()
    assert all("of a step apart" in kept.reason for kept in strict.kept) and len(strict.kept) == 3
    shared = share_tflite(stock_int8, tolerance=1.0)
    assert {merged.relation for merged in shared.merged} == {"near"} and len(shared.merged) == 3
    assert all(0.5 < merged.steps <= 1 for merged in shared.merged)
    assert copies(read_tflite(shared.data)) == []
    x = np.rint(255 * samples).astype(np.uint8)
    for runtime in ("litert-xnnpack", "litert-reference"):
        before, after = (run(data, "reconstruct", x, runtime) for data in (stock_int8, shared.data))
        np.testing.assert_array_equal(before["code"], after["code"])
        gap = np.abs(before["y"].astype(int) - after["y"])
        assert 0 < gap.mean() < 2


def test_an_untied_file_stays_as_it_is(autoencoder):
    data = stock_tflite(autoencoder(tied=False))
    shared = share_tflite(data, tolerance=1.0)
    assert shared.data == data and shared.merged == shared.kept == ()


INT8 = {
    "plain": (dict(bias=0), "FULLY_CONNECTED → BATCH_MATMUL on a view", 0),
    "relu": (dict(bias=0, activation=Activation.RELU), "FULLY_CONNECTED → BATCH_MATMUL on a view", 0),
    "relu above a wider range": (
        dict(bias=0, activation=Activation.RELU, low=-1),
        "FULLY_CONNECTED → BATCH_MATMUL + ADD on a view",
        1,
    ),
    "bias": (dict(bias=2.0), "FULLY_CONNECTED → BATCH_MATMUL + ADD on a view", 1),
    "large bias": (dict(bias=20.0), "FULLY_CONNECTED → BATCH_MATMUL + ADD on a view", 2),
    "bias and relu": (dict(bias=2.0, activation=Activation.RELU), "FULLY_CONNECTED → BATCH_MATMUL + ADD on a view", 1),
}


@pytest.mark.parametrize(("options", "how", "lsb"), INT8.values(), ids=INT8)
def test_an_int8_kernel_of_one_scale_needs_no_tolerance(options, how, lsb):
    data = int8_pair(**options)
    shared = share_tflite(data)
    assert [(merged.relation, merged.how) for merged in shared.merged] == [("transposed", how)]
    x = np.random.default_rng(3).integers(-128, 128, (500, 40)).astype(np.int8)
    before, after = (run(each, "main", x)["y"].astype(int) for each in (data, shared.data))
    assert len(np.unique(before)) > 100 and np.abs(before - after).max() <= lsb


@pytest.mark.parametrize(("noise", "tolerance", "merges"), [(0, 1.0, True), (0, 0.3, False), (0.2, 1.0, False)])
def test_near_kernels_merge_within_the_tolerance(noise, tolerance, merges):
    shared = share_tflite(int8_pair(bias=2.0, scales=2, noise=noise), tolerance=tolerance)
    assert [merged.how for merged in shared.merged] == merges * ["FULLY_CONNECTED → MUL + BATCH_MATMUL + ADD on a view"]
    assert all(merged.steps <= tolerance and merged.changed > 0.1 for merged in shared.merged)


def test_of_four_near_kernels_one_is_stored():
    data = int8_pair(bias=2.0, scales=2)
    model = unpack_model(data)
    # A subgraph more, both of whose kernels are near to the first two.
    third = unpack_model(int8_pair(bias=2.0, scales=2, noise=0.0005))
    first = third.buffers[1].data = third.buffers[1].data.copy()
    first[0] ^= 1
    for tensor in third.subgraphs[0].tensors:
        tensor.buffer += len(model.buffers)
    third.signatureDefs[0].subgraphIndex, third.signatureDefs[0].signatureKey = 1, b"other"
    model.buffers += third.buffers
    model.subgraphs += third.subgraphs
    model.signatureDefs += third.signatureDefs
    data = pack_model(model, b"")
    shared = share_tflite(data, tolerance=1.5)
    kernels = [c for c in read_tflite(shared.data).constants if c.values.size == 40 * 24]
    assert len({constant.storage for constant in kernels}) == 1 and len(shared.merged) == 3
    x = np.random.default_rng(3).integers(-128, 128, (500, 40)).astype(np.int8)
    for signature in ("main", "other"):
        before, after = (run(each, signature, x)["y"].astype(int) for each in (data, shared.data))
        assert np.abs(before - after).mean() < 2


def test_a_near_kernel_in_the_same_order_takes_the_scales_of_the_other():
    """A layer of two subgraphs, quantized per unit in one and per tensor in the other, with a bias that matters."""
    file, rng = File(), np.random.default_rng(0)
    real = rng.normal(size=(24, 40)) * rng.uniform(0.7, 1, (24, 1))
    for name, axis in (("unit", 1), ("tensor", None)):
        graph = file.graph(name)
        x, y = graph.tensor("x", (-1, 40), "int8", 1 / 64, 3), graph.tensor("y", (-1, 24), "int8", 0.25, 0)
        step = (np.abs(real).max(axis, keepdims=True) / 127).astype(np.float32)
        kernel = graph.constant(f"{name}.kernel", np.rint(real / step).astype(np.int8), step.ravel())
        unit = step.ravel() / 64
        bias = graph.constant(f"{name}.bias", np.rint(np.linspace(-20, 20, 24) / unit).astype(np.int32), unit)
        graph.add(Op.FULLY_CONNECTED, [x, kernel, bias], [y], schema.FullyConnectedOptionsT(), 4)
        graph.set_io([x], [y])
    data = file.data()
    shared = share_tflite(data, tolerance=1.0)
    assert [merged.how for merged in shared.merged] == ["FULLY_CONNECTED with the other's scales"]
    x = rng.integers(-128, 128, (200, 40)).astype(np.int8)
    for name in ("unit", "tensor"):
        before, after = (run(each, name, x)["y"].astype(int) for each in (data, shared.data))
        assert np.abs(before - after).max() <= 1


def test_an_equal_of_a_transposed_duplicate_goes_with_it():
    file, rng = File(), np.random.default_rng(0)
    kernel = rng.normal(size=(8, 12)).astype(np.float32)
    graph = file.graph("main")
    x, h, *outputs = (graph.tensor(name, (-1, size)) for name, size in (("x", 12), ("h", 8), ("y", 12), ("z", 12)))
    graph.add(Op.FULLY_CONNECTED, [x, graph.constant("a", kernel), -1], [h], schema.FullyConnectedOptionsT())
    for name, y in zip("cd", outputs, strict=True):
        turned = graph.constant(name, np.ascontiguousarray(kernel.T))
        graph.add(Op.FULLY_CONNECTED, [h, turned, -1], [y], schema.FullyConnectedOptionsT())
    graph.set_io([x], outputs)
    data = file.data()
    shared = share_tflite(data)
    assert [(each.name, each.original, each.relation) for each in shared.merged] == [
        ("c", "a", "transposed"),
        ("d", "c", "equal"),
    ]
    assert len({constant.storage for constant in read_tflite(shared.data).constants}) == 1
    values = rng.normal(size=(3, 12)).astype(np.float32)
    before, after = (run(each, "main", values) for each in (data, shared.data))
    for name, each in before.items():
        np.testing.assert_allclose(after[name], each, atol=1e-5)


@pytest.mark.parametrize(
    ("fixed", "merged", "reason"),
    [((), [("c", "a")], "an input or output"), (("c",), [("a", "c")], "a view of another constant now")],
)
def test_a_constant_that_others_view_or_that_is_a_view_is_no_second_time_turned(fixed, merged, reason):
    """c is the transpose of a, n near to a; n is an output too, which cannot change, and so may be c."""
    file, rng = File(), np.random.default_rng(0)
    kernel = rng.integers(-127, 127, (24, 40)).astype(np.int8)
    near = kernel + (rng.random(kernel.shape) < 0.1).astype(np.int8)
    graph = file.graph("main")
    x, h, y, z = (graph.tensor(*each) for each in (("x", (-1, 40)), ("h", (-1, 24)), ("y", (-1, 40)), ("z", (-1, 24))))
    stored = {
        name: graph.constant(name, np.ascontiguousarray(each), 0.01)
        for name, each in zip("acn", (kernel, kernel.T, near), strict=True)
    }
    for source, name, target in ((x, "a", h), (h, "c", y), (x, "n", z)):
        graph.add(Op.FULLY_CONNECTED, [source, stored[name], -1], [target], schema.FullyConnectedOptionsT(), 9)
    graph.set_io([x], [y, z, *(stored[name] for name in ("n", *fixed))])
    data = file.data()
    shared = share_tflite(data, tolerance=1.0)
    assert [(each.name, each.original) for each in shared.merged] == merged
    assert [(each.name, each.original) for each in shared.kept] == [("n", "a")] and reason in shared.kept[0].reason
    values = rng.normal(size=(3, 40)).astype(np.float32)
    before, after = (run(each, "main", values) for each in (data, shared.data))
    for name, each in before.items():
        np.testing.assert_allclose(after[name], each, atol=1e-5 * np.abs(each).max())


def test_what_inspect_lists_is_merged_or_kept_and_nothing_smaller(stock_float, stock_int8):
    for data in (stock_float, stock_int8, hybrid_pair(), tied_pair(), int8_pair(bias=2.0)):
        for minimum in (1, 64, 400, 10**6):
            found = copies(read_tflite(data), minimum)
            shared = share_tflite(data, minimum=minimum)
            assert sorted(map(_pair, (*shared.merged, *shared.kept))) == sorted(map(_pair, found))
            assert all(merged.saved >= minimum for merged in shared.merged)


def _pair(each) -> tuple[str, ...]:
    return tuple(sorted((each.name, each.original)))


TURNED = {
    "float": dict(),
    "no bias": dict(bias=False),
    "relu alone": dict(bias=False, activation=Activation.RELU),
    "relu6": dict(activation=Activation.RELU6),
    "relu1": dict(activation=Activation.RELU_N1_TO_1),
    "rank 3": dict(rank=3),
    "rank 4": dict(rank=4, activation=Activation.RELU),
}


@pytest.mark.parametrize("options", TURNED.values(), ids=TURNED)
def test_float_layers_turn(options):
    data = tied_pair(**options)
    shared = share_tflite(data)
    assert len(shared.merged) == 1 and copies(read_tflite(shared.data)) == []
    x = np.random.default_rng(1).normal(size=(5, *(2,) * (options.get("rank", 2) - 2), 12)).astype(np.float32)
    before, after = (run(each, "main", x)["y"] for each in (data, shared.data))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.ptp(before) > 0.5


def test_equal_constants_of_two_subgraphs_get_one_buffer():
    file, rng = File(), np.random.default_rng(0)
    kernel, table = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 12), (30, 12)))
    for name in ("one", "two"):
        graph = file.graph(name)
        x, y = graph.tensor("x", (-1, 12)), graph.tensor("y", (-1, 8))
        graph.add(Op.FULLY_CONNECTED, [x, graph.constant(f"{name}.kernel", kernel), -1], [y], schema.FullyConnectedOptionsT())
        graph.set_io([x], [y])
    graph = file.graph("embed")
    ids, y = graph.tensor("ids", (-1,), "int32"), graph.tensor("y", (-1, 30))
    row = graph.tensor("row", (-1, 12))
    graph.add(Op.GATHER, [graph.constant("table", table), ids], [row], schema.GatherOptionsT())
    graph.add(Op.FULLY_CONNECTED, [row, graph.constant("logits", table), -1], [y], schema.FullyConnectedOptionsT())
    graph.set_io([ids], [y])
    data = file.data()
    shared = share_tflite(data)
    assert [(m.name, m.original, m.relation, m.saved) for m in shared.merged] == [
        ("two.kernel", "one.kernel", "equal", 384),
        ("logits", "table", "equal", 1440),
    ]
    for name, x in (("one", np.ones((2, 12), np.float32)), ("embed", np.array([3, 29], np.int32))):
        np.testing.assert_array_equal(*(run(each, name, x)["y"] for each in (data, shared.data)))


@pytest.mark.parametrize("size", [0, 3, 8])
def test_a_truncated_file_is_refused(size):
    with pytest.raises(FormatError):
        share_tflite(tied_pair()[:size])


def test_mutated_files_are_rewritten_or_refused():
    sources = [tied_pair(), int8_pair(bias=2.0), int8_pair(bias=2.0, scales=2)]
    outcomes = {"shared": 0, "refused": 0}
    for seed in range(300):
        rng = random.Random(seed)
        data = bytearray(sources[seed % 3])
        for _ in range(rng.choice([1, 2, 4, 16])):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255])
        try:
            share_tflite(bytes(data[: rng.randrange(len(data))] if seed % 10 == 0 else data), tolerance=1.0)
            outcomes["shared"] += 1
        except TiedaeError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(4, 24), st.integers(4, 24), st.sampled_from([0, 1, 3]))
def test_sharing_twice_is_sharing_once(seed, inputs, units, activation):
    shared = share_tflite(tied_pair(seed=seed, sizes=(inputs, units), activation=activation))
    again = share_tflite(shared.data)
    assert len(shared.merged) == 1 and again.data == shared.data and again.merged == ()


REWRITE = """
import resource, sys
from pathlib import Path
import tiedae.dedupe.share_tflite
from tiedae.dedupe.rewriters import rewrite
from tiedae.export.targets import read_model
before, path = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Path(sys.argv[1])
shared = rewrite(path, read_model(path), "out.tflite", tolerance=None, minimum=64)
print(len(shared.merged), shared.size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)
"""


@pytest.mark.ci
def test_memory_is_that_of_the_new_file(tmp_path):
    """Three constants of 64 MB, two of them equal: nothing but the result is in memory."""
    size, path = 1 << 26, tmp_path / "large.tflite"
    file = File()
    graph = file.graph("main")
    graph.tensor("x", (1, 8))
    graph.set_io([0], [0])
    values = np.zeros((3, size), np.int8)
    values[:, 5], values[2, 7] = 1, 1
    for name, each in zip("abc", values, strict=True):
        graph.constant(name, each)
    path.write_bytes(file.data())
    done = subprocess.run([sys.executable, "-c", REWRITE, path], capture_output=True, text=True, check=True)
    merged, after, memory = map(int, done.stdout.split())
    assert (merged, after < 2.01 * size) == (1, True) and memory < 1.5 * after
