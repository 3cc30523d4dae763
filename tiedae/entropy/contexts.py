"""Contexts of residuals: the leaves of a decision tree over features of the values before.

docs/reference/format.md, "Contexts".

    a node asks: feature ≥ threshold?  no → below, yes → above: another node or a leaf

Export grows the tree on training residuals. Each leaf has a frequency table of its own.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiedae.base.errors import InputError

MOST_LEAVES = 128
"""Leaves of a tree at most; a C encoder keeps a leaf in 7 bits."""
LEAF = 128
"""A child of this number or more is a leaf: this number plus the leaf's."""
_AT_ONCE = 64
"""Values whose leaves are computed in one product: few enough that no library starts threads for it."""
_GROWN_LEAVES = 64
"""Leaves that a tree grows to at most; each is a table of the bundle."""
_LEAST_COUNT = 256
"""Training residuals of a leaf at least."""
_LEAST_GAIN = 40.0
"""Nats that a split must save in the training residuals; a table costs the bundle about as much."""
_SIZES = np.array([1, 2, 3, 4, 5, 6, 8, 12, 16, 24, *(1 << e for e in range(5, 17))])
"""Magnitudes from which a residual counts as larger, where a tree is grown."""
_SYMBOLS = 2 * len(_SIZES) + 1
_NODE = struct.Struct("<BbBB")


@dataclass(frozen=True, eq=False)
class ContextTree:
    """Nodes, int16 [n, 4]: the number of a feature, a threshold in −128…127, the child below it, the child at or above it.

    A child is a later node, or `LEAF` plus the number of a leaf. Every node but the first and every leaf, 0…n, is the child of
    one node. Without nodes there is the leaf 0 alone. Raises InputError for other nodes.
    """

    nodes: np.ndarray

    def __post_init__(self) -> None:
        nodes, count = self.nodes, len(self.nodes)
        if nodes.dtype != np.int16 or nodes.shape != (count, 4) or count >= MOST_LEAVES:
            raise InputError(f"nodes: got {nodes.dtype} {list(nodes.shape)}, must be int16 [0…{MOST_LEAVES - 1}, 4]")
        children = nodes[:, 2:].ravel()
        right = [*range(1, count), *range(LEAF, LEAF + count + 1)] if count else []
        if sorted(children.tolist()) != right or (nodes[:, 2:] <= np.arange(count)[:, None]).any():
            raise InputError("nodes: each but the first, and each leaf, must be the child of one earlier node")

    @property
    def leaves(self) -> int:
        return len(self.nodes) + 1

    @property
    def features(self) -> int:
        """One more than the largest number of a feature that a node asks for; 0 without nodes."""
        return int(self.nodes[:, 0].max(initial=-1)) + 1

    def leaves_of(self, features: np.ndarray) -> np.ndarray:
        """The leaf, int64 [...], of each of the features, int [features, ...]."""
        signs, most = self._paths
        values = features.reshape(len(features), -1)
        leaves = np.empty(values.shape[1], np.int64)
        for at in range(0, len(leaves), _AT_ONCE):
            asked = values[self.nodes[:, 0], at : at + _AT_ONCE] >= self.nodes[:, 1, None]
            leaves[at : at + _AT_ONCE] = (signs @ asked.astype(np.float32) - most).argmax(axis=0)
        return leaves.reshape(features.shape[1:])

    def to_bytes(self) -> bytes:
        return bytes((len(self.nodes),)) + b"".join(_NODE.pack(*node) for node in self.nodes.tolist())

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[ContextTree, int]:
        """What `to_bytes` wrote at the front, and its length; InputError for anything else."""
        count = data[0] if data else 0
        size = 1 + count * _NODE.size
        if len(data) < size:
            raise InputError(f"nodes: {count} of them in {len(data)} bytes")
        nodes = [_NODE.unpack_from(data, at) for at in range(1, size, _NODE.size)]
        return cls(np.array(nodes, np.int16).reshape(count, 4)), size

    @cached_property
    def _paths(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each leaf, float32 [leaves, nodes]: 1 for a node on its path that must say yes, −1 for no, else 0; and how many
        must say yes, [leaves, 1]. The product of the first with the answers is that for the right leaf, and less for others.
        """
        signs = np.zeros((self.leaves, len(self.nodes)), np.float32)
        for node in reversed(range(len(self.nodes))):
            for child, sign in zip(self.nodes[node, 2:], (-1, 1), strict=True):
                signs[self._under(int(child)), node] = sign
        return signs, (signs > 0).sum(axis=1, keepdims=True, dtype=np.float32)

    def _under(self, child: int) -> list[int]:
        """The leaves of a child."""
        if child >= LEAF:
            return [child - LEAF]
        return [leaf for each in self.nodes[child, 2:] for leaf in self._under(int(each))]


ALONE = ContextTree(np.zeros((0, 4), np.int16))
"""One context for all residuals."""


@dataclass(frozen=True, eq=False)
class _Split:
    """The best split of some rows of training residuals, in nats that it saves.

    `counts`: how often each symbol comes with each value of each feature in these rows, [features, values, symbols].
    """

    gain: float
    feature: int
    threshold: int
    rows: np.ndarray
    counts: np.ndarray


def grow(features: np.ndarray, residuals: np.ndarray) -> ContextTree:
    """A tree for training residuals, integers [n], one or more, and their features, int8 [features, n].

    The leaf whose best split saves most entropy is split next (best first: H. Shi, 2007), while that is enough.
    """
    lowest = int(features.min())
    cells = (features.astype(np.int16) - lowest) * _SYMBOLS + _symbols(residuals)
    size = -(-(int(cells.max()) + 1) // _SYMBOLS) * _SYMBOLS

    def counted(rows: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(each[rows], minlength=size) for each in cells]).reshape(len(cells), -1, _SYMBOLS)

    every = np.arange(len(residuals))
    splits: list[tuple[_Split, int]] = []
    first = _best_split(every, counted(every), lowest)
    waiting, parts = [(-first.gain, 0, first)], 1
    while -waiting[0][0] >= _LEAST_GAIN and len(splits) + 1 < _GROWN_LEAVES:
        _, part, split = heapq.heappop(waiting)
        splits.append((split, part))
        above = features[split.feature, split.rows] >= split.threshold
        sides = split.rows[~above], split.rows[above]
        fewer = counted(min(sides, key=len))
        more = split.counts - fewer
        for rows, counts in zip(sides, (more, fewer) if len(sides[1]) < len(sides[0]) else (fewer, more), strict=True):
            best = _best_split(rows, counts, lowest)
            heapq.heappush(waiting, (-best.gain, parts, best))
            parts += 1
    return _tree_of(splits)


def _tree_of(splits: Sequence[tuple[_Split, int]]) -> ContextTree:
    """The tree of splits; split i makes parts 2i + 1, below, and 2i + 2."""
    numbers = {part: node for node, (_, part) in enumerate(splits)}
    leaves = (part for part in range(2 * len(splits) + 1) if part not in numbers)
    numbers |= {part: LEAF + leaf for leaf, part in enumerate(leaves)}
    nodes = [
        (split.feature, split.threshold, numbers[2 * node + 1], numbers[2 * node + 2]) for node, (split, _) in enumerate(splits)
    ]
    return ContextTree(np.array(nodes, np.int16).reshape(len(nodes), 4))


def _symbols(residuals: np.ndarray) -> np.ndarray:
    """Residuals in fewer symbols, uint8: large ones of a sign that are about as large are one."""
    sizes = np.searchsorted(_SIZES, np.abs(residuals), side="right")
    return (len(_SIZES) + np.sign(residuals) * sizes).astype(np.uint8)


def _best_split(rows: np.ndarray, counts: np.ndarray, lowest: int) -> _Split:
    """`lowest`: the value of a feature that is counted first."""
    whole, below = counts[0].sum(axis=0), counts.cumsum(axis=1)
    rows_below = below.sum(axis=2)
    enough = np.minimum(rows_below, len(rows) - rows_below) >= _LEAST_COUNT
    gains = np.zeros(enough.shape)
    gains[enough] = _entropy(whole) - _entropy(below[enough]) - _entropy(whole - below[enough])
    feature, value = divmod(int(gains.argmax()), counts.shape[1])
    return _Split(float(gains[feature, value]), feature, lowest + 1 + value, rows, counts)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Nats of all symbols under their own frequencies, counts [..., symbols]."""
    totals = counts.sum(axis=-1)
    return totals * np.log(totals) - (counts * np.log(np.maximum(counts, 1))).sum(axis=-1)
