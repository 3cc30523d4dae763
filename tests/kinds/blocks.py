"""The layer kind `blocks`, in one file: a sample [height, width, channels] is cut into blocks, and each block has a code.

Nothing of the product knows it. `registered` adds its row to each table: records, directions, lowerings, operations and the
operations of each format.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tensorflow as tf

from tiedae.base.keys import Positive, means
from tiedae.base.records import require
from tiedae.compress.layers import DIRECTIONS, Directions
from tiedae.compress.tied_layers import TiedDense, TiedDenseTranspose
from tiedae.config.layer_kinds import LAYER_KINDS, LayerConfig, Shape
from tiedae.export.c.builder import CBuilder
from tiedae.export.c.operations import C_OPERATIONS
from tiedae.export.onnx.builder import OnnxGraphBuilder
from tiedae.export.onnx.operations import ONNX_OPERATIONS
from tiedae.export.tflite.builder import TfliteGraphBuilder
from tiedae.export.tflite.operations import TFLITE_OPERATIONS
from tiedae.program.construction import Lowering
from tiedae.program.lowering import LOWERINGS, LayerLowering
from tiedae.program.lowering_dense import decode_dense, encode_dense
from tiedae.program.operations import OPERATIONS, Operation

from ..registering import Rows, with_rows


class BlocksConfig(LayerConfig, frozen=True, tag_field="kind", tag="blocks"):
    """One product over each block of a sample; the decoder puts the blocks back."""

    side: Annotated[Positive, means("height and width of a block")] = 2

    def sample(self, shape: Shape) -> Shape:
        return shape if len(shape) > 2 else (*shape, 1)

    def rows(self, shape: Shape) -> Shape:
        whole = len(shape) == 3 and all(length % self.side == 0 for length in shape[:2])
        require(whole, "side", self.side, f"a divisor of height and width of [height, width, channels], here {list(shape)}")
        height, width, channels = shape
        return height // self.side, width // self.side, self.side**2 * channels

    def filter(self, shape: Shape) -> Shape:
        return self.side, self.side, *shape[2:]


class BlocksEncoder(TiedDense):
    config: BlocksConfig

    def rows(self, x: tf.Tensor) -> tf.Tensor:
        side, (down, across, size) = self.config.side, self.config.rows(self.shape)
        lines = tf.reshape(x, (-1, side, across, size // side))
        return tf.reshape(tf.transpose(lines, (0, 2, 1, 3)), (-1, down, across, size))


class BlocksDecoder(TiedDenseTranspose):
    config: BlocksConfig

    def restored(self, rows: tf.Tensor) -> tf.Tensor:
        side, (_, across, size) = self.config.side, self.config.rows(self.shape)
        lines = tf.reshape(rows, (-1, across, side, size // side))
        return tf.reshape(tf.transpose(lines, (0, 2, 1, 3)), (-1, *self.shape))


@dataclass(frozen=True)
class Turned(Operation):
    """y = x, read as matrices [a, b] of strips, with a and b exchanged."""

    side: int

    def strips(self, program: Any) -> Shape:
        """(a, b, values of a strip)."""
        raise NotImplementedError

    def integers(self, program: Any, x: np.ndarray) -> np.ndarray:
        return program.tensors[self.y].shaped(np.ascontiguousarray(self.turned(program, x)).reshape(len(x), -1))

    reals = integers

    def turned(self, program: Any, x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, *self.strips(program)).swapaxes(1, 2)


@dataclass(frozen=True)
class Cut(Turned):
    """A sample [height, width, channels] as its blocks, [down, across, side · side · channels]."""

    caption = "Cut, {side} × {side}"

    def strips(self, program: Any) -> Shape:
        _, width, channels = program.tensors[self.x].shape
        return self.side, width // self.side, self.side * channels

    def shapes(self, program: Any) -> tuple[Shape, Shape]:
        (height, width, channels), side = program.tensors[self.x].shape, self.side
        return (height, width, channels), (height // side, width // side, side * side * channels)


@dataclass(frozen=True)
class Join(Turned):
    """The inverse of `Cut`."""

    caption = "Join, {side} × {side}"

    def strips(self, program: Any) -> Shape:
        _, across, size = program.tensors[self.x].shape
        return across, self.side, size // self.side

    def shapes(self, program: Any) -> tuple[Shape, Shape]:
        (down, across, size), side = program.tensors[self.x].shape, self.side
        return (down, across, size), (down * side, across * side, size // side**2)


def encode_blocks(lowering: Lowering, layer: Any, x: str) -> list[Operation]:
    rows = lowering.reshaped(x, layer.config.rows(layer.shape))
    return [Cut(x, rows, layer.config.side), *encode_dense(lowering, layer, rows)]


def decode_blocks(lowering: Lowering, layer: Any, x: str) -> list[Operation]:
    return lowering.restored(layer, decode_dense(lowering, layer, x), lambda rows, y: Join(rows, y, layer.config.side))


def turn_in_tflite(graph: TfliteGraphBuilder, operation: Turned) -> None:
    a, b, size = operation.strips(graph.program)
    count = graph.program.tensors[operation.x].size // (a * b * size)
    before = graph.between(f"{operation.y}.strips", operation.x, (count, a, b, size))
    after = graph.between(f"{operation.y}.turned", operation.x, (count, b, a, size))
    graph.reshape(graph.inner(operation.x), before, (count, a, b, size))
    axes = graph.constant("turn", np.array((0, 1, 3, 2, 4), np.int32))
    graph.add("TRANSPOSE", graph.version, [before, axes], after)
    graph.reshape(after, graph.inner(operation.y), graph.program.tensors[operation.y].shape)


def turn_in_onnx(graph: OnnxGraphBuilder, operation: Turned) -> None:
    y, shape = operation.y, graph.program.tensors[operation.y].shape
    strips = graph.reshape(graph.inner(operation.x), f"{y}.strips", f"{y}.parts", (-1, *operation.strips(graph.program)))
    turned = graph.node("Transpose", [strips], f"{y}.turned", perm=(0, 2, 1, 3))
    graph.reshape(turned, graph.inner(y), f"{y}.shape", (-1, *shape))


def turn_in_c(graph: CBuilder, operation: Turned) -> None:
    a, b, size = operation.strips(graph.program)
    count = graph.program.tensors[operation.x].size // (a * b * size)
    line = f"y[((n * {b} + j) * {a} + i) * {size} + k] = x[((n * {a} + i) * {b} + j) * {size} + k];"
    loops = [("n", count), ("i", a), ("j", b), ("k", size)]
    head = [f"{'  ' * depth}for ({name} = 0; {name} < {end}; {name}++)" for depth, (name, end) in enumerate(loops)]
    graph.step(operation, f"{operation.x} to {operation.y}: strips turned", ["size_t n, i, j, k;", *head, f"        {line}"])


ROWS: Rows = (
    (LAYER_KINDS, {"blocks": BlocksConfig}),
    (DIRECTIONS, {"blocks": Directions(BlocksEncoder, BlocksDecoder)}),
    (LOWERINGS, {"blocks": LayerLowering(encode_blocks, decode_blocks)}),
    (OPERATIONS, {"Cut": Cut, "Join": Join}),  # type: ignore[dict-item]
    (TFLITE_OPERATIONS, {Cut: turn_in_tflite, Join: turn_in_tflite}),
    (ONNX_OPERATIONS, {Cut: turn_in_onnx, Join: turn_in_onnx}),
    (C_OPERATIONS, {Cut: turn_in_c, Join: turn_in_c}),
)
"""Tables of the product, and what the kind adds to each."""


def registered() -> AbstractContextManager[None]:
    """Each table has its rows of `ROWS`."""
    return with_rows(ROWS)
