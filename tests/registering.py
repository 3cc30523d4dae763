"""Rows of a test in tables of the product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Rows = Sequence[tuple[Any, Mapping[Any, Any]]]
"""Tables, and what a test adds to each."""


@contextmanager
def with_rows(rows: Rows) -> Iterator[None]:
    """Each table has its rows, and afterwards what it had before."""
    before = [dict(table) for table, _ in rows]
    for table, new in rows:
        table.update(new)
    try:
        yield
    finally:
        for (table, _), old in zip(rows, before, strict=True):
            table.clear()
            table.update(old)
