"""What a file stores more than once: equal, reshaped, transposed and *near* duplicates, such as a converter makes that
quantizes one kernel twice. Works on parsed contents of any format.

Values at a few hundred places pick the candidates, in every order of the axes; only candidates are read in full, tile by tile.
So a file costs time and memory by the number of its constants, and by their bytes only where there are duplicates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .model_file import Constant, Contents, printable
from .reals import Real, aligned, as_bits, axes_of, sample_places

TINY, TINY_MATRIX = 64, 16
"""Constants of fewer values are not searched for duplicates, since scalars and short vectors agree by chance: those of one axis
longer than 1, and those of two or more."""
UNIFORM = 1024
"""From how many values on a constant counts whose values are all the same, such as biases of zeros: below, it says nothing."""
SEARCHED = f"searched: {TINY} values or more, matrices from {TINY_MATRIX}, one value repeated from {UNIFORM:,}"
WITHIN = 1.001
"""How far apart the values of near duplicates may be, in steps of the coarser quantization: both are within half a step of the
value that was quantized; the rest is the rounding of scales."""
CHANCE_BITS = 32
"""Near duplicates must be that unlikely among unrelated values of the same distribution: at most 2⁻³² per pair."""
CANDIDATES = 64
"""With how many constants of the same values at the sampled places one is compared in full."""
MAX_GROUP = 4096
"""Of more constants than this with one number of values, only exact duplicates are found."""
FEW, PAIRED = 8, 128
"""How many samples are compared first with the constants that are near in one, and how many estimate chance by all pairs."""

Order = Literal["equal", "reshaped", "transposed"]
Relation = Literal[Order, "near"]


@dataclass(frozen=True)
class Duplicate:
    """A constant whose values another storage holds already.

    `relation`: equal, reshaped (the same order, another shape), transposed (any other order of the axes), or near: the
    dequantized values are within a step of each other. `order`: the first three of a near one too. `axes` is the order of
    the original's axes in which its values follow each other as the duplicate's do; None where only the duplicate has one.
    `by`: the stored bytes agree, or only the values that they stand for, such as int8 against uint8 or a dequantized duplicate.
    `size` in bytes. `largest` and `mean` are differences in steps of the coarser of both quantizations (of a float's last
    place), `equal` is the fraction of integers, less the zero point, that agree; of float32 values where one is not quantized.
    """

    name: str
    original: str
    relation: Relation
    by: Literal["bytes", "values"]
    size: int
    order: Order = "equal"
    axes: tuple[int, ...] | None = None
    largest: float = 0.0
    mean: float = 0.0
    equal: float = 1.0
    storage: str = ""

    @property
    def text(self) -> str:
        name, original = printable(self.name), printable(self.original)
        again = f"{self.size:,} bytes stored again"
        if self.relation == "near":
            order = "" if self.order == "equal" else f", {self.order}"
            return (
                f"{name} is near to {original}{order}: {self.equal:.1%} of its values equal, the others up to "
                f"{self.largest:.2f} of a step apart (mean {self.mean:.2f}): {again}"
            )
        same = "" if self.by == "bytes" else " in value"
        return f"{name} is {self.relation}{same} to {original}: {again}"


def copies(contents: Contents) -> list[Duplicate]:
    """Constants that are stored more than once, in the order of the file; each extra storage counts once.

    Only constants of some size are searched (`TINY`, `TINY_MATRIX`, `UNIFORM`). Shapes alone never count, nor does what
    unrelated values could look like by chance (`CHANCE_BITS`). A view of storage already seen is no duplicate.
    Both constants may be memory maps larger than memory.
    """
    groups: dict[int, dict[str, list[Constant]]] = defaultdict(dict)
    for constant in contents.constants:
        if tells(constant.values):
            groups[constant.values.size].setdefault(constant.storage, []).append(constant)
    found = [duplicate for storages in groups.values() if len(storages) > 1 for duplicate in _copies_among(storages)]
    place = {constant.storage: i for i, constant in enumerate(contents.constants)}
    return sorted(found, key=lambda duplicate: place[duplicate.storage])


def tells(values: np.ndarray) -> bool:
    """Whether a constant is so large and varied that an equal one is more than chance (`TINY`, `TINY_MATRIX`, `UNIFORM`)."""
    if values.dtype.kind == "O":
        return False
    axes = sum(length > 1 for length in values.shape)
    if values.size < (TINY_MATRIX if axes > 1 else TINY):
        return False
    return values.size >= UNIFORM or bool((values != values.flat[0]).any())


def _copies_among(storages: Mapping[str, Sequence[Constant]]) -> Iterator[Duplicate]:
    """Duplicates among storages of as many values: first by bytes, then what is left by the values that they stand for."""
    seen: dict[bytes, list[Real]] = defaultdict(list)
    left: list[Real] = []
    for views in storages.values():
        reals = [Real.of(view) for view in views]
        duplicate = _by_bytes(reals, seen)
        if duplicate:
            yield duplicate
        else:
            left += [real for real in _distinct(reals) if real.has_steps]
            for real in reals:
                for axes in real.orders():
                    ordered = real.ordered(axes)
                    if len(held := seen[_mark(ordered)]) < CANDIDATES:
                        held.append(ordered)
    if len({real.constant.storage for real in left}) > 1 and len(left) <= MAX_GROUP:
        yield from _by_values(left)


def _distinct(reals: Sequence[Real]) -> list[Real]:
    """Views of one storage that stand for different values or have different axes."""
    keys = [(c.values.shape, c.values.dtype, c.scales, c.zero_points, c.axis) for c in (real.constant for real in reals)]
    return list(dict(zip(reversed(keys), reversed(reals), strict=True)).values())[::-1]


def _mark(real: Real) -> bytes:
    """What duplicates by bytes have in common: dtype and the bits at the sampled places."""
    return real.values.dtype.name.encode() + as_bits(real.values)[sample_places(real.values.shape)].tobytes()


def _by_bytes(reals: Sequence[Real], seen: Mapping[bytes, Sequence[Real]]) -> Duplicate | None:
    matches = [
        (original, ordered)
        for real in reals
        for axes in real.orders()
        for ordered in (real.ordered(axes),)
        for original in seen.get(_mark(ordered), ())
        if ordered.in_order or original.in_order
    ]
    for original, duplicate in sorted(matches, key=lambda match: not (match[0].in_order and match[1].in_order)):
        if all(np.array_equal(as_bits(a.values[i]), as_bits(b.values[j])) for a, i, b, j in aligned(original, duplicate)):
            return _copy(original, duplicate, "bytes", None)
    return None


@dataclass(frozen=True)
class _Distance:
    """How far two constants are apart, in steps; `same` where all float32 values are equal."""

    same: bool
    largest: float
    mean: float
    equal: float


def _by_values(reals: Sequence[Real]) -> Iterator[Duplicate]:
    """Duplicates by value and near duplicates among views of several storages, in their order; a duplicate is no original."""
    candidates = _candidates(reals)
    copied: set[str] = set()
    for second in sorted(candidates):
        storage = reals[second].constant.storage
        if storage in copied:
            continue
        best: tuple[tuple[bool, bool, float], Duplicate] | None = None
        for original, duplicate in candidates[second][:CANDIDATES]:
            if original.constant.storage in copied or not (distance := _distance(original, duplicate)):
                continue
            rank = not distance.same, not (original.in_order and duplicate.in_order), distance.largest
            if best is None or rank < best[0]:
                best = rank, _copy(original, duplicate, "values", distance)
        if best:
            copied.add(storage)
            yield best[1]


def _candidates(reals: Sequence[Real]) -> dict[int, list[tuple[Real, Real]]]:
    """(original, duplicate), one in another order of its axes, by the index of the second: within a step at all samples."""
    samples = [real.at(sample_places(real.values.shape)) for real in reals]
    values, steps = (np.stack([each[part] for each in samples]) for part in (0, 1))
    by_first = np.argsort(values[:, 0], kind="stable")
    firsts, coarsest = values[by_first, 0], steps[:, 0].max()
    found: dict[int, list[tuple[Real, Real]]] = defaultdict(list)
    for index, real in enumerate(reals):
        for axes in real.orders():
            ordered = real.ordered(axes)
            own, own_steps = ordered.at(sample_places(ordered.values.shape))
            reach = WITHIN * max(coarsest, own_steps[0])
            rows = by_first[np.searchsorted(firsts, own[0] - reach) : np.searchsorted(firsts, own[0] + reach, "right")]
            rows = rows[rows < index] if ordered.in_order else rows
            for part in (slice(FEW), slice(FEW, None)):
                with np.errstate(invalid="ignore", over="ignore"):
                    apart = np.abs(values[rows, part] - own[part])
                    rows = rows[(apart <= WITHIN * np.maximum(steps[rows, part], own_steps[part])).all(axis=1)]
            for row in sorted(rows.tolist()):
                if reals[row].constant.storage != real.constant.storage:
                    pair = (reals[row], ordered) if row < index else (ordered, reals[row])
                    found[max(row, index)].append(pair)
    return found


def _distance(original: Real, duplicate: Real) -> _Distance | None:
    """None where they are no duplicates: somewhere further than a step apart, or alike as unrelated values would be."""
    total, largest, equal, same = 0.0, 0.0, 0, True
    integers = original.quantized and duplicate.quantized
    for a, i, b, j in aligned(original, duplicate):
        (first, first_steps), (second, second_steps) = a.at(i), b.at(j)
        steps = np.maximum(first_steps, second_steps)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(first - second)
            if not (apart <= WITHIN * steps).all():
                return None
            as_float = first.astype(np.float32) == second.astype(np.float32)
        apart = np.divide(apart, steps, out=np.zeros_like(apart), where=steps > 0)
        same = same and bool(as_float.all())
        equal += int(np.count_nonzero(a.integers(i) == b.integers(j) if integers else as_float))
        largest, total = max(largest, float(apart.max())), total + float(apart.sum())
    if not _more_than_chance(original, duplicate, same):
        return None
    return _Distance(same, largest, total / original.values.size, equal / original.values.size)


def _more_than_chance(original: Real, duplicate: Real, same: bool) -> bool:
    """Whether unrelated values of the same distribution would hardly ever agree like that, were each paired with any other."""
    (first, first_steps), (second, second_steps) = (
        [part[:PAIRED] for part in real.at(sample_places(real.values.shape))] for real in (original, duplicate)
    )
    size = original.values.size
    if same and (size >= UNIFORM or (first != first[0]).any()):
        return True
    within = np.abs(first[:, None] - second) <= WITHIN * np.maximum(first_steps[:, None], second_steps)
    within[np.diag_indices(len(first))] = False
    pairs = within.size - len(first)
    return -np.log2(max(np.count_nonzero(within), 1) / pairs) * size >= CHANCE_BITS


def _copy(original: Real, duplicate: Real, by: Literal["bytes", "values"], distance: _Distance | None) -> Duplicate:
    order: Order = "transposed"
    if original.in_order and duplicate.in_order:
        order = "equal" if original.constant.values.shape == duplicate.constant.values.shape else "reshaped"
    exact = distance is None or distance.same
    measured = {} if distance is None else {"largest": distance.largest, "mean": distance.mean, "equal": distance.equal}
    return Duplicate(
        duplicate.constant.name,
        original.constant.name,
        order if exact else "near",
        by,
        duplicate.constant.nbytes,
        order,
        axes_of(original, duplicate),
        **measured,
        storage=duplicate.constant.storage,
    )
