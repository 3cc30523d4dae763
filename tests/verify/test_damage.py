"""Whatever is wrong in a file is found, and named where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tiedae.bundle.bundle import Programs, model_files, write_files
from tiedae.bundle.reference_outputs import expect
from tiedae.bundle.results import Kind, Lost, Precision
from tiedae.compress import ExportConfig, VerifyConfig
from tiedae.export.targets import read_model
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.findings import Evidence, Findings, Subject
from tiedae.verify.measurement import measure_int8

from .changed_session import ChangedSession, Outputs

SIZE = 16


def failed(findings: Findings) -> dict[str, str]:
    return {check.name: check.text for check in findings.judged(VerifyConfig()) if not check.ok}


def onnx_file(change: Callable[[onnx.ModelProto], None], name: str) -> Callable[[Any], None]:
    def damage(case) -> None:
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
    """Two constants and their scales."""
    names = {one: other, other: one, f"{one}.scale": f"{other}.scale", f"{other}.scale": f"{one}.scale"}

    def apply(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            renamed = [names.get(name, name) for name in node.input]
            node.input[:] = renamed

    return apply


def output(name: str, node: str, element: int, **attributes: object) -> Callable[[onnx.ModelProto], None]:
    """The output goes through one more operation and leaves with another dtype or shape."""

    def apply(model: onnx.ModelProto) -> None:
        for each in model.graph.node:
            each.output[:] = [f"{name}.inner" if output == name else output for output in each.output]
            each.input[:] = [f"{name}.inner" if output == name else output for output in each.input]
        model.graph.node.append(helper.make_node(node, [f"{name}.inner"], [name], **attributes))
        (output,) = [each for each in model.graph.output if each.name == name]
        output.CopyFrom(helper.make_tensor_value_info(name, element, ["rows", "columns"]))

    return apply


def bytes_in(name: str, old: np.ndarray, new: np.ndarray) -> Callable[[Any], None]:
    def damage(case) -> None:
        data = (case.folder / name).read_bytes()
        assert data.count(old.tobytes()) == 1
        (case.folder / name).write_bytes(data.replace(old.tobytes(), new.tobytes()))

    return damage


def flipped_weight(case) -> None:
    kernel = np.ascontiguousarray(case.int8.split.constants["kernel_1"].T)
    other = kernel.copy()
    other[5, 3] ^= 64
    bytes_in("toy.int8.tflite", kernel, other)(case)


def nan_in_tflite(case) -> None:
    bias = case.f32.split.constants["encoder_1.bias"]
    bytes_in("toy.f32.tflite", bias, np.where(np.arange(SIZE) == 4, np.float32(np.nan), bias).astype(np.float32))(case)


def with_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size) == 4, np.float32(np.nan), values).astype(np.float32)


DAMAGE: dict[str, tuple[Callable[[Any], None], dict[str, str]]] = {
    "a wrong scale in the ONNX decoder": (
        onnx_file(constant("decoder_1.scale", lambda scale: scale * np.float32(1.1)), "toy.decoder.int8.onnx"),
        {
            "operations toy.decoder.int8.onnx decode ort-cpu": "operation decoder_1: ",
            "output toy.decoder.int8.onnx decode ort-cpu": "values differ from the program",
            "crossing toy.decoder.int8.onnx decode ort-cpu litert-xnnpack": "y of litert-xnnpack's codes",
        },
    ),
    "a wrong scale in the whole ONNX model": (
        onnx_file(constant("decoder_1.scale", lambda scale: scale * np.float32(1.1)), "toy.int8.onnx"),
        {"output toy.int8.onnx reconstruct ort-cpu": "values differ from the program"},
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
        onnx_file(swap("kernel_0", "kernel_1"), "toy.encoder.int8.onnx"),
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
            "layers toy.encoder.f32.onnx encode ort-cpu": "layer encoder_1: 64 of 1024 values are not finite, first at [0, 4]",
            "float code toy.encoder.f32.onnx encode ort-cpu": "not finite",
        },
    ),
    "NaN in a bias of a float TFLite file": (
        nan_in_tflite,
        {"layers toy.f32.tflite encode litert-xnnpack": "layer encoder_1: 64 of 1024 values are not finite, first at [0, 4]"},
    ),
    "codes of another dtype": (
        onnx_file(output("code", "Cast", onnx.TensorProto.FLOAT, to=onnx.TensorProto.FLOAT), "toy.encoder.int8.onnx"),
        {"codes toy.encoder.int8.onnx encode ort-cpu": f"got float32 [64, {SIZE}], expected uint8 [64, {SIZE}]"},
    ),
    "y of another dtype": (
        onnx_file(output("y", "Cast", onnx.TensorProto.INT32, to=onnx.TensorProto.INT32), "toy.decoder.int8.onnx"),
        {"output toy.decoder.int8.onnx decode ort-cpu": f"got int32 [64, {SIZE}], expected uint8 [64, {SIZE}]"},
    ),
    "a float y of another shape": (
        onnx_file(output("y", "Transpose", onnx.TensorProto.FLOAT, perm=[1, 0]), "toy.decoder.f32.onnx"),
        {"float y toy.decoder.f32.onnx decode ort-cpu": f"got float32 [{SIZE}, 64], expected float32 [64, {SIZE}]"},
    ),
    "an output of another name": (
        onnx_file(lambda model: rename_output(model, "y", "z"), "toy.decoder.int8.onnx"),
        {"runs toy.decoder.int8.onnx decode ort-cpu": "gives z, expected y"},
    ),
    "an input that takes another dtype": (
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
def test_whatever_is_wrong_is_found_and_named(case, what: str) -> None:
    damage, named = DAMAGE[what]
    damage(case)
    findings = case.measure()
    found = failed(findings)
    for name, text in named.items():
        assert text in found.get(name, ""), f"{name}: {text!r} not in {found}"
    checks = [check for check in findings.judged(VerifyConfig()) if not check.ok and check.kind is not Kind.FORMATS]
    (file,) = {check.file for check in checks if check.name in named}
    assert {check.file for check in checks if check.detail != "own codes"} == {file}


def test_where_rounding_differs_a_wrong_operation_is_named_all_the_same(case) -> None:
    flipped_weight(case)
    found = failed(case.measure(runtimes={"tflite": "litert-reference", "onnx": "ort-cpu"}))
    assert "operation encoder_1: " in found["operations toy.int8.tflite encode litert-reference"]


def test_a_decoder_apart_is_held_to_the_whole_model(case) -> None:
    """The whole model reconstructs something else than the decoder alone makes of the same codes."""
    DAMAGE["a wrong scale in the whole ONNX model"][0](case)
    found = failed(case.measure())
    text = found["crossing own codes toy.decoder.int8.onnx decode ort-cpu litert-xnnpack"]
    assert "y of litert-xnnpack's codes: " in text and "values differ from ort-cpu" in text


def test_the_error_of_a_code_is_the_encoders_not_what_a_decoder_was_fed(case) -> None:
    program = case.int8.split
    code = program.tensors["code"]
    moved = dataclasses.replace(code.quantization, zero_point=code.quantization.zero_point + 1)
    tensors = {**program.tensors, "code": dataclasses.replace(code, quantization=moved)}
    other = Programs(dataclasses.replace(program, tensors=tensors), case.int8.fused)
    write_files(case.folder, model_files({"int8": other}, ExportConfig(("tflite",)), "uint8"))
    findings = case.measure()
    of = (Lost.CONVERSION, Precision.INT8)
    rows = {(row.runtime, row.layer): row for row in findings.errors if (row.error, row.precision) == of}
    assert rows["litert-xnnpack", "code"].max_abs == pytest.approx(code.quantization.scale, rel=1e-4)
    assert "by at most 1 LSB" in failed(findings)["codes toy.int8.tflite encode litert-xnnpack"]


def test_a_code_beyond_its_bits_is_a_failed_check_and_goes_no_further(case) -> None:
    """The files give codes of 8 bits where the program has 7."""
    narrow = []
    for program in (case.int8.split, case.int8.fused):
        code = program.tensors["code"]
        quantization = dataclasses.replace(code.quantization, zero_point=min(code.quantization.zero_point, 127), bits=7)
        tensors = {**program.tensors, "code": dataclasses.replace(code, quantization=quantization)}
        narrow.append(dataclasses.replace(program, tensors=tensors))
    found = failed(dataclasses.replace(case, int8=Programs(*narrow)).measure())
    for name in ("toy.int8.tflite encode litert-xnnpack", "toy.encoder.int8.onnx encode ort-cpu"):
        text = found[f"codes {name}"]
        assert "codes (encode): got " in text and text.endswith(", a code of 7 bits is at most 127")


@pytest.mark.parametrize(
    ("node", "value", "text"),
    [
        ("Mul", 1.05, "values differ from the program"),
        ("Add", 0.9 / 255, "values differ from the program, by at most 1 LSB"),
        ("Mul", np.nan, "values are not finite, first at"),
    ],
)
def test_a_dequantized_output_is_held_in_steps_between_which_it_may_lie(case, node: str, value: float, text: str) -> None:
    """Half a step between steps and 0.9 more are 1 when rounded, yet more than the one that is allowed."""
    write_files(case.folder, model_files({"int8": case.int8}, ExportConfig(("onnx",)), "float32"))
    assert not failed(case.measure())
    onnx_file(changed_output(node, np.float32(value)), "toy.decoder.int8.onnx")(case)
    assert text in failed(case.measure())["output toy.decoder.int8.onnx decode ort-cpu"]


def changed_output(node: str, value: np.float32) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        for each in model.graph.node:
            each.output[:] = ["y.inner" if output == "y" else output for output in each.output]
        model.graph.node.append(helper.make_node(node, ["y.inner", "value"], ["y"]))
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), "value"))

    return apply


def test_what_is_seen_inside_is_what_the_plain_run_computes(case) -> None:
    files, program, findings = case.files("int8", "onnx"), case.int8.fused, Findings()
    session = RUNTIMES["ort-cpu"].open({"decode": case.folder / files["decode"]})
    contents = {files["decode"]: read_model(case.folder / files["decode"])}

    def unsteady(_x: np.ndarray, outputs: Outputs) -> None:
        outputs["y"][1, 2] ^= 128

    changed = ChangedSession(session, "decode", unsteady)
    subject = Subject(changed, {"decode": files["decode"]}, contents, program, VerifyConfig(), findings)
    evidence = Evidence(case.samples, case.samples, None, None, False)
    measure_int8(subject, expect(program, case.samples), evidence)
    text = failed(findings)["trace y toy.decoder.int8.onnx decode ort-cpu"]
    assert "y (decode): 1 of 1,024 values differ from its own trace, by at most 128 LSB; largest at [1, 2]" in text
