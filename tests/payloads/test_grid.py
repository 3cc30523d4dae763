"""Texts of strangers: a sample of the grid over every field; `benchmarks/trust.py --only payloads` has all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tiedae.base.keys import Sha256
from tiedae.base.records import Record, decode
from tiedae.bundle.results import Metrics

from ..export.c.compiled import tool
from .checks import PARTS, beyond, hidden_in
from .fields import text_fields
from .grid import Outcome, Subject, Surfaces, grid
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
from .subjects import BY_KERAS, SUBJECTS
from .table import ALL, PAYLOADS

SAMPLE = tuple(texts[i] for texts in PAYLOADS.values() for i in (0, len(texts) // 2))
FEW = ("<script>alert(1)</script>", "\u202etxt.exe\x1b]0;owned\x07", "\ud800")


def outcome(name: str, folder: Path, payloads: Iterable[str]) -> Outcome:
    found = grid(SUBJECTS[name](folder), tuple(payloads))
    assert not found.problems, "\n".join(map(str, found.problems[:10]))
    return found


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name not in (*BY_KERAS, "manifest", "metrics")])
def test_a_text_of_a_stranger_is_refused_or_shown_as_text(name: str, tmp_path: Path) -> None:
    found = outcome(name, tmp_path, FEW)
    assert found.cells == found.fields * len(FEW)


@pytest.mark.night
@pytest.mark.parametrize("name", SUBJECTS)
def test_payloads_of_every_kind(name: str, tmp_path: Path) -> None:
    outcome(name, tmp_path, SAMPLE)


def test_there_are_enough_payloads_of_each_kind() -> None:
    assert len(ALL) >= 200 and min(map(len, PAYLOADS.values())) >= 8


class Inner(Record, frozen=True):
    said: str


class Outer(Record, frozen=True):
    rows: tuple[Inner, ...] = ()
    names: Mapping[str, int | str] = {}


def test_a_new_text_of_a_record_is_a_field_and_lacks_nothing_on_its_way() -> None:
    fields = {each.name: each for each in text_fields(Outer, {})}
    assert list(fields) == ["rows.0.said", "names.{key}", "names.{value}", "unknown key.{key}"]
    assert fields["rows.0.said"].put({}, "x") == {"rows": [{"said": "x"}]}
    assert fields["names.{key}"].put({"names": {"b": 1, "c": 2}}, "x") == {"names": {"x": 1, "c": 2}}
    assert fields["names.{value}"].put({"names": {"b": 1}}, "x") == {"names": {"b": "x"}}
    assert len(text_fields(Metrics, {})) > 100


class Origin(Record, frozen=True):
    sha256: Sha256


class Origins(Record, frozen=True):
    rows: tuple[Origin, ...] = ()


def test_a_row_that_only_a_valid_text_brings_is_no_problem() -> None:
    def show(origins: Origins) -> Surfaces:
        return {"page.html": "".join(f"<tr><td>{row.sha256}</td></tr>" for row in origins.rows)}

    subject = Subject("origins", {}, text_fields(Origins, {}), lambda each: decode(Origins, each, "origins"), show)
    found = grid(subject, ["0" * 64, "f" * 64, "<b>"])
    assert (found.cells, found.refused) == (6, 4) and not found.problems, found


WRONG: tuple[tuple[str, Any, Any], ...] = (
    ("page.html", "<td>{}</td>", "<script>alert(1)</script>"),
    ("page.html", '<td title="{}">', '" onmouseover="alert(1)'),
    ("page.html", "<svg><text>{}</text></svg>", "</text></svg><img src=x>"),
    ("page.html", "<p>{}</p>", "\u202etxt.exe"),
    ("card.md", "| {} | b |\n|---|---|\n", "a | b"),
    ("card.md", "- {}\n", "[free](https://evil.example)"),
    ("card.md", "- {}\n", "1. owned"),
    ("card.md", "{}\n", "<b>"),
    ("card.md", "{}\n", "*em*"),
    ("verify.terminal", "{}\n", "\x1b[2J"),
    ("verify.terminal", "{}\n", "ok\x08\x08"),
    ("junit.xml", "<a>{}</a>", "</a><b/><a>"),
    ("recipe.toml", "a = '{}'", "'"),
    ("metrics.json", '{{"a": "{}"}}', '"'),
)


@pytest.mark.parametrize(("surface", "text", "payload"), WRONG)
def test_a_text_that_is_not_escaped_is_found(surface: str, text: str, payload: str) -> None:
    assert beyond(surface, text.format(payload), text.format("harmless"))
    assert not beyond(surface, text.format("other"), text.format("harmless"))


def test_every_surface_has_a_reader() -> None:
    assert {surface.rpartition(".")[2] for surface, *_ in WRONG} == {*PARTS}
    assert hidden_in("a\u200bb") == "U+200B" and not hidden_in("a\tb\n é 12 %")


IN_SOURCES = (
    "*/ int owned; /*",
    "\\u000a int owned;",
    "${alert(1)}",
    "x\u2028alert(1)//",
    "??/\nint owned;",
    "class",
    "errno",
    "TAE_OK",
)


def test_c_sources_of_any_names_compile(tmp_path: Path) -> None:
    tool("gcc")
    assert not compiled(c_sources(small_program(), IN_SOURCES, tmp_path))


@pytest.mark.ci
@pytest.mark.parametrize("index", [1, 2])
def test_libraries_and_pages_of_any_names_are_those_of_a_harmless_one(index: int, tmp_path: Path) -> None:
    from ..export.c.models import CASES

    made = CASES[index].made()
    (_, alike), *_ = models(made, ["harmless"])
    modules, java = {}, {}
    for i, (payload, model) in enumerate(models(made, IN_SOURCES)):
        assert not different(alike, model, payload) and not outside(model, payload)
        web = web_files(model, payload)
        modules |= {tmp_path / str(i) / path: web[path].decode() for path in ("model.mjs", "page/data.mjs")}
        java |= {tmp_path / "java" / model.name / path: text for path, text in java_sources(model).items()}
    tool("node")
    tool("javac")
    assert not run_modules(modules) and not javac(java, tmp_path / "classes")
