"""The float program read back from float files is the one that they were written from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Programs, model_files, write_files
from tiedae.bundle.manifest import sha256_of
from tiedae.bundle.reference_outputs import layer_outputs, read_float_program
from tiedae.compress import ExportConfig
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute
from tiedae.program.operations import AddBias, Gain
from tiedae.program.program import Program

VARIANTS = {
    "as by default": {},
    "a scale per unit": {"granularity": "unit"},
    "no biases": {"bias": False},
    "no biases, linear": {"bias": False, "activations": ("linear", "linear"), "output_activation": "linear"},
    "activations that are not fused": {"activations": ("tanh", "sigmoid"), "output_activation": "tanh"},
    "relu6 and floats": {"activations": ("relu6", "relu"), "output_activation": "linear", "byte_data": False},
    "gains": {"gains": True},
    "one layer": {"widths": (7, 3), "activations": ("linear",)},
    "square kernels": {"widths": (6, 6, 6), "granularity": "unit"},
}
EXPORTS = {
    "both": ExportConfig(),
    "tflite": ExportConfig(("tflite",)),
    "onnx": ExportConfig(("onnx",), ("reconstruct",)),
    "a pair": ExportConfig(("onnx",), ("encode", "decode")),
}


def as_lowered(split: Program) -> Program:
    """With the names that a lowered program has: bias and gains of operations of their own end in 8."""
    own = {AddBias: "bias", Gain: "gains"}
    keys = [own.get(type(op)) for op in split.decoder]
    added = {getattr(op, key): f"{getattr(op, key)}8" for op, key in zip(split.decoder, keys, strict=True) if key}
    decoder = tuple(
        replace(op, **{key: added[getattr(op, key)]}) if key else op for op, key in zip(split.decoder, keys, strict=True)
    )
    constants = {added.get(name, name): values for name, values in split.constants.items()}
    return replace(split, decoder=decoder, constants=constants)


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_read_back_from_any_float_files(
    make_program: Callable[..., Program], tmp_path: Path, variant: str, export: str
) -> None:
    options = VARIANTS[variant]
    split, fused = (make_program(form=form, quantized=False, **options) for form in ("split", "fused"))
    integer = make_program(**options)
    x = np.random.default_rng(1).uniform(0, 1, (16, *fused.tensors["x"].shape)).astype(np.float32)
    values = execute(fused, "reconstruct", x)
    golden = {"x": x, "code.f32": values["code"], "y.f32": values["y"]}
    kernels = {name: sha256_of(fused.constants[name]) for name in fused.kernels}
    files = model_files({"f32": Programs(as_lowered(split), fused)}, EXPORTS[export], "auto")
    write_files(tmp_path, files)
    contents = {name: read_model(tmp_path / name) for name in files if not name.endswith(".bin")}

    program, wrong = read_float_program(integer, contents, kernels, golden, 1e-6)

    assert program is not None and not wrong
    again = execute(program, "reconstruct", x)
    assert layer_outputs(program) == layer_outputs(fused)
    for name in layer_outputs(program):
        np.testing.assert_array_equal(again[name], values[name])


def test_files_of_another_model_give_none(make_program: Callable[..., Program], tmp_path: Path) -> None:
    fused, other = (make_program(quantized=False, seed=seed) for seed in (0, 1))
    x = np.ones((2, 20), np.float32)
    values = execute(other, "reconstruct", x)
    golden = {"x": x, "code.f32": values["code"], "y.f32": values["y"]}
    files = model_files({"f32": Programs(fused, fused)}, ExportConfig(("onnx",), ("reconstruct",)), "auto")
    write_files(tmp_path, files)
    contents = {name: read_model(tmp_path / name) for name in files}
    for source in (fused, other):
        kernels = {name: sha256_of(source.constants[name]) for name in source.kernels}
        assert read_float_program(make_program(), contents, kernels, golden, 1e-6) == (None, [])
