"""Records: frozen, typed values that convert to and from JSON and TOML, with one-line validation errors.

Records reject unknown keys at every level. Field types and bounds (`msgspec.Meta`) validate values; `check` and
`__post_init__` add conditions with `require`. Tuples convert to lists.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec
import numpy as np
from msgspec import inspect

from .errors import FormatError, RecipeError
from .limits import JSON

T = TypeVar("T")
LARGEST = 2**31 - 1
"""Largest integer of a configuration, accepted by every library."""
_SURROGATES = re.compile("[\ud800-\udfff]")
FINITE = sys.float_info.max
"""Bound of a number that must only be finite."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every record; subclasses repeat `frozen=True` for type checkers."""


class Checked(Record, frozen=True):
    """A record that is validated on construction too; lists become tuples, NumPy numbers Python numbers.

    Raises RecipeError with the key, such as `layers[1].units: got 0, must be …`.
    """

    def __post_init__(self) -> None:
        for name, encoded, kind in _types(type(self)):
            msgspec.structs.force_setattr(self, name, checked(kind, native(getattr(self, name)), encoded))
        self.check()

    def check(self) -> None:
        """Raise RecipeError, by `require`, for conditions beyond types and bounds."""


class _KindsMeta(type):
    kinds: Mapping[str, type[Record]] = {}

    def __instancecheck__(cls, instance: object) -> bool:
        return type(instance) in cls.kinds.values()


class OfKind(metaclass=_KindsMeta):
    """A type whose values are records of the kinds in a table, which may grow; tables name theirs by the key `kind`.

    A table without it is of the first kind. Every other record is tagged, as msgspec writes it.
    """

    kinds: ClassVar[Mapping[str, type[Record]]] = {}


def _of_kind(kind: Any, value: object) -> object:
    """msgspec's hook for a type that it doesn't know: a record of a kind."""
    if isinstance(value, kind):
        return value
    if isinstance(value, Record):
        known = ", ".join(row.__name__ for row in kind.kinds.values())
        raise ValueError(f"got {type(value).__name__}, must be one of {known}")
    if not isinstance(value, dict):
        raise ValueError(f"got {value!r:.60}, must be {right_of(inspect.CustomType(kind))}")
    rows, rest = kind.kinds, {key: item for key, item in value.items() if key != "kind"}
    name = value.get("kind", next(iter(rows)))
    require(isinstance(name, str) and name in rows, "kind", name, f"one of {', '.join(rows)}")
    return checked(rows[name], rest)


def native(value: Any) -> Any:
    """The value with Python numbers instead of NumPy's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [native(each) for each in value] if isinstance(value, list | tuple) else value


@functools.cache
def _types(kind: type[Record]) -> list[tuple[str, str, Any]]:
    """(attribute, key, type) of each field."""
    return [(field.name, field.encode_name, field.type) for field in msgspec.structs.fields(kind)]


def require(condition: bool, key: str, got: object, right: str) -> None:
    """Raise RecipeError with the key, the value and the expected value unless the condition holds."""
    if not condition:
        raise RecipeError(f"{key}: got {got!r}, must be {right}")


@contextlib.contextmanager
def within(prefix: str) -> Iterator[None]:
    """Prefix the text of a RecipeError with `prefix`, such as `model.` or a file name."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{prefix}{error}") from None


def checked(kind: type[T] | Any, value: object, key: str = "", *, strict: bool = True) -> T:
    """Convert plain values to a type: integers to floats and, unless `strict`, text to numbers.

    Raises RecipeError with the full key, the value and the expected value.
    """
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_of_kind)
    except msgspec.ValidationError as error:
        raise RecipeError(_explained(error, kind, value, key)) from None
    except UnicodeEncodeError as error:
        raise RecipeError(f"{key or 'a text'}: got {error.object!a}, must be Unicode without lone surrogates") from None


def decode(kind: type[T], value: object, where: object) -> T:
    """Convert parsed JSON to a record or another type; FormatError, prefixed with `where`, for invalid values."""
    try:
        return checked(kind, value)
    except RecipeError as error:
        raise FormatError(f"{where}: damaged: {error}") from None


def load_json(text: str | bytes, where: object) -> Any:
    """Parse JSON; FormatError, prefixed with `where`, for too much of it, invalid JSON, NaN, infinities and lone surrogates."""
    if len(text) > JSON:
        raise FormatError(f"{where}: has {len(text):,} bytes, must have {JSON:,} at most")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FormatError(f"{where}: damaged: not JSON ({str(error).splitlines()[0]})") from None


def plain(value: object) -> Any:
    """A record as dictionaries, lists and numbers, with every key."""
    return json.loads(json.dumps(msgspec.to_builtins(value, str_keys=True)))


def encode(value: object) -> bytes:
    """Indented JSON, U+FFFD for lone surrogates, as of paths that are no text; ValueError for a number that is not finite."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    return (_SURROGATES.sub("\ufffd", text) + "\n").encode()


@functools.cache
def _type_info(kind: Any) -> Any:
    """msgspec's description of a type, which it makes anew for each call, in milliseconds for a large one."""
    return inspect.type_info(kind)


def _explained(error: msgspec.ValidationError, kind: Any, value: Any, key: str) -> str:
    """One line for a validation error: follows the path `$.layers[1].units` to the value and its type."""
    text, _, path = str(error).replace(_AT_KEY, "at `$").rpartition(" - at `$")
    node = _type_info(kind)
    for name, index in re.findall(r"\.([^.\[`]+)|\[([0-9.]+)\]", path if text else ""):
        if name in (tags := _tags(node)):
            got, right = value.get(name), f"one of {', '.join(sorted(tags[name]))}"
            return _joined(_joined(key, name), f"got {got!r:.60}, must be {right}", ": ")
        node, step = _inside(node, value, name or index)
        value, key = value[step], f"{key}[{step}]" if isinstance(step, int) else _joined(key, step)
    mapping = node.type if isinstance(node, inspect.Metadata) else node
    if _AT_KEY in str(error) and isinstance(mapping, inspect.DictType):
        wrong = next(name for name in value if not _fits(mapping.key_type, name))
        return _joined(key, f"got the key {wrong!r:.60}, must be {_right_text(mapping.key_type)}", ": ")
    if error.__cause__ is not None:
        return _joined(key, str(error.__cause__), "." if isinstance(error.__cause__, RecipeError) else ": ")
    found = re.match(r"Object (missing required|contains unknown) field `(.*)`", text or str(error), re.DOTALL)
    if found is None:
        return _joined(
            key, f"got {value!r:.60}, must be {_right_text(node) if isinstance(value, str) else right_of(node)}", ": "
        )
    if found[2] in (tags := _tags(node)) and found[1] == "missing required":
        return f"{_joined(key, found[2])}: is missing, must be one of {', '.join(sorted(tags[found[2]]))}"
    table = _member(node, value, *_TABLES)
    fields = {field.encode_name: field.type for field in table.fields}
    if found[1] == "missing required":
        return f"{_joined(key, found[2])}: is missing, must be {right_of(fields[found[2]])}"
    close = difflib.get_close_matches(found[2], fields, 1)
    if hint := getattr(table.cls, "elsewhere", {}).get(found[2]):
        return f"{_joined(key, found[2])}: unknown key; {hint}"
    right = f"did you mean {close[0]}?" if close else "the keys here are " + ", ".join([*_tags(node), *fields])
    return f"{_joined(key, found[2])}: unknown key; {right}"


_AT_KEY = "at `key` in `$"
"""How msgspec begins the path of a mapping whose key is wrong."""
_TABLES = (inspect.StructType, inspect.DataclassType)


def _right_text(node: Any) -> str:
    """What a text has to be, in the words of its type in `keys`."""
    members = getattr(node, "types", (node,))
    titles = [each.extra_json_schema.get("title") for each in members if getattr(each, "extra_json_schema", None)]
    return next(filter(None, titles), None) or right_of(node)


def _joined(key: str, text: str, separator: str = ".") -> str:
    return f"{key}{separator}{text}" if key else text


def _member(node: Any, value: Any, *kinds: type) -> Any:
    """The node itself, or of a union the member of one of these kinds; of several tables that of the value's tag."""
    node = node.type if isinstance(node, inspect.Metadata) else node
    members = [each for each in getattr(node, "types", (node,)) if isinstance(each, kinds)]
    tagged = (each for each in members if getattr(each, "tag_field", None) and value.get(each.tag_field) == each.tag)
    return next(tagged, members[0])


def _tags(node: Any) -> dict[str, set[str]]:
    """The tags of a union of tables that a key tells apart, by that key."""
    node = node.type if isinstance(node, inspect.Metadata) else node
    tables = [each for each in getattr(node, "types", ()) if isinstance(each, inspect.StructType) and each.tag_field]
    return {each.tag_field: {str(other.tag) for other in tables} for each in tables if each.tag_field}


def _inside(node: Any, value: Any, step: str) -> tuple[Any, str | int]:
    """The type and key of a child. msgspec does not report the key of a mapping, so all its values are checked."""
    node = _member(node, value, *_TABLES, inspect.DictType, inspect.VarTupleType, inspect.ListType, inspect.TupleType)
    if isinstance(node, _TABLES):
        return next((field.type, step) for field in node.fields if field.encode_name == step)
    if isinstance(node, inspect.DictType):
        return node.value_type, next(key for key, each in value.items() if not _fits(node.value_type, each))
    return node.item_types[int(step)] if isinstance(node, inspect.TupleType) else node.item_type, int(step)


_BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
}


def _fits(node: Any, value: object) -> bool:
    """Whether a mapping's value is of its type, a record, a mapping of such or a plain value."""
    if isinstance(node, inspect.DictType):
        return isinstance(value, dict) and all(
            _fits(node.key_type, name) and _fits(node.value_type, each) for name, each in value.items()
        )
    if isinstance(node, inspect.Metadata):
        node = node.type
    if isinstance(node, inspect.LiteralType):
        return value in node.values
    if isinstance(node, inspect.StrType) and node.pattern is not None:
        return isinstance(value, str) and re.search(node.pattern, value) is not None
    plain = {inspect.StrType: str, inspect.IntType: int, inspect.FloatType: float, inspect.BoolType: bool}
    try:
        checked(getattr(node, "cls", plain.get(type(node), Any)), value)
    except RecipeError:
        return False
    bounds = {each: getattr(node, each, None) for each in _BOUNDS}
    return all(_BOUNDS[each](value, bound) for each, bound in bounds.items() if bound is not None)


def right_of(node: Any) -> str:
    """What a value of a type has to be, in words."""
    match node:
        case inspect.Metadata():
            return right_of(node.type)
        case inspect.UnionType() if tags := _tags(node):
            (field, names), *_ = tags.items()
            return f"a table with {field}, one of {', '.join(sorted(names))}"
        case inspect.UnionType():
            return " or ".join(right_of(each) for each in node.types if not isinstance(each, inspect.NoneType))
        case inspect.LiteralType():
            return ("one of " if len(node.values) > 1 else "") + ", ".join(map(str, node.values))
        case inspect.EnumType():
            return "one of " + ", ".join(each.value for each in node.cls)
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "a string"
        case inspect.IntType():
            return _bounded("an integer", node, "(below 2³¹)" if node.le == LARGEST else "")
        case inspect.FloatType():
            return _bounded("a finite number" if node.le == FINITE else "a number", node, "")
        case inspect.VarTupleType() | inspect.ListType():
            return f"a list{f' of {node.min_length} or more' if node.min_length else ''}, each {right_of(node.item_type)}"
        case inspect.TupleType():
            return f"a list of {len(node.item_types)}: " + ", ".join(map(right_of, node.item_types))
        case inspect.CustomType() if issubclass(node.cls, OfKind):
            return right_of(_type_info(next(iter(node.cls.kinds.values()))))
        case inspect.StructType() | inspect.DataclassType():
            names = [node.tag_field] if isinstance(node, inspect.StructType) and node.tag_field else []
            return "a table of " + ", ".join([*names, *(field.encode_name for field in node.fields)])
    return "a table"


def _bounded(name: str, node: inspect.IntType | inspect.FloatType, more: str) -> str:
    low = node.ge if node.gt is None else node.gt
    high = node.le if node.lt is None else node.lt
    if low is not None and high not in (None, LARGEST, FINITE):
        return f"{name} in {'[' if node.gt is None else '('}{low:g}, {high:g}{']' if node.lt is None else ')'}"
    least = "" if low is None else f"{low:g} or more" if node.gt is None else f"above {low:g}"
    return f"{name}{f', {least}' if least else ''}{f' {more}' if more else ''}"
