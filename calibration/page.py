"""A calibration as one HTML page that loads nothing: what was found, and each tensor's histogram with the chosen range."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np

from .artefact import CalibratedTensor, Calibration
from .diagnosis import Diagnosis

BARS = 128
HEIGHT = 100

STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --text: #1d2024; --soft: #5d646d; --line: #dfe2e5; --panel: #f3f4f5;
  --ours: #1c6dd0; --failed: #c4281b; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #15171a; --text: #e7e9eb; --soft: #9ea6af; --line: #33383e;
  --panel: #1e2125; --ours: #62a6f8; --failed: #ff7b6e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem 3rem; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 2.5rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, li { max-width: 52rem; overflow-wrap: anywhere; } small, .soft { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; }
th, td { text-align: left; padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; } .n { text-align: right; font-variant-numeric: tabular-nums; }
.failed { color: var(--failed); font-weight: 600; }
.grid { display: grid; gap: 1.6rem 1.8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; break-inside: avoid; } figure h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: 110px; background: var(--panel); border-radius: 4px; }
.in { fill: var(--ours); } .out { fill: var(--failed); }
line { vector-effect: non-scaling-stroke; stroke: var(--text); stroke-width: 1.5; }
.zero { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.ends { display: flex; justify-content: space-between; font-size: .78rem; color: var(--soft); }
figcaption { font-size: .82rem; color: var(--soft); font-variant-numeric: tabular-nums; }
figcaption span { white-space: nowrap; }
@media print { svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def render_page(name: str, calibration: Calibration, diagnosis: Diagnosis) -> str:
    """A self-contained page, light and dark; the same calibration gives the same bytes."""
    settings = "".join(f", {key} {value}" for key, value in calibration.settings.items())
    lead = f"{calibration.samples} samples (seed {calibration.seed}), observer {calibration.observer}{settings}"
    findings = [f"<li><b>{_escape(finding.kind)}</b> {_escape(finding.text)}</li>" for finding in diagnosis.findings]
    figures = [_figure(each, tensor, diagnosis) for each, tensor in calibration.tensors.items() if not each.endswith(".bias")]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Calibration of {_escape(name)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Calibration of {_escape(name)}</h1>
<p class="soft">{_escape(lead)}</p>
<h2>Findings</h2>
{"<ul>" + "".join(findings) + "</ul>" if findings else "<p>Nothing to tell.</p>"}
{_halves(diagnosis)}
<h2>Tensors</h2>
{_table(calibration, diagnosis)}
<h2>Histograms</h2>
<p class="soft">The height of a bar is the logarithm of its count. Solid lines are the chosen range, the dashed one is 0; red
bars lie outside. Exact zeros are in no bar: every grid holds them.</p>
<div class="grid">
{"".join(figures)}
</div>
</main>
</body>
</html>
"""


def _halves(diagnosis: Diagnosis) -> str:
    if diagnosis.halves is None:
        return f'<p class="soft">More samples: not compared, {_escape(diagnosis.skipped)}.</p>'
    return f'<p class="soft">{_escape(diagnosis.halves.text)}.</p>'


def _table(calibration: Calibration, diagnosis: Diagnosis) -> str:
    header = ("tensor", "values", "bits", "range", "step", "seen", "clipped", "dead units", "")
    flagged = {finding.tensor for finding in diagnosis.findings}
    rows = [
        (
            f'<span class="failed">{_escape(name)}</span>' if name in flagged else _escape(name),
            f"{tensor.values:,}",
            str(tensor.bits),
            _span(*tensor.range),
            f"{tensor.grid.parameters(tensor.range)[0]:.3g}",
            _span(tensor.histogram.low, tensor.histogram.high),
            f"{100 * tensor.clipped:.2g} %",
            str(len(tensor.dead)),
            "the model fixes its range" if name in diagnosis.fixed else "",
        )
        for name, tensor in calibration.tensors.items()
    ]
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{_cells("th", header)}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(tag: str, row: Sequence[str]) -> str:
    return "".join(f"<{tag}{' class=n' if 0 < i < 8 else ''}>{cell}</{tag}>" for i, cell in enumerate(row))


def _figure(name: str, tensor: CalibratedTensor, diagnosis: Diagnosis) -> str:
    histogram = tensor.histogram
    left, right = min(histogram.low, 0.0), max(histogram.high, 0.0)
    zeros = histogram.zeros / max(histogram.total, 1)
    facts = [f"{100 * tensor.clipped:.2g} % clipped", *([f"{100 * zeros:.3g} % exactly 0"] if zeros else [])]
    facts.append("the model fixes its range" if name in diagnosis.fixed else f"range {_span(*tensor.range)}")
    label = f"histogram of {name}: seen {_span(histogram.low, histogram.high)}, range {_span(*tensor.range)}"
    return (
        f"<figure><h3>{_escape(name)}</h3>"
        f'<svg viewBox="0 0 {BARS} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{_escape(label)}">'
        f"{''.join(_bars(tensor, left, right))}{''.join(_lines(tensor, left, right))}</svg>"
        f'<div class="ends"><span>{left:.4g}</span><span>{right:.4g}</span></div>'
        f"<figcaption>{' · '.join(f'<span>{fact}</span>' for fact in facts)}</figcaption></figure>\n"
    )


def _bars(tensor: CalibratedTensor, left: float, right: float) -> Iterable[str]:
    """A bar for each bin that holds something; bins are made coarser, by twos, until there are no more than `BARS`."""
    histogram = tensor.histogram
    if right <= left:
        return
    while (right - left) / histogram.width > BARS:
        histogram = histogram.coarse(len(histogram.counts) // 2)
    low, high = tensor.range
    unit = BARS / (right - left)
    for index in np.flatnonzero(histogram.counts):
        start = (index - len(histogram.counts) // 2) * histogram.width
        height = 3 + (HEIGHT - 8) * np.log1p(histogram.counts[index]) / np.log1p(histogram.counts.max())
        kind = "in" if low <= start + histogram.width / 2 <= high else "out"
        place = f'x="{(start - left) * unit:.2f}" width="{histogram.width * unit + 0.02:.2f}"'
        yield f'<rect class="{kind}" {place} y="{HEIGHT - height:.1f}" height="{height:.1f}"/>'


def _lines(tensor: CalibratedTensor, left: float, right: float) -> Iterable[str]:
    for kind, value in (("zero", 0.0), ("end", tensor.range[0]), ("end", tensor.range[1])):
        if left <= value <= right and right > left:
            x = f"{(value - left) / (right - left) * BARS:.2f}"
            yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="{HEIGHT}"/>'


def _span(low: float, high: float) -> str:
    return f"{low:.4g}…{high:.4g}"


def _escape(value: object) -> str:
    return html.escape(str(value))
