"""Early stopping of trials: stop a trial when even its optimistic error estimate is dominated.

Optuna's pruners handle one objective, but a smaller model may have a larger error and still be on the front. So a trial is
compared only with finished trials of no more bytes than its kernels, and with the error limit. Only float training is
judged, because the cost of pruning and quantization is not known before. Where bits count, nothing is stopped: a larger error
may cost fewer bits, and a loss with a rate is not proportional to the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .constraints import SearchLimits
from .trial import Outcome

MIN_TRIALS = 3
"""Minimum number of finished trials for an estimate."""
GRACE = 0.25
"""Fraction of the float epochs before a trial may stop."""
OPTIMISM = 0.97
"""Factor on the estimate: a margin against stopping close trials."""


@dataclass(frozen=True)
class EarlyStopping:
    """Decides on a trial of at least `min_bytes` by its float training and the finished trials.

    `float_error`, `float_losses` by epoch: of the recipe's float model.
    """

    finished: Sequence[Outcome]
    min_bytes: int
    counted: str
    limits: SearchLimits
    float_error: float
    float_losses: Sequence[float]

    def estimate(self, epoch: int, loss: float) -> float:
        """The final error if float training and the later stages improve as much as in the best finished trial.

        The later stages are assumed not to increase the error. `loss`: validation loss after `epoch`, from 1, assumed
        proportional to the error, as `mse` is. 0 with fewer than `MIN_TRIALS` finished trials.
        """
        finished = [(trial.error, trial.losses["train"]) for trial in self.finished if trial.error and trial.losses]
        if len(finished) < MIN_TRIALS:
            return 0.0
        curves = [self.float_losses, *(losses for _, losses in finished)]
        gain = min(min(losses) / losses[epoch - 1] for losses in curves if len(losses) >= epoch)
        unit = self.float_error / min(self.float_losses)
        after = min(error / (unit * min(losses)) for error, losses in finished)
        return OPTIMISM * unit * loss * gain * min(1.0, after)

    def stop_reason(self, epoch: int, epochs: int, loss: float) -> str:
        """The reason to stop the trial after `epoch` of `epochs` of float training; empty to continue."""
        if epoch < math.ceil(GRACE * epochs):
            return ""
        estimate = self.estimate(epoch, loss)
        at_best = f"epoch {epoch}: error {estimate:.4g} at best"
        for trial in self.finished:
            size = trial.size(self.counted)
            if trial.error is not None and size is not None and size <= self.min_bytes and trial.error <= estimate:
                return f"{at_best}; trial {trial.number} has {trial.error:.4g} in fewer bytes"
        allowed = self.float_error * (1 + self.limits.error_increase)
        if estimate > allowed and any(self._meets(trial) for trial in self.finished):
            return f"{at_best}; above the limit of {allowed:.4g}, which other trials meet"
        return ""

    def _meets(self, trial: Outcome) -> bool:
        size = trial.size(self.counted)
        if size is None or trial.error is None:
            return False
        return max(self.limits.excess(size, trial.error / self.float_error - 1, trial.latency_us, trial.bits).values()) <= 0
