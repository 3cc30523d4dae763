"""Which files are measured beside which, what they are given, and what is said of those that cannot be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.bundle.bundle import Bundle
from tiedae.config.scaling import Scaling
from tiedae.export import to_onnx
from tiedae.export.kinds import Maker, Precision
from tiedae.export.model_file import Signature, TensorInfo
from tiedae.export.targets import TARGETS, read_model
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench import subjects
from tiedae.verify.bench.subjects import ALONE, BenchSubject, Cast, find_subjects

SIDES = ("encode", "decode", "reconstruct")


def test_samples_are_in_the_unit_and_dtype_of_each_input() -> None:
    """x of a file that computes the scaling is in the data's unit; codes, and x of other files, are as they are."""
    inputs = {
        "encode": TensorInfo("x", "float32", (None, 2)),
        "decode": TensorInfo("code", "float32", (None, 2)),
        "reconstruct": TensorInfo("x", "uint8", (None, 2), 0.5, 10),
    }
    signatures = {name: Signature(name, (tensor,), (), {}) for name, tensor in inputs.items()}
    real = {"x": np.array([[0.0, 1.0], [0.5, 0.25]]), "code": np.array([[3.0, -4.0]])}
    io = FileIO("float32", Scaling("minmax", -300.0, 700.0))
    of = ("a", Maker.TIEDAE, "tflite", Precision.F32, "litert-xnnpack", "", {}, signatures, "")
    folded, plain = BenchSubject(*of, io), BenchSubject(*of, SCALED_IO)
    np.testing.assert_allclose(folded.input("encode", real, 3), [[-300, 400], [50, -125], [-300, 400]], rtol=1e-6)
    np.testing.assert_array_equal(plain.input("encode", real, 1), [[0, 1]])
    for each in (folded, plain):
        np.testing.assert_array_equal(each.input("decode", real, 2), [[3, -4], [3, -4]])
        assert each.input("reconstruct", real, 2).tolist() == [[10, 12], [11, 10]]
        assert [each.input(name, real, 1).dtype for name in inputs] == [np.float32, np.float32, np.uint8]


@pytest.mark.parametrize(("error", "what"), [(FormatError, "tiedae int8 onnx"), (UnavailableError, "ort-cpu")])
def test_a_runtime_that_fails_leaves_the_next_one(
    error: type[Exception], what: str, make_program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise error("broken here")

    broken = dataclasses.replace(RUNTIMES["ort-cpu"], load=fail)
    other = dataclasses.replace(RUNTIMES["ort-cuda"], load=RUNTIMES["ort-cpu"].load)
    monkeypatch.setattr(subjects, "RUNTIMES", {"ort-cpu": broken, "ort-cuda": other, "ort-node": RUNTIMES["ort-node"]})
    path, cast = tmp_path / "toy.onnx", Cast(SCALED_IO)
    path.write_bytes(to_onnx(make_program(), signature="reconstruct"))
    (signature,) = read_model(path).signatures
    subjects._add(cast, Maker.TIEDAE, "onnx", Precision.INT8, {"reconstruct": path}, {"reconstruct": signature})
    assert [(row.what, row.reason) for row in cast.skipped] == [(what, "broken here")]
    assert [(each.name, each.provider) for each in cast.subjects] == [("tiedae int8 onnx on CUDA", "CPUExecutionProvider")]


@pytest.fixture
def bundle(small_runs: Path) -> Bundle:
    return Bundle.open(small_runs / "bytes" / "bundle")


def test_a_file_of_other_signatures_is_measured_as_one_that_reconstructs(
    bundle: Bundle, make_program: Callable[..., Any], tmp_path: Path
) -> None:
    """A stock file of ONNX has one signature, of another name; a folder without it has none of its subjects."""
    file = tmp_path / f"{bundle.manifest.name}.stock.f32.onnx"
    model = onnx.load_from_string(to_onnx(make_program(quantized=False), signature="reconstruct"))
    model.graph.name = "another"
    onnx.save(model, file)
    assert [each.name for each in read_model(file).signatures] == ["another"]
    found = find_subjects(bundle, tmp_path, None, tmp_path)
    stock = [each for each in found.subjects if each.maker is Maker.STOCK and each.runtime == "ort-cpu"]
    assert [(each.name, dict(each.files)) for each in stock] == [("tf2onnx f32 onnx", {"reconstruct": file})]
    reasons = {row.what: row.reason for row in found.skipped}
    missing = f"{bundle.manifest.name}.stock.int8.tflite is not in the folder {tmp_path.name} beside the bundle"
    assert reasons["TFLiteConverter int8 tflite"].startswith(missing)
    assert reasons["Keras original"] == "no model given: --model OUT/model"


@pytest.mark.parametrize(
    ("signatures", "alone"),
    [(SIDES, True), (("encode", "reconstruct"), True), (("reconstruct",), False), (("encode", "decode"), False)],
    ids=str,
)
def test_a_file_of_several_signatures_is_also_measured_with_reconstruct_alone(
    bundle: Bundle, signatures: tuple[str, ...], alone: bool, tmp_path: Path
) -> None:
    contents = {name: read_model(bundle.path / name) for name in bundle.models}
    cast = Cast(SCALED_IO)
    for target in ("tflite", "onnx"):
        files = {name: file for name, file in bundle.files_of(target, Precision.INT8).items() if name in signatures}
        known = {
            name: next(each for each in contents[file].signatures if name in (each.name, "reconstruct"))
            for name, file in files.items()
        }
        paths = {name: bundle.path / file for name, file in files.items()}
        subjects._add(cast, Maker.TIEDAE, target, Precision.INT8, paths, known)
    before = len(cast.subjects)
    subjects._add_single(cast, bundle, contents, tmp_path)
    added = cast.subjects[before:]
    assert [each.name for each in added] == [f"tiedae int8 tflite, {ALONE}"] * alone
    assert [row.what for row in cast.skipped if ALONE in row.what] == [f"tiedae f32 tflite, {ALONE}"] * alone
    for each in added:
        (path,) = each.files.values()
        assert path.parent == tmp_path and each.files.keys() == {"reconstruct"} and each.variant == ALONE
        assert [signature.name for signature in read_model(path).signatures] == ["reconstruct"]
        assert TARGETS[each.format].suffix == path.suffix
