"""The files of a small program of equal layers, and their measurement as verify does it, without any training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Programs, model_files, write_files
from tiedae.bundle.reference_outputs import Original, best_floats, expect
from tiedae.compress import ExportConfig, VerifyConfig
from tiedae.export.targets import read_model
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.cross_format import measure_crossing
from tiedae.verify.error_breakdown import attribute
from tiedae.verify.findings import Evidence, Findings, Outputs, Subject
from tiedae.verify.measurement import measure_float, measure_int8

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

    @property
    def samples(self) -> np.ndarray:
        """float32 model inputs, [64, SIZE], that bytes stand for exactly."""
        return np.random.default_rng(3).integers(0, 256, (64, SIZE)).astype(np.float32) / np.float32(255)

    def subject(self, target: str, runtime: str) -> Subject:
        """The int8 files of a format in a runtime, with findings of their own."""
        files = self.files("int8", target)
        session = RUNTIMES[runtime].open({signature: self.folder / file for signature, file in files.items()})
        contents = {file: read_model(self.folder / file) for file in set(files.values())}
        return Subject(session, files, contents, self.int8.of(target), VerifyConfig(), Findings())

    def measure(self, *, runtimes: Mapping[str, str] = MAIN, signatures: Sequence[str] = SIGNATURES) -> Findings:
        """What verify does with the files of a bundle, in one runtime of each format."""
        findings, tolerances = Findings(), VerifyConfig()
        scaled = self.samples
        evidence = Evidence(
            scaled, scaled, best_floats(scaled, Original(), None, self.f32.fused, self.f32.fused.tensors), None, False
        )
        contents = {path.name: read_model(path) for path in self.folder.glob("toy*.*") if path.suffix in (".tflite", ".onnx")}
        expected = {target: expect(self.int8.of(target), scaled) for target in runtimes}
        everything: list[Outputs] = []
        for precision in ("int8", "f32"):
            measured = []
            for target, runtime in runtimes.items():
                files = {name: file for name, file in self.files(precision, target).items() if name in signatures}
                session = RUNTIMES[runtime].open({signature: self.folder / file for signature, file in files.items()})
                subject = Subject(session, files, contents, self.int8.of(target), tolerances, findings)
                if precision == "int8":
                    measured.append(measure_int8(subject, expected[target], evidence))
                else:
                    measured.append(measure_float(subject, evidence))
            measure_crossing(measured, expected if precision == "int8" else {}, evidence, findings, precision)
            everything += measured
        findings.errors += attribute(everything, expected, evidence.floats)
        return findings


@pytest.fixture
def case(make_program: Callable[..., Program], tmp_path: Path) -> Case:
    def programs(quantized: bool) -> Programs:
        forms = {form: make_program((SIZE,) * 4, ("relu", "relu", "linear"), form=form, quantized=quantized) for form in FORMS}
        return Programs(**forms)

    case = Case(tmp_path, programs(True), programs(False))
    write_files(tmp_path, model_files({"int8": case.int8, "f32": case.f32}, ExportConfig(), "uint8"))
    return case


FORMS = ("split", "fused")
