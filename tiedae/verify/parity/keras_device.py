"""The device of the Keras model: the GPU that TensorFlow finds, with TensorFloat-32 off, else the CPU with a reason.

A TensorFlow without CUDA support or libraries silently runs on the CPU of a machine with a GPU, so its device list is checked
against the driver and the environment. `choose` is a pure function of what `look_around` finds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiedae.bundle.reference_outputs import Keras, Layers
from tiedae.bundle.results import Device
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.runtimes.machine import describe_machine
from tiedae.runtimes.native_output import quiet
from tiedae.runtimes.session import first_line

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.tying import UntiedAutoencoder

CPU = "/physical_device:CPU:0"
GUIDE = "pip install 'tensorflow[and-cuda]' brings its libraries"


@dataclass(frozen=True)
class Surroundings:
    """`gpus`: names by device, as TensorFlow lists them. `gpu_build`: whether it is built for CUDA or ROCm. `driver`: whether
    an NVIDIA driver is installed. `visible`: CUDA_VISIBLE_DEVICES, None if unset. `cpu`: the CPU's name."""

    gpus: Mapping[str, str] = field(default_factory=dict)
    gpu_build: bool = True
    driver: bool = False
    visible: str | None = None
    cpu: str = "CPU"


def skipped(device: Device) -> tuple[Skipped, ...]:
    """A row if Keras does not run on a GPU."""
    return (Skipped(Kind.DEVICE, Why.UNAVAILABLE, "Keras on a GPU", device.reason),) if device.reason else ()


def choose(found: Surroundings) -> Device:
    """The first GPU that TensorFlow lists, else the CPU with a reason."""
    if found.gpus:
        device, name = next(iter(found.gpus.items()))
        return Device(device, name)
    setting = f"CUDA_VISIBLE_DEVICES={found.visible!r}"
    if found.visible is not None and found.visible.strip() in ("", "-1"):
        reason = f"{setting} hides the GPUs"
    elif found.driver:
        asked = "" if found.visible is None else f" and {setting} asks for one"
        problem = f"TensorFlow lists no GPU; {GUIDE}" if found.gpu_build else "this TensorFlow is built without GPU support"
        reason = f"it fell back to the CPU: an NVIDIA driver is here{asked}, but {problem}"
    elif found.visible is not None:
        reason = f"it fell back to the CPU: {setting} asks for a GPU, but no NVIDIA driver is here"
    else:
        reason = "no GPU here: TensorFlow lists none and there is no NVIDIA driver"
    return Device(CPU, found.cpu, reason)


def settle(chosen: Device, ran: str, cpu: str = "CPU") -> Device:
    """The chosen device, or the CPU if a product placed there `ran` elsewhere (TensorFlow's full device name)."""
    if ran.endswith(_logical(chosen)):
        return chosen
    reason = f"it fell back to the CPU: TensorFlow lists {chosen.name}, but a product ran on {ran}"
    return Device(CPU, cpu, reason)


def _logical(device: Device) -> str:
    """The name for `tf.device`."""
    return device.device.replace("/physical_device", "/device")


def look_around() -> Surroundings:
    """Query TensorFlow, the machine and the environment."""
    with quiet():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = {gpu.name: tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus}
    build = tf.sysconfig.get_build_info()
    return Surroundings(
        gpus=names,
        gpu_build=bool(build.get("is_cuda_build") or build.get("is_rocm_build")),
        driver=Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists() or shutil.which("nvidia-smi") is not None,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        cpu=describe_machine().cpu,
    )


def keras_device() -> Device:
    """The device that Keras runs on, verified by running a matrix product."""
    import tensorflow as tf

    found = look_around()
    chosen = choose(found)
    try:
        with quiet(), on_device(chosen):
            one = tf.ones((2, 2))
            ran = tf.matmul(one, one).device
    except tf.errors.OpError as error:
        ran = f"no device: {first_line(error)}"
    return settle(chosen, ran, found.cpu)


@contextlib.contextmanager
def on_device(device: Device) -> Iterator[None]:
    """Run TensorFlow on this device during the block, with TensorFloat-32 off.

    TF32 keeps 10 of the 23 mantissa bits in GPU products, which would dominate parity errors. The process-wide setting is
    restored afterwards.
    """
    import tensorflow as tf

    experimental = tf.config.experimental
    before = experimental.tensor_float_32_execution_enabled()
    experimental.enable_tensor_float_32_execution(False)
    try:
        with tf.device(_logical(device)):
            yield
    finally:
        experimental.enable_tensor_float_32_execution(before)


def keras_function(
    model: TiedAutoencoder | UntiedAutoencoder, device: Device | None = None, *, code_scale: float | None = None
) -> Keras:
    """A function float32 [n, inputs] → (code, y) that runs the Keras model in batches, on `keras_device()` by default.

    `code_scale`: what the code is rounded to before it is decoded; None: nothing.
    """
    device = keras_device() if device is None else device

    def code_and_output(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if code_scale is None:
            code, y = model.encode_decode(x)
            return code.numpy(), y.numpy()
        code = np.rint(model.encoder(x).numpy() / np.float32(code_scale)) * np.float32(code_scale)
        return code, model.decoder(code).numpy()

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with on_device(device):
            codes, outputs = zip(*(code_and_output(x[start : start + 1000]) for start in range(0, len(x), 1000)), strict=True)
            return np.concatenate(codes), np.concatenate(outputs)

    return run


def coding_function(model: TiedAutoencoder | UntiedAutoencoder, device: Device | None = None) -> Keras:
    """What a model is measured by: a float one that was trained for rate has its code rounded to its step."""
    return keras_function(model, device, code_scale=None if model.quantized else model.code_scale)


def keras_layers(model: TiedAutoencoder, device: Device) -> Layers:
    """Function from model inputs to the outputs of all layers of both halves, computed on `device`."""

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = {}
        with on_device(device):
            values = model.encoder.arranged(x)
            for layer in (*model.encoder.stack, *model.decoder.stack):
                values = layer(values)
                outputs[layer.tensor_name] = values.numpy()
            outputs["y"] = model.decoder.flattened(values).numpy()
        return outputs

    return run
