"""What the files must give: the outputs of the integer program, of the float model, and of the float program of a bundle.

The float program is read back from the float files; it stands in for Keras where no model is given. Its operations are those
of the integer program without quantization, its kernels those whose sha256 the manifest states, and its biases come from the
files. The first file whose program gives Keras' golden vectors defines it; every other file must hold the same biases bit for
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..formats.model_file import Contents, oriented
from ..interpreter import Conversion, execute, program_input
from ..manifest import sha256_of
from ..operations import Operation
from ..program import Program
from ..verify.results import LEAST_SCALE

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


BIAS8 = "8"
"""The end of a bias' name where it is added on its own: `y.bias8`."""


@dataclass(frozen=True)
class Disagreement:
    """A bias that another float file holds with other values."""

    file: str
    name: str
    text: str


def float_program(integer: Program, constants: Mapping[str, np.ndarray]) -> Program:
    """An integer program in the fused layout as the float program of the same layers.

    `constants`: float32 kernels [inputs, units] and biases [size] by the program's names. Raises KeyError where one is missing.
    """
    renamed: dict[str, str] = {}

    def plain(part: Sequence[Operation]) -> tuple[Operation, ...]:
        kept: list[Operation] = []
        for operation in part:
            source = renamed.get(operation.x, operation.x)
            if not operation.integer_only:
                kept.append(replace(operation, x=source))
            elif "." not in operation.y:  # a layer's output, whatever number it has
                kept[-1] = replace(kept[-1], y=operation.y)
            else:
                renamed[operation.y] = source
        return tuple(kept)

    encoder, decoder = plain(integer.encoder), plain(integer.decoder)
    names = {"x", *(operation.y for operation in (*encoder, *decoder))}
    tensors = {name: replace(tensor, quantization=None) for name, tensor in integer.tensors.items() if name in names}
    kernels = {name: replace(kernel, scales=()) for name, kernel in integer.kernels.items()}
    used = {name: constants[name] for name in (*kernels, *_biases(integer))}
    return Program(integer.name, tensors, kernels, encoder, decoder, used)


def _biases(program: Program) -> dict[str, str]:
    """The tensor that each bias is added to, by the bias' name."""
    biases = ((getattr(operation, "bias", None), operation.y) for operation in program.operations)
    return {bias: y for bias, y in biases if bias is not None}


def read_float_program(
    integer: Program,
    contents: Mapping[str, Contents],
    kernels: Mapping[str, str],
    golden: Mapping[str, np.ndarray],
    tolerance: float,
) -> tuple[Program | None, list[Disagreement]]:
    """The float program, and every bias of a float file that is not its own; (None, []) where no file gives the golden vectors.

    `integer` in the fused layout; `contents` of the float files by name; `kernels` gives the sha256 of each kernel's float32
    values; `golden`: `x` scaled to model units, `code.f32` and `y.f32`; `tolerance` is relative to full scale, see `compare`.
    """
    held = {name: _named(integer, each) for name, each in contents.items()}
    found = _kernels(integer, contents, kernels)
    together = {key: values for biases in held.values() for key, values in biases.items()}
    for biases in held.values():
        constants = found | together | biases
        if not {*integer.kernels, *_biases(integer)} <= constants.keys():
            continue
        program = float_program(integer, constants)
        if _gives(program, golden, tolerance):
            return program, [wrong for name in contents for wrong in _disagreements(name, held[name], program)]
    return None, []


def _named(program: Program, contents: Contents) -> dict[str, np.ndarray]:
    """The biases in a float file by the program's names."""
    names = {f"{name}{end}": name for name in _biases(program) for end in ("", BIAS8)}
    return {names[each.name]: each.values for each in contents.constants if each.name in names}


def _kernels(integer: Program, contents: Mapping[str, Contents], kernels: Mapping[str, str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for constant in (constant for each in contents.values() for constant in each.constants):
        for name, kernel in integer.kernels.items():
            for values in oriented(constant.values, (kernel.inputs, kernel.units)) if name not in found else ():
                if sha256_of(values) == kernels.get(name):
                    found[name] = np.ascontiguousarray(values)
    return found


def _gives(program: Program, golden: Mapping[str, np.ndarray], tolerance: float) -> bool:
    if any(program.constants[name].shape != program.tensors[y].shape for name, y in _biases(program).items()):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        values = execute(program, "reconstruct", golden["x"])
        pairs = ((values[name], golden[f"{name}.f32"]) for name in ("code", "y"))
        return all(np.abs(got - want).max() <= tolerance * max(LEAST_SCALE, float(np.abs(want).max())) for got, want in pairs)


def _disagreements(file: str, held: Mapping[str, np.ndarray], program: Program) -> list[Disagreement]:
    wrong = []
    for name, values in held.items():
        expected = program.constants[name]
        if values.shape != expected.shape or values.dtype != expected.dtype:
            text = f"{name} is {values.dtype} {list(values.shape)}, expected {expected.dtype} {list(expected.shape)}"
            wrong.append(Disagreement(file, name, text))
            continue
        differing = np.flatnonzero(values.view(np.uint32) != expected.view(np.uint32))
        if len(differing):
            at = int(differing[0])
            text = f"{len(differing)} of {values.size} values of {name} are others, first at [{at}]: got {values[at]}"
            wrong.append(Disagreement(file, name, f"{text}, expected {expected[at]}"))
    return wrong
