"""HTML for the modules that still put it together as strings: a thin layer over `tiedae.pages`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from markupsafe import Markup
from tiedae.pages import duration, exact, human_size, macro, number, size, three_digits
from tiedae.pages import fraction as share
from tiedae.pages.environment import HERE, environment

__all__ = [
    "details",
    "duration",
    "escape",
    "exact",
    "human_size",
    "number",
    "page",
    "share",
    "size",
    "table",
    "three_digits",
    "verdict",
]


def escape(value: object) -> str:
    return html.escape(str(value))


def verdict(ok: bool) -> str:
    return str(macro("macros.html.j2", "verdict")(ok))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()) -> str:
    """A table; cells are HTML, columns of `numeric` stand on the right."""
    return str(macro("macros.html.j2", "table")(header, [map(Markup, row) for row in rows], numeric))


def details(summary: str, content: str) -> str:
    """Long rows behind a line that opens them; left out of print."""
    return str(macro("macros.html.j2", "details")(summary, caller=lambda: Markup(content)))


def page(title: str, content: str) -> str:
    """A whole document that loads nothing: its own policy forbids it."""
    source = '{% extends "base.html.j2" %}{% block body %}{{ content|safe }}{% endblock %}'
    return environment(HERE).from_string(source).render(title=title, content=content)
