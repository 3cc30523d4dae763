"""Residuals as tokens and extra bits: large ones of the same leading bits share a token. docs/reference/format.md, "Tokens".

After J. Alakuijala et al., "JPEG XL next-generation image compression architecture" (2019): hybrid integers.
"""

from __future__ import annotations

import numpy as np

BITS = 8
"""Of a token."""
ZERO = 128
"""The token of residual 0. Tokens are in the order of their residuals."""
LARGEST = (1 << 16) - 1
"""The largest magnitude of a residual."""
_LEAST = np.array([*range(32), *(1 << e | m << e - 3 for e in range(5, 16) for m in range(8))])
"""The least magnitude of each class. Of 32 and more, eight classes share an octave."""
_EXTRA = np.array([0] * 32 + [e - 3 for e in range(5, 16) for _ in range(8)])
"""Bits that tell a class's magnitudes apart."""


def tokens_of(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, numbers of extra bits and extra bits, int64, of residuals in −65,535…65,535."""
    magnitudes = np.abs(residuals)
    classes = np.searchsorted(_LEAST, magnitudes, side="right") - 1
    return ZERO + np.sign(residuals) * classes, _EXTRA[classes], magnitudes - _LEAST[classes]


def is_token(numbers: np.ndarray) -> np.ndarray:
    """Whether numbers are tokens: 9…247."""
    return np.abs(numbers - ZERO) < len(_LEAST)


def extra_bits(tokens: np.ndarray) -> np.ndarray:
    """How many extra bits follow each token, 0…12."""
    return _EXTRA[np.abs(tokens - ZERO)]


def residuals_of(tokens: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """The inverse of `tokens_of`, int64."""
    return np.sign(tokens - ZERO) * (_LEAST[np.abs(tokens - ZERO)] + extra)
