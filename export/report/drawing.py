"""The file's graph as a drawing: the encoder downwards, the decoder upwards, and between them each kernel, once, for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiedae.pages import fragment, size

from ..operations import OPERATIONS
from .headline import Row

WIDTH, ENCODER, KERNEL, DECODER = 460, 70, 230, 390
"""The width of the drawing and the middles of its columns."""
BOX, STEP, GAP = 136, 42, 16
"""Width of a box, from one operation to the next, and between the levels of two kernels."""
HEIGHT, KERNEL_HEIGHT, KERNEL_BOX = 28, 62, 100
LONGEST = 18
"""Characters of a name that fit into a box."""


@dataclass(frozen=True)
class Level:
    """What belongs to one kernel, in the order that it runs."""

    kernel: Row
    encoder: tuple[Row, ...]
    decoder: tuple[Row, ...]

    @property
    def height(self) -> int:
        return max(len(self.encoder) * STEP, len(self.decoder) * STEP, KERNEL_HEIGHT + 12)


@dataclass(frozen=True)
class Box:
    """A rectangle around `middle`, with its upper edge at `y`, and lines of text in it: y, text, CSS class."""

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


@dataclass(frozen=True)
class Arrow:
    """An arrow that begins with the path `start` and ends at (x, y): `across` or `down` by 1 or −1."""

    kind: str
    start: str
    x: float
    y: float
    across: int = 0
    down: int = 0

    @property
    def line(self) -> str:
        return f"{self.start} {f'H{self.x - 6 * self.across}' if self.across else f'V{self.y - 6 * self.down}'}"

    @property
    def head(self) -> str:
        return f"M{self.x} {self.y} " + (f"l{-8 * self.across} -4.5 v9 z" if self.across else f"l-4.5 {-8 * self.down} h9 z")


def levels(program: Row) -> list[Level]:
    """The operations of `manifest["operations"][form]` by the kernel that they belong to, from the data to the code."""
    parts = {part: _by_kernel(program[part]) for part in ("encoder", "decoder")}
    names = dict.fromkeys([*parts["encoder"], *reversed(parts["decoder"])])
    of = {name: [tuple(parts[part].get(name, ())) for part in ("encoder", "decoder")] for name in names}
    return [Level(program["kernels"][name], *operations) for name, operations in of.items()]


def _by_kernel(operations: Sequence[Row]) -> dict[str, list[Row]]:
    """An operation belongs to the kernel before it; factors, and what comes before all kernels, to the one after it."""
    found: dict[str, list[Row]] = {}
    waiting: list[Row] = []
    for operation in operations:
        if "factors" in operation or not (found or "kernel" in operation):
            waiting.append(operation)
            continue
        if "kernel" in operation:
            found[operation["kernel"]] = waiting
            waiting = []
        next(reversed(found.values())).append(operation)
    return found


def draw_program(program: Row, dtypes: Mapping[str, str], pruned: Mapping[str, str], title: str) -> str:
    """An SVG of a program as the manifest has it; `dtypes` of the file's ports x, code and y, `pruned` a text per kernel."""
    sizes = {name: tensor["size"] for name, tensor in program["tensors"].items()}

    def port(middle: float, y: float, name: str) -> Box:
        text = f"{name} · {sizes[name]} {dtypes.get(name, '')}".rstrip()
        return Box("port", middle, y - HEIGHT / 2, [(y + 4, text, "strong")], radius=14)

    boxes, arrows, labels = [port(ENCODER, 18, "x"), port(DECODER, 18, "y")], [], []
    at = {ENCODER: 32.0, DECODER: 32.0}
    top = 32 + GAP
    for level in levels(program):
        middle = top + level.height / 2
        for column, side, operations in ((ENCODER, -1, level.encoder), (DECODER, 1, level.decoder[::-1])):
            for i, operation in enumerate(operations):
                place = middle + STEP * (i - (len(operations) - 1) / 2)
                start, end = sorted((at[column], place - HEIGHT / 2), reverse=column == DECODER)
                arrows.append(Arrow("flow", f"M{column} {start}", column, end, down=-side))
                boxes.append(_operation(column, place, operation, sizes[operation["y"]]))
                at[column] = place + HEIGHT / 2
                if "kernel" in operation:
                    x, to_x = KERNEL + side * KERNEL_BOX / 2, column - side * BOX / 2
                    bend = (x + to_x) / 2
                    arrows.append(Arrow("use", f"M{x} {middle} H{bend} V{place}", to_x, place, across=side))
                    labels.append((bend, min(middle, place) - 6, "W" if column == ENCODER else "Wᵀ"))
        boxes.append(_kernel(middle, level.kernel, pruned.get(level.kernel["name"], "")))
        top += level.height + GAP
    code = top + 14
    boxes.append(port(KERNEL, code, "code"))
    arrows.append(Arrow("flow", f"M{ENCODER} {at[ENCODER]} V{code}", KERNEL - BOX / 2, code, across=1))
    arrows.append(Arrow("flow", f"M{KERNEL + BOX / 2} {code} H{DECODER}", DECODER, at[DECODER], down=-1))
    template = Path(__file__).with_suffix(".html.j2")
    return fragment(template, width=WIDTH, height=top + 34, title=title, boxes=boxes, arrows=arrows, labels=labels)


def _operation(middle: float, y: float, operation: Row, outputs: int) -> Box:
    caption = (OPERATIONS[operation["op"]].caption or operation["op"]).format_map(operation)
    activation = operation.get("activation", "linear")
    text = f"{caption}{'' if activation == 'linear' else f', {activation}'} → {outputs}"
    kind = "operation tied" if "kernel" in operation else "operation"
    return Box(kind, middle, y - HEIGHT / 2, [(y + 4, text, "")], operation["y"])


def _kernel(y: float, kernel: Row, pruned: str) -> Box:
    name, count = kernel["name"], kernel["inputs"] * kernel["units"]
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    lines = [
        (short, "on strong"),
        (f"{kernel['inputs']} × {kernel['units']}", "on"),
        (size(count if kernel["scales"] else 4 * count), "on"),
        *([(pruned, "on small")] if pruned else []),
    ]
    first = y - (14 if pruned else 10)
    placed = [(first + 14 * i, *line) for i, line in enumerate(lines)]
    return Box("kernel", KERNEL, y - KERNEL_HEIGHT / 2, placed, name, KERNEL_BOX, KERNEL_HEIGHT, 6)
