"""Builds a small language model with a tied embedding in Keras 3 and exports it: FOLDER/embedding.tflite and .onnx.

    python benchmarks/tied_embedding.py FOLDER

The output projection is `keras.layers.ReversibleEmbedding` called in reverse: the same variable, transposed. It is a process
of its own, since Keras 3 and the Keras 2 that tiedae trains with exclude each other in one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

WORDS, WIDTH, LENGTH = 4096, 128, 16


def main(folder: Path) -> None:
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf
    import tf2onnx

    keras.utils.set_random_seed(0)
    embedding = keras.layers.ReversibleEmbedding(WORDS, WIDTH, tie_weights=True)
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    hidden = keras.layers.Dense(WIDTH, activation="relu")(embedding(tokens))
    model = keras.Model(tokens, embedding(hidden, reverse=True))
    with tempfile.TemporaryDirectory() as saved:
        model.export(saved, format="tf_saved_model", verbose=False)
        (folder / "embedding.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(saved).convert())
        loaded = tf.saved_model.load(saved)
        spec = [tf.TensorSpec((None, LENGTH), tf.int32, name="tokens")]
        onnx, _ = tf2onnx.convert.from_function(tf.function(loaded.serve), input_signature=spec, opset=17)
        (folder / "embedding.onnx").write_bytes(onnx.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
