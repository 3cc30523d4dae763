"""Layers of a model's own classes that hold another layer's kernel: what the file proves of them, whatever they are called.

Proven is one variable: the file refers to the other layer by the number of a shared object, or repeats its variable's name.
A layer that stores no kernel, in the place that mirrors a product, is assumed to use that product's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .chain import FUNCTIONS, ChainArray, ChainLayer, ChainProduct, Tie
from .convolutions import ChainConvolution
from .keras_config import KerasLayer
from .keras_layers import PlacedLayer, activation


@dataclass(frozen=True)
class Held:
    """A product that was read before, and its layer."""

    config: KerasLayer
    product: ChainProduct


def read_holder(place: PlacedLayer, held: Sequence[Held], refused: tuple[ChainLayer, ...]) -> tuple[ChainLayer, ...]:
    """A layer of a class that is not known as a product, or `refused` where its arrays are not those of one."""
    arrays = place.group.all
    kernels = {name: array for name, array in arrays.items() if len(array.shape) > 1}
    biases = {name: array for name, array in arrays.items() if len(array.shape) == 1}
    if len(kernels) > 1 or len(kernels) + len(biases) < len(arrays):
        return refused
    product = _tied(place, held, kernels) or _own(place, held, kernels)
    if product is None or not _fits(place, product):
        return refused
    repeated = {name for name, array in biases.items() for each in held if _repeats(place, name, array, each.product.bias)}
    rest = [array for name, array in biases.items() if name not in repeated]
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
    stated = {place.following or units, values.get("units", units), values.get("filters", units)}
    if isinstance(product, ChainConvolution) and not _fits_window(place, product):
        return False
    return inputs == (place.width or inputs) and {units} >= stated


def _fits_window(place: PlacedLayer, product: ChainConvolution) -> bool:
    """Whether the input is what the held convolution gives, and the configuration states its window or none."""
    window, values = product.window, place.config.values
    stated = {"kernel_size": window.sizes, "strides": window.strides, "padding": window.padding}
    same = all(values.get(key) in (None, value, list(value), value[0]) for key, value in stated.items())
    return same and place.shape == (*window.places(product.lengths), product.kernel.shape[-1])


def _tied(place: PlacedLayer, held: Sequence[Held], kernels: Mapping[str, ChainArray]) -> ChainProduct | None:
    """The product with the kernel of an earlier one."""
    numbers = set(_shared_numbers(place.config.values))
    for each in reversed(held):
        repeated = [name for name, array in kernels.items() if _equal(array, each.product.kernel)]
        named = any(_is_named(place, name, each.product.kernel) for name in repeated)
        if len(repeated) == len(kernels) and (named or each.config.shared in numbers):
            return _transposed(place, each.product, "stored")
    mirrored = _mirrored(held)
    if mirrored is not None and all(_equal(array, mirrored.product.kernel) for array in kernels.values()):
        return _transposed(place, mirrored.product, "assumed")
    return None


def _transposed(place: PlacedLayer, product: ChainProduct, tie: Tie) -> ChainProduct:
    names = {"name": place.config.name, "class_name": place.config.class_name}
    return replace(product, **names, bias=None, transposed=not product.transposed, tie=tie, before=None)


def _own(place: PlacedLayer, held: Sequence[Held], kernels: Mapping[str, ChainArray]) -> ChainProduct | None:
    """The product with a kernel of its own, in the direction that fits; None where it holds another layer, which it may use."""
    if {each.config.shared for each in held} & set(_shared_numbers(place.config.values)):
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


def _mirrored(held: Sequence[Held]) -> Held | None:
    """The last product that no later one mirrors."""
    open_products: list[Held] = []
    for each in held:
        if open_products and _closes(each.product, open_products[-1].product):
            open_products.pop()
        else:
            open_products.append(each)
    return open_products[-1] if open_products else None


def _closes(product: ChainProduct, before: ChainProduct) -> bool:
    """Whether a product mirrors an earlier one; of two square ones, which fit in any order, only by one kernel."""
    square = product.widths[0] == product.widths[1]
    return product.widths == before.widths[::-1] and (not square or product.kernel == before.kernel)


def _equal(array: ChainArray, other: ChainArray) -> bool:
    return array.shape == other.shape and np.array_equal(array.read(), other.read())


def _repeats(place: PlacedLayer, name: str, array: ChainArray, bias: ChainArray | None) -> bool:
    """Whether a vector is the bias of an earlier layer: by name, or by value where the file has no names."""
    return bias is not None and (_is_named(place, name, bias) or (not place.group.named and _equal(array, bias)))


def _is_named(place: PlacedLayer, name: str, array: ChainArray) -> bool:
    """Whether the file gives an array the name of another one's variable: dense/kernel:0, the end of dense/dense/kernel:0."""
    return place.group.named and array.variable.endswith(f"/{name}")
