"""Finds duplicate constants in a parsed file of any format: equal, reshaped, transposed, and *near* duplicates, which a
converter creates when it quantizes one kernel twice.

A few hundred sampled values per constant, in every axis order, select the candidates; only candidates are read in full, tile by
tile. Time and memory grow with the number of constants, and with their bytes only if there are duplicates.
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
"""Minimum number of values, of vectors and of constants with several axes longer than 1. Smaller ones agree by chance."""
UNIFORM = 1024
"""Minimum number of values of a constant that repeats one value, such as a zero bias."""
SEARCHED = f"searched: {TINY} values or more, matrices from {TINY_MATRIX}, one value repeated from {UNIFORM:,}"
WITHIN = 1.001
"""Maximum distance of near duplicates, in steps of the coarser quantization: half a step each, plus rounding of scales."""
CHANCE_BITS = 32
"""Near duplicates must have a probability of at most 2⁻³² among unrelated values of the same distribution."""
CANDIDATES = 64
"""Maximum number of full comparisons per constant."""
MAX_GROUP = 4096
"""Maximum number of constants of equal size that are searched for near duplicates; larger groups for exact ones only."""
FEW, PAIRED = 8, 128
"""Number of samples compared first, and number of samples whose pairs estimate the chance of a match."""

Order = Literal["equal", "reshaped", "transposed"]
Relation = Literal[Order, "near"]


@dataclass(frozen=True)
class Duplicate:
    """A constant whose values are stored elsewhere too.

    `relation`: equal, reshaped (same order, other shape), transposed (any other axis order), or near (dequantized values within
    one step). `order`: equal, reshaped or transposed, for near duplicates too. `axes`: the original's axes in the duplicate's
    order; None if only the duplicate can be permuted. `by`: `bytes` if the stored bytes agree, `values` if only the real values
    do (int8 and uint8, or a dequantized duplicate). `size` in bytes. `largest` and `mean`: differences in steps of the coarser
    quantization, for floats in units in the last place. `equal`: fraction of equal integers, zero points subtracted; of equal
    float32 values if one constant is not quantized.
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
    """Find the constants that are stored more than once, in file order; each extra storage is reported once.

    Small constants are skipped (`TINY`, `TINY_MATRIX`, `UNIFORM`), and matches that chance could explain (`CHANCE_BITS`). A
    second view of one storage is no duplicate. Constants may be memory maps larger than memory.
    """
    groups: dict[int, dict[str, list[Constant]]] = defaultdict(dict)
    for constant in contents.constants:
        if tells(constant.values):
            groups[constant.values.size].setdefault(constant.storage, []).append(constant)
    found = [duplicate for storages in groups.values() if len(storages) > 1 for duplicate in _copies_among(storages)]
    place = {constant.storage: i for i, constant in enumerate(contents.constants)}
    return sorted(found, key=lambda duplicate: place[duplicate.storage])


def tells(values: np.ndarray) -> bool:
    """Whether a constant is large and varied enough to be searched (`TINY`, `TINY_MATRIX`, `UNIFORM`)."""
    if values.dtype.kind == "O":
        return False
    axes = sum(length > 1 for length in values.shape)
    if values.size < (TINY_MATRIX if axes > 1 else TINY):
        return False
    return values.size >= UNIFORM or bool((values != values.flat[0]).any())


def _copies_among(storages: Mapping[str, Sequence[Constant]]) -> Iterator[Duplicate]:
    """Duplicates among storages of equal size: first by bytes, then the rest by real values."""
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
    """Views of one storage with different real values or axes."""
    keys = [(c.values.shape, c.values.dtype, c.scales, c.zero_points, c.axis) for c in (real.constant for real in reals)]
    return list(dict(zip(reversed(keys), reversed(reals), strict=True)).values())[::-1]


def _mark(real: Real) -> bytes:
    """Hash key of exact duplicates: dtype and sampled bits."""
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
            return _copy(original, duplicate, "bytes")
    return None


def _by_values(reals: Sequence[Real]) -> Iterator[Duplicate]:
    """Duplicates by value and near duplicates, in order; a duplicate never serves as an original."""
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
            rank = not distance[0], not (original.in_order and duplicate.in_order), distance[1]
            if best is None or rank < best[0]:
                best = rank, _copy(original, duplicate, "values", *distance)
        if best:
            copied.add(storage)
            yield best[1]


def _candidates(reals: Sequence[Real]) -> dict[int, list[tuple[Real, Real]]]:
    """(original, duplicate) pairs within a step at all samples, one of them permuted, by the index of the later constant."""
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


def _distance(original: Real, duplicate: Real) -> tuple[bool, float, float, float] | None:
    """(all float32 values are equal, largest and mean distance in steps, fraction of equal values) of two duplicates.

    None if a value differs by more than a step, or if chance explains the match.
    """
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
    return same, largest, total / original.values.size, equal / original.values.size


def _more_than_chance(original: Real, duplicate: Real, same: bool) -> bool:
    """Whether chance cannot explain a match, estimated by pairing every sample with every other."""
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


def _copy(original: Real, duplicate: Real, by: Literal["bytes", "values"], exact: bool = True, *distance: float) -> Duplicate:
    order: Order = "transposed"
    if original.in_order and duplicate.in_order:
        order = "equal" if original.constant.values.shape == duplicate.constant.values.shape else "reshaped"
    return Duplicate(
        duplicate.constant.name,
        original.constant.name,
        order if exact else "near",
        by,
        duplicate.constant.nbytes,
        order,
        axes_of(original, duplicate),
        *distance or (0.0, 0.0, 1.0),
        storage=duplicate.constant.storage,
    )
