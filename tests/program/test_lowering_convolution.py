"""Lowering of convolutions: the program computes what the layers do, in floats and, beside roundings, in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.calibration import Representative, quantize_post_training
from tiedae.compress import QuantizeConfig, Scaling, TiedAutoencoder
from tiedae.compress.quantizers import DecoderLayout
from tiedae.program.interpreter import execute
from tiedae.program.lowering import lower
from tiedae.program.operations import Convolution, MaxPool, Patches, Unpatch, Upsample
from tiedae.program.tensors import flat

from ..kinds.convolutions import NETS, SHAPES, samples

X = {name: (samples(name, 40) / np.float32(255)).astype(np.float32) for name in NETS}
OPTIONS: tuple[dict[str, Any], ...] = ({"layout": "split"}, {"layout": "fused"}, {"layout": "split", "granularity": "unit"})


def model_of(name: str) -> TiedAutoencoder:
    """With large and small weights, as trained ones, and statistics and gains that are no ones and zeros."""
    model = TiedAutoencoder(replace(TiedAutoencoder(NETS[name]).config, inputs=SHAPES[name]), seed=1)
    rng = np.random.default_rng(2)
    for kernel in model.kernels:
        kernel.variable.assign(rng.laplace(0, 0.15, kernel.variable.shape))
    for layer in model.stack:
        if layer.bias is not None:
            layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))
        if layer.norm is not None:
            layer.norm.gamma.assign(np.exp(rng.normal(0, 0.3, layer.bias.shape)))
            layer.norm.mean.assign(rng.normal(0, 0.2, layer.bias.shape))
    return model


@pytest.mark.parametrize("layout", ["split", "fused"])
@pytest.mark.parametrize("name", NETS)
def test_a_float_program_computes_what_the_layers_do(name: str, layout: DecoderLayout) -> None:
    model = model_of(name)
    program = lower(model, "p", layout=layout)
    code, y = model.encode_decode(X[name])
    values = execute(program, "reconstruct", X[name])
    np.testing.assert_allclose(flat(values["code"]), flat(code.numpy()), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(flat(values["y"]), flat(y.numpy()), rtol=1e-4, atol=1e-5)
    kinds = {type(operation) for operation in program.operations}
    assert {Patches, Unpatch} <= kinds if name == "tiles" else Convolution in kinds
    assert {MaxPool, Upsample} <= kinds


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_a_program_of_integers_gives_what_the_simulation_gives(name: str, options: dict[str, Any]) -> None:
    model, x = model_of(name), X[name]
    data = Representative(np.arange(len(x)), flat(x), 0, Scaling("byte", 0.0, 255.0), len(x))
    config = QuantizeConfig(method="ptq", refinements=(), granularity=options.get("granularity", "tensor"))
    quantize_post_training(model, data, config, layout=options["layout"])
    program = lower(model, "p", layout=options["layout"])
    code, y = model.encode_decode(x)
    values = execute(program, "reconstruct", program.quantization("x").quantize(x))
    for tensor, simulated, limit in (("code", code.numpy(), 0.05), ("y", y.numpy(), 0.2)):
        quantization = program.quantization(tensor)
        steps = np.abs(quantization.dequantize(flat(values[tensor])) - flat(simulated)) / quantization.scale
        assert np.mean(steps) < limit, f"{tensor}: {np.mean(steps > 0.5):.2%} differ, up to {steps.max():.1f} steps"
