"""The stages that a model has been through, and the models before them: what a bundle is assembled from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .records import Checked

if TYPE_CHECKING:
    from .autoencoder import TiedAutoencoder

STAGES = ("train", "prune", "cluster", "quantize")
"""The stages in their order."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model as `TiedAutoencoder.describe` and `arrays` give it, independent of the model from then on."""

    header: Mapping[str, Any] = field(repr=False)
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    @classmethod
    def of(cls, model: TiedAutoencoder) -> Snapshot:
        return cls(model.describe(), model.arrays())

    def model(self) -> TiedAutoencoder:
        from .autoencoder import TiedAutoencoder

        return TiedAutoencoder.rebuild(self.header, self.arrays)


@dataclass(frozen=True, eq=False)
class Lineage:
    """Configuration by stage, the records of all epochs, and the model at the end of each earlier stage.

    `calibration`: the ranges that quantization started from (`calibration.Calibration`).
    """

    configs: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    earlier: Mapping[str, Snapshot] = field(default_factory=dict, repr=False)
    calibration: Any = field(default=None, repr=False)

    def trained(self, stage: str, config: Checked | None, history: Sequence[Mapping[str, Any]]) -> Lineage:
        """After more training in a stage."""
        configs = self.configs if config is None else {**self.configs, stage: config}
        return replace(self, configs=configs, history=(*self.history, *history))

    def followed(self, model: TiedAutoencoder, calibration: Any = None) -> Lineage:
        """At the start of a stage that follows the one that `model` is at the end of."""
        return replace(self, earlier={**self.earlier, stage_of(model): Snapshot.of(model)}, calibration=calibration)


def stage_of(model: TiedAutoencoder) -> str:
    """The last stage that a model shows signs of."""
    if model.quantized:
        return "quantize"
    if any(kernel.clusters is not None for kernel in model.kernels):
        return "cluster"
    return "prune" if any(kernel.mask is not None for kernel in model.kernels) else "train"
