"""Calibration and compression in depth: what each way to compress costs on all of Fashion-MNIST, through the exported files.

    TIEDAE_DATA=... python benchmarks/depth.py --json depth.json

A float 784-512-256-30 is trained (or read from `--start`), then quantized without training, trained with 4-bit kernels, and
pruned. Errors are against the float net: the same one for post-training quantization, and where training goes on its twin that
goes on as long from the same start with nothing compressed. About half an hour on two cores.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from dense import RECIPE
from exported import Exported, Variant, compressed, exported, float_errors, latencies, trained
from msgspec.structs import replace
from observers import rows as observer_rows
from pruning import PATTERNS
from rows import Row, arguments_of, report

from tiedae.compress import Dataset, QuantizeConfig
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console

SAMPLES = 256
PTQ = QuantizeConfig(method="ptq", samples=SAMPLES)
INT4 = QuantizeConfig(granularity="unit", bits=(4,))

VARIANTS: Mapping[str, Variant] = {
    "ptq_minmax": Variant(replace(PTQ, refinements=())),
    "ptq": Variant(PTQ),
    "ptq_int4": Variant(replace(PTQ, granularity="unit", bits=(4,))),
    "qat_int4": Variant(INT4),
    "dense": PATTERNS["dense"],
    "pruned75": PATTERNS["unstructured75"],
    "nm24": PATTERNS["nm24"],
    "structured50": PATTERNS["structured50"],
}
ERRORS = {
    "ptq_minmax": ("", ""),
    "ptq": ("<= 1.007", "<= 1.004"),
    "ptq_int4": ("<= 1.085", "<= 1.05"),
    "qat_int4": ("<= 1.045", "<= 1.02"),
    "dense": ("", ""),
    "pruned75": ("<= 1.07", "<= 1.05"),
    "nm24": ("<= 1.038", "<= 1.02"),
    "structured50": ("<= 1.10", "<= 1.07"),
}
"""(reach, stretch) of the error of each variant against its float twin."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--start", type=Path, metavar="NPZ", help="the trained float model (default: train it)")
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="only these, and dense where they need it")
    arguments = parser.parse_args()
    chosen = set(arguments.variant or VARIANTS)
    if {"pruned75", "structured50"} & chosen:
        chosen.add("dense")
    splits = recipe_data(RECIPE, Path())
    with tempfile.TemporaryDirectory() as folder:

        def measure(console: Console) -> list[Row]:
            start = arguments.start or trained(Path(folder) / "train.safetensors", splits, console)
            variants = {name: variant for name, variant in VARIANTS.items() if name in chosen}
            return [*rows(start, variants, splits, console), *observer_rows()]

        return report("784-512-256-30, Fashion-MNIST", measure, arguments.json)


def rows(start: Path, variants: Mapping[str, Variant], splits: Dataset, console: Console) -> list[Row]:
    floats = float_errors(start, variants.values(), splits, console)
    files: dict[str, Exported] = {}
    found = []
    for name, variant in variants.items():
        begun = time.perf_counter()
        model = compressed(start, variant, splits, console)
        seconds = time.perf_counter() - begun
        files[name] = exported(model, splits)
        floating = floats[variant.schedule]
        detail = f"{files[name].error:.4f} against {floating:.4f}"
        found.append(Row(f"{name}_error_ratio", files[name].error / floating, "x", *ERRORS[name], detail))
        if name == "ptq":
            found.append(Row("ptq_seconds", seconds, "s", "<= 60", "<= 15", f"{SAMPLES} samples, loading the model included"))
    if "pruned75" in files:
        ours, dense = files["pruned75"].gzipped, files["dense"].gzipped
        found.append(Row("pruned75_gzip_ratio", ours / dense, "x", "<= 0.47", "<= 0.42", f"{ours:,} B against {dense:,} B"))
    if "structured50" in files:
        times = latencies({name: files[name].tflite for name in ("dense", "structured50")}, "dense")
        (ours, value), (dense, _) = times["structured50"], times["dense"]
        widths = "-".join(map(str, files["structured50"].widths))
        detail = f"{widths}, {ours:.2f} against {dense:.2f} µs"
        found.append(Row("structured50_latency_ratio", value, "x", "<= 0.60", "<= 0.45", detail))
    return found


if __name__ == "__main__":
    sys.exit(main())
