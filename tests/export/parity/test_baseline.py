"""What got worse than the baseline is found and named; noise, and what this call could not measure, is no failure."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiedae.compress import FormatError, InputError
from tiedae.export.parity.baseline import compare_metrics, read_baseline, with_baseline
from tiedae.export.report.outcome import to_json, to_markdown


def metrics() -> dict[str, Any]:
    """Of two files in two runtimes, one of each precision, and of a stock file."""
    parity = {"provider": "CPU", "count": 1000, "differing": 0, "full_scale": 0.0, "mean_abs": 0.0}
    lsb = {**parity, "kind": "int8", "file": "a.int8.tflite", "max_lsb": 1, "max_abs": 0.0, "share": 0.02}
    real = {**parity, "kind": "float", "file": "a.f32.onnx", "max_lsb": 0, "max_abs": 1e-7, "full_scale": 1.0, "share": 1.0}
    names = ("sha256 a.int8.tflite", "codes a.int8.tflite encode litert-builtin", "float y a.f32.onnx encode ort-cpu")
    checks = [{"name": name, "ok": True, "value": 1, "limit": "== 1", "text": name} for name in names]
    quality = {"row": "tiedae", "stage": "export", "error": 10.0}
    return {
        "schema": 1,
        "name": "a",
        "model": {"widths": [8, 4]},
        "checks": checks,
        "storage": [],
        "files": [
            {"file": "a.int8.tflite", "bytes": 1000, "maker": "tiedae"},
            {"file": "a.f32.onnx", "bytes": 4000, "maker": "tiedae"},
            {"file": "a.stock.int8.tflite", "bytes": 2000, "maker": "stock"},
        ],
        "quality": [
            {"row": "Keras float", "stage": "train", "error": 9.0},
            {**quality, "file": "a.int8.tflite", "runtime": "litert-builtin"},
            {**quality, "file": "a.stock.int8.tflite", "runtime": "litert-builtin"},
        ],
        "parity": [
            {**lsb, "runtime": "litert-builtin", "what": "codes (encode)"},
            {**real, "runtime": "ort-cpu", "what": "float y (encode)"},
            {**lsb, "runtime": "litert-builtin", "file": "a.stock.int8.tflite", "what": "codes"},
        ],
        "errors": [
            {"error": "quantization", "runtime": "program", "form": "split", "layer": layer, "rms": 0.5, "count": 80}
            for layer in ("code", "y")
        ],
        "skipped": [],
        "versions": {},
    }


def set_parity(row: int, **values: Any) -> Callable[[dict], object]:
    return lambda found: found["parity"][row].update(values)


def without(table: str, name: str, reason: str = "", what: str = "", absent: str = "") -> Callable[[dict], object]:
    """Takes every row of a table out that has this name anywhere, and says why."""

    def change(found: dict) -> None:
        found[table] = [row for row in found[table] if not any(name in str(value) for value in row.values())]
        found["skipped"] += [{"what": what, "reason": reason} | ({"absent": absent} if absent else {})] * bool(reason)

    return change


def all_of(*changes: Callable[[dict], object]) -> Callable[[dict], object]:
    def change(found: dict) -> None:
        for each in changes:
            each(found)

    return change


def no_samples(found: dict) -> None:
    found["quality"] = []
    found["skipped"].append({"what": "quality", "reason": "no test samples given; golden vectors", "absent": "samples"})


def no_runtime(reason: str, absent: str = "") -> Callable[[dict], object]:
    return all_of(without("parity", "ort-cpu", reason, "ort-cpu on f32", absent), without("checks", "ort-cpu"))


WORSE: dict[str, tuple[Callable[[dict], object], str, str]] = {
    "bytes": (lambda found: found["files"][0].update(bytes=1011), "bytes a.int8.tflite", "1,011 bytes, in the baseline 1,000"),
    "error": (lambda found: found["quality"][1].update(error=10.2), "quality a.int8.tflite litert-builtin", "error 10.2"),
    "share": (set_parity(0, share=0.031), "parity a.int8.tflite litert-builtin", "3.1%, in the baseline 2%"),
    "lsb": (set_parity(0, max_lsb=2), "parity a.int8.tflite litert-builtin", "2 LSB, in the baseline 1 LSB"),
    "float": (set_parity(1, max_abs=2e-6), "parity a.f32.onnx ort-cpu", "2e-06, in the baseline 1e-07"),
    "layer": (lambda found: found["errors"][1].update(rms=0.6), "quantization split", "y: 0.6 RMS, in the baseline 0.5 RMS"),
    "nan": (set_parity(1, problem="nan"), "parity a.f32.onnx ort-cpu", "not measured now"),
    "file": (without("files", "a.f32.onnx"), "bytes a.f32.onnx", "4,000 bytes in the baseline, not measured now"),
    "row": (without("quality", "tiedae"), "quality a.int8.tflite litert-builtin", "not measured now"),
    "check": (without("checks", "sha256"), "checks", "not checked now: sha256 a.int8.tflite"),
    "runtime": (no_runtime("its kernels are broken"), "runtime ort-cpu", "does not now: its kernels are broken"),
    "broken": (no_runtime("onnxruntime is not installed in whole"), "runtime ort-cpu", "does not now: onnxruntime is not"),
    "silent": (without("parity", "ort-cpu"), "runtime ort-cpu", "it is not among the runtimes"),
}


@pytest.mark.parametrize("case", WORSE)
def test_what_got_worse_is_one_failed_check_that_says_how(case: str) -> None:
    change, name, text = WORSE[case]
    now = metrics()
    change(now)
    (failed,) = [check for check in compare_metrics(now, metrics(), allow=0.01).checks if not check.ok]
    assert failed.name == f"baseline {name}" and text in failed.text


FINE: dict[str, tuple[Callable[[dict], object], list[str]]] = {
    "nothing": (lambda found: None, []),
    "bytes": (lambda found: found["files"][0].update(bytes=1010), []),
    "share": (set_parity(0, share=0.03), []),
    "float": (set_parity(1, max_abs=2e-7), []),
    "scale": (set_parity(1, max_abs=9e-6, full_scale=10.0), []),
    "stock": (without("files", "stock"), []),
    "hidden layer": (lambda found: found["errors"][0].update(rms=9.0), []),
    "latency": (lambda found: found.update(bench={"latency": [{"median_us": 99}]}), []),
    "samples": (no_samples, ["no test samples given; golden vectors"]),
    "runtime": (no_runtime("onnxruntime is not installed", "ort-cpu"), ["onnxruntime is not installed"]),
    "words": (no_runtime("whatever the sentence says", "ort-cpu"), ["whatever the sentence says"]),
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
    found = compare_metrics(now, before, allow=0.01)
    assert [check.text for check in found.checks if not check.ok] == []
    assert [row["reason"] for row in found.skipped] == reasons
    assert all(row["what"].startswith("baseline ") for row in found.skipped)


def test_what_got_better_is_told() -> None:
    now = metrics()
    now["files"][0]["bytes"] = 500
    merged = with_baseline(now, metrics(), name="old.json", allow=0.01)
    assert merged["baseline"]["improved"] == ["bytes a.int8.tflite: 500 bytes, in the baseline 1,000 bytes"]
    text = to_markdown(merged)
    assert "Against old.json: 7 figures compared, 0 checks worse by more than 1.00%" in text
    assert "- bytes a.int8.tflite: 500 bytes, in the baseline 1,000 bytes" in text


def test_a_comparison_is_no_part_of_the_next_one() -> None:
    merged = with_baseline(metrics(), metrics(), name="old.json", allow=0.01)
    assert all(check.ok for check in compare_metrics(metrics(), merged, allow=0.01).checks)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1))
def test_the_allowed_share_is_where_it_starts_to_fail(before: float, now: float, allow: float) -> None:
    old, new = metrics(), metrics()
    old["quality"][1]["error"], new["quality"][1]["error"] = before, now
    (check,) = [c for c in compare_metrics(new, old, allow=allow).checks if c.name.startswith("baseline quality")]
    assert check.ok == (now <= before * (1 + allow))


def write(path: Path, found: Any) -> Path:
    path.write_text(found if isinstance(found, str) else to_json(found), encoding="utf-8")
    return path


def test_metrics_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_baseline(write(tmp_path / "old.json", metrics())) == metrics()


DAMAGED: dict[str, tuple[Any, str]] = {
    "empty": ("", "damaged: not JSON"),
    "cut": (to_json(metrics())[:99], "damaged: not JSON"),
    "deep": ("[" * 100_000, "damaged: not JSON"),
    "binary": ("\x00", "damaged: not JSON"),
    "list": ("[]", "not metrics of tiedae"),
    "other": ('{"a": 1}', "not metrics of tiedae"),
    "manifest": (
        '{"schema": 1, "name": "toy", "files": {"toy.onnx": {}}}',
        "not metrics of tiedae: lacks checks, parity, quality",
    ),
    "schema": (metrics() | {"schema": 2}, "metrics of schema 2, this tiedae reads schema 1"),
    "table": ({key: value for key, value in metrics().items() if key != "parity"}, "not metrics of tiedae: lacks parity"),
    "name": (metrics() | {"name": 3}, "damaged: "),
    "rows": (metrics() | {"files": [3]}, "damaged: "),
    "bytes": (metrics() | {"files": [{"file": "a", "bytes": "many"}]}, "bytes is 'many', not a number of 0 or more"),
    "nan": (to_json(metrics()).replace("1e-07", "NaN"), "max_abs is nan, not a number of 0 or more"),
    "text": (metrics() | {"files": [{"file": ["a"], "bytes": 3}]}, "damaged: "),
    "checks": (metrics() | {"checks": {"a": 1}}, "damaged: "),
    "skipped": (metrics() | {"skipped": [{"what": 1, "reason": 2}]}, "damaged: "),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_baseline_is_one_line(tmp_path: Path, case: str) -> None:
    content, text = DAMAGED[case]
    path = write(tmp_path / "old.json", content)
    with pytest.raises(FormatError) as caught:
        read_baseline(path)
    assert str(caught.value).startswith(f"{path}: ") and text in str(caught.value) and "\n" not in str(caught.value)


@given(st.data())
def test_no_change_of_a_value_makes_a_baseline_crash(data: st.DataObject) -> None:
    """Whatever stands at one place of the file, it is a baseline or a damaged one."""
    import tempfile

    found = copy.deepcopy(metrics())
    holder: Any = found
    while True:
        key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({}), st.just([1]))
    holder[key] = data.draw(junk)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.json"
        path.write_text(json.dumps(found))
        try:
            before = read_baseline(path)
            compare_metrics(metrics(), before, allow=0.01)
        except InputError:
            pass


@pytest.mark.parametrize(("change", "got"), [({"name": "b"}, "b 8-4"), ({"model": {"widths": [8, 5]}}, "a 8-5")])
def test_another_model_is_a_wrong_call(change: dict, got: str) -> None:
    with pytest.raises(InputError, match=f"of another model: {got}, must be a 8-4"):
        compare_metrics(metrics(), metrics() | change, allow=0.01)


@pytest.mark.parametrize("allow", [-0.1, float("nan"), float("inf")])
def test_the_allowed_share_is_a_number_of_zero_or_more(allow: float) -> None:
    with pytest.raises(InputError, match=r"allow: got .*, must be a share of 0 or more"):
        compare_metrics(metrics(), metrics(), allow=allow)
