"""The rows of real files, see `imports.py`: each is read and gives what the library that can load it gives, or is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row
from tiedae.compress.errors import InputError
from tiedae.compress.imports.chain import Refused
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.console import Console

DATA = Path(os.environ.get("TIEDAE_DATA", "data")) / "keras"
SAMPLES = 64
LIMIT = 1e-5
"""Largest difference, of full scale."""

Original = Callable[[Path, np.ndarray], np.ndarray]


def keras_2(path: Path, x: np.ndarray) -> np.ndarray:
    import tf_keras

    return of_keras(tf_keras, path, x)


def keras_3(path: Path, x: np.ndarray) -> np.ndarray:
    import keras

    return of_keras(keras, path, x)


def of_keras(library: Any, path: Path, x: np.ndarray) -> np.ndarray:
    """What a Keras model gives for x, with its weights in a copy that computes in float64."""
    model = library.models.load_model(path, compile=False)
    wide = library.models.model_from_json(model.to_json().replace('"float32"', '"float64"'))
    wide.set_weights(model.get_weights())
    return np.asarray(wide(x))


def saved_model(path: Path, x: np.ndarray) -> np.ndarray:
    """What TensorFlow gives, in float32."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    (y,) = signature(**{name: tf.constant(x.astype(np.float32))}).values()
    return np.asarray(y)


@dataclass(frozen=True)
class RealFile:
    """A file, and what can load it; or the layer that is refused first.

    `unmirrored`: the start of why a file that is read starts no run. `samples`: that are compared.
    """

    name: str
    original: Original | None = None
    refused: str = ""
    unmirrored: str = ""
    samples: int = SAMPLES


FILES = (
    RealFile("ad01/ad01.h5", keras_2),
    RealFile("deep/deep_autoencoder.h5", keras_2),
    RealFile("pydl/ae.h5", keras_2),
    RealFile("tanmej/autoencoder.h5", keras_3),
    RealFile("gearbox/saved_model", saved_model),
    RealFile("eit/autoencoder_model.keras", refused="leaky_re_lu (LeakyReLU)"),
    RealFile("conv1d/cnn_autoencoder.keras", keras_3, unmirrored="conv1d_transpose_2 (Conv1DTranspose): widths 1440-"),
    RealFile("conv2d/autoencoder.keras", keras_3, unmirrored="conv2d_33 (Conv2D): widths 4096-", samples=8),
    RealFile("spectrum/autoencoder.h5", keras_2, unmirrored="max_pooling2d_1 (MaxPooling2D): takes windows", samples=1),
    RealFile("conv3d/trained_autoencoder_test_epoch1.h5", refused="conv3d_1 (Conv3D)"),
    RealFile("vae/vae.keras", refused="VAE (VAE)"),
)


CONVOLUTIONS = tuple(file for file in FILES if file.name.startswith(("conv", "spectrum")))


def files_row(console: Console, name: str = "files_right", files: Sequence[RealFile] = FILES) -> Row:
    wrong: dict[str, str] = {}
    differences: list[float] = []
    for file in files:
        try:
            difference, text = judged(file)
        except InputError as error:
            difference, text = np.inf, str(error)
        console.note(f"{file.name}: {text}")
        differences += [difference] if file.original else []
        if difference > LIMIT:
            wrong[file.name] = text
    refused = len(files) - len(differences)
    read = f"{len(differences)} read, largest difference {max(differences):.1e} of full scale; {refused} refused"
    detail = "; ".join([read, *(f"{name}: {text}" for name, text in wrong.items())])
    return Row(name, (len(files) - len(wrong)) / len(files), "", "== 1", "", detail)


def judged(file: RealFile) -> tuple[float, str]:
    """The largest difference of a file that is read, 0 of one that is refused as it should be; and the finding."""
    chain = read_model(DATA / file.name)
    title = next((layer.title for layer in chain.layers if isinstance(layer, Refused)), "")
    if file.original is None or title:
        return (0.0 if title == file.refused else np.inf), f"refused at {title or 'no layer'}"
    if file.unmirrored:
        try:
            mirror(chain, tie=True)
        except InputError as error:
            if not str(error).startswith(f"{chain.source}: {file.unmirrored}"):
                raise
        else:
            return np.inf, "taken for a mirrored model"
    x = np.random.default_rng(0).normal(size=(file.samples, *chain.shape))
    y = file.original(DATA / file.name, x)
    difference = float(np.abs(chain(x) - y).max() / np.abs(y).max())
    return difference, f"{difference:.1e} of full scale"
