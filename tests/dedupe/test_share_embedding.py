"""Sharing the tied embeddings of Keras 3, in .tflite and .onnx files: the logits multiply with the table that is looked up."""

import subprocess
import sys

import numpy as np
import pytest

from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.tflite.reader import read_tflite

from ..runtimes.opening import open_tflite
from .onnx_models import require_same, share

EMBEDDINGS = """
import sys
import keras
import numpy as np
import tensorflow as tf

class Tied(keras.layers.Layer):
    def __init__(self, spread):
        super().__init__()
        self.table, self.dense, self.spread = keras.layers.Embedding(512, 32), keras.layers.Dense(32, activation="relu"), spread

    def call(self, ids):
        hidden, turned = self.dense(self.table(ids)), keras.ops.transpose(self.table.embeddings)
        if self.spread:
            turned = keras.ops.broadcast_to(turned, (1, 32, 512))
        return keras.ops.matmul(hidden, turned)

folder = sys.argv[1]
for name, spread in (("folded", True), ("tied", False)):
    keras.utils.set_random_seed(1)
    ids = keras.Input((8,), dtype="int32")
    model = keras.Model(ids, Tied(spread)(ids))
    if name == "folded":
        model.export(f"{folder}/{name}.tflite", format="litert", verbose=False)
        continue
    model.export(f"{folder}/saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/saved")
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)
    converter.representative_dataset = lambda: ([rng.integers(0, 512, (1, 8)).astype(np.int32)] for _ in range(20))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    open(f"{folder}/{name}.tflite", "wb").write(converter.convert())

class Logits(keras.layers.Layer):
    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.embedding.embeddings))

embedding = keras.layers.Embedding(500, 16)
ids = keras.Input((None,), dtype="int32")
model = keras.Model(ids, Logits(embedding)(keras.layers.Dense(16, "relu")(embedding(ids))))
model(np.zeros((1, 4), "int32"))
model.export(f"{folder}/logits.onnx", format="onnx", verbose=False)
"""


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """Tied embeddings of Keras 3, in a process of its own: this one may have Keras 2 for tf.keras."""
    folder = tmp_path_factory.mktemp("embeddings")
    environment = {"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-W", "ignore", "-c", EMBEDDINGS, str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
    return folder


@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "tolerance", "how"),
    [
        ("folded", None, "BATCH_MATMUL with adj_y toggled, on a view"),
        ("tied", 1.0, "FULLY_CONNECTED with the other's scales"),
    ],
)
def test_tied_embeddings_of_keras_3(embeddings, name, tolerance, how):
    data = (embeddings / f"{name}.tflite").read_bytes()
    shared = share_tflite(data, tolerance=tolerance)
    assert [merged.how.startswith(how) for merged in shared.merged] == [True]
    assert len(shared.data) / len(data) <= 0.55
    ids = np.random.default_rng(2).integers(0, 512, (5, 8)).astype(np.int32)
    signature = read_tflite(data).signatures[0]
    before, after = (
        open_tflite("litert-xnnpack", each).run(signature.name, ids)[signature.outputs[0].name] for each in (data, shared.data)
    )
    error = np.abs(before - after).max() / np.abs(before).max()
    assert error <= (0 if tolerance is None else 0.02)


@pytest.mark.ci
def test_a_tied_embedding_of_keras_3_in_onnx(embeddings, tmp_path):
    source = embeddings / "logits.onnx"
    shared, _, out = share(tmp_path, source)
    assert [each.how for each in shared.merged] == ["MatMul → Gemm transB"]
    assert out.stat().st_size <= 0.55 * source.stat().st_size
    require_same(source, out)
