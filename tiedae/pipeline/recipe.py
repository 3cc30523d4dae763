"""Recipes: TOML in, a checked `Recipe` out, or one line that names the key, what it got and what would be right."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from tiedae.base.errors import RecipeError
from tiedae.base.files import expanded, read_regular
from tiedae.base.keys import Line, Positive
from tiedae.base.limits import TOML
from tiedae.base.records import checked, plain, require, right_of, within
from tiedae.compress.patterns import check_pattern
from tiedae.config.combinations import require_combination
from tiedae.config.config import DataConfig, QuantizeConfig, Recipe, TrainConfig
from tiedae.config.layer_kinds import LAYER_KINDS, MERGED_KINDS, Activation, layer_tables
from tiedae.config.model_config import ModelConfig
from tiedae.export.targets import require_targets

from .importing import TIED, Start

OPTIONAL = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig, "quantize": QuantizeConfig}
"""Tables with keys that may be `false`."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; where it gives no name, that is its stem, other characters than those of a name as -.

    Raises RecipeError, naming the file, where it is missing, no TOML or no recipe.
    """
    try:
        text = read_regular(path)
        if len(text) > TOML:
            raise RecipeError(f"{path}: has {len(text):,} bytes, must have {TOML:,} at most")
        mapping = tomllib.loads(text.decode())
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text (byte {error.start}), must be a recipe in TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{path}: not valid TOML: it is nested too deep") from None
    with within(f"{path}: "):
        return parse_recipe(with_source(mapping, path.parent), slug(path.stem))


def slug(stem: str) -> str:
    """A name for a recipe file: `my recipe` is my-recipe, `a.b` a-b."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_") or "recipe"


OF_SOURCE = ("layers", "output_activation", "inputs", "interleave")
"""Keys of [model] that a source has in place of the recipe."""


def with_source(tables: Mapping[str, Any], base: Path) -> Mapping[str, Any]:
    """The tables of a recipe in the folder `base`, with the layers of its `model.source`, and by default no float training.

    Raises RecipeError where [model] has both layers and source, or neither, and where replaced activations or a tie are not
    trained; InputError, naming the source, for a model that is no tied autoencoder, or with `model.tie` is one.
    """
    model, train = tables.get("model"), tables.get("train", {})
    if not isinstance(model, Mapping) or not isinstance(train, Mapping):
        return tables
    source = checked(Line, model.get("source", ""), "model.source")
    replaced = checked(Mapping[str, Activation], model.get("replace") or {}, "model.replace")
    assume = checked(tuple[Line, ...], model.get("assume", ()), "model.assume")
    tie = checked(bool, model.get("tie", False), "model.tie")
    require(
        tie or not train.get("distill"), "train.distill", train.get("distill"), "0, or beside model.tie, whose source teaches"
    )
    if not source:
        if "layers" not in model:
            raise RecipeError("model.layers: is missing, must be a list, such as [256, 16]; or `source`, a trained model")
        require(not replaced, "model.replace", dict(replaced), "left out, or beside `source`")
        require(not assume, "model.assume", list(assume), "left out, or beside `source`")
        require(not tie, "model.tie", tie, "left out, or beside `source`, an untied model")
        return tables
    if stated := [key for key in OF_SOURCE if key in model]:
        raise RecipeError(
            f"model.{stated[0]}: got {model[stated[0]]!r:.60}, must be left out beside `source`, which has its own"
        )
    start = Start.read(base / expanded(source), replaced, tie=tie, assume=assume)
    untied = start.mirror.untied
    train = {**(TIED if untied else {"epochs": 0}), **train}
    require(train["epochs"] != 0 or not untied, "train.epochs", 0, "1 or more with model.tie: a tie is trained")
    distill = train.get("distill")
    require(untied or not distill, "train.distill", distill, "0: the kernels of a pair are equal, no tie is trained")
    tuned = train["epochs"] != 0 or not replaced
    require(tuned, "train.epochs", 0, "1 or more with model.replace: other activations need fine-tuning")
    rate = train.get("rate", 0)
    require(train["epochs"] != 0 or not rate, "train.rate", rate, "0, or beside train.epochs: it is trained")
    return {**tables, "model": {**model, **start.model_table}, "train": train}


def parse_recipe(mapping: Mapping[str, Any], default_name: str) -> Recipe:
    """Build a recipe from the tables of a TOML file (or of `plain` of a recipe).

    Raises RecipeError with the full key, such as `model.layers[1].units`.
    """
    tables = _without_false(Recipe, {"name": default_name, **mapping})
    for name, kind in OPTIONAL.items():
        if isinstance(table := tables.get(name), Mapping):
            tables[name] = _without_false(kind, table)
    model = tables.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("layers"), list | tuple):
        with within("model."):
            tables["model"] = {**model, "layers": layer_tables(model["layers"])}
    recipe: Recipe = checked(Recipe, tables)
    with within("export."):
        require_targets(recipe.export.targets)
    return recipe


def _without_false(kind: type[msgspec.Struct], table: Mapping[str, Any]) -> dict[str, Any]:
    """The table without keys that are `false`, TOML's word for what may be absent."""
    optional = {field.name for field in structs.fields(kind) if field.default is None}
    return {key: value for key, value in table.items() if value is not False or key not in optional}


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, by which an editor completes and checks it.

    It allows what TOML files may say beside the records' types: bare numbers as layers, and `false` for what may be absent.
    """
    tables = (*LAYER_KINDS.values(), *MERGED_KINDS.values())
    kinds, of_layers = msgspec.json.schema_components(tables, ref_template="#/$defs/{name}")
    schema = msgspec.json.schema(Recipe, schema_hook=lambda _: {"type": "object"})
    schema["$defs"] = definitions = schema["$defs"] | of_layers
    definitions["Recipe"]["required"].remove("name")
    definitions["ModelConfig"]["required"].remove("layers")
    layers = definitions["ModelConfig"]["properties"]["layers"]
    layers["items"] = {"anyOf": [msgspec.json.schema(Positive), *kinds]}
    for table in definitions.values():
        for choices in (key["anyOf"] for key in table["properties"].values() if {"type": "null"} in key.get("anyOf", ())):
            choices.append({"const": False})
    return schema


HEADER = """\
# A recipe of tiedae: every key with its default, below what it means | what it may be.
# Only data.source and model.layers (or model.source) are required. What is behind # is left out by default;
# to set a key of such a table, remove the # before the table's [name] too.
"""


def recipe_text() -> str:
    """A recipe file of every key with its default (an example where it has none), what it means and what is right."""
    parts = [HEADER]
    recipe: Any = msgspec.inspect.type_info(Recipe)
    for field in recipe.fields:
        node = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
        tables: list[Any] = [each for each in getattr(node, "types", (node,)) if hasattr(each, "fields")]
        if len(tables) > 1:
            parts.append(_union_text(field, tables))
            continue
        table = next(iter(tables), None)
        if table is None:
            parts.append(_key_text(field, "#"))
            continue
        mark = "#" if field.default is None else ""
        keys = "".join(_key_text(key, mark) for key in table.fields)
        about = table.cls.__doc__.partition("\n")[0]
        parts.append(f"# {about}\n{mark}[{field.name}]\n{keys}")
    return "\n".join(parts)


def _union_text(field: msgspec.inspect.Field, tables: Sequence[Any]) -> str:
    """A table of several kinds: the default one's tag; every kind and its keys follow as comments."""
    node: Any = field.type
    tag, names = tables[0].tag_field, ", ".join(sorted(table.tag for table in tables))
    about = node.extra_json_schema["description"]
    text = f"# {about[0].upper()}{about[1:]}.\n[{field.name}]\n"
    text += f"# each is described below, with its keys | one of {names}\n{tag} = {toml_value(_tag(field.default)[tag])}\n"
    for table in tables:
        keys = "".join(_key_text(key, "") for key in table.fields)
        text += f"# {table.tag}: {table.cls.__doc__.partition(chr(10))[0]}\n" + _commented(keys)
    return text


def _commented(keys: str) -> str:
    return "".join(f"#    {line}\n" for line in keys.splitlines())


def _tag(record: msgspec.Struct) -> dict[str, Any]:
    """The tag of a record of a union by its key; empty for other records."""
    config = type(record).__struct_config__
    return {config.tag_field: config.tag} if config.tag_field else {}


def _key_text(field: msgspec.inspect.Field, mark: str) -> str:
    """A key with a comment above it; `mark` before it leaves it out. The keys of a list of tables follow as a comment."""
    node: Any = field.type
    schema = node.extra_json_schema
    value = schema["examples"][0] if field.required else field.default
    inner = node.type if isinstance(node, msgspec.inspect.Metadata) else node
    single = next((each for each in getattr(inner, "types", ()) if hasattr(each, "fields")), None)
    table: Any = getattr(inner, "item_type", single)
    if isinstance(table, msgspec.inspect.CustomType):
        tables = _kinds_text({**table.cls.kinds, **MERGED_KINDS})
    else:
        tables = "" if not hasattr(table, "fields") else "".join(_key_text(key, "") for key in table.fields)
    kind = "a table of the keys below" if single else "a list of numbers, or of tables of the keys below"
    right = kind if tables else right_of(node).replace(" (below 2³¹)", "")
    text = f"# {schema['description']} | {right}\n{mark}{field.encode_name} = {toml_value(value)}\n"
    return text + _commented(tables)


def _kinds_text(kinds: Mapping[str, type[msgspec.Struct]]) -> str:
    """The keys of the first kind of a table, then of each other kind those that no kind before has."""
    infos: dict[str, Any] = {name: msgspec.inspect.type_info(kind) for name, kind in kinds.items()}
    first, *others = infos
    known = {key.encode_name for key in infos[first].fields}
    text = "".join(_key_text(key, "") for key in infos[first].fields)
    for name in others:
        about = kinds[name].__doc__ or ""
        text += f"# {about.partition(chr(10))[0]}\nkind = {toml_value(name)}\n"
        text += "".join(_key_text(key, "") for key in infos[name].fields if key.encode_name not in known)
        known |= {key.encode_name for key in infos[name].fields}
    return text


def recipe_to_toml(recipe: Recipe, comment: str = "") -> str:
    """A recipe file that reads as this recipe: every value that is not the default; `comment` lines come first."""
    changed = _changed(recipe)
    if recipe.model.source:
        changed["model"] = {key: value for key, value in changed["model"].items() if key not in OF_SOURCE}
    tables = {key: value for key, value in changed.items() if isinstance(value, dict)}
    values = {key: value for key, value in changed.items() if key not in tables}
    parts = ["".join(f"# {line}\n" for line in comment.splitlines()) + _keys(values)]
    parts += [f"[{name}]\n{_keys(table)}" for name, table in tables.items()]
    return "\n".join(parts)


def _changed(record: msgspec.Struct) -> dict[str, Any]:
    """The fields of a record that are not as they are by default, records in them as well."""
    values = structs.asdict(record)
    names = {field.name: field.encode_name for field in structs.fields(record) if values[field.name] != field.default}
    changed = {name: values[key] for key, name in names.items()}
    return _tag(record) | {
        key: _changed(value) if isinstance(value, msgspec.Struct) else value for key, value in changed.items()
    }


def _keys(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {toml_value(value)}\n" for key, value in table.items())


def _key(name: str) -> str:
    """A key in TOML, in quotes where it is no bare one."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """A value in TOML; its basic strings are JSON's, but for DEL, and false is None."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    value = _changed(value) if isinstance(value, msgspec.Struct) else value
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value is not None and value, ensure_ascii=False).replace("\x7f", "\\u007f")


def recipe_digest(recipe: Recipe) -> str:
    """sha256 (hex) of the whole recipe: equal exactly where every value is."""
    return hashlib.sha256(json.dumps(plain(recipe), sort_keys=True).encode()).hexdigest()


def check_inputs(recipe: Recipe, shape: Sequence[int], dtype: str = "") -> Recipe:
    """The recipe with `model.inputs` filled in from data of samples of `shape`; RecipeError where it states others, where the
    kernels that then follow cannot have the pattern of `[prune]`, or where it has what data of this `dtype` exclude."""
    require_combination(recipe, dtype)
    stated, source = recipe.model.inputs, recipe.data.source
    with within("model."):
        model = recipe.model.of_samples(tuple(shape))
        right = f"{plain(model.inputs)}, the number of values per sample of {source} (or left out)"
        require(stated in (0, model.inputs), "inputs", plain(stated), right)
    if recipe.prune is not None:
        with within("prune."):
            check_pattern(recipe.prune, model)
    return structs.replace(recipe, model=model)
