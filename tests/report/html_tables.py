"""Tables of a page as a reader sees them: cells by the words of their header."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class _Tables(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.heads: list[list[str]] = []
        self.tables: list[list[list[str]]] = []
        self.cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self.cell is not None:
            self.tables[-1][-1].append(re.sub(r"\s+", " ", " ".join(self.cell)).strip())
            self.cell = None

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)


def rows_of(html: str) -> list[list[list[str]]]:
    """Every table as rows of cells, its header among them."""
    return _Tables(html).tables


def records(html: str, *header: str) -> list[dict[str, str]]:
    """The rows of the one table whose header has all of these words, each as {header: cell}."""
    found = [rows for rows in rows_of(html) if rows and set(header) <= set(rows[0])]
    assert len(found) == 1, f"{len(found)} tables have {header}"
    first, *rows = found[0]
    return [dict(zip(first, row, strict=True)) for row in rows]


def section(page: str, name: str) -> str:
    """One section of the report."""
    (text,) = re.findall(rf'<section id="{name}">.*?</section>', page, re.S)
    return text
