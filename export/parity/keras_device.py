"""Where the Keras original runs: on the GPU where TensorFlow finds one, with TensorFloat-32 off, and never unsaid elsewhere.

A TensorFlow without its CUDA libraries, or built without CUDA, imports on a machine with a GPU and runs on the CPU without an
error. So what was found is held against what should have been. The choice is a function of values; the finding is apart.
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

from ..runtimes.machine import describe_machine
from ..runtimes.native_output import quiet
from ..runtimes.session import first_line
from ..verify.kinds import Kind, Skipped, Why
from ..verify.results import Device
from .reference_outputs import Layers

if TYPE_CHECKING:
    from ...compress.autoencoder import TiedAutoencoder

CPU = "/physical_device:CPU:0"
GUIDE = "pip install 'tensorflow[and-cuda]' brings its libraries"


@dataclass(frozen=True)
class Surroundings:
    """What there is: `gpus` that TensorFlow lists, with their names; whether it is built for GPUs (CUDA or ROCm); whether a
    driver for NVIDIA GPUs is here; CUDA_VISIBLE_DEVICES, None where it is not set; the name of the CPU."""

    gpus: Mapping[str, str] = field(default_factory=dict)
    gpu_build: bool = True
    driver: bool = False
    visible: str | None = None
    cpu: str = "CPU"


def skipped(device: Device) -> tuple[Skipped, ...]:
    """The row where Keras does not run on a GPU."""
    return (Skipped(Kind.DEVICE, Why.UNAVAILABLE, "Keras on a GPU", device.reason),) if device.reason else ()


def choose(found: Surroundings) -> Device:
    """The first GPU that TensorFlow lists; else the CPU, and why."""
    if found.gpus:
        device, name = next(iter(found.gpus.items()))
        return Device(device, name)
    hidden = found.visible is not None and found.visible.strip() in ("", "-1")
    if hidden:
        return Device(CPU, found.cpu, f"CUDA_VISIBLE_DEVICES={found.visible!r} hides the GPUs")
    asked = f" and CUDA_VISIBLE_DEVICES={found.visible!r} asks for one" if found.visible is not None else ""
    if found.driver and not found.gpu_build:
        reason = f"it fell back to the CPU: an NVIDIA driver is here{asked}, but this TensorFlow is built without GPU support"
        return Device(CPU, found.cpu, reason)
    if found.driver:
        reason = f"it fell back to the CPU: an NVIDIA driver is here{asked}, but TensorFlow lists no GPU; {GUIDE}"
        return Device(CPU, found.cpu, reason)
    if asked:
        reason = f"it fell back to the CPU: CUDA_VISIBLE_DEVICES={found.visible!r} asks for a GPU, but no NVIDIA driver is here"
        return Device(CPU, found.cpu, reason)
    return Device(CPU, found.cpu, "no GPU here: TensorFlow lists none and there is no NVIDIA driver")


def settle(chosen: Device, ran: str, cpu: str = "CPU") -> Device:
    """The chosen device, or the CPU where a product that was put there `ran` elsewhere, by TensorFlow's full name of it."""
    if ran.endswith(_logical(chosen)):
        return chosen
    reason = f"it fell back to the CPU: TensorFlow lists {chosen.name}, but a product ran on {ran}"
    return Device(CPU, cpu, reason)


def _logical(device: Device) -> str:
    """The name for `tf.device`."""
    return device.device.replace("/physical_device", "/device")


def look_around() -> Surroundings:
    """What TensorFlow, the machine and the environment say here and now."""
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
    """The device that Keras runs on here: where one product really ran, not only what is listed."""
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
    """Run what TensorFlow does in the block on this device, with TensorFloat-32 off.

    TF32 keeps 10 bits of a float32's 23 in products on a GPU: with it, a parity figure would be the GPU's. The setting is the
    process's, and is as it was afterwards.
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


def keras_layers(model: TiedAutoencoder, device: Device) -> Layers:
    """The layers of both halves in order, each fed with what the one before it gave; on `device`, for one batch of samples."""
    from ...compress.layers import interleaved

    inputs, groups = model.config.inputs, model.config.interleave

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = {}
        with on_device(device):
            values = interleaved(x, groups)
            for layer in (*model.encoder.stack, *model.decoder.stack):
                values = layer(values)
                outputs[layer.tensor_name] = values.numpy()
            outputs["y"] = interleaved(values, inputs // groups).numpy()
        return outputs

    return run
