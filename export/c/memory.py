"""Where the tensors and sums of a chain of operations lie in one block of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .builder import CStep

WORD = 4


@dataclass(frozen=True)
class Place:
    """Bytes of the arena, `start`…`stop` − 1; an empty one is a buffer of the caller, `name`."""

    start: int = 0
    stop: int = 0
    name: str = ""

    @property
    def text(self) -> str:
        """The C expression of a pointer to its bytes."""
        return self.name or f"memory + {self.start}"


@dataclass(frozen=True)
class PlacedStep:
    """A step with the places of its tensors and sums."""

    step: CStep
    x: Place
    y: Place
    sums: Place | None

    @property
    def text(self) -> str:
        """The C statement."""
        sums = "" if self.sums is None else f", arena->words + {self.sums.start // WORD}"
        return f"{self.step.function}({self.x.text}, {self.y.text}{sums});"


def plan(steps: Sequence[CStep], sizes: Mapping[str, int], source: str, output: str) -> tuple[list[PlacedStep], int]:
    """The calls of a chain and the bytes that it takes; `sizes`: of each tensor. First and last tensor are the caller's.

    Each place is the first that is free: only the input of a step is in use when it starts. What is only changed in place after
    a step is written to the output at once.
    """
    calls, x, most = [], Place(name=source), 0
    for number, step in enumerate(steps):
        last = all(each.in_place for each in steps[number + 1 :])
        sums = _free(step.scratch, x) if step.scratch else None
        if last:
            y = Place(name=output)
        elif step.in_place and not x.name:
            y = x
        else:
            y = _free(sizes[step.y], x, sums)
        calls.append(PlacedStep(step, x, y, sums))
        most = max(most, y.stop, 0 if sums is None else sums.stop)
        x = y
    return calls, most


def aligned(size: int) -> int:
    """The next multiple of a word."""
    return -(-size // WORD) * WORD


def _free(size: int, *used: Place | None) -> Place:
    start = 0
    for place in sorted((each for each in used if each is not None), key=lambda place: place.start):
        if start + size <= place.start:
            break
        start = max(start, aligned(place.stop))
    return Place(start, start + size)
