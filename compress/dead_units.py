"""Hidden relu units that no sample activates: they are counted, and once, early in training, they get other weights.

Such a unit has no gradient and never comes back. It takes the negative of the column of a live unit, so that it is active
where that one is not, as in the pairs of `pca_start`; of live units those of largest variance, each once before any a second
time. Its row in the kernel above becomes `SHARE` of the other's negated one: the reconstruction hardly changes, and the unit is
alive downwards too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .blocks import TENSOR_VALUES
from .network import TiedNetwork

SAMPLES = 10_000
"""Training samples, drawn by the seed, that tell which units are dead."""
SHARE = 0.01


def dead_units(model: TiedNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    """The units that no sample activates, int64 ascending, of each hidden relu layer that has any; x: float32 [n, inputs]."""
    found = {layer.name: np.flatnonzero(layer.dead) for layer in _hidden(model, x)}
    return {name: units for name, units in found.items() if len(units)}


def revive(model: TiedNetwork, x: np.ndarray, slots: Mapping[str, tf.Variable]) -> dict[str, int]:
    """Give the dead units of layers without batch normalization other weights; returns how many by layer.

    `slots`: the optimizer's variables by name, whose moments of these weights become 0.
    """
    revived = {}
    for hidden in _hidden(model, x):
        i, name = hidden.index, hidden.name
        below, above = model.kernels[i], model.kernels[i + 1]
        layer, mirrored = model.encoder.stack[i], model.decoder.stack[-2 - i]
        units, alive = np.flatnonzero(hidden.dead), np.flatnonzero(~hidden.dead)
        if not len(units) or not len(alive) or layer.norm is not None or below.mask is not None or above.mask is not None:
            continue
        alive = alive[np.argsort(-hidden.variances[alive], kind="stable")]
        others = alive[np.arange(len(units)) % len(alive)]
        _negate(below.variable, units, others, 1.0, 1, slots, f"kernel_{i}")
        size = len(hidden.dead)
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


@dataclass(frozen=True, eq=False)
class _Hidden:
    """A hidden relu layer: which units no sample activates, bool [units], and the `variances` of all, float64 [units]."""

    index: int
    name: str
    dead: np.ndarray
    variances: np.ndarray


def _hidden(model: TiedNetwork, x: np.ndarray) -> list[_Hidden]:
    """The hidden relu layers, by batches of samples whose widest tensor has `TENSOR_VALUES` values."""
    layers = [(i, each) for i, each in enumerate(model.encoder.stack[:-1]) if each.activation in ("relu", "relu6")]
    sums = {i: np.zeros((3, layer.kernel.units)) for i, layer in layers}
    size, rows = max(1, TENSOR_VALUES // max(model.config.widths)), dict.fromkeys(sums, 0)
    for start in range(0, len(x) if layers else 0, size):
        values = model.encoder.arranged(tf.convert_to_tensor(x[start : start + size]))
        for i, layer in enumerate(model.encoder.stack[: layers[-1][0] + 1]):
            values = layer(values)
            if i in sums:
                units = values.numpy().reshape(-1, layer.kernel.units).astype(np.float64)
                sums[i] += (units > 0).sum(axis=0), units.sum(axis=0), np.square(units).sum(axis=0)
                rows[i] += len(units)
    return [
        _Hidden(i, layer.tensor_name, sums[i][0] == 0, sums[i][2] / rows[i] - np.square(sums[i][1] / rows[i]))
        for i, layer in layers
    ]


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
