"""Sums of products with rows, of any size: as numpy's, on this machine and on cores without vectors of bytes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.compress.integers import within_pairs
from tiedae.export.c.source import CSource
from tiedae.export.c.text import named, part

from ...variants import every
from .boards import BOARDS, Board
from .boards import run as run_on
from .compiled import pointer, shared, write

HEADER = """#include <stddef.h>
#include <stdint.h>
void rows_add(const uint8_t *x, const int8_t *kernel, size_t inputs, size_t units, int pairs, int32_t *sums);
void rows_dot(const uint8_t *x, const int8_t *rows, size_t inputs, size_t count, int32_t *sums);
"""
FUNCTIONS = """
void rows_add(const uint8_t *x, const int8_t *kernel, size_t inputs, size_t units, int pairs, int32_t *sums)
{
  if (pairs) tae_add_rows(x, kernel, inputs, units, 1, sums);
  else tae_add_rows(x, kernel, inputs, units, 0, sums);
}

void rows_dot(const uint8_t *x, const int8_t *rows, size_t inputs, size_t count, int32_t *sums)
{
  tae_dot_rows(x, rows, inputs, count, sums);
}
"""
TEXT = "\n".join([*map(part, ("rows.c", "add_rows.c", "dot_rows.c")), FUNCTIONS])
SOURCE = CSource("rows", '#include "rows.h"\n' + named(TEXT, "rows"), HEADER, "", 4, {})


@dataclass(frozen=True)
class Layer:
    """A kernel, int8 [inputs, units], and inputs of both directions, uint8, of which a part are 0.

    `pairs`: the kernel obeys the pair rule; `ends`: all integers are the smallest or largest.
    """

    inputs: int
    units: int
    seed: int
    zeros: float = 0.3
    pairs: bool = True
    ends: bool = False

    @property
    def kernel(self) -> np.ndarray:
        rng, shape = np.random.default_rng(self.seed), (self.inputs, self.units)
        kernel = rng.choice(np.array([-128, 127], np.int8)) * np.ones(shape, np.int8)
        kernel = kernel if self.ends else rng.integers(-128, 128, shape).astype(np.int8)
        return within_pairs(kernel) if self.pairs else kernel

    def x(self, size: int) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 1)
        x = np.full(size, 255) if self.ends else rng.integers(0, 256, size)
        return np.where(rng.random(size) < self.zeros, 0, x).astype(np.uint8)

    @property
    def start(self) -> np.ndarray:
        """Sums to which products are added, int32, one for each row and each column."""
        return np.random.default_rng(self.seed + 2).integers(-(2**20), 2**20, self.inputs + self.units).astype(np.int32)

    @property
    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """What both functions make of `start`."""
        kernel = self.kernel.astype(np.int64)
        return self.start[: self.units] + self.x(self.inputs) @ kernel, self.start[self.units :] + kernel @ self.x(self.units)


@pytest.fixture(scope="module", params=every(2, ["-O3", "-O0", "-O2 -U__SSE2__", "-O2"]))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return shared(SOURCE, tmp_path_factory.mktemp("rows"), *request.param.split())


GUARD = np.int32(12345)
"""Behind the sums."""
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 300))
LAYERS = st.builds(Layer, SIZES, SIZES, st.integers(0, 2**30), st.sampled_from([0, 0.3, 0.9, 1]), st.booleans(), st.booleans())


@given(layer=LAYERS)
@settings(max_examples=60, deadline=None)
def test_rows_of_any_size(library: ctypes.CDLL, layer: Layer) -> None:
    kernel = layer.kernel
    added, dots = (np.append(sums, GUARD) for sums in (layer.start[: layer.units], layer.start[layer.units :]))
    shape = (ctypes.c_size_t(each) for each in kernel.shape)
    library.rows_add(pointer(layer.x(layer.inputs)), pointer(kernel), *shape, int(layer.pairs), pointer(added))
    shape = (ctypes.c_size_t(each) for each in kernel.T.shape)
    library.rows_dot(pointer(layer.x(layer.units)), pointer(kernel), *shape, pointer(dots))
    for got, right in zip((added, dots), layer.right, strict=True):
        np.testing.assert_array_equal(got, np.append(right, GUARD))


SHAPES = ((1, 1), (1, 7), (2, 3), (3, 2), (5, 1), (4, 4), (7, 9), (64, 16), (131, 66), (130, 7), (9, 300), (257, 33))
MAIN = """#include <stdio.h>
#include "rows.h"
#include "layers.h"

static int32_t sums[512];

int main(void)
{
  size_t i, j;
  unsigned long wrong = 0;
  for (i = 0; i < sizeof layers / sizeof *layers; i++) {
    const layer *l = layers + i;
    for (j = 0; j < l->units; j++) sums[j] = l->start[j];
    rows_add(l->x, l->kernel, l->inputs, l->units, l->pairs, sums);
    for (j = 0; j < l->units; j++) wrong += sums[j] != l->added[j];
    sums[l->inputs] = 12345;
    for (j = 0; j < l->inputs; j++) sums[j] = l->start[l->units + j];
    rows_dot(l->code, l->kernel, l->units, l->inputs, sums);
    for (j = 0; j < l->inputs; j++) wrong += sums[j] != l->dots[j];
    wrong += sums[l->inputs] != 12345;
  }
  printf("%lu layers, %lu wrong\\n", (unsigned long)i, wrong);
  return 0;
}
"""
LAYER = """typedef struct {
  size_t inputs, units;
  int pairs;
  const int8_t *kernel;
  const uint8_t *x, *code;
  const int32_t *start, *added, *dots;
} layer;
"""


@pytest.mark.ci
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
@pytest.mark.parametrize("options", ["-O2", "-O2 -DROWS_PORTABLE", "-Os"])
def test_rows_on_a_core(board: Board, options: str, tmp_path: Path) -> None:
    """Kernels lie at odd addresses too."""
    layers = [
        Layer(*shape, i, zeros, pairs, ends)
        for i, shape in enumerate(SHAPES)
        for zeros, pairs, ends in ((0.3, True, False), (0, False, True), (0.8, False, False))
    ]
    (tmp_path / "src").mkdir()
    write(SOURCE, tmp_path / "src")
    (tmp_path / "src" / "layers.h").write_text(header_of(layers), encoding="utf-8")
    (tmp_path / "main.c").write_text(MAIN, encoding="utf-8")
    variables = (f"MAIN={tmp_path}/main.c", f"FOLDER={tmp_path}", "NAME=rows")
    assert run_on(board, tmp_path / "build", *variables, options=options) == (0, f"{len(layers)} layers, 0 wrong\n")


def header_of(layers: list[Layer]) -> str:
    """`layers`, a C array."""
    text, rows = [LAYER], []
    for i, layer in enumerate(layers):
        added, dots = layer.right
        byte = np.append(np.int8(0), layer.kernel.ravel()) if i % 2 else layer.kernel.ravel()
        arrays = {"kernel": byte, "x": layer.x(layer.inputs), "code": layer.x(layer.units), "start": layer.start}
        arrays |= {"added": added.astype(np.int32), "dots": dots.astype(np.int32)}
        for name, values in arrays.items():
            text.append(f"static const {values.dtype.name}_t {name}_{i}[] = {{{', '.join(map(str, values.tolist()))}}};")
        pointers = ", ".join(f"{name}_{i}{' + 1' if name == 'kernel' and i % 2 else ''}" for name in arrays)
        rows.append(f"  {{{layer.inputs}, {layer.units}, {int(layer.pairs)}, {pointers}}},")
    return "\n".join([*text, "static const layer layers[] = {", *rows, "};\n"])
