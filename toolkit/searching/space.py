"""The space of a search: axes of a few values each, and what a value does to the recipe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tiedae.compress.config import DataConfig, PruneConfig, Recipe, SearchConfig
from tiedae.compress.errors import RecipeError

Value = int | float | str
Point = Mapping[str, Value]
"""One value on each axis, by the axis' name."""

MOST = 50_000
"""The most points of a space: all of them are looked through where few are left."""
CODE_FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class Axis:
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
    axes: tuple[Axis, ...]

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


def space_of(recipe: Recipe) -> Space:
    """The space of a recipe whose `model.inputs` is known: what its [search] says, or the defaults.

    Raises RecipeError, naming the key, where a value makes no recipe or the space is too large.
    """
    config = recipe.search or SearchConfig()
    data = recipe.data if recipe.data.validation else _hold_out(recipe.data, config.validation)
    recipe = replace(recipe, data=data, search=config)
    axes = (axis for make in AXES for axis in make(recipe, config))
    return Space(recipe, tuple(axis for axis in axes if axis.values != (axis.own,)))


def _hold_out(data: DataConfig, share: float) -> DataConfig:
    try:
        return replace(data, validation=share)
    except RecipeError as error:
        raise RecipeError(f"search.{error}") from None


def kernel_bytes(recipe: Recipe) -> int:
    """What the kernels' integers take at least."""
    shapes = list(itertools.pairwise(recipe.model.widths))
    bits = recipe.quantize.bits * (len(shapes) if len(recipe.quantize.bits) == 1 else 1)
    return sum(inputs * units * each // 8 for (inputs, units), each in zip(shapes, bits, strict=True))


def _with_units(recipe: Recipe, index: int, units: int) -> Recipe:
    layers = list(recipe.model.layers)
    layers[index] = replace(layers[index], units=units)
    return replace(recipe, model=replace(recipe.model, layers=tuple(layers)))


def _scaled(units: int, factors: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(units * factor)) for factor in factors}))


def _code(recipe: Recipe, config: SearchConfig) -> list[Axis]:
    own = recipe.model.layers[-1].units
    values = tuple(sorted(config.code)) or _scaled(own, CODE_FACTORS)
    return [Axis("code", values, own, lambda recipe, units: _with_units(recipe, -1, units))]


def _hidden(recipe: Recipe, config: SearchConfig) -> list[Axis]:
    def axis(index: int, own: int) -> Axis:
        values = _scaled(own, config.hidden or (1.0,))
        return Axis(f"hidden_{index}", values, own, lambda recipe, units: _with_units(recipe, index, units))

    return [axis(index, layer.units) for index, layer in enumerate(recipe.model.layers[:-1])]


def _pruning(recipe: Recipe, config: SearchConfig) -> list[Axis]:
    base = recipe.prune or PruneConfig()
    own = recipe.prune.sparsity if recipe.prune else 0.0
    values = tuple(sorted(config.sparsity)) or (own,)

    def apply(recipe: Recipe, sparsity: float) -> Recipe:
        return replace(recipe, prune=replace(base, sparsity=sparsity) if sparsity else None)

    return [Axis("sparsity", values, own, apply)]


def _granularity(recipe: Recipe, config: SearchConfig) -> list[Axis]:
    own = recipe.quantize.granularity

    def apply(recipe: Recipe, granularity: Any) -> Recipe:
        return replace(recipe, quantize=replace(recipe.quantize, granularity=granularity))

    return [Axis("granularity", config.granularity or (own,), own, apply, ordered=False)]


def _bits(recipe: Recipe, config: SearchConfig) -> list[Axis]:
    own = " ".join(map(str, recipe.quantize.bits))

    def apply(recipe: Recipe, bits: str) -> Recipe:
        return replace(recipe, quantize=replace(recipe.quantize, bits=tuple(map(int, bits.split()))))

    values = tuple(map(str, sorted(config.bits))) or (own,)
    return [Axis("bits", values, own, apply)]


AXES: tuple[Callable[[Recipe, SearchConfig], list[Axis]], ...] = (_code, _hidden, _pruning, _bits, _granularity)
"""What a search can change."""
