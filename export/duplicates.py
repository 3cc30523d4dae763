"""Finds duplicate constants in a parsed file of any format: equal, reshaped, transposed, and *near* duplicates, which a
converter creates when it quantizes one kernel twice.

A few hundred sampled values per constant, in every axis order, select the candidates; only candidates are read in full. Equal
bytes are found by a hash of each candidate, so that the time is linear however many constants are equal.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tiedae.base.errors import printable

from .model_file import Constant, Contents
from .reals import Real, aligned, as_bits, axes_of, digest_of, is_uniform, release, sample_places

MINIMUM = 64
"""Minimum size of a constant, in stored bytes: what a file stores for a reference to it is of that order."""
TINY, TINY_MATRIX = 64, 16
"""Minimum number of values of duplicates by value, of vectors and of constants with several axes longer than 1. Smaller ones
agree by chance."""
UNIFORM = 1024
"""Minimum number of values of duplicates by value that repeat one value."""
WITHIN = 1.001
"""Maximum distance of near duplicates, in steps of the coarser quantization: half a step each, plus rounding of scales."""
CHANCE_BITS = 32
"""Near duplicates must have a probability of at most 2⁻³² among unrelated values of the same distribution."""
CANDIDATES = 64
"""Maximum number of full comparisons by value per constant."""
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
    float32 values if one constant is not quantized. `storage`, `original_storage`: `Constant.storage` of both.
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
    original_storage: str = ""

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


def searched(minimum: int = MINIMUM) -> str:
    """What `copies` looks for, for a message that nothing was found."""
    return f"searched: from {minimum:,} bytes; equal in value but not in bytes from {TINY} values, matrices from {TINY_MATRIX}"


def copies(contents: Contents, minimum: int = MINIMUM) -> list[Duplicate]:
    """Find the constants that are stored more than once, in file order; each extra storage is reported once.

    Reported are all constants of at least `minimum` stored bytes whose bytes (dtype and values) are those of another in some
    axis order, and those equal or near in value that are no match by chance (`TINY`, `TINY_MATRIX`, `UNIFORM`, `CHANCE_BITS`).
    A second view of one storage is no duplicate. Constants may be memory maps larger than memory.
    """
    groups: dict[int, dict[str, list[Constant]]] = defaultdict(dict)
    for constant in contents.constants:
        if constant.values.size and constant.values.dtype.kind != "O" and constant.nbytes >= minimum:
            groups[constant.values.size].setdefault(constant.storage, []).append(constant)
    found = [duplicate for storages in groups.values() if len(storages) > 1 for duplicate in _copies_among(storages)]
    place = {constant.storage: i for i, constant in enumerate(contents.constants)}
    return sorted(found, key=lambda duplicate: place[duplicate.storage])


def tells(values: np.ndarray) -> bool:
    """Whether values are numerous and varied enough not to agree by chance (`TINY`, `TINY_MATRIX`, `UNIFORM`)."""
    if values.dtype.kind == "O":
        return False
    axes = sum(length > 1 for length in values.shape)
    if values.size < (TINY_MATRIX if axes > 1 else TINY):
        return False
    return values.size >= UNIFORM or bool((values != values.flat[0]).any())


def _copies_among(storages: Mapping[str, Sequence[Constant]]) -> Iterator[Duplicate]:
    """Duplicates among storages of equal size: first by bytes, then the rest by real values."""
    views = [[Real.of(constant) for constant in constants] for constants in storages.values()]
    exact = _by_bytes(views)
    yield from exact.values()
    left = [real for i, reals in enumerate(views) if i not in exact for real in _distinct(reals) if real.has_steps]
    left = [real for real in left if tells(real.values)]
    if len({real.constant.storage for real in left}) > 1 and len(left) <= MAX_GROUP:
        yield from _by_values(left)


@dataclass(frozen=True, eq=False)
class _Layout:
    """One axis order of one view of the storage number `storage`, and its sampled bits."""

    storage: int
    real: Real
    mark: bytes

    @property
    def digest(self) -> tuple[str, bytes]:
        return self.real.values.dtype.name, digest_of(self.real.values)


def _by_bytes(views: Sequence[Sequence[Real]]) -> dict[int, Duplicate]:
    """Duplicates by the index of their storage; the original has the same bytes as stored, or else in another axis order."""
    as_stored = [[_layout(i, real, real.axes) for real in _forms(reals)] for i, reals in enumerate(views)]
    permuted = [
        [_layout(layout.storage, layout.real, axes) for layout in layouts for axes in _other_orders(layout.real)]
        for layouts in as_stored
    ]
    stored_at, permuted_at = (_storages_by_mark(layouts) for layouts in (as_stored, permuted))
    firsts: tuple[dict[Any, _Layout], dict[Any, _Layout]] = {}, {}
    found = {}
    for i, layouts in enumerate(as_stored):
        ours = {each.digest: each for each in layouts if (stored_at[each.mark] | permuted_at[each.mark]) - {i}}
        again = ((firsts[0].get(digest), each.real.values.shape) for digest, each in ours.items())
        same = len(layouts) == 1 and any(first is not None and first.real.values.shape == shape for first, shape in again)
        others = {each.digest: each for each in permuted[i] if not same and stored_at[each.mark] - {i}}
        for mine, theirs in ((ours, firsts[0]), (ours, firsts[1]), (others, firsts[0])):
            matches = [(theirs[digest], each) for digest, each in mine.items() if digest in theirs]
            if matches:
                original, duplicate = min(matches, key=lambda match: match[0].storage)
                found[i] = _copy(original.real, duplicate.real, "bytes")
                break
        for mine, theirs in ((ours, firsts[0]), (others, firsts[1])):
            for digest, each in mine.items():
                theirs.setdefault(digest, each)
    return found


def _layout(storage: int, real: Real, axes: tuple[int, ...]) -> _Layout:
    ordered = real.ordered(axes)
    mark = ordered.values.dtype.name.encode() + as_bits(ordered.values)[sample_places(ordered.values.shape)].tobytes()
    release(ordered.values)
    return _Layout(storage, ordered, mark)


def _forms(reals: Sequence[Real]) -> list[Real]:
    """Views of one storage with different bytes or axes."""
    return list({(real.values.shape, real.values.dtype): real for real in reversed(reals)}.values())[::-1]


def _other_orders(real: Real) -> list[tuple[int, ...]]:
    """The axis orders that could change the bytes: none if all are equal."""
    return [] if is_uniform(real.values) else [axes for axes in real.orders() if axes != real.axes]


def _storages_by_mark(layouts: Iterable[Iterable[_Layout]]) -> Mapping[bytes, set[int]]:
    found: dict[bytes, set[int]] = defaultdict(set)
    for each in itertools.chain.from_iterable(layouts):
        found[each.mark].add(each.storage)
    return found


def _distinct(reals: Sequence[Real]) -> list[Real]:
    """Views of one storage with different real values or axes."""
    keys = [(c.values.shape, c.values.dtype, c.scales, c.zero_points, c.axis) for c in (real.constant for real in reals)]
    return list(dict(zip(reversed(keys), reversed(reals), strict=True)).values())[::-1]


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
    samples = [_sampled(real) for real in reals]
    values, steps = (np.stack([each[part] for each in samples]) for part in (0, 1))
    by_first = np.argsort(values[:, 0], kind="stable")
    firsts, coarsest = values[by_first, 0], steps[:, 0].max()
    found: dict[int, list[tuple[Real, Real]]] = defaultdict(list)
    for index, real in enumerate(reals):
        for axes in real.orders():
            ordered = real.ordered(axes)
            own, own_steps = _sampled(ordered)
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


def _sampled(real: Real) -> tuple[np.ndarray, np.ndarray]:
    """Sampled real values and their steps."""
    sampled = real.at(sample_places(real.values.shape))
    release(real.values)
    return sampled


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
        [part[:PAIRED] for part in _sampled(real)] for real in (original, duplicate)
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
        original_storage=original.constant.storage,
    )
