"""Building blocks of HTML pages: template environment, base page, style sheet, macros, charts.

A page is a function that computes plain values, and a template beside it:

    render(Path(__file__).with_suffix(".html.j2"), title="a <title>", rows=[("kernel_0", "12 B")])

The template extends `base.html.j2` (blocks `main` and `footer`) and imports `table`, `details`, `region`, `verdict` from
`macros.html.j2` and `bar_chart`, `line_chart`, `scatter`, `curve_chart`, `histogram`, `frame`, `plot`, `legend` from
`charts.html.j2`.
"""

from .charts import (
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
    Plot,
    Point,
    Scatter,
    linear_ticks,
    log_ticks,
)
from .environment import fragment, macros, render

__all__ = [
    "Axis",
    "Bar",
    "BarChart",
    "Cell",
    "Curve",
    "CurveChart",
    "Frame",
    "HistogramChart",
    "Line",
    "LineChart",
    "Plot",
    "Point",
    "Scatter",
    "fragment",
    "linear_ticks",
    "log_ticks",
    "macros",
    "render",
]
