"""The .tflite and .onnx files give what golden/ holds, in every value, run with nothing but their runtimes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from tiedae.base.records import encode
from tiedae.bundle.bundle import Programs, model_files, npy
from tiedae.bundle.golden import answers, expectations
from tiedae.cli import main
from tiedae.compress import ExportConfig
from tiedae.program.program import Program

from ..variants import every


def ties(program: Program, samples: int) -> np.ndarray:
    """float32 inputs on the ties between two integers, and one float32 beside them."""
    quantization, rng = program.quantization("x"), np.random.default_rng(5)
    steps = rng.integers(-2, 257, (samples, *program.tensors["x"].shape)) - quantization.zero_point
    x = ((steps + 0.5) * quantization.scale).astype(np.float32)
    beside = np.nextafter(x, np.array([-np.inf, np.inf], np.float32)[rng.integers(0, 2, x.shape)])
    return np.where(rng.integers(0, 2, x.shape) == 1, beside, x)


def run_tflite(path: Path, signature: str, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    return Interpreter(str(path)).get_signature_runner(signature)(**{name: x})


def run_onnx(path: Path, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: np.asarray(values) for name, values in zip(names, session.run(names, {name: x}), strict=True)}


def same(got: np.ndarray, expected: np.ndarray) -> bool:
    return got.dtype == expected.dtype and got.tobytes() == expected.tobytes() and got.shape == expected.shape


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("io", ["float32", "uint8", "int8"])
def test_answers_are_what_both_files_give_at_ties_too(
    io: str, granularity: str, make_program: Callable[..., Program], tmp_path: Path
) -> None:
    """io int8 with a linear output: after a sigmoid XNNPACK brings one of 256 int8 values to 1/255 a step off."""
    options = {"output_activation": "linear" if io == "int8" else "sigmoid", "byte_data": io != "float32"}
    forms = {form: make_program((20, 12, 5), form=form, granularity=granularity, **options) for form in ("split", "fused")}
    programs, config = Programs(**forms), ExportConfig()
    for name, data in model_files({"int8": programs}, config, io).items():
        (tmp_path / name).write_bytes(data)
    x = ties(programs.fused, 200)
    golden = answers(expectations(programs, config.targets, x, io), io)
    integers = programs.fused.quantization("x").quantize(x)
    given = {"float32": x, "uint8": integers, "int8": (integers ^ 128).view(np.int8)}[io]
    if io != "float32":
        real = programs.fused.quantization("x").dequantize(integers)
        golden = answers(expectations(programs, config.targets, real, io), io)
    tflite = run_tflite(tmp_path / "toy.int8.tflite", "reconstruct", "x", given)
    onnx = run_onnx(tmp_path / "toy.int8.onnx", "x", given)
    assert same(onnx["code"], golden["code"]) and same(onnx["y"], golden["y"])
    assert same(tflite["code"], golden.get("code.tflite", golden["code"])) and same(tflite["y"], golden["y.tflite"])
    assert ("code.tflite" in golden) == (io == "float32"), "ties alone make TFLite's codes others"


@pytest.mark.parametrize(("run", "dtype"), every(2, [("finished_run", "uint8"), ("float_run", "float32")]))
def test_a_user_runs_every_file_with_golden(run: str, dtype: str, request: pytest.FixtureRequest) -> None:
    bundle = request.getfixturevalue(run) / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    scaling = manifest["data"]["scaling"]
    for name, stated in manifest["golden"]["arrays"].items():
        array = np.load(bundle / name)
        assert [stated["shape"], stated["dtype"]] == [list(array.shape), array.dtype.name]
    for file, tensors in manifest["golden"]["ports"].items():
        arrays = {tensor: np.load(bundle / name) for tensor, name in tensors.items()}
        for signature, described in manifest["files"][file]["signatures"].items():
            (tensor,) = described["inputs"]
            name = tensor["name"]
            x = arrays[name]
            if tensor.get("scaled") is not None:
                x = x.astype(np.float32)
            if tensor.get("scaled"):
                x = (x - np.float32(scaling["offset"])) / np.float32(scaling["scale"])
            path = bundle / file
            got = run_tflite(path, signature, name, x) if file.endswith(".tflite") else run_onnx(path, name, x)
            for name, values in got.items():
                if ".f32." in file:
                    np.testing.assert_allclose(values, arrays[name], rtol=0, atol=1e-5 * np.abs(arrays[name]).max())
                else:
                    assert same(values, arrays[name]), f"{file} {signature} {name}"
    values = {"uint8": "integers of tensors.y", "float32": "the data's"}[dtype]
    assert manifest["golden"]["arrays"]["golden/y.npy"]["values"] == values
    assert np.load(bundle / "golden/y.npy").dtype == np.load(bundle / "golden/y.tflite.npy").dtype == dtype


def test_another_value_in_golden_is_found_though_its_hash_is_right(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import hashlib

    bundle = Path(shutil.copytree(finished_run / "bundle", tmp_path / "bundle"))
    path = bundle / "golden" / "y.tflite.npy"
    y = np.load(path)
    y[3, 2] ^= 1
    path.write_bytes(npy(y))
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"]["golden/y.tflite.npy"]["sha256"] = hashlib.sha256(npy(y)).hexdigest()
    (bundle / "manifest.json").write_bytes(encode(manifest))
    assert main(["verify", str(bundle), "-q"]) == 1
    assert "golden/y.tflite.npy: 1 of" in capsys.readouterr().err
