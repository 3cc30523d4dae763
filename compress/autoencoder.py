"""The tied autoencoder: training and inference on samples in the data's own unit of measure, beside Keras' own on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as evolve
from typing import Any, Literal, cast

import numpy as np
import tensorflow as tf
from msgspec.structs import replace

from tiedae.base.errors import DataError, InputError, listed
from tiedae.config.config import ClusterConfig, FineTuning, PruneConfig, QuantizeConfig, TrainConfig, fine_tuning, require
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import require_reachable
from tiedae.config.tasks import NoiseConfig
from tiedae.data.dataset import Dataset
from tiedae.data.noise import noise_of
from tiedae.data.samples import Samples

from .float_training import train_float
from .legacy_keras import tf_keras
from .network import TiedNetwork
from .train import Training, fit, validation_loss

Verbosity = Literal["auto", 0, 1, 2]
BATCH = 1000
"""Samples per call in `predict` and `encode`."""
FAR = 50.0
"""Values beyond which an array is taken for samples that are not scaled: scaled data span a few at most."""
LATER_STAGES: Mapping[str, FineTuning] = {"prune": PruneConfig(), "cluster": ClusterConfig(), "quantize": QuantizeConfig()}
"""How the later stages train by default."""


class TiedAutoencoder(TiedNetwork):
    """A tied autoencoder: `model(x)` reconstructs x, `model.encoder(x)` and `model.decoder(code)` are its halves.

    `layers`: units or configurations of the encoder's layers, the code last, such as [128, 16]; or a whole `ModelConfig`, which
    the other options then belong to. `activation`: of the hidden layers given as units; the code is linear.
    `output_activation`: of the reconstruction. `inputs`: values per sample, or its axes; 0: those of its first data.
    `seed`: of the initial weights and dropout.

    x: float32 [batch, inputs] in scaled values (see `Scaling`). `model.kernels` holds every kernel once, for both directions,
    pruning and quantization. Raises RecipeError for values out of range.

    `fit`, `predict` and `encode` take a Dataset, in the data's unit of measure, or arrays of scaled values. `spec`: of its
    samples, once it has seen a Dataset. `lineage`: the stages it has been through.
    """

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        noise: NoiseConfig | Mapping[str, Any] | None = None,
        rate: float | None = None,
        train: TrainConfig | None = None,
        verbose: Verbosity = "auto",
        **keras: Any,
    ) -> tf_keras.callbacks.History:
        """Train in place; masks, clusters and quantizers hold. Returns Keras' History: `history["loss"]`, `["val_loss"]`.

        On a Dataset: with Adam and the settings of `train`, by default those of the model's last stage, of which `epochs`,
        `batch_size`, `learning_rate`, `noise` and `rate` replace their own. `noise`: of the inputs, such as
        `{"kind": "gaussian", "level": 0.3}` (see `NoiseConfig`), anew in each epoch. `rate`: the error that a bit of the code
        has to save (see `TrainConfig`); units that are not worth their bits leave the model. Later stages keep both. With
        validation samples the best epoch is kept. The ranges of a quantized model are trained too.
        The model is built for its samples if it is not yet.

        On arrays, float32 [n, inputs] in scaled values (see `Scaling`), after `compile`: Keras' own loop with its arguments,
        one epoch by default. Without `y` the model learns to give `x`.

        Raises InputError for a Dataset on a compiled model, for Keras' arguments beside a Dataset, and where the loss is not
        finite; DataError for samples that do not fit the model, and for arrays that are not scaled.
        """
        if isinstance(x, Dataset):
            given = [name for name, value in {"y": y, **keras}.items() if value is not None]
            if given:
                raise InputError(
                    f"fit: {', '.join(given)} beside a Dataset; it takes epochs, batch_size, learning_rate, noise, rate, train"
                )
            settings = {"learning_rate": learning_rate, "noise": noise, "rate": rate}
            return self._fit_dataset(x, train, settings | {"epochs": epochs, "batch_size": batch_size}, verbose)
        if any(each is not None for each in (learning_rate, noise, rate, train)):
            raise InputError(
                "fit: learning_rate, noise, rate and train are for a Dataset; for arrays, compile(optimizer=…) sets the rate, "
                "and y is the clean x"
            )
        x = self._scaled_values(x)
        if y is None and isinstance(x, np.ndarray):
            require_reachable(x, self.config.output_activation)
            y = x
        self.build_for((_last_axis(x),))
        given = keras.pop("callbacks", None) or []
        callbacks = [*(given if isinstance(given, list | tuple) else [given]), _Finalize()]
        if hasattr(keras.get("validation_data"), "shape"):
            keras["validation_data"] = (keras["validation_data"], keras["validation_data"])
        settings = {"epochs": 1 if epochs is None else epochs, "batch_size": batch_size, "verbose": verbose}
        return cast(tf_keras.callbacks.History, super().fit(x, y, callbacks=callbacks, **settings, **keras))

    def train_step(self, data: Any) -> Any:
        """Keras' step, with `x` as `y` where none is given, and what quantized kernels ask for after an update."""
        logs = super().train_step(_with_y(data))
        for kernel in self.kernels:
            if kernel.granularity is not None:
                kernel.clip_outliers()
        return logs

    def test_step(self, data: Any) -> Any:
        """Keras' step of `evaluate` and of validation, with `x` as `y` where none is given."""
        return super().test_step(_with_y(data))

    def evaluate(self, x: Any = None, *arguments: Any, **keras: Any) -> Any:
        """The mean loss of samples, or of the test samples of a Dataset, by the loss of the model's training, without its rate.

        Of arrays: Keras' own `evaluate`, in scaled values.
        """
        samples = self._samples(x)
        if samples is None:
            return super().evaluate(self._scaled_values(x), *arguments, **keras)
        self.require_spec(x.spec)
        config = self._settings("train")
        return validation_loss(self, samples, config, noise_of(config.noise, x.train if isinstance(x, Dataset) else x))

    def predict(self, x: Any, *arguments: Any, **keras: Any) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Reconstructions. Of samples, or the test samples of a Dataset: [n, *shape] in their own unit of measure and dtype.

        Of arrays: Keras' own `predict`, in scaled values.
        """
        samples = self._samples(x)
        if samples is None:
            return super().predict(self._scaled_values(x), *arguments, **keras)
        spec = self.require_spec(x.spec)
        parts = [spec.scaling.invert(self(batch).numpy(), spec.dtype) for batch in _batches(samples)]
        return spec.shaped(np.concatenate(parts), single=False)

    def encode(self, x: Any) -> np.ndarray:
        """Codes, float32 [n, units], of samples, of the test samples of a Dataset, or of scaled values, float32 [n, inputs]."""
        samples = self._samples(x)
        if samples is None:
            values = np.asarray(self._scaled_values(x), np.float32)
            batches: Any = (values[start : start + BATCH] for start in range(0, max(len(values), 1), BATCH))
        else:
            self.require_spec(x.spec)
            batches = _batches(samples)
        return np.concatenate([self.encoder(batch).numpy() for batch in batches])

    def require_spec(self, found: SampleSpec) -> SampleSpec:
        """The model's `spec`, or the one found; DataError where the two differ."""
        known = self.spec
        if known is None:
            return found
        if found.inputs != known.inputs:
            raise DataError(f"samples have {found.inputs} values, the model was trained on {known.inputs}")
        if None not in (found.columns, known.columns) and found.columns != known.columns:
            raise DataError(
                f"columns: got {listed(found.columns or ())}, the model was trained on {listed(known.columns or ())}"
            )
        if found.scaling != known.scaling:
            raise DataError(
                f"samples are scaled by {found.scaling.rule}, the model was trained with another offset and scale "
                f"({known.scaling.rule}); use data.with_scaling(model.spec.scaling)"
            )
        return known

    def _fit_dataset(
        self, data: Dataset, train: TrainConfig | None, given: dict[str, Any], verbose: Verbosity
    ) -> tf_keras.callbacks.History:
        if self.optimizer is not None:
            raise InputError(
                "fit: the model is compiled, and a Dataset is trained without compile; pass arrays of scaled values, or use "
                "model.copy().fit(data)"
            )
        self.build_for(data.train.shape)
        self.require_spec(data.spec)
        stage = self.stage
        config = with_given(train or self._settings(stage), given)
        training = Training(config, progress=epoch_progress(verbose))
        if stage == "train":
            require(not config.distill, "distill", config.distill, "0: fit has no teacher; ta.tie has one")
            begun = self.lineage.model or self.config
            records = train_float(self, data, training)
            if self.config != begun:
                self.lineage = evolve(self.lineage, model=begun)
        else:
            records = fit(self, data, training, stage=stage)
        self.spec = data.spec
        self.lineage = self.lineage.trained(stage, config if stage == "train" else None, records)
        return _history(self, records)

    def _settings(self, stage: str) -> TrainConfig:
        """How a stage trains: as it did before, else as it does by default."""
        train = self.lineage.configs.get("train", TrainConfig())
        if stage == "train":
            return replace(train, distill=0.0)
        return fine_tuning(train, self.lineage.configs.get(stage, LATER_STAGES[stage]))

    @staticmethod
    def _samples(x: Any) -> Samples | None:
        return x.test if isinstance(x, Dataset) else x if isinstance(x, Samples) else None

    def _scaled_values(self, x: Any) -> Any:
        """Arrays as Keras takes them; a pipeline as it is.

        Raises DataError for integers and for values far outside their range, which are samples in their own unit of measure of
        measure, and for another shape than [n, inputs].
        """
        x = np.asarray(x) if isinstance(x, list | tuple) or hasattr(x, "to_numpy") else x
        dtype, shape = getattr(x, "dtype", None), getattr(x, "shape", None)
        if dtype is None or shape is None:
            return x
        if not tf.as_dtype(dtype).is_floating:
            raise DataError(f"got {tf.as_dtype(dtype).name}, must be float32 scaled values; a Dataset takes raw samples")
        inputs = self.config.size or "inputs"
        if len(shape) != 2 or inputs not in ("inputs", shape[1]):
            raise DataError(f"got shape {list(shape)}, must be [n, {inputs}] of scaled values")
        scaled = self.spec is not None and self.spec.scaling.rule != "none"
        if scaled and isinstance(x, np.ndarray) and np.abs(x).max(initial=0) > FAR:
            raise DataError(f"got values up to {np.abs(x).max():g}, must be scaled: data.scaling.apply(x), or a Dataset")
        return x


class _Finalize(tf_keras.callbacks.Callback):
    """Zeros of masks into the variables, and scales to the kernels, after every epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        cast(TiedNetwork, self.model).finalize()


def _with_y(data: Any) -> Any:
    x, y, weight = tf_keras.utils.unpack_x_y_sample_weight(data)
    return x, x if y is None else y, weight


def with_given(config: Any, given: dict[str, Any]) -> Any:
    """A configuration with the values that are not None in place of its own."""
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def epoch_progress(verbose: Verbosity) -> Callable[[str, int, int, int, int, float], None] | None:
    """Keras' progress bar per epoch (1, auto), one line per epoch (2), or none (0)."""
    if verbose == 0:
        return None
    bars: dict[tuple[str, int], Any] = {}

    def progress(stage: str, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        if (stage, epoch) not in bars:
            print(f"{stage}: epoch {epoch}/{epochs}")
            bars[stage, epoch] = tf_keras.utils.Progbar(steps, verbose=2 if verbose == 2 else 1, stateful_metrics=["loss"])
        bars[stage, epoch].update(step, [("loss", loss)])

    return progress


def _history(model: tf_keras.Model, records: Sequence[Any]) -> tf_keras.callbacks.History:
    history = tf_keras.callbacks.History()
    history.set_model(model)
    history.epoch = [record["epoch"] - 1 for record in records]
    for key, name in {"loss": "loss", "validation_loss": "val_loss", "bits": "bits"}.items():
        if key == "loss" or (records and key in records[0]):
            history.history[name] = [record[key] for record in records]
    return history


def _batches(samples: Samples) -> Any:
    return samples.batches(np.arange(len(samples)), BATCH)


def _last_axis(x: Any) -> int:
    """The number of values per sample of arrays, or of a tf.data pipeline; 0 where it is not known."""
    spec = getattr(x, "element_spec", x)
    spec = spec[0] if isinstance(spec, tuple) else spec
    shape = getattr(spec, "shape", None) or (0,)
    return int(shape[-1] or 0)
