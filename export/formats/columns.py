"""Text in columns, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lines of the rows' cells, each column as wide as its widest cell; `sides` has `<` or `>` per column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kinds = [f"{side}{width}" for side, width in zip(sides, widths, strict=True)] if rows else []
    return ["  ".join(map(format, row, kinds)).rstrip() for row in rows]
