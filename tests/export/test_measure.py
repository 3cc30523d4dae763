"""Files of a small program are measured in real runtimes; whatever is wrong in one is found, and named where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiedae.compress import ExportConfig, VerifyConfig
from tiedae.export.attribution import attribute
from tiedae.export.bundle import Programs, model_files, read_model, write_files
from tiedae.export.crossing import measure_crossing
from tiedae.export.expected import Original, best_floats, expect
from tiedae.export.findings import Evidence, Findings, Measured, Subject
from tiedae.export.interpreter import execute
from tiedae.export.measure import as_bytes, measure_float, measure_int8
from tiedae.export.program import Program, Quantization
from tiedae.export.runtimes import RUNTIMES

SIZE = 16
SIGNATURES = ("encode", "decode", "reconstruct")
MAIN = {"tflite": "litert-xnnpack", "onnx": "ort-cpu"}


@dataclasses.dataclass(frozen=True)
class Case:
    """Both programs of a model with equal layers, so that they can be swapped, and the folder of its files."""

    folder: Path
    int8: Programs
    f32: Programs

    def files(self, precision: str, target: str) -> dict[str, str]:
        if target == "tflite":
            return dict.fromkeys(SIGNATURES, f"toy.{precision}.tflite")
        parts = {"encode": "encoder.", "decode": "decoder.", "reconstruct": ""}
        return {signature: f"toy.{part}{precision}.onnx" for signature, part in parts.items()}


@pytest.fixture
def case(make_program: Callable[..., Program], tmp_path: Path) -> Case:
    def programs(quantized: bool) -> Programs:
        forms = {form: make_program((SIZE,) * 4, ("relu", "relu", "linear"), form=form, quantized=quantized) for form in FORMS}
        return Programs(**forms)

    case = Case(tmp_path, programs(True), programs(False))
    write_files(tmp_path, model_files({"int8": case.int8, "f32": case.f32}, ExportConfig(), "uint8"))
    return case


FORMS = ("split", "fused")


def samples() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (64, SIZE)).astype(np.float32) / np.float32(255)


def measure(case: Case, *, runtimes: dict[str, str] = MAIN, signatures: tuple[str, ...] = SIGNATURES) -> Findings:
    """What verify does with the files of a bundle, in one runtime of each format."""
    findings, tolerances = Findings(), VerifyConfig()
    scaled = samples()
    evidence = Evidence(scaled, scaled, best_floats(scaled, Original(), None, case.f32.fused), None, False)
    contents = {path.name: read_model(path) for path in case.folder.glob("toy*.*") if path.suffix in (".tflite", ".onnx")}
    expected = {target: expect(case.int8.form(target), scaled) for target in runtimes}
    everything: list[Measured] = []
    for precision in ("int8", "f32"):
        measured = []
        for target, runtime in runtimes.items():
            files = {name: file for name, file in case.files(precision, target).items() if name in signatures}
            session = RUNTIMES[runtime].open({signature: case.folder / file for signature, file in files.items()})
            subject = Subject(session, files, contents, case.int8.form(target))
            if precision == "int8":
                measured.append(measure_int8(subject, expected[target], evidence, tolerances, findings))
            else:
                measured.append(measure_float(subject, evidence, tolerances, findings))
        measure_crossing(measured, expected if precision == "int8" else {}, evidence, tolerances, findings, precision)
        everything += measured
    findings.errors += attribute(everything, expected, evidence.floats)
    return findings


def failed(findings: Findings) -> dict[str, str]:
    return {check.name: check.text for check in findings.checks if not check.ok}


def test_files_as_written_hold_in_every_way(case: Case) -> None:
    findings = measure(case)
    assert not failed(findings)
    kinds = {check.name.split()[0] for check in findings.checks}
    assert kinds == {"codes", "output", "operations", "trace", "float", "layers", "formats", "crossing"}
    int8 = [row for row in findings.parity if row["kind"] == "int8" and row["what"] != "formats: y"]
    assert int8 and all(row["differing"] == 0 and row["cosine"] == 1.0 and "sqnr_db" not in row for row in int8)
    crossed = {(row["encoder"], row["runtime"]) for row in findings.parity if "encoder" in row}
    assert crossed == {("ort-cpu", "litert-xnnpack"), ("litert-xnnpack", "ort-cpu")}
    assert {row["reference"] for row in findings.parity} == {"program", "float program", "litert-xnnpack", "ort-cpu"}


def test_errors_of_quantization_and_conversion_are_apart_for_every_layer(case: Case) -> None:
    rows = measure(case, runtimes={"tflite": "litert-reference", "onnx": "ort-cpu"}).errors
    layers = {"encoder_0", "encoder_1", "code", "decoder_2", "decoder_1", "y"}

    def of(**wanted: str) -> dict[str, dict[str, Any]]:
        return {row["layer"]: row for row in rows if all(row.get(key) == value for key, value in wanted.items())}

    lost = of(error="quantization", form="fused")
    assert lost.keys() == layers
    program, scaled = case.int8.fused, samples()
    q = execute(program, "reconstruct", program.quantization("x").quantize(scaled))["y"]
    floats = execute(case.f32.fused, "reconstruct", scaled)["y"].astype(np.float64)
    error = program.quantization("y").dequantize(q) - floats
    assert lost["y"]["rms"] == pytest.approx(np.sqrt(np.mean(error**2))) and lost["y"]["rms"] > 0
    assert lost["y"]["sqnr_db"] == pytest.approx(10 * np.log10((floats**2).sum() / (error**2).sum()))
    for layer, row in of(error="conversion", precision="int8", runtime="ort-cpu").items():
        assert row["rms"] == 0 and "sqnr_db" not in row and row["reference"] == "program"
        assert of(error="total", runtime="ort-cpu")[layer]["rms"] == pytest.approx(lost[layer]["rms"])
    assert max(row["rms"] for row in of(error="conversion", runtime="litert-reference").values()) > 0
    for row in of(error="conversion", precision="f32").values():
        assert row["max_abs"] < 1e-5 and row.get("sqnr_db", np.inf) > 100


def onnx_file(change: Callable[[onnx.ModelProto], None], name: str) -> Callable[[Case], None]:
    def damage(case: Case) -> None:
        path = case.folder / name
        model = onnx.load(path, load_external_data=False)
        change(model)
        onnx.save(model, path)

    return damage


def constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        (found,) = [each for each in model.graph.initializer if each.name == name]
        found.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(found)), name))

    return apply


def swap(one: str, other: str) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            renamed = [{one: other, other: one}.get(name, name) for name in node.input]
            node.input[:] = renamed

    return apply


def port(name: str, node: str, element: int, **attributes: object) -> Callable[[onnx.ModelProto], None]:
    """The output goes through one more operation and leaves with another dtype or shape."""

    def apply(model: onnx.ModelProto) -> None:
        for each in model.graph.node:
            each.output[:] = [f"{name}.inner" if output == name else output for output in each.output]
            each.input[:] = [f"{name}.inner" if output == name else output for output in each.input]
        model.graph.node.append(helper.make_node(node, [f"{name}.inner"], [name], **attributes))
        (output,) = [each for each in model.graph.output if each.name == name]
        output.CopyFrom(helper.make_tensor_value_info(name, element, ["rows", "columns"]))

    return apply


def bytes_in(name: str, old: np.ndarray, new: np.ndarray) -> Callable[[Case], None]:
    def damage(case: Case) -> None:
        data = (case.folder / name).read_bytes()
        assert data.count(old.tobytes()) == 1
        (case.folder / name).write_bytes(data.replace(old.tobytes(), new.tobytes()))

    return damage


def flipped_weight(case: Case) -> None:
    kernel = np.ascontiguousarray(case.int8.split.constants["kernel_1"].T)
    other = kernel.copy()
    other[5, 3] ^= 64
    bytes_in("toy.int8.tflite", kernel, other)(case)


def nan_in_tflite(case: Case) -> None:
    bias = case.f32.split.constants["encoder_1.bias"]
    bytes_in("toy.f32.tflite", bias, np.where(np.arange(SIZE) == 4, np.float32(np.nan), bias).astype(np.float32))(case)


def with_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size) == 4, np.float32(np.nan), values).astype(np.float32)


DAMAGE: dict[str, tuple[Callable[[Case], None], dict[str, str]]] = {
    "a wrong scale in the ONNX decoder": (
        onnx_file(constant("decoder_1.scale", lambda scale: scale * np.float32(1.1)), "toy.decoder.int8.onnx"),
        {
            "operations toy.decoder.int8.onnx decode ort-cpu": "operation decoder_1: ",
            "output toy.decoder.int8.onnx decode ort-cpu": "values differ from the program",
            "crossing toy.decoder.int8.onnx decode ort-cpu litert-xnnpack": "y of litert-xnnpack's codes",
        },
    ),
    "a code read at another scale": (
        onnx_file(constant("code.scale", lambda scale: scale * np.float32(1.02)), "toy.decoder.int8.onnx"),
        {"operations toy.decoder.int8.onnx decode ort-cpu": "operation decoder_2: "},
    ),
    "codes off by one": (
        onnx_file(constant("code.zero", lambda zero: zero + np.uint8(1)), "toy.encoder.int8.onnx"),
        {
            "codes toy.encoder.int8.onnx encode ort-cpu": "by at most 1 LSB",
            "formats code toy.int8.onnx reconstruct ort-cpu litert-xnnpack": "by at most 1 LSB",
        },
    ),
    "two layers swapped": (
        onnx_file(swap("encoder_0.kernel", "encoder_1.kernel"), "toy.encoder.int8.onnx"),
        {
            "operations toy.encoder.int8.onnx encode ort-cpu": "operation encoder_",
            "codes toy.encoder.int8.onnx encode ort-cpu": "values differ from the program",
        },
    ),
    "one weight flipped": (
        flipped_weight,
        {
            "operations toy.int8.tflite encode litert-xnnpack": "operation encoder_1: ",
            "operations toy.int8.tflite decode litert-xnnpack": "operation decoder_1.product: ",
        },
    ),
    "NaN in a bias of a float ONNX file": (
        onnx_file(constant("encoder_1.bias", with_nan), "toy.encoder.f32.onnx"),
        {
            "layers toy.encoder.f32.onnx encode ort-cpu": "layer encoder_1: 64 values are not finite, first at [0, 4]: got nan",
            "float code toy.encoder.f32.onnx encode ort-cpu": "not finite",
        },
    ),
    "NaN in a bias of a float TFLite file": (
        nan_in_tflite,
        {"layers toy.f32.tflite encode litert-xnnpack": "layer encoder_1: 64 values are not finite, first at [0, 4]: got nan"},
    ),
    "codes of another dtype": (
        onnx_file(port("code", "Cast", onnx.TensorProto.FLOAT, to=onnx.TensorProto.FLOAT), "toy.encoder.int8.onnx"),
        {"codes toy.encoder.int8.onnx encode ort-cpu": f"got float32 [64, {SIZE}], expected uint8 [64, {SIZE}]"},
    ),
    "y of another dtype": (
        onnx_file(port("y", "Cast", onnx.TensorProto.INT32, to=onnx.TensorProto.INT32), "toy.decoder.int8.onnx"),
        {"output toy.decoder.int8.onnx decode ort-cpu": f"got int32 [64, {SIZE}], expected uint8 [64, {SIZE}]"},
    ),
    "a float y of another shape": (
        onnx_file(port("y", "Transpose", onnx.TensorProto.FLOAT, perm=[1, 0]), "toy.decoder.f32.onnx"),
        {"float y toy.decoder.f32.onnx decode ort-cpu": f"got float32 [{SIZE}, 64], expected float32 [64, {SIZE}]"},
    ),
    "an output of another name": (
        onnx_file(lambda model: rename_output(model, "y", "z"), "toy.decoder.int8.onnx"),
        {"runs toy.decoder.int8.onnx decode ort-cpu": "gives z, expected y"},
    ),
    "a port that takes another dtype": (
        onnx_file(lambda model: read_as_float(model, "code"), "toy.decoder.int8.onnx"),
        {"runs toy.decoder.int8.onnx decode ort-cpu": "refuses the samples"},
    ),
}


def rename_output(model: onnx.ModelProto, old: str, new: str) -> None:
    for each in model.graph.node:
        each.output[:] = [new if output == old else output for output in each.output]
    model.graph.output[0].name = new


def read_as_float(model: onnx.ModelProto, name: str) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(f"{name}.float", onnx.TensorProto.FLOAT, ["batch", SIZE]))
    model.graph.node.insert(0, helper.make_node("Cast", [f"{name}.float"], [name], to=onnx.TensorProto.UINT8))


@pytest.mark.parametrize("what", DAMAGE)
def test_whatever_is_wrong_is_found_and_named(case: Case, what: str) -> None:
    damage, named = DAMAGE[what]
    damage(case)
    found = failed(measure(case))
    for name, text in named.items():
        assert text in found.get(name, ""), f"{name}: {text!r} not in {found}"
    (file,) = {word for name in named if "formats" not in name for word in name.split() if word.startswith("toy.")}
    innocent = [name for name in found if file not in name and not name.startswith(("formats", "crossing"))]
    assert not innocent


def test_a_runtime_that_rounds_differently_is_bounded_operation_by_operation(case: Case) -> None:
    findings = measure(case, runtimes={"tflite": "litert-reference", "onnx": "ort-cpu"})
    assert not failed(findings)
    limits = {check.limit for check in findings.checks if check.name.startswith("output toy.int8.tflite")}
    assert limits == {"<= 1 LSB on average (rounds differently)"}
    flipped_weight(case)
    found = failed(measure(case, runtimes={"tflite": "litert-reference", "onnx": "ort-cpu"}))
    assert "operation encoder_1: " in found["operations toy.int8.tflite encode litert-reference"]


def test_a_runtime_that_shows_nothing_inside_is_one_skipped_row(case: Case) -> None:
    findings = measure(case, runtimes={"tflite": "litert-compiled", "onnx": "ort-cpu"})
    assert not failed(findings)
    skipped = [row["what"] for row in findings.skipped]
    assert skipped == [
        f"litert-compiled: operations of {signature} in toy.{precision}.tflite"
        for precision in ("int8", "f32")
        for signature in ("encode", "decode")
    ]
    layers = {row["layer"] for row in findings.errors if row["runtime"] == "litert-compiled"}
    assert layers == {"code", "y"}


@pytest.mark.parametrize(
    ("signatures", "operations", "skipped"),
    [
        (("reconstruct",), {"reconstruct"}, 4),
        (("encode",), {"encode"}, 4),
        (("encode", "reconstruct"), {"reconstruct"}, 4),
        (("encode", "decode"), {"encode", "decode"}, 0),
    ],
)
def test_any_choice_of_signatures_shows_every_operation_it_has(
    case: Case, signatures: tuple[str, ...], operations: set[str], skipped: int
) -> None:
    findings = measure(case, signatures=signatures)
    assert not failed(findings)
    assert {row["signature"] for row in findings.parity if row["what"].startswith("operation ")} == operations
    assert [row["what"].split()[1] for row in findings.skipped].count("codes") == skipped


def test_formats_are_compared_only_where_there_are_two(case: Case) -> None:
    findings = measure(case, runtimes={"onnx": "ort-cpu"})
    assert findings.skipped[0] == {
        "what": "int8 formats against each other",
        "reason": "onnx alone ran here, it takes tflite and onnx",
    }


STEP = Quantization(0.5, 10)


@pytest.mark.parametrize(
    ("y", "q", "problem"),
    [
        (np.array([[3, 4]], np.uint8), [[3, 4]], ""),
        (np.array([[-128, 0]], np.int8), [[0, 128]], ""),
        (np.array([[-5.0, 0.5]], np.float32), [[0, 11]], ""),
        (np.array([[0.0, 0.6]], np.float32), [[10, 11]], "1 of 2 values are not whole steps of 0.5, first at [0, 1]: got 0.6"),
        (np.array([[0.0, 200.0]], np.float32), [[10, 255]], "not whole steps"),
        (np.array([[np.nan, 0.6]], np.float32), [[10, 11]], "1 are not finite, first at [0, 0]: got nan"),
    ],
)
def test_outputs_of_any_dtype_are_read_in_steps(y: np.ndarray, q: list, problem: str) -> None:
    got, said = as_bytes(y, STEP)
    assert got.tolist() == q and got.dtype == np.uint8
    assert problem in said and bool(problem) is bool(said)
