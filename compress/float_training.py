"""Float training: where it starts, its learning rate, and what follows its last epoch.

Where validation samples are, a start at PCA is tried with `FACTORS` of the recipe's learning rate, and `auto` with random
weights too: each trial is the first epochs of a whole training, and the best continues. The start itself counts
as an epoch, the 0th, of which the best is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import structs

from tiedae.base import archive
from tiedae.base.errors import DivergedError, RecipeError
from tiedae.base.files import write_atomic
from tiedae.base.records import checked, plain, require
from tiedae.config.config import TrainConfig
from tiedae.data.dataset import Dataset, choose

from .dead_units import dead_units
from .network import TiedNetwork
from .pca_start import start_at_pca
from .rate import MOST_LSB, largest_useful_rate
from .symmetries import balance_code, centre_code, join_ranges, narrow_code, without_unused_code
from .train import CHECKPOINT, CODE_SAMPLES, History, Training, early, fit
from .training_start import Start, TrainingStart

FACTORS: Mapping[str, float] = {"": 1.0, " / 3": 1 / 3, " / 10": 0.1}
"""Of the learning rate, by what is behind a start's name."""
UNSEEN = 0.8
"""Of a byte, what a code that is narrowed takes for the samples looked at: others reach further."""
MOST_TRIED = 3
"""Epochs of a trial, a tenth of all, at most."""


def train_float(model: TiedNetwork, splits: Dataset, train: TrainConfig | Training) -> History:
    """Train a float model. Its code is then rotated so that the units are of one size, see `symmetries.balance_code`.

    With a rate it is not, and units of one value for all samples leave the model, see `symmetries.without_unused_code`. A model
    that was trained before continues, whatever `start` says. The history's first record has the
    `TrainingStart`, unless `start` is random, as `begun`.

    Raises the errors of `fit`, and RecipeError for a rate at which no unit of the code lives, and for a start at PCA of a model
    whose weights were given.
    """
    training = Training.of(train)
    training.require_compatible(model, splits)
    history = _from_start(model, splits, training) if _chooses(model, training.config) else fit(model, splits, training)
    x = training.code_inputs(splits)
    if not training.config.for_rate:
        if model.code_scale is None:
            balance_code(model, x)
        return history
    assert model.code_scale is not None
    if _span(model, x) > MOST_LSB:
        narrow_code(model, x, UNSEEN * MOST_LSB * model.code_scale)
        centre_code(model, x, model.code_scale)
        join_ranges(model, x, model.code_scale)
    if (span := _span(model, x)) > MOST_LSB:
        got = f"{training.config.rate:g}, at which the code spans {span:.0f} LSB"
        raise RecipeError(f"train.rate: got {got}, must be higher: {MOST_LSB} LSB at most")
    smaller = without_unused_code(model, x)
    if smaller is None:
        most = f"above {largest_useful_rate(x):.2g} the first principal component of the samples is worth no bit"
        got = f"{training.config.rate:g}, at which no unit of the code lives"
        raise RecipeError(f"train.rate: got {got}, must be lower; {most}")
    model.become(smaller)
    return history


def _span(model: TiedNetwork, x: np.ndarray) -> float:
    """The range of a code, of all units and 0, in its steps."""
    codes = model.encoder(x).numpy()
    return (max(float(codes.max()), 0.0) - min(float(codes.min()), 0.0)) / (model.code_scale or 1.0)


def candidates(model: TiedNetwork, splits: Dataset, config: TrainConfig) -> dict[str, TrainingStart]:
    """What training may start from, by name; one without validation samples, where nothing tells the better one.

    Then `auto` takes PCA where the start is exactly that.
    """
    judged = splits.validation is not None
    kinds: dict[Start, bool] = {"pca": True, "random": False}
    if config.start == "auto":
        kinds = {"pca": not model.config.no_components if judged else model.config.starts_as_pca, "random": True}
    factors = FACTORS if judged else {"": 1.0}
    found = {
        f"pca{text}": TrainingStart("pca", config.learning_rate * factor) for text, factor in factors.items() if kinds["pca"]
    }
    if kinds["random"] and (judged or not found):
        found["random"] = TrainingStart("random", config.learning_rate)
    return found


def _chooses(model: TiedNetwork, config: TrainConfig) -> bool:
    """Whether a start is to be chosen: for weights that are as new."""
    if config.start == "random" or model.lineage.stage is not None:
        return False
    new, own = type(model)(model.config, seed=model.seed).arrays(), model.arrays()
    given = any(not np.array_equal(own[name], values) for name, values in new.items())
    require(not (given and config.start == "pca"), "train.start", "pca", "random: the model's weights are given")
    return not given


def _from_start(model: TiedNetwork, splits: Dataset, training: Training) -> History:
    new, found = _New(model, splits, training.config.seed), candidates(model, splits, training.config)
    if not training.config.epochs:
        new.start(next(iter(found.values())))
        return fit(model, splits, training)
    with ExitStack() as stack:
        path = training.checkpoint
        begun = None if path is None else _begun(path)  # of an interrupted run, which has made its choice
        if begun is None and len(found) == 1:
            begun = next(iter(found.values()))
        if begun is None:
            path = path or Path(stack.enter_context(TemporaryDirectory())) / f"checkpoint{archive.SUFFIX}"
            begun = _chosen(model, new, splits, training, found, path)
        for file in () if path is None else _trial_files(path):
            file.unlink(missing_ok=True)
        begun = new.start(begun)
        first = [kernel.variable.numpy() for kernel in model.kernels]
        clipped = _clipped(model, splits, training.config.seed) if begun.components else 0.0
        history = fit(model, splits, replace(training, begun=begun, resumed=path))
    last = [kernel.variable.numpy() for kernel in model.kernels]
    record = checked(TrainingStart, history[0]["begun"])
    moved = tuple(float(np.linalg.norm(b - a) / max(float(np.linalg.norm(a)), 1e-30)) for a, b in zip(first, last, strict=True))
    dead = {name: len(units) for name, units in dead_units(model, training.hidden_inputs(splits)).items()}
    return [{**history[0], "begun": plain(structs.replace(record, moved=moved, dead=dead, clipped=clipped))}, *history[1:]]


def _clipped(model: TiedNetwork, splits: Dataset, seed: int) -> float:
    """What clipping at 6 adds to the squared error of wanted training samples, as a fraction of what relu leaves."""
    config, wanted = model.config, splits.train.wanted
    layers = [structs.replace(layer, activation="relu") if layer.activation == "relu6" else layer for layer in config.layers]
    if tuple(layers) == config.layers:
        return 0.0
    x = wanted.scaling.apply(wanted.take(choose(wanted, CODE_SAMPLES, seed)))
    free = type(model)(structs.replace(config, layers=tuple(layers)), seed=model.seed)
    free.restore(model.arrays())
    ours, least = (float(np.square(each(x).numpy().astype(np.float64) - x).sum()) for each in (model, free))
    return max(0.0, ours / max(least, 1e-30) - 1)


def _begun(path: Path) -> TrainingStart | None:
    """What a checkpoint's training began with; None where there is none, or one of another stage or kind."""
    if not path.exists():
        return None
    header, _ = archive.unpack(path, CHECKPOINT)
    begun = header.get("begun") if header["stage"] == "train" else None
    return None if begun is None else checked(TrainingStart, begun)


def _trial_files(path: Path) -> list[Path]:
    """Beside a checkpoint: one for each trial that there may be."""
    return [path.with_name(f"{path.stem}-trial-{i}{path.suffix}") for i in range(len(FACTORS) + 1)]


class _New:
    """A model as it was before training, and as PCA, which is made when it is first asked for."""

    def __init__(self, model: TiedNetwork, splits: Dataset, seed: int) -> None:
        self.model, self.splits, self.seed = model, splits, seed
        self.arrays, self.code_scale = model.arrays(), model.code_scale

    def start(self, begun: TrainingStart) -> TrainingStart:
        """Give the model its variables before the first step; returns the start with its number of components."""
        self.model.code_scale = self.code_scale
        components, arrays = self.pca if begun.start == "pca" else (0, self.arrays)
        self.model.restore(arrays)
        return structs.replace(begun, components=components)

    @cached_property
    def pca(self) -> tuple[int, dict[str, np.ndarray]]:
        self.model.restore(self.arrays)
        return start_at_pca(self.model, self.splits, self.seed), self.model.arrays()


def _chosen(
    model: TiedNetwork,
    new: _New,
    splits: Dataset,
    training: Training,
    found: Mapping[str, TrainingStart],
    path: Path,
) -> TrainingStart:
    """The start of the best trial, whose state is left at `path`."""
    epochs = min(MOST_TRIED, early(training.config))
    losses: dict[str, float] = {}
    files = dict(zip(found, _trial_files(path), strict=False))
    diverged: DivergedError | None = None
    for name, begun in found.items():
        trial = replace(training, begun=new.start(begun), checkpoint=files[name], epochs=epochs, label=f"try {name}")
        alone = structs.replace(training.config, patience=0)
        try:
            history = fit(model, splits, replace(trial, config=alone, after_epoch=None))
        except DivergedError as error:
            diverged = error
        else:
            losses[name] = history[-1]["validation_loss"]
    if not losses:
        assert diverged is not None
        for file in files.values():
            file.unlink(missing_ok=True)
        raise diverged
    header, arrays = archive.unpack(files[min(losses, key=losses.__getitem__)], CHECKPOINT)
    begun = structs.replace(checked(TrainingStart, header["begun"]), trials=losses, trial_epochs=epochs)
    header["begun"] = header["history"][0]["begun"] = plain(begun)
    write_atomic(path, archive.pack(header, arrays), follow=False)
    if training.after_epoch is not None:
        for record in header["history"]:
            training.after_epoch(record)
    return begun
