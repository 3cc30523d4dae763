"""The grid: every text field of a document × every payload. Each cell is refused, or shown as text and nothing beyond it."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from unittest.mock import patch

from msgspec import inspect

from tiedae.base.errors import TiedaeError
from tiedae.report.console import Console

from .checks import beyond, hidden_in

HARMLESS = "harmless"
Surfaces = Mapping[str, str]
"""What shows a document, by name."""


class Field(Protocol):
    """A text of a document of any kind."""

    @property
    def name(self) -> str: ...

    @property
    def variant(self) -> tuple[str, ...]: ...

    @property
    def kind(self) -> str: ...

    @property
    def valid(self) -> str:
        """A text that the type of the place allows."""
        ...

    def put(self, document: Any, text: str) -> Any: ...


@dataclass(frozen=True)
class Subject:
    """A document with its text fields. `read` raises TiedaeError for one that is refused; `show` may raise it too."""

    name: str
    document: Any
    fields: Sequence[Field]
    read: Callable[[Any], Any]
    show: Callable[[Any], Surfaces]


@dataclass(frozen=True)
class Problem:
    """Of a cell, or of several fields that hold the same payload: what is wrong."""

    subject: str
    fields: tuple[str, ...]
    payload: str
    surface: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject} {', '.join(self.fields)} = {self.payload!r:.80}: {self.surface}: {self.text}"


@dataclass
class Outcome:
    """Of a grid: cells by how they ended, the fields that reach a surface with a harmless text, problems."""

    refused: int = 0
    shown: int = 0
    reaching: set[str] = field(default_factory=set)
    fields: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def cells(self) -> int:
        return self.refused + self.shown


def grid(subject: Subject, payloads: Sequence[str], step: Callable[[str], None] = lambda _: None) -> Outcome:
    """Try every payload in every field.

    Fields that may hold any text without changing what the document means are shown together, which is as strict: what one
    of them breaks is then looked for one by one. Fields that no surface shows are only read.
    """
    with patch.object(inspect, "type_info", _types):  # a refusal looks its type up, which takes most of its time
        return _grid(subject, payloads, step)


def _grid(subject: Subject, payloads: Sequence[str], step: Callable[[str], None]) -> Outcome:
    outcome = Outcome(fields=len(subject.fields))
    base = subject.show(subject.read(subject.document))
    free: dict[tuple[str, ...], list[Field]] = {}  # by kind and variant
    bound: list[tuple[Field, Surfaces]] = []  # with what a valid text shows: a part that the document lacks is there too
    unseen = []
    for each in subject.fields:
        shown = _surfaces(subject, each.put(subject.document, HARMLESS))
        if isinstance(shown, str):
            valid = _surfaces(subject, each.put(subject.document, each.valid))
            bound.append((each, base if isinstance(valid, str) else valid))
            continue
        if shown == base:
            unseen.append(each)
            continue
        free.setdefault((each.kind, *each.variant), []).append(each)
        outcome.reaching.add(each.name)
    groups = [_Group(subject, group) for group in free.values()]
    for i, payload in enumerate(payloads):
        step(f"{subject.name}: payload {i + 1} of {len(payloads)}")
        for each, valid in bound:
            _one(subject, each, payload, valid, outcome)
        outcome.shown += sum(_taken(subject, each, payload, outcome) for each in unseen)
        for group in groups:
            group.try_one(payload, outcome)
    return outcome


_described = functools.cache(inspect.type_info)


def _types(kind: Any) -> Any:
    try:
        return _described(kind)
    except TypeError:  # has no hash
        return inspect.multi_type_info([kind])[0]


class _Group:
    """Fields that hold any text together."""

    def __init__(self, subject: Subject, fields: Sequence[Field]) -> None:
        self.subject, self.fields = subject, fields
        self.alike: dict[tuple[str, ...], Surfaces] = {}

    def try_one(self, payload: str, outcome: Outcome) -> None:
        taken, shown = tuple(self.fields), _surfaces(self.subject, _put(self.subject.document, self.fields, payload))
        if isinstance(shown, str):
            taken = tuple(each for each in self.fields if _taken(self.subject, each, payload, outcome))
            shown = _surfaces(self.subject, _put(self.subject.document, taken, payload)) if taken else {}
        alike = self._alike(taken)
        both = taken and isinstance(shown, Mapping) and isinstance(alike, Mapping)
        if both and not any(_problems(self.subject, taken, payload, shown, alike)):
            outcome.shown += len(taken)
            return
        for each in taken:
            _one(self.subject, each, payload, self._alike((each,)), outcome)

    def _alike(self, fields: tuple[Field, ...]) -> Surfaces | str:
        """What the harmless text gives in these fields."""
        names = tuple(each.name for each in fields)
        if names not in self.alike:
            shown = _surfaces(self.subject, _put(self.subject.document, fields, HARMLESS))
            if isinstance(shown, str):
                return shown
            self.alike[names] = shown
        return self.alike[names]


def _put(document: Any, fields: Sequence[Field], text: str) -> Any:
    """The document with a text in several fields: values before the keys that lead to them, inner keys first."""
    for each in sorted(fields, key=lambda field: ("{key}" in field.name, -field.name.count("."))):
        document = each.put(document, text)
    return document


def _taken(subject: Subject, field: Field, payload: str, outcome: Outcome) -> bool:
    """Whether a document is not refused; what refuses it is one line that a terminal shows."""
    try:
        subject.read(field.put(subject.document, payload))
    except TiedaeError as error:
        _refused(subject, field, payload, error, outcome)
        return False
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no TiedaeError: a problem of this cell
        outcome.problems.append(Problem(subject.name, (field.name,), payload, "traceback", repr(error)[:200]))
        return False
    return True


def _refused(subject: Subject, field: Field, payload: str, error: TiedaeError, outcome: Outcome) -> None:
    outcome.refused += 1
    line = printed_error(str(error))
    if line.count("\n") != 1 or hidden_in(line):
        outcome.problems.append(Problem(subject.name, (field.name,), payload, "error", repr(line[:200])))


def _one(subject: Subject, field: Field, payload: str, alike: Surfaces | str, outcome: Outcome) -> None:
    """A cell alone."""
    try:
        shown = subject.show(subject.read(field.put(subject.document, payload)))
    except TiedaeError as error:
        _refused(subject, field, payload, error, outcome)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no TiedaeError: a problem of this cell
        outcome.problems.append(Problem(subject.name, (field.name,), payload, "traceback", repr(error)[:200]))
        return
    outcome.shown += 1
    assert not isinstance(alike, str), (field.name, alike)
    outcome.problems += _problems(subject, [field], payload, shown, alike)


def _problems(subject: Subject, fields: Sequence[Field], payload: str, shown: Surfaces, alike: Surfaces) -> Iterator[Problem]:
    """An empty text shows nothing, and what is left out then is not compared."""
    names = tuple(each.name for each in fields)
    for surface, text in shown.items() if payload else ():
        for wrong in beyond(surface, text, alike.get(surface, "")):
            yield Problem(subject.name, names, payload, surface, wrong)


def _surfaces(subject: Subject, document: Any) -> Surfaces | str:
    """What shows a document, or why nothing does."""
    try:
        return subject.show(subject.read(document))
    except Exception as error:  # noqa: BLE001 - `_one` says which field it is of
        return repr(error)


def printed_error(text: str) -> str:
    """What a terminal shows of an error."""
    stream = io.StringIO()
    Console(err=stream).error(text)
    return stream.getvalue()
