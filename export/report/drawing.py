"""The file's graph as a drawing: the encoder downwards, the decoder upwards, and between them each kernel, once, for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .figures import escape, size
from .key_figures import Row

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
    stack = levels(program)
    sizes = {name: tensor["size"] for name, tensor in program["tensors"].items()}
    port = {name: f"{name} · {sizes[name]} {dtypes.get(name, '')}".rstrip() for name in ("x", "code", "y")}
    parts = [_port(ENCODER, 18, port["x"]), _port(DECODER, 18, port["y"])]
    at = {"encoder": 32.0, "decoder": 32.0}
    top = 32 + GAP
    for level in stack:
        middle = top + level.height / 2
        down = _column(level.encoder, middle)
        up = _column(level.decoder[::-1], middle)
        for place, operation in zip(down, level.encoder, strict=True):
            parts += [_arrow(ENCODER, at["encoder"], place - HEIGHT / 2), _box(ENCODER, place, operation, sizes)]
            at["encoder"] = place + HEIGHT / 2
            if "kernel" in operation:
                parts.append(_use(KERNEL - KERNEL_BOX / 2, middle, ENCODER + BOX / 2, place, "W"))
        for place, operation in zip(up, level.decoder[::-1], strict=True):
            parts += [_arrow(DECODER, place - HEIGHT / 2, at["decoder"]), _box(DECODER, place, operation, sizes)]
            at["decoder"] = place + HEIGHT / 2
            if "kernel" in operation:
                parts.append(_use(KERNEL + KERNEL_BOX / 2, middle, DECODER - BOX / 2, place, "Wᵀ"))
        parts.append(_kernel(middle, level.kernel, pruned.get(level.kernel["name"], "")))
        top += level.height + GAP
    code = top + 14
    parts.append(_elbow(ENCODER, at["encoder"], KERNEL - BOX / 2, code))
    parts.append(_port(KERNEL, code, port["code"]))
    parts.append(_elbow_up(KERNEL + BOX / 2, code, DECODER, at["decoder"]))
    frame = f'class="graph" viewBox="0 0 {WIDTH} {top + 34:g}" role="img" aria-label="{escape(title)}"'
    return f"<svg {frame}>" + "".join(parts) + "</svg>"


def _column(operations: Sequence[Row], middle: float) -> list[float]:
    """The middles of the boxes from the top, centred at `middle`."""
    first = middle - STEP * (len(operations) - 1) / 2
    return [first + STEP * i for i in range(len(operations))]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'


def _port(x: float, y: float, text: str) -> str:
    rect = f'<rect class="port" x="{x - BOX / 2:g}" y="{y - 14:g}" width="{BOX}" height="28" rx="14"/>'
    return rect + _text(x, y + 4, text, "strong")


def _box(x: float, y: float, operation: Row, sizes: Mapping[str, int]) -> str:
    kind = "operation tied" if "kernel" in operation else "operation"
    rect = f'<rect class="{kind}" x="{x - BOX / 2:g}" y="{y - HEIGHT / 2:g}" width="{BOX}" height="{HEIGHT}" rx="5"/>'
    kind_of = {"Activate": operation.get("function"), "AddBias": "Add bias"}
    activation = operation.get("activation", "linear")
    name = f"{kind_of.get(operation['op'], operation['op'])}{'' if activation == 'linear' else f', {activation}'}"
    label = _text(x, y + 4, f"{name} → {sizes[operation['y']]}")
    return f"<g><title>{escape(operation['y'])}</title>{rect}{label}</g>"


def _kernel(y: float, kernel: Row, pruned: str) -> str:
    x, half = KERNEL, KERNEL_HEIGHT / 2
    count = kernel["inputs"] * kernel["units"]
    width = f'width="{KERNEL_BOX}" height="{KERNEL_HEIGHT}"'
    rect = f'<rect class="kernel" x="{x - KERNEL_BOX / 2:g}" y="{y - half:g}" {width} rx="6"/>'
    lines = [_short(kernel["name"]), f"{kernel['inputs']} × {kernel['units']}", size(count if kernel["scales"] else 4 * count)]
    first = y - 7 * len(lines) + 11 - (4 if pruned else 0)
    shown = [_text(x, first + 14 * i, line, "on" if i else "on strong") for i, line in enumerate(lines)]
    if pruned:
        shown.append(_text(x, first + 14 * len(lines), pruned, "on small"))
    return f"<g><title>{escape(kernel['name'])}</title>{rect}{''.join(shown)}</g>"


def _use(x: float, y: float, to_x: float, to_y: float, label: str) -> str:
    """From the kernel to an operation that uses it."""
    bend = (x + to_x) / 2
    side = 1 if to_x > x else -1
    line = f'<path class="use" d="M{x:g} {y:g} H{bend:g} V{to_y:g} H{to_x - 6 * side:g}"/>'
    head = f'<path class="head" d="M{to_x:g} {to_y:g} l{-8 * side} -4.5 v9 z"/>'
    return line + head + _text(bend, min(y, to_y) - 6, label, "label")


def _arrow(x: float, start: float, end: float) -> str:
    direction = 1 if end > start else -1
    line = f'<path class="flow" d="M{x:g} {start:g} V{end - 6 * direction:g}"/>'
    return line + f'<path class="tip" d="M{x:g} {end:g} l-4.5 {-8 * direction} h9 z"/>'


def _elbow(x: float, y: float, to_x: float, to_y: float) -> str:
    line = f'<path class="flow" d="M{x:g} {y:g} V{to_y:g} H{to_x - 6:g}"/>'
    return line + f'<path class="tip" d="M{to_x:g} {to_y:g} l-8 -4.5 v9 z"/>'


def _elbow_up(x: float, y: float, to_x: float, to_y: float) -> str:
    line = f'<path class="flow" d="M{x:g} {y:g} H{to_x:g} V{to_y + 6:g}"/>'
    return line + f'<path class="tip" d="M{to_x:g} {to_y:g} l-4.5 8 h9 z"/>'
