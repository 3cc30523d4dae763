"""Rate and distortion of a search: its trials beside other coders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tiedae.base.numbers import number
from tiedae.tasks.compression import TITLES

from ..pages.charts import Curve, CurveChart, Point
from ..tasks.compression import COLOURS
from .front import point_text

FARTHEST = 3.0
"""Other coders are drawn up to this multiple of the largest error on the front, and of its bits."""


def rate_chart(front: Mapping[str, Any]) -> CurveChart:
    """Squared error against bits per sample of all trials of a front from `describe`, of those without fewer bits at no
    larger error as a line; and of the other coders."""
    measured = [row for row in front["trials"] if row["bits"] is not None]
    best = list(least_bits(measured))
    names = {row["trial"]: row["name"] for row in front["front"]}

    def dots(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
        return [Point(row["bits"], row["error"], _text(names.get(row["trial"], f"trial {row['trial']}"), row)) for row in rows]

    most_error, most_bits = (FARTHEST * max(row[key] for row in best) for key in ("error", "bits"))
    near = [row for row in measured if row not in best and row["error"] <= most_error]
    curves = [Curve("other", "other trials", dots(near), joined=False)] if near else []
    for coder, title in TITLES.items():
        points = [each for each in front["others"]["points"] if each["coder"] == coder]
        points = [each for each in points if each["error"] <= most_error and each["bits"] <= most_bits]
        if points:
            texts = [Point(each["bits"], each["error"], _text(f"{title}, {each['setting']}", each)) for each in points]
            curves.append(Curve(COLOURS[coder], title, texts))
    curves.append(Curve("ours", "trials of the least bits", dots(best)))
    limit = front["limits"]["bits"]
    axes = "bits per sample", "squared error per validation sample, in scaled values"
    return CurveChart(curves, "Rate and distortion", *axes, (limit,) if limit else ())


def least_bits(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The rows that no other dominates in bits and error, by bits."""
    least = float("inf")
    for row in sorted(rows, key=lambda row: (row["bits"], row["error"])):
        if row["error"] < least:
            least = row["error"]
            yield row


def _text(name: str, row: Mapping[str, Any]) -> str:
    values = f" ({point_text(row['point'])})" if "point" in row else ""
    return f"{name}{values}: {number(row['bits'])} bits per sample, error {number(row['error'])}"
