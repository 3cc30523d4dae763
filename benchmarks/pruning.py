"""Error against bytes and latency for each pattern of pruning, through the exported int8 files.

    TIEDAE_DATA=... python benchmarks/pruning.py --json pruning.json

A float 784-512-256-30 is trained on all of Fashion-MNIST (or read from `--start`), pruned by each pattern, made int8 with
quantization-aware training and exported. Its float twin goes on for the same epochs. About 20 minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dense import RECIPE
from exported import Variant, compressed, exported, float_errors, latencies, trained
from msgspec.structs import replace
from rows import Row, arguments_of, report

from tiedae.compress import Dataset, PruneConfig
from tiedae.config.config import DataConfig
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console

FINE_TUNING = PruneConfig(epochs=10, learning_rate=4e-3)
"""The schedule of every pattern, of the dense file and of the float twin."""
AT_ONCE = replace(FINE_TUNING, schedule="constant")
N_OF_M = replace(AT_ONCE, skip=(2,))
PATTERNS: Mapping[str, Variant] = {
    "dense": Variant(prune=replace(FINE_TUNING, sparsity=0.0)),
    "unstructured50": Variant(prune=replace(FINE_TUNING, scope="global")),
    "unstructured75": Variant(prune=replace(FINE_TUNING, sparsity=0.75, scope="global", ramp=0.65)),
    "block50": Variant(prune=replace(AT_ONCE, pattern="block", block=(4, 4), skip=(2,))),
    "nm24": Variant(prune=replace(N_OF_M, pattern="2:4"), interleave=4),
    "nm48": Variant(prune=replace(N_OF_M, pattern="4:8"), interleave=8),
    "structured50": Variant(prune=replace(AT_ONCE, pattern="structured")),
}
"""What is pruned how; the code kernel, 256 × 30, has no tiles of 4 or 8."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--start", type=Path, metavar="NPZ", help="the trained float model (default: train it)")
    parser.add_argument("--data", default="fashion-mnist", metavar="NAME")
    parser.add_argument("--pattern", action="append", choices=list(PATTERNS), help="only these, and dense")
    arguments = parser.parse_args()
    chosen = [name for name in PATTERNS if arguments.pattern is None or name in (*arguments.pattern, "dense")]
    splits = recipe_data(replace(RECIPE, data=DataConfig(arguments.data)), Path())
    with tempfile.TemporaryDirectory() as folder:

        def measure(console: Console) -> list[Row]:
            start = arguments.start or trained(Path(folder) / "train.safetensors", splits, console)
            return rows(start, chosen, splits, console)

        return report(f"784-512-256-30, {arguments.data}", measure, arguments.json)


def rows(start: Path, chosen: list[str], splits: Dataset, console: Console) -> list[Row]:
    variants = {name: PATTERNS[name] for name in chosen}
    (floating,) = float_errors(start, variants.values(), splits, console).values()
    files = {name: exported(compressed(start, each, splits, console), splits) for name, each in variants.items()}
    times = latencies({name: each.tflite for name, each in files.items()}, "dense")
    found = []
    for name, each in files.items():
        detail = "-".join(map(str, each.widths)) + f", {each.sparsity:.1%} zero; {each.error:.4f} against {floating:.4f}"
        values = {
            "error_ratio": (each.error / floating, "x", detail),
            "bytes": (len(each.tflite), "B", ""),
            "gzip_bytes": (each.gzipped, "B", ""),
            "gzip_ratio": (each.gzipped / files["dense"].gzipped, "x", ""),
            "latency_ratio": (times[name][1], "x", f"{times[name][0]:.2f} µs"),
        }
        found += [Row(f"{name}_{key}", value, unit, "", "", more) for key, (value, unit, more) in values.items()]
    return found


if __name__ == "__main__":
    sys.exit(main())
