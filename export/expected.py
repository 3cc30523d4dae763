"""What the files are held against: the integer program's numbers, and those of the float model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .inputs import Conversion, program_input
from .interpreter import execute
from .program import Program

TRACED_SAMPLES = 256
"""How many samples are compared operation by operation, and layer by layer."""

Keras = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""float32 model inputs [batch, inputs] → (code, y) of a Keras model."""
Layers = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""float32 model inputs [batch, inputs] → the output of every layer, float32 [batch, units], by the program's names."""


@dataclass(frozen=True)
class Original:
    """The Keras models that a bundle was made from, as far as they are given.

    `keras` is the model that the float files come from, `layers` gives the outputs of its layers, `uncompressed` is the float
    model before pruning.
    """

    keras: Keras | None = None
    layers: Layers | None = None
    uncompressed: Keras | None = None


@dataclass(frozen=True, eq=False)
class Floats:
    """What the float model makes of the samples, and who says so: `keras`, or the `float program` read from the float files.

    `code` and `y` for all samples, float32 [samples, size]. `layers`: the output of every layer for the first `TRACED_SAMPLES`,
    by the program's names, encoded from `x` and decoded from `code`.
    """

    reference: str
    code: np.ndarray
    y: np.ndarray
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    layers_reference: str = ""


@dataclass(frozen=True, eq=False)
class Expected:
    """What an integer program makes of the samples.

    `x`, `code` and `y` for all of them, uint8 [samples, size]; `traced` every tensor for the first `TRACED_SAMPLES`.
    """

    program: Program
    x: np.ndarray
    code: np.ndarray
    y: np.ndarray
    traced: Mapping[str, np.ndarray]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The program's `y` for other codes, uint8 [samples, units]."""
        same = codes.shape == self.code.shape and np.array_equal(codes, self.code)
        return self.y if same else execute(self.program, "decode", codes)["y"]


def expect(program: Program, scaled: np.ndarray, conversion: Conversion = "divide", known: Expected | None = None) -> Expected:
    """Run an integer program on float32 model inputs [samples, inputs], which become integers by `conversion`.

    `known` is returned where it is the same program's for the same integers.
    """
    x = program_input(program, scaled, conversion)
    if known is not None and np.array_equal(x, known.x):
        return known
    values = execute(program, "reconstruct", x)
    return Expected(program, x, values["code"], values["y"], {name: each[:TRACED_SAMPLES] for name, each in values.items()})


def best_floats(
    scaled: np.ndarray, original: Original, golden: tuple[np.ndarray, np.ndarray] | None, program: Program | None
) -> Floats | None:
    """The best float reference that there is: a Keras model, its golden vectors, the float program; for layers likewise.

    `golden` is Keras' (code, y) where `scaled` are the golden samples.
    """
    floats = None
    if original.keras is not None:
        floats = Floats("keras", *original.keras(scaled))
    elif golden is not None:
        floats = Floats("keras", *golden)
    elif program is not None:
        values = execute(program, "reconstruct", scaled)
        floats = Floats("float program", values["code"], values["y"])
    if floats is not None and original.layers is not None:
        return replace(floats, layers=original.layers(scaled[:TRACED_SAMPLES]), layers_reference="keras")
    if floats is not None and program is not None:
        values = execute(program, "reconstruct", scaled[:TRACED_SAMPLES])
        layers = {name: values[name] for name in layer_outputs(program)}
        return replace(floats, layers=layers, layers_reference="float program")
    return floats


def layer_outputs(program: Program) -> tuple[str, ...]:
    """The tensors that layers end in, by the program's names, in order: `encoder_0`, `code`, `decoder_1`, `y`."""
    names = dict.fromkeys(operation.y.split(".")[0] for operation in program.operations)
    return tuple(name for name in names if name != "x")
