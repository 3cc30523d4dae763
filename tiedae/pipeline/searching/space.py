"""The search space: axes with their values, and how a value changes the recipe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from tiedae.base.errors import RecipeError
from tiedae.base.records import require, within
from tiedae.config.config import PruneConfig, Recipe, SearchConfig, with_rate
from tiedae.config.model_config import ModelConfig

Value = int | float | str
Point = Mapping[str, Value]
"""One value per axis, by the axis' name."""

MAX_POINTS = 50_000
"""Maximum number of points of a space, all of which are enumerated."""
CODE_FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class SearchAxis:
    """`values` to choose from (`ordered`: ordinal, else categorical), the recipe's `own` one, and how to `apply` one."""

    name: str
    values: tuple[Value, ...]
    own: Value
    apply: Callable[[Recipe, Any], Recipe]
    ordered: bool = True


@dataclass(frozen=True)
class Space:
    """A recipe and the axes that vary it."""

    recipe: Recipe
    axes: tuple[SearchAxis, ...]

    def __post_init__(self) -> None:
        count = math.prod(len(axis.values) for axis in self.axes)
        if count > MAX_POINTS:
            raise RecipeError(f"search: holds {count:,} combinations, must be {MAX_POINTS:,} or fewer; make its lists shorter")
        for axis in self.axes:
            for value in axis.values:
                axis.apply(self.recipe, value)

    @property
    def values(self) -> dict[str, list[Value]]:
        return {axis.name: list(axis.values) for axis in self.axes}

    @property
    def own(self) -> Point | None:
        """The recipe's own point, if the space contains it."""
        if all(axis.own in axis.values for axis in self.axes):
            return {axis.name: axis.own for axis in self.axes}
        return None

    @cached_property
    def min_bytes(self) -> Mapping[tuple[tuple[str, Value], ...], int]:
        """A lower bound of the file size of every point, by key: its kernels, or 0 if gzip counts, which is unknown."""
        assert self.recipe.search is not None
        gzipped = self.recipe.search.size == "gzip"
        names = [axis.name for axis in self.axes]
        points = (dict(zip(names, values, strict=True)) for values in itertools.product(*(axis.values for axis in self.axes)))
        return {key_of(point): 0 if gzipped else kernel_bytes(self.recipe_of(point)) for point in points}

    def recipe_of(self, point: Point) -> Recipe:
        recipe = self.recipe
        for axis in self.axes:
            recipe = axis.apply(recipe, point[axis.name])
        return recipe


def key_of(point: Point) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(point.items()))


def with_validation(recipe: Recipe) -> Recipe:
    """The recipe with validation samples: its own fraction, or that of [search]."""
    config = recipe.search or SearchConfig()
    if recipe.data.validation:
        return replace(recipe, search=config)
    with within("search."):
        return replace(recipe, data=replace(recipe.data, validation=config.validation), search=config)


def space_of(recipe: Recipe) -> Space:
    """The space of a recipe with known `model.inputs`, from its [search] or the defaults.

    Raises RecipeError, naming the key, for a value that gives an invalid recipe, or a space that is too large.
    """
    recipe = with_validation(recipe)
    assert recipe.search is not None
    axes = (axis for make in AXES for axis in make(recipe, recipe.search))
    return Space(recipe, tuple(axis for axis in axes if axis.values != (axis.own,)))


def kernel_bytes(recipe: Recipe) -> int:
    """A lower bound of the kernels' size in bytes: one byte per integer, half a byte if packed."""
    shapes = _pruned(recipe).matrices
    bits = recipe.quantize.bits * (len(shapes) if len(recipe.quantize.bits) == 1 else 1)
    packed = recipe.export.int4 == "packed"
    return sum(inputs * units // (2 if packed and each <= 4 else 1) for (inputs, units), each in zip(shapes, bits, strict=True))


def _pruned(recipe: Recipe) -> ModelConfig:
    """The model after structured pruning; global pruning may leave one unit per layer, a rate one unit of the code."""
    units, prune = [layer.units for layer in recipe.model.layers], recipe.prune
    if prune is not None and prune.kind == "structured":
        for i in range(len(units) - (not prune.code)):
            units[i] = 1 if prune.scope == "global" else units[i] - round(prune.sparsity * units[i])
    units = [*units[:-1], 1] if recipe.train.for_rate else units
    layers = (replace(layer, units=count) for layer, count in zip(recipe.model.layers, units, strict=True))
    return replace(recipe.model, layers=tuple(layers))


def _with_units(recipe: Recipe, index: int, units: int) -> Recipe:
    layers = list(recipe.model.layers)
    layers[index] = replace(layers[index], units=units)
    return replace(recipe, model=replace(recipe.model, layers=tuple(layers)))


_KEPT = "left out: a model from model.source keeps its layers"


def _scaled(units: int, factors: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(units * factor)) for factor in factors}))


def _code(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    own = recipe.model.layers[-1].units
    if recipe.model.source:
        require(not config.code, "search.code", list(config.code), _KEPT)
        return [SearchAxis("code", (own,), own, lambda recipe, _: recipe)]
    values = tuple(sorted(config.code)) or _scaled(own, CODE_FACTORS)
    return [SearchAxis("code", values, own, lambda recipe, units: _with_units(recipe, -1, units))]


def _hidden(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    def axis(index: int, own: int) -> SearchAxis:
        values = _scaled(own, config.hidden or (1.0,))
        return SearchAxis(f"hidden_{index}", values, own, lambda recipe, units: _with_units(recipe, index, units))

    if recipe.model.source:
        require(config.hidden in (SearchConfig().hidden, ()), "search.hidden", list(config.hidden), _KEPT)
        return []
    return [axis(index, layer.units) for index, layer in enumerate(recipe.model.layers[:-1])]


def _pruning(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    """`none`, or a pattern and its sparsity. Kernels whose shape a pattern does not divide are skipped, unless all are."""
    base = recipe.prune or PruneConfig()
    own = NONE if recipe.prune is None else _pruning_name(base.pattern, base.sparsity)
    choices = _prunings(base, config) if config.patterns or config.sparsity else {own: recipe.prune}

    def apply(recipe: Recipe, name: str) -> Recipe:
        prune = choices[name]
        return replace(recipe, prune=prune if prune is None else _skip_indivisible(prune, recipe))

    return [SearchAxis("pruning", tuple(choices), own, apply, ordered=False)]


NONE = "none"


def _prunings(base: PruneConfig, config: SearchConfig) -> dict[str, PruneConfig | None]:
    """Every pattern with every sparsity, by name."""
    choices: dict[str, PruneConfig | None] = {NONE: None} if 0 in config.sparsity else {}
    for pattern in config.patterns or (base.pattern,):
        fractions = [each for each in config.sparsity or (base.sparsity,) if each]
        if ":" in pattern:
            n, m = map(int, pattern.split(":"))
            fractions = [1 - n / m]
        for fraction in fractions:
            with within(f"search.patterns: {pattern}, with the rest of [prune]: "):
                choices[_pruning_name(pattern, fraction)] = _with_pattern(base, pattern, fraction)
    return choices


def _pruning_name(pattern: str, fraction: float) -> str:
    return pattern if ":" in pattern else f"{pattern} {fraction:g}"


def _with_pattern(base: PruneConfig, pattern: str, fraction: float) -> PruneConfig:
    """The recipe's pruning with another pattern; settings of its former pattern return to their defaults."""
    if pattern == base.pattern:
        return replace(base, sparsity=fraction)
    return replace(base, pattern=pattern, sparsity=fraction, block=BLOCK if pattern == "block" else (1, 1), code=False, skip=())


BLOCK = (4, 4)
"""Default rows and columns of a block."""


def _skip_indivisible(prune: PruneConfig, recipe: Recipe) -> PruneConfig:
    if prune.kind not in ("block", "n:m"):
        return prune
    rows, columns = prune.tile
    indivisible = {i for i, (inputs, units) in enumerate(recipe.model.matrices) if inputs % rows or units % columns}
    skip = tuple(sorted({*prune.skip, *indivisible}))
    return replace(prune, skip=skip if len(skip) < len(recipe.model.layers) else prune.skip)


def _quantization(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    def quantize(recipe: Recipe, **change: Any) -> Recipe:
        return replace(recipe, quantize=replace(recipe.quantize, **change))

    bits, granularity = " ".join(map(str, recipe.quantize.bits)), recipe.quantize.granularity
    widths, granularities = tuple(map(str, sorted(config.bits))) or (bits,), config.granularity or (granularity,)
    return [
        SearchAxis("bits", widths, bits, lambda recipe, value: quantize(recipe, bits=tuple(map(int, value.split())))),
        SearchAxis("granularity", granularities, granularity, lambda recipe, value: quantize(recipe, granularity=value), False),
    ]


def _rate(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    own = recipe.train.rate
    return [SearchAxis("rate", tuple(sorted(config.rate)) or (own,), own, with_rate)]


AXES: tuple[Callable[[Recipe, SearchConfig], list[SearchAxis]], ...] = (_code, _hidden, _pruning, _quantization, _rate)
"""Constructors of the axes."""
