"""C text that runs four samples at once, a tile, behind a model's own in one file: they share each row of the kernel.

A processor with AVX512-VNNI multiplies faster than its second-level cache gives it a kernel. The runtime of C files alone
compiles this text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .builder import CStep
from .entries import Network, network_text
from .memory import aligned, plan
from .products import TILE
from .text import indented, part


def tiles_text(network: Network) -> str:
    """Where the compiler may use AVX512-VNNI: TAE_TILE, and the functions of the program's halves as `tae_tile_…`."""
    sizes = {name: each.shape[0] for name, each in network.program.tensors.items()}
    functions, halves = [], []
    for half in network.halves:
        steps = [call.step for call in half.calls]
        functions += [_function(step, sizes) for step in steps]
        wide = [replace(step, scratch=step.scratch + 4 * TILE * sizes[step.y]) for step in steps]
        calls, memory = plan(wide, {name: TILE * size for name, size in sizes.items()}, half.source, half.output)
        halves.append(replace(half, calls=tuple(calls), memory=aligned(memory)))
    tiled = replace(network, halves=halves, unit=None, detector=None)
    arena = f"typedef struct {{ int32_t words[{max(tiled.arena, network.arena) // 4}]; }} tae_tile_arena;\n"
    entries = _renamed(network_text(tiled)).replace("TAE_UNITS", f"{TILE} * TAE_UNITS")
    return "\n".join(["#if TAE_LANES == 4", part("tile.c"), arena, *functions, entries, "#endif\n"])


def _function(step: CStep, sizes: Mapping[str, int]) -> str:
    """A step on a tile, by its own lines or sample by sample."""
    call = f"{step.function}(x + i * {sizes[step.x]}, y + i * {sizes[step.y]}{', sums' if step.scratch else ''});"
    body = step.tile or ("size_t i;", f"for (i = 0; i < {TILE}; i++) {call}")
    parameters = "const uint8_t *x, uint8_t *y, int32_t *restrict sums"
    return f"static void {_renamed(step.function)}({parameters})\n{{\n{indented(body)}\n}}\n"


def _renamed(text: str) -> str:
    return text.replace("tae_", "tae_tile_")
