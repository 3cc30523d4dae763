"""The golden samples of a table: the error of each column in its own unit, as columns need not have anything in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..parity.fidelity import column_names
from .charts import Bar, bar_chart
from .figures import details, escape, number, table

SHOWN = 16
"""How many columns are drawn, the worst first; the others are folded."""


def render_column_errors(
    values: Mapping[str, np.ndarray],
    errors: Mapping[str, Sequence[float]],
    names: Sequence[str] | None,
    worst: Sequence[int],
    labels: Mapping[str, str],
) -> str:
    """Bars of each column's error, and the worst samples with the column that is furthest off.

    `values` by kind (`input`, `keras`, `ours`) [n, columns] in the user's unit, `errors` of the latter two per sample, `worst`
    the samples to name, `labels` by kind. A column without a name is called by its place, from 0.
    """
    given = values["input"]
    called = column_names(names, given.shape[1])
    rmse = {kind: np.sqrt(np.square(values[kind] - given).mean(axis=0)) for kind in ("keras", "ours")}
    spread = given.std(axis=0)
    relative = np.divide(rmse["ours"], spread, out=np.zeros_like(spread), where=spread > 0)
    order = np.lexsort((-rmse["ours"], -relative))
    bars = [
        Bar(
            called[i],
            relative[i],
            f"{100 * relative[i]:.3g} %" if spread[i] > 0 else "never changes",
            "ours",
            f"error {number(rmse['ours'][i])}, {labels['keras']} {number(rmse['keras'][i])}; values from "
            f"{number(given[:, i].min())} to {number(given[:, i].max())}",
        )
        for i in order
    ]
    parts = [
        "<h3>Error per column</h3>",
        "<p>Root of the mean squared error of a column, in percent of its standard deviation over these samples: at 100 % the "
        "column's mean would do as well. Below each name it is in the unit of the data.</p>",
        bar_chart(bars[:SHOWN]),
    ]
    if len(bars) > SHOWN:
        parts.append(details(f"{len(bars) - SHOWN} further columns, with smaller errors", bar_chart(bars[SHOWN:])))
    off = np.abs(values["ours"] - given)
    scaled = np.divide(off, spread, out=off.copy(), where=spread > 0)
    rows = []
    for i in worst:
        at = int(scaled[i].argmax())
        pair = f"{number(given[i, at])} → {number(values['ours'][i, at])}"
        rows.append((str(i), number(errors["ours"][i]), number(errors["keras"][i]), escape(called[at]), pair))
    header = ("sample", f"error, {labels['ours']}", f"error, {labels['keras']}", "column furthest off", "input → output")
    return "\n".join([*parts, f"<h3>The {len(rows)} worst samples</h3>", table(header, rows, numeric=(1, 2))])
