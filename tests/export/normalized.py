"""Random models with batch normalization, and where their files differ from Keras and from their programs.

`benchmarks/batchnorm.py` counts both over many models, the tests here over a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.calibration import Representative, quantize_post_training
from tiedae.compress import LayerConfig, ModelConfig, QuantizeConfig, TiedAutoencoder
from tiedae.config.scaling import Scaling
from tiedae.export import execute, lower, to_onnx, to_tflite
from tiedae.export.c.source import to_c
from tiedae.pipeline.importing import exactly
from tiedae.program.interpreter import bounds, program_input
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES

ACTIVATIONS = ("relu", "linear", "relu6", "sigmoid", "tanh")
LAYOUTS = ("split", "fused", "view")
SAMPLES = 64
OPERATION_LSB = 1
"""`operation_max_lsb` of [verify]."""


def random_model(seed: int) -> tuple[TiedAutoencoder, np.ndarray]:
    """A float model with gains that differ by an order of magnitude, statistics near those of samples as training leaves them,
    and the samples, float32 [SAMPLES, inputs].

    Units of a sigmoid are normalized: what random others give hardly differs, and sums of it cancel in any float32.
    """
    rng = np.random.default_rng(seed)
    inputs, count = int(rng.integers(5, 200)), int(rng.integers(1, 4))
    normalized = rng.random(count) < 0.7
    normalized[rng.integers(count)] = True
    activations = rng.choice(ACTIVATIONS, count)
    normalized |= activations == "sigmoid"
    layers = [
        LayerConfig(int(rng.integers(3, 100)), str(activation), bool(rng.random() < 0.8), batch_norm=bool(norm))
        for activation, norm in zip(activations, normalized, strict=True)
    ]
    model = TiedAutoencoder(ModelConfig(tuple(layers), str(rng.choice(ACTIVATIONS)), inputs), seed=seed)
    x = rng.random((SAMPLES, inputs)).astype(np.float32)
    model.start_statistics(x)
    for layer in model.stack:
        if layer.bias is not None:
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
        if layer.norm is not None:
            size, deviation = layer.bias.shape, np.sqrt(layer.norm.variance.numpy())
            layer.norm.gamma.assign(np.exp(rng.normal(0, 0.5, size)))
            layer.norm.mean.assign_add(0.2 * deviation * rng.normal(0, 1, size))
            layer.norm.variance.assign((deviation * np.exp(rng.normal(0, 0.1, size))) ** 2)
    return model, x


def quantized(model: TiedAutoencoder, x: np.ndarray, seed: int) -> TiedAutoencoder:
    """A copy, quantized by settings that the seed chooses."""
    rng, other = np.random.default_rng(seed), model.copy()
    byte = model.config.output_activation in ("sigmoid", "relu", "relu6", "linear") and rng.random() < 0.5
    scaling = Scaling("byte", 0.0, 255.0) if byte else Scaling()
    config = QuantizeConfig(
        "ptq",
        ("tensor", "unit")[int(rng.integers(2))],
        (int(rng.choice((4, 8), p=(0.2, 0.8))),),
        refinements=("equalize",) if rng.random() < 0.5 else (),
    )
    quantize_post_training(other, Representative(np.arange(len(x)), x, 0, scaling, len(x)), config)
    return other


def written(program: Program, folder: Path, layout: str) -> dict[str, Path]:
    """The files of a program in the formats of its layout, by runtime, for those that are here and run its precision."""
    io, found = "uint8" if program.quantized else "float32", {}
    if layout != "fused":
        found = dict.fromkeys(("litert-xnnpack", "litert-builtin", "litert-reference"), folder / "p.tflite")
        found["litert-xnnpack"].write_bytes(to_tflite(program, io=io, int4="packed" if layout == "split" else "bytes"))
    if layout != "split":
        found |= {"ort-cpu": folder / "p.onnx", "c": folder / f"{program.name}.c"}
        found["ort-cpu"].write_bytes(to_onnx(program, io=io))
        for name, text in to_c(program).files.items() if program.quantized else ():
            (folder / name).write_text(text)
    precision = "int8" if program.quantized else "f32"
    return {name: path for name, path in found.items() if precision in RUNTIMES[name].precisions}


@dataclass(frozen=True)
class FloatDifferences:
    """The largest differences, as fractions of full scale: float files from Keras in float32 and from what Keras computes in
    float64, and Keras in float32 from that."""

    keras: float
    exact: float
    own: float


def float_differences(model: TiedAutoencoder, x: np.ndarray, folder: Path) -> FloatDifferences:
    """Those of a float model's code and y."""
    keras, exact = [each.numpy() for each in model.encode_decode(x)], exactly(model, x)
    files: list[Sequence[np.ndarray]] = []
    for layout in LAYOUTS:
        for name, path in written(lower(model, "p", layout=layout), folder, layout).items():
            got = RUNTIMES[name].open({"reconstruct": path}).run("reconstruct", x)
            files.append((got["code"], got["y"]))
    return FloatDifferences(_largest(files, keras), _largest(files, exact), _largest([keras], exact))


def _largest(found: Sequence[Sequence[np.ndarray]], right: Sequence[np.ndarray]) -> float:
    scales = [max(float(np.abs(each).max()), 0.1) for each in right]
    return max(
        float(np.abs(got - each).max()) / scale for one in found for got, each, scale in zip(one, right, scales, strict=True)
    )


def values_different(model: TiedAutoencoder, x: np.ndarray, folder: Path) -> int:
    """Values of files of a quantized model that are not those of its program.

    Codes are equal in every runtime that rounds as the program does, y in C, ONNX Runtime and XNNPACK by view. All else is
    within what operations allow that are off by 1 LSB.
    """
    wrong = 0
    for layout in LAYOUTS:
        program = lower(model, "p", layout=layout)
        q = program_input(program, x)
        right = execute(program, "reconstruct", q)
        limits = bounds(program, "reconstruct", q, q, OPERATION_LSB)
        for name, path in written(program, folder, layout).items():
            got = RUNTIMES[name].open({"reconstruct": path}).run("reconstruct", q)
            exact = RUNTIMES[name].rounding == "program"
            same = {"code": exact, "y": exact and layout != "split"}
            for output, values in got.items():
                low, high = (right[output], right[output]) if same[output] else limits[output]
                wrong += int(((values < low) | (values > high)).sum())
    return wrong
