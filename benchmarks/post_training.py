"""What each step of post-training quantization buys, on all of Fashion-MNIST, through the exported files.

    TIEDAE_DATA=... python benchmarks/post_training.py --json steps.json

A float 784-512-256-30 is trained (or read from `--start`) and quantized by 256 samples, step after step, with 8 and 4 bits and
one scale per kernel or per unit. About eight minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dense import RECIPE, test_error
from exported import Variant, compressed, exported, trained
from rows import Row, arguments_of, report

from tiedae.compress import Dataset, QuantizeConfig, TiedAutoencoder
from tiedae.config.config import Granularity, Refinement
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console

REFINEMENTS: Mapping[str, tuple[Refinement, ...]] = {
    "plain": (),
    "equalize": ("equalize",),
    "round": ("round",),
    "correct": ("correct",),
    "ranges": ("ranges",),
    "equalize_round": ("equalize", "round"),
    "equalize_round_correct": ("equalize", "round", "correct"),
    "all": ("equalize", "round", "correct", "ranges"),
}
KERNELS: tuple[tuple[int, Granularity], ...] = ((8, "tensor"), (8, "unit"), (4, "tensor"), (4, "unit"))


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--start", type=Path, metavar="NPZ", help="the trained float model (default: train it)")
    arguments = parser.parse_args()
    splits = recipe_data(RECIPE, Path())
    with tempfile.TemporaryDirectory() as folder:

        def measure(console: Console) -> list[Row]:
            start = arguments.start or trained(Path(folder) / "train.safetensors", splits, console)
            return rows(start, splits, console)

        return report("784-512-256-30, Fashion-MNIST, post-training quantization", measure, arguments.json)


def rows(start: Path, splits: Dataset, console: Console) -> list[Row]:
    floating = test_error(TiedAutoencoder.load(start), splits)
    found = []
    for bits, granularity in KERNELS:
        for name, refinements in REFINEMENTS.items():
            config = QuantizeConfig("ptq", granularity, (bits,), samples=256, refinements=refinements)
            error = exported(compressed(start, Variant(config), splits, console), splits).error
            detail = f"{error:.4f} against {floating:.4f}"
            found.append(Row(f"int{bits}_{granularity}_{name}", error / floating, "x", "", "", detail))
    return found


if __name__ == "__main__":
    sys.exit(main())
