"""What every HTML page is made of: the Jinja environments, base page, style sheet, macros, charts.

A page is a function that computes plain values, and a template beside it:

    render(Path(__file__).with_suffix(".html.j2"), title="a <title>", rows=[("kernel_0", "12 B")])

The template extends `base.html.j2` (blocks `main` and `footer`) and imports `table`, `details`, `region`, `verdict` from
`macros.html.j2` and `bar_chart`, `line_chart`, `scatter`, `curve_chart`, `histogram`, `frame`, `legend` from
`charts.html.j2`, which draws what `charts` computes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tiedae.base.markdown import cells, markdown
from tiedae.base.numbers import FILTERS
from tiedae.base.unseen import visible

HERE = Path(__file__).parent
MARKDOWN = ".md.j2"


@cache
def environment(folder: Path, suffix: str = ".html.j2") -> Environment:
    """Templates of `folder` and of this package, escaped for HTML or Markdown by their suffix; undefined names are errors."""
    made = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=markdown if suffix == MARKDOWN else _seen,
    )
    made.filters |= FILTERS | {"cells": cells}
    return made


def _seen(value: object) -> object:
    """A text of a page without characters that nobody sees; `Markup` has been through here."""
    return visible(value) if type(value) is str else value


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
