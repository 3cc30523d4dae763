"""What the report is made of: tables, charts as inline SVG, pictures as PNG, and the page around them.

Everything is a string of HTML and needs no script. Charts take their colours from the page's style sheet, so they follow the
reader's theme, and measure across in percent, so text keeps its size on a phone. Colours mean the same everywhere: `input` what
went in, `keras` the Keras model, `ours` the exported files, `stock` what the stock converters make of the same model.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SIDES = (128, 96, 64, 48, 32, 16)
"""Longest sides that pictures are shrunk to, until they fit into the report."""
PICTURE_BYTES = 600_000
ROW = 8
"""Samples beside each other on a wide screen."""
LABELS = {"input": "input", "keras": "Keras float", "ours": "tiedae int8"}
"""The versions of a sample, by colour."""


def escape(value: object) -> str:
    return html.escape(str(value))


def number(value: float | np.number) -> str:
    """Four significant digits: 6.904, 0.00871, 1.2e-07."""
    return f"{value:.4g}"


def exact(value: float | int | str) -> str:
    """A value beside its limit: six digits, or all where six would read as a whole number that it is not."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:.6g}"
    return repr(value) if float(short).is_integer() and not value.is_integer() else short


def size(count: int) -> str:
    return f"{count:,} B"


def share(part: int, whole: int) -> str:
    """A share in percent that is 100 % only where nothing is missing, and 0 % only where nothing is there."""
    if part in (0, whole) or whole == 0:
        return "100 %" if part == whole else "0 %"
    return f"{min(max(math.floor(1e5 * part / whole), 1), 99_999) / 1e3:g} %"


def verdict(ok: bool) -> str:
    return '<span class="ok">✓ ok</span>' if ok else '<span class="failed">✗ failed</span>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()) -> str:
    """A table; cells are HTML, columns of `numeric` stand on the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if i in numeric else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', [escape(cell) for cell in header])}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>\n{body}\n</tbody></table></div>'


def details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


@dataclass(frozen=True)
class Bar:
    """One bar: `kind` is its colour (`keras`, `ours`, `stock`), the rest is text."""

    label: str
    value: float
    shown: str
    kind: str
    note: str = ""
    change: str = ""


def bar_chart(bars: Sequence[Bar]) -> str:
    """Horizontal bars from zero on one scale."""
    longest = max((bar.value for bar in bars), default=0) or 1
    rows = []
    for bar in bars:
        width = f"{100 * bar.value / longest:.2f}%"
        rect = f'<rect class="{bar.kind}" width="{width}" height="14" rx="2"/>'
        note = f"<small>{escape(bar.note)}</small>" if bar.note else ""
        change = f"<td class=n>{escape(bar.change)}</td>" if any(each.change for each in bars) else ""
        drawn = f'<svg width="100%" height="14" aria-hidden="true">{rect}</svg>'
        rows.append(f"<tr><th>{escape(bar.label)}{note}</th><td>{drawn}</td><td class=n>{escape(bar.shown)}</td>{change}</tr>")
    return '<table class="bars"><tbody>\n' + "\n".join(rows) + "\n</tbody></table>"


@dataclass(frozen=True)
class Line:
    """One curve through (x, y): `kind` is its CSS class."""

    kind: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(lines: Sequence[Line], *, title: str, separators: Sequence[float] = ()) -> str:
    """Curves over a common x (whole numbers, such as epochs), y logarithmic where every value is positive."""
    xs = [value for line in lines for value in line.x]
    ys = [value for line in lines for value in line.y]
    logarithmic = min(ys) > 0
    ticks = _log_ticks(min(ys), max(ys)) if logarithmic else _ticks(min(ys), max(ys))
    low, high = min(ticks[0], *ys), max(ticks[-1], *ys)
    left, right = min(xs), max(max(xs), min(xs) + 1)

    def down(value: float) -> float:
        """From the top, 0…1."""
        a, b, c = (math.log(v) for v in (value, low, high)) if logarithmic else (value, low, high)
        return 1 - (a - b) / (c - b)

    def across(value: float) -> float:
        return (value - left) / (right - left)

    top, height, start, width = 8, 210, 10, 88
    parts = [f'<svg class="chart" width="100%" height="250" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        y = f"{top + height * down(tick):.1f}"
        parts.append(f'<line class="grid" x1="{start}%" x2="{start + width}%" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{start - 1}%" y="{y}" dy="4" text-anchor="end">{tick:g}</text>')
    for tick in _whole_ticks(left, right):
        x = f"{start + width * across(tick):.2f}%"
        parts.append(f'<text x="{x}" y="{top + height + 18}" text-anchor="middle">{tick}</text>')
    for value in separators:
        x = f"{start + width * across(value):.2f}%"
        parts.append(f'<line class="separator" x1="{x}" x2="{x}" y1="{top}" y2="{top + height}"/>')
    frame = f'x="{start}%" y="{top}" width="{width}%" height="{height}" viewBox="0 0 1000 1000"'
    parts.append(f'<svg {frame} preserveAspectRatio="none" overflow="visible">')
    parts += [polyline(line.kind, [1000 * across(x) for x in line.x], [1000 * down(y) for y in line.y]) for line in lines]
    parts.append("</svg></svg>")
    return "".join(parts)


def polyline(kind: str, x: Sequence[float], y: Sequence[float]) -> str:
    """One curve in the coordinates of its viewBox; a single point is drawn as a dot."""
    points = [f"{a:.5g},{b:.5g}" for a, b in zip(x, y, strict=True)]
    return f'<polyline class="{kind}" points="{" ".join(points * 2 if len(points) == 1 else points)}"/>'


def plot(curves: Mapping[str, np.ndarray], *, label: str) -> str:
    """One-dimensional samples of equal length over each other: values by CSS class, in the order that they are drawn."""
    values = np.stack(list(curves.values()))
    low, high = values.min(), values.max()
    shown = np.stack([_thin(row) for row in values])
    x = np.linspace(0, 400, shown.shape[1]) if shown.shape[1] > 1 else np.array([200.0])
    y = 4 + 92 * (high - shown) / ((high - low) or 1.0)
    drawn = "".join(polyline(kind, x.tolist(), row.tolist()) for kind, row in zip(curves, np.round(y, 1), strict=True))
    frame = 'class="plot" width="100%" height="110" viewBox="0 0 400 100" preserveAspectRatio="none"'
    return f'<svg {frame} role="img" aria-label="{escape(label)}">{drawn}</svg>'


def _thin(values: np.ndarray, bins: int = 256) -> np.ndarray:
    """A long curve as the lowest and highest value of each of `bins` stretches, in their order."""
    if len(values) <= 2 * bins:
        return values
    parts = np.array_split(values, bins)
    return np.concatenate([part[sorted((part.argmin(), part.argmax()))] for part in parts])


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose [low, high], about five."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 · 10ⁿ around [low, high]; powers of ten alone where there are many."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    below, above = max(t for t in ticks if t <= low), min((t for t in ticks if t >= high), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above] if below < above else [below, 2 * below]


def _whole_ticks(low: float, high: float) -> list[int]:
    step = max(1, int(_ticks(low, high)[1] - _ticks(low, high)[0]))
    return sorted({math.ceil(low), *(tick for tick in range(0, int(high) + 1, step) if tick >= low + step / 2)})


def pictures(images: Sequence[np.ndarray], budget: int) -> list[str]:
    """Pictures, uint8 [h, w] or [h, w, 3], as data URIs of PNG: shrunk together until they take `budget` bytes or less."""
    encoded: list[str] = []
    for side in SIDES:
        encoded = [_png(image, side) for image in images]
        if sum(map(len, encoded)) <= budget:
            break
    return encoded


def _png(values: np.ndarray, side: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(values))
    ratio = side / max(image.size)
    if ratio < 1:
        shrunk = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        image = image.resize(shrunk, Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def sample_pictures(
    groups: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    errors: Mapping[str, list[float]],
    data: Mapping[str, Any],
) -> str:
    """Pictures of the samples in each group (title: indices): inputs over reconstructions, byte data black to white at 0…255.

    `values` by the keys of `LABELS`, [n, inputs] in the user's unit; `errors`, n numbers, by the keys of the reconstructions;
    `data` has the `shape` and `dtype` of a sample.
    """
    shape = tuple(data["shape"][:2] if data["shape"][2:] == [1] else data["shape"])
    low, high = (0.0, 255.0) if data["dtype"] == "uint8" else (values["input"].min(), values["input"].max())
    chosen = np.concatenate(list(groups.values()))
    levels = {kind: np.clip((all_[chosen] - low) / ((high - low) or 1.0), 0, 1) for kind, all_ in values.items()}
    images = [np.rint(255 * levels[kind][n]).astype(np.uint8).reshape(shape) for n in range(len(chosen)) for kind in LABELS]
    sources = iter(pictures(images, PICTURE_BYTES))
    ratio = f"{shape[1]} / {shape[0]}"
    names = "".join(f"<i>{escape(label)}</i>" for label in LABELS.values())
    first = f"<figure>{names}<figcaption>error, int8<br>float</figcaption></figure>"
    parts = []
    for title, indices in groups.items():
        parts.append(f"<h3>{escape(title)}</h3>")
        for start in range(0, len(indices), ROW):
            cells = [first]
            for i in indices[start : start + ROW]:
                shown = "".join(f'<img src="{next(sources)}" alt="sample {i}, {escape(label)}">' for label in LABELS.values())
                caption = f"{number(errors['ours'][i])}<br>{number(errors['keras'][i])}"
                cells.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
            parts.append(f'<div class="samples" style="--ratio: {ratio}">\n' + "\n".join(cells) + "\n</div>")
    return "\n".join(parts)


def sample_plots(
    groups: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    errors: Mapping[str, list[float]],
    data: Mapping[str, Any],
) -> str:
    """Curves of the samples in each group, the reconstructions over the input; arguments as in `sample_pictures`."""
    parts = [legend([(kind, label) for kind, label in LABELS.items()])]
    for title, indices in groups.items():
        cells = []
        for i in indices:
            drawn = plot({kind: values[kind][i] for kind in LABELS}, label=f"sample {i}: input and reconstructions")
            error = f"{number(errors['ours'][i])}, float {number(errors['keras'][i])}"
            bounds = f"input from {number(values['input'][i].min())} to {number(values['input'][i].max())}"
            cells.append(f"<figure>{drawn}<figcaption>error {error}<br>{bounds}</figcaption></figure>")
        parts.append(f'<h3>{escape(title)}</h3>\n<div class="plots">\n' + "\n".join(cells) + "\n</div>")
    return "\n".join(parts)


def legend(entries: Iterable[tuple[str, str]]) -> str:
    def line(kind: str) -> str:
        return f'<svg width="22" height="8" aria-hidden="true"><polyline class="{kind}" points="2,4 20,4"/></svg>'

    return '<ul class="legend">' + "".join(f"<li>{line(kind)}{escape(label)}</li>" for kind, label in entries) + "</ul>"


STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --text: #1d2024; --soft: #5d646d; --line: #dfe2e5; --panel: #f3f4f5;
  --input: #1d2024; --keras: #d9790b; --ours: #1c6dd0; --stock: #9aa1aa; --ok: #14804a; --failed: #c4281b; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #15171a; --text: #e7e9eb; --soft: #9ea6af; --line: #33383e;
  --panel: #1e2125; --input: #e7e9eb; --keras: #f2a245; --ours: #62a6f8; --stock: #747c86; --ok: #4cc38a; --failed: #ff7b6e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main, footer { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 2.5rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead { font-size: 1.15rem; max-width: 56rem; }
small, .soft { color: var(--soft); font-size: .82rem; }
th small { display: block; font-weight: 400; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .9rem; margin: 1rem 0; }
a { color: var(--ours); text-decoration: none; } a:hover { text-decoration: underline; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .9rem; margin: 1.4rem 0; }
.card { background: var(--panel); border-radius: .6rem; padding: 1rem 1.15rem; }
.card b { display: block; font-size: 1.9rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .88rem; display: block; }
.ok { color: var(--ok); white-space: nowrap; } .failed { color: var(--failed); white-space: nowrap; font-weight: 600; }
.alarm { border-left: 4px solid var(--failed); padding: .1rem 1rem; background: var(--panel); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; min-width: 55%; font-size: .88rem; }
th, td { text-align: left; padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars { width: 100%; } .bars th { width: 30%; font-weight: 500; } .bars td { vertical-align: middle; }
.bars .n { width: 1%; padding-left: .9rem; padding-right: 0; }
.bars tr > * { border: 0; } .bars svg { display: block; }
rect.keras { fill: var(--keras); } rect.ours { fill: var(--ours); } rect.stock { fill: var(--stock); }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; } .chart, .plot { display: block; }
.grid { stroke: var(--line); } .separator { stroke: var(--soft); stroke-dasharray: 7 5; }
polyline { fill: none; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.input { stroke: var(--input); stroke-width: 3; stroke-opacity: .4; } .keras { stroke: var(--keras); }
.ours { stroke: var(--ours); } .stock { stroke: var(--stock); } rect { stroke: none; }
polyline.train { stroke: var(--keras); } polyline.prune { stroke: var(--ok); } polyline.quantize { stroke: var(--ours); }
polyline.other { stroke: var(--stock); } 
.plot .input { stroke-width: 4.5; } polyline.ours { stroke-dasharray: 5 5; }
polyline.validation { stroke-dasharray: 1 5; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; font-size: .88rem; margin: .4rem 0; padding: 0; list-style: none; }
.legend svg { margin-right: .45rem; vertical-align: middle; }
.samples { display: grid; gap: .7rem .5rem; margin-bottom: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(5.2rem, 1fr)); }
@media (min-width: 62rem) { .samples { grid-template-columns: repeat(9, 1fr); } }
.samples img, .samples i { display: block; width: 100%; aspect-ratio: var(--ratio); margin-bottom: 3px; border-radius: 3px; }
.samples img { image-rendering: pixelated; background: var(--panel); }
.samples i { font-style: normal; font-size: .82rem; color: var(--soft); display: flex; align-items: center; }
.plots { display: grid; gap: 1rem 1.4rem; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .78rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.plot { background: var(--panel); border-radius: 4px; }
summary { cursor: pointer; color: var(--ours); margin: .8rem 0 .4rem; font-size: .9rem; }
footer { color: var(--soft); font-size: .82rem; padding-top: 2rem; padding-bottom: 2.5rem; }
@media print { nav { display: none; } body { font-size: 10.5pt; } main, footer { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } tr, .card, .bars, .chart { break-inside: avoid; } .wide { overflow: visible; }
  .card, .plot, .alarm { print-color-adjust: exact; } }
"""


def page(title: str, content: str) -> str:
    """A whole document that loads nothing: its own policy forbids it."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{content}
</body>
</html>
"""
