"""Collects the C text of a program's operations: constants, one function each, and the memory that each takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.program.operations import Operation
from tiedae.program.program import Program

from .kernels import PLACES, Storage, StoredKernel, stored
from .rounding import FORMS, INT32, Form, IntegerRounding, Steps, fit_rounding
from .rounding_text import EMULATION, exception_tables, tables
from .text import ConstantTable, array, comment, indented, part, symbol


@dataclass(frozen=True)
class CStep:
    """A function of a C file that runs one operation: from tensor `x` to tensor `y`, uint8 each.

    `scratch`: bytes of memory that it takes beside them, aligned to 4.
    """

    function: str
    x: str
    y: str
    scratch: int
    in_place: bool


@dataclass
class CBuilder:
    """What operations append to, see `C_OPERATIONS`."""

    program: Program
    storage: Storage = "dense"
    forms: Sequence[Form] = FORMS
    text: list[str] = field(default_factory=list)
    steps: list[CStep] = field(default_factory=list)
    roundings: dict[str, IntegerRounding] = field(default_factory=dict)
    _kernels: dict[str, StoredKernel] = field(default_factory=dict)
    _parts: list[str] = field(default_factory=list)

    def part(self, name: str) -> None:
        """A part of C text, appended once."""
        if name not in self._parts:
            self._parts.append(name)
            self.text.append(part(name))

    def kernel(self, name: str) -> StoredKernel:
        """A kernel of the file, defined once."""
        if name not in self._kernels:
            kernel, values = self.program.kernels[name], self.program.constants[name]
            if kernel.units >= 1 << 16:
                raise ExportError(f"kernel {name}: got {kernel.units:,} units, a C file has at most 65,535")
            if self.storage == "sparse" and not self._kernels:
                self.text.append(PLACES)
            self._kernels[name] = stored(kernel, values, self.storage)
            self.text.append(self._kernels[name].text)
        return self._kernels[name]

    @property
    def kernel_bytes(self) -> int:
        return sum(kernel.size for kernel in self._kernels.values())

    def constant(self, name: str, values: np.ndarray) -> str:
        """The C name of a new constant array."""
        name = symbol(name)
        self.text.append(array(name, values))
        return name

    def table(self, name: str, values: np.ndarray) -> ConstantTable:
        """A new table of integers [n]."""
        table = ConstantTable(symbol(name), values)
        self._define(table)
        return table

    def _define(self, *tables: ConstantTable) -> None:
        self.text += [table.definition for table in tables if table.definition]

    def rounding(
        self, operation: Operation, least: np.ndarray, most: np.ndarray, multiplier: np.ndarray, limits: tuple[int, int]
    ) -> IntegerRounding:
        """The rounding of accumulators `least`…`most`, int64 [n], to an operation's output; its definitions are appended.

        Raises ExportError where 32 bits do not hold them.
        """
        self.require_int32(operation, least, most)
        multiplier = np.atleast_1d(np.asarray(multiplier, np.float32))
        if len(multiplier) == 1:
            least, most = least.min(keepdims=True), most.max(keepdims=True)
        low, high = limits
        zero_point = self.program.quantization(operation.y).zero_point
        found = fit_rounding(Steps(least, most, multiplier, zero_point, low, high), self.forms)
        if found.form == "emulation" and all(each.form != "emulation" for each in self.roundings.values()):
            self.text.append(EMULATION)
        self.roundings[operation.y] = found
        self._define(*tables(symbol(operation.y), found), *exception_tables(symbol(operation.y), found))
        return found

    def rows(self, operation: Operation, lines: Sequence[str]) -> list[str]:
        """Lines that run `lines`, which read a row at `x` and write one at `y`, on each row: the last axis of the tensors."""
        x, y = (self.program.tensors[name] for name in (operation.x, operation.y))
        count = x.size // x.shape[-1]
        if count == 1:
            return list(lines)
        head = f"for (r = 0; r < {count}; r++, x += {x.shape[-1]}, y += {y.shape[-1]}) {{"
        return ["size_t r;", head, indented(lines), "}"]

    def require_int32(self, operation: Operation, *sums: np.ndarray) -> None:
        """Raise ExportError unless 32 bits hold these sums of an operation, int64."""
        reach = max(int(np.abs(each).max()) for each in sums)
        if reach >= INT32:
            raise ExportError(f"{operation.y}: sums reach {reach:,}, C holds them in 32 bits: must be below {INT32:,}")

    def step(self, operation: Operation, title: str, body: Sequence[str], *, scratch: int = 0, in_place: bool = False) -> None:
        """Append the function of an operation, whose body reads `x` and writes `y`; `scratch` bytes at `sums`."""
        pointer = "*" if in_place else "*restrict "
        parameters = [f"const uint8_t {pointer}x", f"uint8_t {pointer}y"] + ([f"int32_t {pointer}sums"] if scratch else [])
        function = self.function("", ", ".join(parameters), body, title)
        self.steps.append(CStep(function, operation.x, operation.y, scratch, in_place))

    def function(self, ending: str, parameters: str, body: Sequence[str], title: str = "") -> str:
        """Append a function of the step that comes next; its name."""
        name = f"tae_step_{len(self.steps)}{ending}"
        head = f"{comment(title) if title else ''}static void {name}({parameters})"
        self.text.append(f"{head}\n{{\n{indented(body)}\n}}\n")
        return name
