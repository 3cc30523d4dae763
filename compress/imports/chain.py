"""A model that somebody else trained, as a chain of layers: what each computes, and of which variable each array is.

A reader of a format gives a `Chain`; `pairs` says what of it is tied, and `mirrored` makes a tied autoencoder's weights of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from tiedae.base.errors import InputError
from tiedae.config.layer_kinds import Shape

Tie = Literal["stored", "assumed", "merged", "trained"]
"""Where the kernel of a layer comes from: its own weights or a variable that the file says it shares; or only its place in the
model, as of a layer that stores a bias and no kernel, whose code is not read. merged: from equal copies; trained: of a model
that was not tied."""

FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
}
"""The activations that a tied autoencoder can have, of float64 arrays; a chain may name others, which it cannot compute."""
TOLERANCE = 1e-5
"""Largest difference, as a fraction of full scale, of what is read of a model to what the model itself gives."""


DIGESTED = 1 << 16
"""Values that are converted at a time."""


@dataclass(frozen=True)
class ChainArray:
    """An array of a model, read when it is asked for.

    `variable`: equal for arrays that are one variable in the model, and different for different ones, equal values or not.
    """

    variable: str
    shape: Shape
    read: Callable[[], np.ndarray] = field(repr=False, compare=False)
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @cached_property
    def digest(self) -> bytes:
        """Equal for arrays of equal shape and values, in whichever dtype; they are read once."""
        values, found = np.ravel(self.read()), hashlib.sha256(repr(self.shape).encode())
        for start in range(0, values.size, DIGESTED):
            found.update((values[start : start + DIGESTED].astype(np.float64) + 0.0).tobytes())  # −0 is 0
        return found.digest()


def stored(variable: str, values: np.ndarray) -> ChainArray:
    """An array that is in memory already, as `variable`."""
    return ChainArray(variable, values.shape, lambda: values, values.dtype.name)


@dataclass(frozen=True)
class ChainLayer:
    """A layer of a chain. `name` and `class_name`: those of the model, such as dense_1 and Dense."""

    name: str
    class_name: str

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name} ({self.class_name})"

    def apply(self, x: np.ndarray) -> np.ndarray:
        """What it gives for x, float64 [n, …]; InputError where it cannot be computed."""
        raise NotImplementedError

    def output(self, shape: Shape) -> Shape:
        """The shape of what it gives for a sample of `shape`."""
        return shape


@dataclass(frozen=True)
class ChainProduct(ChainLayer):
    """x · kernel + bias over the last axis. `kernel`: [inputs, units], or [units, inputs] where it is `transposed`; its first
    axis may be several.

    `mask`: of a pruned kernel, as `kernel`. `before`: what is subtracted from x first, as some hand-made decoders do.
    """

    kernel: ChainArray
    bias: ChainArray | None = None
    transposed: bool = False
    tie: Tie = "stored"
    mask: ChainArray | None = None
    before: ChainArray | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """(inputs, units) of the product."""
        rows, columns = math.prod(self.kernel.shape[:-1]), self.kernel.shape[-1]
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def channels(self) -> int:
        """The last axis of what it gives; it has as many biases."""
        return self.widths[1]

    def mirrors(self, other: ChainProduct) -> bool:
        """Whether the kernel of an earlier product has the shape of this one's, transposed."""
        return type(self) is type(other) and self.widths == other.widths[::-1]

    def oriented(self, values: np.ndarray) -> np.ndarray:
        """Values of the kernel's shape as [inputs, units] of the product."""
        matrix = values.reshape(-1, values.shape[-1])
        return matrix.T if self.transposed else matrix

    def matrix(self) -> np.ndarray:
        """The kernel with its mask, [inputs, units] of the product, in the file's dtype."""
        return self.oriented(self.kernel.read() if self.mask is None else self.kernel.read() * self.mask.read())

    def output(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.channels)

    def multiplied(self, x: np.ndarray) -> np.ndarray:
        """x · kernel, float64."""
        return x @ self.matrix().astype(np.float64)

    def apply(self, x: np.ndarray) -> np.ndarray:
        y = self.multiplied(x if self.before is None else x - self.before.read().astype(np.float64))
        return y if self.bias is None else y + self.bias.read().astype(np.float64)


@dataclass(frozen=True)
class ChainFunction(ChainLayer):
    """An activation by Keras' name, such as relu; one that is not in `FUNCTIONS` cannot be computed."""

    function: str

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.function not in FUNCTIONS:
            raise InputError(f"{self.title}: activation {self.function}, must be one of {', '.join(FUNCTIONS)}")
        return FUNCTIONS[self.function](x)


@dataclass(frozen=True)
class Affine(ChainLayer):
    """x · scale + offset, each one number or [last axis]: Rescaling and Normalization."""

    scale: np.ndarray
    offset: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale + self.offset


@dataclass(frozen=True)
class BatchNorm(ChainLayer):
    """gamma · (x − mean) / √(variance + epsilon) + beta over the last axis; None: without gamma or beta."""

    gamma: ChainArray | None
    beta: ChainArray | None
    mean: ChainArray
    variance: ChainArray
    epsilon: float

    def apply(self, x: np.ndarray) -> np.ndarray:
        gain = 1 / np.sqrt(self.variance.read().astype(np.float64) + self.epsilon)
        if self.gamma is not None:
            gain = gain * self.gamma.read().astype(np.float64)
        y = (x - self.mean.read().astype(np.float64)) * gain
        return y if self.beta is None else y + self.beta.read().astype(np.float64)


@dataclass(frozen=True)
class ChainReshape(ChainLayer):
    """A new shape [n, *shape] of the same values in the same order: Flatten and Reshape."""

    shape: Shape

    def output(self, shape: Shape) -> Shape:
        return self.shape

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True)
class Refused(ChainLayer):
    """A layer that no tied autoencoder has, such as an LSTM.

    `reason`: what it is, and what would do. `weights`: its arrays by name. `custom`: it is of a class of the
    model's own, whose code is not read.
    """

    reason: str
    weights: Mapping[str, ChainArray] = field(default_factory=dict)
    custom: bool = False

    def apply(self, x: np.ndarray) -> np.ndarray:
        raise InputError(f"{self.title}: {self.reason}")


@dataclass(frozen=True)
class Chain:
    """The layers of a model in the order in which they compute. `format`: of the file, such as "Keras 2 (.h5)".

    `shape`: of a sample. `left_out`: layers that only training has, such as Dropout, by title. `whole`: whether every layer is
    there; the graph of an .onnx file or SavedModel is read up to the first operation that is refused. `notes`: what is
    taken for granted, since the file does not state it. `custom`: classes of the model's own that are
    taken for products.
    """

    source: str
    format: str
    shape: Shape
    layers: tuple[ChainLayer, ...]
    left_out: tuple[str, ...] = ()
    whole: bool = True
    notes: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()

    @property
    def products(self) -> tuple[ChainProduct, ...]:
        """Its products, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, ChainProduct))

    def require_readable(self) -> None:
        """Raise InputError, naming source, layer and class, for the first layer that is refused."""
        for layer in self.layers:
            if isinstance(layer, Refused):
                raise InputError(f"{self.source}: {layer.title}: {layer.reason}")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the model gives for samples [n, *shape]: float64, computed in float64; InputError as `ChainLayer.apply`."""
        y = np.asarray(x, np.float64)
        for layer in self.layers:
            y = layer.apply(y)
        return y
