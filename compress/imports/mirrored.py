"""A chain whose pairs are tied, as the weights of a tied autoencoder:

    Rescaling ─→ ChainProduct 0 ─→ … ─→ ChainProduct k−1 ─→ code ─→ ChainProduct k ─→ … ─→ ChainProduct 2k−1 ─→ its inverse
     scaling       kernel 0          kernel k−1           kernel k−1ᵀ           kernel 0ᵀ     left out

`mirror` reads no kernel, so that recipes are checked quickly; `Mirror.weights` does.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from tiedae.base.errors import InputError
from tiedae.base.records import checked
from tiedae.config.layer_kinds import DENSE, Activation
from tiedae.config.model_config import ModelConfig
from tiedae.config.scaling import Scaling

from ..patterns import of_rows
from .chain import (
    FUNCTIONS,
    Affine,
    BatchNorm,
    Chain,
    ChainFunction,
    ChainLayer,
    ChainProduct,
    ChainReshape,
    Tie,
)
from .convolutions import ChainPool, ChainUpsample
from .copies import merged_decoder
from .keras_layers import is_activation
from .norms import Norm, Normalized, NormLayer, finite, normalization, oriented, require_between
from .pairs import TIES, pairs
from .places import ProductPlace, is_flattened, placed, require_pair
from .scalings import without_scaling

Kernels = list[np.ndarray]
Checking = Callable[[], contextlib.AbstractContextManager[Any]]
"""What makes the context of a check: `nullcontext` raises its error, another may collect it."""


@dataclass(frozen=True)
class Weights:
    """What `TiedAutoencoder.take_weights` takes; `masks`: which weights are kept, bool [inputs, units], by index.

    `decoder_kernels`: those of a decoder that has its own, [inputs, units] as the encoder's; None: it has the encoder's.
    """

    kernels: Sequence[np.ndarray]
    encoder_biases: Sequence[np.ndarray] | None
    decoder_biases: Sequence[np.ndarray] | None
    masks: Mapping[int, np.ndarray]
    norms: Mapping[int, Norm]
    decoder_kernels: Sequence[np.ndarray] | None = None


@dataclass(frozen=True)
class Mirror:
    """A chain that is a tied autoencoder, or becomes one by training: `untied`, kernels of a pair are two variables. `merged`:
    they were, of equal values, and `decoder` has those of the encoder.

    `encoder`, `decoder`: the products in forward order. `config`: the model's. `replaced`: activations that the
    chain has others in place of, by its layers. `scaling`: of the data, which the chain computes itself; None: they are scaled
    before. `restores`: whether it gives data in their unit of measure back, by the inverse of that scaling. `norms`: what
    normalizes the units of a product, by its place in forward order.
    """

    chain: Chain
    encoder: tuple[ChainProduct, ...]
    decoder: tuple[ChainProduct, ...]
    config: ModelConfig
    scaling: Scaling | None = None
    restores: bool = False
    replaced: Mapping[str, str] = field(default_factory=dict)
    untied: bool = False
    norms: Mapping[int, NormLayer] = field(default_factory=dict)
    merged: bool = False

    @property
    def products(self) -> tuple[ChainProduct, ...]:
        """All products in forward order."""
        return (*self.encoder, *self.decoder)

    @property
    def batch_norm(self) -> tuple[bool, ...]:
        """Whether the units of each encoder layer are normalized, in one direction at least."""
        return tuple(layer.batch_norm for layer in self.config.layers)

    def decoded(self, layer: int) -> int:
        """The place of the product that gives the units of an encoder layer back; that of the code is its own."""
        return len(self.products) - 2 - layer

    @property
    def widths(self) -> tuple[int, ...]:
        """(values per sample, of what each encoder layer gives)."""
        return self.config.widths

    @property
    def tie(self) -> Tie:
        """trained where the model has no tie, merged where it has equal copies; assumed where a kernel of one pair at least is
        known by its place alone."""
        return "trained" if self.untied else "merged" if self.merged else "assumed" if self.assumed else "stored"

    @property
    def assumed(self) -> tuple[str, ...]:
        """The decoder layers whose ties are assumed."""
        return tuple(product.title for product in self.decoder if product.tie == "assumed")

    @property
    def notes(self) -> list[str]:
        """What a user has to know, a line each."""
        inputs, units = self.widths[0], self.widths[-1]
        notes = [*self.chain.notes]
        if self.untied:
            masks = "; its masks are left out, [prune] makes new ones" if any(product.mask for product in self.encoder) else ""
            notes.append(f"its pairs are not tied; report and card say what it costs to tie them{masks}")
        if self.merged:
            notes.append("its pairs are equal copies, which become one kernel each without training: no value changes")
        if self.assumed:
            stores = "stores no kernel" if len(self.assumed) == 1 else "store no kernels"
            text = f"{', '.join(self.assumed)} {stores}: assumed to use the encoder's (tie: assumed); its code is not read"
            notes.append(f"{text}; `assert_tied` on the live model proves it")
        if self.replaced:
            pairs = ", ".join(f"{name} by {function}" for name, function in self.replaced.items())
            notes.append(f"replaced {pairs}; fine-tuning has to make up for it")
        for i in (i for i, has_norm in enumerate(self.batch_norm) if has_norm):
            for place in {i, self.decoded(i)} - self.norms.keys():
                notes.append(f"{self.products[place].title} has no batch normalization, its mirror has: a gain of 1 there")
        if units > inputs:
            notes.append(f"the code of {units:,} values is wider than a sample of {inputs:,}: it compresses nothing")
        if self.chain.left_out:
            notes.append(f"left out, without effect outside training: {', '.join(self.chain.left_out)}")
        return notes

    def weights(self) -> Weights:
        """Read the arrays. Raises InputError, naming the layer, for other shapes and values that are not finite."""
        biases = [self._bias(product) for product in self.products]
        kernels, masks, norms, others = self._untied(biases) if self.untied else self._tied(biases)
        count, rounded = len(self.encoder), [bias.astype(np.float32) for bias in biases]
        biased = self.config.layers[0].use_bias
        halves = (rounded[:count], rounded[count:]) if biased else (None, None)
        return Weights(kernels, *halves, masks, norms, others)

    def _tied(self, biases: list[np.ndarray]) -> tuple[Kernels, dict[int, np.ndarray], dict[int, Norm], None]:
        """Kernels, masks and norms; the biases become those behind the norms."""
        kernels, masks, norms = [self._matrix(product) for product in self.encoder], {}, {}
        for i, pair in enumerate(zip(self.encoder, reversed(self.decoder), strict=True)):
            found = [self._mask(product) for product in pair if product.mask is not None]
            if found:
                masks[i] = np.logical_and.reduce(found)
                if len(found) < len(pair) or not np.array_equal(found[0], found[1]):
                    self._require_zero(pair, kernels[i][~masks[i]])
                kernels[i] = kernels[i] * masks[i]
        for i in (i for i, has_norm in enumerate(self.batch_norm) if has_norm):
            sign, directions = self._normalized(i, biases)
            kernels[i] = kernels[i] * sign
            for place, each in directions.items():
                biases[place], norms[place] = each.bias, each.norm
        return kernels, masks, norms, None

    def _untied(self, biases: list[np.ndarray]) -> tuple[Kernels, dict[int, np.ndarray], dict[int, Norm], Kernels]:
        """Kernels of the encoder, no masks, norms, and kernels of the decoder: each takes the signs of its own gains."""
        kernels, norms = [self._live(product) for product in self.products], {}
        for i in (i for i, has_norm in enumerate(self.batch_norm) if has_norm):
            for place in {i, self.decoded(i)}:
                each = normalization(self.chain.source, self.products[place], self.norms.get(place), biases[place])
                sign = np.where(each.norm.gain < 0, -1.0, 1.0)
                kernels[place] = kernels[place] * of_rows(sign, kernels[place].shape[1])
                biases[place] = each.bias
                norms[place] = replace(each.norm, gain=each.norm.gain * sign, mean=each.norm.mean * sign)
        count = len(self.encoder)
        return kernels[:count], {}, norms, [kernel.T for kernel in reversed(kernels[count:])]

    def _normalized(self, layer: int, biases: Sequence[np.ndarray]) -> tuple[np.ndarray, dict[int, Normalized]]:
        """The sign of each column of a layer's kernel, and the layer's directions by place."""
        source, places = self.chain.source, (layer, self.decoded(layer))
        encode, decode = (normalization(source, self.products[i], self.norms.get(i), biases[i]) for i in places)
        is_code = places[0] == places[1]
        sign, encode, decode = oriented(source, self.config.layers[layer].activation, encode, None if is_code else decode)
        return sign, {layer: encode} if decode is None else dict(zip(places, (encode, decode), strict=True))

    def _require_zero(self, pair: tuple[ChainProduct, ChainProduct], pruned: np.ndarray) -> None:
        """Raise InputError for weights that a mask of one direction alone takes out."""
        if pruned.any():
            first, second = (product.title for product in pair)
            got = f"takes out {np.count_nonzero(pruned):,} weights that {first} uses, or the other way round"
            raise InputError(f"{self.chain.source}: {second}: its mask {got}; must be one mask for both directions")

    def _matrix(self, product: ChainProduct) -> np.ndarray:
        return product.oriented(finite(self.chain.source, product, product.kernel, "kernel", product.kernel.shape))

    def _live(self, product: ChainProduct) -> np.ndarray:
        """The kernel [inputs, units] of the product, with its mask."""
        matrix = self._matrix(product)
        return matrix if product.mask is None else product.matrix().astype(np.float32)

    def _mask(self, product: ChainProduct) -> np.ndarray:
        """The mask of a pair's kernel as the encoder has it."""
        assert product.mask is not None
        values = finite(self.chain.source, product, product.mask, "mask", product.kernel.shape) != 0
        encoder = product if product in self.encoder else self.encoder[len(self.decoder) - 1 - self.decoder.index(product)]
        return encoder.oriented(values)

    def _bias(self, product: ChainProduct) -> np.ndarray:
        """The bias, float64 [units]; what is subtracted before is constant behind it: (x − b)·W + c = x·W + (c − b·W)."""
        bias = np.zeros(product.channels)
        if product.bias is not None:
            bias = bias + finite(self.chain.source, product, product.bias, "bias", bias.shape)
        if product.before is not None:
            before = finite(self.chain.source, product, product.before, "what is subtracted", product.widths[:1])
            bias = bias - before.astype(np.float64) @ product.matrix().astype(np.float64)
        return bias


def mirror(chain: Chain, *, replaced: Mapping[str, str] | None = None, tie: bool | None = False) -> Mirror:
    """The tied autoencoder that a chain is; `replaced`: supported activations by the classes or names that they stand in for.

    `tie`: the chain is not tied, and shall be; None: if it is not.

    Raises InputError, one line with source, layer and class, for a chain that is none.
    """
    names = replaced or {}
    changed = tuple(_replaced(layer, names) for layer in chain.layers)
    replace(chain, layers=changed).require_readable()
    scaling, restores, layers = without_scaling(chain, changed)
    places = placed(chain)
    functions, norms = split_layers(chain, layers)
    half = require_mirrored(chain, places)
    require_plain_output(chain, norms.get(len(places) - 1))
    untied = is_untied(chain) if tie is None else tie
    halves = places[:half], places[half:]
    mirrors = [require_pair(chain, *pair, untied=untied) for pair in zip(halves[0], reversed(halves[1]), strict=True)]
    encoder, decoder = (tuple(each.product for each in half) for half in (halves[0], mirrors[::-1]))
    if untied:
        _require_untied(chain)
        _require_own_kernels(chain, encoder)
        _require_own_kernels(chain, decoder)
    else:
        _require_tied(chain, encoder, decoder)
    require_mirrored_activations(chain, encoder, decoder, functions)
    changes = {
        old.title: new.function
        for old, new in zip(chain.layers, changed, strict=True)
        if isinstance(new, ChainFunction) and new is not old
    }
    unused = [name for name in names if not any(_is_called(layer, name) for layer in chain.layers)]
    if unused:
        classes = sorted({layer.class_name for layer in chain.layers if is_activation(layer)})
        raise InputError(f"{chain.source}: replace: has no {unused[0]}, must be one of {', '.join(classes) or 'none'}")
    biased = bool(norms) or any(product.bias or product.before for product in (*encoder, *decoder))
    config = _config(chain, halves[0], functions, norms, biased)
    found = Mirror(chain, encoder, decoder, config, scaling, restores, changes, untied, norms)
    return _merged(found) or found if untied else found


def require_plain_output(chain: Chain, norm: NormLayer | None) -> None:
    """Raise InputError where the output is normalized."""
    if norm is not None:
        right = "which needs a kernel of the decoder's own; leave it out and train again"
        raise InputError(f"{chain.source}: {norm.title}: gives each value of the output a gain, {right}")


def require_mirrored_activations(
    chain: Chain,
    encoder: Sequence[ChainProduct],
    decoder: Sequence[ChainProduct],
    functions: Sequence[Activation],
    checking: Checking = contextlib.nullcontext,
) -> None:
    """Raise InputError, naming the layers, for a decoder's activation that is not its mirror's; each check in `checking`."""
    half = len(encoder)
    for i, (product, function) in enumerate(zip(decoder[:-1], functions[half:], strict=False)):
        wanted, of = functions[half - 2 - i], encoder[half - 2 - i]
        if function != wanted:
            right = f"must be {wanted}, as of {of.title} whose output it gives back: a tied autoencoder mirrors its activations"
            with checking():
                raise InputError(f"{chain.source}: {product.title}: activation {function}, {right}; change it and train again")


def _merged(found: Mirror) -> Mirror | None:
    """The model over one kernel a pair, where all pairs are equal copies; None where they are not, and where signs of gains or
    masks keep one from serving both directions."""
    with contextlib.suppress(InputError):
        if (decoder := merged_decoder(found.encoder, found.decoder)) is not None:
            _require_own_kernels(found.chain, found.encoder)
            merged = replace(found, decoder=decoder, untied=False, merged=True)
            merged.weights()
            return merged
    return None


def _config(
    chain: Chain, places: Sequence[ProductPlace], functions: Sequence[Activation], norms: Mapping[int, NormLayer], biased: bool
) -> ModelConfig:
    """The model's configuration, of the places of the encoder's layers."""
    before = [None, *places[:-1]]
    layers = [
        place.table
        | {"activation": function, "use_bias": biased}
        | {"batch_norm": bool({i, 2 * len(places) - 2 - i} & norms.keys())}
        | ({"flatten": True} if last is not None and is_flattened(chain, last, place) else {})
        for i, (place, last, function) in enumerate(zip(places, before, functions, strict=False))
    ]
    shape = places[0].takes
    inputs = shape if len(shape) > 1 else math.prod(shape)
    return checked(ModelConfig, {"layers": layers, "output_activation": functions[-1], "inputs": inputs})


def _is_called(layer: ChainLayer, name: str) -> bool:
    return (is_activation(layer) or isinstance(layer, BatchNorm)) and name in (
        layer.class_name,
        getattr(layer, "function", ""),
    )


def _replaced(layer: ChainLayer, names: Mapping[str, str]) -> ChainLayer:
    function = next((function for name, function in names.items() if _is_called(layer, name)), None)
    return layer if function is None else ChainFunction(layer.name, layer.class_name, function)


def split_layers(
    chain: Chain, layers: Sequence[ChainLayer], checking: Checking = contextlib.nullcontext
) -> tuple[tuple[Activation, ...], dict[int, NormLayer]]:
    """The activation behind each product, and what normalizes those that are normalized before it, by place.

    `checking`: what each check of a layer runs in."""
    functions: list[Activation] = []
    norms: dict[int, NormLayer] = {}
    pooled = False
    for layer in layers:
        match layer:
            case ChainProduct():
                functions.append("linear")
                pooled = False
            case ChainPool():
                pooled = True
            case ChainFunction(function="linear") | ChainReshape() | ChainUpsample():
                pass
            case ChainFunction():
                with checking():
                    _require_activation(chain, layer, functions)
                    functions[-1] = cast(Activation, layer.function)
            case BatchNorm() | Affine():
                behind = [*functions[:-1], "max pooling"] if pooled else functions
                with checking():
                    require_between(chain.source, layer, behind, len(functions) - 1 in norms)
                    norms[len(functions) - 1] = layer
    return tuple(functions), norms


def _require_activation(chain: Chain, layer: ChainFunction, functions: Sequence[str]) -> None:
    """Raise InputError for an activation that is not supported, or not alone behind a product."""
    where, known = f"{chain.source}: {layer.title}", ", ".join(FUNCTIONS)
    if layer.function not in FUNCTIONS:
        name = layer.class_name if layer.class_name not in ("Activation", "Dense") else layer.function
        do = f'[model] replace = {{{name} = "relu"}} in a recipe, with [train] epochs ≥ 1, takes relu in its place'
        raise InputError(f"{where}: activation {layer.function}, must be one of {known}; {do}")
    if not functions:
        raise InputError(f"{where}: activation {layer.function} of the sample, must be behind a product")
    if functions[-1] != "linear":
        raise InputError(f"{where}: activation {layer.function} behind {functions[-1]}, must be one activation a layer")


def require_mirrored(chain: Chain, places: Sequence[ProductPlace]) -> int:
    """The number of encoder layers; InputError for widths that do not come back."""
    source = chain.source
    if not places:
        raise InputError(f"{source}: has no Dense layer and no convolution, must be an encoder and its mirrored decoder")
    widths = [*(math.prod(place.takes) for place in places), math.prod(places[-1].gives)]
    shown = "-".join(map(str, widths))
    told = places[0].kind != DENSE != places[-1].kind  # `require_pair` names the axes
    if (widths != widths[::-1] and not told) or len(places) % 2:
        last = places[-1].product.title
        if widths == widths[::-1]:
            right = "an odd number: the decoder must have a layer for each of the encoder; this one has no mirror"
            raise InputError(f"{source}: {places[len(places) // 2].product.title}: is one of {len(places)} products, {right}")
        if widths[-1] != widths[0]:
            right = f"must give the {widths[0]:,} values of a sample back: a classifier or an encoder alone has no mirror"
            raise InputError(f"{source}: {last}: gives {widths[-1]:,} values ({shown}), {right}")
        right = "must be mirrored, as 784-128-32-128-784 is: each decoder layer the transpose of an encoder layer"
        raise InputError(f"{source}: {last}: widths {shown}, {right}")
    return len(places) // 2


def is_untied(chain: Chain) -> bool:
    """Whether kernels that mirror each other are two variables; InputError for widths that do not come back."""
    places = placed(chain)
    half = require_mirrored(chain, places)
    mirrored = zip(places[:half], reversed(places[half:]), strict=True)
    return any(first.product.kernel.variable != second.product.kernel.variable for first, second in mirrored)


def _require_untied(chain: Chain) -> None:
    """Raise InputError where encoder and decoder have the same kernels."""
    if not is_untied(chain):
        raise InputError(f"{chain.source}: is tied already; leave `tie` out")


def _require_tied(chain: Chain, encoder: Sequence[ChainProduct], decoder: Sequence[ChainProduct]) -> None:
    """Raise InputError, naming the pairs, where encoder and decoder have kernels of their own."""
    if is_untied(chain):
        shown = "; ".join(pair.text for pair in pairs(chain) if pair.status not in TIES)
        do = "`tie = true` beside model.source trains it tied, as ta.tie(model, data) does; equal copies become one as they are"
        raise InputError(f"{chain.source}: not tied: {shown}; {do}")
    _require_own_kernels(chain, encoder)
    for first, second in zip(encoder, reversed(decoder), strict=True):
        if first.transposed == second.transposed:
            right = "must be its transpose"
            raise InputError(f"{chain.source}: {second.title}: multiplies by the kernel of {first.title} itself, {right}")


def _require_own_kernels(chain: Chain, encoder: Sequence[ChainProduct]) -> None:
    """Raise InputError for a kernel that two layers of the encoder have; `encoder`: or of the decoder."""
    used: dict[str, ChainProduct] = {}
    for product in encoder:
        if product.kernel.variable in used:
            before = used[product.kernel.variable].title
            raise InputError(f"{chain.source}: {product.title}: uses the kernel of {before} again, must have one of its own")
        used[product.kernel.variable] = product
