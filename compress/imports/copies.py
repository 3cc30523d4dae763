"""Pairs of equal copies as one kernel: what an exporter that folds constants makes of a tied decoder.

    tied in PyTorch                           its .onnx file
    h = F.linear(x, W)                        W: [64, 784]    ─ Gemm ─→ h
    y = F.linear(h, W.t())                    Wᵀ: [784, 64]   ─ Gemm ─→ y      a second constant, of equal values

Both halves compute what they did if they share the first, so no training is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .chain import ChainProduct


def merged_decoder(encoder: Sequence[ChainProduct], decoder: Sequence[ChainProduct]) -> tuple[ChainProduct, ...] | None:
    """The decoder's products, in forward order, over the kernels of the encoder; None where a pair differs in a bit.

    The kernels of a pair are in memory at a time; InputError for one that cannot be read.
    """
    pairs = list(zip(reversed(encoder), decoder, strict=True))
    return tuple(_over(*pair) for pair in pairs) if all(_equal(*pair) for pair in pairs) else None


def _equal(encoder: ChainProduct, decoder: ChainProduct) -> bool:
    """Whether two products have one kernel, or equal ones."""
    if encoder.kernel.variable == decoder.kernel.variable and encoder.transposed != decoder.transposed:
        return True
    return encoder.kernel.dtype == decoder.kernel.dtype and np.array_equal(encoder.matrix(), decoder.matrix().T)


def _over(encoder: ChainProduct, decoder: ChainProduct) -> ChainProduct:
    return replace(decoder, kernel=encoder.kernel, mask=encoder.mask, transposed=not encoder.transposed)
