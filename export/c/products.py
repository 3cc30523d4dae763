"""Products with a kernel as C text.

Rows are read both ways: the encoder adds the rows of inputs that are not 0 to the sums of all units, the decoder's sums are dot
products with rows. Zero points are folded into the biases.
"""

from __future__ import annotations

import numpy as np

from tiedae.program.arithmetic import clamp, product_multiplier
from tiedae.program.operations import Dense

from .builder import CBuilder
from .kernels import GROUP, PLACED, StoredKernel
from .rounding import IntegerRounding
from .rounding_text import described, loop, unit_exceptions
from .text import ConstantTable, indented

LEAST_BLOCK = 64
"""Units or inputs from which vectors are worth their code, see parts/x86.c and parts/wasm.c."""
CHUNK = 128
"""Sums that the decoder holds at once."""
_ADDED = "sums[i]"
"""What dot products are added to where their sums have values already."""


def product_rounding(graph: CBuilder, dense: Dense, bias: np.ndarray) -> IntegerRounding:
    """The rounding of a product's sums with a `bias`, int64 [outputs], over all that integers at `x` can give."""
    program, source, target = graph.program, graph.program.quantization(dense.x), graph.program.quantization(dense.y)
    matrix, ones = dense.matrix(program).astype(np.float64), np.ones((1, *program.tensors[dense.x].shape))
    ends = [source.top * f(matrix, 0) - source.zero_point * matrix for f in (np.minimum, np.maximum)]
    low, high = (dense.applied(program, ones, each).astype(np.int64).reshape(-1, len(bias)) for each in ends)
    multiplier = product_multiplier(source, dense.scales(program), target)
    return graph.rounding(dense, bias + low.min(0), bias + high.max(0), multiplier, clamp(dense.activation, target))


def biases_of(graph: CBuilder, dense: Dense) -> np.ndarray:
    """int64 [outputs]; zeros where there are none."""
    if dense.bias is None:
        return np.zeros(graph.program.tensors[dense.y].shape[-1], np.int64)
    return graph.program.constants[dense.bias].astype(np.int64)


def layer_title(graph: CBuilder, dense: Dense, rounding: IntegerRounding) -> str:
    """What a layer does, in words."""
    x, y = (f"{name} {list(graph.program.tensors[name].shape)}" for name in (dense.x, dense.y))
    return f"{x} to {y}, {dense.kernel}{' transposed' if dense.transposed else ''}, {dense.activation}: {described(rounding)}"


def product_lines(
    kernel: StoredKernel,
    name: str,
    biases: ConstantTable,
    rounding: IntegerRounding,
    shape: tuple[int, int],
    *,
    transposed: bool,
) -> list[str]:
    """The body of a layer of `shape`, (inputs, outputs): `x` to `y` with the memory of `product_scratch` at `sums`.

    `name`: the C name of its output.
    """
    kind, name_of = {"dense": ("", ""), "packed": ("int8_t", "row"), "sparse": ("uint8_t", "places")}[kernel.layout]
    scratch = [f"{kind} *{name_of} = ({kind} *)(sums + {_held(shape, transposed)});"] if kind else []
    lines = (_decoder if transposed else _encoder)(kernel, name, biases, rounding, *shape)
    return [*scratch, *lines]


def product_scratch(kernel: StoredKernel, shape: tuple[int, int], *, transposed: bool) -> int:
    """Bytes: sums, and an unpacked row or the places of its values."""
    return 4 * _held(shape, transposed) + kernel.scratch


def _held(shape: tuple[int, int], transposed: bool) -> int:
    return min(shape[1], CHUNK) if transposed else shape[1]


def _encoder(
    kernel: StoredKernel, name: str, biases: ConstantTable, rounding: IntegerRounding, inputs: int, outputs: int
) -> list[str]:
    return [
        "size_t j;",
        f"for (j = 0; j < {outputs}; j++) sums[j] = {biases.at('j')};",
        *_ADD[kernel.layout](kernel, inputs, outputs),
        *loop(name, rounding, outputs),
        *unit_exceptions(name, rounding),
    ]


def _add_dense(kernel: StoredKernel, inputs: int, outputs: int) -> list[str]:
    plain = f"tae_add_rows(x, {kernel.name}, {inputs}, {outputs}, {int(kernel.pairs[0])}, sums);"
    if outputs < LEAST_BLOCK:
        return [plain]
    return [
        f"#if {'TAE_LANES > 0' if kernel.pairs[0] else 'TAE_LANES == 4 || TAE_LANES == 1'}",
        "{",
        f"  int32_t mixed[{outputs}];",
        f"  uint32_t pairs[{inputs // 2 + 1}];",
        f"  tae_add_vectors(x, {kernel.name}, {inputs}, {outputs}, sums, mixed, pairs);",
        "}",
        "#else",
        plain,
        "#endif",
    ]


def _add_packed(kernel: StoredKernel, inputs: int, outputs: int) -> list[str]:
    return [
        "size_t i;",
        f"for (i = 0; i < {inputs}; i++) {{",
        "  const int32_t v = x[i];",
        "  if (v != 0) {",
        f"    {kernel.name}_row(i, row);",
        f"    for (j = 0; j < {outputs}; j++) sums[j] += v * row[j];",
        "  }",
        "}",
    ]


def _add_sparse(kernel: StoredKernel, inputs: int, outputs: int) -> list[str]:
    lines = []
    for start in range(0, outputs, PLACED):
        lines += [
            f"    count = {_places(start, outputs)};",
            f"    for (j = 0; j < count; j++) sums[{start} + places[j]] += v * q[j];",
            "    q += count;",
        ]
    return [
        "size_t i, count;",
        f"const uint8_t *mask = {kernel.name}_mask;",
        f"const int8_t *value = {kernel.name}_values;",
        f"for (i = 0; i < {inputs}; i++, mask += {kernel.groups}) {{",
        "  const int32_t v = x[i];",
        "  if (v != 0) {",
        "    const int8_t *q = value;",
        *lines,
        "  }",
        f"  value += {kernel.fewest} + {kernel.name}_counts[i];",
        "}",
    ]


def _places(start: int, units: int) -> str:
    """The C expression that writes the places of a row's values of some units, from `start` on, and gives their number."""
    return f"tae_mask_places(mask + {start // GROUP}, {-(-min(units - start, PLACED) // GROUP)}, places)"


def _decoder(
    kernel: StoredKernel, name: str, biases: ConstantTable, rounding: IntegerRounding, inputs: int, outputs: int
) -> list[str]:
    lines = []
    if kernel.layout == "sparse":
        lines = ["size_t count;", f"const uint8_t *mask = {kernel.name}_mask;", f"const int8_t *q = {kernel.name}_values;"]
        lines.append(f"(void){kernel.name}_counts; /* for the encoder */")
    lines += ["size_t first, i, j;"]
    whole = outputs // CHUNK * CHUNK
    for start, stop in ((0, whole), (whole, outputs)):
        if start < stop:
            count = min(CHUNK, stop - start)
            lines += [
                f"for (first = {start}; first < {stop}; first += {count}) {{",
                indented(_dots(kernel, biases.at("first + i"), inputs, count)),
                indented(loop(name, rounding, count, target="y[first + j]", unit="first + j")),
                *(f"  {line}" for line in unit_exceptions(name, rounding, count)),
                "}",
            ]
    return lines


def added_dots(kernel: StoredKernel, addends: ConstantTable, inputs: int, count: int, held: int) -> list[str]:
    """The body that adds, to `count` sums, dot products of `x` with the rows from `first` on, and the rows' `addends`.

    An unpacked row, or the places of its values, lies behind `held` sums.
    """
    lines = ["size_t i = 0, j = 0;"]
    if kernel.layout == "dense":
        lines.append("(void)i, (void)j;")
    if kernel.layout == "packed":
        lines.append(f"int8_t *row = (int8_t *)(sums + {held});")
    if kernel.layout == "sparse":
        lines += [
            "size_t count;",
            f"uint8_t *places = (uint8_t *)(sums + {held});",
            f"const uint8_t *mask = {kernel.name}_mask + first * {kernel.groups};",
            f"const int8_t *q = {kernel.name}_values;",
            f"for (i = 0; i < first; i++) q += {kernel.fewest} + {kernel.name}_counts[i];",
        ]
    if addends.values.any():
        lines.append(f"for (i = 0; i < {count}; i++) sums[i] += {addends.at('first + i')};")
    return [*lines, *_dots(kernel, _ADDED, inputs, count)]


def _dots(kernel: StoredKernel, start: str, inputs: int, count: int) -> list[str]:
    """The sums of `count` rows from `first` on; `start`: the C expression of what is added to."""
    if kernel.layout != "dense":
        return _dots_by_row(kernel, start, inputs, count)
    arguments = f"(x, {kernel.name} + first * {inputs}, {inputs}, {count}, sums);"
    lines = [] if start == _ADDED else [f"for (i = 0; i < {count}; i++) sums[i] = {start};"]
    if inputs < LEAST_BLOCK or count % 4:
        return [*lines, f"tae_dot_rows{arguments}"]
    return [
        *lines,
        f"#if {'TAE_LANES == 2 || ' if kernel.pairs[1] else ''}TAE_LANES == 1",
        f"tae_dot_vectors{arguments}",
        "#elif TAE_LANES > 0",
        *_dots_by_row(kernel, start, inputs, count),
        "#else",
        f"tae_dot_rows{arguments}",
        "#endif",
    ]


def _dots_by_row(kernel: StoredKernel, start: str, inputs: int, count: int) -> list[str]:
    return [
        f"for (i = 0; i < {count}; i++) {{",
        f"  int32_t sum = {start};",
        indented(_DOT[kernel.layout](kernel, inputs)),
        "  sums[i] = sum;",
        "}",
    ]


def _dot_row(kernel: StoredKernel, inputs: int) -> list[str]:
    dense = kernel.layout == "dense"
    return [
        f"const int8_t *row = {kernel.name} + (first + i) * {inputs};" if dense else f"{kernel.name}_row(first + i, row);",
        f"for (j = 0; j < {inputs}; j++) sum += (int32_t)x[j] * row[j];",
    ]


def _dot_sparse(kernel: StoredKernel, inputs: int) -> list[str]:
    lines = []
    for start in range(0, inputs, PLACED):
        lines += [
            f"count = {_places(start, inputs)};",
            f"for (j = 0; j < count; j++) sum += (int32_t)x[{start} + places[j]] * q[j];",
            "q += count;",
        ]
    return [*lines, f"mask += {kernel.groups};"]


_ADD = {"dense": _add_dense, "packed": _add_packed, "sparse": _add_sparse}
_DOT = {"dense": _dot_row, "packed": _dot_row, "sparse": _dot_sparse}
