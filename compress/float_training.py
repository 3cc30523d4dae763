"""Float training: where it starts, which learning rate it goes on with, and what follows its last epoch.

Where validation samples are, a start at PCA is tried with `FACTORS` of the recipe's learning rate, and `auto` with random
weights too: each trial is the first epochs of a whole training, and the best goes on from where it is. The start itself counts
as an epoch, the 0th, of which the best is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import structs

from . import archive
from .config import TrainConfig
from .data import Dataset
from .dead_units import dead_units
from .errors import DivergedError, RecipeError
from .files import write_atomic
from .network import TiedNetwork
from .pca_start import start_at_pca
from .rate import MOST_LSB, largest_useful_rate
from .records import checked, plain
from .symmetries import balance_code, without_unused_code
from .train import CHECKPOINT, History, Training, early, fit
from .training_start import Start, TrainingStart

FACTORS: Mapping[str, float] = {"": 1.0, " / 3": 1 / 3, " / 10": 0.1}
"""Of the learning rate, by what is behind a start's name."""
MOST_TRIED = 3
"""Epochs of a trial, a tenth of all, at most."""


def train_float(model: TiedNetwork, splits: Dataset, train: TrainConfig | Training) -> History:
    """Train a float model. Its code is then rotated so that the units are of one size, see `symmetries.balance_code`.

    With a rate it is not, and units of one value for all samples leave the model, see `symmetries.without_unused_code`. A model
    that was trained before goes on from where it is. The history's first record has the `TrainingStart` of others, but for
    random ones, as `begun`.

    Raises the errors of `fit`, and RecipeError for a rate at which no unit of the code lives.
    """
    training = Training.of(train)
    fresh = training.config.start != "random" and model.lineage.stage is None
    history = _from_start(model, splits, training) if fresh else fit(model, splits, training)
    x = training.code_inputs(splits)
    if not training.config.for_rate:
        if model.code_scale is None:
            balance_code(model, x)
        return history
    assert model.code_scale is not None
    codes = model.encoder(x).numpy().reshape(-1, model.kernels[-1].units)
    span = float(np.ptp(codes, axis=0).max()) / model.code_scale
    if span > MOST_LSB:
        got = f"{training.config.rate:g}, at which a unit of the code spans {span:.0f} LSB"
        raise RecipeError(f"train.rate: got {got}, must be higher: {MOST_LSB} LSB at most")
    smaller = without_unused_code(model, x)
    if smaller is None:
        most = f"above {largest_useful_rate(x):.2g} the first principal component of the samples is worth no bit"
        got = f"{training.config.rate:g}, at which no unit of the code lives"
        raise RecipeError(f"train.rate: got {got}, must be lower; {most}")
    model.become(smaller)
    return history


def starts(model: TiedNetwork, splits: Dataset, config: TrainConfig) -> dict[str, TrainingStart]:
    """What training may start from, by name; one without validation samples, where nothing tells the better one.

    Then `auto` takes PCA where the start is exactly that: in front of a linear output.
    """
    held = model.config.no_components
    judged = splits.validation is not None
    kinds: dict[Start, bool] = {"pca": True, "random": False}
    if config.start == "auto":
        kinds = {"pca": not held and (judged or model.config.output_activation == "linear"), "random": True}
    factors = FACTORS if judged else {"": 1.0}
    found = {
        f"pca{text}": TrainingStart("pca", config.learning_rate * factor) for text, factor in factors.items() if kinds["pca"]
    }
    if kinds["random"] and (judged or not found):
        found["random"] = TrainingStart("random", config.learning_rate)
    return found


def _from_start(model: TiedNetwork, splits: Dataset, training: Training) -> History:
    training.require_compatible(model, splits)
    with ExitStack() as stack:
        path = training.checkpoint or Path(stack.enter_context(TemporaryDirectory())) / f"checkpoint{archive.SUFFIX}"
        fresh = model.arrays()
        if path.exists():  # of an interrupted run, which has made its choice
            begun = checked(TrainingStart, archive.unpack(path, CHECKPOINT)[0]["begun"])
        else:
            begun = _chosen(model, splits, training, path)
        components = _set(model, splits, training.config.seed, begun.start, fresh)
        first = [kernel.variable.numpy() for kernel in model.kernels]
        begun = structs.replace(begun, components=components)
        history = fit(model, splits, _beginning(training, begun, path))
    last = [kernel.variable.numpy() for kernel in model.kernels]
    record = checked(TrainingStart, history[0]["begun"])
    moved = tuple(float(np.linalg.norm(b - a) / max(float(np.linalg.norm(a)), 1e-30)) for a, b in zip(first, last, strict=True))
    dead = {name: len(units) for name, units in dead_units(model, training.hidden_inputs(splits)).items()}
    history[0] = {**history[0], "begun": plain(structs.replace(record, moved=moved, dead=dead))}
    return history


def _set(model: TiedNetwork, splits: Dataset, seed: int, start: Start, fresh: Mapping[str, np.ndarray]) -> int:
    """Give a model its variables before the first step; returns the number of components."""
    model.restore(dict(fresh))
    return start_at_pca(model, splits, seed) if start == "pca" else 0


def _beginning(training: Training, begun: TrainingStart, path: Path) -> Training:
    config = structs.replace(training.config, learning_rate=begun.learning_rate)
    return replace(training, config=config, begun=begun, checkpoint=path)


def _chosen(model: TiedNetwork, splits: Dataset, training: Training, path: Path) -> TrainingStart:
    """The start of the best trial, whose state is left at `path`; without trials the only one, and nothing there."""
    found = starts(model, splits, training.config)
    if len(found) == 1:
        return next(iter(found.values()))
    epochs, fresh = min(MOST_TRIED, early(training.config)), model.arrays()
    losses: dict[str, float] = {}
    files = {name: path.with_name(f"{path.stem}-trial-{i}{path.suffix}") for i, name in enumerate(found)}
    diverged: DivergedError | None = None
    for name, begun in found.items():
        components = _set(model, splits, training.config.seed, begun.start, fresh)
        trial = _beginning(training, structs.replace(begun, components=components), files[name])
        try:
            history = fit(model, splits, replace(trial, epochs=epochs, label=f"trial {name}", after_epoch=None))
        except DivergedError as error:
            diverged = error
        else:
            losses[name] = history[-1]["validation_loss"]
    if not losses:
        assert diverged is not None
        raise diverged
    best = min(losses, key=losses.__getitem__)
    header, arrays = archive.unpack(files[best], CHECKPOINT)
    begun = structs.replace(checked(TrainingStart, header["begun"]), trials=losses, trial_epochs=epochs)
    write_atomic(path, archive.pack(header | {"begun": plain(begun)}, arrays), follow=False)
    for file in files.values():
        file.unlink(missing_ok=True)
    model.restore(dict(fresh))
    return begun
