"""The training loop of every stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from msgspec import structs

from tiedae.base import archive
from tiedae.base.errors import DataError, DivergedError, RecipeError
from tiedae.base.files import write_atomic
from tiedae.base.records import checked, plain
from tiedae.config.combinations import FIXED_SCALES, RATE_OF_FIXED_SCALE
from tiedae.config.config import FineTuning, TrainConfig, fine_tuning, require
from tiedae.config.model_config import ModelConfig
from tiedae.config.scaling import require_reachable
from tiedae.data.dataset import Dataset, choose, mean_input
from tiedae.data.noise import Noise, noise_of, pairs
from tiedae.data.samples import Samples
from tiedae.data.splitting import epoch_order

from . import dead_units
from .batch_norm import FROZEN_FROM
from .legacy_keras import tf_keras
from .network import TiedNetwork
from .optimizer import Optimizer
from .rate import NOISE_FRACTION, RateTerm
from .symmetries import centre_code
from .tied_layers import RULES
from .training_start import TrainingStart

Progress = Callable[[str, int, int, int, int, float], None]
"""progress(stage, epoch from 1, epochs, step from 1, steps, mean loss of the epoch so far)."""

AfterEpoch = Callable[[Mapping[str, Any]], None]
"""Callback with the record of each finished epoch; an exception ends the training and keeps the checkpoint."""

History = list[dict[str, Any]]
"""One record per epoch: stage, epoch, loss and, with a validation set, validation_loss; with a rate, bits of a code."""

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""loss(wanted, output), float32 [batch, inputs] each → float32 [batch]."""


class Teacher(Protocol):
    """What a student is trained against besides the samples: float32 [batch, inputs] → [batch, inputs]."""

    @property
    def config(self) -> ModelConfig: ...

    def __call__(self, x: Any, /) -> tf.Tensor: ...


Objective = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
"""objective(input, wanted, output), float32 [batch, inputs] each → float32 [batch]."""

CHECKPOINT = "tiedae-checkpoint"
CODE_SAMPLES = 4096
"""Training samples whose codes tell how its units are spread."""

LOSSES: dict[str, Loss] = {
    "mse": tf_keras.losses.mean_squared_error,
    "mae": tf_keras.losses.mean_absolute_error,
    "bce": tf_keras.losses.binary_crossentropy,
    "huber": tf_keras.losses.huber,
}


@dataclass(frozen=True, eq=False)
class Training:
    """Training settings of a stage: optimizer, teacher, callbacks and checkpoint.

    `teacher`: the uncompressed model, or the untied one; `distill`: the fraction of the loss against its output, set by the
    stage's configuration. `checkpoint`: written after each epoch; training resumes from an existing one, with the final
    weights of an uninterrupted run; `resumed`: one that is read, where `checkpoint` is None. `code_scale`: the step that a rate
    trains for; None: trained with it. `begun`: what is known of a start that is not random, see `float_training`. `epochs`:
    after which training stops for now; 0: at its end. `label`: the stage's name for `progress`.
    Raises RecipeError if `distill` is not in [0, 1] or lacks a teacher.
    """

    config: TrainConfig
    teacher: Teacher | None = None
    distill: float = 0.0
    code_scale: float | None = None
    checkpoint: Path | None = None
    resumed: Path | None = None
    progress: Progress | None = None
    after_epoch: AfterEpoch | None = None
    begun: TrainingStart | None = None
    epochs: int = 0
    label: str = ""

    def __post_init__(self) -> None:
        require(0 <= self.distill <= 1, "distill", self.distill, "in [0, 1]")
        if self.distill and self.teacher is None:
            raise RecipeError(f"distill: got {self.distill}, but no teacher; pass the uncompressed model as teacher, or 0")

    @classmethod
    def of(cls, train: TrainConfig | Training) -> Training:
        """`train` as a `Training`."""
        return train if isinstance(train, Training) else cls(train)

    @classmethod
    def fine_tuning(cls, train: TrainConfig | Training, config: FineTuning, model: TiedNetwork, splits: Dataset) -> Training:
        """The training of a later stage, checked before the stage changes `model`."""
        base = cls.of(train)
        training = replace(base, config=fine_tuning(base.config, config), distill=config.distill)
        training.require_compatible(model, splits)
        return training

    def require_compatible(self, model: TiedNetwork, splits: Dataset) -> None:
        """Raise DataError if samples or teacher differ from the model in their inputs or the output cannot give the samples,
        RecipeError for patience without validation samples."""
        if not isinstance(splits, Dataset):
            made = "Dataset.from_array makes them of an array"
            raise DataError(f"splits: got {type(splits).__name__}, must be Dataset; {made}")
        if self.config.patience and splits.validation is None:
            raise RecipeError(f"patience: got {self.config.patience}, but there are no validation samples to wait for")
        inputs = model.config.size
        if splits.train.inputs != inputs:
            raise DataError(f"samples have {splits.train.inputs} values, the model's inputs are {inputs}")
        if splits.scaling.rule != "byte":  # bytes lie in 0…1, which every activation gives
            require_reachable(splits.scaling.apply(np.stack(splits.train.wanted.extent)), model.config.output_activation)
        if self.distill and self.teacher is not None and self.teacher.config.size != inputs:
            raise DataError(f"the teacher's inputs are {self.teacher.config.size}, the model's are {inputs}")

        if self.config.noise is not None and splits.train.clean is not None:
            raise RecipeError("noise: got noise beside samples that have clean ones; must be one of them")
        fixed = model.config.layers[-1].activation in FIXED_SCALES
        require(not (fixed and self.config.for_rate), "rate", self.config.rate, RATE_OF_FIXED_SCALE.right)
        if self.code_scale is not None and model.code_scale is not None:
            right = f"{model.code_scale:.9g}, which the model was trained for"
            require(float(np.float32(self.code_scale)) == model.code_scale, "code_scale", self.code_scale, right)
        stepless = model.quantized and model.code_scale is None
        right = "0: the model is quantized without a step of its code; train its float model for rate"
        require(not (stepless and self.config.for_rate), "rate", self.config.rate, right)

    @property
    def objective(self) -> Objective:
        """The loss of a batch, without regularization."""
        loss = LOSSES[self.config.loss]
        if self.distill and self.teacher is not None:
            return distilled(loss, self.teacher, self.distill)
        return lambda _, wanted, y: loss(wanted, y)

    def noise(self, splits: Dataset) -> Noise | None:
        """The noise of the inputs."""
        return noise_of(self.config.noise, splits.train)

    def rate_term(self, model: TiedNetwork, splits: Dataset) -> RateTerm | None:
        """The rate as a term of the loss. A model without a step for its code gets one, at first by noise."""
        config = self.config
        if not config.for_rate:
            return None
        code = model.config.layers[-1].units
        known = model.code_scale
        term = RateTerm(
            code, model.config.size, config.rate, step=known or self.code_scale, noisy=known is None, seed=config.seed
        )
        codes = model.encoder(self.code_inputs(splits)).numpy()
        term.start(codes)
        if known is not None or self.begun is not None:
            term.fit(codes)
        return term

    def code_inputs(self, splits: Dataset) -> np.ndarray:
        """Training samples for a look at the code, float32 [n, inputs]."""
        return self._inputs(splits, CODE_SAMPLES)

    def hidden_inputs(self, splits: Dataset) -> np.ndarray:
        """Training samples that tell which units are dead, float32 [n, inputs]."""
        return self._inputs(splits, dead_units.SAMPLES)

    def _inputs(self, splits: Dataset, count: int) -> np.ndarray:
        config = self.config
        chosen, seed = choose(splits.train, count, config.seed), noise_seed(config, "balance")
        return next(pairs(splits.train, chosen, count, self.noise(splits), seed))[0]


def fit(
    model: TiedNetwork,
    splits: Dataset,
    train: TrainConfig | Training,
    *,
    stage: str = "train",
    before_step: Callable[[int], None] | None = None,
    ramp_epochs: int = 0,
) -> History:
    """Train `model` in place on `splits.train` and return the history. Initializes the output bias, see `init_output_bias`,
    and statistics of batch normalization that are as new; quantization-aware training freezes them late, see `batch_norm`.

    `before_step(step)` runs before each update. With a validation set, the weights of the best epoch after the first
    `ramp_epochs` are kept, and training stops after `patience` epochs without a better one.

    Raises the errors of `Training.require_compatible`, and DivergedError if the loss is not finite.
    """
    training = Training.of(train)
    training.require_compatible(model, splits)
    config, checkpoint, progress = training.config, training.checkpoint, training.progress
    steps = -(-len(splits.train) // config.batch_size)
    noise = training.noise(splits)
    init_output_bias(model, splits)
    if model.norms:
        samples = training.code_inputs(splits)
        if stage == "train":
            model.start_statistics(samples)
        model.know_statistics(samples)
    rate = training.rate_term(model, splits)
    noisy_epochs = 0
    if rate is not None and rate.noisy:
        noisy_epochs = min(math.ceil(config.epochs * NOISE_FRACTION), config.epochs - 1)
    optimizer = Optimizer(model, config, steps, rate, training.begun)
    run = _StageTraining(model, training, optimizer, stage, max(ramp_epochs, noisy_epochs), rate, begun=training.begun)
    before = checkpoint or training.resumed
    if before is not None and before.exists():
        run.resume(before)
    if run.counts_start:
        run.begin(validation_loss(model, splits.validation, config, noise, rate))
    while not run.finished:
        epoch = len(run.history)
        run.lower_rate()
        if run.begun is not None and epoch == early(config):
            run.revive(training.hidden_inputs(splits))
        if rate is not None:
            rate.noisy = epoch < noisy_epochs
            if epoch == noisy_epochs > 0:
                x = training.code_inputs(splits)
                rate.shift(centre_code(model, x, rate.step))
                if run.begun is not None:
                    rate.fit(model.encoder(x).numpy())
        model.freeze_statistics(stage == "quantize" and epoch >= FROZEN_FROM * config.epochs)
        order = epoch_order(len(splits.train), seed=config.seed, epoch=epoch, block=splits.train.block)
        total = 0.0
        step_function = run.step_function()
        seed = noise_seed(config, stage, epoch)
        for step, (x, wanted) in enumerate(pairs(splits.train, order, config.batch_size, noise, seed)):
            if before_step is not None:
                before_step(epoch * steps + step)
            total += float(step_function(x, wanted))
            if not math.isfinite(total):
                where = f"epoch {epoch + 1}, step {step + 1}"
                raise DivergedError(f"{stage}: the loss is {total} in {where}; lower the learning rate")
            if progress is not None:
                progress(
                    training.label or stage, epoch + 1, training.epochs or config.epochs, step + 1, steps, total / (step + 1)
                )
        model.finalize()
        bits = None if rate is None else rate.mean_bits(model.encoder(training.code_inputs(splits)))
        validated = validation_loss(model, splits.validation, config, noise, rate)
        if validated is not None and not math.isfinite(validated):
            raise DivergedError(f"{stage}: the validation loss is {validated} after epoch {epoch + 1}; lower the learning rate")
        run.record(total / steps, validated, bits)
        if checkpoint is not None:
            write_atomic(checkpoint, run.pack(), follow=False)
        if training.after_epoch is not None:
            training.after_epoch(run.history[-1])
    if run.best is not None:
        model.restore(run.best)
        for name, variable in run.rate_state.items():
            variable.assign(run.best[name])
    if rate is not None:
        model.code_scale = rate.step
    return run.history


def early(config: TrainConfig) -> int:
    """A tenth of the epochs, one at least: the length of a trial, and when dead units are revived."""
    return max(1, config.epochs // 10)


def noise_seed(config: TrainConfig, purpose: str, epoch: int = 0) -> list[int]:
    """The seed of the noise of an epoch of a stage, or of another purpose: fresh in each, equal in a resumed run."""
    return [config.seed, epoch, *purpose.encode()]


def init_output_bias(model: TiedNetwork, splits: Dataset) -> bool:
    """Initialize the output bias so that a code of zeros decodes to the mean training sample of a table.

    A skewed column scaled to 0…1 has a mean near 0, while a sigmoid starts at ½; a short training would spend its steps on
    the means. Returns False, without changes, for data other than tables, an output without bias or a trained bias.
    """
    bias = model.decoder.stack[-1].bias
    if splits.kind != "table" or bias is None or np.any(bias.numpy()):
        return False
    mean = tf.convert_to_tensor(mean_input(splits.train.wanted)[None])
    rows = model.encoder.stack[0].rows(model.encoder.arranged(mean)).numpy()
    bias.assign(RULES[model.config.output_activation].inverse(rows.reshape(-1, bias.shape[0]).mean(axis=0)))
    return True


def distilled(loss: Loss, teacher: Callable[[tf.Tensor], tf.Tensor], fraction: float) -> Objective:
    """(1 − fraction) · loss(wanted, y) + fraction · loss(teacher(x), y): distillation (Hinton et al. 2015) of a regression,
    without gradient into the teacher."""
    return lambda x, wanted, y: (1 - fraction) * loss(wanted, y) + fraction * loss(tf.stop_gradient(teacher(x)), y)


def validation_loss(
    model: TiedNetwork,
    samples: Samples | None,
    config: TrainConfig,
    noise: Noise | None = None,
    rate: RateTerm | None = None,
) -> float | None:
    """The mean loss over held-out samples, with `rate` and without dropout and regularization; None without samples.

    The noise of their inputs is the same in every epoch.
    """
    if samples is None:
        return None
    loss = LOSSES[config.loss]
    total = 0.0
    for x, wanted in pairs(samples, np.arange(len(samples)), 1000, noise, noise_seed(config, "validation")):
        y, cost = (model(x), 0.0) if rate is None else model.reconstruct_at(rate, x)
        total += float(tf.reduce_sum(loss(wanted, y) + cost))
    return total / len(samples)


def training_step(
    model: tf_keras.Model,
    apply: Callable[[list[tf.Tensor]], None],
    inputs: int,
    objective: Objective,
    rate: RateTerm | None = None,
) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
    """One update of an autoencoder as a graph: (input, wanted), float32 [batch, inputs] → the loss without regularization.

    `apply` receives the gradients of `model.trainable_variables`, then those of `rate`.
    """
    variables = [*model.trainable_variables, *(rate.trainable_variables if rate else ())]

    def losses(x: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        if rate is None:
            return objective(x, wanted, model(x, training=True))
        y, cost = model.reconstruct_at(rate, x, training=True)
        return objective(x, wanted, y) + cost

    @tf.function(input_signature=[tf.TensorSpec([None, inputs], tf.float32)] * 2, autograph=False)
    def step(x: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(losses(x, wanted))
            total = tf.add_n([loss, *model.losses])
        apply(tape.gradient(total, variables))
        return loss

    def update(x: np.ndarray, wanted: np.ndarray) -> tf.Tensor:
        batch = tf.convert_to_tensor(x)
        return step(batch, batch if wanted is x else wanted)

    return update


@dataclass(eq=False)
class _StageTraining:
    """The state of one stage's training, as a checkpoint stores it."""

    model: TiedNetwork
    training: Training
    optimizer: Optimizer
    stage: str
    ramp_epochs: int
    rate: RateTerm | None
    history: History = field(default_factory=list)
    best: dict[str, np.ndarray] | None = None
    begun: TrainingStart | None = None
    _compiled: dict[tuple[bool, bool], Callable[[np.ndarray, np.ndarray], tf.Tensor]] = field(default_factory=dict)

    @property
    def _beside(self) -> dict[str, tf.Variable]:
        """The variables that training has beside the model's, by name."""
        return self.optimizer.slots | self.rate_state

    @property
    def rate_state(self) -> dict[str, tf.Variable]:
        return self.rate.state() if self.rate else {}

    @property
    def best_epoch(self) -> int:
        """The index of the epoch with the lowest validation loss, −1 for the start; the last epoch without validation."""
        losses = [record["validation_loss"] for record in self.history[self.ramp_epochs :] if "validation_loss" in record]
        start = None if self.begun is None else self.begun.loss
        if start is not None and start <= min(losses, default=math.inf):
            return -1
        return self.ramp_epochs + int(np.argmin(losses)) if losses else len(self.history) - 1

    @property
    def finished(self) -> bool:
        waited = len(self.history) - 1 - max(self.best_epoch, self.ramp_epochs - 1)
        config = self.training.config
        return len(self.history) >= (self.training.epochs or config.epochs) or 0 < config.patience <= waited

    @property
    def counts_start(self) -> bool:
        """Whether the start is an epoch of its own, which no epoch has followed yet."""
        return self.begun is not None and self.begun.start == "pca" and not self.history

    def begin(self, loss: float | None) -> None:
        """Count the start, of this validation loss, as the best so far."""
        assert self.begun is not None
        if loss is not None:
            self.begun, self.best = structs.replace(self.begun, loss=loss), self._kept()

    def lower_rate(self) -> None:
        """Lower the learning rate where the validation loss rises with it."""
        lowered = self.optimizer.lower([each["validation_loss"] for each in self.history if "validation_loss" in each])
        if self.begun is not None and lowered:
            self.begun = structs.replace(self.begun, lowered=lowered)

    def revive(self, x: np.ndarray) -> None:
        """Give dead units other weights; x: float32 [n, inputs]."""
        assert self.begun is not None
        self.begun = structs.replace(self.begun, revived=dead_units.revive(self.model, x, self.optimizer.slots))

    def _kept(self) -> dict[str, np.ndarray]:
        return self.model.arrays() | {name: variable.numpy() for name, variable in self.rate_state.items()}

    def step_function(self) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
        """One update as a graph, compiled again once the code is rounded or statistics are frozen."""
        state = (self.rate is not None and self.rate.noisy, self.model.frozen_statistics)
        if state not in self._compiled:
            inputs = self.model.config.size
            step = training_step(self.model, self.optimizer.apply, inputs, self.training.objective, self.rate)
            self._compiled[state] = step
        return self._compiled[state]

    def record(self, loss: float, validation: float | None, bits: float | None) -> None:
        entry: dict[str, Any] = {"stage": self.stage, "epoch": len(self.history) + 1, "loss": loss}
        if bits is not None:
            entry["bits"] = bits
        if validation is not None:
            entry["validation_loss"] = validation
        self.history.append(entry)
        if validation is not None and self.best_epoch == len(self.history) - 1:
            self.best = self._kept()
        if self.begun is not None:
            self.begun = structs.replace(self.begun, kept=self.best_epoch < 0)
            self.history[0]["begun"] = plain(self.begun)

    def pack(self) -> bytes:
        arrays = self.model.arrays() | {name: variable.numpy() for name, variable in self._beside.items()}
        if self.best is not None:
            arrays |= {f"best.{name}": values for name, values in self.best.items()}
        header = {"format": CHECKPOINT, "version": archive.VERSION, "stage": self.stage, "history": self.history}
        if self.begun is not None:
            header["begun"] = plain(self.begun)
        return archive.pack(header, arrays)

    def resume(self, path: Path) -> None:
        header, arrays = archive.unpack(path, CHECKPOINT)
        if header["stage"] != self.stage:
            return
        self.history = header["history"]
        if self.begun is not None and "begun" in header:  # which knows what became of it
            self.begun = checked(TrainingStart, header["begun"])
        best = {name.removeprefix("best."): values for name, values in arrays.items() if name.startswith("best.")}
        self.best = best or None
        self.model.restore_structure(arrays)
        self.model.restore(arrays)
        for name, variable in self._beside.items():
            variable.assign(arrays[name])
