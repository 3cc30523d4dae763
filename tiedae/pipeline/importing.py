"""A model that somebody else trained, as the start of a run: read, mirrored, and compared with the original."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as evolve
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import DataError, InputError, RecipeError, UnavailableError
from tiedae.base.files import expanded
from tiedae.base.numbers import number
from tiedae.base.records import checked, plain, require
from tiedae.bundle.fidelity import squared_error
from tiedae.compress.imports.assumed import require_assumed
from tiedae.compress.imports.chain import FUNCTIONS
from tiedae.compress.imports.mirrored import Mirror, Weights, mirror
from tiedae.compress.imports.origin import ORIGINAL, REPLACED, TUNED, ImportOrigin
from tiedae.config.config import DataConfig, Recipe, TrainConfig
from tiedae.config.scaling import Scaling, require_reachable
from tiedae.data.dataset import Dataset, mean_input
from tiedae.data.samples import Samples
from tiedae.verify.original import SAMPLES, OriginalAnswer, require_equal, run_original

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder, Verbosity
    from tiedae.compress.tying import UntiedAutoencoder

    Model = TiedAutoencoder | UntiedAutoencoder

T = TypeVar("T", Dataset, Dataset | None)
TIED: Mapping[str, Any] = {"epochs": 15, "learning_rate": 5e-3, "weight_decay": 0.02, "distill": 0.25}
"""Keys of [train] by default where a tie is trained, chosen by validation errors:
docs/decisions/pipeline.md#an-untied-model-becomes-tied-by-training."""
HELD_OUT = 1_000
"""Samples that an import's error is measured on, at most."""

Original = Callable[[np.ndarray], OriginalAnswer]
"""The original model's answer for samples, float32 [n, *shape]; UnavailableError where nothing can load it."""


@dataclass(frozen=True, eq=False)
class Start:
    """The model that a run starts from. `path`: its file or folder; None: it is live."""

    mirror: Mirror
    path: Path | None = None

    @classmethod
    def read(
        cls,
        path: Path,
        replaced: Mapping[str, str] | None = None,
        *,
        tie: bool | None = False,
        assume: Sequence[str] = (),
    ) -> Start:
        """The model of a file; `tie` as of `mirror`, `assume` of `require_assumed`. Raises their errors and `read_model`'s."""
        from tiedae.compress.imports.formats import read_model

        found = mirror(read_model(path), replaced=replaced, tie=tie)
        require_assumed(found.chain, assume)
        return cls(found, path)

    @property
    def source(self) -> str:
        return self.mirror.chain.source

    @cached_property
    def sha256(self) -> str:
        """Of the file; of a folder over the names and sha256 of its files. "" for a live model."""
        if self.path is None:
            return ""
        if self.path.is_file():
            return _sha256(self.path)
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        lines = (f"{path.relative_to(self.path).as_posix()} {_sha256(path)}\n" for path in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def model_table(self) -> dict[str, Any]:
        """The keys of `[model]` that follow from it."""
        config = plain(self.mirror.config)
        return {key: config[key] for key in ("layers", "output_activation", "inputs")}

    def model(self, seed: int = 0) -> Model:
        """The autoencoder of its weights, with their masks, tied or untied as the source is; InputError as `Mirror.weights`."""
        return self.untied(seed) or self.tied(seed)

    def tied(self, seed: int = 0) -> TiedAutoencoder:
        """That of a source that is tied."""
        found = self.mirror.weights()
        model = self._network(found, found.kernels, seed)
        for i, mask in found.masks.items():
            model.kernels[i].set_mask(mask)
        return model

    def untied(self, seed: int = 0) -> UntiedAutoencoder | None:
        """That of a source that is not; None where it is."""
        if not self.mirror.untied:
            return None
        from tiedae.compress.tying import UntiedAutoencoder

        found = self.mirror.weights()
        kernels = (found.kernels, found.decoder_kernels)
        return UntiedAutoencoder(*(self._network(found, each or (), seed) for each in kernels))

    def _network(self, weights: Weights, kernels: Sequence[np.ndarray], seed: int) -> TiedAutoencoder:
        from tiedae.compress.autoencoder import TiedAutoencoder

        model = TiedAutoencoder(self.mirror.config, seed=seed)
        model.take_weights(kernels, [*(weights.encoder_biases or ()), *(weights.decoder_biases or ())], weights.norms)
        return model

    def data(self, data: T) -> T:
        """Data with the model's own scaling; as they are, bytes by 255, where neither states one. InputError for samples of
        another number of values."""
        if data is None:
            return data
        inputs = self.mirror.widths[0]
        if data.inputs != inputs:
            raise InputError(f"data: has {data.inputs} values per sample, {self.source} takes {inputs}")
        stated = None if data.config.scaling == "auto" else data.scaling
        return data.with_scaling(self.mirror.scaling or stated or as_they_are(data))

    def scaled(self, splits: Dataset) -> Dataset:
        """The data, scaled as the model takes them: by its own scaling, as `[data]` states, or where neither says so as they
        are, bytes by 255. Raises RecipeError where both say, DataError for values that its output cannot give."""
        config, own, inputs = splits.config, self.mirror.scaling, self.mirror.widths[0]
        if splits.inputs != inputs:
            raise DataError(f"{config.source}: has {splits.inputs:,} values per sample, {self.source} takes {inputs:,}")
        if own is not None:
            if config.scaling != "auto":
                right = f"left out: {self.source} scales its input itself"
                raise RecipeError(f"data.scaling: got {config.scaling!r}, must be {right}")
            return splits.with_scaling(own)
        splits = splits if config.scaling != "auto" else splits.with_scaling(as_they_are(splits))
        try:
            require_reachable(splits.scaling.apply(np.stack(splits.train.wanted.extent)), self.mirror.config.output_activation)
        except DataError as error:
            got = str(error).partition(";")[0]
            right = "the model was trained on values in another scale; state that by `scaling` in [data]"
            raise DataError(f"{config.source}: {got}: {right}") from None
        return splits

    def scaling_text(self, config: DataConfig, splits: Dataset) -> str:
        """How samples are scaled where `[data]` does not say; else empty."""
        if self.mirror.scaling is not None:
            return f"{self.source}: scales its input, which the data's scaling does from now on ({splits.scaling.rule})"
        if config.scaling != "auto":
            return ""
        taken = "taken as they are" if splits.scaling.rule == "none" else "divided by 255"
        right = "it must have been trained on values of that scale; else state `scaling` in [data]"
        return f"{config.source}: values are {taken}, since neither {self.source} nor [data] states a scaling: {right}"

    def samples(self, splits: Dataset | None, count: int = SAMPLES) -> np.ndarray:
        """What the original takes, float32 [n, *shape]: random samples, then training samples."""
        inputs, own = self.mirror.widths[0], self.mirror.scaling or Scaling()
        x = own.invert(np.random.default_rng(0).uniform(-1, 1, (SAMPLES, inputs)), np.float32)
        if splits is not None:
            x = np.concatenate([x, self.given(splits.train, count)])
        return x.reshape(len(x), *self.mirror.chain.shape)

    def given(self, samples: Samples, count: int) -> np.ndarray:
        """The first samples as the original takes them, float32 [n, inputs]."""
        x = samples.take(np.arange(min(len(samples), count)))
        return x.astype(np.float32) if self.mirror.scaling is not None else samples.scaling.apply(x)

    def scaled_output(self, y: np.ndarray) -> np.ndarray:
        """The original's output in scaled values, [n, inputs]."""
        flat = y.reshape(len(y), -1)
        return self.mirror.scaling.apply(flat) if self.mirror.scaling is not None and self.mirror.restores else flat

    def outputs(self, model: Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the import gives for samples of `samples`, [n, inputs], in the unit of the original's output: computed in
        float64, and in float32."""
        own = self.mirror.scaling or Scaling()
        scaled = own.apply(x.reshape(len(x), -1))
        (_, wide), narrow = exactly(model, scaled), reconstructed(model, scaled)
        return (own.invert(wide, np.float64), own.invert(narrow, np.float64)) if self.mirror.restores else (wide, narrow)

    def compared(self, model: Model, splits: Dataset | None, original: Original | None = None) -> ImportOrigin:
        """Where the weights are from, with the import compared on random samples and on those of the data.

        `original`: by default what can load the file. Raises InputError, naming the layer, where the two differ.
        """
        found = self.mirror
        origin = ImportOrigin(
            source=Path(self.source).name,
            format=found.chain.format,
            sha256=self.sha256,
            tie=found.tie,
            replaced=found.replaced,
            notes=tuple(found.notes) + self._badness(model, splits),
        )
        x = self.samples(splits)
        try:
            answer = self.answer(x) if original is None else original(x)
        except UnavailableError as error:
            return replace(origin, reason=" ".join(str(error).split()))
        if found.replaced:
            return replace(origin, witness=answer.witness, reason="its activations are replaced")
        largest = require_equal(*self.outputs(model, x), answer, found.chain, x, self.path)
        return replace(origin, witness=answer.witness, difference=largest)

    def answer(self, x: np.ndarray) -> OriginalAnswer:
        """The original's answer; UnavailableError where nothing can load its file."""
        assert self.path is not None
        if custom := self.mirror.chain.custom:
            taken = "its code is not read; taken for x·Wᵀ + b, as `assume` says; ta.from_keras(model) compares the live model"
            raise UnavailableError(f"no package has the class {', '.join(custom)}: {taken}")
        return run_original(self.path, x)

    def _badness(self, model: Model, splits: Dataset | None) -> tuple[str, ...]:
        """A line where the model's error on training samples is no better than that of their mean."""
        if splits is None or self.mirror.replaced:
            return ()
        wanted, error = self._error(model, splits.train)
        mean = squared_error(wanted, np.broadcast_to(mean_input(splits.train.wanted), wanted.shape))
        if error < mean:
            return ()
        text = f"its error on {splits.config.source} is {number(error)}, that of the mean sample {number(mean)}"
        return (f"{text}: were the data scaled otherwise for its training? State `scaling` in [data]",)

    def _error(self, model: Model, samples: Samples) -> tuple[np.ndarray, float]:
        """(what the model shall give for the first samples, in scaled values; its squared error of a sample)."""
        first = np.arange(min(len(samples), HELD_OUT))
        wanted = samples.scaling.apply(samples.wanted.take(first))
        return wanted, squared_error(wanted, reconstructed(model, samples.scaling.apply(samples.take(first))))

    def with_cost(self, origin: ImportOrigin, trained: TiedAutoencoder, splits: Dataset) -> ImportOrigin:
        """What replaced activations cost: the errors on held-out samples, else on training samples."""
        if not self.mirror.replaced:
            return origin
        held = splits.validation or splits.train
        wanted, before = self._error(self.model(), held)
        errors = {REPLACED: before, TUNED: self._error(trained, held)[1]}
        if origin.witness:  # else nothing that is installed loads it
            x = self.given(held, HELD_OUT)
            answer = self.answer(x.reshape(len(x), *self.mirror.chain.shape))
            errors = {ORIGINAL: squared_error(wanted, self.scaled_output(answer.y).astype(np.float32)), **errors}
        return replace(origin, errors=errors)


def reconstructed(model: Model, x: np.ndarray) -> np.ndarray:
    """What a model gives for scaled values, float32 [n, inputs], without TensorFloat-32."""
    from tiedae.verify.parity.keras_device import coding_function

    return coding_function(model)(x)[1]


def exactly(model: Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(code, y) of a float model for scaled values, [n, inputs], computed in float64."""
    import tensorflow as tf

    y: Any = model.encoder.arranged(x.astype(np.float64))
    outputs = []
    for layer in model.stack:
        product = np.asarray(layer.product(y, layer.kernel.matrix.astype(np.float64)))
        product = product if layer.norm is None else layer.norm.exactly(product)
        bias = 0.0 if layer.bias is None else layer.bias.numpy()
        activated = tf.convert_to_tensor(FUNCTIONS[layer.activation](product + bias))
        y = layer.pooled(layer.restored(activated), training=False)
        outputs.append(np.asarray(y).reshape(len(x), -1))
    return outputs[len(outputs) // 2 - 1], outputs[-1]


def as_they_are(splits: Dataset) -> Scaling:
    """No scaling, of bytes by 255."""
    return Scaling("byte", 0.0, 255.0) if splits.train.dtype == np.uint8 else Scaling()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def start_of(recipe: Recipe, base: Path) -> Start | None:
    """The model that a recipe starts from; None where it states layers. `base`: folder of a relative path."""
    if not recipe.model.source:
        return None
    model = recipe.model
    return Start.read(base / expanded(model.source), model.replace, tie=model.tie, assume=model.assume)


def from_keras(model: Any, data: Dataset | None = None, *, assume: Sequence[str] = ()) -> TiedAutoencoder:
    """The tied autoencoder that a trained model is: a Keras model, or the path of an .h5, .keras or .onnx file or a SavedModel.

    It is compared with the original on random samples, and on those of `data`, within 1e-5 of full scale; where nothing that
    is installed can load a file, `lineage.origin` says so. A model that scales its input (Rescaling, Normalization) states that
    as `spec.scaling`: `data.with_scaling(model.spec.scaling)`. `assume`: classes of your own in a file, whose code is not read,
    to take for x·Wᵀ + b, which nothing is compared with.

    Raises InputError, naming the layer, for a model that is not a tied autoencoder or computes something else, and for a file
    with a class of your own that `assume` does not name.
    """
    from tiedae.config.sample_spec import SampleSpec

    start, original = _start(model, tie=False, assume=assume)
    found, own = start.tied(), start.mirror.scaling
    data = start.data(data)
    if own is not None:
        found.spec = SampleSpec(start.mirror.chain.shape, "uint8" if own.rule == "byte" else "float32", own)
    origin = start.compared(found, data, original)
    found.lineage = evolve(found.lineage, origin=origin)
    return found


def tie(
    model: Any,
    data: Dataset,
    *,
    epochs: int | None = None,
    learning_rate: float | None = None,
    distill: float | None = None,
    train: TrainConfig | None = None,
    assume: Sequence[str] = (),
    verbose: Verbosity = "auto",
) -> TiedAutoencoder:
    """A tied autoencoder, trained from an untied one: a live Keras model or a path, as of `from_keras`, mirrored in its widths.

    It starts from the encoder's kernels, the decoder's, or the mean of units that were matched, whichever has the least loss on
    validation samples, and is trained against `data` and, for `distill` of the loss, against the model. `epochs`,
    `learning_rate` and `distill` replace those of `train`; `assume` as of `from_keras`. `export_bundle` then says what the tie
    costs. Kernels that are equal copies become one without training.

    Raises InputError, naming the layer, for a model that is tied already, is not mirrored or computes something else, and
    without data; DataError for samples that do not fit it.
    """
    from tiedae.compress.autoencoder import epoch_progress, with_given
    from tiedae.compress.train import Training
    from tiedae.compress.tying import tie as train_tied

    if not isinstance(data, Dataset):
        right = "must be a Dataset: a tie is trained; Dataset.from_array makes one of an array"
        raise InputError(f"tie: data: got {type(data).__name__}, {right}")
    config = train or checked(TrainConfig, dict(TIED))
    config = with_given(config, {"epochs": epochs, "learning_rate": learning_rate, "distill": distill})
    require(config.epochs > 0, "epochs", config.epochs, "1 or more: a tie is trained")
    start, original = _start(model, tie=True, assume=assume)
    untied, data = start.untied(config.seed), start.data(data)
    if untied is None:
        right = "left out: the kernels of a pair are equal and become one without training; fit trains the model on"
        require(train is None and epochs is None, "epochs", config.epochs, right)
        return _as_it_is(start, data, original)
    origin = start.compared(untied, data, original)
    tied, history = train_tied(untied, data, Training(config, progress=epoch_progress(verbose)))
    tied.spec = data.spec
    tied.lineage = evolve(tied.lineage.trained("train", config, history), origin=origin, untied=untied)
    return tied


def _as_it_is(start: Start, data: Dataset, original: Original | None) -> TiedAutoencoder:
    """The model of the start's own weights."""
    found = start.tied()
    found.spec = data.spec
    found.lineage = evolve(found.lineage, origin=start.compared(found, data, original))
    return found


def _start(model: Any, *, tie: bool, assume: Sequence[str]) -> tuple[Start, Original | None]:
    """The start that a live model or a path is, and what the model itself answers."""
    assume = checked(tuple[str, ...], assume, "assume")
    if isinstance(model, str | Path):
        return Start.read(Path(model), tie=tie, assume=assume), None
    from tiedae.compress.imports.live_chain import chain_of_model

    found = mirror(chain_of_model(model), tie=tie)
    require_assumed(found.chain, assume)
    return Start(found), _live(model)


def _live(model: Any) -> Original:
    package = type(model).__mro__[-2].__module__.partition(".")[0]
    return lambda x: OriginalAnswer(f"the live model ({package})", np.asarray(model.predict(x, verbose=0)))
