"""Hidden relu units that no sample activates: they are counted, and once, early in training, they get other weights.

Such a unit has no gradient and never comes back. It takes the negative of the column of a live unit, so that it is active
where that one is not, as in the pairs of `pca_start`; of live units those of largest variance, each once before any a second
time. Its row in the kernel above becomes `SHARE` of the other's negated one: the reconstruction hardly changes, and the unit is
alive downwards too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from .network import TiedNetwork

SAMPLES = 10_000
"""Training samples, drawn by the seed, that tell which units are dead."""
SHARE = 0.01


def dead_units(model: TiedNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    """The units that no sample activates, int64 ascending, of each hidden relu layer that has any; x: float32 [n, inputs]."""
    found = {name: np.flatnonzero(~(values > 0).any(axis=0)) for _, name, values in _hidden(model, x)}
    return {name: units for name, units in found.items() if len(units)}


def revive(model: TiedNetwork, x: np.ndarray, slots: Mapping[str, tf.Variable]) -> dict[str, int]:
    """Give the dead units of layers without batch normalization other weights; returns how many by layer.

    `slots`: the optimizer's variables by name, whose moments of these weights become 0.
    """
    revived = {}
    for i, name, values in _hidden(model, x):
        below, above = model.kernels[i], model.kernels[i + 1]
        layer, mirrored = model.encoder.stack[i], model.decoder.stack[-2 - i]
        units = np.flatnonzero(~(values > 0).any(axis=0))
        alive = np.setdiff1d(np.arange(values.shape[1]), units)
        if not len(units) or not len(alive) or layer.norm is not None or below.mask is not None or above.mask is not None:
            continue
        alive = alive[np.argsort(-values[:, alive].var(axis=0), kind="stable")]
        others = alive[np.arange(len(units)) % len(alive)]
        _negate(below.variable, units, others, 1.0, 1, slots, f"kernel_{i}")
        size = values.shape[1]
        places = np.arange(above.inputs // size)[:, None] * size
        rows, sources = ((places + each).reshape(-1) for each in (units, others))
        _negate(above.variable, rows, sources, SHARE, 0, slots, f"kernel_{i + 1}")
        if layer.bias is not None:
            _negate(layer.bias, units, others, 1.0, 0, slots, f"{layer.tensor_name}.bias")
        if mirrored.bias is not None:  # of a row of the kernel above, or of a channel
            whole = mirrored.bias.shape[0] == above.inputs
            at = (rows, sources) if whole else (units, others)
            _negate(mirrored.bias, *at, SHARE, 0, slots, f"{mirrored.tensor_name}.bias")
        revived[name] = len(units)
    return revived


def _hidden(model: TiedNetwork, x: np.ndarray) -> Iterator[tuple[int, str, np.ndarray]]:
    """(index, name, values [n · places, units]) of each hidden relu layer."""
    values, stack = model.encoder.arranged(tf.convert_to_tensor(x)), model.encoder.stack
    for i, layer in enumerate(stack[:-1]):
        values = layer(values)
        if layer.activation in ("relu", "relu6"):
            yield i, layer.tensor_name, values.numpy().reshape(-1, layer.kernel.units)


def _negate(
    variable: tf.Variable,
    places: np.ndarray,
    sources: np.ndarray,
    share: float,
    axis: int,
    slots: Mapping[str, tf.Variable],
    name: str,
) -> None:
    """Set the values at `places` of an axis to −`share` times those at `sources`, and the moments there to 0."""
    at = (slice(None),) * axis
    values = variable.numpy()
    values[(*at, places)] = -share * values[(*at, sources)]
    variable.assign(values)
    for moment in ("m", "v"):
        slot = slots[f"adam.{moment}.{name}"]
        zeroed = slot.numpy()
        zeroed[(*at, places)] = 0
        slot.assign(zeroed)
