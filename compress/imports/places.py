"""Products in a chain with the shapes around each, and whether they mirror each other.

             pooled by 2            upsampled by 2
[8, 8, 1] ─ 0 ─→ [4, 4, 16] ─ 1 ─→ … ─ 2 ─→ [4, 4, 16] ─ 3 ─→ [8, 8, 1]        3 mirrors 0: it takes what 0 gives
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tiedae.base.errors import InputError
from tiedae.base.windows import Lengths
from tiedae.config.layer_kinds import DENSE, LAYER_KINDS, Shape

from .chain import Chain, ChainLayer, ChainProduct, ChainReshape
from .convolutions import ChainConvolution, ChainPool, ChainTranspose, ChainUpsample, as_transpose

NO_UPSAMPLE = "must be directly in front of a transposed convolution, once, as the mirror of a pool"


@dataclass(frozen=True)
class ProductPlace:
    """A product. `takes`: the shape in front of it, of what is then repeated `upsampled` times; `gives`: of what it gives,
    of which pooling leaves one of `pooled`; by axis, () without."""

    product: ChainProduct
    takes: Shape
    gives: Shape
    pooled: Lengths = ()
    upsampled: Lengths = ()

    @property
    def leaves(self) -> Shape:
        """The shape behind pooling."""
        counts = (*self.pooled, 1) if self.pooled else (1,) * len(self.gives)
        return tuple(size // count for size, count in zip(self.gives, counts, strict=True))

    @property
    def kind(self) -> str:
        """That of the encoder layer, see `layer_kinds`."""
        return f"conv{len(self.product.lengths)}d" if isinstance(self.product, ChainConvolution) else DENSE

    @property
    def table(self) -> dict[str, object]:
        """The keys of the encoder layer that follow from it."""
        product = self.product
        if not isinstance(product, ChainConvolution):
            return {"units": product.channels}
        window, pool = product.window, {"pool": self.pooled} if self.pooled else {}
        sizes = {"kernel": window.sizes, "strides": window.strides, "padding": window.padding}
        return {"kind": self.kind, "filters": product.channels, **sizes, **pool}


def with_shapes(layers: Sequence[ChainLayer], shape: Shape) -> Iterator[tuple[ChainLayer, Shape]]:
    """Each layer with the shape of its input, the first one's `shape`."""
    for layer in layers:
        yield layer, shape
        shape = layer.output(shape)


def placed(chain: Chain) -> tuple[ProductPlace, ...]:
    """The products of a chain; InputError for one that does not fit its input, and for pooling and upsampling that no tied
    autoencoder has."""
    places: list[ProductPlace] = []
    moved: list[ChainLayer] = []
    for layer, shape in with_shapes(chain.layers, chain.shape):
        where = f"{chain.source}: {layer.title}"
        match layer:
            case ChainProduct():
                _require_fitting(where, layer, shape)
                upsampled = _upsampled(chain, moved)
                counts = (*upsampled, 1) if upsampled else (1,) * len(shape)
                takes = tuple(size // count for size, count in zip(shape, counts, strict=True))
                places.append(ProductPlace(layer, takes, layer.output(shape), upsampled=upsampled))
                moved = []
            case ChainPool():
                if moved or not places:
                    raise InputError(f"{where}: must be behind a convolution and its activation")
                sizes = layer.window.sizes
                if any(size % count for size, count in zip(shape[:-1], sizes, strict=True)):
                    raise InputError(f"{where}: takes windows of {list(sizes)} of {list(shape[:-1])}, must divide them")
                places[-1] = replace(places[-1], pooled=sizes)
                moved.append(layer)
            case ChainTranspose():
                right = "channels last: transpose them, and train or export a model of channels-last samples"
                raise InputError(f"{where}: takes {list(shape)} as {list(layer.output(shape))}, samples must be {right}")
            case ChainUpsample() | ChainReshape():
                moved.append(layer)
    if last := next((layer for layer in moved if isinstance(layer, ChainUpsample)), None):
        raise InputError(f"{chain.source}: {last.title}: {NO_UPSAMPLE}")
    return tuple(places)


def _require_fitting(where: str, layer: ChainProduct, shape: Shape) -> None:
    if isinstance(layer, ChainConvolution):
        return
    if len(shape) > 1:
        raise InputError(f"{where}: multiplies the last axis of {list(shape)}, must be behind Flatten: one row a sample")
    inputs, before = layer.widths[0], math.prod(shape)
    if inputs != before:
        raise InputError(f"{where}: kernel of {inputs} inputs behind {before} values")


def _upsampled(chain: Chain, moved: Sequence[ChainLayer]) -> Lengths:
    """How often what is in front of a product is repeated, by the layers since the product before it."""
    found = [i for i, layer in enumerate(moved) if isinstance(layer, ChainUpsample)]
    if not found:
        return ()
    last = moved[-1]
    if len(found) > 1 or not isinstance(last, ChainUpsample):
        raise InputError(f"{chain.source}: {moved[found[0]].title}: {NO_UPSAMPLE}")
    return last.sizes


def require_pair(chain: Chain, first: ProductPlace, last: ProductPlace, *, untied: bool) -> ProductPlace:
    """The decoder's place as the mirror of the encoder's; InputError, naming the layer, where it is none."""
    encoder, decoder = first.product, last.product
    where = f"{chain.source}: {decoder.title}"
    conv = isinstance(encoder, ChainConvolution)
    if first.kind != last.kind or first.kind not in LAYER_KINDS:
        raise InputError(f"{where}: in the place of {encoder.title}, must be its transpose")
    if conv and encoder.transposed:
        raise InputError(f"{chain.source}: {encoder.title}: is in the encoder, must be a convolution")
    if conv and not decoder.transposed:
        turned = as_transpose(decoder)
        if turned is decoder or not untied:
            right = f"must be the transposed convolution over the kernel of {encoder.title}"
            do = "; `tie = true` takes it as one over its kernel reversed" if turned is not decoder else ""
            raise InputError(f"{where}: is a convolution, {right}, such as Conv2DTranspose with its strides and padding{do}")
        decoder = turned
    if not decoder.mirrors(encoder):
        raise InputError(f"{where}: {_geometry(decoder)}, must be {_geometry(encoder)} as {encoder.title}, which it mirrors")
    if last.upsampled != first.pooled:
        got = f"in front of it values are repeated {list(last.upsampled or (1,))} times"
        right = f"{list(first.pooled or (1,))} times, as the pool behind {encoder.title} takes"
        raise InputError(f"{where}: {got}, must be {right}: UpSampling of the pool's size, nearest")
    for got, wanted, verb in ((last.takes, first.leaves, "takes"), (last.gives, first.takes, "gives")):
        if got != wanted:
            right = f"must be {list(wanted)} as of {encoder.title}, which it mirrors: strides and pools must divide each axis"
            raise InputError(f"{where}: {verb} {list(got)}, {right}")
    if last.pooled or first.upsampled:
        title = decoder.title if last.pooled else encoder.title
        raise InputError(f"{chain.source}: {title}: max pooling must be in the encoder, upsampling in the decoder")
    return replace(last, product=decoder)


def _geometry(product: ChainProduct) -> str:
    inputs, units = product.widths
    if not isinstance(product, ChainConvolution):
        return f"multiplies {inputs} values by {units}"
    window, kernel = product.window, product.kernel.shape
    return f"has a kernel {list(kernel)}, strides {list(window.strides)} and padding {window.padding}"


def is_flattened(chain: Chain, before: ProductPlace, place: ProductPlace) -> bool:
    """Whether an encoder layer takes all values of the one before it as one row; InputError where it takes another shape."""
    if place.takes == before.leaves:
        return False
    if place.kind == DENSE:
        return True
    got = f"takes {list(before.leaves)} of {before.product.title} as {list(place.takes)}"
    raise InputError(f"{chain.source}: {place.product.title}: {got}, must be as they are, or Flatten in front of Dense")
