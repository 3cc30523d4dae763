"""The calibration as a file: what it says survives, what is not one is told, and it belongs to one model and one scaling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.calibration import (
    OBSERVERS,
    Calibration,
    Representative,
    calibrate,
    quantize_post_training,
    read_calibration,
    representative,
    write_calibration,
)
from tiedae.compress import LayerConfig, ModelConfig, QuantizeConfig, RecipeError, Samples, Scaling, TiedAutoencoder

SCALING = Scaling("byte", 0.0, 255.0)


def tiny(units: int = 8, activation: str = "relu", output: str = "sigmoid", seed: int = 2, ways: int = 1) -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig((LayerConfig(units, activation), LayerConfig(3)), output, 6, ways), seed=seed)


@pytest.fixture(scope="module")
def data() -> Representative:
    samples = Samples(np.random.default_rng(0).integers(0, 256, (200, 6)).astype(np.uint8), scaling=SCALING)
    return representative(samples, 150)


@pytest.fixture(scope="module")
def calibration(data: Representative) -> Calibration:
    model = tiny()
    model.quantize_kernels("tensor")
    return calibrate(model, data, "mse")


def test_a_file_holds_all_of_a_calibration(calibration: Calibration, data: Representative, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, calibration)
    again = read_calibration(path)
    assert again.to_json() == calibration.to_json() and again.sha256 == calibration.sha256
    assert again.ranges == calibration.ranges and again.model == calibration.model
    assert (again.observer, again.settings, again.samples) == ("mse", {"bins": 8192}, 150)
    assert (again.seed, again.data.sha256, again.data.scaling) == (0, data.sha256, SCALING)
    assert again.tensors["encoder_0"].values == 150 * 8 == again.tensors["encoder_0"].histogram.total
    assert again.tensors["y.linear"].window == (-6.5, 6.5)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_the_same_calibration_is_the_same_bytes(data: Representative, observer: str) -> None:
    first, second = (calibrate(tiny(), data, observer) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_a_calibration_gives_the_model_that_calibrating_gives(data: Representative) -> None:
    direct, reused = tiny(), tiny()
    config = QuantizeConfig(method="ptq", observer="kl", refinements=())
    made = quantize_post_training(direct, data, config)
    assert made.observer == "kl"
    text = Calibration.from_json(made.to_json())
    assert quantize_post_training(reused, data, QuantizeConfig(method="ptq", refinements=()), calibration=text) is text
    for name, variable in direct.state().items():
        np.testing.assert_array_equal(variable, reused.state()[name], err_msg=name)


@pytest.mark.parametrize("method", ["ptq", "qat"])
def test_both_methods_have_one_observer(data: Representative, method: str) -> None:
    assert quantize_post_training(tiny(), data, QuantizeConfig(method=method, refinements=())).observer == "minmax"


def test_fewer_bits_of_a_tensor_get_a_range_of_their_own(data: Representative) -> None:
    eight, four = calibrate(tiny(), data, "mse"), calibrate(tiny(), data, "mse", bits={"code": 4})
    assert four.tensors["code"].bits == 4
    assert four.ranges["code"][1] - four.ranges["code"][0] < eight.ranges["code"][1] - eight.ranges["code"][0]
    assert {**four.ranges, "code": 0} == {**eight.ranges, "code": 0}


@pytest.mark.parametrize(
    ("model", "config", "text"),
    [
        (lambda: tiny(units=9), {}, "calibration: of a model of widths 6, 8, 3, must be 6, 9, 3"),
        (lambda: tiny(activation="tanh"), {}, "of a model of activations relu, linear, must be tanh, linear"),
        (lambda: tiny(output="linear"), {}, "of a model of output activation sigmoid, must be linear"),
        (lambda: tiny(ways=2), {}, "of a model of interleave 1, must be 2"),
        (lambda: tiny(seed=5), {}, "of another model of the same shape, the values of kernel_0 differ"),
        (lambda: biased(tiny()), {}, "of another model of the same shape, the values of y differ"),
        (tiny, {"granularity": "unit"}, "of kernels quantized per tensor, must be per unit"),
        (tiny, {"bits": (4,)}, "of kernels of 8, 8 bits, must be 4, 4"),
        (tiny, {"code_bits": 6}, "calibration: code of 8 bits, must be 6"),
    ],
)
def test_a_calibration_of_another_model_is_refused(
    calibration: Calibration, data: Representative, model: Callable[[], TiedAutoencoder], config: dict, text: str
) -> None:
    refused = model()
    before = weights(refused)
    with pytest.raises(InputError, match=text):
        quantize_post_training(refused, data, QuantizeConfig(**config), calibration=calibration)
    assert not refused.quantized and weights(refused) == before


def weights(model: TiedAutoencoder) -> dict[str, bytes]:
    return {name: variable.numpy().tobytes() for name, variable in model.state().items()}


def biased(model: TiedAutoencoder) -> TiedAutoencoder:
    model.decoder.stack[-1].bias.assign(np.ones(6))
    return model


def test_a_calibration_on_other_scaling_is_refused(calibration: Calibration, data: Representative) -> None:
    refused, other = tiny(), Representative(data.indices, data.inputs, 0, Scaling("minmax", 1.0, 2.0), len(data.inputs))
    with pytest.raises(InputError, match=r"calibration: on data scaled by byte \(− 0\) / 255, must be minmax \(− 1\) / 2"):
        quantize_post_training(refused, other, QuantizeConfig(), calibration=calibration)
    assert not refused.quantized


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (np.full((20, 6), 0.5), "calibration data: all 20 samples are equal; must vary"),
        (np.eye(7, 6), "calibration data: 7 samples, must be 8 or more"),
        (np.eye(20, 7), r"calibration data: shape \[20, 7\], must be \[samples, 6\] as the model takes them"),
        (np.zeros((20, 6, 1)), r"calibration data: shape \[20, 6, 1\], must be"),
        (np.where(np.eye(20, 6) > 0, np.nan, 1), "calibration data: sample 0, value 0 is nan, must be finite"),
        (np.where(np.eye(20, 6) > 0, -np.inf, 1), "calibration data: sample 0, value 0 is -inf, must be finite"),
    ],
)
def test_data_that_no_range_follows_from_are_refused(inputs: np.ndarray, text: str) -> None:
    with pytest.raises(DataError, match=text):
        calibrate(tiny(), Representative(np.arange(len(inputs)), inputs.astype(np.float32), 0, Scaling(), len(inputs)))


def test_a_tensor_that_is_not_finite_is_named(data: Representative) -> None:
    model = tiny()
    model.encoder.stack[-1].bias.assign([0, np.inf, 0])
    with pytest.raises(DataError, match="calibration: code: value 1 is inf, must be finite in float32"):
        calibrate(model, data)


def test_an_unknown_observer_is_told(data: Representative) -> None:
    with pytest.raises(RecipeError, match="observer: got 'median', must be one of minmax, moving-average, percentile, mse, kl"):
        calibrate(tiny(), data, "median")


def changed(change: Callable[[dict], object]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        written = json.loads(text)
        change(written)
        return json.dumps(written)

    return apply


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda text: text[: len(text) // 2], "damaged: "),
        (lambda text: "{}", "not a calibration of tiedae"),
        (lambda text: "[" * 100_000, "damaged: "),
        (lambda text: text.replace('"values":1200', '"values":NaN'), r"damaged: not JSON \(JSON is malformed"),
        (changed(lambda c: c.update(schema=2)), "schema 2, this tiedae reads schema 1"),
        (changed(lambda c: c.pop("model")), "damaged: model: is missing, must be a table of widths"),
        (changed(lambda c: c["model"].pop("widths")), "damaged: model.widths: is missing, must be a list"),
        (changed(lambda c: c["model"].update(depth=3)), "damaged: model.depth: unknown key"),
        (
            changed(lambda c: c["tensors"]["code"].update(range=[1, -1])),
            r"damaged: tensors.code.range: got \(1.0, -1.0\), must be \(low, high\)",
        ),
        (changed(lambda c: c["tensors"]["code"].update(bits=40)), "damaged: tensors.code.bits: got 40, must be in 2…16"),
        (
            changed(lambda c: c["tensors"]["code"]["histogram"].update(bins=500)),
            "damaged: tensors.code.histogram.bins: got 500, must be a power of two",
        ),
        (
            changed(lambda c: c["tensors"]["code"]["histogram"]["counts"].append(-1)),
            r"damaged: tensors.code.histogram.counts\[[0-9]+\]: got -1, must be an integer",
        ),
        (changed(lambda c: c.update(tensors=[])), r"damaged: tensors: got \[\], must be a table"),
        (changed(lambda c: c["tensors"]["code"].pop("histogram")), "damaged: tensors.code.histogram: is missing"),
        (
            changed(lambda c: c["model"]["kernels"].update(kernel_0=3)),
            "damaged: model.kernels.kernel_0: got 3, must be a string",
        ),
        (changed(lambda c: c.update(observer="median")), "damaged: observer: got 'median', must be one of"),
        (
            changed(lambda c: c["data"].update(scaling={"rule": "byte"})),
            r"damaged: data.scaling.offset and scale: got \(0.0, 1.0\), must be \(0.0, 255.0\) with rule byte",
        ),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(
    calibration: Calibration, tmp_path: Path, damage: Callable[[str], str], text: str
) -> None:
    path = tmp_path / "c.json"
    path.write_text(damage(calibration.to_json()), encoding="utf-8")
    with pytest.raises(FormatError, match=rf"c\.json: {text}") as raised:
        read_calibration(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"c\.json: no such calibration; `tiedae calibrate` makes one"):
        read_calibration(tmp_path / "c.json")
    with pytest.raises(FormatError, match="is a folder, must be a regular file"):
        read_calibration(tmp_path)


def test_an_image_is_no_calibration(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match=r"c\.json: damaged"):
        read_calibration(path)
