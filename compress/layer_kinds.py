"""The kinds of layers: the record of each, and the shapes that follow from it. Imports no TensorFlow, as `config`.

A layer multiplies rows by its kernel, a matrix [inputs, units], and its decoder layer by the transpose; fans are those of the
matrix. A kind says which rows an encoder's input has: a dense layer has one, its last axis; another may have one per place of
an image. Units are the last axis of what an encoder layer gives. In the rows of the next layer, entry r is of unit r mod units.

A kind of another package is a file too. It derives a record from `LayerConfig`, tagged with its name, and is a row here, one
of `layers.DIRECTIONS` and one of `program.lowering.LOWERINGS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Annotated, Literal

from .keys import NonNegative, Positive, ProperFraction, means
from .records import Checked, OfKind

Activation = Literal["linear", "relu", "relu6", "tanh", "sigmoid"]
"""Activations whose int8 kernels agree in every supported runtime."""
Shape = tuple[int, ...]
OF_WEIGHTS = (".bias", ".gains")
"""Endings of the quantized tensors that weights alone determine: their ranges follow the weights."""


class LayerConfig(Checked, frozen=True):
    """One encoder layer and, mirrored, one decoder layer over the same kernel."""

    units: Annotated[Positive, means("outputs of the encoder layer, inputs of its decoder layer", 256)]
    activation: Annotated[Activation, means("of these units, where they are encoded and where they are decoded")] = "linear"
    use_bias: Annotated[bool, means("a bias in both layers")] = True
    dropout: Annotated[ProperFraction, means("fraction of the layer's outputs that training drops")] = 0.0
    l1: Annotated[NonNegative, means("L1 penalty on the kernel, once, although two layers use it")] = 0.0
    l2: Annotated[NonNegative, means("L2 penalty on the kernel, once")] = 0.0
    activity_l1: Annotated[NonNegative, means("L1 penalty on the layer's output: summed over units, mean over the batch")] = 0.0
    activity_l2: Annotated[NonNegative, means("L2 penalty on the layer's output, as activity_l1")] = 0.0
    batch_norm: Annotated[
        bool, means("batch normalization of these units before the activation, encoded and decoded, each by its own statistics")
    ] = False

    @property
    def kind(self) -> str:
        """Its name in `LAYER_KINDS`."""
        return str(self.__struct_config__.tag or DENSE)

    def sample(self, shape: Shape) -> Shape:
        """The shape in which the first layer takes samples of `shape`: one axis, unless the kind reads several."""
        return (math.prod(shape),)

    def rows(self, shape: Shape) -> Shape:
        """The rows of an encoder's input of `shape`: [*places, inputs of the kernel], by default the input itself.

        Entries are in the order in which runtimes add their products, for the pair rule (see `integers`). A kind raises
        RecipeError, with its key, for a shape that it cannot take.
        """
        return shape

    def filter(self, shape: Shape) -> Shape:
        """The shape of one unit's weights, where samples of `shape` are the input: in the report, what a unit looks for."""
        return shape


DENSE = "dense"
LAYER_KINDS: dict[str, type[LayerConfig]] = {DENSE: LayerConfig}
"""The records of layers by the key `kind`; a dense layer has none."""

if TYPE_CHECKING:
    AnyLayer = LayerConfig
else:

    class AnyLayer(OfKind):
        """A record of one of `LAYER_KINDS`."""

        kinds = LAYER_KINDS


def layer_tables(layers: Sequence[object], activation: Activation = "relu") -> list[object]:
    """[128, 16] as tables of `LayerConfig`: a number is the units of a layer, with `activation` if hidden, linear if the code.

    Other items stay as they are.
    """
    last = len(layers) - 1
    return [
        {"units": int(each), "activation": activation if i < last else "linear"}
        if isinstance(each, Integral) and not isinstance(each, bool)
        else each
        for i, each in enumerate(layers)
    ]
