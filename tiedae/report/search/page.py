"""front.html: plots of error against bytes and, where bits count, bits of all trials, and a table of the front.

Deterministic, without scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from tiedae.base.numbers import human_size, number, size

from ..pages import render as render_template
from ..pages.charts import Axis, Frame, linear_ticks, log_ticks
from .front import COUNTED, HEADER, cells, point_text
from .rate_chart import rate_chart

Row = Mapping[str, Any]

HEIGHT = 330
"""Height of the plot's frame in pixels."""
MAX_ERROR = 3.0
"""Upper end of the plot, in multiples of the lowest error; larger errors are drawn at the edge."""


@dataclass(frozen=True)
class Dot:
    """A trial: `text` is the tooltip, `label` the text beside it."""

    kind: str
    x: float
    y: float
    radius: int
    text: str
    label: str


def render(front: Mapping[str, Any], title: str, suffix: str) -> str:
    """A self-contained page of a front from `searching.front.describe`, whose files end in `suffix`."""
    measured = [row for row in front["trials"] if row["error"] is not None]
    others = {
        state: [(row["trial"] or "", point_text(row["point"]), row["note"]) for row in front["trials"] if row["state"] == state]
        for state in ("stopped", "impossible", "refused")
    }
    return render_template(
        Path(__file__).with_suffix(".html.j2"),
        title=f"{title} · tiedae",
        heading=title,
        front=front,
        trials=sum(row["state"] != "impossible" for row in front["trials"]),
        plot=_plot(front, measured, suffix) if measured else None,
        rates=rate_chart(front) if front["others"] else None,
        header=HEADER,
        rows=[cells(row, front) for row in front["front"]],
        others=others,
    )


def _plot(front: Mapping[str, Any], measured: Sequence[Row], suffix: str) -> dict[str, object]:
    """Error against bytes (logarithmic), with the front as steps and the limits as dashed lines.

    Lines: (CSS class, x1, y1, x2, y2) in bytes and errors. `beyond`: number of trials with an error above the axis.
    """
    key, best, limits, reference = COUNTED[front["size"]], front["front"], front["limits"], front["reference"]["error"]
    highest = max(MAX_ERROR * min(*(row["error"] for row in measured), reference), reference)
    allowed = None if limits["error_increase"] is None else reference * (1 + limits["error_increase"])
    errors = [*(min(row["error"], highest) for row in measured), reference]
    errors += [allowed] if allowed is not None and allowed <= highest else []
    sizes = [row[key] for row in measured] + ([limits["bytes"]] if limits["bytes"] else [])
    across = _size_ticks(min(sizes), max(sizes))
    counted = f"bytes of the int8 {suffix}{' after gzip' if front['size'] == 'gzip' else ''}"
    x = Axis(counted, across[0], across[-1], across, logarithmic=True, write=partial(human_size, write="{:g}".format))
    y = Axis.around("squared error per validation sample, in scaled values", errors)

    lines = [("separator", limits["bytes"], y.high, limits["bytes"], y.low)] if limits["bytes"] else []
    lines += [("separator", x.low, allowed, x.high, allowed)] if allowed is not None and allowed <= y.high else []
    lines.append(("keras", x.low, reference, x.high, reference))
    for row, after in pairwise(best):
        lines.append(("ours", row[key], row["error"], after[key], row["error"]))
        lines.append(("ours", after[key], row["error"], after[key], after["error"]))
    lines += [("ours", row[key], row["error"], x.high, row["error"]) for row in best[-1:]]

    names = {row["trial"]: row["name"] for row in best}
    dots = [
        _dot(row, key, names.get(row["trial"], ""), front["chosen"])
        for row in sorted(measured, key=lambda row: row["trial"] in names)
    ]
    frame = Frame(x, y, HEIGHT, "Error of validation samples against bytes of every trial")
    return {"frame": frame, "lines": lines, "dots": dots, "beyond": sum(row["error"] > y.high for row in measured)}


def _dot(row: Row, key: str, name: str, chosen: str | None) -> Dot:
    """A trial; `name` is its point on the front, or empty."""
    called = name or f"trial {row['trial']}"
    text = f"{called}: {point_text(row['point'])}; error {number(row['error'])}, {size(row[key])}"
    radius = 4 if not name else 8 if name == chosen else 5
    return Dot("ours" if name else "stock", row[key], row["error"], radius, text, name.removeprefix("point-"))


def _size_ticks(low: float, high: float) -> list[float]:
    """Round numbers of bytes around [low, high], evenly spaced unless they would start at 0."""
    even = linear_ticks(low, high)
    return even if even[0] > 0 else log_ticks(low, high)
