"""Sentences of results are for people: no module of the product tests one or takes it apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .tree import ROOT, product_files

SUFFIXES = {".py", ".j2", ".pyi", ".mjs"}
_SENTENCE = r"(?:\.(?:what|reason|text|title)\b(?!\()|\[[\"'](?:what|reason|text|title|row)[\"']\])"
_TAKEN_APART = r"\.(?:startswith|endswith|partition|rpartition|split|rsplit|removeprefix|removesuffix|find|index|match)\("
PROSE = re.compile(
    rf"{_SENTENCE}(?:{_TAKEN_APART}|\s+(?:==|!=|(?:not\s+)?in)\s)"  # row.what.startswith(…), row.what == …, row.what in …
    rf"|(?:==|!=|\bnot in|[\"'] in|\b(?:if|and|or) \w+ in)\s[\w.\[\]]+{_SENTENCE}"  # … == row.what, "…" in row.what
    rf"|\bre\.\w+\(.*{_SENTENCE}"  # re.fullmatch(…, row.what)
)
"""Where code tests a sentence or takes it apart."""


def places(root: Path = ROOT) -> list[str]:
    """FILE:LINE of each place in the product."""
    files = [path for path in product_files(root, "*") if path.suffix in SUFFIXES]
    return [
        f"{path.relative_to(root)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PROSE.search(line)
    ]


def test_no_module_reads_a_sentence() -> None:
    assert places() == []


READ = (
    'if row.what.startswith("codes"):',
    'kind, _, rest = check.text.partition(" ")',
    'words = row.title.split(" ")',
    'return row.what == "formats: y"',
    'return row.reason != "no GPU"',
    'rows = [row for row in skipped if "ort-cuda" in row.what]',
    "found = [row for row in rows if name in metrics.skipped[0].reason]",
    'if row.text in ("a", "b"):',
    "if row.text not in known:",
    'if row["what"].startswith("codes"):',
    "name = row['row'].removeprefix('tiedae ')",
    'if row["reason"] == "not here":',
    'match = re.fullmatch(r"codes \\((.*)\\)", row.what)',
    'match = re.search(PATTERN, row["text"])',
)
SHOWN = (
    "parts = [row.what, row.reason]",
    "rows = groups(metrics.skipped, lambda row: row.reason)",
    "for what in row.what:",
    'return f"{row.title} in {row.runtime}"',
    "title = chart.title()",
    "for row in report.text:",
    "{% for title, texts in alarms %}<li>{{ row.text }}</li>{% endfor %}",
)


@pytest.mark.parametrize("line", READ)
def test_reading_one_is_found_in_a_python_file_and_a_template(tmp_path: Path, line: str) -> None:
    for name in ("tiedae/report/card.py", "tiedae/report/pages/base.html.j2"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"first\n{line}\n", encoding="utf-8")
    assert places(tmp_path) == ["tiedae/report/card.py:2", "tiedae/report/pages/base.html.j2:2"]


@pytest.mark.parametrize("line", SHOWN)
def test_showing_one_is_not(line: str) -> None:
    assert not PROSE.search(line)
