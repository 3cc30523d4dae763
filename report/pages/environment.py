"""The Jinja environments of all pages: they escape HTML, or Markdown, and reject undefined names."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from tiedae.compress.markdown import cells, markdown
from tiedae.compress.numbers import FILTERS

HERE = Path(__file__).parent


MARKDOWN = ".md.j2"


@cache
def environment(folder: Path, suffix: str = ".html.j2") -> Environment:
    """Templates of `folder` and of this package; `.html.j2` files escape values for HTML, `.md.j2` files for Markdown."""
    made = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=markdown if suffix == MARKDOWN else None,
    )
    made.filters |= FILTERS | {"cells": cells}
    return made


def render(template: Path, /, **values: object) -> str:
    """Render a document; jinja2.UndefinedError for a missing value."""
    suffix = MARKDOWN if template.name.endswith(MARKDOWN) else ".html.j2"
    return environment(template.parent, suffix).get_template(template.name).render(values)


def fragment(template: Path, /, **values: object) -> Markup:
    """Render a part of a page, which other templates do not escape again."""
    return Markup(render(template, **values))


def macros(template: Path) -> Any:
    """The macros of a template as attributes, functions that return Markup."""
    return environment(template.parent).get_template(template.name).module
