"""When a trial is hopeless: an estimate that flatters it is still worse than what is there already.

Optuna's pruners judge one objective; here a small model may be worse and still be wanted. So a trial only competes with
finished ones that take no more bytes than its own kernels, and with the limit of the error. Only float training is judged:
what pruning and quantization will cost is not known before, so nothing is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .constraints import SearchLimits
from .trial import Outcome

WITNESSES = 3
"""So many finished trials have to be there before one is judged by them."""
GRACE = 0.25
"""The fraction of the float epochs that every trial gets."""
FLATTERY = 0.97
"""What is taken off the estimate, so that a trial is not stopped for a hair's breadth."""


@dataclass(frozen=True)
class Judge:
    """Judges a trial of at least `least_bytes` by its float training and by the trials that are finished.

    `float_error` and `float_losses`, by epoch, are those of the recipe's own float model.
    """

    finished: Sequence[Outcome]
    least_bytes: int
    counted: str
    limits: SearchLimits
    float_error: float
    float_losses: Sequence[float]

    def estimate(self, epoch: int, loss: float) -> float:
        """The error at the end if float training gains as much from here on as the one that gained most, and what follows too.

        What follows costs nothing at worst. `loss` is the validation loss after `epoch`, from 1; the error is taken to be
        proportional to it, which it is for `mse`. 0 without witnesses.
        """
        finished = [(trial.error, trial.losses["train"]) for trial in self.finished if trial.error and trial.losses]
        if len(finished) < WITNESSES:
            return 0.0
        curves = [self.float_losses, *(losses for _, losses in finished)]
        gain = min(min(losses) / losses[epoch - 1] for losses in curves if len(losses) >= epoch)
        unit = self.float_error / min(self.float_losses)
        after = min(error / (unit * min(losses)) for error, losses in finished)
        return FLATTERY * unit * loss * gain * min(1.0, after)

    def verdict(self, epoch: int, epochs: int, loss: float) -> str:
        """Why the trial is hopeless after `epoch` of `epochs` of float training, or nothing."""
        if epoch < math.ceil(GRACE * epochs):
            return ""
        estimate = self.estimate(epoch, loss)
        at_best = f"epoch {epoch}: error {estimate:.4g} at best"
        for trial in self.finished:
            size = trial.size(self.counted)
            if trial.error is not None and size is not None and size <= self.least_bytes and trial.error <= estimate:
                return f"{at_best}; trial {trial.number} has {trial.error:.4g} in less"
        allowed = self.float_error * (1 + self.limits.error_increase)
        if estimate > allowed and any(self._meets(trial) for trial in self.finished):
            return f"{at_best}; {allowed:.4g} is allowed, which others meet"
        return ""

    def _meets(self, trial: Outcome) -> bool:
        size = trial.size(self.counted)
        if size is None or trial.error is None:
            return False
        return max(self.limits.excess(size, trial.error / self.float_error - 1, trial.latency_us).values()) <= 0
