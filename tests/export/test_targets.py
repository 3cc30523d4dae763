"""A target is one row: a format that only this test knows gets a bundle, a verification and a report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiedae.cli import main
from tiedae.compress import ExportConfig, FormatError, RecipeError, VerifyConfig
from tiedae.compress.archive import pack_npz, unpack
from tiedae.compress.records import decode, plain
from tiedae.export.bench.subjects import find_subjects
from tiedae.export.bundle import Bundle
from tiedae.export.deduplicate.share import share_file
from tiedae.export.file_io import FileIO
from tiedae.export.formats.model_file import Constant, Contents, Signature, TensorInfo
from tiedae.export.formats.random_inputs import Ranges, ranges_of
from tiedae.export.interpreter import execute
from tiedae.export.manifest import ProgramText
from tiedae.export.program import Program
from tiedae.export.runtimes.table import RUNTIMES, Runtime
from tiedae.export.targets import TARGETS, Target, decoder_layout, label_of, read_model, tolerances_of
from tiedae.export.verify.results import Kind, Precision, read_metrics

KIND = "numpy-program"


def write(program: Program, stem: str, config: ExportConfig, io: FileIO) -> dict[str, bytes]:
    assert io.folded is None
    header = {"format": KIND, "version": 1, "program": plain(ProgramText.of(program)), "signatures": list(config.signatures)}
    return {f"{stem}.program": pack_npz(header, program.constants)}


def parsed(path: Path) -> tuple[Program, list[str]]:
    header, arrays = unpack(path, KIND)
    return decode(ProgramText, header["program"], path).program("numpy", arrays), header["signatures"]


def read(path: Path) -> Contents:
    program, signatures = parsed(path)
    constants = [
        Constant(name, values, name, program.kernels[name].scales if name in program.kernels else ())
        for name, values in program.constants.items()
    ]

    def info(name: str) -> TensorInfo:
        tensor = program.tensors[name]
        affine = tensor.quantization
        dtype, numbers = ("float32", ()) if affine is None else ("uint8", (affine.scale, affine.zero_point))
        return TensorInfo(name, dtype, (None, *tensor.shape), *numbers)

    found = []
    for signature in signatures:
        operations, source, outputs = program.part(signature)
        counts = {type(operation).__name__: 1 for operation in operations}
        found.append(Signature(signature, (info(source),), tuple(map(info, outputs)), counts))
    return Contents("numpy", path.stat().st_size, tuple(constants), tuple(found))


class Numpy:
    """A session that executes the program in the file."""

    runtime = provider = "numpy-runtime"

    def __init__(self, files: Mapping[str, Path], *, threads: int = 1) -> None:
        self.programs = {signature: parsed(path)[0] for signature, path in files.items()}

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        program = self.programs[signature]
        values = execute(program, signature, x)
        return {name: values[name] for name in program.part(signature)[2]}

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        return execute(self.programs[signature], signature, x)


def snippet(file: str, signature: str, _io: Mapping[str, Any], x: str) -> list[str]:
    return ["import numpy_runtime", f"result = numpy_runtime.run({file!r}, {signature!r}, {x})"]


EXACT = {"operation_max_lsb": 0, "codes_max_lsb": 0}
"""The tolerances of the row: numpy is the program's own arithmetic."""


@pytest.fixture(scope="module")
def dummy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        row = Target("NumPy", ".program", "fused", write, read, "NumPy", snippet, tolerances=EXACT)
        patch.setitem(TARGETS, "numpy", row)
        runtime = Runtime("numpy", ("int8", "f32"), "program", "divide", lambda: Numpy, role="usual")
        patch.setitem(RUNTIMES, "numpy-runtime", runtime)
        yield


@pytest.fixture(scope="module")
def run(dummy: None, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a recipe with the targets numpy and tflite."""
    folder = tmp_path_factory.mktemp("dummy")
    text = recipe_file.read_text(encoding="utf-8")
    recipe = recipe_file.with_name("dummy.toml")
    recipe.write_text(f'{text}\n[export]\ntargets = ["numpy", "tflite"]\n', encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(folder / "out"), "-q"]) == 0
    return folder / "out"


def test_it_is_in_the_bundle_and_its_storage_is_proven(run: Path) -> None:
    metrics = read_metrics(run / "bundle" / "metrics.json")
    ours = [row for row in metrics.files if row.format == "numpy"]
    assert {row.precision for row in ours} == {*Precision} and {row.kernel_copies for row in ours} == {1}
    assert all(row.ok for row in metrics.storage if row.file.endswith(".program"))
    assert any(row.file.endswith(".int8.program") for row in metrics.storage)


def test_it_is_verified_in_its_runtime_from_the_files_alone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "metrics.json"
    assert main(["verify", str(run / "bundle"), "-q", "--json", str(out)]) == 0
    rows = read_metrics(out).parity
    own = [row for row in rows if row.runtime == "numpy-runtime"]
    codes = [row for row in own if row.kind is Kind.CODES]
    assert codes and all(row.differing == 0 for row in codes)
    assert "numpy-runtime" in {name for row in rows if row.kind is Kind.FORMATS for name in (row.runtime, row.reference)}


def test_a_damaged_file_of_it_is_found(run: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(run / "bundle", tmp_path / "bundle")
    path = next(bundle.glob("*.int8.program"))
    header, arrays = unpack(path, KIND)
    arrays["kernel_0"] = arrays["kernel_0"] + np.int8(1)
    path.write_bytes(pack_npz(header, arrays))
    assert main(["verify", str(bundle), "-q"]) == 1


def test_report_and_card_show_it(run: Path) -> None:
    report = (run / "bundle" / "report.html").read_text(encoding="utf-8")
    card = (run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Graph of the int8 NumPy files" in report and ".int8.program" in report
    assert "NumPy, `reconstruct`, from the folder of the bundle" in card and "numpy_runtime.run(" in card


def test_bench_takes_it_or_says_why_not(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(run / "bundle")
    found = find_subjects(bundle, run / "stock", None, tmp_path)
    skipped = {row.what: row.reason for row in found.skipped}
    assert skipped["tiedae int8 numpy"] == skipped["tiedae f32 numpy"] == "no runtime of NumPy files is timed"
    assert skipped["stock int8 numpy"] == "there is no stock converter to NumPy"
    assert "numpy" not in {each.format for each in found.subjects}
    monkeypatch.setitem(RUNTIMES, "numpy-runtime", replace(RUNTIMES["numpy-runtime"], module="numpy"))
    subjects = {each.name: each for each in find_subjects(bundle, run / "stock", None, tmp_path).subjects}
    assert {name for name in subjects if name.endswith("numpy")} == {"tiedae int8 numpy", "tiedae f32 numpy"}
    assert [*subjects["tiedae int8 numpy, reconstruct alone"].files] == ["reconstruct"]


def test_it_cannot_be_shared_in_one_clear_line(run: Path, tmp_path: Path) -> None:
    path = next((run / "bundle").glob("*.int8.program"))
    with pytest.raises(FormatError, match=r"int8\.program: a NumPy file, must be a TFLite or ONNX file: no other is rewritten"):
        share_file(path, tmp_path / "out.program")
    assert ranges_of(path, read(path)) == Ranges()


def test_without_its_row_it_is_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TARGETS, "numpy", raising=False)
    assert label_of("a.program") == "" and decoder_layout(["onnx"]) == "fused" and decoder_layout(["onnx", "tflite"]) == "split"
    with pytest.raises(RecipeError, match=r"targets\[1\]: got 'numpy', must be one of tflite, onnx, c"):
        decoder_layout(["onnx", "numpy"])
    (tmp_path / "a.program").write_bytes(b"")
    with pytest.raises(FormatError, match=r"must end in \.tflite or \.lite or \.onnx or \.c"):
        read_model(tmp_path / "a.program")


def test_its_own_tolerances_hold_where_the_recipe_keeps_the_default(run: Path) -> None:
    checks = read_metrics(run / "bundle" / "metrics.json").checks
    limits = {(check.runtime, check.kind): check.limit for check in checks}
    assert limits["numpy-runtime", "operations"] == limits["numpy-runtime", "output"] == "<= 0 LSB"
    assert limits["numpy-runtime", "codes"].endswith("<= 0 LSB")
    assert limits["litert-xnnpack", "operations"] == "<= 1 LSB"
    stated = VerifyConfig(operation_max_lsb=2)
    assert tolerances_of("numpy", stated).operation_max_lsb == 2 and tolerances_of("numpy", stated).codes_max_lsb == 0
    assert tolerances_of("tflite", stated) == stated
