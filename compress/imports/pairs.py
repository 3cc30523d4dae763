"""What of a model is tied: its kernels in pairs that mirror each other, and what the model proves of each pair.

    Dense 784 → 128   Dense 128 → 32   Dense 32 → 128   Dense 128 → 784
          └─────────────────└───── pair ─────┘───── pair ──────┘

A pair is tied where both layers use one variable, whatever its values are. Two variables are compared by their values, and no
similarity makes them one: trained apart, the mirrored kernels of a public model have a cosine of 0.825.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tiedae.base.errors import InputError

from .chain import Chain, ChainLayer, ChainProduct, Refused
from .convolutions import as_transpose

Status = Literal["tied", "assumed", "equal copy", "near", "untied", "unknown"]

NEAR = 0.1
"""Relative distance of two kernels that are near, at most: ‖E − Dᵀ‖ / the larger norm."""
TILE = 256
"""Rows and columns of a kernel that are compared at a time, in float64."""

TIES: tuple[Status, ...] = ("tied", "assumed")
"""The statuses of a pair that uses one kernel twice: proven, or assumed."""


@dataclass(frozen=True)
class Pair:
    """Two layers whose kernels mirror each other, by title, and what is known of them; `shape`: the encoder's [inputs, units].

    `distance`: relative, `cosine`: of the encoder's kernel and the decoder's transposed; None where no values were compared.
    """

    encoder: str
    decoder: str
    status: Status
    shape: tuple[int, ...] = ()
    distance: float | None = None
    cosine: float | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """The pair in one line."""
        titles = self.encoder if self.encoder == self.decoder else f"{self.encoder} and {self.decoder}"
        sizes = f", {'×'.join(map(str, self.shape))}" if self.shape else ""
        details = {"near": f" (distance {self.distance})", "untied": f" (cosine {self.cosine})"}.get(self.status, "")
        return f"{titles}{sizes}: {self.status}{details}{f': {self.reason}' if self.reason else ''}"


REASONS: dict[Status, str] = {
    "tied": "one variable",
    "assumed": "by its place and its arrays; the code of {decoder} is not read",
    "equal copy": "equal now, two variables: training changes one",
}


def pairs(chain: Chain) -> tuple[Pair, ...]:
    """Each pair of kernels that mirror each other, from the outside in; empty where there are none, as in a classifier.

    A chain that is not `whole` has none.

    The values of two kernels are in memory at a time, none of those that are tied. A layer of the model's own class that is no
    product and has kernels is unknown, with the layer that it mirrors.
    """
    return tuple(_pairs([layer for layer in chain.layers if _has_kernel(layer)])) if chain.whole else ()


def _has_kernel(layer: ChainLayer) -> bool:
    if isinstance(layer, Refused):
        return layer.custom and any(len(array.shape) > 1 for array in layer.weights.values())
    return isinstance(layer, ChainProduct)


def _pairs(layers: list[ChainLayer]) -> Iterator[Pair]:
    compared: dict[object, Pair] = {}
    for i in range((len(layers) + 1) // 2):
        encoder, decoder = layers[i], layers[-1 - i]
        if isinstance(encoder, ChainProduct) and isinstance(decoder, ChainProduct):
            decoder = decoder if encoder is decoder else as_transpose(decoder)
            if encoder is not decoder and decoder.mirrors(encoder):
                kernels = (
                    *((each.kernel.variable, each.transposed, each.tie, each.mask) for each in (encoder, decoder)),
                    decoder.class_name,
                )
                if kernels not in compared:
                    compared[kernels] = _compared(encoder, decoder)
                yield replace(compared[kernels], encoder=encoder.title, decoder=decoder.title)
        else:
            unread = decoder if isinstance(decoder, Refused) else encoder
            yield Pair(encoder.title, decoder.title, "unknown", reason=f"the code of {unread.class_name} is not read")


def _compared(encoder: ChainProduct, decoder: ChainProduct) -> Pair:
    titles = encoder.title, decoder.title
    same = encoder.kernel.variable == decoder.kernel.variable and encoder.mask == decoder.mask
    if same and encoder.transposed != decoder.transposed:
        status: Status = "tied" if {encoder.tie, decoder.tie} == {"stored"} else "assumed"
        return Pair(*titles, status, encoder.widths, reason=REASONS[status].format(decoder=decoder.class_name))
    try:
        distance, cosine = _similarity(encoder.matrix(), decoder.matrix().T)
    except InputError as error:
        return Pair(*titles, "unknown", encoder.widths, reason=str(error))
    status = "equal copy" if distance == 0 else "near" if distance <= NEAR else "untied"
    rounded = float(f"{distance:.3g}"), float(f"{cosine:.3g}")
    return Pair(*titles, status, encoder.widths, *rounded, reason=REASONS.get(status, ""))


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Relative distance and cosine of two matrices [n, m]: of two zero matrices 0 and 1, of a zero one and another 1 and 0."""
    sums = np.zeros(4)
    for row, column in itertools.product(*(range(0, size, TILE) for size in a.shape)):
        tile = slice(row, row + TILE), slice(column, column + TILE)
        x, y = (np.ascontiguousarray(matrix[tile]).astype(np.float64) for matrix in (a, b))
        difference = x - y
        factors = ((x, x), (y, y), (x, y), (difference, difference))
        sums += [np.einsum("ij,ij", *each) for each in factors]  # BLAS is slower: its threads wait for each other in each tile
    if sums[3] == 0:
        return 0.0, 1.0
    norms = np.sqrt(sums[:2])
    return float(np.sqrt(sums[3]) / norms.max()), float(sums[2] / (norms.prod() or 1))
