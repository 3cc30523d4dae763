"""Lowering: what was trained is what is exported."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from tiedae.calibration import Representative, quantize_post_training
from tiedae.compress import ExportError, LayerConfig, ModelConfig, QuantizeConfig, Scaling, TiedAutoencoder
from tiedae.compress.affine import BYTE, SIGMOID_OUTPUT, Quantization
from tiedae.program.arithmetic import activation_table
from tiedae.program.construction import Lowering
from tiedae.program.interpreter import execute
from tiedae.program.lowering import LOWERINGS, interleaved_parts, lower, operations_of
from tiedae.program.operations import Activate, AddBias, Dense, Interleave, Product, Rescale

from .test_interpreter import tables_in_float32

BYTES = np.random.default_rng(0).integers(0, 256, (200, 24)).astype(np.uint8)

BYTES_BY_255 = Scaling("byte", 0.0, 255.0)


def quantized(
    activation: str,
    output: str,
    *,
    granularity: str = "tensor",
    form: str = "split",
    use_bias: bool = True,
    byte_data: bool = True,
    interleave: int = 1,
    code: int = 5,
    batch_norm: bool = False,
    **bits: object,
) -> TiedAutoencoder:
    sizes = ((12, activation), (code, "linear"))
    layers = tuple(LayerConfig(units, function, use_bias, batch_norm=batch_norm) for units, function in sizes)
    model = TiedAutoencoder(ModelConfig(layers, output, 24, interleave), seed=1)
    rng = np.random.default_rng(2)
    for kernel in model.kernels:  # with few large weights, as trained ones
        kernel.variable.assign(rng.laplace(0, 0.2, kernel.variable.shape))
    for layer in model.stack:
        if layer.bias is not None:
            layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))
        if layer.norm is not None:
            layer.norm.gamma.assign(np.exp(rng.normal(0, 0.5, layer.bias.shape)))
            layer.norm.mean.assign(rng.normal(0, 0.2, layer.bias.shape))
    x = (BYTES / np.float32(255)).astype(np.float32)
    data = Representative(np.arange(len(x)), x, 0, BYTES_BY_255 if byte_data else Scaling(), len(x))
    config = QuantizeConfig(method="ptq", refinements=(), granularity=granularity, **bits)  # type: ignore[arg-type]
    quantize_post_training(model, data, config, layout=form)
    return model


ACTIVATIONS, OUTPUTS = ("linear", "relu", "relu6", "tanh", "sigmoid"), ("linear", "relu", "sigmoid", "tanh")
OPTIONS: tuple[dict[str, Any], ...] = (
    {"granularity": "unit"},
    {"form": "fused"},
    {"form": "fused", "granularity": "unit"},
    {"use_bias": False},
    {"byte_data": False},
    {"bits": (4, 8), "code_bits": 6},
    {"interleave": 4},
    {"interleave": 3, "form": "fused"},
    {"interleave": 24},
    {"batch_norm": True},
    {"batch_norm": True, "form": "fused"},
    {"batch_norm": True, "granularity": "unit"},
)


@pytest.mark.parametrize(
    ("activation", "output", "options"),
    [
        *((activation, output, {}) for activation in ACTIVATIONS for output in OUTPUTS),
        *(
            (activation, OUTPUTS[(i + j) % len(OUTPUTS)], options)
            for i, options in enumerate(OPTIONS)
            for j, activation in enumerate(ACTIVATIONS)
        ),
    ],
    ids=str,
)
def test_the_program_gives_what_the_simulation_gives(activation: str, output: str, options: dict) -> None:
    """Up to the 32-bit rounding of encoder biases, which flips a code now and then, and what follows from that."""
    model = quantized(activation, output, **options)
    program = lower(model, "p", layout=options.get("form", "split"))
    x = (BYTES / np.float32(255)).astype(np.float32)
    code, y = model.encode_decode(x)
    values = execute(program, "reconstruct", program.tensors["x"].quantization.quantize(x))
    for name, simulated, limit in (("code", code.numpy(), 0.01), ("y", y.numpy(), 0.1)):
        quantization = program.tensors[name].quantization
        steps = np.abs(quantization.dequantize(values[name]) - simulated) / quantization.scale
        assert np.mean(steps) < limit, f"{name}: {np.mean(steps > 0.5):.2%} differ, up to {steps.max():.1f} steps"


@pytest.mark.parametrize("form", ["split", "fused"])
def test_a_range_whose_table_has_a_tie_gets_another_scale(form: str) -> None:
    model, scale = quantized("relu", "sigmoid", form=form, byte_data=False), 0.018721677
    assert model.quantizers is not None
    for end, q in (("min_var", 0), ("max_var", 255)):
        model.quantizers.range_variables["y.linear"][end].assign((q - 92) * scale)
    own = Quantization.from_range(*model.quantizers.ranges()["y.linear"])
    assert any(
        (table != activation_table("sigmoid", own, SIGMOID_OUTPUT)).any()
        for table in tables_in_float32("sigmoid", own, SIGMOID_OUTPUT)
    )
    lowered = lower(model, "p", layout=form).quantization("y.linear")
    assert lowered.zero_point == own.zero_point and 0 < abs(lowered.scale / own.scale - 1) < 1e-4
    for table in tables_in_float32("sigmoid", lowered, SIGMOID_OUTPUT):
        np.testing.assert_array_equal(table, activation_table("sigmoid", lowered, SIGMOID_OUTPUT))


def test_a_table_whose_input_an_8_bit_bias_coarsens_stays_clear_of_ties() -> None:
    """The scale of the sum is a 128th of the bias's, at least: here one whose table has a tie, of a range ten times as wide."""
    model, scale = quantized("relu", "sigmoid", byte_data=False), float(np.float32(0.018721677))
    assert model.quantizers is not None
    for name, step in (("y.linear", scale / 10), ("y.bias", scale * 128)):
        for end, q in (("min_var", 0), ("max_var", 255)):
            model.quantizers.range_variables[name][end].assign((q - 92) * step)
    tie = Quantization(scale, 92)
    program = lower(model, "p", layout="split")
    (bias,) = [each.quantization for each in program.decoder if isinstance(each, AddBias) and each.y == "y.linear"]
    lowered = program.quantization("y.linear")
    assert bias is not None and bias.scale == pytest.approx(128 * scale, rel=1e-6) and lowered.zero_point == tie.zero_point
    assert bias.scale / 128 <= lowered.scale < scale * 1.0001
    for table in tables_in_float32("sigmoid", lowered, SIGMOID_OUTPUT):
        np.testing.assert_array_equal(table, activation_table("sigmoid", lowered, SIGMOID_OUTPUT))


def test_kernels_and_code_keep_to_their_bits() -> None:
    program = lower(quantized("relu", "sigmoid", bits=(4, 6), code_bits=5), "p", layout="fused")
    assert [kernel.bits for kernel in program.kernels.values()] == [4, 6]
    for name, (low, high) in {"kernel_0": (-8, 7), "kernel_1": (-32, 31)}.items():
        assert low <= program.constants[name].min() and high in (program.constants[name].max(), -program.constants[name].min())
    code = program.tensors["code"].quantization
    assert code.bits == 5 and execute(program, "encode", BYTES)["code"].max() == code.top == 31


@pytest.mark.parametrize(("ways", "found"), [(1, 1), (4, 4), (24, 1)])
def test_a_program_says_how_its_inputs_are_interleaved(ways: int, found: int) -> None:
    program = lower(quantized("relu", "sigmoid", interleave=ways), "p", layout="split")
    assert interleaved_parts(program) == found
    assert [operation for operation in program.operations if isinstance(operation, Interleave)] == (
        [Interleave("x", "x.interleaved", 4), Interleave("y.raw.interleaved", "y.raw", 6)] if found > 1 else []
    )


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_kernels_encoder_and_codes_are_the_same_in_both_forms(granularity: str) -> None:
    model = quantized("relu", "sigmoid", granularity=granularity)
    split, fused = lower(model, "p", layout="split"), lower(model, "p", layout="fused")
    assert split.encoder == fused.encoder and split.kernels == fused.kernels
    assert split.tensors["code"] == fused.tensors["code"]
    for name in split.kernels:
        np.testing.assert_array_equal(split.constants[name], fused.constants[name])
    assert any(isinstance(op, Product) for op in split.decoder) and not any(isinstance(op, Product) for op in fused.decoder)
    assert any(isinstance(op, Rescale) for op in split.decoder) == (granularity == "unit")


def test_bytes_come_out_as_bytes_and_floats_on_the_activations_own_grid() -> None:
    assert lower(quantized("relu", "sigmoid"), "p", layout="split").tensors["y"].quantization == BYTE
    assert lower(quantized("relu", "sigmoid"), "p", layout="split").tensors["y.raw"].quantization == SIGMOID_OUTPUT
    assert lower(quantized("relu", "sigmoid", byte_data=False), "p", layout="split").tensors["y"].quantization == SIGMOID_OUTPUT


def test_a_float_model_lowers_to_what_keras_computes() -> None:
    model = TiedAutoencoder(ModelConfig((LayerConfig(12, "tanh"), LayerConfig(5)), "sigmoid", 24))
    x = (BYTES / np.float32(255)).astype(np.float32)
    for form in ("split", "fused"):
        values = execute(lower(model, "p", layout=form), "reconstruct", x)
        np.testing.assert_allclose(values["y"], model(x), atol=1e-6)


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    model = quantized("relu", "sigmoid")
    model.encoder.stack[0].bias.assign(np.full(12, 1e6, np.float32))
    with pytest.raises(ExportError, match="layer encoder_0: 24 products and the bias can overflow a 32-bit accumulator"):
        lower(model, "p", layout="split")


def test_a_channel_of_next_to_no_gain_is_its_bias() -> None:
    model = quantized("relu", "sigmoid", form="fused", batch_norm=True)
    norm = model.encoder.stack[0].norm
    gamma = norm.gamma.numpy()
    gamma[3] = 1e-12
    norm.gamma.assign(gamma)
    program = lower(model, "p", layout="fused")
    dense = program.encoder[0]
    assert isinstance(dense, Dense)
    room = 2**31 - 1 - 24 * 255 * 127
    assert 0.99 * room < abs(program.constants[dense.bias][3]) <= room and (np.abs(program.constants[dense.bias]) <= room).all()
    np.testing.assert_array_equal(np.delete(program.constants[dense.gains], 3), np.delete(model.encoder.stack[0].gains, 3))
    code, _ = model.encode_decode((BYTES / np.float32(255)).astype(np.float32))
    quantization = program.tensors["code"].quantization
    got = quantization.dequantize(execute(program, "encode", BYTES)["code"])
    assert np.abs(got - code.numpy()).mean() < 0.02 * quantization.scale


@pytest.mark.parametrize(("part", "index", "name", "terms"), [("encoder", 0, "encoder_0", 24), ("decoder", 1, "y", 12)])
def test_an_accumulator_may_be_as_large_as_32_bits_hold(
    monkeypatch: pytest.MonkeyPatch, part: str, index: int, name: str, terms: int
) -> None:
    model = quantized("relu", "linear", form="fused")
    layer, program = getattr(model, part).stack[index], lower(model, "p", layout="fused")
    source = program.quantization("x" if part == "encoder" else "decoder_1").scale
    step = np.float64(np.float32(source) * np.float32(program.kernels["kernel_0"].decode_scales[0]))
    room, size = 2**31 - 1 - terms * 255 * 127, program.tensors[name].shape[0]
    for steps in (room, -room):
        monkeypatch.setattr(layer, "bias", SimpleNamespace(numpy=lambda steps=steps: np.full(size, steps * step)))
        assert (lower(model, "p", layout="fused").constants[f"{name}.bias"] == steps).all()
    monkeypatch.setattr(layer, "bias", SimpleNamespace(numpy=lambda: np.full(size, (room + 1) * step)))
    with pytest.raises(ExportError, match=f"layer {name}: {terms} products and the bias can overflow a 32-bit accumulator"):
        lower(model, "p", layout="fused")


@pytest.mark.parametrize(
    ("wide", "scales"),
    [
        ("decoder_1.product", {"decoder_1": 2.0**-7}),
        ("decoder_1.bias", {"decoder_1": 2.0**-7, "decoder_1.product": 2.0**-16}),
        ("decoder_1", {"decoder_1.product": 2.0**-9, "decoder_1.bias": 2.0**-9}),
    ],
)
def test_scales_of_a_sum_and_its_terms_keep_to_the_ratios_of_an_addition(wide: str, scales: dict[str, float]) -> None:
    model = quantized("relu", "sigmoid")
    model.quantizers.range_variables[wide]["min_var"].assign(0)
    model.quantizers.range_variables[wide]["max_var"].assign(1e9)
    program = lower(model, "p", layout="split")
    (sum_,) = (operation for operation in program.decoder if isinstance(operation, AddBias) and operation.y == "decoder_1")
    got = {"decoder_1.bias": sum_.quantization.scale} | {name: program.quantization(name).scale for name in (sum_.x, sum_.y)}
    assert got[wide] == np.float32(1e9 / 255)
    assert {name: got[name] / got[wide] for name in scales} == scales


@pytest.mark.parametrize(
    ("activation", "whole", "operations"),
    [("relu", True, [Product]), ("relu", False, [Product, Activate]), ("linear", False, [Product])],
)
def test_a_product_without_bias_is_its_own_activation_where_integers_saturate(
    activation: str, whole: bool, operations: list[type]
) -> None:
    layers = (LayerConfig(12, activation, False), LayerConfig(5, "linear", False))
    model = quantized(activation, "linear", use_bias=False) if whole else TiedAutoencoder(ModelConfig(layers, "linear", 24))
    found = [type(each) for each in lower(model, "p", layout="split").decoder]
    assert found == [*operations, Product]


@pytest.mark.parametrize("share", [1 / 255, 1e-3])
def test_the_factor_of_a_unit_of_small_scale_is_one(share: float) -> None:
    model = quantized("relu", "sigmoid", granularity="unit")
    for kernel in model.kernels:
        kernel.largest.assign(np.where(np.arange(kernel.units) == 0, share, 1))
    program = lower(model, "p", layout="split")
    assert [program.constants[f"{name}.factors"].min() for name in ("decoder_1", "y")] == [1, 1]


def test_a_model_that_is_quantized_in_part_is_refused() -> None:
    """It was lowered to float kernels of full precision, which the model does not compute with."""
    model = TiedAutoencoder(ModelConfig((LayerConfig(5),), "sigmoid", 24))
    model.quantize_kernels("tensor", (4,))
    with pytest.raises(ExportError, match="quantized kernels but float activations, must have both quantized or both float"):
        lower(model, "p", layout="split")


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
@pytest.mark.parametrize("byte_data", [True, False])
def test_a_model_trained_for_one_layout_lowers_to_the_other(output: str, byte_data: bool) -> None:
    """Ranges for both are kept: layouts round at other places, and mean the same."""
    x = (BYTES / np.float32(255)).astype(np.float32)
    for form, other in (("split", "fused"), ("fused", "split")):
        model = quantized("relu", output, form=form, byte_data=byte_data)
        program = lower(model, "p", layout=other)
        y = program.quantization("y")
        values = execute(program, "reconstruct", program.quantization("x").quantize(x))["y"]
        assert np.abs(y.dequantize(values) - model(x).numpy()).mean() < y.scale


def test_every_dense_reads_the_one_kernel() -> None:
    program = lower(quantized("relu", "sigmoid"), "p", layout="fused")
    dense = [op for op in program.operations if isinstance(op, Dense)]
    assert [op.kernel for op in dense] == ["kernel_0", "kernel_1", "kernel_1", "kernel_0"]
    assert sum(values.ndim == 2 for values in program.constants.values()) == 2


def test_a_dead_decoder_layer_still_runs_everywhere() -> None:
    """Its output is all zeros; a vanishing scale would leave the ratios that int8 additions can express."""
    from tiedae.export.tflite.writer import to_tflite

    from ..runtimes.opening import open_tflite

    layers = (LayerConfig(12, "relu"), LayerConfig(5))
    model = TiedAutoencoder(ModelConfig(layers, "sigmoid", 24), seed=1)
    model.decoder.stack[0].bias.assign(np.full(12, -50, np.float32))
    x = (BYTES / np.float32(255)).astype(np.float32)
    data = Representative(np.arange(len(x)), x, 0, BYTES_BY_255, len(x))
    quantize_post_training(model, data, QuantizeConfig(method="ptq"))
    program = lower(model, "p", layout="split")
    expected = execute(program, "reconstruct", BYTES)
    assert not expected["decoder_1"].any()
    for runtime in ("litert-xnnpack", "litert-reference", "litert-builtin"):
        got = open_tflite(runtime, to_tflite(program)).run("reconstruct", BYTES)
        assert np.abs(got["y"].astype(int) - expected["y"]).max() <= 2


def test_a_kernel_that_breaks_its_pair_rule_does_not_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    model = quantized("relu", "sigmoid")
    assert lower(model, "p", layout="fused").exceeding_pairs == {}
    monkeypatch.setattr(model.kernels[1], "integers", lambda: np.full((12, 5), 127, np.int8))
    with pytest.raises(ExportError, match="kernel_1: 54 pairs of neighbours add to more than 128"):
        lower(model, "p", layout="fused")


@pytest.mark.parametrize("code", [1, 2, 5])
def test_the_decoder_brings_the_scales_of_two_units_or_more(code: int) -> None:
    program = lower(quantized("relu", "linear", granularity="unit", code=code), "p", layout="fused")
    rescaled = [operation.x for operation in program.decoder if isinstance(operation, Rescale)]
    assert rescaled == ["code", "decoder_1"][code == 1 :]


def test_importing_it_loads_no_tensorflow() -> None:
    code = "import sys, tiedae.program.lowering; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def float_lowering() -> Lowering:
    return Lowering(TiedAutoencoder(ModelConfig((LayerConfig(12), LayerConfig(5)), "linear", 24), seed=1), "fused")


def test_a_float_program_has_no_scales() -> None:
    lowering = float_lowering()
    x = lowering.tensor("x", (2, 24))
    assert (lowering.scale(x), lowering.accumulator_step(lowering.model.encoder.stack[0], x)) == (0.0, 0.0)
    assert (lowering.rows(x, 7), lowering.rows(lowering.tensor("z", (2, 3, 4)), 7)) == ((2, 7), (2, 3, 7))


@pytest.mark.parametrize("function", ["relu", None])
def test_rows_are_put_back_before_what_follows_them(function: str | None) -> None:
    """A layer that computes rows [4], restored to [2, 2]: after its linear output, before its activation and what is behind."""
    lowering, layer = float_lowering(), SimpleNamespace(tensor_name="d", shape=(2, 2))
    linear = "d.linear" if function else "d"
    for name in ("before", linear, *(["d"] * bool(function)), "last"):
        lowering.tensor(name, (4,))
    rest = [Activate("d.linear", "d", "relu")] * bool(function)
    operations = [Activate("x", "before", "relu"), Activate("before", linear, "relu"), *rest, Activate("d", "last", "relu")]
    found = lowering.restored(layer, list(operations), lambda rows, y: Interleave(rows, y, 2))  # type: ignore[arg-type]
    rows = f"{linear}.rows"
    moved = [Activate("before", rows, "relu"), Interleave(rows, linear, 2)]
    assert found == [operations[0], *moved, *operations[2:]]
    shapes = {name: tensor.shape for name, tensor in lowering.tensors.items()}
    assert shapes == {"before": (4,), rows: (4,)} | dict.fromkeys([linear, "d", "last"], (2, 2))


def test_a_kind_of_layer_without_a_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiedae.program.lowering.LOWERINGS", {"other": LOWERINGS["dense"]})
    with pytest.raises(ExportError, match=r"layers of kind dense have no lowering, must be one of other$"):
        lower(quantized("relu", "linear"), "p", layout="fused")


def test_a_code_on_a_grid_of_its_own_keeps_it_or_is_refused() -> None:
    model = quantized("relu", "linear", code_scale=0.25)
    assert lower(model, "p", layout="fused").quantization("code").scale == 0.25
    lowering = Lowering(model, "fused")
    operations_of(lowering)
    finest = float(np.float32(lowering.accumulator_step(model.encoder.stack[1], "encoder_0")))
    assert model.quantizers is not None
    for scale in (finest, finest / 2):
        model.quantizers.spec = structs.replace(model.quantizers.spec, code_scale=scale)
        if scale == finest:
            assert lower(model, "p", layout="fused").quantization("code").scale == scale
        else:
            with pytest.raises(ExportError, match=r"code_scale: got \S+, must be \S+ or more for this model"):
                lower(model, "p", layout="fused")
