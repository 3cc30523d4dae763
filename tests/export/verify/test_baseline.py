"""What got worse than the baseline is found and named; noise, and what this call could not measure, is no failure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiedae.compress import FormatError, InputError
from tiedae.export.report.result_writers import to_markdown
from tiedae.export.verify.baseline import compare_metrics, with_baseline
from tiedae.export.verify.results import Kind, read_metrics, to_json

from ...typed import changed_somewhere, typed
from ..report.conftest import bench


def metrics() -> dict[str, Any]:
    """Of two files in two runtimes, one of each precision, and of a stock file."""
    lsb = {"precision": "int8", "file": "a.int8.tflite", "runtime": "litert-builtin", "count": 1000, "differing": 20}
    codes = {"kind": "codes", "tensor": "code", "signature": "encode", "max_lsb": 1}
    real = {"precision": "f32", "file": "a.f32.onnx", "runtime": "ort-cpu", "count": 1000, "differing": 1000}
    y = {"kind": "float", "tensor": "y", "signature": "encode", "reference": "keras", "max_abs": 1e-7, "full_scale": 1.0}
    held = {"ok": True, "value": 1, "limit": "== 1", "text": "it holds"}
    quality = {"title": "tiedae", "stage": "export", "error": 10.0, "runtime": "litert-builtin"}
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
            quality | {"file": "a.int8.tflite"},
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
    "fraction": (set_parity(0, differing=31), "parity a.int8.tflite litert-builtin", "3.1%, in the baseline 2%"),
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


FINE: dict[str, tuple[Callable[[dict], object], list[str]]] = {
    "nothing": (lambda found: None, []),
    "bytes": (lambda found: found["files"][0].update(bytes=1010), []),
    "fraction": (set_parity(0, differing=30), []),
    "float": (set_parity(1, max_abs=2e-7), []),
    "scale": (set_parity(1, max_abs=9e-6, full_scale=10.0), []),
    "stock": (without("files", "stock"), []),
    "hidden layer": (lambda found: found["errors"][0].update(rms=9.0), []),
    "latency": (lambda found: found.update(bench=bench()), []),
    "samples": (no_samples, ["no test samples given; golden vectors"]),
    "runtime": (no_runtime("onnxruntime is not installed"), ["onnxruntime is not installed"]),
    "words": (no_runtime("whatever the sentence says"), ["whatever the sentence says"]),
    "fewer": (set_parity(0, max_lsb=9, count=999), ["1 were taken over another number of values than in the baseline"]),
    "data": (
        lambda found: (found.update(samples={"sha256": "1", "source": "new"}), found["quality"][1].update(error=99.0)),
        ["measured on new, in the baseline on other samples (old)"],
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_noise_and_what_this_call_cannot_measure_do_not_fail(case: str) -> None:
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


def test_what_got_better_is_told() -> None:
    now = metrics()
    now["files"][0]["bytes"] = 500
    merged = with_baseline(typed(now), typed(metrics()), name="old.json", allow=0.01)
    assert merged.baseline is not None
    assert merged.baseline.improved == ("bytes a.int8.tflite: 500 bytes, in the baseline 1,000 bytes",)
    text = to_markdown(merged)
    assert "Against old.json: 7 figures compared, 0 checks worse by more than 1.00%" in text
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
    "manifest": (
        '{"schema": 1, "name": "toy", "files": {"toy.onnx": {}}}',
        "not metrics of tiedae: lacks checks, storage, parity, quality",
    ),
    "schema": (written(schema=3), "metrics of schema 3, this tiedae reads schemas 1 and 2"),
    "no schema": (json.dumps(metrics()), "not metrics of tiedae: it has no schema"),
    "table": (json.dumps({"schema": 2, "name": "a", "checks": []}), "damaged: storage: is missing, must be a list"),
    "name": (written(name=3), "damaged: name: got 3, must be a string"),
    "rows": (written(files=[3]), "damaged: files[0]: got 3, must be a table of file, bytes"),
    "bytes": (file_with(bytes="many"), "damaged: files[0].bytes: got 'many', must be an integer, 0 or more"),
    "negative": (file_with(bytes=-1), "damaged: files[0].bytes: got -1, must be an integer, 0 or more"),
    "nan": (written().replace("1e-07", "NaN"), "damaged: not JSON (NaN is no number)"),
    "endless": (written().replace("1e-07", "1e999"), "parity[1].max_abs: got inf, must be a finite number, 0 or more"),
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


@pytest.mark.parametrize(("change", "got"), [({"name": "b"}, "b 8-4"), ({"model": {"widths": [8, 5]}}, "a 8-5")])
def test_another_model_is_a_wrong_call(change: dict, got: str) -> None:
    with pytest.raises(InputError, match=f"of another model: {got}, must be a 8-4"):
        compare_metrics(typed(metrics()), typed(metrics() | change), allow=0.01)


@pytest.mark.parametrize("allow", [-0.1, float("nan"), float("inf")])
def test_the_allowed_fraction_is_a_number_of_zero_or_more(allow: float) -> None:
    with pytest.raises(InputError, match=r"allow: got .*, must be a fraction of 0 or more"):
        compare_metrics(typed(metrics()), typed(metrics()), allow=allow)
