"""The forms that other programs read: each is parsed again by what they would parse it with."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.bundle.fidelity import Fit
from tiedae.bundle.results import Check, ColumnWarning, Device, Metrics, ModelFile, Parity, Quality, finite
from tiedae.export.kinds import Kind, Maker, Precision, Skipped, Stage, Why
from tiedae.report.result_writers import OUTCOMES, overview, to_json, to_junit, to_markdown

FILE = "a.int8.tflite"
CODES = Parity(
    Kind.CODES, Precision.INT8, "code", file=FILE, runtime="litert-xnnpack", provider="XNNPACK", signature="encode", count=100
)
MEASURED = Quality(f"tiedae {FILE}", Stage.EXPORT, 7.25, None, Precision.INT8, FILE, "litert-xnnpack")
GOLDEN = Check(Kind.GOLDEN, True, 1, "== 1", "golden y", detail="y")


def skipped(what: str, reason: str) -> Skipped:
    return Skipped(Kind.OPENS, Why.UNAVAILABLE, what, reason)


def metrics(**changes: Any) -> Metrics:
    failed = {"file": FILE, "signature": "encode", "runtime": "ort-cpu"}
    return replace(
        Metrics(
            name="toy",
            checks=(
                Check(Kind.SHA256, True, 1, "== 1", f"sha256 {FILE}", file=FILE),
                Check(Kind.CODES, False, 0.97, "== 1", "3 of 100 differ", **failed),
            ),
            storage=(),
            parity=(
                replace(CODES, differing=3, max_lsb=2),
                replace(CODES, kind=Kind.OPERATIONS, tensor="y", count=200, differing=1, max_lsb=1),
            ),
            errors=(),
            quality=(MEASURED,),
            files=(ModelFile(FILE, 1234567, "tflite", Precision.INT8, Maker.TIEDAE, 1),),
            skipped=(skipped("ort-cuda on int8", "no GPU"),),
            versions={"numpy": "2.4.6"},
        ),
        **changes,
    )


SUITES = {"name", "tests", "failures", "errors", "skipped"}
CASES = {"name", "classname"}


def junit(found: Metrics) -> ElementTree.Element:
    """Parsed, and only of what junit-10.xsd allows, with counts that add up."""
    root = ElementTree.fromstring(to_junit(found).encode())
    assert root.tag == "testsuites" and set(root.attrib) == {"name", "tests", "failures", "errors"}
    for suite in root:
        assert suite.tag == "testsuite" and set(suite.attrib) == SUITES
        cases = suite.findall("testcase")
        assert len(cases) == len(suite) == int(suite.attrib["tests"])
        for tag, count in {"failure": "failures", "skipped": "skipped"}.items():
            assert len(suite.findall(f"testcase/{tag}")) == int(suite.attrib[count])
        assert all(set(case.attrib) == CASES and {child.tag for child in case} <= {"failure", "skipped"} for case in cases)
    return root


def test_junit_has_a_suite_per_kind_of_check_and_the_reasons_of_what_was_skipped() -> None:
    root = junit(metrics())
    assert [suite.attrib["name"] for suite in root] == ["sha256", "codes", "skipped"]
    assert (root.attrib["tests"], root.attrib["failures"]) == ("2", "1")
    (failure,) = root.iter("failure")
    assert failure.attrib["message"] == "3 of 100 differ"
    assert failure.text == "3 of 100 differ\ngot 0.97, must be == 1"
    (skipped,) = root.iter("skipped")
    assert skipped.attrib["message"] == "no GPU"


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_survives_in_every_form(text: str) -> None:
    broken = Check(Kind.SHA256, False, 1, "== 1", text, file=text)
    found = metrics(name=text, checks=(broken,), skipped=(skipped(text, text),))
    junit(found)
    assert json.loads(to_json(found).encode())["skipped"][0]["what"] == re.sub("[\ud800-\udfff]", "\ufffd", text)
    lines = to_markdown(found).encode().decode().split("\n")
    rows = [line for line in lines if line.startswith("| sha256")]
    assert [len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows] == [5]


def test_control_characters_show_as_their_code_point() -> None:
    (failure,) = junit(metrics(checks=(replace(GOLDEN, ok=False, text="a\x1b[31m\x00b\ufffe"),))).iter("failure")
    assert failure.attrib["message"] == r"a\x1b[31m\x00b\xfffe"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_is_json_whatever_was_measured(number: float) -> None:
    found = metrics(checks=(Check(Kind.FLOAT, False, finite(number), "<= 1", "y", detail="y"),))
    read = json.loads(to_json(found), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert read["checks"][0]["value"] == str(number)
    assert OUTCOMES.keys() == {"json", "junit", "markdown"}


def test_the_summary_gives_the_verdict_first_then_what_failed() -> None:
    text = to_markdown(metrics())
    assert text.startswith("## ❌ toy: 1 of 2 checks failed\n\n### Failed checks\n")
    assert "| codes a.int8.tflite encode ort-cpu | 3 of 100 differ | 0.97 | == 1 |" in text
    assert "| a.int8.tflite | 1,234,567 | 1 |" in text
    assert "### Parity: int8 files against the integer program, values that differ, and by how much\n" in text
    assert "| files | runtime | codes (encode) | worst operation |" in text
    assert "| TFLite | litert-xnnpack | 3 %, 2 LSB | y: 0.5 %, 1 LSB |" in text
    assert "| tiedae a.int8.tflite | litert-xnnpack | 7.25 |" in text
    assert "| ort-cuda on int8 | no GPU |" in text
    assert text.endswith("Versions: numpy 2.4.6\n")


def test_a_summary_without_failures_says_so_and_leaves_empty_sections_out() -> None:
    found = metrics(checks=(GOLDEN,), parity=(), quality=(), files=(), skipped=())
    assert to_markdown(found) == "## ✅ toy: all 1 checks hold\n\nVersions: numpy 2.4.6\n"


def test_the_summary_gives_the_quality_in_the_users_unit_and_its_warnings() -> None:
    fit = Fit("PRDN", "%", 5.0, 12.34)
    rows = (replace(MEASURED, title="tiedae a", runtime="ort-cpu", error=1.5, fidelity=fit), Quality("b", Stage.TRAIN, 2.5))
    text = to_markdown(metrics(quality=rows, warnings=(ColumnWarning("flow", None),)))
    assert "| tiedae a | ort-cpu | 1.5 | PRDN 12.34 % |" in text and "| b |  | 2.5 |  |" in text
    assert "- column flow: never changes" in text
    assert "| model | runtime | test error |\n" in to_markdown(metrics(quality=rows[1:]))


def test_markup_in_names_is_text() -> None:
    text = to_markdown(metrics(checks=(replace(GOLDEN, ok=False, text="a|b `c` <b>*d*</b>\n[e](f) _g_"),)))
    assert r"a\|b `c` \<b>\*d\*\</b> \[e](f) \_g\_" in text


def test_the_device_of_keras_and_a_problem_are_told() -> None:
    problem = Parity(Kind.FLOAT, Precision.F32, "y", "keras", "a", "ort-cpu", signature="decode", problem="got nan")
    text = to_markdown(metrics(parity=(problem,), keras=Device("/physical_device:GPU:0", "NVIDIA H100")))
    assert "| a | ort-cpu | not comparable | got nan |" in text
    assert r"Keras ran on NVIDIA H100 (/physical_device:GPU:0)." in text


def test_the_overview_counts_by_kind_and_says_each_reason_once():
    found = metrics(
        checks=(GOLDEN, replace(GOLDEN, ok=False, text="others", detail="code"), replace(GOLDEN, kind=Kind.FLOAT)),
        skipped=(skipped("a", "not here"), skipped("b", "not here")),
    )
    tables = {title: rows for title, _, rows in overview(found)}
    assert tables["Checks"] == [("golden", "1 of 2"), ("float", "1 of 1")]
    assert tables["Skipped"] == [("a, b", "not here")]
    assert tables["Failed"] == [("golden code", "others")]
    assert "Failed" not in {title for title, _, _ in overview(metrics(checks=(GOLDEN,)))}


def test_tflite_against_onnx_is_not_counted_into_a_file_s_own_y() -> None:
    equal = Parity(Kind.OUTPUT, Precision.INT8, "y", file="a.int8.onnx", runtime="ort-cpu", signature="reconstruct", count=1000)
    rows = (equal, replace(equal, kind=Kind.FORMATS, reference="litert-xnnpack", differing=310, max_lsb=9))
    tables = {title: rows for title, _, rows in overview(metrics(parity=rows))}
    own = tables["Parity: int8 files against the integer program, values that differ, and by how much"]
    assert own == [("ONNX", "ort-cpu", "equal")]
    formats = tables["Parity: formats against each other"]
    assert formats == [("a.int8.onnx", "ort-cpu", "y", "int8, litert-xnnpack", "31 %, 9 LSB")]
