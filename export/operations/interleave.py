"""Interleaving: neighbouring rows of the first kernel belong to inputs from different parts of a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...compress.errors import ExportError
from .elementwise import Requantize
from .operation import Operation

if TYPE_CHECKING:
    from ..program import Program


@dataclass(frozen=True)
class Interleave(Operation):
    """y = x reshaped to (ways, size / ways), transposed, flattened. Its inverse has size / ways groups."""

    ways: int

    def check(self, program: Program) -> None:
        x, y = program.tensors[self.x], program.tensors[self.y]
        if not isinstance(self.ways, int) or self.ways < 1 or x.shape[0] % self.ways:
            raise ExportError(f"interleave to {y.name}: got {self.ways!r} groups, must be a divisor of {x.shape[0]}")
        if (x.shape, x.quantization) != (y.shape, y.quantization):
            raise ExportError(f"interleave to {y.name}: its size and quantization must be those of {x.name}")

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        return interleaved(x, self.ways)

    reals = integers


def interleaved(x: np.ndarray, groups: int) -> np.ndarray:
    """[batch, n], each sample reshaped to (groups, n / groups), transposed and flattened. The inverse has n / groups groups."""
    return x.reshape(len(x), groups, x.shape[1] // groups).swapaxes(1, 2).reshape(x.shape)


def interleaved_parts(program: Program) -> int:
    """The groups of the first kernel's interleaving; 1 if its rows are in the order of x."""
    first = program.encoder[0]
    return first.ways if isinstance(first, Interleave) else 1


def interleave(program: Program, groups: int) -> Program:
    """A program for interleaved samples as a program for samples in their own order.

    The output's order is restored before a final `Requantize`, which a file can merge with the conversion of its output.
    """
    ahead = -1 if isinstance(program.decoder[-1], Requantize) else len(program.decoder)
    body, tail = program.decoder[:ahead], program.decoder[ahead:]
    renamed = {name: f"{name}.interleaved" for name in ("x", body[-1].y)}
    encoder = (replace(program.encoder[0], x=renamed["x"]), *program.encoder[1:])
    body = (*body[:-1], replace(body[-1], y=renamed[body[-1].y]))
    back = Interleave(body[-1].y, tail[0].x if tail else "y", program.tensors["x"].shape[0] // groups)
    return replace(
        program,
        tensors={**program.tensors, **{new: replace(program.tensors[old], name=new) for old, new in renamed.items()}},
        encoder=(Interleave("x", renamed["x"], groups), *encoder),
        decoder=(*body, back, *tail),
    )
