"""The float program of a bundle, read back from its float files: the reference of every layer where no Keras model is given.

The operations are the integer program's without its quantization, the kernels those whose sha256 the manifest states, and the
biases come from the float files themselves. So a file is not trusted: the program is taken from the first of them that gives
the golden vectors of Keras, and every other file must hold the same biases bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..formats.contents import Contents, oriented
from ..interpreter import execute
from ..manifest import sha256_of
from ..operations import Operation
from ..program import Program
from .comparison import LEAST_SCALE

BIAS8 = "8"
"""The end of a bias' name where it is added on its own: `y.bias8`."""


@dataclass(frozen=True)
class Disagreement:
    """A bias that another float file holds with other values."""

    file: str
    name: str
    text: str


def float_program(integer: Program, constants: Mapping[str, np.ndarray]) -> Program:
    """An integer program in the fused form as the float program of the same layers.

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
    kernels: Sequence[Mapping[str, Any]],
    golden: Mapping[str, np.ndarray],
    tolerance: float,
) -> tuple[Program | None, list[Disagreement]]:
    """The float program, and every bias of a float file that is not its own; (None, []) where no file gives the golden vectors.

    `integer` in the fused form; `contents` of the float files by name; `kernels` as the manifest states them; `golden`: `x`
    scaled to model units, `code.f32` and `y.f32`; `tolerance` is relative to the full scale, see `compare`.
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


def _kernels(integer: Program, contents: Mapping[str, Contents], kernels: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    wanted = {kernel["name"]: kernel["sha256_f32"] for kernel in kernels}
    found: dict[str, np.ndarray] = {}
    for constant in (constant for each in contents.values() for constant in each.constants):
        for name, kernel in integer.kernels.items():
            for values in oriented(constant.values, (kernel.inputs, kernel.units)) if name not in found else ():
                if sha256_of(values) == wanted.get(name):
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
