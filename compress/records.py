"""Records: frozen values that are checked on construction and cross JSON by their types.

A record refuses keys that it does not have, at every level. Its field types say what JSON holds; `__post_init__` says more,
with `requirements.require`. Enums cross as their values, tuples as lists.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from .errors import FormatError, RecipeError


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of every record; subclasses repeat `frozen=True`, which type checkers want to see."""


T = TypeVar("T")


def decode(kind: type[T], value: object, where: object) -> T:
    """A record (or another typed value) from what JSON or TOML gave; an integer may stand for a float, nothing else converts.

    Raises FormatError, which starts with `where` and ends with the key, such as `$.layers[1].units`.
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecipeError) as error:
        raise FormatError(f"{where}: damaged: {error}") from None


def plain(value: object) -> Any:
    """A record as dictionaries, lists and numbers, every key included."""
    return msgspec.to_builtins(value, str_keys=True)


def encode(value: object) -> bytes:
    """JSON that a person can read, one key a line. Raises ValueError for a number that is not finite."""
    return (json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
