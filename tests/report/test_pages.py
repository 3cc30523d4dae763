"""Templates of pages: nothing unescaped, nothing that nobody gave, nothing loaded."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from tiedae.base.numbers import counted
from tiedae.report.pages import render
from tiedae.report.pages.charts import (
    Axis,
    Bar,
    BarChart,
    Cell,
    Curve,
    CurveChart,
    Frame,
    HistogramChart,
    Line,
    LineChart,
    Point,
    Scatter,
    SignalChart,
)

ODD = "<b>\"&'"
AXIS = Axis(ODD, 0, 1, [0, 1], write=lambda _: ODD)
SHOWN = "&lt;b&gt;&#34;&amp;&#39;"
PAGE = """{% extends "base.html.j2" %}
{% from "macros.html.j2" import details, table %}
{% from "charts.html.j2" import bar_chart, curve_chart, frame, legend, line_chart, scatter %}
{% block main %}MAIN{% endblock %}
{% block footer %}{{ odd }}{% endblock %}
"""


def page(folder: Path, main: str, **values: object) -> str:
    template = folder / "page.html.j2"
    template.write_text(PAGE.replace("MAIN", main), encoding="utf-8")
    return render(template, title=ODD, odd=ODD, **values)


@pytest.mark.parametrize(
    ("main", "values", "texts"),
    [
        ("{{ odd }}", {}, 1),
        ("{{ table([odd, 'b'], [[odd, cell]]) }}", {"cell": Cell(ODD, ODD, "failed")}, 5),
        ("{% call details(odd) %}{{ odd }}{% endcall %}", {}, 2),
        ("{{ bar_chart(chart) }}", {"chart": BarChart([Bar(ODD, 1, ODD, "ours", ODD, ODD)])}, 4),
        ("{{ line_chart(chart) }}", {"chart": LineChart([Line("ours", [1, 2], [1, 2])], ODD, ODD, "y")}, 2),
        ("{{ legend([(odd, odd)]) }}", {}, 2),
        (
            "{{ scatter(chart) }}",
            {"chart": Scatter([Point(0, 0, ODD), Point(1, 2, ODD, 1)], (ODD, ODD), ODD, ODD, ODD)},
            7,
        ),
        (
            "{{ curve_chart(chart) }}",
            {"chart": CurveChart([Curve("ours", ODD, [Point(1, 2, ODD)])], ODD, ODD, ODD)},
            5,
        ),
        (
            "{% call frame(chart) %}{{ odd }}{% endcall %}",
            {"chart": Frame(AXIS, AXIS, 10, ODD)},
            8,
        ),
    ],
)
def test_every_text_is_escaped_and_nothing_is_loaded(tmp_path, main: str, values: dict, texts: int) -> None:
    html = page(tmp_path, main, **values)
    assert "<b>" not in html and html.count(SHOWN) == 2 + texts
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not re.search(r"https?:|@import|url\(|<script|<link", html)


def test_a_name_that_nobody_gave_is_an_error(tmp_path) -> None:
    with pytest.raises(UndefinedError, match="'forgotten' is undefined"):
        page(tmp_path, "{{ forgotten }}")


def test_verdicts_and_numeric_columns(tmp_path) -> None:
    html = page(tmp_path, "{{ table(['', 'n'], [[true, 1], [false, 2]], numeric=[1]) }}")
    assert re.findall(r"<td.*?</td>", html) == [
        '<td><span class="ok">✓ ok</span></td>',
        "<td class=n>1</td>",
        '<td><span class="failed">✗ failed</span></td>',
        "<td class=n>2</td>",
    ]


def test_a_single_point_of_curves_is_larger_and_stands_on_its_axes(tmp_path) -> None:
    line = Curve("keras", "line", [Point(10, 3, "c"), Point(0.1, 1, "a"), Point(1, 2, "b")])
    chart = CurveChart([line, Curve("ours", "one", [Point(1, 3, "d")])], "t", "x", "y")
    assert [point.split(",") for point in chart.drawn[0].points.split()] == [["0", "1000"], ["500", "500"], ["1000", "0"]]
    html = page(tmp_path, "{{ curve_chart(chart) }}", chart=chart)
    dots = re.findall(r'<circle class="(\w+)" cx="(\S+)" cy="\S+" r="(\d)"><title>(\w)</title>', html)
    assert dots == [
        ("keras", "100.00%", "3", "c"),
        ("keras", "0.00%", "3", "a"),
        ("keras", "50.00%", "3", "b"),
        ("ours", "50.00%", "7", "d"),
    ]
    assert html.count("<polyline") == 2 and "x (logarithmic)" in html


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_curves_of_integers_do_not_overflow(dtype: str) -> None:
    curve = np.array([0, 50, 100, 200], dtype)
    (line,) = SignalChart({"input": curve}, np.arange(4), "a curve", "x", "y").drawn
    assert line.x == [0.0, 333.3, 666.7, 1000.0] and line.y == [1000.0, 750.0, 500.0, 0.0]


@pytest.mark.parametrize(("count", "text"), [(0, "0 epochs"), (1, "1 epoch"), (1200, "1,200 epochs")])
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "epoch") == text


def test_a_histogram_counts_every_value_once():
    values = {("ours", "a"): np.geomspace(1, 100, 300), ("keras", "b"): np.full(7, 100.0)}
    chart = HistogramChart(values, "t", "x", [(500.0, "limit")])
    assert chart.edges[0] == pytest.approx(1) and chart.edges[-1] == pytest.approx(500)
    for group, numbers in values.items():
        counts, _ = np.histogram(numbers, chart.edges)
        assert chart.fractions[group].sum() == pytest.approx(1) and len(list(chart.bars(group))) == np.count_nonzero(counts)
    (bar,) = chart.bars(("keras", "b"))
    assert bar[4].startswith("b: 100.0% from ") and float(bar[3]) > 0
    assert len(HistogramChart({("ours", "a"): np.ones(3)}, "t", "x").edges) == HistogramChart.bins + 1, (
        "one value has a span too"
    )


def test_curves_have_a_linear_axis_where_they_say_so():
    curve = Curve("ours", "c", [Point(0.0, 0.0, ""), Point(1.0, 1.0, "")], dots=False)
    frame = CurveChart([curve], "t", "x", "y", logarithmic=False).frame
    assert not frame.x.logarithmic and (frame.x.low, frame.x.high) == (0, 1)
