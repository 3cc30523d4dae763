"""What got worse than the baseline, and what could not be measured, is found and named; noise is no failure."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.bundle.results import Kind, read_metrics, to_json
from tiedae.compress import FormatError, InputError
from tiedae.report.result_writers import headline, to_junit, to_markdown
from tiedae.verify.allowance import Allowance
from tiedae.verify.baseline import compare_metrics, with_baseline
from tiedae.verify.figures import AMOUNT, DECIBEL, DIFFERENT, EXPLAINED, FRACTION, MEASURES, RATE, Figure

from ..report.conftest import bench
from ..typed import changed_somewhere, typed


def metrics() -> dict[str, Any]:
    """Of two files in two runtimes, one of each precision, and of a stock file."""
    lsb = {"precision": "int8", "file": "a.int8.tflite", "runtime": "litert-builtin", "count": 1000, "differing": 20}
    codes = {"kind": "codes", "tensor": "code", "signature": "encode", "max_lsb": 1}
    real = {"precision": "f32", "file": "a.f32.onnx", "runtime": "ort-cpu", "count": 1000, "differing": 1000}
    y = {"kind": "float", "tensor": "y", "signature": "encode", "reference": "keras", "max_abs": 1e-7, "full_scale": 1.0}
    held = {"ok": True, "value": 1, "limit": "== 1", "text": "it holds"}
    fit = {"measure": "R²", "unit": "", "mse": 0.1, "value": 0.95}
    quality = {"title": "tiedae", "stage": "export", "error": 10.0, "runtime": "litert-builtin", "fidelity": fit}
    lost = {"error": "quantization", "precision": "int8", "runtime": "program", "reference": "keras", "layout": "split"}
    return {
        "name": "a",
        "model": {"widths": [8, 4]},
        "checks": [
            held | {"kind": "sha256", "file": "a.int8.tflite"},
            held | {"kind": "codes", "file": "a.int8.tflite", "signature": "encode", "runtime": "litert-builtin"},
            held | {"kind": "float", "detail": "y", "file": "a.f32.onnx", "signature": "encode", "runtime": "ort-cpu"},
        ],
        "storage": [],
        "files": [
            file_row("a.int8.tflite", 1000),
            file_row("a.f32.onnx", 4000, precision="f32"),
            file_row("a.stock.int8.tflite", 2000, maker="stock"),
        ],
        "quality": [
            {"title": "Keras float", "stage": "train", "error": 9.0},
            quality | {"file": "a.int8.tflite", "fidelity": dict(fit)},
            quality | {"file": "a.stock.int8.tflite"},
        ],
        "parity": [lsb | codes, real | y, lsb | codes | {"file": "a.stock.int8.tflite", "kind": "witness"}],
        "errors": [lost | {"layer": layer, "rms": 0.5, "max_abs": 1.0, "mean": 0.0, "count": 80} for layer in ("code", "y")],
        "skipped": [],
        "versions": {},
    }


def file_row(file: str, size: int, *, maker: str = "tiedae", precision: str = "int8") -> dict[str, Any]:
    format_ = file.rpartition(".")[2]
    return {"file": file, "bytes": size, "format": format_, "precision": precision, "maker": maker, "kernel_copies": 1}


def set_parity(row: int, **values: Any) -> Callable[[dict], object]:
    return lambda found: found["parity"][row].update(values)


def without(table: str, name: str) -> Callable[[dict], object]:
    """Takes every row of a table out that has this name anywhere."""

    def change(found: dict) -> None:
        found[table] = [row for row in found[table] if not any(name in str(value) for value in row.values())]

    return change


def skip(kind: str, why: str, reason: str, runtime: str = "") -> Callable[[dict], object]:
    row = {"kind": kind, "why": why, "what": "something", "reason": reason, "runtime": runtime}
    return lambda found: found["skipped"].append(row)


def all_of(*changes: Callable[[dict], object]) -> Callable[[dict], object]:
    def change(found: dict) -> None:
        for each in changes:
            each(found)

    return change


def no_samples(found: dict) -> None:
    found["quality"] = []
    skip("quality", "no samples", "no test samples given; golden vectors")(found)


def no_runtime(reason: str, why: str = "not installed") -> Callable[[dict], object]:
    return all_of(without("parity", "ort-cpu"), without("checks", "ort-cpu"), skip("opens", why, reason, "ort-cpu"))


WORSE: dict[str, tuple[Callable[[dict], object], str, str]] = {
    "bytes": (lambda found: found["files"][0].update(bytes=1011), "bytes a.int8.tflite", "1,011 bytes, in the baseline 1,000"),
    "error": (lambda found: found["quality"][1].update(error=10.2), "quality a.int8.tflite litert-builtin", "error 10.2"),
    "fraction": (set_parity(0, differing=31), "parity a.int8.tflite litert-builtin", "3.100%, in the baseline 2.000%"),
    "fit": (
        lambda found: found["quality"][1]["fidelity"].update(value=0.949),
        "quality a.int8.tflite litert-builtin",
        "R²: 0.9490, in the baseline 0.9500",
    ),
    "no fit": (
        lambda found: found["quality"][1]["fidelity"].update(value=None),
        "quality a.int8.tflite litert-builtin",
        "R²: not defined, in the baseline 0.9500",
    ),
    "lsb": (set_parity(0, max_lsb=2), "parity a.int8.tflite litert-builtin", "2 LSB, in the baseline 1 LSB"),
    "float": (set_parity(1, max_abs=2e-6), "parity a.f32.onnx ort-cpu", "2e-06, in the baseline 1e-07"),
    "layer": (lambda found: found["errors"][1].update(rms=0.6), "quantization split", "y: 0.6 RMS, in the baseline 0.5 RMS"),
    "nan": (set_parity(1, problem="nan"), "parity a.f32.onnx ort-cpu", "not measured now"),
    "file": (without("files", "a.f32.onnx"), "bytes a.f32.onnx", "4,000 bytes in the baseline, not measured now"),
    "row": (without("quality", "tiedae"), "quality a.int8.tflite litert-builtin", "not measured now"),
    "check": (without("checks", "sha256"), "checks", "not checked now: sha256 a.int8.tflite"),
    "runtime": (no_runtime("its kernels are broken", "unavailable"), "runtime ort-cpu", "does not now: its kernels are broken"),
    "broken": (
        no_runtime("onnxruntime is not installed in whole", "unavailable"),
        "runtime ort-cpu",
        "does not now: onnxruntime is not",
    ),
    "other": (
        all_of(without("parity", "ort-cpu"), skip("opens", "not installed", "it is not here", "tflm")),
        "runtime ort-cpu",
        "it is not among the runtimes",
    ),
    "silent": (without("parity", "ort-cpu"), "runtime ort-cpu", "it is not among the runtimes"),
}


@pytest.mark.parametrize("case", WORSE)
def test_what_got_worse_is_one_failed_check_that_says_how(case: str) -> None:
    change, name, text = WORSE[case]
    now = metrics()
    change(now)
    (failed,) = [check for check in compare_metrics(typed(now), typed(metrics()), allow=0.01).checks if not check.ok]
    assert failed.name == f"baseline {name}" and text in failed.text


UNLIKE = "were taken over another number of values than in the baseline"
FINE: dict[str, tuple[Callable[[dict], object], list[str]]] = {
    "nothing": (lambda found: None, []),
    "bytes": (lambda found: found["files"][0].update(bytes=1010), []),
    "fraction": (set_parity(0, differing=30), []),
    "float": (set_parity(1, max_abs=2e-7), []),
    "scale": (set_parity(1, max_abs=9e-6, full_scale=10.0), []),
    "stock": (without("files", "stock"), []),
    "hidden layer": (lambda found: found["errors"][0].update(rms=9.0), []),
    "latency": (lambda found: found.update(bench=bench()), []),
    "fewer": (set_parity(0, max_lsb=9, count=999), [UNLIKE]),
    "fewer that differ": (
        set_parity(0, differing=200, count=999),
        [UNLIKE],
    ),
    "more": (set_parity(0, max_lsb=9, count=1001), [UNLIKE]),
    "exact": (lambda found: found["quality"][1]["fidelity"].update(value=None, mse=0.0), []),
    "no Keras": (skip("quality", "no Keras model", "no Keras model given"), []),
}


@pytest.mark.parametrize("case", FINE)
def test_noise_does_not_fail(case: str) -> None:
    change, reasons = FINE[case]
    before, now = metrics(), metrics()
    before["samples"] = {"sha256": "0", "source": "old"}
    if case == "scale":
        before["parity"][1].update(full_scale=10.0)
    change(now)
    found = compare_metrics(typed(now), typed(before), allow=0.01)
    assert [check.text for check in found.checks if not check.ok] == []
    assert [row.reason for row in found.skipped] == reasons
    assert all(row.kind is Kind.BASELINE for row in found.skipped)


UNMEASURED: dict[str, tuple[Callable[[dict], object], str, str]] = {
    "samples": (no_samples, "quality", "no test samples given; golden vectors"),
    "runtime": (no_runtime("onnxruntime is not installed"), "runtime ort-cpu", "onnxruntime is not installed"),
    "words": (no_runtime("whatever the sentence says"), "runtime ort-cpu", "whatever the sentence says"),
    "data": (
        lambda found: (found.update(samples={"sha256": "1", "source": "new"}), found["quality"][1].update(error=99.0)),
        "quality",
        "measured on new, in the baseline on other samples (old)",
    ),
}


@pytest.mark.parametrize("case", UNMEASURED)
def test_what_could_not_be_measured_fails_one_check_unless_it_is_allowed(case: str) -> None:
    change, what, reason = UNMEASURED[case]
    before, now = metrics(), metrics()
    before["samples"] = {"sha256": "0", "source": "old"}
    change(now)
    (failed,) = [each for each in compare_metrics(typed(now), typed(before), allow=0.01).checks if not each.ok]
    assert failed.detail == "unmeasured"
    assert failed.text == f"not measured now: {what} ({reason}); --allow-unmeasured accepts that"
    merged = with_baseline(typed(now), typed(before), name="old.json", allow=0.01, allow_unmeasured=True)
    assert not merged.failed and merged.baseline is not None
    assert merged.baseline.uncompared == (f"{what} ({reason})",)
    assert headline(merged) == f"a: all {len(merged.checks)} checks hold; not compared with old.json: {what} ({reason})"


def test_a_missing_keras_model_excuses_its_own_checks_and_no_figure() -> None:
    before, now = metrics(), metrics()
    loss = {"kind": "quality", "ok": True, "value": 0, "limit": "<= 1", "text": "", "file": "a.int8.tflite"}
    before["checks"].append(loss)
    no_keras = skip("quality", "no Keras model", "no Keras model given")
    no_keras(now)
    found = compare_metrics(typed(now), typed(before), allow=0.01)
    assert all(check.ok for check in found.checks)
    assert found.uncompared == ("quality against Keras (no Keras model was given; 1 checks)",)
    without("quality", "a.int8.tflite")(now)
    (failed,) = [each for each in compare_metrics(typed(now), typed(before), allow=0.01).checks if not each.ok]
    assert failed.detail == "quality a.int8.tflite litert-builtin"


def test_a_baseline_without_quality_is_said() -> None:
    before = metrics()
    before["quality"] = []
    now = metrics() | {"task": REDUCTION}
    found = compare_metrics(typed(now), typed(before), allow=0.01)
    expected = ("quality (the baseline has none)", "figures of the task (the baseline has none)")
    assert all(check.ok for check in found.checks) and found.uncompared == expected


def test_another_program_is_not_held_to_how_the_earlier_one_was_rounded() -> None:
    program = {"kind": "sha256", "ok": True, "limit": "", "text": "", "file": "golden/program.npz"}
    before, now = metrics(), metrics()
    before["checks"].append(program | {"value": "0"})
    for value, worse in (("0", 2), ("1", 0)):
        changed = all_of(set_parity(0, max_lsb=9), lambda found: found["errors"][1].update(rms=0.9))
        now = metrics()
        now["checks"].append(program | {"value": value})
        changed(now)
        found = compare_metrics(typed(now), typed(before), allow=0.01)
        assert sum(not check.ok for check in found.checks) == worse
        assert ("rounding by runtimes and layers" in " ".join(found.uncompared)) == (not worse)


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def detected(method: str) -> dict[str, Any]:
    return {"method": method, "roc_auc": estimate(0.9), "pr_auc": estimate(0.8), "f1": estimate(0.7)}


ANOMALY: dict[str, Any] = {
    "kind": "anomaly",
    "score": "mse",
    "quantile": 0.99,
    "threshold": 0.5,
    "held_out": 500,
    "samples": 2000,
    "alarms": 300,
    "normal": 1000,
    "false_alarms": 10,
    "seed": 0,
    "methods": [detected("int8"), detected("pca")],
    "labels": [
        {"label": "0", "normal": True, "samples": 1000, "flagged": 10},
        {"label": "7", "normal": False, "samples": 100, "flagged": 50, "roc_auc": estimate(0.9)},
    ],
}
POINT: dict[str, Any] = {"coder": "tied", "chosen": "", "bytes": 1000, "bits": 0.5, "mse": 30.0, "value": 33.0, "ssim": 0.9}
COMPRESSION: dict[str, Any] = {
    "kind": "compression",
    "sample_bytes": 784,
    "code_bytes": 16,
    "samples": 100,
    "measure": "PSNR",
    "unit": "dB",
    "points": [dict(POINT), POINT | {"coder": "pca", "chosen": "bits"}],
}
DENOISED: dict[str, Any] = {"level": 0.3, "mse": 200.0, "measure": "PSNR", "unit": "dB", "value": 25.0, "ssim": 0.8}
DENOISING: dict[str, Any] = {
    "kind": "denoising",
    "noise": "gaussian",
    "level": 0.3,
    "samples": 100,
    "rows": [
        DENOISED | {"method": "input", "mse": 900.0},
        DENOISED | {"method": "int8", "gain_db": 6.5},
        DENOISED | {"method": "int8", "gain_db": 5.0, "level": 0.6},
    ],
}
KEPT: dict[str, Any] = {"trustworthiness": 0.95, "continuity": 0.97, "knn_accuracy": 0.8}
REDUCTION: dict[str, Any] = {
    "kind": "reduction",
    "units": 4,
    "samples": 500,
    "neighbours": 10,
    "votes": 5,
    "train": 5000,
    "classes": 10,
    "methods": [KEPT | {"method": "int8"}, KEPT | {"method": "pca"}],
}
TASKS: dict[str, tuple[dict[str, Any], tuple[str | int, ...], float | str | None, str]] = {
    "roc": (ANOMALY, ("methods", 0, "roc_auc", "value"), 0.888, "score mse ROC-AUC: 0.8880, in the baseline 0.9000"),
    "pr": (ANOMALY, ("methods", 0, "pr_auc", "value"), 0.78, "PR-AUC: 0.7800, in the baseline 0.8000"),
    "f1": (ANOMALY, ("methods", 0, "f1", "value"), 0.68, "quantile 0.99 F1: 0.6800, in the baseline 0.7000"),
    "label": (ANOMALY, ("labels", 1, "roc_auc", "value"), 0.86, "label 7 ROC-AUC: 0.8600, in the baseline 0.9000"),
    "alarms": (ANOMALY, ("false_alarms",), 25, "alarm rate at quantile 0.99: 2.43 × the expected one, in the baseline 1 ×"),
    "silence": (ANOMALY, ("false_alarms",), 0, "alarm rate at quantile 0.99: 0.0476 × the expected one"),
    "quantile": (ANOMALY, ("quantile",), 0.9, "F1: 0.7000 in the baseline, not measured now; and 1 more"),
    "score": (ANOMALY, ("score",), "mae", "not measured now; and 4 more"),
    "samples": (ANOMALY, ("samples",), 200, "ROC-AUC: over 200 samples, in the baseline over 2,000"),
    "code": (COMPRESSION, ("code_bytes",), 17, "code: 17 bytes, in the baseline 16 bytes"),
    "file": (COMPRESSION, ("points", 0, "bytes"), 1011, "file: 1,011 bytes, in the baseline 1,000 bytes"),
    "bits": (COMPRESSION, ("points", 0, "bits"), 0.506, "bits per value: 0.506, in the baseline 0.5"),
    "mse": (COMPRESSION, ("points", 0, "mse"), 30.4, "MSE: 30.4, in the baseline 30"),
    "psnr": (COMPRESSION, ("points", 0, "value"), 32.95, "PSNR: 32.95 dB, in the baseline 33.00 dB"),
    "no psnr": (COMPRESSION, ("points", 0, "value"), None, "PSNR: not defined, in the baseline 33.00 dB"),
    "ssim": (COMPRESSION, ("points", 0, "ssim"), 0.88, "SSIM: 0.8800, in the baseline 0.9000"),
    "no ssim": (COMPRESSION, ("points", 0, "ssim"), None, "SSIM: 0.9000 in the baseline, not measured now"),
    "gain": (DENOISING, ("rows", 1, "gain_db"), 6.45, "level 0.3 gain: +6.45 dB, in the baseline +6.50 dB"),
    "louder": (DENOISING, ("rows", 2, "gain_db"), 4.95, "level 0.6 gain: +4.95 dB, in the baseline +5.00 dB"),
    "denoised": (DENOISING, ("rows", 1, "mse"), 203.0, "level 0.3 MSE: 203, in the baseline 200"),
    "noise": (DENOISING, ("noise",), "speckle", "not measured now; and 7 more"),
    "trust": (REDUCTION, ("methods", 0, "trustworthiness"), 0.938, "trustworthiness: 0.9380, in the baseline 0.9500"),
    "continuity": (REDUCTION, ("methods", 0, "continuity"), 0.958, "continuity: 0.9580, in the baseline 0.9700"),
    "votes": (REDUCTION, ("methods", 0, "knn_accuracy"), 0.785, "k-NN accuracy: 0.7850, in the baseline 0.8000"),
    "no labels": (REDUCTION, ("methods", 0, "knn_accuracy"), None, "k-NN accuracy: 0.8000 in the baseline, not measured now"),
}


def set_at(found: Any, place: tuple[str | int, ...], value: object) -> None:
    for key in place[:-1]:
        found = found[key]
    found[place[-1]] = value


@pytest.mark.parametrize("case", TASKS)
def test_every_figure_of_a_task_that_got_worse_is_named(case: str) -> None:
    task, place, value, text = TASKS[case]
    now = metrics() | {"task": copy.deepcopy(task)}
    before = typed(metrics() | {"task": task})
    assert all(check.ok for check in compare_metrics(typed(now), before, allow=0).checks)
    set_at(now["task"], place, value)
    (failed,) = [each for each in compare_metrics(typed(now), before, allow=0.01).checks if not each.ok]
    assert failed.detail == f"task {task['kind']}" and text in failed.text
    other = copy.deepcopy(task)
    for row in (other.get("methods") or other.get("points") or other.get("rows") or ())[-1:]:
        row.update({key: 0.001 for key in row.keys() & {"trustworthiness", "ssim", "value"} if "level" not in row})
    if task is not DENOISING:
        now["task"] = other
        assert all(check.ok for check in compare_metrics(typed(now), before, allow=0).checks), "another method's figures count"


def test_another_task_or_none_is_worse_and_not_excused() -> None:
    before = typed(metrics() | {"task": ANOMALY})
    for now in (metrics() | {"task": REDUCTION}, metrics()):
        found = compare_metrics(typed(now), before, allow=0.01, allow_unmeasured=True)
        (failed,) = [each for each in found.checks if not each.ok]
        assert failed.detail == "task anomaly" and "not measured now" in failed.text


def test_labels_that_are_missing_now_are_unmeasured() -> None:
    now = metrics() | {"task": ANOMALY | {"methods": [], "labels": [], "normal": None, "false_alarms": None}}
    skip("task", "no samples", "the test samples have no labels")(now)
    before = typed(metrics() | {"task": ANOMALY})
    (failed,) = [each for each in compare_metrics(typed(now), before, allow=0.01).checks if not each.ok]
    assert failed.detail == "unmeasured" and "task anomaly score mse ROC-AUC (the test samples have no labels)" in failed.text


def test_what_the_baseline_could_not_measure_either_excuses_nothing() -> None:
    unlabelled = ANOMALY | {"methods": [], "labels": [], "normal": None, "false_alarms": None}
    before, now = metrics() | {"task": unlabelled}, metrics() | {"task": unlabelled | {"quantile": 0.9}}
    for found in (before, now):
        skip("task", "no samples", "the test samples have no labels")(found)
    comparison = compare_metrics(typed(now), typed(before), allow=0.01, allow_unmeasured=True)
    (failed,) = [each for each in comparison.checks if not each.ok]
    assert failed.detail == "task anomaly" and "alarm rate at quantile 0.99" in failed.text


def test_alarms_of_every_file_are_compared() -> None:
    row = {"file": "a.int8.tflite", "runtime": "litert-builtin", "quantile": 0.99, "normal": 1000, "false_alarms": 10}
    before = typed(metrics() | {"alarms": [row]})
    for alarms, ok in ((10, True), (14, True), (30, False), (0, False)):
        now = typed(metrics() | {"alarms": [row | {"false_alarms": alarms}]})
        failed = [each.detail for each in compare_metrics(now, before, allow=0.01).checks if not each.ok]
        assert failed == ([] if ok else ["task a.int8.tflite litert-builtin"])


BETTER = {AMOUNT: -1, DIFFERENT: -1, FRACTION: 1, DECIBEL: 1, EXPLAINED: 1}


@given(st.sampled_from(sorted(MEASURES)), st.floats(0.01, 0.99), st.floats(0.001, 0.3), st.floats(0, 0.1))
def test_each_measure_has_its_direction(name: str, value: float, step: float, allow: float) -> None:
    old, scale = Figure(name, value), MEASURES[name].scale
    assert old.loss <= old.bound(allow) and not Figure(name, math.nan).loss <= old.bound(allow)
    assert not old.loss <= Figure(name, math.nan).bound(allow)
    if scale is RATE:
        assert Figure(name, value * (1 - step)).loss > old.loss > Figure(name, 1.0).loss
        assert Figure(name, 1 / value).loss == pytest.approx(old.loss)
        return
    better, worse = (Figure(name, value + sign * BETTER[scale] * step) for sign in (1, -1))
    assert better.loss < old.loss < worse.loss
    assert better.loss <= old.bound(allow) and worse.loss > old.bound(0)


def test_the_allowed_fraction_of_each_scale() -> None:
    bounds = {scale: scale.bound(scale.loss(0.5), 0.01) for scale in (AMOUNT, DIFFERENT, FRACTION, DECIBEL, EXPLAINED, RATE)}
    assert bounds[AMOUNT] == pytest.approx(0.505) and bounds[EXPLAINED] == pytest.approx(0.505)
    assert bounds[DIFFERENT] == bounds[FRACTION] == pytest.approx(0.515)
    assert bounds[DECIBEL] == pytest.approx(-0.5 + 0.0432137)
    assert bounds[RATE] == pytest.approx(math.log(2.02))


def test_what_got_better_is_told() -> None:
    now = metrics()
    now["files"][0]["bytes"] = 500
    merged = with_baseline(typed(now), typed(metrics()), name="old.json", allow=0.01)
    assert merged.baseline is not None
    assert merged.baseline.improved == ("bytes a.int8.tflite: 500 bytes, in the baseline 1,000 bytes",)
    text = to_markdown(merged)
    assert "Against old.json: 8 figures compared, 0 checks worse by more than 1.00%" in text
    assert "- bytes a.int8.tflite: 500 bytes, in the baseline 1,000 bytes" in text


def test_a_comparison_is_no_part_of_the_next_one() -> None:
    found = typed(metrics())
    merged = with_baseline(found, found, name="old.json", allow=0.01)
    assert all(check.ok for check in compare_metrics(found, merged, allow=0.01).checks)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1))
def test_the_allowed_fraction_is_where_it_starts_to_fail(before: float, now: float, allow: float) -> None:
    old, new = metrics(), metrics()
    old["quality"][1]["error"], new["quality"][1]["error"] = before, now
    checks = compare_metrics(typed(new), typed(old), allow=allow).checks
    (check,) = [each for each in checks if each.detail == "quality a.int8.tflite litert-builtin"]
    assert check.ok == (now <= before * (1 + allow))


def written(**changes: Any) -> str:
    return json.dumps({"schema": 2} | metrics() | changes)


def file_with(**changes: Any) -> str:
    return written(files=[file_row("a.int8.tflite", 1000) | changes])


def test_metrics_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(to_json(typed(metrics())), encoding="utf-8")
    assert read_metrics(path) == typed(metrics())


DAMAGED: dict[str, tuple[str, str]] = {
    "empty": ("", "damaged: not JSON"),
    "cut": (written()[:99], "damaged: not JSON"),
    "deep": ("[" * 100_000, "damaged: not JSON"),
    "binary": ("\x00", "damaged: not JSON"),
    "list": ("[]", "not metrics of tiedae"),
    "other": ('{"a": 1}', "not metrics of tiedae"),
    "manifest": ('{"schema": 1, "name": "toy", "files": {"toy.onnx": {}}}', "metrics of schema 1, this tiedae reads schema 2"),
    "schema": (written(schema=3), "metrics of schema 3, this tiedae reads schema 2"),
    "no schema": (json.dumps(metrics()), "not metrics of tiedae: it has no schema"),
    "table": (json.dumps({"schema": 2, "name": "a", "checks": []}), "damaged: storage: is missing, must be a list"),
    "name": (written(name=3), "damaged: name: got 3, must be a string"),
    "rows": (written(files=[3]), "damaged: files[0]: got 3, must be a table of file, bytes"),
    "bytes": (file_with(bytes="many"), "damaged: files[0].bytes: got 'many', must be an integer, 0 or more"),
    "negative": (file_with(bytes=-1), "damaged: files[0].bytes: got -1, must be an integer, 0 or more"),
    "nan": (written().replace("1e-07", "NaN"), "damaged: not JSON (JSON is malformed"),
    "endless": (written().replace("1e-07", "1e999"), "damaged: not JSON (Number out of range"),
    "text": (file_with(file=["a"]), "damaged: files[0].file: got ['a'], must be a string"),
    "checks": (written(checks={"a": 1}), "damaged: checks: got {'a': 1}, must be a list"),
    "kind": (written().replace('"sha256"', '"sha1"'), "damaged: checks[0].kind: got 'sha1', must be one of sha256, format"),
    "unknown": (file_with(note="x"), "damaged: files[0].note: unknown key; the keys here are file, bytes"),
    "skipped": (written(skipped=[{"what": 1, "reason": 2}]), "damaged: "),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_baseline_is_one_line(tmp_path: Path, case: str) -> None:
    content, text = DAMAGED[case]
    path = tmp_path / "old.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError) as caught:
        read_metrics(path)
    assert str(caught.value).startswith(f"{path}: ") and text in str(caught.value) and "\n" not in str(caught.value)


@given(st.data())
def test_no_change_of_a_value_makes_a_baseline_crash(data: st.DataObject) -> None:
    """Whatever stands at one place of the file, it is a baseline or a damaged one."""
    import tempfile

    found = changed_somewhere({"schema": 2} | metrics(), data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.json"
        path.write_text(json.dumps(found))
        with contextlib.suppress(InputError):
            compare_metrics(typed(metrics()), read_metrics(path), allow=0.01)


@pytest.mark.parametrize(("change", "got"), [({"name": "b"}, "b 8-4"), ({"model": {"widths": [9, 4]}}, "a 9-4")])
def test_another_model_is_a_wrong_call(change: dict, got: str) -> None:
    with pytest.raises(InputError, match=f"^the baseline is of {got}, this bundle is a 8-4$"):
        compare_metrics(typed(metrics()), typed(metrics() | change), allow=0.01)


@pytest.mark.parametrize("length", [2, 8])
def test_a_code_of_another_length_is_a_result(length: int) -> None:
    now = metrics() | {"model": {"widths": [8, length]}}
    found = compare_metrics(typed(now), typed(metrics()), allow=0.01)
    (failed,) = [check for check in found.checks if not check.ok]
    assert failed.name == "baseline code" and failed.text == f"the code has {length} values, in the baseline 4"
    assert (failed.value, failed.limit) == (length, "== 4") and found.compared > 3
    merged = with_baseline(typed(now), typed(metrics()), name="old.json", allow=0.01)
    assert failed.text in to_markdown(merged) and failed.text in to_junit(merged)


def test_other_hidden_layers_are_no_failure() -> None:
    found = compare_metrics(typed(metrics() | {"model": {"widths": [8, 6, 4]}}), typed(metrics()), allow=0.01)
    assert all(check.ok for check in found.checks)


@pytest.mark.parametrize(
    ("allow", "limit"),
    [
        ("0.01", "at most 1,010 bytes"),
        ("bytes=0.05", "at most 1,050 bytes"),
        ("bytes=0.06", ""),
        ("error=0.06", "at most 1,010 bytes"),
        ("0.06", ""),
        ("0.06,bytes=0.02", "at most 1,020 bytes"),
        ("error=0.01, bytes=0.06", ""),
    ],
)
def test_what_is_allowed_is_stated_by_figure(allow: str, limit: str) -> None:
    now = metrics()
    now["files"][0].update(bytes=1055)
    found = with_baseline(typed(now), typed(metrics()), name="old.json", allow=Allowance.parse(allow))
    assert [(check.value, check.limit) for check in found.failed] == [("1,055 bytes", limit)] * bool(limit)
    assert all(f"1,055 bytes, in the baseline 1,000 bytes, must be {limit}" in check.text for check in found.failed)


def test_a_better_model_of_more_bytes_passes_and_a_worse_one_does_not() -> None:
    """5 % more bytes are allowed, and no more error for that."""
    now, allow = metrics(), Allowance.parse("bytes=0.06,error=0.01")
    now["files"][0].update(bytes=1050)
    now["quality"][1].update(error=9.0)
    assert not with_baseline(typed(now), typed(metrics()), name="old.json", allow=allow).failed
    now["quality"][1].update(error=10.3)
    merged = with_baseline(typed(now), typed(metrics()), name="old.json", allow=allow)
    assert [check.limit for check in merged.failed] == ["at most error 10.1"]
    assert "worse by more than 1.00%, bytes 6.00%, error 1.00%" in to_markdown(merged)


@pytest.mark.parametrize(
    ("measure", "value", "limit"),
    [
        ("PSNR", 30.0, "at least 29.96 dB"),
        ("R²", 0.95, "at least 0.9495"),
        ("ROC-AUC", 0.95, "at least 0.9395"),
        ("alarm rate", 2.0, "at least 0.495 × the expected one and at most 2.02 × the expected one"),
        ("fraction that differs", 0.02, "at most 3.020%"),
        ("R²", None, "defined"),
        ("PSNR", math.inf, "inf dB"),
    ],
)
def test_a_limit_is_the_value_that_is_just_allowed(measure: str, value: float | None, limit: str) -> None:
    assert Figure(measure, value).limit(0.01) == limit


@pytest.mark.parametrize("text", ["byte=0.1", "bytes=x", "bytes=-1", "=0.1x", "0.01;bytes=2"])
def test_an_allowance_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^allow: got .*, must be "):
        Allowance.parse(text)


def test_an_allowance_by_group_and_by_figure() -> None:
    allow = Allowance.parse("0.5,error=0.1,PSNR=0.2")
    assert [allow.of(name) for name in ("bytes", "MSE", "PSNR", "bits per value")] == [0.5, 0.1, 0.2, 0.5]
    assert Allowance.parse("bytes=0.06").of("bits per value") == 0.06 and Allowance.parse(0.02).rest == 0.02


@pytest.mark.parametrize("allow", [-0.1, float("nan"), float("inf")])
def test_the_allowed_fraction_is_a_number_of_zero_or_more(allow: float) -> None:
    with pytest.raises(InputError, match=r"allow: got .*, must be a fraction of 0 or more"):
        compare_metrics(typed(metrics()), typed(metrics()), allow=allow)
