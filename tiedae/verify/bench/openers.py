"""Openers of the benchmark: the timed runtimes of the table, and the Keras model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.runtimes.session import Bound, Session
from tiedae.runtimes.table import RUNTIMES, Files


@dataclass(frozen=True)
class Opener:
    """Opens models. `module`: timed import. `resident`: whether the process's memory is measured."""

    load: Callable[[], Callable[..., Session | KerasModel]]
    module: str
    resident: bool = True


class KerasModel:
    """The Keras model, called eagerly or, with `graph`, as a tf.function."""

    def __init__(self, graph: bool, files: Files, *, threads: int = 1) -> None:
        (path,) = set(files.values())
        self._graph = graph
        self._model, self.provider = _loaded(path, threads)

    def bind(self, signature: str, x: np.ndarray) -> Bound:
        import tensorflow as tf

        model = self._model
        run = {"encode": model.encoder, "decode": model.decoder, "reconstruct": model.encode_decode}[signature]
        run, tensor = tf.function(run) if self._graph else run, tf.constant(x)

        def fetch(outputs: Any) -> list[np.ndarray]:
            """Copy all outputs to the host, which waits for the device."""
            return [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

        fetch(run(tensor))
        return Bound(lambda: fetch(run(tensor)), lambda: fetch(run(tf.constant(x))))


@lru_cache(maxsize=1)
def _loaded(path: Path, threads: int) -> tuple[Any, str]:
    """(Keras model, device: a GPU if TensorFlow finds one). Fixes the process's threads."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    devices = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(devices[0]).get("device_name", "") if devices else ""
    from tiedae.compress.autoencoder import TiedAutoencoder

    return TiedAutoencoder.load(path), f"GPU {name}".strip() if devices else "CPU"


KERAS: Mapping[str, tuple[str, Opener]] = {
    "keras-eager": ("Keras f32, eager call", Opener(lambda: partial(KerasModel, False), "tensorflow", resident=False)),
    "keras-function": ("Keras f32, tf.function", Opener(lambda: partial(KerasModel, True), "tensorflow")),
}
"""(name, opener) of the ways to call Keras. Their memory is equal and measured once."""

OPENERS: Mapping[str, Opener] = {
    **{name: Opener(row.load, row.module, row.device == "CPU") for name, row in RUNTIMES.items() if row.module},
    **{name: opener for name, (_, opener) in KERAS.items()},
}
