"""What a baseline lacks is named with its reason and number; what it has is compared as before."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tiedae.verify.baseline import compare_metrics
from tiedae.verify.figures import Figure, fit_figure

from ..typed import typed
from .test_baseline import ANOMALY, all_of, metrics, no_samples, set_parity, skip, without

RUNTIME = all_of(without("parity", "ort-cpu"), without("checks", "ort-cpu"), skip("opens", "not installed", "gone", "ort-cpu"))


def failed(now: dict[str, Any], before: dict[str, Any], allow: float = 0.01) -> dict[str, str]:
    found = compare_metrics(typed(now), typed(before), allow=allow, allow_unmeasured=True)
    return {check.detail: check.text for check in found.checks if not check.ok}


def test_figures_that_the_baseline_does_not_define_are_counted() -> None:
    before, now = metrics(), metrics()
    before["quality"][1]["fidelity"].update(value=None)
    again = before["quality"][1] | {"runtime": "litert-reference", "fidelity": {**before["quality"][1]["fidelity"]}}
    before["quality"].append(again)
    now["quality"].append({**again})
    found = compare_metrics(typed(now), typed(before), allow=0.01)
    assert all(check.ok for check in found.checks)
    assert found.uncompared == ("2 figures (are not defined in the baseline)",)


@pytest.mark.parametrize(("count", "more"), [(1, ""), (3, ""), (4, ", …")])
def test_three_lost_checks_are_named_and_the_others_counted(count: int, more: str) -> None:
    before = metrics()
    row = {"kind": "sha256", "ok": True, "value": 1, "limit": "== 1", "text": "it holds"}
    before["checks"] = [row | {"file": f"{i}.bin"} for i in range(count)]
    now = metrics() | {"checks": []}
    found = compare_metrics(typed(now), typed(before), allow=0.01)
    (check,) = [each for each in found.checks if not each.ok]
    names = ", ".join(f"sha256 {i}.bin" for i in range(min(count, 3)))
    assert (check.value, check.text) == (count, f"held in the baseline, not checked now: {names}{more}")


@pytest.mark.parametrize("kind", ["quality", "score", "task"])
def test_a_check_of_samples_is_lost_where_there_are_samples(kind: str) -> None:
    before, now = metrics(), metrics()
    row = {"ok": True, "value": 1, "limit": "== 1", "text": "", "file": "a.int8.tflite", "runtime": "litert-builtin"}
    before["checks"].append(row | {"kind": kind})
    assert f"not checked now: {kind} a.int8.tflite litert-builtin" in failed(now, before)["checks"]
    no_samples(now)
    assert not failed(now, before)


def test_a_layout_that_still_runs_is_held_where_another_runtime_is_gone() -> None:
    before, now = metrics(), metrics()
    RUNTIME(now)
    now["errors"][1]["rms"] = 0.9
    assert failed(now, before) == {
        "quantization split": "quantization split y: 0.9 RMS, in the baseline 0.5 RMS, must be at most 0.505 RMS"
    }
    now["errors"] = []
    assert not failed(now, before)


def test_figures_behind_those_of_a_runtime_that_is_gone_are_held() -> None:
    """Of two layouts of the program, the first has no runtime left."""
    before, now = metrics(), metrics()
    before["errors"].append(before["errors"][1] | {"layout": "fused"})
    row = {"file": "a.int8.tflite", "runtime": "litert-builtin", "quantile": 0.99, "normal": 1000, "false_alarms": 10}
    before["alarms"] = [row]
    RUNTIME(now)
    now["errors"] = [now["errors"][1] | {"layout": "fused", "rms": 0.9}]
    now["alarms"] = [row | {"false_alarms": 900}]
    assert failed(now, before).keys() == {"quantization fused", "task a.int8.tflite litert-builtin"}


@pytest.mark.parametrize("samples", [True, False])
def test_the_rounding_of_another_program_is_held_where_no_samples_say_whether_it_is_worse(samples: bool) -> None:
    program = {"kind": "sha256", "ok": True, "limit": "", "text": "", "file": "golden/program.npz"}
    before, now = metrics(), metrics()
    before["checks"].append(program | {"value": "0"})
    now["checks"].append(program | {"value": "1"})
    all_of(set_parity(0, max_lsb=9), lambda found: None if samples else no_samples(found))(now)
    assert failed(now, before).keys() == (set() if samples else {"parity a.int8.tflite litert-builtin"})


def test_the_first_reason_why_figures_of_a_task_are_missing_is_said() -> None:
    """A detector's labels are missing, and a measure of the task is not installed."""
    before, now = metrics() | {"task": ANOMALY}, metrics() | {"task": None}
    all_of(skip("task", "no samples", "there are no labels"), skip("task", "not installed", "a package is missing"))(now)
    found = compare_metrics(typed(now), typed(before), allow=0.01, allow_unmeasured=True)
    reasons = {text.rpartition(" (")[2] for text in found.uncompared if text.startswith("task anomaly")}
    assert reasons == {"there are no labels)"}


@pytest.mark.parametrize(("measure", "best"), [("PSNR", math.inf), ("R²", 1.0), ("PRDN", 0.0)])
def test_a_fit_without_error_is_the_best_there_is(measure: str, best: float) -> None:
    exact = fit_figure(measure, None, 0.0)
    assert exact == Figure(measure, best)
    assert fit_figure(measure, 0.5, 1.0) == Figure(measure, 0.5)
    assert fit_figure("another", 0.5, 0.0) == Figure("another", None)
    nearly = {"PSNR": 300.0, "R²": 1 - 1e-12, "PRDN": 1e-9}[measure]
    assert exact.loss < Figure(measure, nearly).loss


@pytest.mark.parametrize(("full_scale", "growth"), [(0.25, 1e-6), (1.0, 1e-6), (10.0, 1e-5)])
def test_a_difference_of_floats_may_grow_by_a_millionth_of_full_scale(full_scale: float, growth: float) -> None:
    """Full scale is 1 at least."""
    for share, ok in ((0.99, True), (1.01, False)):
        before, now = metrics(), metrics()
        set_parity(1, max_abs=0.0, full_scale=full_scale)(before)
        set_parity(1, max_abs=share * growth, full_scale=full_scale)(now)
        assert (not failed(now, before, allow=0)) == ok
