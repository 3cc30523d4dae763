"""The stock converters: files that run, agree with the model, and hold every kernel twice."""

import itertools
from collections import Counter

import numpy as np
import onnxruntime
import pytest

from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.tflite.reader import read_tflite
from tiedae.runtimes.native_output import quiet
from tiedae.runtimes.ort import OrtSession
from tiedae.verify.stock.converters import stock_onnx, stock_onnx_int8, stock_tflite

WIDTHS = (20, 12, 5)


@pytest.fixture(scope="module")
def model():
    """A tied autoencoder of plain TensorFlow: `kernels` are used by both directions."""
    with quiet():
        import tensorflow as tf

        class Tied(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                rng = np.random.default_rng(5)

                def variable(deviation, shape):
                    return tf.Variable(tf.constant(rng.normal(0, deviation, shape), tf.float32))

                self.config = ModelConfig((LayerConfig(12, "relu"), LayerConfig(5)), "sigmoid", WIDTHS[0])
                self.kernels = [variable(0.4, shape) for shape in itertools.pairwise(WIDTHS)]
                self.biases = [variable(0.1, size) for size in (12, 5, 12, 20)]

            def encoder(self, x):
                hidden = tf.nn.relu(tf.matmul(x, self.kernels[0]) + self.biases[0])
                return tf.matmul(hidden, self.kernels[1]) + self.biases[1]

            def decoder(self, code):
                hidden = tf.nn.relu(tf.matmul(code, self.kernels[1], transpose_b=True) + self.biases[2])
                return tf.sigmoid(tf.matmul(hidden, self.kernels[0], transpose_b=True) + self.biases[3])

        return Tied()


@pytest.fixture(scope="module")
def representative():
    return np.random.default_rng(6).uniform(size=(100, WIDTHS[0])).astype(np.float32)


@pytest.fixture(scope="module")
def float_onnx(model):
    return stock_onnx(model)


def kernels_in(contents) -> Counter:
    """How many separately stored matrices of each size the file has."""
    stored = {constant.storage: constant.values for constant in contents.constants if constant.values.ndim == 2}
    return Counter(values.size for values in stored.values())


TWICE = {240: 2, 60: 2}


def run_tflite(data: bytes, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        return Interpreter(model_content=data, num_threads=1).get_signature_runner(signature)(**inputs)


def test_the_float_tflite_file(model, representative, capfd):
    data = stock_tflite(model)
    assert capfd.readouterr() == ("", "")
    contents = read_tflite(data)
    assert {signature.name for signature in contents.signatures} == {"encode", "decode", "reconstruct"}
    assert kernels_in(contents) == TWICE
    code = model.encoder(representative).numpy()
    got = run_tflite(data, "reconstruct", x=representative)
    np.testing.assert_allclose(got["code"], code, atol=1e-5)
    np.testing.assert_allclose(got["y"], model.decoder(code), atol=1e-5)
    np.testing.assert_allclose(run_tflite(data, "encode", x=representative[:3])["code"], code[:3], atol=1e-5)
    np.testing.assert_allclose(run_tflite(data, "decode", code=code)["y"], got["y"], atol=1e-5)


@pytest.mark.parametrize("io_dtype", ["uint8", "float32"])
def test_the_int8_tflite_file(io_dtype, model, representative, capfd):
    data = stock_tflite(model, representative=representative, io_dtype=io_dtype)
    assert capfd.readouterr() == ("", "")
    contents = read_tflite(data)
    assert kernels_in(contents) == TWICE
    tensors = {tensor.name: tensor for signature in contents.signatures for tensor in (*signature.inputs, *signature.outputs)}
    assert {(name, tensor.dtype) for name, tensor in tensors.items()} == {(name, io_dtype) for name in ("x", "code", "y")}
    x = representative
    if io_dtype == "uint8":
        x = np.rint(x / np.float32(tensors["x"].scale) + np.float32(tensors["x"].zero_point)).clip(0, 255).astype(np.uint8)
    y = run_tflite(data, "reconstruct", x=x)["y"].astype(np.float32)
    if io_dtype == "uint8":
        y = (y - np.float32(tensors["y"].zero_point)) * np.float32(tensors["y"].scale)
    np.testing.assert_allclose(y, model.decoder(model.encoder(representative)), atol=0.03)


def test_only_the_signatures_that_are_asked_for(model, representative):
    data = stock_tflite(model, representative=representative, signatures=["decode"])
    contents = read_tflite(data)
    assert [signature.name for signature in contents.signatures] == ["decode"]
    assert kernels_in(contents) == {240: 1, 60: 1}


def test_the_float_onnx_file(model, representative, float_onnx, tmp_path, capfd):
    path = tmp_path / "stock.onnx"
    path.write_bytes(float_onnx)
    assert kernels_in(read_onnx(path)) == TWICE
    got = OrtSession("ort-cpu", {"reconstruct": path}).run("reconstruct", representative)
    code = model.encoder(representative)
    np.testing.assert_allclose(got["code"], code, atol=1e-5)
    np.testing.assert_allclose(got["y"], model.decoder(code), atol=1e-5)
    path.write_bytes(stock_onnx(model, opset=13))
    assert read_onnx(path).details["opset"].startswith("13")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_int8_onnx_file(per_channel, model, representative, float_onnx, tmp_path, capfd):
    path = tmp_path / "stock.onnx"
    path.write_bytes(stock_onnx_int8(float_onnx, representative, per_channel=per_channel))
    assert capfd.readouterr() == ("", "")
    contents = read_onnx(path)
    assert kernels_in(contents) == TWICE
    kernels = [constant for constant in contents.constants if constant.values.ndim == 2]
    assert {kernel.values.dtype for kernel in kernels} == {np.dtype(np.int8)}
    assert {len(kernel.scales) for kernel in kernels} == ({12, 5, 20} if per_channel else {1})
    unfused = onnxruntime.SessionOptions()  # fused, its products saturate on x86-64 without VNNI
    unfused.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, unfused)
    (y,) = session.run(["y"], {session.get_inputs()[0].name: representative})
    np.testing.assert_allclose(np.asarray(y), model.decoder(model.encoder(representative)), atol=0.03)


def test_an_exception_passes_and_the_terminal_comes_back(model, capfd):
    with pytest.raises(ValueError, match=r"[Oo]pset"):
        stock_onnx(model, opset=-1)
    print("here again")
    assert capfd.readouterr().out == "here again\n"
