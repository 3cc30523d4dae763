"""Where Keras runs is a choice of values; that it was so is looked at on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.results import Device, read_metrics
from tiedae.export.kinds import Kind, Why
from tiedae.verify.parity.keras_device import CPU, Surroundings, choose, keras_device, look_around, on_device, settle, skipped

GPU = "/physical_device:GPU:0"

CHOICES: dict[str, tuple[Surroundings, str, str, bool]] = {
    "a GPU": (Surroundings({GPU: "NVIDIA H100"}, driver=True), "NVIDIA H100", "", False),
    "the first of two": (Surroundings({GPU: "first", "/physical_device:GPU:1": "second"}, driver=True), "first", "", False),
    "one that was picked": (Surroundings({GPU: "picked"}, driver=True, visible="1"), "picked", "", False),
    "without NVIDIA": (Surroundings({GPU: "AMD Instinct"}), "AMD Instinct", "", False),
    "nothing": (Surroundings(), "CPU", "no GPU here", False),
    "hidden": (Surroundings(driver=True, visible=""), "CPU", "CUDA_VISIBLE_DEVICES='' hides the GPUs", False),
    "hidden by a number": (Surroundings(driver=True, visible="-1"), "CPU", "CUDA_VISIBLE_DEVICES='-1' hides the GPUs", False),
    "a build for CPUs": (Surroundings(gpu_build=False, driver=True), "CPU", "TensorFlow is built without GPU support", True),
    "libraries missing": (Surroundings(driver=True), "CPU", "TensorFlow lists no GPU; pip install", True),
    "asked for": (Surroundings(driver=True, visible="0"), "CPU", "CUDA_VISIBLE_DEVICES='0' asks for one, but TensorFlow", True),
    "asked for in vain": (Surroundings(visible="0"), "CPU", "asks for a GPU, but no NVIDIA driver is here", True),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_choice_follows_from_what_was_found(case: str) -> None:
    found, name, reason, fell = CHOICES[case]
    device = choose(found)
    assert (device.name, device.tf32) == (name, False)
    assert reason in device.reason and bool(device.reason) == (device.device == CPU)
    assert device.reason.startswith("it fell back to the CPU") == fell
    rows = skipped(device)
    assert [row.reason for row in rows] == [device.reason] * bool(reason)
    assert all((row.kind, row.why) == (Kind.DEVICE, Why.UNAVAILABLE) for row in rows)


@pytest.mark.parametrize(
    ("ran", "stays"),
    [
        ("/job:localhost/replica:0/task:0/device:GPU:0", True),
        ("/job:localhost/replica:0/task:0/device:CPU:0", False),
        ("/job:localhost/replica:0/task:0/device:GPU:1", False),
        ("no device: libcublas was not found", False),
    ],
)
def test_a_gpu_that_is_listed_but_does_not_run_is_a_fall(ran: str, stays: bool) -> None:
    chosen = Device(GPU, "NVIDIA H100")
    device = settle(chosen, ran, "EPYC")
    assert (device == chosen) == stays
    fell = f"it fell back to the CPU: TensorFlow lists NVIDIA H100, but a product ran on {ran}"
    assert stays or device == Device(CPU, "EPYC", fell, tf32=False)


def test_the_device_of_this_machine_is_the_one_that_ran() -> None:
    import tensorflow as tf

    device = keras_device()
    assert device.device == (GPU if tf.config.list_physical_devices("GPU") else CPU)
    assert device.name and (device.reason or device.device == GPU)
    assert look_around().gpu_build == tf.sysconfig.get_build_info()["is_cuda_build"]


def test_tf32_is_off_inside_and_as_it_was_outside() -> None:
    import tensorflow as tf

    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    assert enabled()
    with pytest.raises(ZeroDivisionError), on_device(keras_device()):
        assert not enabled()
        assert tf.ones((2, 2)).device.endswith(keras_device().device.split("_")[1].removeprefix("device"))
        _ = 1 / 0
    assert enabled()


def test_a_model_runs_there_in_exact_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder
    from tiedae.verify.parity.keras_device import keras_function

    model = TiedAutoencoder(ModelConfig((LayerConfig(5, "relu"), LayerConfig(3)), inputs=8))
    x = np.random.default_rng(0).normal(size=(1003, 8)).astype(np.float32)
    seen = []
    inner = model.encode_decode

    def watched(batch: np.ndarray) -> object:
        seen.append(tf.config.experimental.tensor_float_32_execution_enabled())
        return inner(batch)

    monkeypatch.setattr(model, "encode_decode", watched)
    code, y = keras_function(model)(x)
    assert code.shape == (1003, 3) and y.shape == (1003, 8) and code.dtype == y.dtype == np.float32
    assert seen == [False, False]
    expected = [np.asarray(each) for each in inner(x)]
    np.testing.assert_allclose(code, expected[0], atol=1e-6)
    np.testing.assert_allclose(y, expected[1], atol=1e-6)


@pytest.mark.ci
def test_a_run_and_a_verification_with_the_model_name_the_device(finished_run: Path, recipe_file: Path) -> None:
    from tiedae.cli.verification import verify

    stated = read_metrics(finished_run / "bundle" / "metrics.json")
    metrics = verify(finished_run / "bundle", model=finished_run / "model", data=None, announce=lambda _text: None)
    assert stated.keras == metrics.keras == keras_device()
    for found in (stated, metrics):
        assert tuple(row for row in found.skipped if row.kind is Kind.DEVICE) == skipped(keras_device())
