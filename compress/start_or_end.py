"""What quantization-aware training kept: the model that it started from, or the one that it ended with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .records import Record

Cost = Annotated[float, Meta(ge=0)]


class StartOrEnd(Record, frozen=True):
    """The cost of both, by `train.held_out_cost` over samples of `split`. The start is that of post-training quantization."""

    start: Cost
    end: Cost
    split: Literal["validation", "training"]

    @property
    def is_start(self) -> bool:
        """Whether the start was kept, which is better by more than nothing."""
        return self.start < self.end

    @property
    def text(self) -> str:
        """One line: what was kept, and why."""
        kept = "post-training quantization" if self.is_start else "quantization-aware training"
        text = f"kept the model of {kept}: loss on {self.split} samples {self.start:.5g} before training, {self.end:.5g} after"
        return text if self.split == "validation" else f"{text}; samples that were trained on, since [data] validation is 0"
