"""The rows of real files, see `imports.py`: each is read and gives what the library that can load it gives, or is refused."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row

from tiedae.base.errors import InputError
from tiedae.compress.imports.chain import Refused
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.report.console import Console

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


def files_row(console: Console, name: str = "files_right", files: Sequence[RealFile] = FILES, *, twins: bool = False) -> Row:
    """The row of files, with their twins of other formats where asked."""
    wrong: dict[str, str] = {}
    differences: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        cases = [(file, DATA / file.name) for file in files]
        cases += [(file, path) for file in files if twins for path in twins_of(file, Path(folder))]
        for file, path in cases:
            label = file.name if path == DATA / file.name else f"{file.name} as {path.name}"
            try:
                difference, text = judged(file, path)
            except InputError as error:
                difference, text = np.inf, str(error)
            console.note(f"{label}: {text}")
            differences += [difference] if file.original else []
            if difference > LIMIT:
                wrong[label] = text
    refused = len(cases) - len(differences)
    read = f"{len(differences)} read, largest difference {max(differences):.1e} of full scale; {refused} refused"
    detail = "; ".join([read, *(f"{name}: {text}" for name, text in wrong.items())])
    return Row(name, (len(cases) - len(wrong)) / len(cases), "", "== 1", "", detail)


def twins_of(file: RealFile, folder: Path) -> Iterator[Path]:
    """A Keras file as tf2onnx writes it, and as a SavedModel."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    import tf_keras

    library = keras if file.original is keras_3 else tf_keras
    model: Any = library.models.load_model(DATA / file.name, compile=False)
    name = file.name.partition("/")[0]
    spec = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="x")]
    function = tf.function(lambda x: model(x, training=False), input_signature=spec)
    written, _ = tf2onnx.convert.from_function(function, input_signature=spec, opset=17)
    onnx.save(written, folder / f"{name}.onnx")
    yield folder / f"{name}.onnx"
    model.export(str(folder / f"{name}_saved_model"))
    yield folder / f"{name}_saved_model"


def judged(file: RealFile, path: Path) -> tuple[float, str]:
    """The largest difference of a file that is read, 0 of one that is refused as it should be; and the finding. `path`: of it,
    or of a twin, whose layers have other names."""
    chain = read_model(path)
    title = next((layer.title for layer in chain.layers if isinstance(layer, Refused)), "")
    is_twin = path != DATA / file.name
    if file.original is None or title:
        right = title == file.refused if not is_twin else bool(file.refused) and _class(file.refused) in _class(title)
        return (0.0 if right else np.inf), f"refused at {title or 'no layer'}"
    if file.unmirrored:
        try:
            mirror(chain, tie=True)
        except InputError as error:
            reason = file.unmirrored.partition("): ")[2]
            if not (reason in str(error) if is_twin else str(error).startswith(f"{chain.source}: {file.unmirrored}")):
                raise
        else:
            return np.inf, "taken for a mirrored model"
    x = np.random.default_rng(0).normal(size=(file.samples, *chain.shape))
    y = file.original(DATA / file.name, x)
    difference = float(np.abs(chain(x) - y).max() / np.abs(y).max())
    return difference, f"{difference:.1e} of full scale"


def _class(title: str) -> str:
    """The operation in the title of a layer; ONNX calls each Conv."""
    return title.rpartition("(")[2].rstrip(")").removesuffix("3D")
