"""What a writer of `share` gives back: the new file, what it stores once now, and what it left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Merged:
    """A constant that no longer has storage of its own.

    `how` is one line, such as "FULLY_CONNECTED → BATCH_MATMUL on a view". `saved` in bytes of stored data, 0 where another view
    of the same storage counts them. `steps`: how far its values moved, in quantization steps, and `changed`: the share of
    integers that became others; both 0 unless `relation` is near.
    """

    name: str
    original: str
    relation: Literal["equal", "reshaped", "transposed", "near"]
    how: str
    saved: int
    steps: float = 0.0
    changed: float = 0.0


@dataclass(frozen=True)
class Kept:
    """A copy that stays stored, and in one line why."""

    name: str
    original: str
    reason: str


@dataclass(frozen=True)
class Shared:
    """The rewritten file. `external`: bytes of the files that lie beside it, by file name (external data of ONNX)."""

    data: bytes = field(repr=False)
    merged: tuple[Merged, ...]
    kept: tuple[Kept, ...]
    external: Mapping[str, bytes] = field(default_factory=dict, repr=False)
