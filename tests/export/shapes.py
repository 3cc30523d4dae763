"""Programs whose tensors have one to three axes, and whether manifest and files keep them: what `shapes_lost` counts.

Products and elementwise operations work on the last axis, so every program of `build_program` is one for tensors with more axes
in front. `Transpose`, with its writers, and `Reshape` give `x`, `code` and `y` other shapes than the tensors between have.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tiedae.base.records import decode, encode
from tiedae.bundle.manifest import ProgramText
from tiedae.export.c.builder import CBuilder
from tiedae.export.c.operations import C_OPERATIONS
from tiedae.export.c.source import to_c
from tiedae.export.model_file import Contents, TensorInfo
from tiedae.export.onnx.builder import OnnxGraphBuilder
from tiedae.export.onnx.operations import ONNX_OPERATIONS
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.storage_check import prove
from tiedae.export.targets import read_model
from tiedae.export.tflite.builder import TfliteGraphBuilder
from tiedae.export.tflite.operations import TFLITE_OPERATIONS
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.program.operations import OPERATIONS, Operation, Product, Requantize, Reshape
from tiedae.program.program import SIGNATURES, Program

from ..conftest import build_program
from ..registering import Rows, with_rows


@dataclass(frozen=True)
class Transpose(Operation):
    """y = x with the axes of a sample in another order."""

    axes: tuple[int, ...]

    def shapes(self, program):
        shape = program.tensors[self.x].shape
        return shape, tuple(shape[axis] for axis in self.axes)

    @property
    def batched(self) -> tuple[int, ...]:
        return 0, *(1 + axis for axis in self.axes)

    def integers(self, program, x):
        return x.transpose(self.batched)

    reals = integers


def transpose_in_tflite(graph: TfliteGraphBuilder, operation: Transpose) -> None:
    axes = graph.constant(f"{operation.y}.axes", np.array(operation.batched, np.int32))
    graph.add("TRANSPOSE", graph.version, [graph.inner(operation.x), axes], graph.inner(operation.y))


def transpose_in_onnx(graph: OnnxGraphBuilder, operation: Transpose) -> None:
    graph.node("Transpose", [graph.inner(operation.x)], graph.inner(operation.y), perm=operation.batched)


def transpose_in_c(graph: CBuilder, operation: Transpose) -> None:
    x = graph.program.tensors[operation.x]
    places = np.arange(x.size, dtype=np.uint16).reshape(x.shape).transpose(operation.axes)
    name = graph.constant(f"{operation.y}.places", places)
    body = ["size_t j;", f"for (j = 0; j < {x.size}; j++) y[j] = x[{name}[j]];"]
    graph.step(operation, f"{operation.x} to {operation.y}: axes {operation.axes}", body)


ROWS: Rows = (
    (OPERATIONS, {"Transpose": Transpose}),
    (TFLITE_OPERATIONS, {Transpose: transpose_in_tflite}),
    (ONNX_OPERATIONS, {Transpose: transpose_in_onnx}),
    (C_OPERATIONS, {Transpose: transpose_in_c}),
)
"""Tables, and their rows for `Transpose`."""


def registered() -> AbstractContextManager[None]:
    """Each table has its rows of `ROWS`."""
    return with_rows(ROWS)


VIEWS = ("same", "transposed", "flat")
"""How `x` and `y`, or `code`, show what operations work on: as it is, with its axes in reverse, on one axis."""
View = str | tuple[int, ...]
"""One of `VIEWS`, or a shape."""


def shaped(program: Program, rows: tuple[int, ...], samples: View = "same", codes: View = "same") -> Program:
    """A program of tensors [size] as one of tensors [*rows, size], whose `x` and `y`, and whose `code`, are views of them.

    The view of `y` comes before a last `Requantize`, as that of `interleave` does.
    """
    ahead = -1 if isinstance(program.decoder[-1], Requantize) else len(program.decoder)
    body, tail = program.decoder[:ahead], program.decoder[ahead:]
    end, rank = body[-1].y, len(rows) + 1
    tensors = {name: replace(tensor, shape=(*rows, *tensor.shape)) for name, tensor in program.tensors.items()}
    views = {name: view for name, view in {"x": samples, "code": codes, end: samples}.items() if view != "same"}
    inner = {name: f"{name}.inner" for name in views}
    read = {name: "code.read" if name == "code" else inner[name] for name in views}
    encoder = [replace(each, x=inner.get(each.x, each.x), y=inner.get(each.y, each.y)) for each in program.encoder]
    decoder = [replace(each, x=read.get(each.x, each.x), y=inner.get(each.y, each.y)) for each in body]

    def viewing(name: str, x: str, y: str) -> Operation:
        return Transpose(x, y, tuple(reversed(range(rank)))) if views[name] == "transposed" else Reshape(x, y)

    if "x" in views:
        encoder = [viewing("x", "x", "x.inner"), *encoder]
        decoder = [*decoder, viewing(end, inner[end], end)]
    if "code" in views:
        encoder = [*encoder, viewing("code", "code.inner", "code")]
        decoder = [viewing("code", "code", "code.read"), *decoder]
    for name, view in views.items():
        tensor = tensors[name]
        tensors |= {each: replace(tensor, name=each) for each in (inner[name], read[name])}
        named = {"transposed": tensor.shape[::-1], "flat": (tensor.size,)}
        tensors[name] = replace(tensor, shape=view if isinstance(view, tuple) else named[view])
    tensors["y"] = replace(tensors["y"], shape=tensors[end].shape)
    return replace(program, tensors=tensors, encoder=tuple(encoder), decoder=(*decoder, *tail))


GRID = {
    "form": ("fused", "split"),
    "quantized": (True, False),
    "granularity": ("tensor", "unit"),
    "bias": (True, False),
    "interleave": (1, 4),
    "activations": (("relu", "linear"), ("sigmoid", "relu6")),
    "output_activation": ("sigmoid", "linear"),
}
"""Options of `build_program` that change operations or constants."""
BITS = ((8, 8), (4, 5))
"""Bits of kernels and codes."""


def grid() -> Iterator[Program]:
    """Programs of one axis, each with other operations."""
    for values in itertools.product(*GRID.values()):
        options = dict(zip(GRID, values, strict=True))
        for bits, code_bits in BITS if options["quantized"] else BITS[:1]:
            options |= {"bits": bits, "code_bits": code_bits, "byte_data": options["output_activation"] == "sigmoid"}
            yield build_program(**options)
            if options["bias"] and options["interleave"] == 1:
                yield build_program(**options, gains=True)


def programs(count: int, seed: int) -> Iterator[Program]:
    """Each program of the grid, and of it `count` with random axes and views."""
    rng, known = np.random.default_rng(seed), list(grid())
    yield from known
    for _ in range(count):
        program = known[rng.integers(len(known))]
        rows = tuple(rng.integers(1, 5, rng.integers(0, 3)).tolist())
        yield shaped(program, rows, *rng.choice(VIEWS, 2).tolist())


def samples(program: Program, signature: str, count: int = 5) -> np.ndarray:
    """Random inputs of a signature."""
    tensor, rng = program.tensors[program.part(signature)[1]], np.random.default_rng(3)
    top = 255 if tensor.quantization is None else tensor.quantization.top
    integers = rng.integers(0, top, (count, *tensor.shape), np.uint8, endpoint=True)
    return integers if program.quantized else (integers / np.float32(255)).astype(np.float32)


def write(program: Program, folder: Path) -> dict[Path, tuple[str, ...]]:
    """The files of a program in the formats of its layout, and their signatures."""
    io, split = "uint8" if program.quantized else "float32", any(isinstance(each, Product) for each in program.decoder)
    files: dict[str, bytes] = {"p.tflite": to_tflite(program, io=io, int4="packed" if split else "bytes")}
    if not split:
        files |= {f"{signature}.onnx": to_onnx(program, signature=signature, io=io) for signature in SIGNATURES}
    if program.quantized and not split:
        files |= {name: text.encode() for name, text in to_c(replace(program, name="p")).files.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    of = {"tflite": SIGNATURES, "c": SIGNATURES}
    paths = (folder / name for name in files)
    return {path: of.get(path.suffix[1:], (path.stem,)) for path in paths if path.suffix != ".h"}


def expected_info(program: Program, name: str) -> TensorInfo:
    """What a file says of a tensor of a program."""
    tensor = program.tensors[name]
    affine = () if tensor.quantization is None else (tensor.quantization.scale, tensor.quantization.zero_point)
    return TensorInfo(name, tensor.dtype, (None, *tensor.shape), *affine)


def lost_in_manifest(program: Program) -> list[str]:
    """What differs in the program of a manifest that was written and read."""
    text = encode(ProgramText.of(program))
    back = decode(ProgramText, json.loads(text), "manifest").program(program.name, program.constants)
    lost = [f"manifest: {name}" for name in program.tensors if back.tensors.get(name) != program.tensors[name]]
    for part in ("kernels", "encoder", "decoder"):
        lost += [] if getattr(back, part) == getattr(program, part) else [f"manifest: {part}"]
    if lost:
        return lost
    for signature in SIGNATURES:
        x = samples(program, signature)
        before, after = execute(program, signature, x), execute(back, signature, x)
        lost += [f"manifest: values of {name}" for name in before if not np.array_equal(before[name], after[name])]
    return lost


def lost_in_file(program: Program, contents: Contents, signatures: tuple[str, ...]) -> list[str]:
    """What differs in a file that was written and read: names, shapes and quantization of tensors, values of kernels."""
    lost = [f"{contents.format}: {finding.text}" for finding in prove(contents, program) if not finding.ok]
    held = {signature.name: signature for signature in contents.signatures}
    for name in signatures:
        _, source, results = program.part(name)
        for got, wanted in ((held[name].inputs, (source,)), (held[name].outputs, results)):
            right = tuple(expected_info(program, each) for each in wanted)
            lost += [] if got == right else [f"{contents.format}: {name}: got {got}, must be {right}"]
    return lost


def lost_of(program: Program, folder: Path) -> list[str]:
    """What differs of a program behind manifest and files."""
    files = write(program, folder)
    found = (lost_in_file(program, read_model(path), signatures) for path, signatures in files.items())
    return [*lost_in_manifest(program), *(each for lost in found for each in lost)]
