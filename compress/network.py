"""The network of a tied autoencoder: a stack of encoder layers, mirrored by decoder layers over the same kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tiedae.base import archive
from tiedae.base.errors import FormatError, InputError, NotBuiltError, RecipeError
from tiedae.base.files import write_atomic
from tiedae.base.records import checked, plain
from tiedae.config.config import Granularity, require
from tiedae.config.layer_kinds import OF_WEIGHTS, Activation, LayerConfig, Shape, layer_tables
from tiedae.config.model_config import ModelConfig
from tiedae.config.sample_spec import SampleSpec

from .batch_norm import MOMENTUM, Normalization
from .kernel import TiedKernel
from .layers import Decoder, Encoder, know_statistics
from .legacy_keras import tf_keras
from .lineage import Lineage
from .quantizers import ActivationQuantizers, QuantizationSpec, Range
from .rate import RateTerm
from .tied_layers import Tap, TiedLayer
from .weights import Norm, weights_of


class TiedNetwork(tf_keras.Model):
    """Variables, layers, quantizers and archive of a tied autoencoder; `TiedAutoencoder`, which says more, adds training."""

    if TYPE_CHECKING:  # else a type checker takes Keras' functional model for what the constructor gives

        def __new__(cls, *arguments: Any, **options: Any) -> Self: ...

    def __init__(
        self,
        layers: ModelConfig | Sequence[int | LayerConfig],
        *,
        activation: Activation = "relu",
        output_activation: Activation = "sigmoid",
        inputs: int | Shape = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(name="tied_autoencoder")
        if isinstance(layers, ModelConfig):
            self.config = layers
        else:
            self.config = ModelConfig(layer_tables(layers, activation), output_activation, inputs)  # type: ignore[arg-type]
        self.seed = seed
        self.spec: SampleSpec | None = None
        self.lineage = Lineage()
        self.quantizers: ActivationQuantizers | None = None
        self.code_scale: float | None = None
        if self.config.size:
            self._create()

    @classmethod
    def from_weights(
        cls,
        kernels: Sequence[ArrayLike],
        encoder_biases: Sequence[ArrayLike] | None = None,
        decoder_biases: Sequence[ArrayLike] | None = None,
        *,
        activations: Sequence[Activation] | None = None,
        output_activation: Activation = "sigmoid",
        norms: Mapping[int, Norm] | None = None,
        seed: int = 0,
    ) -> Self:
        """The model of weights that were trained elsewhere, for which data are scaled as they were there.

        `kernels`: [inputs, units] each, in the encoder's order; the decoder's are their transposes. `encoder_biases`,
        `decoder_biases`: [units] of each layer, both in forward order; None: zeros, or no biases where both are None.
        `activations`: of each encoder layer; by default relu, and linear for the code. A decoder layer has the activation of
        the encoder layer whose output it reconstructs, the last one `output_activation`. `norms`: batch normalization by the
        layer's place in forward order, of both directions of a layer's units; biases are added behind it.

        Raises InputError, naming the array, for other shapes and for values that are not finite; RecipeError for an activation.
        """
        matrices, biases = weights_of(kernels, encoder_biases, decoder_biases)
        chosen = (*["relu"] * (len(matrices) - 1), "linear") if activations is None else tuple(activations)
        require(len(chosen) == len(matrices), "activations", list(chosen), f"{len(matrices)}, one per kernel")
        found = norms or {}
        layers = [
            {"units": matrix.shape[1], "activation": function, "use_bias": bool(biases), "batch_norm": i in found}
            for i, (matrix, function) in enumerate(zip(matrices, chosen, strict=True))
        ]
        config = ModelConfig(layers, output_activation, len(matrices[0]))  # pyright: ignore[reportArgumentType]
        model = cls(config, seed=seed)
        model.take_weights(matrices, biases, found)
        return model

    def take_weights(self, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray], norms: Mapping[int, Norm]) -> None:
        """Take weights that were trained elsewhere: a matrix [inputs, units] per kernel, biases and norms as `from_weights`,
        the biases of all layers in forward order; raises InputError as `restore`."""
        arrays = {f"kernel_{i}": matrix for i, matrix in enumerate(kernels)}
        arrays |= {f"{layer.tensor_name}.bias": bias for layer, bias in zip(self.stack, biases, strict=bool(biases))}
        for i, norm in norms.items():
            arrays |= {f"{self.stack[i].tensor_name}.{part}": values for part, values in Normalization.arrays(norm).items()}
        self.restore(arrays)

    def __getattr__(self, name: str) -> Any:
        if name in ("kernels", "encoder", "decoder"):
            raise NotBuiltError(f"{name}: the model is not built; state inputs=, or let fit see data first")
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def build_for(self, shape: Shape) -> None:
        """Create the variables for samples of `shape`; nothing where they are there. Raises InputError where it has no values,
        and is not known before."""
        if self.config.size:
            return
        if not math.prod(shape):
            raise InputError("the model is not built, and the data do not say how many values a sample has; state inputs=")
        self.config = self.config.of_samples(shape)
        self._create()

    @property
    def bytes(self) -> int:
        """Of its weights in float32, each kernel once."""
        channels = (each for layer in self.stack for each in layer.channels.values())
        return 4 * sum(each.shape.num_elements() for each in (*(kernel.variable for kernel in self.kernels), *channels))

    def _create(self) -> None:
        config, seed = self.config, self.seed
        self.kernels = [
            TiedKernel(*matrix, name=f"kernel_{i}", seed=seed + i, l1=layer.l1, l2=layer.l2)
            for i, (matrix, layer) in enumerate(zip(config.matrices, config.layers, strict=True))
        ]
        self.encoder = Encoder(config, self.kernels, seed)
        self.decoder = Decoder(config, self.kernels)
        self(tf.zeros((1, config.size)))

    def become(self, other: TiedNetwork) -> None:
        """Take the variables and the configuration of a float model, such as one without some of the units."""
        self.config, self.code_scale = other.config, other.code_scale
        self.kernels, self.encoder, self.decoder = other.kernels, other.encoder, other.decoder
        self.train_function = self.predict_function = self.test_function = None

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.encode_decode(x, training)[1]

    def encode_decode(
        self, x: tf.Tensor, training: bool = False, kernels: Sequence[tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(code, y) in one pass: each kernel is masked and quantized once for both directions, unless they are given."""
        kernels = [kernel(training=training) for kernel in self.kernels] if kernels is None else kernels
        code = self.encoder(x, training=training, kernels=kernels)
        return code, self.decoder(code, training=training, kernels=kernels)

    def reconstruct_at(self, rate: RateTerm, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """(y, cost of the code [batch]): the reconstruction from the code as `rate` leaves it, and what that costs."""
        kernels = [kernel(training=training) for kernel in self.kernels]
        code, cost = rate(self.encoder(x, training=training, kernels=kernels), training)
        return self.decoder(code, training=training, kernels=kernels), cost

    @property
    def stack(self) -> tuple[TiedLayer, ...]:
        """All layers in forward order."""
        return (*self.encoder.stack, *self.decoder.stack)

    @property
    def pairs(self) -> tuple[tuple[TiedLayer, TiedLayer], ...]:
        """(encoder layer, decoder layer) of each kernel."""
        return tuple(zip(self.encoder.stack, reversed(self.decoder.stack), strict=True))

    @property
    def quantized(self) -> bool:
        """Whether kernels or activations are fake-quantized."""
        return self.quantizers is not None or any(kernel.granularity is not None for kernel in self.kernels)

    def set_tap(self, tap: Tap) -> None:
        """Pass every tensor that the integer program quantizes through `tap`."""
        for layer in self.stack:
            layer.tap = tap

    @property
    def norms(self) -> tuple[Normalization, ...]:
        """Those of all layers, in forward order."""
        return tuple(layer.norm for layer in self.stack if layer.norm is not None)

    def start_statistics(self, x: np.ndarray) -> None:
        """Begin new moving averages with the statistics of samples, float32 [n, inputs]; others go on. A short training would
        else end before they are of the products' size."""
        if self.norms and all(norm.is_new for norm in self.norms):
            for norm in self.norms:
                norm.momentum = 0.0
            self(x, training=True)
            for norm in self.norms:
                norm.momentum = MOMENTUM

    def know_statistics(self, x: np.ndarray) -> None:
        """Give layers of an import that had no statistics those of samples, float32 [n, inputs]; they compute what they did."""
        if any(norm.is_unknown for norm in self.norms):
            know_statistics(self.stack, self.encoder.arranged(tf.convert_to_tensor(x)))

    def freeze_statistics(self, frozen: bool) -> None:
        """Whether training normalizes by the moving averages, which then stay as they are, see `batch_norm`."""
        for norm in self.norms:
            norm.frozen = frozen

    @property
    def frozen_statistics(self) -> bool:
        return any(norm.frozen for norm in self.norms)

    @contextmanager
    def tapped(self, tap: Tap) -> Iterator[None]:
        """Set `tap` inside a `with` block, then restore the previous one."""
        before = self.encoder.tap
        self.set_tap(tap)
        try:
            yield
        finally:
            self.set_tap(before)

    def prepare_kernels(self, bits: Sequence[int]) -> None:
        """Prepare the kernels for quantization to `bits`: apply masks and clusters to the variables, and the pair rule to
        clusters."""
        for kernel, width in zip(self.kernels, self.kernel_bits(bits), strict=True):
            kernel.write_back()
            if width == 8:
                kernel.reassign_pairs()

    def quantize_kernels(self, granularity: Granularity, bits: Sequence[int] = (8,)) -> None:
        """Fake-quantize the kernels from now on; calibrate the activations afterwards.

        `bits`: one width for all kernels, or one per kernel; RecipeError for another number of widths.
        """
        for kernel, width in zip(self.kernels, self.kernel_bits(bits), strict=True):
            kernel.attach_quantizer(granularity, width)

    def kernel_bits(self, bits: Sequence[int]) -> tuple[int, ...]:
        """One width per kernel from one per kernel or one for all; RecipeError for another number of widths."""
        count = len(self.kernels)
        require(len(bits) in (1, count), "bits", tuple(bits), f"one width, or {count}, one per kernel")
        return tuple(bits) * count if len(bits) == 1 else tuple(bits)

    def quantize_activations(self, spec: QuantizationSpec, ranges: Mapping[str, Range]) -> ActivationQuantizers:
        """Fake-quantize the activations from now on; `ranges` by tensor name, calibrated with quantized kernels.

        Raises InputError if the bits or the granularity of the kernels differ from `spec`.
        """
        for kernel, bits in zip(self.kernels, self.kernel_bits(spec.bits), strict=True):
            if (kernel.granularity, kernel.bits) != (spec.granularity, bits):
                got = f"{kernel.bits} bits per {kernel.granularity}" if kernel.granularity else "not quantized"
                raise InputError(f"{kernel.name}: got {got}, must be {bits} bits per {spec.granularity} as the spec says")
        self.quantizers = ActivationQuantizers(self.config, spec, ranges)
        self.set_tap(self.quantizers)
        return self.quantizers

    def finalize(self) -> None:
        """Apply masks and clusters to the variables, compute scales and bias ranges from the final weights, and move the
        ranges of activations by what training found."""
        for kernel in self.kernels:
            kernel.write_back()
            kernel.update_scales()
        if self.quantizers is not None:
            self.quantizers.finalize()
        self.update_bias_ranges()

    def update_bias_ranges(self) -> None:
        """Compute the ranges of quantized biases and gains from their current values."""
        if self.quantizers is not None:
            for layer in self.stack:
                for part, values in zip(OF_WEIGHTS, (layer.offset, layer.gains), strict=True):
                    if f"{layer.tensor_name}{part}" in self.quantizers.tracked:
                        self.quantizers(f"{layer.tensor_name}{part}", tf.convert_to_tensor(values), True)

    def state(self) -> dict[str, tf.Variable]:
        """Every variable by a name that does not depend on Keras, as archives and checkpoints store them."""
        variables: dict[str, tf.Variable] = {}
        for kernel in self.kernels:
            parts = {"": kernel.variable, ".mask": kernel.mask, ".clusters": kernel.clusters, ".largest": kernel.largest}
            variables |= {f"{kernel.name}{part}": variable for part, variable in parts.items() if variable is not None}
        for layer in self.stack:
            variables |= layer.channels
        for dropout in self.encoder.dropout:
            if dropout is not None:
                variables[f"{dropout.name}.counter"] = dropout.counter
        if self.quantizers is not None:
            for name, pair in self.quantizers.range_variables.items():
                variables |= {f"range.{name}.{key}": variable for key, variable in pair.items()}
        return variables

    def trained_state(self) -> dict[str, tf.Variable]:
        """`state`, and the variables that are 0 after each epoch, by name: what an optimizer keeps moments of."""
        factors = {} if self.quantizers is None else self.quantizers.factors
        return self.state() | {f"range.{name}.factor": variable for name, variable in factors.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """The values of `state` by name; the inverse of `restore`."""
        return {name: variable.numpy() for name, variable in self.state().items()}

    @property
    def stage(self) -> str:
        """The last stage that the model has been through; of one from an archive, the last that it shows signs of."""
        if self.lineage.stage is not None:
            return self.lineage.stage
        if self.quantized:
            return "quantize"
        if any(kernel.clusters is not None for kernel in self.kernels):
            return "cluster"
        return "prune" if any(kernel.mask is not None for kernel in self.kernels) else "train"

    def copy(self) -> Self:
        """An independent model of equal variables."""
        other = self.rebuild(self.describe(), self.arrays())
        other.lineage = self.lineage
        return other

    def __reduce__(self) -> Any:
        return type(self).rebuild, (self.describe(), self.arrays()), {"lineage": self.lineage}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.lineage = state["lineage"]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self)] = other = self.copy()
        return other

    def save_weights(self, *_: Any, **__: Any) -> None:
        """Refused: Keras' format stores no masks, quantizers and ties."""
        raise InputError("save_weights: use save(path.safetensors), which keeps masks, quantizers and the tie")

    def save(self, path: str | Path, overwrite: bool = True, **_: Any) -> None:  # type: ignore[override]
        """Write a .safetensors archive, with configuration and `spec` in its metadata, in place of a file or a link there.

        Raises InputError for another ending, Keras' own formats among them: they do not keep masks, quantizers and the tie.
        """
        if Path(path).suffix != archive.SUFFIX:
            raise InputError(f"{path}: must end in {archive.SUFFIX}; Keras' formats lose masks, quantizers and the tie")
        if not overwrite and Path(path).exists():
            raise InputError(f"{path}: exists, and overwrite is false")
        write_atomic(Path(path), archive.pack(self.describe(), self.arrays()), follow=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Rebuild a model from `save`'s archive, including ties, masks, quantizers and ranges.

        Raises FormatError for a missing or damaged file, or one of another kind.
        """
        header, arrays = archive.unpack(Path(path), archive.FORMAT)
        try:
            for name, values in arrays.items():
                if not np.isfinite(values).all():
                    raise FormatError(f"{path}: {name} holds values that are not finite; the archive is damaged")
            return cls.rebuild(header, arrays)
        except RecipeError as error:
            raise FormatError(f"{path}: its configuration is wrong: {error}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: the archive contradicts itself: {error}") from error

    def describe(self) -> dict[str, Any]:
        """The archive's header, which `rebuild` reads; JSON-compatible."""
        return {
            "format": archive.FORMAT,
            "version": archive.VERSION,
            "model": plain(self.config),
            "seed": self.seed,
            "spec": None if self.spec is None else plain(self.spec),
            **({} if self.code_scale is None else {"code_scale": self.code_scale}),
            "masked": [kernel.name for kernel in self.kernels if kernel.mask is not None],
            "quantization": None if self.quantizers is None else plain(self.quantizers.spec),
            "pairs": {kernel.name: (kernel.pair_limit, kernel.headroom) for kernel in self.kernels},
        }

    @classmethod
    def rebuild(cls, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The model of a header from `describe` and of arrays from `arrays`."""
        model = cls(checked(ModelConfig, header["model"], "model"), seed=header.get("seed", 0))
        model.code_scale = header.get("code_scale")
        model.restore_structure(arrays)
        masked = [kernel.name for kernel in model.kernels if kernel.mask is not None]
        if masked != header["masked"]:
            raise ValueError(f"masks of {masked}, the configuration says {header['masked']}")
        if header["quantization"] is not None:
            names = [key.removeprefix("range.").removesuffix(".min_var") for key in arrays if key.endswith(".min_var")]
            spec = checked(QuantizationSpec, header["quantization"], "quantization")
            model.quantize_kernels(spec.granularity, spec.bits)
            for kernel in model.kernels:
                kernel.pair_limit, kernel.headroom = header["pairs"][kernel.name]
            model.quantize_activations(spec, dict.fromkeys(names, (0.0, 0.0)))
        model.restore(arrays)
        if header.get("spec") is not None:
            model.spec = checked(SampleSpec, header["spec"])
        return model

    def restore_structure(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the masks and clusters that `arrays` holds."""
        for kernel in self.kernels:
            if f"{kernel.name}.mask" in arrays:
                kernel.set_mask(arrays[f"{kernel.name}.mask"])
            if f"{kernel.name}.clusters" in arrays:
                kernel.set_clusters(arrays[f"{kernel.name}.clusters"])

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Assign `arrays` to the variables of `state`, by name; ValueError for another shape."""
        for name, variable in self.state().items():
            if arrays[name].shape != tuple(variable.shape):
                raise ValueError(f"{name}: shape {arrays[name].shape}, the configuration says {tuple(variable.shape)}")
            variable.assign(arrays[name])

    def masks(self) -> dict[str, np.ndarray]:
        """Which weights are kept, bool [inputs, units] by kernel name."""
        return {kernel.name: kernel.live for kernel in self.kernels}
