"""What pages are made of: numbers as text, tables, and the document around them. Everything is a string of HTML, no script."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

import numpy as np

from .stylesheet import STYLE


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


def human_size(count: float) -> str:
    """Bytes in the decimal unit that people use: 549 kB, 2.17 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * factor:
            return f"{three_digits(count / factor)} {unit}"
    return f"{count:g} B"


def duration(microseconds: float) -> str:
    """A time in the unit that people use: 15.2 µs, 1.25 ms, 2.62 s."""
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= 0.9995 * factor:
            return f"{three_digits(microseconds / factor)} {unit}"
    return f"{three_digits(microseconds)} µs"


def three_digits(value: float) -> str:
    """Three significant digits, never an exponent from 0.001 on: 0.953, 15.2, 486, 12,345."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


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
    name = f"table: {', '.join(filter(None, header)) or 'facts'}"
    return region(f"<table>{head if any(header) else ''}<tbody>\n{body}\n</tbody></table>", name)


def region(content: str, name: str) -> str:
    """What may be wider than a phone: it scrolls by itself, by keyboard too."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{escape(name)}">{content}</div>'


def details(summary: str, content: str) -> str:
    """Long rows behind a line that opens them; left out of print."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


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
