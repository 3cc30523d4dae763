"""A target is one row, as docs/explanation/architecture.md adds it: with every operation, from writer to report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Kind, Precision, read_metrics
from tiedae.cli import main
from tiedae.compress import ExportConfig, FormatError, RecipeError, VerifyConfig
from tiedae.dedupe.share import share_file
from tiedae.export.random_inputs import Ranges, ranges_of
from tiedae.export.storage_check import prove
from tiedae.export.targets import TARGETS, decoder_layout, label_of, layout_of, read_model, reference_layout, tolerances_of
from tiedae.program.file_io import FileIO
from tiedae.program.interpreter import execute
from tiedae.program.operations import OPERATIONS, Convolution, Reshape
from tiedae.program.operations.convolution import Moving, Windowed
from tiedae.program.program import SIGNATURES, Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.subjects import find_subjects

from ..architecture import run_example
from ..conftest import build_program
from ..earlier_models import models_of
from ..without_openvino import without_openvino
from .steps import STEPS_OPERATIONS

STEPS, RUNTIME = "steps", "steps-numpy"
"""The rows of the example in docs/explanation/architecture.md."""


@pytest.fixture(scope="module", autouse=True)
def steps(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The rows of the example are in the tables: the run of all workers is made before them."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("page"))
            run_example("A target")
        yield
    finally:
        TARGETS.pop(STEPS, None)
        RUNTIMES.pop(RUNTIME, None)


@pytest.fixture(scope="module")
def run(recipe_file: Path, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a recipe with the targets steps and tflite."""
    folder = tmp_path_factory.mktemp("dummy")
    text = recipe_file.read_text(encoding="utf-8")
    recipe = recipe_file.with_name("dummy.toml")
    recipe.write_text(f'{text}\n[export]\nstock = false\ntargets = ["steps", "tflite"]\n', encoding="utf-8")
    with without_openvino(), models_of(finished_run):
        assert main(["run", str(recipe), "--out", str(folder / "out"), "-q"]) == 0
    return folder / "out"


PROGRAMS: dict[str, dict[str, Any]] = {
    "bytes": {"granularity": "unit"},
    "integers": {"granularity": "unit", "byte_data": False, "activations": ("sigmoid", "relu6"), "output_activation": "tanh"},
    "wide": {"widths": (600, 40, 8), "bits": 4, "code_bits": 5},
    "no biases": {"bias": False, "activations": ("relu", "tanh"), "output_activation": "relu"},
    "gains": {"gains": True, "activations": ("relu", "tanh")},
    "floats": {"quantized": False, "activations": ("relu6", "tanh")},
    "floats with gains": {"quantized": False, "gains": True},
    "floats without biases": {
        "quantized": False,
        "bias": False,
        "activations": ("relu", "sigmoid"),
        "output_activation": "relu6",
    },
}


def written(program: Program, folder: Path) -> Path:
    """The program's file."""
    io = FileIO("uint8" if program.quantized else "float32")
    ((name, data),) = TARGETS[STEPS].write(program, "toy.int8", ExportConfig(), io).items()
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("form", ["split", "fused"])
@pytest.mark.parametrize("case", PROGRAMS)
def test_every_tensor_is_the_programs(case: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file and the code of its runtime alone, whose arithmetic is none of the operations'."""
    program = build_program(form=form, interleave=4, **PROGRAMS[case])
    path, x = written(program, tmp_path), program.tensors["x"]
    integers = np.random.default_rng(0).integers(0, 256, (50, *x.shape)).astype(np.uint8)
    samples = integers if program.quantized else integers.astype(np.float32) / 255
    expected = execute(program, "reconstruct", samples)
    contents = read_model(path)
    assert all(finding.ok for finding in prove(contents, program))
    for kind in OPERATIONS.values():
        for name in {"integers", "reals"} & set(vars(kind)):
            monkeypatch.delattr(kind, name)
    session = RUNTIMES[RUNTIME].open(dict.fromkeys(SIGNATURES, path))
    traced = session.trace("reconstruct", samples)
    assert set(traced) == set(program.tensors)
    for name, values in expected.items():
        assert traced[name].dtype == values.dtype
        np.testing.assert_allclose(traced[name], values, atol=0 if program.quantized else 1e-5)
    np.testing.assert_array_equal(session.run("decode", traced["code"])["y"], traced["y"])


def test_the_target_has_every_operation_of_dense_layers() -> None:
    dense = set(OPERATIONS.values()) - {Convolution, Reshape, *Moving.__subclasses__(), *Windowed.__subclasses__()}
    assert set(STEPS_OPERATIONS) == dense
    programs = (build_program(form=form, interleave=4, **case) for form in ("split", "fused") for case in PROGRAMS.values())
    assert {type(operation) for program in programs for operation in program.operations} == dense


def test_it_is_in_the_bundle_and_its_storage_is_proven(run: Path) -> None:
    metrics = read_metrics(run / "bundle" / "metrics.json")
    ours = [row for row in metrics.files if row.format == STEPS]
    assert {row.precision for row in ours} == {*Precision} and {row.kernel_copies for row in ours} == {1}
    assert all(row.ok for row in metrics.storage if row.file.endswith(".steps"))
    assert any(row.file.endswith(".int8.steps") for row in metrics.storage)


def test_it_is_verified_in_its_runtime_from_the_files_alone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "metrics.json"
    assert main(["verify", str(run / "bundle"), "-q", "--json", str(out)]) == 0
    rows = read_metrics(out).parity
    own = [row for row in rows if row.runtime == RUNTIME]
    codes = [row for row in own if row.kind is Kind.CODES]
    assert codes and all(row.differing == 0 for row in codes)
    assert RUNTIME in {name for row in rows if row.kind is Kind.FORMATS for name in (row.runtime, row.reference)}


def test_a_damaged_file_of_it_is_found(run: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(run / "bundle", tmp_path / "bundle")
    path = next(bundle.glob("*.int8.steps"))
    file = json.loads(path.read_bytes())
    file["constants"]["kernel_0"][1][0][0] += 1
    path.write_text(json.dumps(file), encoding="utf-8")
    assert main(["verify", str(bundle), "-q"]) == 1


def test_report_and_card_show_it(run: Path) -> None:
    report = (run / "bundle" / "report.html").read_text(encoding="utf-8")
    card = (run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Graph of the int8 Steps files" in report and ".int8.steps" in report
    assert "NumPy, `reconstruct`, from the folder of the bundle" in card and "from steps import StepsSession" in card


def test_bench_takes_it_or_says_why_not(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(run / "bundle")
    found = find_subjects(bundle, run / "stock", None, tmp_path)
    skipped = {row.what: row.reason for row in found.skipped}
    assert skipped["tiedae int8 steps"] == skipped["tiedae f32 steps"] == "no runtime of Steps files is timed"
    assert skipped["stock int8 steps"] == "there is no stock converter to Steps"
    assert STEPS not in {each.format for each in found.subjects}
    monkeypatch.setitem(RUNTIMES, RUNTIME, replace(RUNTIMES[RUNTIME], module="numpy"))
    subjects = {each.name: each for each in find_subjects(bundle, run / "stock", None, tmp_path).subjects}
    assert {name for name in subjects if name.endswith(STEPS)} == {"tiedae int8 steps", "tiedae f32 steps"}
    assert [*subjects["tiedae int8 steps, reconstruct alone"].files] == ["reconstruct"]


def test_it_cannot_be_shared_in_one_clear_line(run: Path, tmp_path: Path) -> None:
    path = next((run / "bundle").glob("*.int8.steps"))
    with pytest.raises(FormatError, match=r"int8\.steps: must end in .tflite or .lite or .onnx: no other file"):
        share_file(path, tmp_path / "out.steps")
    assert ranges_of(path, read_model(path)) == Ranges()


def test_without_its_row_it_is_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TARGETS, STEPS)
    assert label_of("a.steps") == "" and decoder_layout(["onnx"]) == "fused" and decoder_layout(["onnx", "tflite"]) == "split"
    with pytest.raises(RecipeError, match=r"targets\[1\]: got 'steps', must be one of tflite, onnx, c"):
        decoder_layout(["onnx", STEPS])
    (tmp_path / "a.steps").write_bytes(b"")
    with pytest.raises(FormatError, match=r"must end in \.tflite or \.lite or \.onnx or \.c"):
        read_model(tmp_path / "a.steps")


@pytest.mark.parametrize(
    ("decoder", "targets", "layouts", "simulated", "reference"),
    [
        ("auto", ("tflite", "onnx"), ("split", "fused"), "split", "fused"),
        ("split", ("tflite", "c"), ("split", "fused"), "split", "fused"),
        ("view", ("tflite", "onnx", "c"), ("fused", "fused", "fused"), "view", "view"),
        ("view", ("onnx", "c"), ("fused", "fused"), "fused", "fused"),
        ("view", (STEPS, "tflite"), ("split", "fused"), "split", "view"),
    ],
)
def test_the_layout_of_a_decoder(decoder, targets, layouts, simulated, reference) -> None:
    assert tuple(layout_of(each, decoder) for each in targets) == layouts
    assert (decoder_layout(targets, decoder), reference_layout(targets, decoder)) == (simulated, reference)


def test_its_own_tolerances_hold_where_the_recipe_keeps_the_default(run: Path) -> None:
    checks = read_metrics(run / "bundle" / "metrics.json").checks
    limits = {(check.runtime, check.kind): check.limit for check in checks}
    assert limits[RUNTIME, "operations"] == limits[RUNTIME, "output"] == "<= 0 LSB"
    assert limits[RUNTIME, "codes"].endswith("<= 0 LSB")
    assert limits["litert-xnnpack", "operations"] == "<= 1 LSB"
    stated = VerifyConfig(operation_max_lsb=2)
    assert tolerances_of(STEPS, stated).operation_max_lsb == 2 and tolerances_of(STEPS, stated).codes_max_lsb == 0
    assert tolerances_of("tflite", stated) == stated
