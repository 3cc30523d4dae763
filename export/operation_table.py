"""What a format knows of operations: a function for each class of them.

Operations know no format. A format has one `OperationTable`, and a new operation is one row of each table of a format that
shall hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from tiedae.base.errors import ExportError
from tiedae.program.operations import Operation
from tiedae.program.program import Program


class Graph(Protocol):
    """What operations are written into."""

    @property
    def program(self) -> Program: ...


GraphT = TypeVar("GraphT", bound=Graph)


class OperationTable(dict[type[Operation], Callable[[GraphT, Any], None]], Generic[GraphT]):
    """Functions (graph, operation) that append an operation to a graph of the format `label`, by class of operation.

    A function raises ExportError where the format cannot express what an operation holds. `advice`: for programs with an
    operation that is not here.
    """

    def __init__(self, label: str, rows: Mapping[type[Operation], Callable[[GraphT, Any], None]], *, advice: str = "") -> None:
        super().__init__(rows)
        self.label, self.advice = label, advice

    def write(self, graph: GraphT, operation: Operation) -> None:
        """Append an operation; ExportError if its class has no row."""
        if type(operation) not in self:
            got = f"{self.label} has no {type(operation).__name__}, which writes {operation.y!r}"
            right = f"must be one of {', '.join(each.__name__ for each in self)}{self.advice and f': {self.advice}'}"
            raise ExportError(f"program {graph.program.name}: {got}; {right}")
        self[type(operation)](graph, operation)
