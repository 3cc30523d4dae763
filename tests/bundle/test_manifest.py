"""A manifest is decoded once by its types, and every key that is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.base.records import encode
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import parse, read, with_files
from tiedae.cli import main
from tiedae.export.targets import read_model

from ..typed import changed_somewhere


def test_a_manifest_of_this_version_is_written_as_it_was_read(finished_run: Path) -> None:
    bundle = finished_run / "bundle"
    text = (bundle / "manifest.json").read_bytes()
    assert encode(read(bundle)) == text == with_files(bundle, {})


def dense(written: dict[str, Any]) -> dict[str, Any]:
    return written["operations"]["fused"]["encoder"][0]


def tensors(written: dict[str, Any]) -> dict[str, Any]:
    return written["operations"]["fused"]["tensors"]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "top": (lambda m: m.update(speed=1), "speed: unknown key"),
    "data": (lambda m: m["data"].update(speed=1), "data.speed: unknown key"),
    "kind": (lambda m: m["data"].pop("kind"), "data.kind: is missing"),
    "recipe": (lambda m: m["recipe"]["verify"].update(speed=1), "recipe.verify.speed: unknown key"),
    "target": (lambda m: m["recipe"]["export"].update(targets=["abc"]), "recipe.export.targets[0]: got 'abc', must be one of"),
    "file": (lambda m: m["files"]["metrics.json"].update(speed=1), "files.metrics.json: damaged: speed: unknown key"),
    "value": (
        lambda m: m["files"]["mini.int8.onnx"]["signatures"]["reconstruct"]["inputs"][0].update(speed=1),
        "files.mini.int8.onnx: damaged: signatures.reconstruct.inputs[0].speed: unknown key",
    ),
    "quantization": (lambda m: m["tensors"]["code"].update(speed=1), "tensors.code.speed: got 1, must be left out"),
    "tensor": (lambda m: m["tensors"].pop("y"), "tensors.y: is missing"),
    "kernel": (
        lambda m: m["operations"]["split"]["kernels"]["kernel_0"].update(speed=1),
        "operations.split.kernels.kernel_0.speed: got 1, must be left out",
    ),
    "bits": (lambda m: m["operations"]["split"]["kernels"]["kernel_0"].update(bits=9), "kernel kernel_0: bits must lie in"),
    "layout": (lambda m: m["operations"].update(third=m["operations"]["split"]), "operations.third: unknown key"),
    "op": (lambda m: dense(m).update(op="Conv"), "operations.fused.encoder[0].op: got 'Conv', must be one of Dense"),
    "operation": (lambda m: dense(m).pop("kernel"), "operations.fused.encoder[0].kernel: is missing"),
    "field": (lambda m: dense(m).update(speed=1), "operations.fused.encoder[0].speed: got 1, must be left out"),
    "inputs": (lambda m: tensors(m)["x"].update(size=7), "operations.fused.tensors.x.size: got 7, must be of 24 values"),
    "outputs": (lambda m: tensors(m)["y"].update(size=[2, 11]), "tensors.y.size: got (2, 11), must be of 24 values"),
    "one axis": (lambda m: tensors(m)["x"].update(size=[24]), "tensors.x.size: got [24], must be an integer, 1 or more"),
    "no code": (lambda m: tensors(m).pop("code"), "operations.fused.tensors: got ["),
    "scale": (lambda m: m["kernels"][0].update(scale="1"), "kernels[0].scale: got '1', must be a list"),
    "widths": (lambda m: m["model"].update(widths=[24]), "model.widths: got [24], must be [24, 12, 4]"),
    "golden": (lambda m: m["golden"].pop("ports"), "golden.ports: is missing"),
    "scaling": (
        lambda m: m["data"].update(dtype="float32", scaling={"rule": "minmax", "offset": 0.0, "scale": 1e-50}),
        "offset and scale: got 0.0 and 1e-50, must be float32 numbers",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_file_and_key(finished_run: Path, what: str) -> None:
    written = json.loads((finished_run / "bundle" / "manifest.json").read_bytes())
    change, text = WRONG[what]
    change(written)
    with pytest.raises(FormatError) as caught:
        parse(written, "manifest.json")
    assert str(caught.value).startswith("manifest.json: ") and text in str(caught.value) and "\n" not in str(caught.value)


PROGRAMS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another tensor": (lambda m: dense(m).update(x="code"), "reads 'code' before it is written"),
    "another size": (lambda m: m["operations"]["fused"]["tensors"]["code"].update(size=7), "must be ((12,), (4,))"),
    "no such constant": (lambda m: dense(m).update(bias="b"), "there is no bias 'b'"),
    "a constant of another dtype": (
        lambda m: dense(m).update(bias="kernel_1"),
        "kernel_1: got int8 [12, 4], must be int32 [12]",
    ),
    "half a float program": (
        lambda m: m["operations"]["fused"]["tensors"]["x"].update(quantization=None),
        "some tensors are quantized",
    ),
    "a kernel without values": (
        lambda m: m["operations"]["fused"]["constants"].pop("kernel_0"),
        "there are no constants of kernel_0",
    ),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_operations_that_do_not_fit_are_a_damaged_manifest(finished_run: Path, tmp_path: Path, what: str) -> None:
    """Every key has its type, but no program can be made of them."""
    folder = shutil.copytree(finished_run / "bundle", tmp_path / "bundle")
    written = json.loads((folder / "manifest.json").read_bytes())
    change, text = PROGRAMS[what]
    change(written)
    bundle = Bundle(folder, parse(written, folder))
    contents = {name: read_model(folder / name) for name in bundle.models}
    with pytest.raises(FormatError, match=r"manifest\.json: operations are damaged: ") as caught:
        bundle.programs(contents)
    assert text in str(caught.value)


@pytest.mark.ci
@settings(max_examples=60)
@given(st.data())
def test_whatever_stands_in_a_manifest_it_is_read_or_damaged(finished_run: Path, data: st.DataObject) -> None:
    found = changed_somewhere(json.loads((finished_run / "bundle" / "manifest.json").read_bytes()), data)
    try:
        manifest = parse(found, "manifest.json")
        contents = {name: read_model(finished_run / "bundle" / name) for name in manifest.models}
        bundle = Bundle(finished_run / "bundle", manifest)
        bundle.programs(contents)
        bundle.masks()
        bundle.golden()
    except FormatError as error:
        assert "\n" not in str(error)


@settings(max_examples=10)
@given(st.data())
def test_no_change_of_a_value_makes_verify_crash(
    finished_run: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed") / "bundle"
    shutil.copytree(finished_run / "bundle", folder)
    found = changed_somewhere(json.loads((folder / "manifest.json").read_bytes()), data)
    (folder / "manifest.json").write_text(json.dumps(found), encoding="utf-8")
    assert main(["verify", str(folder), "-q"]) in (0, 1, 2)
    assert np.load(folder / "golden" / "x.npy").size
