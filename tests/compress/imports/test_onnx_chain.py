""".onnx files as chains: what they compute against ONNX Runtime, ties by initializer, and one line for each bad file."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiedae.cli import main
from tiedae.compress.errors import FormatError, InputError
from tiedae.compress.imports.chain import Affine, BatchNorm, Chain, ChainFunction, ChainProduct, Refused, Reshape
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.pairs import pairs

from ...variants import every

FULL_SCALE = 1e-5


class Graph:
    """A graph while a test writes it: each operation reads the value before it first."""

    def __init__(
        self, shape: tuple[Any, ...] = ("n", 8), *, opset: int = 18, seed: int = 0, dtype: int = TensorProto.FLOAT
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset, self.dtype = shape, opset, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.value, self.outputs = "x", []

    def array(self, values: Any, name: str = "") -> str:
        name = name or f"w{len(self.arrays)}"
        self.arrays[name] = np.asarray(values)
        return name

    def floats(self, *shape: int, low: float = -1, high: float = 1) -> str:
        return self.array(self.rng.uniform(low, high, shape).astype(np.float32))

    def add(self, op: str, *inputs: str, first: bool = True, **attributes: Any) -> Graph:
        """Append an operation of the value before; not `first`: of `inputs` alone, which may name it."""
        output = f"v{len(self.nodes)}"
        names = [self.value, *inputs] if first else list(inputs)
        self.nodes.append(helper.make_node(op, names, [output], name=f"n{len(self.nodes)}", **attributes))
        self.value = output
        return self

    def weight(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append an operation of constants; its output."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"n{len(self.nodes)}", **attributes))
        return output

    def model(self) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*self.outputs, self.value)]
        start = helper.make_tensor_value_info("x", self.dtype, self.shape)
        arrays = [numpy_helper.from_array(values, name) for name, values in self.arrays.items()]
        graph = helper.make_graph(self.nodes, "net", [start], ends, arrays)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, folder: Path) -> Path:
        onnx.save(self.model(), folder / "net.onnx")
        return folder / "net.onnx"

    def read(self, folder: Path) -> Chain:
        return read_model(self.save(folder))


def run(path: Path, x: np.ndarray) -> np.ndarray:
    from onnxruntime import InferenceSession

    return np.asarray(InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[-1])


def close(path: Path, chain: Chain, *, seed: int = 0) -> bool:
    """Whether a chain gives what ONNX Runtime gives, of full scale."""
    x = np.random.default_rng(seed).uniform(-2, 2, (16, *chain.shape)).astype(np.float32)
    wanted = run(path, x)
    given = chain(x)
    return given.shape == wanted.shape and bool(np.abs(given - wanted).max() <= FULL_SCALE * np.abs(wanted).max())


# What writers make of layers: torch (Gemm with transB, MatMul by a transposed weight, views) and tf2onnx.


def linear(graph: Graph, width: int, units: int) -> None:
    graph.add("Gemm", graph.floats(units, width), graph.floats(units), transB=1)


def linear_scaled(graph: Graph, width: int, units: int) -> None:
    graph.add("Gemm", graph.floats(width, units), graph.floats(1, units), alpha=0.5, beta=2.0)


def linear_without_bias(graph: Graph, width: int, units: int) -> None:
    graph.add("MatMul", graph.weight("Transpose", graph.floats(units, width), perm=[1, 0]))


def linear_exported_by_dynamo(graph: Graph, width: int, units: int) -> None:
    transposed = graph.weight("Transpose", graph.weight("Identity", graph.floats(width, units)))
    graph.add("Gemm", transposed, graph.weight("Reshape", graph.floats(1, units), graph.array(np.array([-1]))), transB=1)


def dense(graph: Graph, width: int, units: int) -> None:
    graph.add("MatMul", graph.floats(width, units)).add("Add", graph.floats(units))


def dense_bias_first(graph: Graph, width: int, units: int) -> None:
    graph.add("MatMul", graph.floats(width, units)).add("Add", graph.floats(1, units), graph.value, first=False)


PRODUCTS = (linear, linear_scaled, linear_without_bias, linear_exported_by_dynamo, dense, dense_bias_first)


def relu6(graph: Graph, width: int) -> None:
    graph.add("Clip", graph.array(np.float32(0)), graph.array(np.float32(6)))


def relu_by_clip(graph: Graph, width: int) -> None:
    graph.add("Clip", graph.array(np.float32(0)))


def relu6_by_min(graph: Graph, width: int) -> None:
    graph.add("Relu").add("Min", graph.array(np.float32(6)))


def batch_norm(graph: Graph, width: int) -> None:
    gamma, beta, mean = (graph.floats(width) for _ in range(3))
    graph.add("BatchNormalization", gamma, beta, mean, graph.floats(width, low=0.1), epsilon=0.001)


def scaled(graph: Graph, width: int) -> None:
    graph.add("Sub", graph.floats(width)).add("Mul", graph.floats(width)).add("Div", graph.floats(1, low=0.5)).add("Neg")


def reversed_operands(graph: Graph, width: int) -> None:
    graph.add("Sub", graph.floats(width), graph.value, first=False).add(
        "Mul", graph.array(np.float32(0.5)), graph.value, first=False
    )


def dropout(graph: Graph, width: int) -> None:
    graph.add("Dropout", graph.array(np.float32(0.5))).add("Identity").add("Cast", to=TensorProto.FLOAT)


def view(graph: Graph, width: int) -> None:
    """x.view(x.size(0), -1, 1).flatten(1), as torch writes it."""
    size = graph.weight("Gather", graph.weight("Shape", graph.value), graph.array(np.int64(0)), axis=0)
    size = graph.weight("Unsqueeze", size, graph.array(np.array([0])))
    shape = graph.weight("Concat", size, graph.array(np.array([-1])), graph.array(np.array([1])), axis=0)
    graph.add("Reshape", shape).add("Flatten", axis=1)


def reshape(graph: Graph, width: int) -> None:
    start = graph.weight("Shape", graph.value, start=0, end=1)
    graph.add("Reshape", graph.weight("Concat", start, graph.array(np.array([1, width])), axis=0))
    graph.add("Reshape", graph.array(np.array([0, -1])))


BETWEEN: tuple[Callable[[Graph, int], Any], ...] = (
    lambda graph, width: graph.add("Relu"),
    lambda graph, width: graph.add("Tanh"),
    lambda graph, width: graph.add("Sigmoid"),
    relu6,
    relu_by_clip,
    relu6_by_min,
    batch_norm,
    scaled,
    reversed_operands,
    dropout,
    view,
    reshape,
)


def random_net(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    graph, width = Graph(seed=seed), 8
    for _ in range(rng.integers(1, 6)):
        for i in rng.permutation(len(BETWEEN))[: rng.integers(0, 4)]:
            BETWEEN[i](graph, width)
        units = int(rng.integers(1, 12))
        PRODUCTS[rng.integers(len(PRODUCTS))](graph, width, units)
        width = units
    return graph


@pytest.mark.parametrize("seed", every(5, range(200)))
def test_a_chain_computes_what_onnx_runtime_computes(seed: int, tmp_path: Path) -> None:
    path = random_net(seed).save(tmp_path)
    chain = read_model(path)
    chain.require_readable()
    assert close(path, chain, seed=seed)


@pytest.mark.parametrize("between", BETWEEN)
def test_each_operation_is_read(between: Callable[[Graph, int], Any], tmp_path: Path) -> None:
    graph = Graph()
    between(graph, 8)
    path = graph.save(tmp_path)
    assert close(path, read_model(path))


def test_layers_are_of_their_kinds(tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    graph.add("Relu")
    batch_norm(graph, 4)
    dropout(graph, 4)
    reshape(graph, 4)
    scaled(graph, 4)
    chain = graph.read(tmp_path)
    assert [type(layer) for layer in chain.layers] == [ChainProduct, ChainFunction, BatchNorm, Reshape, Reshape, Affine]
    assert chain.format == "ONNX" and chain.shape == (8,)
    assert chain.left_out == ("n3 (Dropout)",)


def test_a_bias_stays_one_variable_behind_a_reshape(tmp_path: Path) -> None:
    graph = Graph()
    linear_exported_by_dynamo(graph, 8, 4)
    (product,) = graph.read(tmp_path).products
    assert product.bias is not None
    assert (product.kernel.variable, product.bias.variable, product.bias.shape) == ("w0", "w1", (4,))


def tied_by_gemm(graph: Graph, kernel: str) -> None:
    graph.add("Gemm", kernel, transB=1).add("Gemm", kernel, transB=0)


def tied_by_transposing(graph: Graph, kernel: str) -> None:
    """F.linear(F.linear(x, w), w.t())."""
    graph.add("Gemm", kernel, transB=1).add("Gemm", graph.weight("Transpose", kernel, perm=[1, 0]), transB=1)


def tied_by_matmul(graph: Graph, kernel: str) -> None:
    graph.add("MatMul", graph.weight("Transpose", kernel)).add("MatMul", kernel)


@pytest.mark.parametrize("tied", [tied_by_gemm, tied_by_transposing, tied_by_matmul])
def test_one_initializer_in_both_directions_is_one_variable(tied: Callable[[Graph, str], None], tmp_path: Path) -> None:
    graph = Graph()
    tied(graph, graph.floats(4, 8))
    path = graph.save(tmp_path)
    chain = read_model(path)
    encoder, decoder = chain.products
    assert encoder.kernel == decoder.kernel
    assert (encoder.transposed, decoder.transposed) == (True, False)
    assert [pair.status for pair in pairs(chain)] == ["tied"]
    assert close(path, chain)


def test_equal_initializers_are_two_variables(tmp_path: Path) -> None:
    graph = Graph()
    kernel = graph.floats(4, 8)
    graph.add("Gemm", kernel, transB=1).add("Gemm", graph.array(graph.arrays[kernel]))
    chain = graph.read(tmp_path)
    assert len({product.kernel.variable for product in chain.products}) == 2
    assert [pair.status for pair in pairs(chain)] == ["equal copy"]


def test_a_classifier_has_no_pairs(tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    linear(graph, 4, 3)
    assert pairs(graph.add("Softmax").read(tmp_path)) == ()


def test_a_decoder_that_subtracts_the_encoders_bias_first(tmp_path: Path) -> None:
    graph = Graph()
    kernel, bias = graph.floats(4, 8), graph.floats(4)
    graph.add("Gemm", kernel, bias, transB=1).add("Tanh").add("Sub", bias).add("MatMul", kernel)
    path = graph.save(tmp_path)
    chain = read_model(path)
    assert [type(layer) for layer in chain.layers] == [ChainProduct, ChainFunction, ChainProduct]
    assert chain.products[1].before is not None and chain.products[1].before.variable == bias
    assert close(path, chain)


def test_a_code_beside_the_output(tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    graph.outputs = [graph.value]
    linear(graph, 4, 8)
    assert len(graph.read(tmp_path).products) == 2


def test_constants_may_be_nodes(tmp_path: Path) -> None:
    graph = Graph()
    kernel = graph.weight("Constant", value=numpy_helper.from_array(np.ones((8, 2), np.float32)))
    graph.add("MatMul", kernel).add("Add", graph.weight("Constant", value_float=0.5))
    path = graph.save(tmp_path)
    assert close(path, read_model(path))


def test_other_activations_have_keras_names_and_are_not_computed(tmp_path: Path) -> None:
    chain = Graph().add("LeakyRelu", alpha=0.2).add("Softmax").read(tmp_path)
    assert [layer.function for layer in chain.layers if isinstance(layer, ChainFunction)] == ["leaky_relu", "softmax"]
    with pytest.raises(InputError, match=r"n0 \(LeakyRelu\): activation leaky_relu, must be one of"):
        chain(np.zeros((1, 8)))


def test_a_shape_that_stays_is_no_layer(tmp_path: Path) -> None:
    graph = Graph()
    assert graph.add("Reshape", graph.array(np.array([-1, 8]))).add("Flatten").read(tmp_path).layers == ()


def test_images_with_a_fixed_batch(tmp_path: Path) -> None:
    graph = Graph((1, 2, 2, 2)).add("Flatten")
    linear(graph, 8, 4)
    graph.add("Reshape", graph.array(np.array([1, 4, 1])))
    chain = graph.read(tmp_path)
    assert chain.shape == (2, 2, 2) and chain(np.zeros((3, 2, 2, 2))).shape == (3, 4, 1)


def exported(keras: Any, kernel_of: Callable[[Any, Any], Any] | None = None) -> onnx.ModelProto:
    """A Keras model as tf2onnx writes it; `kernel_of`: the decoder's kernel, of the encoder's."""
    import tensorflow as tf
    import tf2onnx

    layers = keras.layers
    encoder, decoder = layers.Dense(5, activation="relu6"), layers.Dense(8, activation="sigmoid")
    norm = layers.BatchNormalization(beta_initializer="ones", moving_mean_initializer="ones")
    net = keras.Sequential([keras.Input((2, 4)), layers.Flatten(), encoder, norm, layers.Dropout(0.5)])
    net.build((None, 2, 4))

    def call(x: Any) -> Any:
        code = net(x, training=False)
        return decoder(code) if kernel_of is None else tf.nn.sigmoid(tf.matmul(code, kernel_of(tf, encoder.kernel)))

    call(tf.zeros((1, 2, 4)))
    model, _ = tf2onnx.convert.from_function(tf.function(call), [tf.TensorSpec((None, 2, 4), tf.float32, name="x")], opset=18)
    return model


@pytest.mark.ci
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    ("kernel_of", "status"),
    [
        (None, "untied"),
        (lambda tf, kernel: tf.transpose(kernel), "equal copy"),  # tf2onnx computes the transpose and stores it
        (lambda tf, kernel: tf.transpose(tf.identity(kernel)), "equal copy"),
    ],
)
def test_keras_models_by_tf2onnx(library: str, kernel_of: Any, status: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(exported(importlib.import_module(library), kernel_of).SerializeToString())
    chain = read_model(path)
    assert [type(layer) for layer in chain.layers] == [
        Reshape,
        ChainProduct,
        ChainFunction,
        Affine,
        ChainProduct,
        ChainFunction,
    ]
    assert close(path, chain)
    assert [pair.status for pair in pairs(chain)] == [status]


# What is refused, by node and operation.


def joined(graph: Graph) -> None:
    graph.add("Relu").add("Add", "x")


def dequantized(graph: Graph) -> None:
    integers = graph.array(np.ones((8, 4), np.int8))
    graph.add("MatMul", graph.weight("DequantizeLinear", integers, graph.array(np.float32(0.1))))


REFUSED: tuple[tuple[Callable[[Graph], Any], str], ...] = (
    (lambda graph: graph.add("LRN", size=3), r"n0 \(LRN\): no operation of a dense autoencoder"),
    (joined, r"n1 \(Add\): joins two branches"),
    (dequantized, r"n0 \(DequantizeLinear\): computes a constant in a way that is not read"),
    (lambda graph: graph.add("MatMul", "nowhere"), r"n0 \(MatMul\): reads nowhere, which the graph lacks"),
    (lambda graph: graph.add("MatMul", graph.floats(7, 4)), r"n0 \(MatMul\): kernel of 7 inputs behind 8 values"),
    (lambda graph: graph.add("MatMul", graph.floats(4, 9), graph.value, first=False), r"n0 \(MatMul\): must have the samples"),
    (lambda graph: graph.add("MatMul", graph.floats(8)), r"n0 \(MatMul\): must multiply the samples by a kernel"),
    (lambda graph: graph.add("Gemm", graph.floats(5, 3), transA=1), r"n0 \(Gemm\): must multiply samples"),
    (lambda graph: graph.add("Add", graph.floats(1, 1, 8)), r"n0 \(Add\): must add a number or one a value"),
    (lambda graph: graph.add("Div", graph.array(np.float32(0))), r"n0 \(Div\): divides by zero"),
    (lambda graph: graph.add("Clip", graph.array(np.float32(-1))), r"n0 \(Clip\): clips to -1 … inf, must be"),
    (lambda graph: graph.add("Cast", to=TensorProto.FLOAT16), r"n0 \(Cast\): must compute in float32 or float64"),
    (lambda graph: graph.add("Reshape", graph.array(np.array([-1, 4]))), r"n0 \(Reshape\): must keep the 8 values"),
    (lambda graph: graph.add("Reshape", graph.array(np.array([5, 8]))), r"n0 \(Reshape\): must keep the 8 values"),
    (lambda graph: graph.add("Flatten", axis=0), r"n0 \(Flatten\): must keep the batch"),
    (
        lambda graph: graph.add("Dropout", graph.array(np.float32(0.5)), graph.array(np.array(True))),
        r"n0 \(Dropout\): is in training mode",
    ),
    (
        lambda graph: graph.add("BatchNormalization", *(graph.floats(8) for _ in range(4)), training_mode=1),
        r"n0 \(BatchNormalization\): is in training mode",
    ),
    (
        lambda graph: graph.add("FusedMatMul", graph.floats(8, 4), domain="com.microsoft"),
        r"n0 \(com.microsoft.FusedMatMul\): no op",
    ),
)


@pytest.mark.parametrize(("write", "message"), REFUSED)
def test_refused(write: Callable[[Graph], Any], message: str, tmp_path: Path) -> None:
    graph = Graph()
    write(graph)
    graph.add("Relu")
    chain = graph.read(tmp_path)
    assert isinstance(chain.layers[-1], Refused), "nothing behind it is read"
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        chain.require_readable()


def with_two_inputs() -> onnx.ModelProto:
    model = Graph().add("Relu").model()
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 8)))
    return model


def with_two_ends() -> onnx.ModelProto:
    graph = Graph().add("Relu")
    graph.outputs, graph.value = [graph.value], "x"
    return graph.add("Tanh").model()


def without_opset() -> onnx.ModelProto:
    model = Graph().add("Relu").model()
    del model.opset_import[:]
    return model


def with_constant_output() -> onnx.ModelProto:
    graph = Graph()
    graph.add("Identity", graph.floats(8), first=False)
    return graph.model()


BAD: tuple[tuple[Callable[[], onnx.ModelProto], str], ...] = (
    (lambda: Graph(opset=6).add("Relu").model(), r"opset 6, must be 7 or newer"),
    (with_two_inputs, r"2 inputs \(x, z\), must be one"),
    (with_two_ends, r"outputs v0, v1 are on different branches"),
    (with_constant_output, r"output v0 is not computed from the input"),
    (without_opset, r"not an ONNX file, or a truncated one"),
    (lambda: Graph(("n", "k")).add("Relu").model(), r"input x: shape \[\?, \?\], must be \[batch, …\] with every axis but"),
    (lambda: Graph((8,)).add("Relu").model(), r"input x: shape \[8\], must be"),
    (lambda: Graph(dtype=TensorProto.FLOAT16).add("Relu").model(), r"input x: dtype float16, must be float32"),
)


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_models_are_one_line(make: Callable[[], onnx.ModelProto], message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        read_model(path)


@pytest.mark.parametrize("data", [b"", b"\x08\x08garbage", b"no model"])
def test_damaged_files(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(FormatError, match=r"net\.onnx: not an ONNX file, or a truncated one"):
        read_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_must_be_finite(bad: float, tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    graph.arrays["w0"][0, 0] = bad
    with pytest.raises(InputError, match=r"net\.onnx: w0: got NaN or infinity, weights must be finite"):
        graph.read(tmp_path)(np.zeros((1, 8)))


def external(folder: Path, location: str) -> Path:
    graph = Graph()
    dense(graph, 8, 64)
    onnx.save(graph.model(), folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(folder / "net.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_external_data_are_read(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    assert close(path, read_model(path))


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "missing.bin", "link.bin", ""])
def test_external_data_must_lie_in_the_files_folder(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder, location)
    (tmp_path / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(FormatError, match=r"net\.onnx: constant 'w0' cannot be read: "):
        read_model(path)(np.zeros((1, 8)))


def test_external_data_may_not_be_short(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(b"1234")
    with pytest.raises(FormatError, match=r"net\.onnx: constant 'w0' cannot be read: "):
        read_model(path)(np.zeros((1, 8)))


def test_a_shape_that_does_not_fit_the_bytes(tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    model = graph.model()
    model.graph.initializer[0].raw_data += b"1234"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=r"net\.onnx: constant 'w0' cannot be read: "):
        read_model(tmp_path / "net.onnx")(np.zeros((1, 8)))


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m"])
def test_names_must_be_printable(text: str, tmp_path: Path) -> None:
    model = Graph().add("Relu").model()
    model.graph.node[0].name = text
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=r"net\.onnx: damaged: the name .* is not text"):
        read_model(tmp_path / "net.onnx")


@pytest.mark.ci
@pytest.mark.parametrize("seed", range(8))
def test_changed_bytes_give_a_chain_or_one_line(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    whole = random_net(seed).model().SerializeToString()
    for _ in range(400):
        data = bytearray(whole)
        for i in rng.integers(0, len(data), rng.integers(1, 20)):
            data[i] = int(rng.integers(256)) if rng.random() < 0.5 else 255
        (tmp_path / "net.onnx").write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.1 else data)
        with contextlib.suppress(InputError), np.errstate(all="ignore"):
            chain = read_model(tmp_path / "net.onnx")
            if max(chain.shape) < 10_000:
                chain(np.zeros((1, *chain.shape)))


@pytest.mark.parametrize(
    ("write", "code", "text"),
    [
        (lambda graph: tied_by_transposing(graph, graph.floats(4, 8)), 0, "n0 (Gemm) and n2 (Gemm), 8×4: tied: one variable"),
        (lambda graph: (linear(graph, 8, 4), linear(graph, 4, 8)), 1, "n0 (Gemm) and n1 (Gemm), 8×4: untied (cosine "),
        (
            lambda graph: (linear(graph, 8, 4), linear(graph, 4, 8), graph.add("LRN", size=3)),
            1,
            "net.onnx: n2 (LRN): no operation",
        ),
        (lambda graph: linear(graph, 8, 4), 1, "no kernel mirrors another"),
    ],
)
def test_inspect_and_its_option(
    write: Callable[[Graph], Any], code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = Graph()
    write(graph)
    path = graph.save(tmp_path)
    assert main(["inspect", str(path), "--fail-on-untied"]) == code
    shown = capsys.readouterr()
    assert text in (shown.err if code else shown.out)
    assert main(["inspect", str(path)]) == 0
