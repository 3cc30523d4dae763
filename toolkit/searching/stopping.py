"""When a trial is hopeless: an estimate that flatters it is still worse than what is there already.

Optuna's pruners judge one objective; here a small model may be worse and still be wanted. So a trial only competes with
finished ones that take no more bytes than its own kernels, and with the limit of the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .limits import Limits
from .trial import Outcome

WITNESSES = 3
"""So many finished trials have to be there before one is judged by them."""
GRACE = 0.25
"""The share of the float epochs that every trial gets."""
FLATTERY = 0.97
"""What is taken off the estimate, so that a trial is not stopped for a hair's breadth."""


@dataclass(frozen=True)
class Judge:
    """Judges a trial of at least `least_bytes` after an epoch, by the trials that are finished."""

    finished: Sequence[Outcome]
    least_bytes: int
    counted: str
    limits: Limits
    float_error: float

    def estimate(self, stage: str, epoch: int, loss: float) -> float:
        """The error at the end if this trial gains as much from here on as the one that gained most; 0 without witnesses."""
        ratios = [
            trial.error / trial.losses[stage][epoch - 1]
            for trial in self.finished
            if trial.error and trial.losses and len(trial.losses.get(stage, ())) >= epoch
        ]
        return FLATTERY * loss * min(ratios) if len(ratios) >= WITNESSES else 0.0

    def verdict(self, stage: str, epoch: int, epochs: int, loss: float) -> str:
        """Why the trial is hopeless, or nothing."""
        if stage == "train" and epoch < math.ceil(GRACE * epochs):
            return ""
        estimate = self.estimate(stage, epoch, loss)
        for trial in self.finished:
            size = trial.size(self.counted)
            if trial.error is not None and size is not None and size <= self.least_bytes and trial.error <= estimate:
                return (
                    f"{stage} epoch {epoch}: error {estimate:.4g} at best; trial {trial.number} has {trial.error:.4g} in less"
                )
        allowed = self.float_error * (1 + self.limits.error_increase)
        if estimate > allowed and any(self._meets(trial) for trial in self.finished):
            return f"{stage} epoch {epoch}: error {estimate:.4g} at best; {allowed:.4g} is allowed, which others meet"
        return ""

    def _meets(self, trial: Outcome) -> bool:
        size = trial.size(self.counted)
        if size is None or trial.error is None:
            return False
        return max(self.limits.excess(size, trial.error / self.float_error - 1, trial.latency_us).values()) <= 0
