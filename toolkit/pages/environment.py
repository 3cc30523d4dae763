"""The Jinja environment that every page comes from: escaped HTML, no name that nobody gave, nothing loaded, no script."""

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
    """The templates of `folder` beside those of this package; values are escaped in every `.html.j2`."""
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
    """A whole document: a template with its values; jinja2.UndefinedError where it reads one that is not there."""
    return environment(template.parent).get_template(template.name).render(values)


def fragment(template: Path, /, **values: object) -> Markup:
    """A part of a page, as `render`: other templates take it as it is."""
    return Markup(render(template, **values))


def macros(template: Path) -> Any:
    """The macros of a template, as attributes: functions that return Markup."""
    return environment(template.parent).get_template(template.name).module
