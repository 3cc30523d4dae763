"""Each escape is taken away once: the grid must find that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiedae.apps.native import model as native
from tiedae.apps.web import package, page
from tiedae.base import markdown
from tiedae.export.c import header, source, text
from tiedae.pipeline import recipe
from tiedae.report import console, pages, result_writers

from ..export.c.compiled import tool
from ..export.c.models import CASES
from .documents import metrics_subject, only, recipe_subject
from .grid import HARMLESS, Subject, grid
from .languages import (
    c_sources,
    compiled,
    different,
    java_sources,
    javac,
    models,
    outside,
    run_modules,
    small_program,
    web_files,
)
from .subjects import bundle_in

Break = Callable[[pytest.MonkeyPatch], None]


def same(value: Any) -> Any:
    return value


def no_html(patch: pytest.MonkeyPatch) -> None:
    made = pages.environment.__wrapped__

    def environment(folder: Path, suffix: str = ".html.j2") -> Any:
        found = made(folder, suffix)
        found.autoescape = False
        return found

    patch.setattr(pages, "environment", environment)


def no_markdown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(markdown, "_ACTIVE", re.compile("(?!)"))


def no_lists(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(markdown, "_FIRST", re.compile("(?!)"))


BREAKS: dict[str, tuple[str, str, Break]] = {
    "HTML": ("report.html", "<script>alert(1)</script>", no_html),
    "hidden in HTML": ("report.html", "\u202etxt.exe", lambda patch: patch.setattr(pages, "visible", same)),
    "Markdown": ("MODEL_CARD.md", "[x](https://evil.example)", no_markdown),
    "lists": ("summary.md", "1. owned", no_lists),
    "terminal": ("verify.terminal", "\x1b[2J", lambda patch: patch.setattr(console, "shown", same)),
    "XML": ("junit.xml", "\x07", lambda patch: patch.setattr(result_writers, "_xml", same)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_page_without_its_escape_is_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, payload, break_it = BREAKS[what]
    subject = failed_check(tmp_path)
    assert not grid(subject, [payload]).problems
    break_it(monkeypatch)
    assert surface in {problem.surface for problem in grid(subject, [payload]).problems}


def failed_check(folder: Path) -> Subject:
    """The text of a check that failed, which every surface shows, and that of an item of a list."""

    def change(metrics: dict[str, Any]) -> None:
        metrics["checks"][0]["ok"] = False

    return only(metrics_subject(bundle_in(folder), change), "checks.0.text", "baseline.improved.0")


def test_a_key_of_toml_without_quotes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = only(recipe_subject(bundle_in(tmp_path)), "replace.{key}")
    assert not grid(subject, ["a = 1"]).problems
    monkeypatch.setattr(recipe, "_key", same)
    assert grid(subject, ["a = 1"]).problems


C_BREAKS: dict[str, tuple[str, Break]] = {
    "comment": ("*/ int owned; /*", lambda patch: patch.setattr(header, "quoted", same)),
    "kernel's comment": ("*/ int owned; /*", lambda patch: patch.setattr(text, "quoted", same)),
    "header": ("stdint", lambda patch: patch.setattr(text, "HEADERS", frozenset())),
}


@pytest.mark.parametrize("what", C_BREAKS)
def test_a_c_file_without_its_escape_is_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool("gcc")
    payload, break_it = C_BREAKS[what]
    assert not compiled(c_sources(small_program(), [payload], tmp_path / "right"))
    break_it(monkeypatch)
    assert compiled(c_sources(small_program(), [payload], tmp_path / "wrong"))


def raw_names(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(source, "identifier", same)


def unquoted(value: Any, **_: object) -> str:
    """JSON by somebody who forgot escapes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{unquoted(key)}:{unquoted(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(unquoted, value)) + "]"
    return f"`{value}`" if isinstance(value, str) else json.dumps(value)


@pytest.mark.ci
def test_libraries_without_their_escapes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool("javac")
    tool("node")
    made = CASES[2].made()
    (_, alike), (_, reserved), (_, active) = models(made, [HARMLESS, "class", "${alert(1)}"])
    assert not javac(placed(java_sources(reserved), tmp_path / "right"), tmp_path / "classes")
    assert not run_modules({tmp_path / "right.mjs": web_files(active, "${alert(1)}")["model.mjs"].decode()})
    with monkeypatch.context() as patch:
        patch.setattr(native, "RESERVED", frozenset())
        assert javac(placed(java_sources(reserved), tmp_path / "wrong"), tmp_path / "classes")
    with monkeypatch.context() as patch:
        patch.setattr(package, "json", SimpleNamespace(dumps=unquoted))
        texts = web_files(active, "${alert(1)}")["model.mjs"].decode()
        path = tmp_path / "wrong.mjs"
        assert run_modules({path: texts}, {path: "a value"})
    with monkeypatch.context() as patch:
        raw_names(patch)
        ((_, evil),) = models(made, ["\\(exit(1))"])
        assert any("ios" in line for line in different(alike, evil, "\\(exit(1))"))
    with monkeypatch.context() as patch:
        raw_names(patch)
        ((_, above),) = models(made, ["../../owned"])
        assert outside(above, "../../owned")
    with monkeypatch.context() as patch:
        record = CASES[1].made()
        (_, harmless), (_, evil) = models(record, [HARMLESS, "<script>alert(1)</script>"])
        patch.setattr(page, "html", SimpleNamespace(escape=same))
        assert any("index.html" in line for line in different(harmless, evil, "x"))


def placed(sources: dict[str, str], folder: Path) -> dict[Path, str]:
    return {folder / path: text for path, text in sources.items()}
