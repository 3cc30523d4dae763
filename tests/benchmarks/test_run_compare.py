"""Two runs: every field that differs is named, and nothing else."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

MANIFEST = {"created_by": "tiedae 0.1.0", "files": {"a.onnx": {"sha256": "ab"}}, "integer_maps": None}
METRICS = {
    "checks": [{"kind": "sha256", "text": f"{name} is right"} for name in "abcd"],
    "quality": [{"error": 1.5, "runtime": "ort-cpu"}, {"error": 2.5, "runtime": "tflm"}],
}
CARD = "# a\n\nMade by tiedae 0.1.0 on 2026-11-29T06:12:01 in RUN.\n"
REPORT = "<table><tr><td>error</td><td>1.5</td></tr></table>\n"


def write_run(
    folder: Path, *, manifest: Any = MANIFEST, metrics: Any = METRICS, card: str = CARD, report: str = REPORT
) -> Path:
    (folder / "bundle").mkdir(parents=True)
    (folder / "stock").mkdir()
    files = {"manifest.json": json.dumps(manifest), "metrics.json": json.dumps(metrics)}
    files |= {"MODEL_CARD.md": card.replace("RUN", str(folder.resolve())), "report.html": report}
    for name, text in files.items():
        (folder / "bundle" / name).write_text(text, encoding="utf-8")
    (folder / "test.tae").write_bytes(b"tae")
    (folder / "stock" / "a.onnx").write_text(str(folder), encoding="utf-8")
    return folder


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return write_run(tmp_path / "before")


def places(before: Path, after: Path) -> dict[str, int]:
    found = importlib.import_module("run_compare").run_differences(before, after)
    return {each.place: each.count for each in found}


def test_versions_dates_paths_and_stock_files_do_not_count(before: Path, tmp_path: Path) -> None:
    card = CARD.replace("0.1.0", "0.2.13").replace("2026-11-29T06:12:01", "2027-01-02T23:59:59.25")
    assert places(before, write_run(tmp_path / "after", manifest={**MANIFEST, "created_by": "tiedae 0.2.0"}, card=card)) == {}


def test_a_folder_by_the_name_of_a_field_hides_nothing(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    after = write_run(Path("error"), metrics={**METRICS, "quality": METRICS["quality"][:1]})
    assert places(before, after) == {"bundle/metrics.json: quality[]": 1}


def test_each_field_that_differs_is_named_with_how_often(before: Path, tmp_path: Path) -> None:
    manifest = {**MANIFEST, "files": {"b.onnx": {"sha256": "ab"}}, "integer_maps": 0}
    metrics = {
        "checks": [METRICS["checks"][0], {"kind": "new", "text": ""}, *METRICS["checks"][1:]],
        "quality": [{**each, "error": each["error"] + 1} for each in METRICS["quality"]],
    }
    after = write_run(tmp_path / "after", manifest=manifest, metrics=metrics, report=REPORT.replace("1.5", "1.6"))
    (after / "test.tae").write_bytes(b"tea")
    (after / "bundle" / "new.bin").write_bytes(b"new")
    assert places(before, after) == {
        "bundle/manifest.json: files.a.onnx": 1,
        "bundle/manifest.json: files.b.onnx": 1,
        "bundle/manifest.json: integer_maps": 1,
        "bundle/metrics.json: checks[]": 1,
        "bundle/metrics.json: quality[].error": 2,
        "bundle/new.bin": 1,
        "bundle/report.html: text": 1,
        "test.tae": 1,
    }


def test_the_exit_code_is_1_until_every_difference_is_allowed(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module("run_compare").main
    metrics = {**METRICS, "quality": [{**METRICS["quality"][0], "error": 9}, METRICS["quality"][1]]}
    after = write_run(tmp_path / "after", metrics=metrics, card=CARD + "More.\n")
    assert main([str(before), str(before)]) == 0
    assert main([str(before), str(after), "--allow", "*: quality[].error"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "bundle/MODEL_CARD.md: text (1): nothing → More.",
        "allowed bundle/metrics.json: quality[].error (1): 1.5 → 9",
        "2 places differ, 1 of them allowed",
    ]
    assert main([str(before), str(after), "--allow", "*: quality[].error", "*.md: text"]) == 0
    with pytest.raises(SystemExit) as raised:
        main([str(before), str(tmp_path)])
    assert raised.value.code == 2
