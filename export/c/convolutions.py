"""Convolutions and what moves values around them, as C text.

Both directions walk the rows of the one kernel, [inputs, units], inputs in the order (line, column, channel) of a window.
Encoder: each window is copied as a row, which a product takes as a dense layer's. Decoder: along a line of its output it holds
the sums of the columns under one window. Each place that reaches the line adds its dot products with the rows of one line of
the kernel; columns that no further place reaches are rounded, and the sums move on. Zero points are folded into the encoder's
bias, and in the decoder into an addend per row of the kernel, since fewer places reach an edge.

Signals are images of one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiedae.base.windows import Window
from tiedae.program.operations import Convolution, MaxPool, Patches, Unpatch, Upsample
from tiedae.program.operations.convolution import Windowed

from .builder import CBuilder
from .products import added_dots, biases_of, layer_title, product_lines, product_rounding, product_scratch
from .rounding_text import loop, unit_exceptions
from .text import ConstantTable, indented, symbol


@dataclass(frozen=True)
class WindowAxis:
    """Windows on an axis of `length`: `count` of `size`, `stride` apart, the first of them `before` the start."""

    length: int = 1
    size: int = 1
    stride: int = 1
    count: int = 1
    before: int = 0

    @property
    def held(self) -> int:
        """Values whose sums the decoder holds at once."""
        return max(self.size, self.stride)


@dataclass(frozen=True)
class Plane:
    """Windows over an image [lines, columns, channels]."""

    lines: WindowAxis
    columns: WindowAxis
    channels: int

    @classmethod
    def of(cls, window: Window, shape: tuple[int, ...]) -> Plane:
        lengths = shape[:-1]
        before = (first for first, _ in window.pads(lengths))
        axes = list(map(WindowAxis, lengths, window.sizes, window.strides, window.places(lengths), before))
        return cls(axes[0] if len(axes) > 1 else WindowAxis(), axes[-1], shape[-1])

    @property
    def width(self) -> int:
        """Values of a line."""
        return self.columns.length * self.channels

    @property
    def size(self) -> int:
        """Values of a line of a window."""
        return self.columns.size * self.channels


def convolution(graph: CBuilder, operation: Convolution) -> None:
    """A convolution, or its transpose."""
    program, transposed = graph.program, operation.transposed
    bias, matrix = biases_of(graph, operation), operation.matrix(program).astype(np.int64)
    magnitudes = np.abs(matrix).sum(axis=0).reshape(-1, len(bias)).sum(axis=0)
    graph.require_int32(operation, np.abs(bias) + 2 * program.quantization(operation.x).top * magnitudes)
    graph.part("rows.c")
    graph.kernel(operation.kernel)
    plane = Plane.of(operation.window, program.tensors[operation.y if transposed else operation.x].shape)
    (_decoder if transposed else _encoder)(graph, operation, plane, bias, matrix)


def _encoder(graph: CBuilder, operation: Convolution, plane: Plane, bias: np.ndarray, matrix: np.ndarray) -> None:
    kernel, zero_point = graph.kernel(operation.kernel), graph.program.quantization(operation.x).zero_point
    lines, columns, (inputs, units) = plane.lines, plane.columns, matrix.shape
    graph.part("windows.c")
    if kernel.layout == "dense":
        graph.part("add_rows.c")
    rounding = product_rounding(graph, operation, bias)
    biases = graph.table(f"{operation.y}.bias", bias - zero_point * matrix.sum(axis=0))
    product = product_lines(kernel, symbol(operation.y), biases, rounding, (inputs, units), transposed=False)
    row = graph.function("_row", "const uint8_t *restrict x, uint8_t *restrict y, int32_t *restrict sums", product)
    scratch = product_scratch(kernel, (inputs, units), transposed=False)
    top, left = f"line * {lines.stride} - {lines.before}", f"place * {columns.stride * plane.channels}"
    left += f" - {columns.before * plane.channels}"
    body = [
        "size_t line, place;",
        f"uint8_t *row = (uint8_t *)sums + {scratch};",
        f"for (line = 0; line < {lines.count}; line++) {{",
        f"  for (place = 0; place < {columns.count}; place++, y += {units}) {{",
        f"    tae_window(x, {lines.length}, {plane.width}, {top}, {left}, {lines.size}, {plane.size}, {zero_point}, row);",
        f"    {row}(row, y, sums);",
        "  }",
        "}",
    ]
    graph.step(operation, layer_title(graph, operation, rounding), body, scratch=scratch + inputs)


def _decoder(graph: CBuilder, operation: Convolution, plane: Plane, bias: np.ndarray, matrix: np.ndarray) -> None:
    kernel, zero_point = graph.kernel(operation.kernel), graph.program.quantization(operation.x).zero_point
    lines, columns, channels, units = plane.lines, plane.columns, plane.channels, len(matrix)
    if kernel.layout == "dense":
        graph.part("dot_rows.c")
    rounding = product_rounding(graph, operation, bias)
    biases = graph.table(f"{operation.y}.bias", bias)
    addends = graph.table(f"{operation.y}.zeros", -zero_point * matrix.sum(axis=0))
    held, step, name = columns.held * channels, columns.stride * channels, symbol(operation.y)
    dots = added_dots(kernel, addends, units, plane.size, held)
    rows = graph.function("_rows", "const uint8_t *restrict x, size_t first, int32_t *restrict sums", dots)
    rounded = ["size_t j;", *loop(name, rounding, channels), *unit_exceptions(name, rounding)]
    pixel = graph.function("_pixel", "const int32_t *restrict sums, uint8_t *restrict y", rounded)
    move = [f"for (i = 0; i < {held - step}; i++) sums[i] = sums[i + {step}];"] if held > step else []
    places = f"up = bottom < {lines.size} ? 0 : (bottom - {lines.size}) / {lines.stride} + 1"
    reached = f"up < {lines.count} && up * {lines.stride} <= bottom"
    arguments = f"x + (up * {columns.count} + place) * {units}, (bottom - up * {lines.stride}) * {plane.size}, sums"
    body = [
        "size_t line, place, up, i, j;",
        f"for (line = 0; line < {lines.length}; line++) {{",
        f"  const size_t bottom = line + {lines.before};",
        indented(_started(biases, 0, columns.held)),
        f"  for (place = 0; place < {-(-(columns.length + columns.before) // columns.stride)}; place++) {{",
        f"    if (place < {columns.count})",
        f"      for ({places}; {reached}; up++)",
        f"        {rows}({arguments});",
        f"    for (i = 0; i < {columns.stride}; i++) {{",
        f"      if (place * {columns.stride} + i - {columns.before} >= {columns.length}) continue; /* wraps before the line */",
        f"      {pixel}(sums + i * {channels}, y);",
        f"      y += {channels};",
        "    }",
        indented([*move, *_started(biases, columns.held - columns.stride, columns.held)], 4),
        "  }",
        "}",
    ]
    scratch = 4 * held + kernel.scratch
    graph.step(operation, layer_title(graph, operation, rounding), body, scratch=scratch)


def _started(biases: ConstantTable, first: int, held: int) -> list[str]:
    """Lines that make the sums of columns `first`…`held` − 1 the bias of each channel."""
    channels = len(biases.values)
    return [
        f"for (i = {first}; i < {held}; i++)",
        f"  for (j = 0; j < {channels}; j++) sums[i * {channels} + j] = {biases.at('j')};",
    ]


def patches(graph: CBuilder, operation: Patches | Unpatch) -> None:
    """Windows side by side as rows, and back; nothing where the order of values is the same."""
    cut = isinstance(operation, Patches)
    plane = _plane(graph, operation, operation.x if cut else operation.y)
    down, across, size = plane.lines.size, plane.columns.count, plane.size
    if down == 1 or across == 1:
        return
    row, line = f"((n * {across} + j) * {down} + i) * {size} + k", f"((n * {down} + i) * {across} + j) * {size} + k"
    loops = [("n", plane.lines.count), ("i", down), ("j", across), ("k", size)]
    head = [f"{'  ' * depth}for ({name} = 0; {name} < {end}; {name}++)" for depth, (name, end) in enumerate(loops)]
    moved = f"y[{row}] = x[{line}];" if cut else f"y[{line}] = x[{row}];"
    title = f"{operation.x} to {operation.y}: windows of {list(operation.sizes)} {'as' if cut else 'from'} rows"
    graph.step(operation, title, ["size_t n, i, j, k;", *head, f"        {moved}"])


def max_pool(graph: CBuilder, operation: MaxPool) -> None:
    """The largest of each window and channel."""
    plane = _plane(graph, operation, operation.x)
    lines, columns, channels = plane.lines, plane.columns, plane.channels
    at = f"((line * {lines.size} + i) * {columns.length} + column * {columns.size} + j) * {channels}"
    largest = [
        f"for (k = 0; k < {channels}; k++) y[k] = 0;",
        f"for (i = 0; i < {lines.size}; i++) {{",
        f"  for (j = 0; j < {columns.size}; j++) {{",
        f"    const uint8_t *v = x + {at};",
        f"    for (k = 0; k < {channels}; k++) y[k] = v[k] > y[k] ? v[k] : y[k];",
        "  }",
        "}",
    ]
    body = ["size_t line, column, i, j, k;", *_pixels(lines.count, columns.count, channels, largest)]
    graph.step(operation, f"{operation.x} to {operation.y}: the largest of windows of {list(operation.sizes)}", body)


def upsample(graph: CBuilder, operation: Upsample) -> None:
    """Each value as often as a window has values."""
    plane = _plane(graph, operation, operation.y)
    lines, columns, channels = plane.lines, plane.columns, plane.channels
    source = f"x + ((line / {lines.size}) * {columns.count} + column / {columns.size}) * {channels}"
    copied = [f"const uint8_t *v = {source};", f"for (k = 0; k < {channels}; k++) y[k] = v[k];"]
    body = ["size_t line, column, k;", *_pixels(lines.length, columns.length, channels, copied)]
    graph.step(operation, f"{operation.x} to {operation.y}: each value {list(operation.sizes)} times", body)


def _pixels(lines: int, columns: int, channels: int, writing: Sequence[str]) -> list[str]:
    """Loops over the pixels of y; `writing` write the channels of one."""
    return [
        f"for (line = 0; line < {lines}; line++) {{",
        f"  for (column = 0; column < {columns}; column++, y += {channels}) {{",
        indented(writing, 4),
        "  }",
        "}",
    ]


def _plane(graph: CBuilder, operation: Windowed, larger: str) -> Plane:
    """The windows on the larger side."""
    return Plane.of(operation.window, graph.program.tensors[larger].shape)
