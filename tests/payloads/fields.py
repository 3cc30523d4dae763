"""Every text of a JSON document, by walking the type that it is decoded to: a new field of a record is here by itself.

A text is a string, a value of a set of strings, a key of a mapping, or, where the type says `Any`, a string of the document
at hand. Parts that a document lacks are made from their types.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from tiedae.base.records import OfKind

Doc = Any
TABLES = (inspect.StructType, inspect.DataclassType)
SEQUENCES = (inspect.VarTupleType, inspect.ListType, inspect.TupleType)
UNKNOWN = "unknown key"


@dataclasses.dataclass(frozen=True)
class Step:
    """From a value of the type `node` to a part: `to` is a key or an index; None in a mapping is its first value, `KEY` its
    first key."""

    node: Any
    to: str | int | None


KEY = "\0key"


@dataclasses.dataclass(frozen=True)
class TextField:
    """A text of a document, which its type `leaf` allows to be `valid`; what it may be is the same for all of a `kind`."""

    steps: tuple[Step, ...]
    leaf: Any = ""

    @property
    def kind(self) -> str:
        return repr(self.leaf)

    @property
    def valid(self) -> str:
        return self.leaf if isinstance(self.leaf, str) else str(example(self.leaf))

    @property
    def name(self) -> str:
        return ".".join(map(_step_text, self.steps))

    @property
    def variant(self) -> tuple[str, ...]:
        """The kinds of tables on the way to it: fields of different ones cannot be in one document."""
        return tuple(str(tag) for step in self.steps if (tag := getattr(step.node, "tag", None)) is not None)

    def put(self, document: Doc, text: str) -> Doc:
        """The document with this text there; the document itself is not changed."""
        return _put(document, self.steps, text)


Found = tuple[Any, tuple[Step, ...]]
"""A type, or what else says what a text may be, and the way there."""


def _step_text(step: Step) -> str:
    if step.to in (KEY, None):
        return "{key}" if step.to else "{value}"
    tag = getattr(step.node, "tag", None)
    return f"({tag}){step.to}" if tag is not None else str(step.to)


def text_fields(kind: Any, document: Doc) -> list[TextField]:
    """Those of a document of a type, each once; and a key of its top level that no type knows."""
    node = inspect.type_info(kind)
    found = [TextField(steps, leaf) for leaf, steps in _walk(node, document, ())]
    unknown = TextField((Step(inspect.DictType(inspect.StrType(), inspect.AnyType()), UNKNOWN), Step(None, KEY)))
    return [*{field.name: field for field in found}.values(), unknown]


def _walk(node: Any, document: Doc, before: tuple[Step, ...]) -> Iterator[Found]:
    for member in _members(node):
        match member:
            case inspect.StrType() | inspect.EnumType() | inspect.LiteralType():
                yield member, before
            case inspect.StructType() | inspect.DataclassType():
                present = document if isinstance(document, dict) else {}
                if isinstance(member, inspect.StructType) and member.tag_field and isinstance(member.tag, str):
                    yield member.tag, (*before, Step(member, member.tag_field))
                for field in member.fields:
                    step = Step(member, field.encode_name)
                    yield from _walk(field.type, present.get(field.encode_name), (*before, step))
            case inspect.VarTupleType() | inspect.ListType():
                yield from _walk(member.item_type, _first(document), (*before, Step(member, 0)))
            case inspect.TupleType():
                for i, item in enumerate(member.item_types):
                    yield from _walk(item, None, (*before, Step(member, i)))
            case inspect.DictType():
                yield member.key_type, (*before, Step(member, KEY))
                if isinstance(member.value_type, inspect.AnyType):
                    yield from _texts(document, before)
                yield from _walk(member.value_type, _first(document), (*before, Step(member, None)))
            case inspect.AnyType():
                yield "any value", before
                yield from _texts(document, before)


def _texts(document: Doc, before: tuple[Step, ...]) -> Iterator[Found]:
    """Those of plain values without a type."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield "any key", (*before, Step(None, key), Step(None, KEY))
            yield from _texts(value, (*before, Step(None, key)))
    elif isinstance(document, list):
        for i, value in enumerate(document):
            yield from _texts(value, (*before, Step(None, i)))
    elif isinstance(document, str):
        yield "any", before


def _members(node: Any) -> list[Any]:
    """What a value of a type may be, of a union or a table of kinds each."""
    node = node.type if isinstance(node, inspect.Metadata) else node
    if isinstance(node, inspect.UnionType):
        return [member for each in node.types for member in _members(each)]
    if isinstance(node, inspect.CustomType) and issubclass(node.cls, OfKind):
        return [inspect.type_info(kind) for kind in node.cls.kinds.values()]
    return [node]


def _first(document: Doc) -> Doc:
    values = list(document.values()) if isinstance(document, dict) else document if isinstance(document, list) else []
    return values[0] if values else None


def _put(document: Doc, steps: tuple[Step, ...], text: str) -> Doc:
    if not steps:
        return text
    (node, to), rest = (steps[0].node, steps[0].to), steps[1:]
    held = document if node is None or _fits(node, document) else example(node)
    if isinstance(held, list):
        items = held or [None] * (int(to or 0) + 1)
        return [_put(item, rest, text) if i == to else item for i, item in enumerate(items)]
    if to == KEY:
        (_, value), *more = list(held.items()) or [("a", example(node.value_type) if node is not None else 0)]
        return {text: value, **{key: each for key, each in more if key != text}}
    if node is None and rest and rest[0].to == KEY:
        return {text if key == to else key: value for key, value in held.items()}
    if to == UNKNOWN:
        return {**held, text: 0}
    key = next(iter(held), "a") if to is None else to
    return {**held, key: _put(held.get(key), rest, text)}


def _fits(node: Any, document: Doc) -> bool:
    if isinstance(node, TABLES):
        if isinstance(node, inspect.StructType) and node.tag_field and isinstance(document, dict):
            return document.get(node.tag_field) == node.tag
        return isinstance(document, dict)
    return isinstance(document, dict if isinstance(node, inspect.DictType) else list)


def example(node: Any) -> Doc:
    """A small value of a type, with what has no default alone."""
    node = _members(node)[0]
    match node:
        case inspect.StructType() | inspect.DataclassType():
            tag = {node.tag_field: node.tag} if isinstance(node, inspect.StructType) and node.tag_field else {}
            return tag | {field.encode_name: example(field.type) for field in node.fields if field.required}
        case inspect.VarTupleType() | inspect.ListType():
            return [example(node.item_type)] * max(node.min_length or 0, 1)
        case inspect.TupleType():
            return [example(each) for each in node.item_types]
        case inspect.DictType():
            return {"0": example(node.value_type)}
        case inspect.LiteralType():
            return node.values[0]
        case inspect.EnumType():
            return next(iter(node.cls)).value
        case inspect.StrType():
            return "0" * 64 if "[0-9a-f]{64}" in (node.pattern or "") else "a"
        case inspect.IntType():
            return max(node.ge or 0, 1)
        case inspect.FloatType():
            return 0.5
        case inspect.BoolType():
            return False
        case inspect.NoneType():
            return None
    return 0
