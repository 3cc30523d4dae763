"""front.html: the trials of a search as a plot of error against bytes, and the front as a table; no date, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiedae.export.report.charts import TOP, Axis, chart, linear_ticks, log_ticks
from tiedae.export.report.figures import details, escape, number, page, size, table
from tiedae.export.targets import TARGETS

from .front import COUNTED, HEADER, cells, point_text
from .trial import TARGET

Row = Mapping[str, Any]

HEIGHT = 330
"""Pixels of the plot's frame."""
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
    highest = max(HIGHEST * lowest, reference["error"])
    errors = [min(row["error"], highest) for row in measured] + [reference["error"]]
    allowed = None if limits["error_increase"] is None else reference["error"] * (1 + limits["error_increase"])
    errors += [allowed] if allowed is not None and allowed <= highest else []
    sizes = [row[key] for row in measured] + ([limits["bytes"]] if limits["bytes"] else [])
    across, down = _size_ticks(min(sizes), max(sizes)), linear_ticks(min(errors), max(errors))
    counted = f"bytes of the int8 {TARGETS[TARGET].suffix}{' after gzip' if front['size'] == 'gzip' else ''}"
    right = Axis(counted, across[0], across[-1], across, logarithmic=True)
    up = Axis("squared error per validation sample, in model units", down[0], down[-1], down)

    def x(value: float) -> float:
        return 100 * right.at(value)

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - up.at(value))

    marks = []
    if limits["bytes"]:
        marks.append(_line("separator", x(limits["bytes"]), TOP, x(limits["bytes"]), TOP + HEIGHT))
    if allowed is not None and allowed <= down[-1]:
        marks.append(_line("separator", 0, y(allowed), 100, y(allowed)))
    marks.append(_line("keras", 0, y(reference["error"]), 100, y(reference["error"])))
    ends = [*front["front"][1:], None]
    for row, after in zip(front["front"], ends, strict=True):
        end = 100 if after is None else x(after[key])
        marks.append(_line("ours", x(row[key]), y(row["error"]), end, y(row["error"])))
        if after is not None:
            marks.append(_line("ours", end, y(row["error"]), end, y(after["error"])))
    best = {row["trial"]: row["name"] for row in front["front"]}
    for row in sorted(measured, key=lambda row: row["trial"] in best):
        name = best.get(row["trial"], "")
        chosen = bool(name) and name == front["chosen"]
        title = name or f"trial {row['trial']}"
        shown = f"{title}: {point_text(row['point'])}; error {number(row['error'])}, {size(row[key])}"
        kind, radius = ("ours" if name else "stock"), 8 if chosen else 5 if name else 4
        dot = f'<circle class="{kind}" cx="{x(row[key]):.2f}%" cy="{y(row["error"]):.1f}" r="{radius}"/>'
        marks.append(f"<g><title>{escape(shown)}</title>{dot}</g>")
        if name:
            marks.append(_label(x(row[key]), y(row["error"]), name.removeprefix("point-")))
    title = "Error of validation samples against bytes of every trial"
    beyond = sum(row["error"] > up.high for row in measured)
    note = f'<p class="soft">At the upper edge: trials with an error above {up.high:g} ({beyond}).</p>' if beyond else ""
    return chart(right, up, marks, height=HEIGHT, title=title, across=_kilo) + note


def _label(x: float, y: float, text: str) -> str:
    """A text right of a dot, below it near the upper edge: `x` in percent, `y` in pixels."""
    return f'<text x="{x:.2f}%" dx="8" y="{y + (20 if y < TOP + 20 else -8):.1f}">{escape(text)}</text>'


def _size_ticks(low: float, high: float) -> list[float]:
    """Round numbers of bytes around [low, high]; evenly spaced ones where they are not many."""
    even = linear_ticks(low, high)
    return even if even[0] > 0 else log_ticks(low, high)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'


def _kilo(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count:g} B"


def _legend() -> str:
    entries = {"ours": "on the front (the large one is chosen)", "stock": "other trials", "keras": "the recipe's float model"}
    line = '<svg width="22" height="10" aria-hidden="true"><line class="{0}" x1="0" x2="22" y1="5" y2="5"/>{1}</svg>'
    dot = '<circle class="{0}" cx="11" cy="5" r="4"/>'
    drawn = {kind: line.format(kind, "" if kind == "keras" else dot.format(kind)) for kind in entries}
    drawn["stock"] = f'<svg width="22" height="10" aria-hidden="true">{dot.format("stock")}</svg>'
    items = [f"<li>{drawn[kind]}{escape(text)}</li>" for kind, text in entries.items()]
    return f'<ul class="legend">{"".join(items)}<li>dashed: the limits</li></ul>'
