"""Range estimators: what they see, batch by batch, becomes the range that a tensor is quantized over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Observer(Protocol):
    """Sees arrays of any shape, gives (low, high). Its memory does not grow with what it sees."""

    def update(self, values: np.ndarray) -> None: ...

    def range(self) -> tuple[float, float]: ...


@dataclass
class MinMax:
    """The extremes of everything seen (Jacob et al. 2018, post-training)."""

    low: float = np.inf
    high: float = -np.inf

    def update(self, values: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def range(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass
class MovingAverage:
    """The moving average of each batch's extremes (Jacob et al. 2018, training); the first batch starts it."""

    decay: float = 0.9
    low: float | None = None
    high: float | None = None

    def update(self, values: np.ndarray) -> None:
        low, high = float(values.min()), float(values.max())
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        else:
            self.low += (1 - self.decay) * (low - self.low)
            self.high += (1 - self.decay) * (high - self.high)

    def range(self) -> tuple[float, float]:
        return (np.inf, -np.inf) if self.low is None or self.high is None else (self.low, self.high)


OBSERVERS: Mapping[str, Callable[[], Observer]] = {"minmax": MinMax, "moving-average": MovingAverage}
