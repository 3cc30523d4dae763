"""The space of a search: axes of a few values each, and what a value does to the recipe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from msgspec.structs import replace
from tiedae.compress.config import PruneConfig, Recipe, SearchConfig
from tiedae.compress.errors import RecipeError
from tiedae.compress.records import within

Value = int | float | str
Point = Mapping[str, Value]
"""One value on each axis, by the axis' name."""

MOST = 50_000
"""The most points of a space: all of them are looked through where few are left."""
CODE_FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class SearchAxis:
    """What can be chosen: `values` in their order (`ordered`: a neighbour is alike), the recipe's `own`, and what one does."""

    name: str
    values: tuple[Value, ...]
    own: Value
    apply: Callable[[Recipe, Any], Recipe]
    ordered: bool = True


@dataclass(frozen=True)
class Space:
    """A recipe and the axes along which it may change."""

    recipe: Recipe
    axes: tuple[SearchAxis, ...]

    def __post_init__(self) -> None:
        count = math.prod(len(axis.values) for axis in self.axes)
        if count > MOST:
            raise RecipeError(f"search: holds {count:,} combinations, must be {MOST:,} or fewer; make its lists shorter")
        for axis in self.axes:
            for value in axis.values:
                axis.apply(self.recipe, value)

    @property
    def values(self) -> dict[str, list[Value]]:
        return {axis.name: list(axis.values) for axis in self.axes}

    @property
    def own(self) -> Point | None:
        """The recipe as it is, where the space holds it."""
        if all(axis.own in axis.values for axis in self.axes):
            return {axis.name: axis.own for axis in self.axes}
        return None

    @cached_property
    def least(self) -> Mapping[tuple[tuple[str, Value], ...], int]:
        """What the file of every point takes at least, by its key: its kernels.

        0 where bytes are counted after gzip: how small that makes kernels is not known before.
        """
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
    """The recipe with validation samples, of the fraction that [search] says where it holds none out itself."""
    config = recipe.search or SearchConfig()
    if recipe.data.validation:
        return replace(recipe, search=config)
    with within("search."):
        return replace(recipe, data=replace(recipe.data, validation=config.validation), search=config)


def space_of(recipe: Recipe) -> Space:
    """The space of a recipe whose `model.inputs` is known: what its [search] says, or the defaults.

    Raises RecipeError, naming the key, where a value makes no recipe or the space is too large.
    """
    recipe = with_validation(recipe)
    assert recipe.search is not None
    axes = (axis for make in AXES for axis in make(recipe, recipe.search))
    return Space(recipe, tuple(axis for axis in axes if axis.values != (axis.own,)))


def kernel_bytes(recipe: Recipe) -> int:
    """What the kernels' integers take at least: a byte each, half a byte where they are packed."""
    shapes = list(itertools.pairwise(_widths_left(recipe)))
    bits = recipe.quantize.bits * (len(shapes) if len(recipe.quantize.bits) == 1 else 1)
    packed = recipe.export.int4 == "packed"
    return sum(inputs * units // (2 if packed and each <= 4 else 1) for (inputs, units), each in zip(shapes, bits, strict=True))


def _widths_left(recipe: Recipe) -> list[int]:
    """The widths once structured pruning has taken its units out; over all layers together, one of each may be left."""
    widths, prune = list(recipe.model.widths), recipe.prune
    if prune is not None and prune.kind == "structured":
        for i in range(1, len(widths) - (not prune.code)):
            widths[i] = 1 if prune.scope == "global" else widths[i] - round(prune.sparsity * widths[i])
    return widths


def _with_units(recipe: Recipe, index: int, units: int) -> Recipe:
    layers = list(recipe.model.layers)
    layers[index] = replace(layers[index], units=units)
    return replace(recipe, model=replace(recipe.model, layers=tuple(layers)))


def _scaled(units: int, factors: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(units * factor)) for factor in factors}))


def _code(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    own = recipe.model.layers[-1].units
    values = tuple(sorted(config.code)) or _scaled(own, CODE_FACTORS)
    return [SearchAxis("code", values, own, lambda recipe, units: _with_units(recipe, -1, units))]


def _hidden(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    def axis(index: int, own: int) -> SearchAxis:
        values = _scaled(own, config.hidden or (1.0,))
        return SearchAxis(f"hidden_{index}", values, own, lambda recipe, units: _with_units(recipe, index, units))

    return [axis(index, layer.units) for index, layer in enumerate(recipe.model.layers[:-1])]


def _pruning(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    """`none`, or a pattern and its fraction of zeros. Kernels that a pattern does not divide stay whole, unless all do."""
    base = recipe.prune or PruneConfig()
    own = NONE if recipe.prune is None else _pruning_name(base.pattern, base.sparsity)
    choices = _prunings(base, config) if config.patterns or config.sparsity else {own: recipe.prune}

    def apply(recipe: Recipe, name: str) -> Recipe:
        prune = choices[name]
        return replace(recipe, prune=prune if prune is None else _fitting(prune, recipe))

    return [SearchAxis("pruning", tuple(choices), own, apply, ordered=False)]


NONE = "none"


def _prunings(base: PruneConfig, config: SearchConfig) -> dict[str, PruneConfig | None]:
    """Every pattern with every sparsity, by name."""
    choices: dict[str, PruneConfig | None] = {NONE: None} if 0 in config.sparsity else {}
    for pattern in config.patterns or (base.pattern,):
        fractions = [_left_out(pattern)] if ":" in pattern else [each for each in config.sparsity or (base.sparsity,) if each]
        for fraction in fractions:
            with within(f"search.patterns: {pattern}, with the rest of [prune]: "):
                choices[_pruning_name(pattern, fraction)] = _patterned(base, pattern, fraction)
    return choices


def _left_out(pattern: str) -> float:
    """The fraction that N:M leaves out."""
    n, m = (int(part) for part in pattern.split(":"))
    return 1 - n / m


def _pruning_name(pattern: str, fraction: float) -> str:
    return pattern if ":" in pattern else f"{pattern} {fraction:g}"


def _patterned(base: PruneConfig, pattern: str, fraction: float) -> PruneConfig:
    """The recipe's pruning with another pattern: what only its own pattern takes goes back to the default."""
    if pattern == base.pattern:
        return replace(base, sparsity=fraction)
    return replace(base, pattern=pattern, sparsity=fraction, block=BLOCK if pattern == "block" else (1, 1), code=False, skip=())


BLOCK = (4, 4)
"""Rows and columns of blocks where the recipe does not prune by blocks."""


def _fitting(prune: PruneConfig, recipe: Recipe) -> PruneConfig:
    if prune.kind not in ("block", "n:m"):
        return prune
    shapes = itertools.pairwise(recipe.model.widths)
    torn = {i for i, shape in enumerate(shapes) if any(size % step for size, step in zip(shape, prune.tile, strict=True))}
    skip = tuple(sorted({*prune.skip, *torn}))
    return replace(prune, skip=skip if len(skip) < len(recipe.model.layers) else prune.skip)


def _granularity(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    own = recipe.quantize.granularity

    def apply(recipe: Recipe, granularity: Any) -> Recipe:
        return replace(recipe, quantize=replace(recipe.quantize, granularity=granularity))

    return [SearchAxis("granularity", config.granularity or (own,), own, apply, ordered=False)]


def _bits(recipe: Recipe, config: SearchConfig) -> list[SearchAxis]:
    own = " ".join(map(str, recipe.quantize.bits))

    def apply(recipe: Recipe, bits: str) -> Recipe:
        return replace(recipe, quantize=replace(recipe.quantize, bits=tuple(map(int, bits.split()))))

    values = tuple(map(str, sorted(config.bits))) or (own,)
    return [SearchAxis("bits", values, own, apply)]


AXES: tuple[Callable[[Recipe, SearchConfig], list[SearchAxis]], ...] = (_code, _hidden, _pruning, _bits, _granularity)
"""What a search can change."""
