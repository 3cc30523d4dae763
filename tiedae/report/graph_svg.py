"""Drawing of the graph: encoder downwards, decoder upwards, and each kernel once between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiedae.base.numbers import size
from tiedae.bundle.manifest import ProgramText
from tiedae.program.operations import Operation
from tiedae.program.program import Kernel

from .pages import fragment

WIDTH, ENCODER, KERNEL, DECODER = 460, 70, 230, 390
"""Width of the drawing, and centers of its columns."""
BOX, STEP, GAP = 136, 42, 16
"""Width of a box, distance of operations, and gap between kernels."""
HEIGHT, KERNEL_HEIGHT, KERNEL_BOX = 28, 62, 100
LONGEST = 18
"""Maximum characters of a name in a box."""


@dataclass(frozen=True)
class Box:
    """A rectangle centered at `middle`, with its upper edge at `y`, and lines of text: (y, text, CSS class)."""

    kind: str
    middle: float
    y: float
    lines: Sequence[tuple[float, str, str]]
    title: str = ""
    width: int = BOX
    height: int = HEIGHT
    radius: int = 5

    @property
    def x(self) -> float:
        return self.middle - self.width / 2


Arrow = tuple[str, str, str]
"""The CSS class of an arrow, and SVG path data of its line and head."""


def draw_program(program: ProgramText, dtypes: Mapping[str, str], pruned: Mapping[str, str], title: str) -> str:
    """An SVG of a program. `dtypes` of the file's x, code and y; `pruned` has a text per kernel."""
    sizes = {name: " × ".join(map(str, tensor.tensor(name).shape)) for name, tensor in program.tensors.items()}
    encoder, decoder = map(_by_kernel, program.operations)

    def io(middle: float, y: float, name: str) -> Box:
        text = f"{name} · {sizes[name]} {dtypes.get(name, '')}".rstrip()
        return Box("io", middle, y - HEIGHT / 2, [(y + 4, text, "strong")], radius=14)

    boxes, arrows, labels = [io(ENCODER, 18, "x"), io(DECODER, 18, "y")], [], []
    at = {ENCODER: 32.0, DECODER: 32.0}
    top = 32 + GAP
    for name in dict.fromkeys([*encoder, *reversed(decoder)]):
        columns = ((ENCODER, -1, "W", encoder.get(name, ())), (DECODER, 1, "Wᵀ", decoder.get(name, ())[::-1]))
        height = max(STEP * max(len(operations) for *_, operations in columns), KERNEL_HEIGHT + 12)
        middle = top + height / 2
        for column, side, label, operations in columns:
            for i, operation in enumerate(operations):
                y = middle + STEP * (i - (len(operations) - 1) / 2)
                start, end = sorted((at[column], y - HEIGHT / 2), reverse=column == DECODER)
                arrows.append(_arrow("flow", f"M{column} {start}", column, end, down=-side))
                boxes.append(_operation(column, y, operation, sizes[operation.y]))
                at[column] = y + HEIGHT / 2
                if hasattr(operation, "kernel"):
                    x, to_x = KERNEL + side * KERNEL_BOX / 2, column - side * BOX / 2
                    bend = (x + to_x) / 2
                    arrows.append(_arrow("use", f"M{x} {middle} H{bend} V{y}", to_x, y, across=side))
                    labels.append((bend, min(middle, y) - 6, label))
        boxes.append(_kernel(middle, program.kernels[name], pruned.get(name, "")))
        top += height + GAP
    code = top + 14
    boxes.append(io(KERNEL, code, "code"))
    arrows.append(_arrow("flow", f"M{ENCODER} {at[ENCODER]} V{code}", KERNEL - BOX / 2, code, across=1))
    arrows.append(_arrow("flow", f"M{KERNEL + BOX / 2} {code} H{DECODER}", DECODER, at[DECODER], down=-1))
    template = Path(__file__).with_suffix(".html.j2")
    return fragment(template, width=WIDTH, height=top + 34, title=title, boxes=boxes, arrows=arrows, labels=labels)


def _by_kernel(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    """Operations by kernel: each belongs to the previous kernel; a `Rescale`, and those before any kernel, to the next."""
    found: dict[str, list[Operation]] = {}
    waiting: list[Operation] = []
    for operation in operations:
        kernel = getattr(operation, "kernel", None)
        if kernel is not None:
            found[kernel] = [*waiting, operation]
            waiting = []
        elif found and not hasattr(operation, "factors"):
            next(reversed(found.values())).append(operation)
        else:
            waiting.append(operation)
    return found


def _operation(middle: float, y: float, operation: Operation, outputs: str) -> Box:
    caption = (operation.caption or type(operation).__name__).format(**vars(operation))
    activation = getattr(operation, "activation", "linear")
    text = f"{caption}{'' if activation == 'linear' else f', {activation}'} → {outputs}"
    kind = "operation tied" if hasattr(operation, "kernel") else "operation"
    return Box(kind, middle, y - HEIGHT / 2, [(y + 4, text, "")], operation.y)


def _kernel(y: float, kernel: Kernel, pruned: str) -> Box:
    name, count = kernel.name, kernel.inputs * kernel.units
    stored = size(count if kernel.scales else 4 * count)
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    lines = [(short, "on strong"), (f"{kernel.inputs} × {kernel.units}", "on"), (stored, "on")]
    lines += [(pruned, "on small")] if pruned else []
    first = y - (14 if pruned else 10)
    placed = [(first + 14 * i, *line) for i, line in enumerate(lines)]
    return Box("kernel", KERNEL, y - KERNEL_HEIGHT / 2, placed, name, KERNEL_BOX, KERNEL_HEIGHT, 6)


def _arrow(kind: str, start: str, x: float, y: float, *, across: int = 0, down: int = 0) -> Arrow:
    """An arrow from the path `start` to (x, y); its last segment runs `across` or `down` (1 or −1)."""
    if across:
        return kind, f"{start} H{x - 6 * across}", f"M{x} {y} l{-8 * across} -4.5 v9 z"
    return kind, f"{start} V{y - 6 * down}", f"M{x} {y} l-4.5 {-8 * down} h9 z"
