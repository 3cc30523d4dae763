""".onnx files as chains: what they compute against ONNX Runtime, ties by initializer, and one line for each bad file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tiedae.base.errors import InputError
from tiedae.compress.imports.chain import Affine, BatchNorm, ChainFunction, ChainProduct, ChainReshape
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.pairs import pairs

from ...variants import every
from .onnx_graphs import (
    BETWEEN,
    Graph,
    batch_norm,
    close,
    dropout,
    linear,
    linear_exported_by_dynamo,
    random_net,
    reshape,
    scaled,
    tied_by_transposing,
)


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
    assert [type(layer) for layer in chain.layers] == [
        ChainProduct,
        ChainFunction,
        BatchNorm,
        Affine,
    ]
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
        ChainReshape,
        ChainProduct,
        ChainFunction,
        Affine,
        ChainProduct,
        ChainFunction,
    ]
    assert close(path, chain)
    assert [pair.status for pair in pairs(chain)] == [status]
