"""How each runtime is opened for timing: as the call that the runtime itself takes, and as the one that a user writes.

Only what a runtime needs is imported, when it is opened: these run in child processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Opened:
    """A signature of a model, ready to be timed; both calls are complete when they return (see `latency.WAYS`)."""

    invoke: Callable[[], object]
    call: Callable[[], object]
    provider: str


Bind = Callable[[str, np.ndarray], Opened]
"""(signature, x in the port's dtype) → that signature of the model at hand, its first call done."""
Open = Callable[[str, int], Bind]
"""(path, number of threads) → the model."""


def _litert(path: str, threads: int) -> Bind:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)

    def bind(signature: str, x: np.ndarray) -> Opened:
        runner = interpreter.get_signature_runner(signature)
        (name,) = runner.get_input_details()
        runner(**{name: x})
        wrapper, subgraph = runner._interpreter_wrapper, runner._subgraph_index
        return Opened(lambda: wrapper.Invoke(subgraph), lambda: runner(**{name: x}), "")

    return bind


def _ort(providers: tuple[str, ...], device: str) -> Open:
    def open_file(path: str, threads: int) -> Bind:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads of this session would otherwise spin into the time of the next subject.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(path, options, providers=list(providers))
        (port,) = session.get_inputs()
        names = [output.name for output in session.get_outputs()]
        value = onnxruntime.OrtValue.ortvalue_from_numpy

        def bind(_signature: str, x: np.ndarray) -> Opened:
            feed, binding = {port.name: x}, session.io_binding()
            binding.bind_ortvalue_input(port.name, value(x, device, 0))
            for name, y in zip(names, session.run(names, feed), strict=True):
                binding.bind_ortvalue_output(name, value(np.asarray(y), device, 0))

            def invoke() -> None:
                session.run_with_iobinding(binding)
                binding.synchronize_outputs()

            return Opened(invoke, lambda: session.run(names, feed), session.get_providers()[0])

        return bind

    return open_file


def _keras(wrap: Callable[[Any], Any]) -> Open:
    def open_model(path: str, threads: int) -> Bind:
        import tensorflow as tf

        model, device = _loaded(path, threads)

        def bind(signature: str, x: np.ndarray) -> Opened:
            run = {"encode": model.encoder, "decode": model.decoder, "reconstruct": model.encode_decode}[signature]
            run, tensor = wrap(run), tf.constant(x)

            def fetch(outputs: Any) -> list[np.ndarray]:
                """Every output in the memory of the host: waits for the device."""
                return [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

            fetch(run(tensor))
            return Opened(lambda: fetch(run(tensor)), lambda: fetch(run(tf.constant(x))), device)

        return bind

    return open_model


@lru_cache(maxsize=1)
def _loaded(path: str, threads: int) -> tuple[Any, str]:
    """The Keras model and the device that TensorFlow puts it on: a GPU where it finds one. Fixes the process's threads."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    devices = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(devices[0]).get("device_name", "") if devices else ""
    from ...compress.autoencoder import TiedAutoencoder

    return TiedAutoencoder.load(path), f"GPU {name}".strip() if devices else "CPU"


def _graph(run: Any) -> Any:
    import tensorflow as tf

    return tf.function(run)


OPENERS: Mapping[str, Open] = {
    "litert-xnnpack": _litert,
    "ort-cpu": _ort(("CPUExecutionProvider",), "cpu"),
    "ort-cuda": _ort(("CUDAExecutionProvider", "CPUExecutionProvider"), "cuda"),
    "keras-eager": _keras(lambda run: run),
    "keras-function": _keras(_graph),
}
"""How each runtime opens a file."""
