"""Products with a kernel as C text.

Rows are read both ways: the encoder adds the rows of inputs that are not 0 to the sums of all units, the decoder's sums are dot
products with rows. Zero points are folded into the biases.
"""

from __future__ import annotations

from ...compress.integers import PAIR_LIMIT
from .kernels import GROUP, StoredKernel
from .rounding import IntegerRounding
from .rounding_text import loop, unit_exceptions

CHUNK = 128
"""Sums that the decoder holds at once."""


def product_lines(
    kernel: StoredKernel, name: str, biases: str, rounding: IntegerRounding, shape: tuple[int, int], *, transposed: bool
) -> list[str]:
    """The body of a layer of `shape`, (inputs, outputs): `x` to `y` with the memory of `product_scratch` at `sums`.

    `name`: the C name of its output; `biases`: that of its biases, empty where all are 0.
    """
    row = f"int8_t *row = (int8_t *)(sums + {_held(shape, transposed)});"
    lines = (_decoder if transposed else _encoder)(kernel, name, biases, rounding, *shape)
    return ["size_t i, j;", *([row] if kernel.layout == "packed" else []), *lines]


def product_scratch(kernel: StoredKernel, shape: tuple[int, int], *, transposed: bool) -> int:
    """Bytes: sums, and an unpacked row."""
    return 4 * _held(shape, transposed) + kernel.scratch


def _held(shape: tuple[int, int], transposed: bool) -> int:
    return min(shape[1], CHUNK) if transposed else shape[1]


def _encoder(kernel: StoredKernel, name: str, biases: str, rounding: IntegerRounding, inputs: int, outputs: int) -> list[str]:
    return [
        f"for (j = 0; j < {outputs}; j++) sums[j] = {f'{biases}[j]' if biases else '0'};",
        *_ADD[kernel.layout](kernel, inputs, outputs),
        *loop(name, rounding, outputs),
        *unit_exceptions(rounding),
    ]


def _add_dense(kernel: StoredKernel, inputs: int, outputs: int) -> list[str]:
    if not kernel.pairs:
        return _add_rows(f"const int8_t *row = {kernel.name} + i * {outputs};", inputs, outputs)
    odd = [
        f"if (x[{inputs - 1}] != 0) {{",
        f"  const int8_t *row = {kernel.name} + {(inputs - 1) * outputs};",
        f"  for (j = 0; j < {outputs}; j++) sums[j] += (int32_t)x[{inputs - 1}] * row[j];",
        "}",
    ]
    return [
        f"/* int16_t holds it: of two rows, positive and negative values each add to {PAIR_LIMIT} at most */",
        f"for (i = 0; i < {inputs - inputs % 2}; i += 2) {{",
        "  const int16_t a = x[i], b = x[i + 1];",
        "  if ((a | b) != 0) {",
        f"    const int8_t *row = {kernel.name} + i * {outputs};",
        f"    for (j = 0; j < {outputs}; j++) sums[j] += (int16_t)(a * row[j] + b * row[j + {outputs}]);",
        "  }",
        "}",
        *(odd if inputs % 2 else []),
    ]


def _add_packed(kernel: StoredKernel, inputs: int, outputs: int) -> list[str]:
    return _add_rows(f"{kernel.name}_row(i, row);", inputs, outputs)


def _add_rows(row: str, inputs: int, outputs: int) -> list[str]:
    return [
        f"for (i = 0; i < {inputs}; i++) {{",
        "  const int32_t v = x[i];",
        "  if (v != 0) {",
        f"    {row}",
        f"    for (j = 0; j < {outputs}; j++) sums[j] += v * row[j];",
        "  }",
        "}",
    ]


def _add_sparse(kernel: StoredKernel, inputs: int, outputs: int) -> list[str]:
    name, last = kernel.name, outputs % GROUP
    return [
        f"const uint8_t *mask = {name}_mask;",
        f"const int8_t *value = {name}_values;",
        f"for (i = 0; i < {inputs}; i++, mask += {kernel.groups}) {{",
        "  const int32_t v = x[i];",
        "  if (v != 0) {",
        "    const int8_t *q = value;",
        f"    for (j = 0; j < {outputs // GROUP}; j++) {{",
        "      const unsigned m = mask[j];",
        f"      int32_t *s = sums + j * {GROUP};",
        *(f"      if (m & {1 << n}) s[{n}] += v * *q++;" for n in range(GROUP)),
        "    }",
        *(f"    if (mask[{outputs // GROUP}] & {1 << n}) sums[{outputs - last + n}] += v * *q++;" for n in range(last)),
        "  }",
        f"  value += {name}_counts[i];",
        "}",
    ]


def _decoder(kernel: StoredKernel, name: str, biases: str, rounding: IntegerRounding, inputs: int, outputs: int) -> list[str]:
    sparse = kernel.layout == "sparse"
    lines = [f"const uint8_t *mask = {kernel.name}_mask;", f"const int8_t *q = {kernel.name}_values;"] if sparse else []
    lines += ["size_t first;"]
    whole = outputs // CHUNK * CHUNK
    for start, stop in ((0, whole), (whole, outputs)):
        if start == stop:
            continue
        count = min(CHUNK, stop - start)
        bias = f"{biases}[first + i]" if biases else "0"
        lines += [
            f"for (first = {start}; first < {stop}; first += {count}) {{",
            f"  for (i = 0; i < {count}; i++) {{",
            f"    int32_t sum = {bias};",
            *(f"    {line}" for line in _DOT[kernel.layout](kernel, inputs)),
            "    sums[i] = sum;",
            "  }",
            *(f"  {line}" for line in loop(name, rounding, count, target="y[first + j]", first="first")),
            "}",
        ]
    return lines


def _dot_dense(kernel: StoredKernel, inputs: int) -> list[str]:
    return [
        f"const int8_t *row = {kernel.name} + (first + i) * {inputs};",
        f"for (j = 0; j < {inputs}; j++) sum += (int32_t)x[j] * row[j];",
    ]


def _dot_packed(kernel: StoredKernel, inputs: int) -> list[str]:
    return [
        f"{kernel.name}_row(first + i, row);",
        f"for (j = 0; j < {inputs}; j++) sum += (int32_t)x[j] * row[j];",
    ]


def _dot_sparse(kernel: StoredKernel, inputs: int) -> list[str]:
    last = inputs % GROUP
    return [
        f"for (j = 0; j < {inputs // GROUP}; j++) {{",
        "  const unsigned m = mask[j];",
        f"  const uint8_t *z = x + j * {GROUP};",
        *(f"  if (m & {1 << n}) sum += (int32_t)z[{n}] * *q++;" for n in range(GROUP)),
        "}",
        *(f"if (mask[{inputs // GROUP}] & {1 << n}) sum += (int32_t)x[{inputs - last + n}] * *q++;" for n in range(last)),
        f"mask += {kernel.groups};",
    ]


_ADD = {"dense": _add_dense, "packed": _add_packed, "sparse": _add_sparse}
_DOT = {"dense": _dot_dense, "packed": _dot_packed, "sparse": _dot_sparse}
