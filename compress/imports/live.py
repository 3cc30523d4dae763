"""What of a live Keras model is tied, by what it does: a weight of the encoder is changed, and the decoder reacts or not.

x ─ encoder layer ─ code ─ decoder layer ─ y        own input, as it was: what changes, changes by the decoder's use
         └──── kernel ────┘                         of the weight
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .chain import Chain, ChainArray, ChainLayer, ChainProduct, Refused
from .live_calls import with_shape
from .live_chain import LiveModel, LiveStep
from .live_whole import directions
from .pairs import Pair, pairs

UNREACHED = "reacts to none of the inputs and weights that were tried, as behind a relu that is never active"
UNSEEN = "multiplies by no variable of the model, and by no matrix that it shows"
UNKNOWN_CONVOLUTION = "computes with a kernel what is no convolution or transpose of one, a bias and an activation"
UNTOLD = "holds several products, and what changes with their weights does not tell their directions"


def audit(model: Any, inputs: np.ndarray | None = None) -> tuple[Pair, ...]:
    """Each pair of mirrored kernels of a live model of Keras 2 or 3, and what its layers prove; empty where there are none.

    A kernel is found by its layer's own result, on inputs that reach it: for a weight that is twice as large it must be what
    it is for a value of the input that is twice as large, in one column. So it does not count what a layer is called, holds
    or builds. Kernels that are not one variable are compared by value. A layer that does not react is unknown.

    `inputs`: samples [n, …] that the model takes, by default random ones of its input's shape. It runs as at inference; every
    variable has its bits again afterwards, also after an error. Do not train the model meanwhile. Raises InputError for what
    is no model that runs, and what a layer raises.
    """
    live = LiveModel.of(model, inputs)
    layers = tuple(layer for step in live.steps() for layer in _uses(live, step))
    reasons = {layer.title: layer.reason for layer in layers if isinstance(layer, Refused)}
    found = pairs(Chain(live.name, live.format, live.x.shape[1:], layers))
    return tuple(_with_reason(pair, reasons) if pair.status == "unknown" else pair for pair in found)


def _with_reason(pair: Pair, reasons: dict[str, str]) -> Pair:
    title = pair.decoder if pair.decoder in reasons else pair.encoder
    return replace(pair, reason=f"{title} {reasons[title]}") if title in reasons else pair


def _uses(live: LiveModel, step: LiveStep) -> tuple[ChainLayer, ...]:
    """The products of a step, in order; a refused layer where it may have some that are not proven."""
    products = tuple(layer for layer in step.layers if isinstance(layer, ChainProduct))
    if step.reaction == "unreached":
        return (_unknown(live, step, UNREACHED),)
    if products or not any(isinstance(layer, Refused) and layer.custom for layer in step.layers):
        return products
    return _hidden(live, step)


def _unknown(live: LiveModel, step: LiveStep, reason: str, kernels: Sequence[Any] = ()) -> Refused:
    """A layer that may use kernels that are not proven: by default any of the shape that its input and its result have."""
    assert step.call.x is not None and step.call.y is not None
    inputs, units = step.call.x.shape[-1], step.call.y.shape[-1]
    possible = kernels or with_shape(live.variables, [(inputs, units), (units, inputs)])
    weights = {kernel.name: live.stored(kernel) for kernel in possible}
    return _refused(step, reason, weights)


def _hidden(live: LiveModel, step: LiveStep) -> tuple[ChainLayer, ...]:
    """The products of a layer that holds several, in the order in which one takes what another gives."""
    assert step.call.x is not None and step.call.y is not None
    if filters := live.filters(step.call):
        unknown = _refused(step, UNKNOWN_CONVOLUTION, {kernel.variable: kernel for kernel in filters})
        return live.moved(step.call) or (unknown,)
    matrices = [each for each in live.variables if len(each.shape) == 2 and "float" in str(each.dtype)]
    uses = [(each, use) for each in matrices if (use := directions(step.call, each)) != "none"]
    forward = [_product(live, step, kernel, transposed=False) for kernel, use in uses if use in ("forward", "both")]
    backward = [_product(live, step, kernel, transposed=True) for kernel, use in uses if use in ("backward", "both")]
    products = _ordered((*forward, *backward[::-1]), step.call.x.shape[-1], step.call.y.shape[-1])
    if products is None or any(use == "unknown" for _, use in uses):
        return (_unknown(live, step, UNTOLD if uses else UNSEEN, [kernel for kernel, _ in uses]),)
    return products


def _refused(step: LiveStep, reason: str, weights: Mapping[str, ChainArray]) -> Refused:
    return Refused(step.call.layer.name, type(step.call.layer).__name__, reason, weights, custom=True)


def _product(live: LiveModel, step: LiveStep, kernel: Any, *, transposed: bool) -> ChainProduct:
    """A product by a kernel that the layer holds, named after both."""
    name = kernel.name.rpartition("/")[2].partition(":")[0]
    layer = step.call.layer
    return ChainProduct(f"{layer.name}/{name}", type(layer).__name__, live.stored(kernel), transposed=transposed)


def _ordered(products: tuple[ChainProduct, ...], inputs: int, units: int) -> tuple[ChainProduct, ...] | None:
    """The products in an order in which each takes what the one before gives, from inputs to units; None: there is none."""
    if not products:
        return () if inputs == units else None
    for i, product in enumerate(products):
        if product.widths[0] == inputs:
            rest = _ordered((*products[:i], *products[i + 1 :]), product.widths[1], units)
            if rest is not None:
                return product, *rest
    return None
