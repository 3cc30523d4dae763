"""front.html: the trials of a search as a plot of error against bytes, and the front as a table; no date, no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tiedae.export.report.charts import linear_ticks, log_ticks
from tiedae.export.report.figures import details, escape, number, page, size, table

from .front import COUNTED, HEADER, cells, point_text

Row = Mapping[str, Any]

TOP, HEIGHT, LEFT, WIDTH = 12, 330, 9, 88
"""The frame of the plot: down in pixels, across in percent."""
HIGHEST = 3.0
"""Trials whose error is so many times the lowest are drawn at the upper edge."""

NAME = '<b style="white-space: nowrap">{}</b>'


def render(front: Mapping[str, Any], title: str) -> str:
    """A self-contained page of a front as `front.describe` gives it."""
    measured = [row for row in front["trials"] if row["error"] is not None]
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{_lead(front)}</p>']
    if measured:
        rows = [[NAME.format(row["name"]), *map(escape, cells(row, front)[1:])] for row in front["front"]]
        parts += [_plot(front, measured), _legend(), "<h2>Front</h2>", table(HEADER, rows, numeric=(2, 3, 5, 6, 7))]
    for state in ("stopped", "impossible", "refused"):
        others = [row for row in front["trials"] if row["state"] == state]
        if others:
            rows = [[str(row["trial"] or ""), escape(point_text(row["point"])), escape(row["note"])] for row in others]
            parts.append(details(f"{len(others)} {state}", table(("trial", "what", "why"), rows)))
    body = "\n".join(parts)
    footer = "Made by tiedae search from front.json. Errors are those of validation samples."
    return page(f"{title} · tiedae", f"<main>\n{body}\n</main>\n<footer>{footer}</footer>")


def _lead(front: Mapping[str, Any]) -> str:
    reference = front["reference"]
    trials = sum(row["state"] != "impossible" for row in front["trials"])
    found = f"{escape(front['chosen'])} is chosen" if front["chosen"] else "no point is within the limits"
    return (
        f"{trials} trials, {len(front['front'])} on the front; {found}. The recipe's float model has an error of "
        f"{number(reference['error'])} and takes {size(reference['bytes'])}."
    )


def _plot(front: Mapping[str, Any], measured: Sequence[Row]) -> str:
    """Error against bytes, bytes logarithmic; the front as steps, the limits as dashed lines."""
    key, reference, limits = COUNTED[front["size"]], front["reference"], front["limits"]
    lowest = min(min(row["error"] for row in measured), reference["error"])
    errors = [min(row["error"], HIGHEST * lowest) for row in measured] + [reference["error"]]
    allowed = None if limits["error_increase"] is None else reference["error"] * (1 + limits["error_increase"])
    errors += [allowed] if allowed is not None and allowed <= HIGHEST * lowest else []
    sizes = [row[key] for row in measured] + ([limits["bytes"]] if limits["bytes"] else [])
    across, down = _size_ticks(min(sizes), max(sizes)), linear_ticks(min(errors), max(errors))

    def x(value: float) -> float:
        return LEFT + WIDTH * math.log(value / across[0]) / math.log(across[-1] / across[0])

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - (min(value, down[-1]) - down[0]) / (down[-1] - down[0]))

    label = "Error of validation samples against bytes of every trial"
    parts = [f'<svg class="chart" width="100%" height="{TOP + HEIGHT + 44}" role="img" aria-label="{label}">']
    for tick in down:
        parts.append(_line("grid", LEFT, y(tick), LEFT + WIDTH, y(tick)))
        parts.append(f'<text x="{LEFT - 1}%" y="{y(tick):.1f}" dy="4" text-anchor="end">{tick:g}</text>')
    for tick in across:
        parts.append(f'<text x="{x(tick):.2f}%" y="{TOP + HEIGHT + 18}" text-anchor="middle">{_kilo(tick)}</text>')
    counted = {"file": "bytes of the int8 .tflite", "gzip": "bytes of the int8 .tflite after gzip"}[front["size"]]
    parts.append(f'<text x="{LEFT + WIDTH}%" y="{TOP + HEIGHT + 38}" text-anchor="end">{counted}</text>')
    if limits["bytes"]:
        parts.append(_line("separator", x(limits["bytes"]), TOP, x(limits["bytes"]), TOP + HEIGHT))
    if allowed is not None and allowed <= down[-1]:
        parts.append(_line("separator", LEFT, y(allowed), LEFT + WIDTH, y(allowed)))
    parts.append(_line("keras", LEFT, y(reference["error"]), LEFT + WIDTH, y(reference["error"])))
    ends = [*front["front"][1:], None]
    for row, after in zip(front["front"], ends, strict=True):
        right = LEFT + WIDTH if after is None else x(after[key])
        parts.append(_line("ours", x(row[key]), y(row["error"]), right, y(row["error"])))
        if after is not None:
            parts.append(_line("ours", right, y(row["error"]), right, y(after["error"])))
    best = {row["trial"]: row["name"] for row in front["front"]}
    for row in sorted(measured, key=lambda row: row["trial"] in best):
        name = best.get(row["trial"], "")
        chosen = bool(name) and name == front["chosen"]
        title = name or f"trial {row['trial']}"
        shown = f"{title}: {point_text(row['point'])}; error {number(row['error'])}, {size(row[key])}"
        kind, radius = ("ours" if name else "stock"), 8 if chosen else 5 if name else 4
        dot = f'<circle class="{kind}" cx="{x(row[key]):.2f}%" cy="{y(row["error"]):.1f}" r="{radius}"/>'
        parts.append(f"<g><title>{escape(shown)}</title>{dot}</g>")
        if name:
            at = f'x="{x(row[key]):.2f}%" dx="8" y="{y(row["error"]) - 8:.1f}"'
            parts.append(f"<text {at}>{name.removeprefix('point-')}</text>")
    return "".join(parts) + "</svg>"


def _size_ticks(low: float, high: float) -> list[float]:
    """Round numbers of bytes around [low, high]; evenly spaced ones where they are not many."""
    even = linear_ticks(low, high)
    return even if even[0] > 0 else log_ticks(low, high)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'


def _kilo(count: float) -> str:
    return f"{count / 1e6:g} MB" if count >= 1e6 else f"{count / 1e3:g} kB" if count >= 1e3 else f"{count:g} B"


def _legend() -> str:
    entries = {"ours": "on the front (the large one is chosen)", "stock": "other trials", "keras": "the recipe's float model"}
    line = '<svg width="22" height="10" aria-hidden="true"><line class="{0}" x1="0" x2="22" y1="5" y2="5"/>{1}</svg>'
    dot = '<circle class="{0}" cx="11" cy="5" r="4"/>'
    drawn = {kind: line.format(kind, "" if kind == "keras" else dot.format(kind)) for kind in entries}
    drawn["stock"] = f'<svg width="22" height="10" aria-hidden="true">{dot.format("stock")}</svg>'
    items = [f"<li>{drawn[kind]}{escape(text)}</li>" for kind, text in entries.items()]
    return f'<ul class="legend">{"".join(items)}<li>dashed: the limits</li></ul>'
