"""The front of a search as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import convert

from tiedae.bundle.fidelity import fit_text
from tiedae.bundle.results import Fit

COUNTED = {"file": "bytes", "gzip": "gzip_bytes"}
"""The key of a row's size by `[search] size`."""


def point_text(point: Mapping[str, Any]) -> str:
    """A point as text, such as `code 30, hidden_0 128`."""
    return ", ".join(f"{name} {value}" for name, value in point.items())


HEADER = ("point", "values", "error", "increase", "quality", "bytes", "gzip", "bits", "µs", "within limits")


def cells(row: Mapping[str, Any], front: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the front as text, in the columns of `HEADER`."""
    return (
        row["name"],
        point_text(row["point"]),
        f"{row['error']:.4g}",
        f"{100 * row['error_increase']:+.1f} %",
        fit_text(convert(row.get("fidelity"), Fit | None)),
        f"{row['bytes']:,}",
        f"{row['gzip_bytes']:,}",
        "" if row["bits"] is None else f"{row['bits']:.4g}",
        "" if row["latency_us"] is None else f"{row['latency_us']:.3g}",
        "chosen" if row["name"] == front["chosen"] else "yes" if row["meets"] else "no",
    )
