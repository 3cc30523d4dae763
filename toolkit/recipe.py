"""Recipes: TOML in, a checked `Recipe` out, or one line that names the key, what it got and what would be right."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
import tomllib
import types
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tiedae.compress.config import LayerConfig, Recipe
from tiedae.compress.errors import RecipeError
from tiedae.compress.patterns import check_pattern
from tiedae.export.targets import require_targets

LARGEST = 2**31
"""Integers of a recipe stay below it, so that every library can take them."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; where it gives no name, that is its stem, other characters than those of a name as -.

    Raises RecipeError, naming the file, where it is missing, no TOML or no recipe.
    """
    try:
        mapping = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder, must be a recipe in TOML") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text (byte {error.start}), must be a recipe in TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    try:
        return parse_recipe(mapping, _slug(path.stem))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def _slug(stem: str) -> str:
    """A name for a recipe file: `my recipe` is my-recipe, `a.b` a-b."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_") or "recipe"


def parse_recipe(mapping: Mapping[str, Any], default_name: str) -> Recipe:
    """Build a recipe from the tables of a TOML file (or of `recipe_to_dict`).

    Raises RecipeError with the full key, such as `model.layers[1].units`.
    """
    recipe: Recipe = _record(Recipe, {"name": default_name, **mapping}, "")
    try:
        require_targets(recipe.export.targets)
    except RecipeError as error:
        raise RecipeError(_join("export", str(error))) from None
    return recipe


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Every key with its value, defaults included, as JSON can hold it; a stage that is left out is None."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def recipe_to_toml(recipe: Recipe, comment: str = "") -> str:
    """A recipe file that reads as this recipe: every value that is not the default; `comment` lines come first."""
    changed = _changed(recipe)
    tables = {key: value for key, value in changed.items() if isinstance(value, dict)}
    values = {key: value for key, value in changed.items() if key not in tables}
    parts = ["".join(f"# {line}\n" for line in comment.splitlines()) + _keys(values)]
    parts += [f"[{name}]\n{_keys(table)}" for name, table in tables.items()]
    return "\n".join(parts)


def _changed(record: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not as they are by default, records in them as well."""
    changed = {}
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        if value != default:
            changed[each.name] = _changed(value) if dataclasses.is_dataclass(value) else value
    return changed


def _keys(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: Any) -> str:
    """A value in TOML; its basic strings are JSON's, but for DEL."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if dataclasses.is_dataclass(value):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in _changed(value).items()) + " }"
    return repr(value)


def recipe_digest(recipe: Recipe) -> str:
    """sha256 (hex) of the whole recipe: equal exactly where every value is."""
    return hashlib.sha256(json.dumps(recipe_to_dict(recipe), sort_keys=True).encode()).hexdigest()


def check_inputs(recipe: Recipe, inputs: int) -> Recipe:
    """The recipe with `model.inputs` filled in from the data; RecipeError where it states another number, or where the
    kernels that then follow cannot have the pattern of `[prune]`."""
    if recipe.model.inputs not in (0, inputs):
        raise RecipeError(
            f"model.inputs: got {recipe.model.inputs}, must be {inputs}, "
            f"the number of values per sample of {recipe.data.source} (or left out)"
        )
    try:
        model = dataclasses.replace(recipe.model, inputs=inputs)
    except RecipeError as error:
        raise RecipeError(_join("model", str(error))) from None
    if recipe.prune is not None:
        try:
            check_pattern(recipe.prune, model)
        except RecipeError as error:
            raise RecipeError(_join("prune", str(error))) from None
    return dataclasses.replace(recipe, model=model)


def _record(kind: Any, value: object, key: str) -> Any:
    """A frozen dataclass from a mapping of its fields."""
    if not isinstance(value, Mapping):
        raise RecipeError(f"{key}: got {value!r}, must be a table such as [{key}]")
    hints, fields = get_type_hints(kind), {f.name: f for f in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, 1)
            right = f"did you mean {close[0]}?" if close else "the keys here are " + ", ".join(fields)
            raise RecipeError(f"{_join(key, name)}: unknown key; {right}")
    for name, f in fields.items():
        if name not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{_join(key, name)}: is missing, must be {_expected(hints[name])}")
    built = {name: _build(hints[name], item, _join(key, name)) for name, item in value.items()}
    try:
        return kind(**built)
    except RecipeError as error:
        raise RecipeError(_join(key, str(error))) from None


def _build(hint: Any, value: object, key: str) -> Any:
    """A value of the hinted type, or RecipeError. An integer may stand for a float, nothing else is converted."""
    origin = get_origin(hint)
    if origin in (types.UnionType, Union):
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        if len(choices) < len(get_args(hint)) and (value is None or value is False):
            return None
        if len(choices) == 1:
            return _build(choices[0], value, key)
        if not any(_fits(choice, value) for choice in choices):
            raise RecipeError(f"{key}: got {value!r}, must be {_expected(hint)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{key}: got {value!r}, must be {_expected(hint)}")
        if get_args(hint)[0] is LayerConfig:
            value = _layers(value)
        return tuple(_build(get_args(hint)[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return _record(hint, value, key)
    if not _fits(hint, value):
        raise RecipeError(f"{key}: got {value!r}, must be {_expected(hint)}")
    return float(value) if type(value) is int and hint is float else value


def _fits(hint: Any, value: object) -> bool:
    """Whether a plain value is of the hinted type; an integer is a number too."""
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if type(value) is int:
        return hint in (int, float) and abs(value) < LARGEST
    if type(value) is float:
        return hint is float and math.isfinite(value)
    return type(value) is hint


def _layers(items: Sequence[object]) -> list[object]:
    """`[256, 16]` as tables: a bare number is the units of a layer, relu where it is hidden, linear where it is the code."""
    last = len(items) - 1
    activations = ["relu" if i < last else "linear" for i in range(len(items))]
    return [
        {"units": item, "activation": activation} if type(item) is int else item
        for item, activation in zip(items, activations, strict=True)
    ]


_NAMES: Mapping[Any, str] = {int: "an integer (below 2³¹)", float: "a finite number", str: "a string", bool: "true or false"}


def _expected(hint: Any) -> str:
    """What a key of this type has to hold, in words."""
    if get_origin(hint) is Literal:
        several = "one of " if len(get_args(hint)) > 1 else ""
        return several + ", ".join(get_args(hint))
    if get_origin(hint) in (types.UnionType, Union):
        *others, last = (_expected(choice) for choice in get_args(hint))
        return f"{', '.join(others)} or {last}"
    if get_origin(hint) is tuple:
        return f"a list, each {_expected(get_args(hint)[0])}"
    return _NAMES.get(hint, "a table")


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
