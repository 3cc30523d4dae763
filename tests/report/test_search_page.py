"""front.html: both axes are named, and nothing is drawn outside of the drawing, whatever a search found."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiedae.report.pages.charts import Frame
from tiedae.report.search.front import HEADER, cells
from tiedae.report.search.page import HEIGHT, render
from tiedae.report.search.rate_chart import least_bits, rate_chart

TOP, BELOW = Frame.top, Frame.below
GUTTER_LEFT, GUTTER_RIGHT, NARROWEST = 80, 35, 165
"""Pixels beside the frame (`.axes` in the style sheet), and the frame's width on a phone of 320 pixels."""
CHARACTER = 7.0
"""Pixels of a character at most, in the charts' 12 pixels."""


def row(number: int, size: int, error: float) -> dict[str, Any]:
    stated = {"trial": number, "state": "complete", "point": {"code": number}, "error": error, "bytes": size}
    return stated | {
        "gzip_bytes": size // 2 + 1,
        "bits": 8.0 * number,
        "latency_us": 3.25,
        "error_increase": 0.1,
        "meets": True,
        "excess": 0.0,
    }


def front(
    points: list[tuple[int, float]],
    *,
    reference: float = 7.0,
    limits: tuple[int | None, float | None] = (None, None),
    size: str = "file",
) -> dict[str, Any]:
    """A front as `describe` gives it, of (bytes, error) per trial; the last of its points is chosen."""
    trials = [row(number, *point) for number, point in enumerate(points, 1)]
    best: list[dict[str, Any]] = []
    for each in sorted(trials, key=lambda each: (each["bytes"], each["error"])):
        if not best or each["error"] < best[-1]["error"]:
            best.append(each | {"name": f"point-{len(best) + 1:02}"})
    return {
        "limits": {"bytes": limits[0], "error_increase": limits[1], "latency_us": None, "bits": None},
        "size": size,
        "reference": {"error": reference, "bytes": 900_000, "latency_us": None},
        "chosen": best[-1]["name"],
        "front": best,
        "trials": trials,
        "others": None,
    }


def drawing(page: str) -> ElementTree.Element:
    (svg,) = re.findall(r'<svg class="chart".*?</svg>', page, re.S)
    return ElementTree.fromstring(svg)


def require_inside(page: str, width: float) -> None:
    """Every mark lies in the frame, every label in the frame and its gutters, where the frame is `width` pixels wide."""
    svg = drawing(page)
    assert float(svg.get("height", "nan")) == TOP + HEIGHT + BELOW

    def pixels(text: str) -> float:
        return width * float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)

    for circle in svg.iter("circle"):
        x, y, r = (pixels(circle.get(key, "nan")) for key in ("cx", "cy", "r"))
        assert 0 <= x <= width and TOP <= y <= TOP + HEIGHT and y - r >= 0 and x + r <= width + GUTTER_RIGHT
    for line in svg.iter("line"):
        assert all(0 <= pixels(line.get(key, "nan")) <= width for key in ("x1", "x2"))
        assert all(TOP <= pixels(line.get(key, "nan")) <= TOP + HEIGHT for key in ("y1", "y2"))
    for text in svg.iter("text"):
        x = pixels(text.get("x", "nan")) + float(text.get("dx", "0"))
        y = float(text.get("y", "nan")) + float(text.get("dy", "0"))
        long = CHARACTER * len(text.text or "")
        left = x - long * {"end": 1.0, "middle": 0.5}.get(text.get("text-anchor", ""), 0.0)
        assert left >= -GUTTER_LEFT and left + long <= width + GUTTER_RIGHT, text.text
        assert y - 10 >= 0 and y <= TOP + HEIGHT + BELOW, text.text


sizes, errors = st.integers(1, 10**12), st.floats(1e-9, 1e9)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(sizes, errors), min_size=1, max_size=12),
    errors,
    st.tuples(st.none() | sizes, st.none() | st.floats(0, 100)),
    st.sampled_from(["file", "gzip"]),
)
@example([(1, 1e-9), (10**12, 1e9)], 1.0, (10**12, 100.0), "file")
@example([(552_352, 7.0), (552_353, 6.999999)], 7.0, (None, 0.0), "file")
@example([(1000, 7.0)], 7.0, (1000, None), "gzip")
@example([(1000, 0.0), (2000, 5.0)], 7.0, (None, None), "file")
@example([(300, 3.0), (200, 9e8), (100, 9e8)], 1e-9, (1, None), "file")
def test_no_point_and_no_label_lies_outside(points, reference, limits, size) -> None:
    page = render(front(points, reference=reference, limits=limits, size=size), "extreme", ".tflite")
    for width in (NARROWEST, 900):
        require_inside(page, width)
    assert "nan" not in page and page.count("<circle") - 2 == len(points)
    for ticks in ({"x": "-8"}, {"text-anchor": "middle"}):
        labels = [text.text for text in drawing(page).iter("text") if ticks.items() <= text.attrib.items()]
        assert len(labels) == len(set(labels)) >= 1


def test_the_check_sees_what_lies_outside() -> None:
    page = render(front([(60_000, 9.0), (80_000, 7.0)]), "x", ".tflite")
    for old, new in ((r'cx="[\d.]+%"', 'cx="100.5%"'), (r'cy="[\d.]+"', 'cy="3.0"'), (r"<text x=\"-8\"", '<text x="-70"')):
        with pytest.raises(AssertionError):
            require_inside(re.sub(old, new, page, count=2), NARROWEST)


def test_axes_are_named_and_the_logarithmic_one_says_so() -> None:
    page = render(front([(60_000, 9.0), (80_000, 7.0)]), "x", ".tflite")
    assert re.findall(r'<p class="axis (.*?)">(.*?)</p>', page) == [
        ("up", "squared error per validation sample, in scaled values"),
        ("right", "bytes of the int8 .tflite (logarithmic)"),
    ]
    assert "bytes of the int8 .tflite after gzip (logarithmic)" in render(front([(60_000, 9.0)], size="gzip"), "x", ".tflite")


def test_places_follow_the_logarithm_of_the_bytes_and_the_error() -> None:
    page = render(front([(10_000, 9.0), (100_000, 8.0), (1_000_000, 7.0)]), "x", ".tflite")
    at = {float(c.get("cy", "")): float(c.get("cx", "").removesuffix("%")) for c in drawing(page).iter("circle")}
    (first, second, third) = (at[y] for y in sorted(at))
    assert math.isclose(second - first, third - second, abs_tol=0.02) and third - first > 50
    assert math.isclose(2 * sorted(at)[1], sorted(at)[0] + sorted(at)[2], abs_tol=0.2)


def test_trials_beyond_the_scale_are_counted_at_the_upper_edge() -> None:
    page = render(front([(60_000, 9.0), (80_000, 7.0), (70_000, 500.0)]), "x", ".tflite")
    assert f'cy="{TOP:.1f}"' in page and re.search(r"At the upper edge: trials with an error above [\d.]+ \(1\)", page)
    assert "upper edge" not in render(front([(60_000, 9.0)]), "x", ".tflite")


def test_rates_are_drawn_beside_other_coders() -> None:
    """The line of the search has the trials of the least bits; far points of other coders are left out."""
    found = front([(60_000, 9.0), (70_000, 9.5), (80_000, 7.0)])
    points = [("pca", 20.0, 8.0), ("pca", 30.0, 6.0), ("avif", 20.0, 500.0), ("webp", 1000.0, 7.0), ("jpeg", 40.0, 8.0)]
    found["others"] = {
        "points": [{"coder": coder, "bits": bits, "error": error, "setting": "x"} for coder, bits, error in points],
        "skipped": ["AVIF: this Pillow has no avif"],
    }
    found["limits"]["bits"] = 50.0
    chart = rate_chart(found)
    drawn = {curve.label: [(point.x, point.y) for point in curve.points] for curve in chart.curves}
    assert drawn == {
        "other trials": [(16.0, 9.5)],
        "PCA": [(20.0, 8.0), (30.0, 6.0)],
        "JPEG": [(40.0, 8.0)],
        "trials of the least bits": [(8.0, 9.0), (24.0, 7.0)],
    }
    page = render(found, "x", ".tflite")
    assert "Left out: AVIF: this Pillow has no avif." in page and "PCA, x: 20 bits per sample, error 8" in page
    section = page[page.index('<section class="rates">') :]
    assert section.count("<line class=separator") + section.count('<line class="separator"') == 1
    assert len(re.findall(r"<polyline[^>]* points=.[\d. ,]{20,}", section)) == 2


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12))
def test_the_line_has_what_nothing_beats(costs: list[tuple[int, int]]) -> None:
    rows = [{"bits": bits, "error": error} for bits, error in costs]
    line = [(row["bits"], row["error"]) for row in least_bits(rows)]
    assert line == sorted(each for each in set(costs) if not any(a <= each[0] and b <= each[1] for a, b in set(costs) - {each}))


def test_bytes_and_gzip_each_stand_under_their_header() -> None:
    found = front([(552_352, 9.0)])
    found["front"][0] |= {"gzip_bytes": 417_011, "error_increase": 0.125}
    said = dict(zip(HEADER, cells(found["front"][0], found), strict=True))
    assert (said["bytes"], said["gzip"], said["error"], said["increase"], said["µs"]) == (
        "552,352",
        "417,011",
        "9",
        "+12.5 %",
        "3.25",
    )
