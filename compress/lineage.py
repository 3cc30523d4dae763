"""The stages that a model has been through, and the models before them: what a bundle is assembled from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tiedae.base.records import Checked
from tiedae.config.model_config import ModelConfig

from .imports.origin import ImportOrigin

STAGES = ("train", "prune", "cluster", "quantize")
"""The stages in their order."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model as `TiedAutoencoder.describe` and `arrays` give it, independent of the model from then on."""

    header: Mapping[str, Any] = field(repr=False)
    arrays: Mapping[str, np.ndarray] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Lineage:
    """Configuration by stage, the records of all epochs, and the model at the end of each earlier stage.

    `stage`: the last one; None if the model comes from an archive, or no stage of ours has trained it. `calibration`: the
    ranges that quantization started from (`calibration.Calibration`). `model`: as its training began, where units left since.
    `origin`: where its weights are from, if somebody else trained them. `untied`: the one that was
    tied (`UntiedAutoencoder`).
    """

    stage: str | None = None
    configs: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    earlier: Mapping[str, Snapshot] = field(default_factory=dict, repr=False)
    calibration: Any = field(default=None, repr=False)
    model: ModelConfig | None = None
    origin: ImportOrigin | None = None
    untied: Any = field(default=None, repr=False)

    def trained(self, stage: str, config: Checked | None, history: Sequence[Mapping[str, Any]]) -> Lineage:
        """After more training in a stage."""
        configs = self.configs if config is None else {**self.configs, stage: config}
        return replace(self, stage=stage, configs=configs, history=(*self.history, *history))

    def followed(self, stage: str, model: Snapshot, calibration: Any = None) -> Lineage:
        """At the start of a stage that follows `stage`, at whose end `model` is."""
        return replace(self, earlier={**self.earlier, stage: model}, calibration=calibration)
