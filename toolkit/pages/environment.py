"""The Jinja environment of all pages: escapes HTML, rejects undefined names."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .numbers import FILTERS

HERE = Path(__file__).parent


@cache
def environment(folder: Path) -> Environment:
    """Templates of `folder` and of this package; `.html.j2` files escape values."""
    made = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= FILTERS
    return made


def render(template: Path, /, **values: object) -> str:
    """Render a document; jinja2.UndefinedError for a missing value."""
    return environment(template.parent).get_template(template.name).render(values)


def fragment(template: Path, /, **values: object) -> Markup:
    """Render a part of a page, which other templates do not escape again."""
    return Markup(render(template, **values))


def macros(template: Path) -> Any:
    """The macros of a template as attributes, functions that return Markup."""
    return environment(template.parent).get_template(template.name).module
