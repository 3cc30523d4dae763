"""Another coder at the bytes of our file: its error between two real files whose sizes lie around ours.

Neighbouring settings rarely give a file of exactly our bytes. Between two of them the logarithm of the error is taken as linear
in the bytes: at high rates it is (Gersho & Gray, "Vector Quantization and Signal Compression", 1992, chapter 9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_APART = 0.1
"""The larger file of a pair has at most this fraction more bytes than the smaller one."""


@dataclass(frozen=True, eq=False)
class CodedFile:
    """A file of `size` bytes, and what it decodes to, [n, inputs] in the data's unit of measure; `errors`: that of
    each sample by a `SampleError`, float64 [n]."""

    size: int
    decoded: np.ndarray
    errors: np.ndarray
    setting: str = ""

    @property
    def error(self) -> float:
        return float(self.errors.mean())


@dataclass(frozen=True, eq=False)
class Around:
    """The files of two neighbouring settings, one of at most `size` bytes and one of more; None where no setting has one."""

    size: int
    smaller: CodedFile | None
    larger: CodedFile | None

    @property
    def files(self) -> list[CodedFile]:
        return [file for file in (self.smaller, self.larger) if file is not None]

    @property
    def problem(self) -> str:
        """Why no error follows at `size` bytes; empty if one does."""
        if self.smaller is not None and self.larger is not None:
            sizes = f"{self.smaller.size:,} and {self.larger.size:,}"
            near = self.larger.size <= (1 + MOST_APART) * self.smaller.size
            return "" if near else f"its files around our {self.size:,} bytes have {sizes}, more than 10 % apart"
        (file,) = self.files
        which = "largest" if self.larger is None else "smallest"
        return f"its {which} file has {file.size:,} bytes, ours {self.size:,}"

    def errors(self) -> np.ndarray:
        """The error of each sample at `size` bytes, float64 [n]: a mixture of both files' whose mean lies between
        theirs as the logarithm says. Only where there is no `problem`."""
        assert self.smaller is not None and self.larger is not None
        at = (self.size - self.smaller.size) / max(1, self.larger.size - self.smaller.size)
        a, b = self.smaller.error, self.larger.error
        if min(a, b) > 0 and a != b:
            at = (a ** (1 - at) * b**at - a) / (b - a)
        return (1 - at) * self.smaller.errors + at * self.larger.errors


def around(code: Callable[[int], CodedFile], size: int, *, start: int, least: int, most: int) -> Around:
    """The files of two neighbouring settings around `size` bytes, by doubling strides from `start`, then by bisection.

    `code`: the file of a setting in `least`…`most`; a larger setting has a larger file.
    """
    upwards, stride = code(start).size <= size, 1
    inside = outside = start
    while (code(outside).size <= size) == upwards:
        inside = outside
        outside = min(max(inside + (stride if upwards else -stride), least), most)
        if outside == inside:
            return Around(size, code(inside), None) if upwards else Around(size, None, code(inside))
        stride *= 2
    low, high = sorted((inside, outside))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if code(middle).size <= size else (low, middle)
    return Around(size, code(low), code(high))
