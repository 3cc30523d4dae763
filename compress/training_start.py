"""Where float training began: which start it took, and what became of it. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from tiedae.base.keys import Line, NonNegative
from tiedae.base.numbers import number
from tiedae.base.records import Record

Start = Literal["random", "pca"]
Units = Annotated[int, Meta(ge=0)]
LEAST_CLIPPED = 1e-4
"""What clipping adds to an error from which it is reported."""


class TrainingStart(Record, frozen=True):
    """`start` and `learning_rate`: those that the best of `trials` had, by its validation loss after `trial_epochs`; without
    trials the recipe's. `components`: that the layers hold at first; `clipped`: what clipping at 6 adds to PCA's squared error
    where there are too few pairs for it, as a fraction. `lowered`: what the learning rate rose to, where the validation
    loss rose with it; 0: it rose to `learning_rate`. `loss`: on validation samples before the first step, `kept`: whether no
    epoch was better. `moved`: ‖W − W₀‖ / ‖W₀‖ of each kernel. `revived`: dead units that training gave
    other weights, `dead`: those at its end, by layer where there are any.
    """

    start: Start
    learning_rate: NonNegative
    components: Units = 0
    clipped: NonNegative = 0.0
    lowered: NonNegative = 0.0
    loss: NonNegative | None = None
    trials: Mapping[Line, NonNegative] = {}
    trial_epochs: Units = 0
    kept: bool = False
    moved: tuple[NonNegative, ...] = ()
    revived: Mapping[Line, Units] = {}
    dead: Mapping[Line, Units] = {}

    @property
    def text(self) -> str:
        """In words, for the log and the report."""
        parts = [f"start {self.start}" + (f" of {self.components} components" if self.components else "")]
        if self.clipped > LEAST_CLIPPED:
            parts.append(f"clipping at 6 adds {self.clipped:.2%} to the error of PCA, for there are too few units")
        if self.trials:
            losses = ", ".join(f"{name} {number(loss)}" for name, loss in self.trials.items())
            parts.append(f"validation loss after {self.trial_epochs} of its epochs: {losses}")
        if self.loss is not None:
            parts.append(f"before training {number(self.loss)}" + (", which no epoch surpassed" if self.kept else ""))
        if self.lowered:
            parts.append(f"learning rate lowered to {number(self.lowered)}, for the validation loss rose with it")
        if self.moved:
            parts.append(f"kernels moved by {', '.join(f'{100 * each:.3g} %' for each in self.moved)} of their size")
        for what, units in (("dead units that got other weights", self.revived), ("units that are dead now", self.dead)):
            if units:
                parts.append(f"{what}: {', '.join(f'{name} {count:,}' for name, count in units.items())}")
        return "; ".join(parts)
