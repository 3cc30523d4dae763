"""The picture of rate and distortion in the README: this codec, PCA, AVIF, WebP and JPEG on the first 1,000 test images.

    TIEDAE_DATA=... python benchmarks/rate_picture.py docs/explanation/rate-distortion.svg --keep FOLDER

One net per rate, seed 0, as `benchmarks/rate.py` trains them; FOLDER is theirs. Real files throughout: .tae, the frames of a
.tae for PCA, and one mosaic of all images for the formats of pictures.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rate import FASHION, MOSAIC, Cost, first, of_seed, pca_choice, pca_cost, picture_cost, trained

from tiedae.base.files import write_atomic
from tiedae.bundle.task_results import TIED, Coder
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console
from tiedae.tasks.compression import TITLES

RATES = (0.0015, 0.004, 0.0118, 0.029)
PCA_BITS = (110, 150, 200, 280, 400)
QUALITIES: Mapping[Coder, Sequence[int]] = {"avif": (5, 10, 15, 20, 25), "webp": range(0, 41, 10), "jpeg": (5, 10, 15, 20)}
COLOURS = {"tied": "#0b6e4f", "pca": "#8c5a2b", "avif": "#3a5ba0", "webp": "#8a4fa3", "jpeg": "#a33b3b"}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 70, 50, 20, 100
ACROSS, UP = (100, 150, 200, 300, 400, 500), (2, 3, 4, 5, 6, 8, 10, 12)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("svg", type=Path)
    parser.add_argument("--keep", type=Path, required=True, metavar="FOLDER", help="trained nets")
    arguments = parser.parse_args()
    with Console() as console:
        write_atomic(arguments.svg, drawn(curves(arguments.keep, console)).encode())
    return 0


def curves(folder: Path, console: Console) -> dict[Coder, list[Cost]]:
    data = load_dataset(FASHION.data, "sigmoid")
    part = first(data.test, MOSAIC)
    nets = [trained(of_seed(FASHION, 0, rate), data, folder, console) for rate in RATES]
    choice = pca_choice(data)
    found: dict[Coder, list[Cost]] = {
        "tied": [net.file(part, net.class_tables) for net in nets],
        "pca": [pca_cost(choice, part, bits) for bits in PCA_BITS],
    }
    for name, qualities in QUALITIES.items():
        found[name] = [picture_cost(name, part, quality) for quality in qualities]
    for name, costs in found.items():
        console.note(f"{TITLES[name]}: " + ", ".join(f"{cost.bits:.0f} bit {cost.error:.2f}" for cost in costs))
    return found


def drawn(found: Mapping[Coder, Sequence[Cost]]) -> str:
    """An SVG; both axes are logarithmic."""

    def x(bits: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(bits / ACROSS[0]) / math.log(ACROSS[-1] / ACROSS[0])

    def y(error: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(error / UP[0]) / math.log(UP[-1] / UP[0])

    def text(across: float, up: float, words: str, rest: str = "") -> str:
        return f'<text x="{across:.1f}" y="{up:.1f}" {rest}>{words}</text>'

    middle = 'text-anchor="middle"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#333">',
        "<title>Squared error per image over bits per image, lower left is better</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for bits in ACROSS:
        parts.append(f'<path d="M{x(bits):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(text(x(bits), HEIGHT - BOTTOM + 18, str(bits), middle))
    for error in UP:
        parts.append(f'<path d="M{LEFT} {y(error):.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(text(LEFT - 8, y(error) + 4, str(error), 'text-anchor="end"'))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "bits per image of 784 values", middle))
    parts.append(text(16, HEIGHT / 2, "squared error per image", f'{middle} transform="rotate(-90 16 {HEIGHT / 2})"'))
    for name, costs in found.items():
        shown = sorted((c.bits, c.error) for c in costs if ACROSS[0] <= c.bits <= ACROSS[-1] and UP[0] <= c.error <= UP[-1])
        points = [(x(bits), y(error)) for bits, error in shown]
        line = "L".join(f"{across:.1f} {up:.1f}" for across, up in points)
        width = 3 if name == TIED else 1.5
        parts.append(f'<path d="M{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="{width}"/>')
        parts += [f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{COLOURS[name]}"/>' for across, up in points]
        across, up = points[-1]
        parts.append(text(across + 8, up + 4, TITLES[name].removesuffix(", .tae"), f'fill="{COLOURS[name]}" font-weight="600"'))
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    sys.exit(main())
