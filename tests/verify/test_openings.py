"""Which files are opened in which runtime, and the row with the reason where one is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiedae.base.errors import InputError, NotInstalledError, UnavailableError
from tiedae.bundle.bundle import Bundle
from tiedae.compress import VerifyConfig
from tiedae.export.kinds import Kind, Why
from tiedae.export.targets import read_model
from tiedae.runtimes.table import RUNTIMES, Runtime
from tiedae.verify import sessions
from tiedae.verify.findings import Findings
from tiedae.verify.sessions import Runnable, open_sessions

Opened = Callable[..., tuple[list[tuple[str, dict[str, str]]], Findings]]


def failing(error: Exception) -> Runtime:
    def load() -> Any:
        raise error

    return dataclasses.replace(RUNTIMES["ort-cpu"], load=load)


@pytest.fixture
def opened(small_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """opened(usable, **runtimes): what the int8 files of a bundle open in, of runtimes before ort-cpu."""
    bundle = Bundle.open(small_runs / "bytes" / "bundle")
    programs = bundle.programs({name: read_model(bundle.path / name) for name in bundle.models})

    def run(damaged: set[str], **runtimes: Runtime) -> tuple[list[tuple[str, dict[str, str]]], Findings]:
        monkeypatch.setattr(sessions, "RUNTIMES", {**runtimes, "ort-cpu": RUNTIMES["ort-cpu"]})
        findings = Findings()
        runnable = Runnable(bundle, programs, set(bundle.manifest.files) - damaged, {}, set(), 1)
        found = [(session.runtime, dict(files)) for session, files, _ in open_sessions(runnable, "int8", findings)]
        return found, findings

    return run


FILES = {"reconstruct": "bytes.int8.onnx", "encode": "bytes.encoder.int8.onnx", "decode": "bytes.decoder.int8.onnx"}


def test_whole_files_open_and_damaged_ones_have_a_row(opened: Opened) -> None:
    """With the files whose kernels are in a damaged one."""
    found, findings = opened(set())
    assert found == [("ort-cpu", FILES)] and findings == Findings()
    found, findings = opened({"bytes.int8.onnx"})
    assert found == [("ort-cpu", {name: FILES[name] for name in ("encode", "decode")})]
    rows = [(row.kind, row.why, row.what, row.reason) for row in findings.skipped]
    assert rows == [(Kind.RUNS, Why.REFUSED, "running bytes.int8.onnx", "it is damaged")]
    found, findings = opened({"bytes.int8.kernels.bin"})
    assert found == [("ort-cpu", {"reconstruct": FILES["reconstruct"]})]
    assert {row.what for row in findings.skipped} == {f"running {FILES[name]}" for name in ("encode", "decode")}


@pytest.mark.parametrize(
    ("error", "why"),
    [(NotInstalledError("it is not here"), Why.NOT_INSTALLED), (UnavailableError("it is broken"), Why.UNAVAILABLE)],
)
def test_a_runtime_that_is_not_there_is_apart_from_one_that_is_broken(opened: Opened, error: Exception, why: Why) -> None:
    found, findings = opened(set(), first=failing(error))
    assert found == [("ort-cpu", FILES)] and findings.observed == []
    rows = [(row.kind, row.why, row.what, row.reason, row.runtime) for row in findings.skipped]
    assert rows == [(Kind.OPENS, why, "first on int8", str(error), "first")]


def test_a_refusal_is_a_failed_check_and_the_next_runtime_runs(opened: Opened) -> None:
    found, findings = opened(set(), first=failing(InputError("no such operator")))
    assert found == [("ort-cpu", FILES)] and findings.skipped == []
    (check,) = findings.judged(VerifyConfig())
    assert (check.ok, check.kind, check.detail, check.runtime) == (False, Kind.OPENS, "int8 onnx", "first")
    files = "bytes.decoder.int8.onnx and bytes.encoder.int8.onnx and bytes.int8.onnx"
    assert (check.value, check.limit, check.text) == ("refused", "opens", f"{files} in first: no such operator")


@pytest.mark.parametrize("faulty", [("reconstruct",), ("encode", "decode", "reconstruct")], ids=str)
def test_files_that_a_fault_concerns_do_not_run_and_the_next_runtime_does(opened: Opened, faulty: tuple[str, ...]) -> None:
    fault = dataclasses.replace(RUNTIMES["ort-cpu"], fault=lambda _program, signature: "it errs" * (signature in faulty))
    found, findings = opened(set(), first=fault)
    left = {name: file for name, file in FILES.items() if name not in faulty}
    assert found == [("ort-cpu", left)] * bool(left) + [("ort-cpu", FILES)]
    rows = {(row.kind, row.why, row.what, row.reason) for row in findings.skipped}
    assert rows == {(Kind.OPENS, Why.FAULTY, f"{FILES[name]} in first", "it errs") for name in faulty}


def test_a_runtime_of_the_other_precision_opens_nothing(opened: Opened) -> None:
    found, findings = opened(set(), first=dataclasses.replace(RUNTIMES["ort-cpu"], precisions=("f32",)))
    assert found == [("ort-cpu", FILES)] and findings == Findings()
