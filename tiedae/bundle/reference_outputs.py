"""Reference outputs of the files: from the integer program, the Keras model, or the float program of a bundle.

The float program replaces Keras if no model is given. It has the integer program's operations without quantization, the kernels
with the sha256 in the manifest, and biases from the float files. The first file whose program reproduces Keras' golden vectors
defines it; all others must hold the same biases bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tiedae.base.archive import sha256_of
from tiedae.export.model_file import Contents, oriented
from tiedae.program.differences import LEAST_SCALE
from tiedae.program.interpreter import Conversion, execute, program_input
from tiedae.program.operations import Operation
from tiedae.program.program import Program, Tensor
from tiedae.program.tensors import flat

TRACED_SAMPLES = 128
"""Number of samples compared per operation and per layer."""

KERAS_FLOAT = "Keras float"
Keras = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""float32 model inputs [batch, inputs] → (code, y) of a Keras model."""
Layers = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""float32 model inputs [batch, inputs] → the output of every layer, float32 [batch, units], by the program's names."""


OUTPUTS = ("code", "y")


@dataclass(frozen=True)
class Original:
    """The Keras models of a bundle, None if not given.

    `keras`: the model of the float files. `layers`: the outputs of its layers. `uncompressed`: the float model before pruning,
    `error`: its error on the test samples, where known; `noises`: `Quality.noise` by file and
    runtime. `source`: what measures the model before pruning, in words.
    """

    keras: Keras | None = None
    layers: Layers | None = None
    uncompressed: Keras | None = None
    error: float | None = None
    noises: Mapping[tuple[str, str], float] = field(default_factory=dict)
    source: str = KERAS_FLOAT


@dataclass(frozen=True, eq=False)
class Floats:
    """Outputs of the float model. `reference`: `keras`, or `float program` if read from the float files.

    `code` and `y` for all samples, float32 [samples, *shape]. `layers`: output of each layer for the first `TRACED_SAMPLES`, by
    the program's names, encoded from `x` and decoded from `code`.
    """

    reference: str
    code: np.ndarray
    y: np.ndarray
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    layers_reference: str = ""

    def leading(self, count: int) -> Floats:
        """Those of the first samples."""
        layers = {name: values[:count] for name, values in self.layers.items()}
        return replace(self, code=self.code[:count], y=self.y[:count], layers=layers)


@dataclass(frozen=True, eq=False)
class FloatFiles:
    """A float program as a function of model inputs; `step`: what its code is rounded to before it is decoded, or 0."""

    program: Program
    step: float = 0.0

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(code, y), float32 [n, values] each, of float32 model inputs [n, inputs]."""
        values = execute(self.program, "reconstruct", self.program.tensors["x"].shaped(x), OUTPUTS)
        return flat(self._rounded(values["code"])), flat(self.decoded(values["code"], values["y"]))

    def decoded(self, code: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What the rounded code decodes to; `y`: what the code does."""
        return execute(self.program, "decode", self._rounded(code), ("y",))["y"] if self.step else y

    def _rounded(self, code: np.ndarray) -> np.ndarray:
        return np.rint(code / np.float32(self.step)) * np.float32(self.step) if self.step else code


@dataclass(frozen=True, eq=False)
class Expected:
    """Outputs of an integer program: `x`, `code`, `y`, uint8 [samples, *shape]; `traced`: all tensors of the first
    `TRACED_SAMPLES`."""

    program: Program
    x: np.ndarray
    code: np.ndarray
    y: np.ndarray
    traced: Mapping[str, np.ndarray]

    def leading(self, count: int) -> Expected:
        """Those of the first samples; these where they are no more."""
        if count >= len(self.x):
            return self
        traced = {name: values[:count] for name, values in self.traced.items()}
        return Expected(self.program, self.x[:count], self.code[:count], self.y[:count], traced)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The program's `y` for other codes, uint8 [samples, *shape]."""
        same = codes.shape == self.code.shape and np.array_equal(codes, self.code)
        return self.y if same else execute(self.program, "decode", codes)["y"]


def expect(program: Program, scaled: np.ndarray, conversion: Conversion = "divide", known: Expected | None = None) -> Expected:
    """Run an integer program on float32 model inputs [samples, inputs], quantized by `conversion`.

    Returns `known`, results of the same program, if its integers are the same.
    """
    x = program_input(program, scaled, conversion)
    if known is not None and np.array_equal(x, known.x):
        return known
    values = execute(program, "reconstruct", x, OUTPUTS)
    return Expected(program, x, values["code"], values["y"], execute(program, "reconstruct", x[:TRACED_SAMPLES]))


def best_floats(
    scaled: np.ndarray,
    original: Original,
    golden: tuple[np.ndarray, np.ndarray] | None,
    program: Program | None,
    tensors: Mapping[str, Tensor],
) -> Floats | None:
    """The best available float reference: the Keras model, its golden vectors, or the float program.

    `golden`: Keras' (code, y) if `scaled` are the golden samples. `tensors`: those of the integer program, whose shapes what
    Keras gives takes.
    """

    def shaped(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: tensors[name].shaped(each) for name, each in values.items()}

    known = golden if original.keras is None else original.keras(scaled)
    if known is None and program is None:
        return None
    x = tensors["x"].shaped(scaled)
    reference, layers, source = "keras", {}, ""
    if known is None and program is not None:
        reference, values = "float program", execute(program, "reconstruct", x, OUTPUTS)
        known = values["code"], values["y"]
    if original.layers is not None:
        layers, source = shaped(original.layers(scaled[:TRACED_SAMPLES])), "keras"
    elif program is not None:
        values, source = execute(program, "reconstruct", x[:TRACED_SAMPLES]), "float program"
        layers = {name: values[name] for name in layer_outputs(program)}
    assert known is not None
    return Floats(reference, **shaped(dict(zip(("code", "y"), known, strict=True))), layers=layers, layers_reference=source)


def layer_outputs(program: Program) -> tuple[str, ...]:
    """Output tensors of the layers, by the program's names, in order: `encoder_0`, `code`, `decoder_1`, `y`."""
    names = dict.fromkeys(operation.y.split(".")[0] for operation in program.operations)
    return tuple(name for name in names if name != "x")


BIAS8 = "8"
"""Suffix of a bias that is added separately: `y.bias8`."""


@dataclass(frozen=True)
class Disagreement:
    """A bias whose values differ in another float file."""

    file: str
    name: str
    text: str


def float_program(integer: Program, constants: Mapping[str, np.ndarray]) -> Program:
    """Convert an integer program in the fused layout to the float program of the same layers.

    `constants`: float32 kernels [inputs, units], biases and gains [size] by the program's names. Raises KeyError for a missing
    one.
    """
    renamed: dict[str, str] = {}

    def plain(part: Sequence[Operation]) -> tuple[Operation, ...]:
        kept: list[Operation] = []
        for operation in part:
            source = renamed.get(operation.x, operation.x)
            if not operation.integer_only:
                kept.append(replace(operation, x=source))
            elif "." not in operation.y:  # the output of a layer
                kept[-1] = replace(kept[-1], y=operation.y)
            else:
                renamed[operation.y] = source
        return tuple(kept)

    encoder, decoder = plain(integer.encoder), plain(integer.decoder)
    names = {"x", *(operation.y for operation in (*encoder, *decoder))}
    tensors = {name: replace(tensor, quantization=None) for name, tensor in integer.tensors.items() if name in names}
    kernels = {name: replace(kernel, scales=()) for name, kernel in integer.kernels.items()}
    used = {name: constants[name] for name in (*kernels, *_vectors(integer))}
    return Program(integer.name, tensors, kernels, encoder, decoder, used)


def _vectors(program: Program) -> dict[str, str]:
    """Output tensor of each bias and of each layer's gains, by their names."""
    held = ((getattr(each, key, None), each.y) for each in program.operations for key in ("bias", "gains"))
    return {name: y for name, y in held if name is not None}


def read_float_program(
    integer: Program,
    contents: Mapping[str, Contents],
    kernels: Mapping[str, str],
    golden: Mapping[str, np.ndarray],
    tolerance: float,
) -> tuple[Program | None, list[Disagreement]]:
    """The float program and all deviating biases; (None, []) if no file reproduces the golden vectors.

    `integer` in the fused layout; `contents` of the float files by name; `kernels` gives the sha256 of each kernel's float32
    values; `golden`: `x` scaled to scaled values, `code.f32` and `y.f32`; `tolerance` is relative to full scale, see `compare`.
    """
    held = {name: _named(integer, each) for name, each in contents.items()}
    found = _kernels(integer, contents, kernels)
    together = {key: values for biases in held.values() for key, values in biases.items()}
    for biases in held.values():
        constants = found | together | biases
        if not {*integer.kernels, *_vectors(integer)} <= constants.keys():
            continue
        program = float_program(integer, constants)
        if _gives(program, golden, tolerance):
            return program, [wrong for name in contents for wrong in _disagreements(name, held[name], program)]
    return None, []


def _named(program: Program, contents: Contents) -> dict[str, np.ndarray]:
    """The biases and gains in a float file by the program's names."""
    names = {f"{name}{end}": name for name in _vectors(program) for end in ("", BIAS8)}
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
    if any(program.constants[name].shape != program.tensors[y].shape[-1:] for name, y in _vectors(program).items()):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        values = execute(program, "reconstruct", program.tensors["x"].shaped(golden["x"]))
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
            text = f"{len(differing)} of {values.size} values of {name} differ, first at [{at}]: got {values[at]}"
            wrong.append(Disagreement(file, name, f"{text}, expected {expected[at]}"))
    return wrong
