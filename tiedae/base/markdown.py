"""Text in Markdown: everything that a `.md.j2` template shows is escaped here, but for code in backticks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jinja2 import Undefined
from markupsafe import Markup

from .unseen import visible

_ACTIVE = re.compile(r"[\\`<\[|*~]|(?<![^\W_])_|_(?![^\W_])|&(?=[#A-Za-z])")
"""What begins an escape, code, HTML, a link, emphasis or an entity, or ends a cell of a table. `_` inside a word does not."""
_FIRST = re.compile(r"^ ?(?=[#>+=-](?![0-9]))|^ ?[0-9]{1,9}(?=[.)]( |$))")
"""Where a line would become a heading, a quotation or a list."""
_SINGLE = re.compile(r"(?<!`)`(?!`)")
"""What code is between."""
_SPACE = re.compile(r"[ \t\n]+")


def markdown(value: object) -> object:
    """A value as one line of Markdown that shows it: HTML, links and cells of tables are escaped, code in backticks stays code.

    `Markup`, which is Markdown already, stays as it is.
    """
    return value if isinstance(value, Markup | Undefined) else Markup(_FIRST.sub(r"\g<0>\\", _inline(value)))


def cells(values: Iterable[object]) -> Markup:
    """The cells of a row of a table."""
    return Markup(" | ".join(map(_inline, values)))


def _inline(value: object) -> str:
    parts = _SINGLE.split(_SPACE.sub(" ", visible(str(value))))
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    for i, part in enumerate(parts):
        parts[i] = re.sub(r"\\*\|", r"\\|", part) if i % 2 else _ACTIVE.sub(r"\\\g<0>", part)
    return "`".join(parts)
