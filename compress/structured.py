"""Taking out the units that pruning has emptied: the same function, in both directions, from a smaller model."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from .autoencoder import TiedAutoencoder


def live_units(model: TiedAutoencoder) -> list[np.ndarray]:
    """bool [units] of each layer: False where all weights that make a unit and all that read it are masked."""
    masks = list(model.masks().values())
    made = [mask.any(axis=0) for mask in masks]
    read = [*(mask.any(axis=1) for mask in masks[1:]), np.zeros_like(made[-1])]
    return [np.logical_or(unit, after) for unit, after in zip(made, read, strict=True)]


def shrink(model: TiedAutoencoder) -> TiedAutoencoder:
    """A float model without the units that its masks have emptied; `model` itself where there are none.

    An emptied unit adds nothing to what reads it, whatever its bias: column j of kernel k and row j of kernel k + 1 are zero,
    and the decoder reads the same two. What remains keeps its masks, and the ties.
    """
    live = live_units(model)
    if all(units.all() for units in live):
        return model
    layers = tuple(replace(layer, units=int(units.sum())) for layer, units in zip(model.config.layers, live, strict=True))
    smaller = TiedAutoencoder(replace(model.config, layers=layers))
    along = [np.ones(model.config.inputs, bool), *live]
    places: dict[str, tuple[np.ndarray, ...]] = {}
    for i, (kernel, mask) in enumerate(zip(smaller.kernels, model.masks().values(), strict=True)):
        rest = np.ix_(along[i], along[i + 1])
        if not mask[rest].all():
            kernel.set_mask(mask[rest])
        places |= {kernel.name: rest, f"{kernel.name}.mask": rest}
    for i, (encode, decode) in enumerate(zip(smaller.encoder.stack, reversed(smaller.decoder.stack), strict=True)):
        places |= {f"{encode.tensor_name}.bias": (along[i + 1],), f"{decode.tensor_name}.bias": (along[i],)}
    state = model.state()
    for name, variable in smaller.state().items():
        variable.assign(state[name].numpy()[places.get(name, ())])
    return smaller
