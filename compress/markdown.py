"""Text in Markdown: everything that a `.md.j2` template shows is escaped here, but for code in backticks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jinja2 import Undefined
from markupsafe import Markup

_ACTIVE = re.compile(r"[\\`<\[|]")
"""What begins an escape, code, HTML or a link, or ends a cell of a table."""
_FIRST = re.compile(r"^\s*(?=[#>+=~-](?![0-9]))")
"""Where a line would become a heading, a quotation, a list or a fence."""
_SINGLE = re.compile(r"(?<!`)`(?!`)")
"""What code is between."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Ends of lines, control characters, and those that turn the direction of text around."""


def markdown(value: object) -> object:
    """A value as one line of Markdown that shows it: HTML, links and cells of tables are escaped, code in backticks stays code.

    `Markup`, which is Markdown already, stays as it is.
    """
    return value if isinstance(value, Markup | Undefined) else Markup(_FIRST.sub(r"\\", _inline(value)))


def cells(values: Iterable[object]) -> Markup:
    """The cells of a row of a table."""
    return Markup(" | ".join(map(_inline, values)))


def _inline(value: object) -> str:
    parts = _SINGLE.split(_UNSEEN.sub(" ", str(value)))
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    for i, part in enumerate(parts):
        parts[i] = re.sub(r"\\*\|", r"\\|", part) if i % 2 else _ACTIVE.sub(r"\\\g<0>", part)
    return "`".join(parts)
