"""What a file stores more than once. Works on parsed contents of any format."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .contents import Constant, Contents

TINY, TINY_MATRIX = 64, 16
"""Constants of fewer values are not searched for copies, since scalars and short vectors agree by chance: those of one axis
longer than 1, and those of two or more."""
UNIFORM = 1024
"""From how many values on a constant counts whose values are all the same, such as biases of zeros: below, it says nothing."""
SEARCHED = f"searched: {TINY} values or more, matrices from {TINY_MATRIX}, one value repeated from {UNIFORM:,}"
MAX_AXES = 5
"""Constants of more axes (of more than one value) are compared in their stored order only."""


@dataclass(frozen=True)
class Copy:
    """A constant whose values another storage holds already.

    `relation`: equal, reshaped (the same order, another shape) or transposed (any other order of the axes). `by`: the stored
    bytes agree, or only the values that they stand for, such as int8 against uint8 or a dequantized copy. `size` in bytes.
    """

    name: str
    original: str
    relation: Literal["equal", "reshaped", "transposed"]
    by: Literal["bytes", "values"]
    size: int

    @property
    def text(self) -> str:
        same = "" if self.by == "bytes" else " in value"
        return f"{self.name} is {self.relation}{same} to {self.original}: {self.size:,} bytes stored again"


def dequantize(constant: Constant) -> np.ndarray:
    """The float32 values that a constant stands for, in its shape: (q − zero point) · scale, per axis where it has several."""
    values = constant.values.astype(np.float32)
    if not constant.scales:
        return values
    shape = [1] * values.ndim
    if len(constant.scales) > 1:
        shape[constant.axis] = -1
    zero_points = np.array(constant.zero_points or (0,), np.float32)
    scales = np.array(constant.scales, np.float32).reshape(shape)
    return (values - (zero_points.reshape(shape) if zero_points.size > 1 else zero_points)) * scales


def copies(contents: Contents) -> list[Copy]:
    """Constants that are stored more than once: equal or transposed, by bytes or by value.

    Only constants of some size are searched (`TINY`, `TINY_MATRIX`, `UNIFORM`). Shapes alone never count. A constant that is a
    view of storage already seen is no copy.
    """
    groups: dict[int, dict[str, list[Constant]]] = {}
    for constant in contents.constants:
        if _tells(constant.values):
            groups.setdefault(constant.values.size, {}).setdefault(constant.storage, []).append(constant)
    return [copy for storages in groups.values() if len(storages) > 1 for copy in _copies_among(storages)]


def _tells(values: np.ndarray) -> bool:
    """Whether an equal constant is more than chance."""
    axes = sum(length > 1 for length in values.shape)
    if values.size < (TINY_MATRIX if axes > 1 else TINY):
        return False
    return values.size >= UNIFORM or bool((values != values.flat[0]).any())


def _copies_among(storages: Mapping[str, Sequence[Constant]]) -> Iterator[Copy]:
    """Copies among storages of as many values."""
    seen: dict[_Print, tuple[Constant, bool]] = {}
    for views in storages.values():
        prints = [(mark, view, in_order) for view in views for mark, in_order in _fingerprints(view)]
        matches = [(*seen[mark], mark, view, in_order) for mark, view, in_order in prints if mark in seen]
        if matches:
            # The plainest relation: by bytes before by value, in order before transposed.
            original, original_in_order, mark, view, in_order = min(
                matches, key=lambda match: (match[2].by != "bytes", not (match[1] and match[4]))
            )
            relation = "transposed"
            if original_in_order and in_order:
                relation = "equal" if original.values.shape == view.values.shape else "reshaped"
            yield Copy(view.name, original.name, relation, mark.by, view.values.nbytes)
        for mark, view, in_order in prints:
            seen.setdefault(mark, (view, in_order))


@dataclass(frozen=True)
class _Print:
    by: Literal["bytes", "values"]
    dtype: str
    digest: bytes


def _fingerprints(constant: Constant) -> Iterator[tuple[_Print, bool]]:
    """Digests of a constant flattened in every order of its axes, and whether that is the stored order."""
    yield from _digests("bytes", constant.values)
    if constant.scales or constant.values.dtype.kind not in "iub":
        yield from _digests("values", dequantize(constant) + np.float32(0))  # + 0: no negative zero


def _digests(by: Literal["bytes", "values"], values: np.ndarray) -> Iterator[tuple[_Print, bool]]:
    values = values.squeeze()
    axes = tuple(range(values.ndim))
    for order in itertools.permutations(axes) if values.ndim <= MAX_AXES else [axes]:
        digest = hashlib.blake2b(np.ascontiguousarray(values.transpose(order)).tobytes(), digest_size=16).digest()
        yield _Print(by, values.dtype.name, digest), order == axes
