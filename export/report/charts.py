"""Charts for the modules that still put HTML together as strings: a thin layer over `tiedae.pages`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiedae.pages import Bar, BarChart, Line, LineChart, macro

__all__ = ["Bar", "Line", "bar_chart", "legend", "line_chart"]


def bar_chart(bars: Sequence[Bar], *, end: float | None = None) -> str:
    """Horizontal bars from zero on one scale that ends at `end`, else at the longest; bars beyond it are drawn broken."""
    return str(macro("charts.html.j2", "bar_chart")(BarChart(bars, end)))


def line_chart(lines: Sequence[Line], *, title: str, x: str, y: str, separators: Sequence[float] = ()) -> str:
    """Curves over a common x, y logarithmic where every value is positive; `x` and `y` name the axes."""
    return str(macro("charts.html.j2", "line_chart")(LineChart(lines, title, x, y, separators)))


def legend(entries: Iterable[tuple[str, str]]) -> str:
    return str(macro("charts.html.j2", "legend")(entries))
