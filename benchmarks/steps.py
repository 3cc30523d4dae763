"""A training step of a tied model against that of its untied twin of plain Keras layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rows import Row

from tiedae.compress import ModelConfig, TrainConfig

if TYPE_CHECKING:
    import tf_keras

ROUNDS, WARM = 200, 20


def step_row(name: str, config: ModelConfig, untied: tf_keras.Model, reach: str, stretch: str) -> Row:
    """`name`: the median step of the tied model of `config` / of `untied`: same loop, optimizer and batch, interleaved.

    `untied`: built, float32 [batch, inputs] → [batch, inputs].
    """
    from tiedae.compress import TiedAutoencoder

    batch = np.random.default_rng(0).uniform(size=(TrainConfig().batch_size, config.size)).astype(np.float32)
    models = {"tied": TiedAutoencoder(config), "untied": untied}
    times = _interleaved({kind: _step(model, config.size) for kind, model in models.items()}, batch)
    medians = {kind: float(np.median(values)) for kind, values in times.items()}
    texts = (f"{kind} {medians[kind]:.2f} ms (p95 {np.percentile(values, 95):.2f})" for kind, values in times.items())
    detail = f"{', '.join(texts)}, batch {len(batch)}"
    return Row(name, medians["tied"] / medians["untied"], "x", reach, stretch, detail)


def _step(model: tf_keras.Model, inputs: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    import tf_keras

    from tiedae.compress.train import LOSSES, training_step

    optimizer = tf_keras.optimizers.legacy.Adam(1e-3)
    variables = model.trainable_variables
    return training_step(
        model,
        lambda gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True)),
        inputs,
        lambda _, wanted, y: LOSSES["mse"](wanted, y),
    )


def _interleaved(steps: Mapping[str, Callable[..., Any]], batch: np.ndarray) -> dict[str, list[float]]:
    """Milliseconds of each step in turns, without the first ones."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARM + ROUNDS):
        for name, step in steps.items():
            begun = time.perf_counter()
            float(step(batch, batch))
            times[name].append(1e3 * (time.perf_counter() - begun))
    return {name: values[WARM:] for name, values in times.items()}
