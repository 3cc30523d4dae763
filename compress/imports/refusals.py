"""Every reason for which a run would refuse a model, where `mirror` raises for the first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from tiedae.base.errors import InputError

from .assumed import unread
from .chain import Affine, BatchNorm, Chain, ChainArray, ChainLayer, ChainProduct, Refused
from .keras_layers import is_activation
from .mirrored import Checking, require_mirrored, require_mirrored_activations, require_plain_output, split_layers
from .places import ProductPlace, placed, require_pair
from .scalings import without_scaling


def refusals(chain: Chain) -> tuple[str, ...]:
    """The reasons, a line each without the source: refused layers and untied pairs not among them, which `inspect` lists.

    Arrays are read, one at a time. Of a chain with refused layers other than activations, only reasons without shapes follow.
    """
    errors: list[InputError] = []
    checking = partial(_collected, errors)
    layers = tuple(layer for layer in chain.layers if not (isinstance(layer, Refused) and is_activation(layer)))
    known = replace(chain, layers=layers)
    if not any(isinstance(layer, Refused) for layer in layers):
        _check(known, checking)
    read: set[str] = set()
    for layer in layers:
        with checking():
            _require_finite(chain, layer, read)
    texts = (str(error).removeprefix(f"{chain.source}: ") for error in errors)
    return tuple(dict.fromkeys(filter(None, (unread(chain), *texts))))


@contextlib.contextmanager
def _collected(errors: list[InputError]) -> Iterator[None]:
    """What is raised inside as one of the errors."""
    try:
        yield
    except InputError as error:
        errors.append(error)


def _check(chain: Chain, checking: Checking) -> None:
    """Run the checks of `mirror`, each in `checking`."""
    layers: Sequence[ChainLayer] = tuple(layer for layer in chain.layers if not isinstance(layer, Affine))
    with checking():
        layers = without_scaling(chain, chain.layers)[2]
    functions, norms = split_layers(chain, layers, checking)
    with checking():
        places = placed(chain)
        half = require_mirrored(chain, places)
        _check_halves(chain, places[:half], places[half:], checking)
        encoder, decoder = (tuple(each.product for each in part) for part in (places[:half], places[half:]))
        require_mirrored_activations(chain, encoder, decoder, functions, checking)
        require_plain_output(chain, norms.get(len(places) - 1))


def _check_halves(chain: Chain, encoder: Sequence[ProductPlace], decoder: Sequence[ProductPlace], checking: Checking) -> None:
    for first, last in zip(encoder, reversed(decoder), strict=True):
        with checking():
            require_pair(chain, first, last, untied=True)


def _require_finite(chain: Chain, layer: ChainLayer, read: set[str]) -> None:
    """Raise InputError, naming the layer, for an array of a product or a norm that is not finite. `read`: variables that have
    been, and now these."""
    if not isinstance(layer, ChainProduct | BatchNorm):
        return
    for array in vars(layer).values():
        if isinstance(array, ChainArray) and array.variable not in read:
            read.add(array.variable)
            try:
                array.read()
            except InputError as error:
                reason = str(error).rpartition(": ")[2]
                raise InputError(f"{chain.source}: {layer.title}: {array.variable}: {reason}") from None
