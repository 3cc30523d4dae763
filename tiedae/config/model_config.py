"""The configuration of a model, and the shapes that follow from it. Imports no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from tiedae.base.keys import Count, Line, Positive, means
from tiedae.base.records import Checked, require, within

from .layer_kinds import COMPONENT_UNITS, Activation, AnyLayer, Shape


class ModelConfig(Checked, frozen=True):
    """A stack of tied layers: a sample → output of layers[0] → … → output of layers[-1] (the code) and back.

    Decoder layer i carries the activation of encoder layer i − 1, the last one `output_activation`.
    `interleave` is what an N:M pattern wants where neighbouring inputs are similar; samples keep their order.
    `source`: where the weights of a recipe's model are from, which then has its layers. `tie`: its two kernels of a pair
    become one.
    """

    layers: Annotated[
        tuple[AnyLayer, ...],
        Meta(min_length=1),
        means("encoder layers, the code last; a number is a layer's units, relu if hidden", [256, 16]),
    ]
    output_activation: Annotated[Activation, means("of the last decoder layer")] = "sigmoid"
    inputs: Annotated[
        Count | Annotated[tuple[Positive, ...], Meta(min_length=2)],
        means("values per sample, or its axes; 0: as the data have"),
    ] = 0
    interleave: Annotated[
        Positive, means("n: n neighbouring rows of the first kernel are inputs from n equal parts of a sample")
    ] = 1
    source: Annotated[
        Line, means('a trained model in place of layers: .h5, .keras, .onnx or a SavedModel, beside the recipe; "": none')
    ] = ""
    tie: Annotated[bool, means("with a source that is mirrored and not tied: training ties it, train.epochs ≥ 1")] = False
    replace: Annotated[
        Mapping[str, Activation] | None,
        means('with source: for activations by their class, such as { LeakyReLU = "relu" }; train.epochs ≥ 1; false: none'),
    ] = None

    assume: Annotated[
        tuple[Line, ...],
        means('with source: classes of its own, such as ["DenseTied"], whose code is not read, to take for x·Wᵀ + b'),
    ] = ()

    def check(self) -> None:
        divisor = f"a divisor of the {self.size} inputs"
        require(self.size % self.interleave == 0, "interleave", self.interleave, divisor)
        flat = "1 for samples of several axes"
        require(isinstance(self.inputs, int) or self.interleave == 1, "interleave", self.interleave, flat)
        if self.size:
            _ = self.rows  # a layer refuses a shape that it cannot take

    def of_samples(self, shape: Shape) -> ModelConfig:
        """The same model for samples of `shape`, in the axes that its first layer reads."""
        axes = self.layers[0].sample(shape)
        return replace(self, inputs=axes if len(axes) > 1 else math.prod(axes))

    @property
    def shape(self) -> Shape:
        """The shape of a sample in the model."""
        return (self.inputs,) if isinstance(self.inputs, int) else self.inputs

    @property
    def size(self) -> int:
        """Values per sample; 0 if not known."""
        return math.prod(self.shape)

    @property
    def rows(self) -> tuple[Shape, ...]:
        """Of each layer what its kernel multiplies, [*places, inputs of the kernel]; `inputs` must be known."""
        found, shape = [], self.shape
        for i, layer in enumerate(self.layers):
            with within(f"layers[{i}]."):
                found.append(layer.rows(shape))
            shape = layer.output(found[-1])
        return tuple(found)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """(shape of a sample, of the output of layer 0, …, of the code); `inputs` must be known."""
        outputs = (layer.output(rows) for rows, layer in zip(self.rows, self.layers, strict=True))
        return (self.shape, *outputs)

    @property
    def no_components(self) -> str:
        """Why the layers cannot hold principal components, see `pca_start`; empty where they can."""
        for i, layer in enumerate(self.layers):
            if layer.pools:
                return f"layers[{i}] has max pooling, behind which pairs of units hold no components"
            known = tuple(COMPONENT_UNITS) if i < len(self.layers) - 1 else ("linear",)
            if layer.activation not in known:
                return f"layers[{i}] has activation {layer.activation}, and {', '.join(known)} alone hold components there"
        return ""

    @property
    def starts_as_pca(self) -> bool:
        """Whether a start at PCA is PCA for all samples, of these or of their windows; `inputs` must be known.

        Of linear and relu layers that hold a component, each value under one window, in front of a linear output.
        """
        hold = all(
            layer.activation in ("linear", "relu") and layer.units >= COMPONENT_UNITS[layer.activation] for layer in self.layers
        )
        once = all(
            (counts == 1).all()
            for layer, shape in zip(self.layers, self.shapes, strict=False)
            for counts in layer.windows_over(shape)
        )
        return self.output_activation == "linear" and not self.no_components and hold and once

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(inputs, units) of each kernel; `inputs` must be known."""
        return tuple((rows[-1], layer.units) for rows, layer in zip(self.rows, self.layers, strict=True))

    @property
    def widths(self) -> tuple[int, ...]:
        """(values per sample, of the output of layer 0, …, of the code); of dense layers alone if `inputs` is not known."""
        if not self.size:
            return (0, *(layer.units for layer in self.layers))
        return tuple(map(math.prod, self.shapes))

    def decoder_activation(self, index: int) -> str:
        """The activation of the decoder layer that uses kernel `index`."""
        return self.output_activation if index == 0 else self.layers[index - 1].activation

    def decoder_batch_norm(self, index: int) -> bool:
        """Whether the decoder layer of kernel `index` is normalized: if the units that it gives are. The output never is."""
        return index > 0 and self.layers[index - 1].batch_norm
