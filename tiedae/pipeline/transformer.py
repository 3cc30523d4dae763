"""A tied autoencoder as a scikit-learn transformer: samples to codes and back, in pipelines and grid searches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from tiedae.base.errors import InputError, RecipeError
from tiedae.base.packages import missing
from tiedae.codec.codec import Codec
from tiedae.codec.opening import AUTO, codec_of, load
from tiedae.compress.lineage import Lineage, Snapshot
from tiedae.config.config import DataConfig, Granularity, QuantizeConfig, TrainConfig
from tiedae.config.layer_kinds import Activation
from tiedae.config.scaling import Rule
from tiedae.data.dataset import Dataset, scales_per_feature
from tiedae.data.samples import CHUNK_BYTES, Samples, kind_of
from tiedae.data.scaling_fit import fit_scaling
from tiedae.program.tensors import flat

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import assert_all_finite, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as error:
    raise missing("sklearn") from error

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder

SEEDS = 2**31 - 1
"""A seed is drawn below this number."""


class TiedAutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Dimensionality reduction by a tied autoencoder: X [n, n_features], real numbers, to codes, float32 [n, n_components].

    Windows of a record, [n, t, channels], are flattened in C order as scikit-learn wants it: `X.reshape(len(X), -1)`; with the
    default `per_feature` each time step of each channel has its own scale.
    `n_components`: units of the code, at most n_features. `hidden_layer_sizes`: units of the layers before it. `activation`: of
    those; the code is linear. `output_activation`: of the reconstruction; auto: sigmoid for uint8, else linear. `scaling`,
    `per_feature`: from X to scaled values, as in `load_data`; by default floats are standardized by column, uint8 is divided by
    255.
    `epochs`, `batch_size`, `learning_rate`, `weight_decay`: of the training with Adam on the mean squared error.
    `bits`: None, a float model; 2 to 8, kernels of this width and all else in 8 bits, trained for `quantize_epochs` more (0:
    post-training quantization), with a scale per `granularity`. `random_state`: a seed (the same bytes each time), a
    RandomState, or None. `verbose`: 0, nothing; 1, a bar per epoch; 2, a line.

    Codes are real numbers also where the model is quantized: (integer − zero point) · scale, one scale for all units, so that
    distances between codes are the same up to rounding. Fitted, it needs no TensorFlow: `codec_` runs the exact program in
    numpy, or a bundle's int8 file in its runtime. `model_` is the trained `TiedAutoencoder`, for `export_bundle`.

    Errors about X are scikit-learn's ValueErrors; those of parameters are RecipeErrors, which are ValueErrors too. A memory
    map is read in pieces; what grows with n are the codes alone.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    codec_: Codec
    loss_: float
    trained_: tuple[Snapshot, Lineage]
    opened_: tuple[str, str]
    """Path and runtime of `from_bundle`."""

    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden_layer_sizes: Sequence[int] = (128,),
        activation: Activation = "relu",
        output_activation: Activation | Literal["auto"] = "auto",
        scaling: Rule | Literal["auto"] = "auto",
        per_feature: bool | Literal["auto"] = "auto",
        epochs: int = 50,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.0,
        bits: int | None = None,
        quantize_epochs: int = QuantizeConfig().epochs,
        granularity: Granularity = "tensor",
        random_state: int | np.random.RandomState | None = None,
        verbose: Literal[0, 1, 2] = 0,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation: Activation = activation
        self.output_activation: Activation | Literal["auto"] = output_activation
        self.scaling: Rule | Literal["auto"] = scaling
        self.per_feature: bool | Literal["auto"] = per_feature
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.bits = bits
        self.quantize_epochs = quantize_epochs
        self.granularity: Granularity = granularity
        self.random_state = random_state
        self.verbose: Literal[0, 1, 2] = verbose

    @classmethod
    def from_bundle(cls, path: str | Path, *, runtime: str = AUTO) -> Self:
        """A fitted transformer that runs the int8 file of a bundle, or of OUT of a run, without TensorFlow.

        `runtime`: as in `load`. X is [n, n_features] in the unit and dtype of the training data, images flattened. A pickle of
        it names the path, and opens the bundle there. Raises what `load` raises, such as InputError for a folder that is no
        bundle.
        """
        codec = load(path, runtime=runtime)
        if codec.bundle is None:
            raise InputError(f"{path}: is a model archive, must be a bundle or OUT of a run")
        recipe = codec.bundle.manifest.recipe
        *hidden, code = recipe.model.layers
        transformer = cls(
            code.units,
            hidden_layer_sizes=tuple(layer.units for layer in hidden),
            activation=hidden[0].activation if hidden else "relu",
            output_activation=recipe.model.output_activation,
            scaling=recipe.data.scaling,
            per_feature=recipe.data.per_feature,
            bits=max(recipe.quantize.bits),
            granularity=recipe.quantize.granularity,
        )
        transformer.n_features_in_ = codec.spec.inputs
        if codec.spec.columns:
            transformer.feature_names_in_ = np.asarray(codec.spec.columns, object)
        transformer.codec_ = codec
        transformer.opened_ = (str(Path(path).resolve()), runtime)
        return transformer

    def fit(self, X: Any, y: object = None) -> Self:
        """Train on X [n, n_features], a memory map or an array, of two samples or more; `y` is not used.

        Raises ValueError for NaN, infinity and other X that scikit-learn refuses, RecipeError for parameters out of range, such
        as more components than features.
        """
        from tiedae.compress.autoencoder import TiedAutoencoder

        from .stages import quantize

        _require_flat(X)
        X = validate_data(self, X, dtype="numeric", ensure_min_samples=2)
        if isinstance(self.n_components, Integral) and self.n_components > X.shape[1]:
            raise RecipeError(f"n_components: got {self.n_components}, must be at most n_features = {X.shape[1]}")
        seed, layers, output = self._seed(), [*self.hidden_layer_sizes, self.n_components], self.output_activation
        if output == "auto":
            output = "sigmoid" if X.dtype == np.uint8 else "linear"
        train = TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=seed,
        )
        model = TiedAutoencoder(layers, activation=self.activation, output_activation=output, inputs=X.shape[1], seed=seed)
        data = self._dataset(X, output)
        history = model.fit(data, train=train, verbose=self.verbose)
        if self.bits is not None:
            options = {"bits": self.bits, "granularity": self.granularity, "epochs": self.quantize_epochs}
            model = quantize(model, data, verbose=self.verbose, **options)
        self.loss_ = float(history.history["loss"][-1]) if history.history["loss"] else math.nan
        self.codec_ = codec_of(model, data.spec, "transformer")
        self.trained_ = (Snapshot(model.describe(), model.arrays()), model.lineage)
        return self

    @property
    def model_(self) -> TiedAutoencoder:
        """The trained model, a new one each time; it takes TensorFlow. AttributeError before `fit`, and of a bundle."""
        from .stages import rebuilt

        snapshot, lineage = self.trained_
        model = rebuilt(snapshot)
        model.lineage = lineage
        return model

    def transform(self, X: Any) -> np.ndarray:
        """Codes of X [n, n_features], float32 [n, n_components]; ValueError for X of another width, NaN or infinity."""
        X = self._validated(X)
        code = self.codec_.code
        codes = np.empty((len(X), code.size), np.float32)
        for start, part in self._parts(X):
            encoded = self.codec_.encode(part)
            codes[start : start + len(part)] = flat(code.quantization.dequantize(encoded) if code.quantization else encoded)
        return codes

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Samples [n, n_features] of codes X [n, n_components], in the unit and dtype of the training data (floats or uint8).

        Codes are rounded to the integers of a quantized model first, and saturate. ValueError for codes of another width.
        """
        check_is_fitted(self)
        code = self.codec_.code
        X = np.asarray(X, np.float32)
        if X.ndim != 2 or X.shape[1] != code.size:
            raise ValueError(f"X: got codes of shape {list(X.shape)}, must be [n, {code.size}]")
        assert_all_finite(X, input_name="X")
        codes = X if code.quantization is None else code.quantization.quantize(X)
        return flat(self.codec_.decode(code.shaped(codes)))

    def score(self, X: Any, y: object = None) -> float:
        """The fraction of the variance of X [n, n_features] that its codes explain: 1 − squared error / squared deviation.

        Both in scaled values, in which columns compare; the deviation is from X's own mean. 1 is perfect, 0 is as good as the
        mean, so that greater is better in a grid search. Where X is constant: 1 without error, else 0.
        """
        X = self._validated(X)
        scaling, inputs = self.codec_.spec.scaling, X.shape[1]
        sums, squares, errors = np.zeros(inputs), np.zeros(inputs), 0.0
        first = scaling.apply(self._cast(X[:1])).astype(np.float64)
        for _, part in self._parts(X):
            centred = scaling.apply(part) - first
            sums += centred.sum(axis=0)
            squares += np.square(centred).sum(axis=0)
            errors += float(self.codec_.score(part, axis=0).sum()) * len(part)
        deviation = float(np.sum(squares - np.square(sums) / len(X)))
        if deviation <= 0:
            return float(errors == 0)
        return 1 - errors / deviation

    @property
    def _n_features_out(self) -> int:
        return self.codec_.code.size

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "codec_" or "opened_" not in state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "opened_" in state:
            path, runtime = state["opened_"]
            self.codec_ = load(path, runtime=runtime)

    def _seed(self) -> int:
        given = self.random_state
        return int(given) if isinstance(given, Integral) else int(check_random_state(given).randint(SEEDS))

    def _dataset(self, X: np.ndarray, output: Activation) -> Dataset:
        """X as training samples, none held out."""
        samples = Samples(X)
        config = DataConfig("array", scaling=self.scaling, per_feature=self.per_feature)
        each = scales_per_feature(self.per_feature, kind_of(samples))
        scaling = fit_scaling(self.scaling, samples, per_feature=each, output_activation=output, source="X")
        return Dataset(samples, None, samples, scaling, config=config).with_scaling(scaling)

    def _validated(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        _require_flat(X)
        return np.asarray(validate_data(self, X, dtype="numeric", reset=False, ensure_all_finite=False))

    def _parts(self, X: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first, samples), finite and in the dtype that the codec takes."""
        rows = max(1, CHUNK_BYTES // max(1, X.shape[1] * X.itemsize))
        for start in range(0, len(X), rows):
            part = X[start : start + rows]
            assert_all_finite(part, input_name="X")
            yield start, self._cast(part)

    def _cast(self, X: np.ndarray) -> np.ndarray:
        """uint8 as floats where the training data were floats."""
        dtype = self.codec_.spec.dtype
        return X.astype(dtype) if X.dtype == np.uint8 and dtype != "uint8" else X


def _require_flat(X: Any) -> None:
    """Raise ValueError for windows and images that are not flattened."""
    shape = getattr(X, "shape", ())
    if len(shape) > 2:
        right = f"[{shape[0]}, {int(np.prod(shape[1:]))}]: X.reshape(len(X), -1), time steps first, channels within them"
        raise ValueError(f"X: got shape {list(shape)}, must be {right}")
