"""Magnitude pruning on the one mask of each kernel, with tensorflow-model-optimization's schedules and mask arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from .autoencoder import TiedAutoencoder
from .config import PruneConfig, TrainConfig, fine_tuning
from .data import Splits
from .distillation import teacher_of
from .errors import InputError
from .kernel import TiedKernel
from .train import AfterEpoch, History, Progress, fit

UPDATES = 20
"""How many times a polynomial ramp raises the sparsity."""


def prune(
    model: TiedAutoencoder,
    splits: Splits,
    config: PruneConfig,
    train: TrainConfig,
    *,
    teacher: TiedAutoencoder | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    after_epoch: AfterEpoch | None = None,
) -> History:
    """Ramp the masks of `model` up to `config.sparsity` while fine-tuning, then fine-tune with them held.

    Zeros of the final mask are exactly zero in the variables, and stay so in every later stage. A mask position may come
    back while the ramp runs, where others have become smaller. `teacher` is the uncompressed model, for `config.distill`.
    """
    from tensorflow_model_optimization.sparsity import keras as sparsity

    for kernel in model.kernels:
        if kernel.clusters is not None:
            raise InputError(f"{kernel.name} is clustered; prune before clustering")
    steps = -(-len(splits.train) // train.batch_size)
    end = min(int(steps * config.epochs * config.ramp), steps * config.epochs - 1)
    if config.schedule == "polynomial" and end >= 1:
        settled, frequency = end // steps, max(1, end // UPDATES)
        schedule = sparsity.PolynomialDecay(0.0, config.sparsity, 0, end - end % frequency, frequency=frequency)
    else:
        settled, schedule = 0, sparsity.ConstantSparsity(config.sparsity, 0, 0, frequency=1)
    update = {"layer": prune_layerwise, "global": prune_globally}[config.scope]

    def before_step(step: int) -> None:
        due, share = schedule(tf.constant(step, tf.int64))
        if bool(due):
            update(model.kernels, float(share))

    return fit(
        model,
        splits,
        fine_tuning(train, config),
        stage="prune",
        teacher=teacher_of(config, model, teacher),
        checkpoint=checkpoint,
        progress=progress,
        before_step=before_step,
        after_epoch=after_epoch,
        settled_epochs=settled,
    )


def prune_layerwise(kernels: list[TiedKernel], share: float) -> None:
    """Mask the smallest magnitudes of each kernel, `share` of its values."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    pruning = pruning_impl.Pruning(lambda: 0, [], lambda _step: (True, tf.constant(share, tf.float32)), (1, 1), "AVG")
    for kernel in kernels:
        _, mask = pruning._update_mask(kernel.variable)
        kernel.set_mask(mask.numpy())


def prune_globally(kernels: list[TiedKernel], share: float) -> None:
    """Mask the smallest magnitudes of all kernels together; each kernel keeps its largest value at least."""
    magnitudes = np.concatenate([np.abs(kernel.variable.numpy()).ravel() for kernel in kernels])
    drop = min(round(share * magnitudes.size), magnitudes.size - 1)
    threshold = np.partition(magnitudes, drop)[drop]
    for kernel in kernels:
        magnitude = np.abs(kernel.variable.numpy())
        kernel.set_mask((magnitude >= min(threshold, magnitude.max())).astype(np.float32))


def sparsity_of(model: TiedAutoencoder) -> dict[str, float]:
    """The share of zeros in each kernel's mask, by kernel name."""
    return {name: float(1 - mask.mean()) for name, mask in model.masks().items()}
