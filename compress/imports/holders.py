"""Layers of a model's own classes that hold another layer's kernel: what the file proves of them, whatever they are called.

Proven is one variable: the file refers to the other layer by the number of a shared object, or repeats its variable's name.
A layer that stores no kernel, in the place that mirrors a product, is assumed to use that product's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .chain import FUNCTIONS, ChainArray, ChainLayer, ChainProduct, Tie
from .convolutions import ChainConvolution
from .keras_config import KerasLayer
from .keras_layers import PlacedLayer, activation


@dataclass(frozen=True)
class Held:
    """A product that was read before, and its layer."""

    config: KerasLayer
    product: ChainProduct


@dataclass(frozen=True)
class Holding:
    """The products that were read before, in order. `unmirrored`: those that no later one mirrors."""

    products: tuple[Held, ...] = ()
    unmirrored: tuple[Held, ...] = ()

    def then(self, held: Held) -> Holding:
        closes = bool(self.unmirrored) and _closes(held.product, self.unmirrored[-1].product)
        return Holding((*self.products, held), self.unmirrored[:-1] if closes else (*self.unmirrored, held))


def read_holder(place: PlacedLayer, held: Holding, refused: tuple[ChainLayer, ...]) -> tuple[ChainLayer, ...]:
    """A layer of a class that is not known as a product, or `refused` where its arrays are not those of one."""
    arrays = place.group.all
    kernels = {name: array for name, array in arrays.items() if len(array.shape) > 1}
    biases = {name: array for name, array in arrays.items() if len(array.shape) == 1}
    if len(kernels) > 1 or len(kernels) + len(biases) < len(arrays):
        return refused
    product = _tied(place, held, kernels) or _own(place, held, kernels)
    if product is None or not _fits(place, product):
        return refused
    rest = _unrepeated(place, held, biases)
    if len(rest) > 1 or any(array.shape != (product.channels,) for array in rest):
        return refused
    values = place.config.values
    named = [key for key, value in values.items() if _name(value) in FUNCTIONS and _name(value) != "linear"]
    if named and "activation" not in values:
        text = f"its `{named[0]}` may be its activation; a key `activation` would say so, and ta.from_keras(model) computes it"
        return place.refused(text)
    return replace(product, bias=rest[0] if rest else None), *activation(place, values.get("activation"))


def _name(value: Any) -> str:
    """The name of a function, as Keras writes it: a text, or an object with it."""
    value = value.get("config") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _fits(place: PlacedLayer, product: ChainProduct) -> bool:
    """Whether a product fits between the layers before and behind it, and what its configuration says of it."""
    inputs, units, values = product.widths[0], product.channels, place.config.values
    stated = (place.following or units, values.get("units", units), values.get("filters", units))
    if isinstance(product, ChainConvolution) and not _fits_window(place, product):
        return False
    return inputs == (place.width or inputs) and all(size == units for size in stated)


def _fits_window(place: PlacedLayer, product: ChainConvolution) -> bool:
    """Whether the input is what the held convolution gives, and the configuration states its window or none."""
    window, values = product.window, place.config.values
    stated = {"kernel_size": window.sizes, "strides": window.strides, "padding": window.padding}
    same = all(values.get(key) in (None, value, list(value), value[0]) for key, value in stated.items())
    return same and place.shape == (*window.places(product.lengths), product.kernel.shape[-1])


def _tied(place: PlacedLayer, held: Holding, kernels: Mapping[str, ChainArray]) -> ChainProduct | None:
    """The product with the kernel of an earlier one."""
    numbers = set(_shared_numbers(place.config.values))
    ends = _ends(place, kernels)
    for each in reversed(held.products):
        known = each.config.shared in numbers or each.product.kernel.variable.endswith(ends)
        if known and all(_equal(array, each.product.kernel) for array in kernels.values()):
            return _transposed(place, each.product, "stored")
    mirrored = held.unmirrored[-1] if held.unmirrored else None
    if mirrored is not None and all(_equal(array, mirrored.product.kernel) for array in kernels.values()):
        return _transposed(place, mirrored.product, "assumed")
    return None


def _transposed(place: PlacedLayer, product: ChainProduct, tie: Tie) -> ChainProduct:
    names = {"name": place.config.name, "class_name": place.config.class_name}
    return replace(product, **names, bias=None, transposed=not product.transposed, tie=tie, before=None)


def _own(place: PlacedLayer, held: Holding, kernels: Mapping[str, ChainArray]) -> ChainProduct | None:
    """The product with a kernel of its own, in the direction that fits; None where it holds another layer, which it may use."""
    if {each.config.shared for each in held.products} & set(_shared_numbers(place.config.values)):
        return None
    for kernel in (kernel for kernel in kernels.values() if len(kernel.shape) == 2):
        transposed = place.width is not None and kernel.shape[0] != place.width
        return ChainProduct(place.config.name, place.config.class_name, kernel, transposed=transposed)
    return None


def _shared_numbers(value: Any) -> Iterator[int]:
    """The numbers of shared objects in a configuration."""
    if isinstance(value, dict):
        if isinstance(value.get("shared_object_id"), int):
            yield value["shared_object_id"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _shared_numbers(item)


def _closes(product: ChainProduct, before: ChainProduct) -> bool:
    """Whether a product mirrors an earlier one; of two square ones, which fit in any order, only by one kernel."""
    square = product.widths[0] == product.widths[1]
    return product.widths == before.widths[::-1] and (not square or product.kernel == before.kernel)


def _equal(array: ChainArray, other: ChainArray) -> bool:
    return array.shape == other.shape and array.digest == other.digest


def _unrepeated(place: PlacedLayer, held: Holding, vectors: Mapping[str, ChainArray]) -> list[ChainArray]:
    """The vectors that are no bias of an earlier layer: by name, or by value where the file has no names."""
    biases = [each.product.bias for each in held.products if each.product.bias is not None]
    if place.group.named:
        return [array for name, array in vectors.items() if not any(bias.variable.endswith(f"/{name}") for bias in biases)]
    digests = {bias.digest for bias in biases if vectors}
    return [array for array in vectors.values() if array.digest not in digests]


def _ends(place: PlacedLayer, arrays: Mapping[str, ChainArray]) -> tuple[str, ...]:
    """What the variables end with of which the file gives these arrays the names: dense/kernel:0, the end of
    dense/dense/kernel:0."""
    return tuple(f"/{name}" for name in arrays) if place.group.named else ()
