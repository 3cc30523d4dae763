"""Transformations that preserve a tied model's function: rotate the code, scale, permute or remove units, interleave inputs.

Permuting hidden units permutes the columns of one kernel and the rows of the next, in both directions of the tie. The order
decides which weights compete within a tile of a sparsity pattern (Pool & Yu 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import InputError
from tiedae.config.config import PruneConfig
from tiedae.config.layer_kinds import LayerConfig

from .network import TiedNetwork
from .patterns import ENUMERATED, Scores, kept, of_rows, unit_scores

HOMOGENEOUS = ("linear", "relu")
"""Activations f with f(a·x) = a·f(x) for every a > 0."""
TOLERANCE = 1e-3
"""Maximum difference of the mean squares of a balanced code, as a fraction of their mean."""
ROUNDS = 500
"""Random pairings of the groups of units; each pair tries one swap."""
MIN_GAIN = 1e-8
"""Minimum gain of a swap, as a fraction of the sum of all scores: above float32's rounding."""
BY_INPUT = ("kernel_0", "kernel_0.mask", "y.bias")
"""Variables with one row or entry per input."""


def equalizing_rotation(moments: np.ndarray) -> np.ndarray:
    """A rotation R, float64 [n, n], such that RᵀMR has a constant diagonal; M = `moments`, symmetric [n, n].

    R exists by the Schur–Horn theorem; plane rotations find it (Bendel & Mickey 1978).
    """
    moments = moments.astype(np.float64).copy()
    n = len(moments)
    rotation, target = np.eye(n), np.trace(moments) / n
    for _ in range(n):
        diagonal = np.diag(moments)
        low, high = int(np.argmin(diagonal)), int(np.argmax(diagonal))
        if diagonal[high] - diagonal[low] <= TOLERANCE * target:
            break
        a, b, c = diagonal[low] - target, moments[low, high], diagonal[high] - target
        t = (-b + np.sqrt(b * b - a * c)) / c
        cosine = 1 / np.sqrt(1 + t * t)
        plane = np.eye(n)
        plane[low, low] = plane[high, high] = cosine
        plane[high, low], plane[low, high] = cosine * t, -cosine * t
        moments = plane.T @ moments @ plane
        rotation = rotation @ plane
    return rotation


def balance_code(model: TiedNetwork, x: np.ndarray) -> bool:
    """Rotate the code of a float model in place so that its units have the same mean square over `x` [n, inputs].

    The code has one scale, so its unit of the largest range determines the resolution of all. With a linear code, kernel W and
    bias b may be rotated, W → WR, b → bR: the code becomes zR, and the tied decoder computes zR·(WR)ᵀ = zWᵀ. Distances between
    codes are preserved.
    Returns False, without changes, for a code of one unit, for a kernel that is pruned, clustered or quantized, and with an
    activation other than linear, `l1` on its kernel, `activity_l1`, `dropout`, `batch_norm` or max pooling, which are not
    invariant under rotation as `l2` and `activity_l2` are.
    """
    layer, kernel = model.config.layers[-1], model.kernels[-1]
    if not _turns(layer) or layer.units == 1 or kernel.mask is not None or kernel.clusters is not None or kernel.granularity:
        return False
    codes = model.encoder(x).numpy().reshape(-1, layer.units).astype(np.float64)
    _turn_code(model, equalizing_rotation(codes.T @ codes / len(codes)))
    return True


def narrow_code(model: TiedNetwork, x: np.ndarray, most: float) -> None:
    """Rotate the code of a float model in place until no unit spans more than `most` over `x` [n, inputs], where it can be.

    The widest unit is turned by half a right angle with the one beside which the wider of both is narrowest, as often as that
    helps, and once for each unit at most. Units trained for a rate have principal axes, whose first may need more than a byte;
    two units that are turned cost a little more than before, and no other changes. No effect for codes that `balance_code`
    leaves.
    """
    layer = model.config.layers[-1]
    codes = model.encoder(x).numpy().reshape(-1, layer.units).astype(np.float64)
    turns, spans = np.eye(layer.units), np.ptp(codes, axis=0)
    for _ in range(layer.units if _turns(layer) and layer.units > 1 else 0):
        if spans.max() <= most:
            break
        widest = int(spans.argmax())
        sums, differences = (np.sqrt(0.5) * (codes + sign * codes[:, widest, None]) for sign in (1, -1))
        wider = np.maximum(np.ptp(sums, axis=0), np.ptp(differences, axis=0))
        wider[widest] = np.inf
        other = int(wider.argmin())
        if wider[other] >= spans[widest]:
            break
        pair = [widest, other]
        plane = np.sqrt(0.5) * np.array([[1, -1], [1, 1]])
        codes[:, pair], turns[:, pair] = codes[:, pair] @ plane, turns[:, pair] @ plane
        spans[pair] = np.ptp(codes[:, pair], axis=0)
    if not np.array_equal(turns, np.eye(layer.units)):
        _turn_code(model, turns)


def _turns(layer: LayerConfig) -> bool:
    """Whether a rotation of the layer's units changes nothing that it computes or is trained for."""
    varies = layer.l1 or layer.activity_l1 or layer.dropout or layer.batch_norm or layer.pools
    return layer.activation == "linear" and not varies


def _turn_code(model: TiedNetwork, rotation: np.ndarray) -> None:
    encode = model.encoder.stack[-1]
    encode.kernel.variable.assign(encode.kernel.variable.numpy() @ rotation)
    if encode.bias is not None:
        encode.bias.assign(encode.bias.numpy() @ rotation)


def centre_code(model: TiedNetwork, x: np.ndarray, step: float) -> np.ndarray:
    """Shift the code of a float model in place so that each unit's median over `x` [n, inputs] is a multiple of `step`.

    A unit of few values is then one value for most samples; around the middle between two it would cost a bit for nothing.
    The shift is taken off the bias of the code and, through the tie, added to that of the decoder. Returns the shift in steps,
    float32 [units]; 0 for a code that is not linear, or lacks one of the biases.
    """
    medians = np.median(model.encoder(x).numpy().reshape(-1, model.kernels[-1].units), axis=0) / np.float32(step)
    return _shift_code(model, (medians - np.rint(medians)).astype(np.float32), step)


def join_ranges(model: TiedNetwork, x: np.ndarray, step: float) -> None:
    """Shift the code of a float model in place by whole steps, until the middle of each unit's range over `x` [n, inputs] is
    next to 0: all units have one range in a quantized model. No effect for codes that `centre_code` leaves."""
    codes = model.encoder(x).numpy().reshape(-1, model.kernels[-1].units)
    middles = (codes.min(axis=0) + codes.max(axis=0)) / 2
    _shift_code(model, np.rint(middles / np.float32(step)).astype(np.float32), step)


def _shift_code(model: TiedNetwork, shift: np.ndarray, step: float) -> np.ndarray:
    """Returns the shift that was made, in steps, float32 [units]."""
    encode, decode = model.pairs[-1]
    if encode.bias is None or not decode.takes_code or encode.activation != "linear":
        return np.zeros_like(shift)
    encode.bias.assign_sub(shift * step)
    decode.add_to_product(encode.kernel.masked().numpy() @ (shift * np.float32(step)))
    return shift


def reorder_units(model: TiedNetwork, scores_of: Scores, config: PruneConfig, *, seed: int) -> None:
    """Permute the hidden units of a float model in place so that N:M masks keep more of its scores.

    No effect for m above `ENUMERATED`.
    """
    if config.n_of_m[1] > ENUMERATED or len(model.kernels) == 1:
        return
    rng = np.random.default_rng(seed)
    scores = scores_of()
    for i in range(len(model.kernels) - 1):
        read = scores[i + 1].reshape(-1, scores[i].shape[1], scores[i + 1].shape[1])
        after = read.swapaxes(0, 1).reshape(scores[i].shape[1], -1)
        sides = [side for k, side in ((i, scores[i].T), (i + 1, after)) if k not in config.skip]
        if sides:
            order = row_order(np.concatenate(sides, axis=1), *config.n_of_m, rng)
            scores[i], scores[i + 1] = scores[i][:, order], scores[i + 1][_row_order(order, len(scores[i + 1]))]
            permute_units(model, i, order)


def row_order(scores: np.ndarray, n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation of rows, int [rows], with which n:m masks keep more of `scores`, float [rows, columns], multiples of m."""
    scores = (scores / max(scores.sum(), 1e-30)).astype(np.float32)
    groups = np.arange(len(scores)).reshape(-1, m)
    sums = kept(scores, groups, n, m)
    for _ in range(ROUNDS if len(groups) > 1 else 0):
        first, second = rng.permutation(len(groups))[: len(groups) // 2 * 2].reshape(2, -1)
        a, b = groups[first], groups[second]
        pair, (i, j) = np.arange(len(a)), rng.integers(0, m, (2, len(a)))
        a[pair, i], b[pair, j] = b[pair, j], a[pair, i]
        of_a, of_b = kept(scores, a, n, m), kept(scores, b, n, m)
        better = of_a + of_b > sums[first] + sums[second] + MIN_GAIN
        for where, group, total in ((first, a, of_a), (second, b, of_b)):
            groups[where[better]], sums[where[better]] = group[better], total[better]
    return groups.ravel()


def permute_units(model: TiedNetwork, layer: int, order: np.ndarray) -> None:
    """Permute the units of a hidden layer in place, in both directions: new unit j is the former unit `order`[j]."""
    kernel, following = model.kernels[layer], model.kernels[layer + 1]
    rows = _row_order(order, following.inputs)
    for each, axis, places in ((kernel, 1, order), (following, 0, rows)):
        each.variable.assign(each.variable.numpy().take(places, axis))
        if each.mask is not None:
            each.set_mask(each.mask.numpy().take(places, axis))
    for each, places in ((model.pairs[layer][0], order), (model.pairs[layer + 1][1], rows)):
        for variable in each.channels.values():
            variable.assign(variable.numpy()[places[: variable.shape[0]]])


def _row_order(order: np.ndarray, inputs: int) -> np.ndarray:
    """The rows of a kernel, int [inputs], where the units before it take another order."""
    return np.arange(inputs).reshape(-1, len(order))[:, order].ravel()


def rescale_units(model: TiedNetwork, scales: Sequence[np.ndarray]) -> None:
    """Scale the hidden units of a model in place, in both directions, by `scales` [units] per hidden layer.

    Units with batch normalization may have two scales, [2, units], which their gains make up for: of what the encoder gives, by
    which the rows of the next kernel are divided, and of the columns of the kernel, by which what the decoder gives is divided.
    """
    for i, scale in enumerate(scales):
        kernel, following = model.kernels[i], model.kernels[i + 1]
        encoded, columns = np.broadcast_to(scale, (2, kernel.units))
        rows, decoded = of_rows(encoded, following.inputs), of_rows(columns, following.inputs)
        kernel.variable.assign(kernel.variable * columns)
        following.variable.assign(following.variable / rows[:, None])
        sides = (model.pairs[i][0], columns, encoded), (model.pairs[i + 1][1], 1 / rows, 1 / decoded)
        for layer, of_product, of_output in sides:
            product, output = (scales[: layer.size()] for scales in (of_product, of_output))
            if layer.bias is not None:
                layer.bias.assign(layer.bias * output)
            if layer.norm is not None:
                layer.norm.scale(product, output / product)


def input_order(inputs: int, groups: int) -> np.ndarray:
    """The input of each row of the first kernel, int [inputs]: round-robin over `groups` equal groups of inputs."""
    return np.arange(inputs).reshape(groups, -1).T.ravel()


def interleave(model: TiedNetwork, groups: int) -> TiedNetwork:
    """A float model of the same function with the rows of its first kernel interleaved from `groups` groups of inputs.

    Neighbouring pixels or samples of a signal have similar weights, so a tile of four neighbours is all salient or not at
    all. The permutation is a transpose, so none is stored. Masks move with their rows: interleave before pruning by tiles.
    Raises RecipeError if `groups` does not divide the inputs, InputError if a kernel is quantized or clustered.
    """
    for kernel in model.kernels:
        if kernel.granularity is not None or kernel.clusters is not None:
            raise InputError(f"{kernel.name} is quantized or clustered; interleave the inputs before")
    other = type(model)(replace(model.config, interleave=groups), seed=model.seed)
    other.code_scale = model.code_scale
    inputs = model.config.size
    moved = np.argsort(input_order(inputs, model.config.interleave))[input_order(inputs, groups)]
    arrays = {name: values[moved] if name in BY_INPUT else values for name, values in model.arrays().items()}
    other.restore_structure(arrays)
    other.restore(arrays)
    return other


def shrink(model: TiedNetwork) -> TiedNetwork:
    """A float model without the units that its masks prune entirely; `model` itself if there are none.

    Column j of kernel k and row j of kernel k + 1 are zero, so a pruned unit contributes nothing in either direction,
    whatever its bias. Masks and ties of the other units are kept.
    """
    return _with_units(model, [count > 0 for count in unit_scores([kernel.live for kernel in model.kernels])])


def without_unused_code(model: TiedNetwork, x: np.ndarray) -> TiedNetwork | None:
    """A float model without the units of the code that are one multiple of its `code_scale` for all of `x` [n, inputs].

    What such a unit adds to the reconstruction becomes a part of the decoder's bias; where that cannot take it, only units that
    are 0 leave. `model` itself where all units are used, None where none is.
    """
    assert model.code_scale is not None
    encode, decode = model.pairs[-1]
    steps = np.rint(model.encoder(x).numpy().reshape(-1, encode.kernel.units) / np.float32(model.code_scale))
    used = (steps != steps[0]).any(axis=0)
    if not decode.takes_code:
        used |= (steps[0] != 0) & encode.kernel.live.any(axis=0)
    if not used.any():
        return None
    smaller = _with_units(model, [*(np.ones(layer.units, bool) for layer in model.config.layers[:-1]), used])
    if decode.takes_code and smaller is not model:
        constant = np.where(used, 0.0, steps[0] * np.float32(model.code_scale))
        smaller.pairs[-1][1].add_to_product(encode.kernel.masked().numpy() @ constant.astype(np.float32))
    return smaller


def _with_units(model: TiedNetwork, live: Sequence[np.ndarray]) -> TiedNetwork:
    """A float model of these units, bool [units] per layer; `model` itself if they are all."""
    if all(units.all() for units in live):
        return model
    layers = tuple(replace(layer, units=int(units.sum())) for layer, units in zip(model.config.layers, live, strict=True))
    smaller = type(model)(replace(model.config, layers=layers))
    smaller.code_scale = model.code_scale
    pairs = zip(live[:-1], model.kernels[1:], strict=True)
    along = [np.ones(model.kernels[0].inputs, bool), *(of_rows(units, kernel.inputs) for units, kernel in pairs)]
    kept_indices: dict[str, tuple[np.ndarray, ...]] = {}
    for i, (kernel, whole) in enumerate(zip(smaller.kernels, model.kernels, strict=True)):
        rest = np.ix_(along[i], live[i])
        if not whole.live[rest].all():
            kernel.set_mask(whole.live[rest])
        kept_indices |= {kernel.name: rest, f"{kernel.name}.mask": rest}
    for i, (encode, decode) in enumerate(smaller.pairs):
        kept_indices |= {name: (live[i],) for name in encode.channels}
        channels = along[i][: model.pairs[i][1].size()]
        kept_indices |= {name: (channels,) for name in decode.channels}
    arrays = model.arrays()
    smaller.restore({name: arrays[name][kept_indices.get(name, ())] for name in smaller.state()})
    return smaller
