"""The quality in the data's unit of measure on the pages: a cell of each row, the columns of a table, the final table."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest

from tiedae.bundle.results import Precision
from tiedae.report.column_quality import render_columns
from tiedae.report.key_figures import worst_exported
from tiedae.report.summary import HEADER, table_rows

from ..typed import typed
from .drawn import render_card, render_report

PSNR = {"measure": "PSNR", "unit": "dB", "value": 23.456, "mse": 293.4}
PRDN = {"measure": "PRDN", "unit": "%", "value": 12.62, "mse": 77.0}
NAMES = ("flow", "te<mp", "noise", "still")


def r2(*values: float | None) -> dict:
    columns = [{"name": name, "r2": value, "rmse": 0.125} for name, value in zip(NAMES, values, strict=True)]
    return {"measure": "R²", "unit": "", "value": 0.4321, "mse": 0.5, "columns": columns}


def with_fidelity(parts: tuple, fidelity: dict) -> tuple:
    """The parts with this fidelity in every row of quality, its value and MSE a little larger in each."""
    manifest, metrics, *rest = copy.deepcopy(parts)
    for i, row in enumerate(metrics["quality"]):
        row["fidelity"] = fidelity | {"value": fidelity["value"] + i / 10, "mse": fidelity["mse"] + i}
        row["file"] = row["title"].split()[-1]
    return manifest, metrics, *rest


@pytest.mark.parametrize(
    ("fidelity", "texts"),
    [
        (PSNR, ["PSNR 23.46 dB, MSE 293.4", "PSNR 23.86 dB, MSE 297.4"]),
        (PRDN, ["PRDN 12.62 %", "PRDN 13.02 %"]),
        (r2(0.9, -0.25, 0.1, None), ["R² 0.4321, worst -0.25 (te&lt;mp)", "R² 0.8321, worst -0.25"]),
    ],
    ids=["pictures", "record", "table"],
)
def test_each_error_of_the_report_has_its_quality_beside_it(make_parts: Callable, fidelity: dict, texts: list[str]) -> None:
    """The first row of Keras, and of the two runtimes of our .tflite file the worse one."""
    parts = with_fidelity(make_parts(), fidelity)
    page = render_report(*parts)
    section = page[page.index('<section id="error-per-stage">') :].split("</section>")[0]
    assert all(text in section for text in texts)
    assert f"{fidelity['measure']} is in the unit of measure of the data" in section
    card = render_card(*parts[:2])
    (line,) = [line for line in card.splitlines() if line.startswith("| quality, exported int8 files, the worst")]
    assert texts[1].replace("&lt;", "<") in line
    assert f"{fidelity['measure']}: " in card


def test_the_final_table_gives_the_quality_of_the_row_with_the_shown_error(make_parts: Callable) -> None:
    _, metrics, *_ = with_fidelity(make_parts(), PSNR)
    rows = {row[0]: dict(zip(HEADER, row, strict=True)) for row in table_rows(typed(metrics))}
    assert rows["Keras float"]["quality"] == "PSNR 23.46 dB, MSE 293.4"
    assert rows["tied int8 tflite"]["quality"] == "PSNR 23.86 dB, MSE 297.4"
    assert rows["tied int8 onnx"]["quality"] == "PSNR 23.96 dB, MSE 298.4"
    assert (rows["tied int8 tflite"]["error"], rows["tied int8 tflite"]["bytes"]) == ("6.896…6.905", "552,352")


def test_columns_come_worst_first_with_their_warnings(make_parts: Callable) -> None:
    manifest, metrics, *rest = with_fidelity(make_parts(), r2(0.9, -0.25, 0.1, None))
    metrics["warnings"] = [{"column": "te<mp", "r2": -0.25, "where": "some file"}, {"column": "still", "r2": None}]
    page = render_report(manifest, metrics, *rest)
    section = page[page.index('<section id="columns">') :].split("</section>")[0]
    assert re.findall(r"<tr><th>(.*?)</th>", section) == ["te&lt;mp", "noise", "flow"]
    assert re.findall(r"<td class=n>(.*?)</td>", section) == ["-0.25", "0.1", "0.9"]
    advice = "its mean would be closer; try more epochs or units, or `per_feature = true`"
    assert f"<li>column te&lt;mp: R² is -0.25 in some file: {advice}</li>" in section
    assert "<li>column still: never changes in the measured samples" in section
    assert "in tiedae toy.int8.tflite in litert-ref" in section
    assert rf"- Column te\<mp: R² is -0.25 in some file: {advice}." in render_card(manifest, metrics)


def test_what_the_file_loses_is_in_the_unit_of_measure_of_each_column(make_parts: Callable) -> None:
    _, metrics, *_ = with_fidelity(make_parts(), r2(0.9, 0.5, 0.1, None))
    before = next(row for row in metrics["quality"] if row["stage"] == "train")["fidelity"]
    before["columns"] = [{**column, "rmse": 2.5} for column in r2(0.925, 0.75, 0.1, None)["columns"]]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", render_columns(typed(metrics)).split("RMSE of Keras float")[-1])
    assert cells == ["te&lt;mp", "0.25", "0.125", "2.5", "flow", "0.025", "0.125", "2.5"]


def test_many_columns_are_folded(make_parts: Callable) -> None:
    _, metrics, *_ = with_fidelity(make_parts(), r2(0.9, 0.5, 0.1, None))
    for row in metrics["quality"]:
        row["fidelity"]["columns"] = [{"name": f"c{i}", "r2": i / 100, "rmse": 0.5} for i in range(60)]
    section = render_columns(typed(metrics))
    assert "36 more columns" in section and section.count("<tr>") == 60
    assert section.index("c23") < section.index("<details>") < section.index("c24")


def test_a_page_leads_with_the_worst_int8_file(make_parts: Callable) -> None:
    _, metrics, *_ = with_fidelity(make_parts(), PSNR)
    row = worst_exported(typed(metrics), Precision.INT8)
    assert row is not None and row.error == pytest.approx(6.9049)


def test_metrics_from_before_have_no_quality_and_no_columns(make_parts: Callable) -> None:
    manifest, metrics, *rest = make_parts()
    page, card = render_report(manifest, metrics, *rest), render_card(manifest, metrics)
    assert 'id="columns"' not in page and "PSNR" not in page + card and "quality of" not in card
    assert {row[2] for row in table_rows(typed(metrics))} == {""}
