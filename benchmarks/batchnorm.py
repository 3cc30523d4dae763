"""Batch normalization: float files against Keras, int8 files against their programs, and what int8 costs a trained net.

    TIEDAE_DATA=... python benchmarks/batchnorm.py --json batchnorm.json [--nets 200] [--seeds 3] [--epochs 5]

784-512-256-30 with `batch_norm` in every layer, on all of Fashion-MNIST: trained, then quantized and trained on, against its
float twin of as many epochs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from dense import RECIPE
from exported import Variant, compressed, exported, float_errors
from msgspec.structs import replace
from rows import Row, arguments_of, report

from tiedae.compress import Dataset, ModelConfig, TiedAutoencoder, Training, fit
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1e-5


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--nets", type=int, default=200, help="random nets (default: 200)")
    parser.add_argument("--seeds", type=int, default=3, help="of the trained net (default: 3); 0: none is trained")
    parser.add_argument("--epochs", type=int, default=5, help="of its float and of its quantized training (default: 5)")
    given = parser.parse_args()

    def measure(console: Console) -> list[Row]:
        rows = random_rows(given.nets) if given.nets else []
        return [*rows, *([error_row(given.seeds, given.epochs, console)] if given.seeds else [])]

    return report("Batch normalization", measure, given.json)


def random_rows(count: int) -> list[Row]:
    sys.path.insert(0, str(ROOT))
    from tests.export.normalized import FloatDifferences, float_differences, quantized, random_model, values_different

    differences: list[FloatDifferences] = []
    wrong, nets = 0, 0
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            model, x = random_model(seed)
            differences.append(float_differences(model, x, Path(folder)))
            different = values_different(quantized(model, x, seed), x, Path(folder))
        wrong, nets = wrong + different, nets + bool(different)
    return [
        float_row("batchnorm_float_rel", [each.keras for each in differences], "<= 1e-5", "<= 2e-6"),
        float_row("batchnorm_exact_rel", [each.exact for each in differences]),
        float_row("batchnorm_keras_rel", [each.own for each in differences]),
        Row("batchnorm_values_different", wrong, "values", "== 0", "", f"of {nets} of {count} random nets"),
    ]


def float_row(name: str, differences: list[float], reach: str = "", stretch: str = "") -> Row:
    """The largest of random nets, and how many are above what is allowed of a float file."""
    above = sum(each > LIMIT for each in differences)
    detail = f"{len(differences)} random nets; median {statistics.median(differences):.2g}; {above} above {LIMIT:g}"
    return Row(name, max(differences), "of full scale", reach, stretch, detail)


def error_row(seeds: int, epochs: int, console: Console) -> Row:
    splits = load_dataset(RECIPE.data, "sigmoid")
    found = [error_ratio(splits, seed, epochs, console) for seed in range(seeds)]
    detail = f"{epochs} + {epochs} epochs; " + "; ".join(f"{error:.3f} / {twin:.3f}" for error, twin in found)
    ratio = statistics.median(error / twin for error, twin in found)
    return Row("batchnorm_error_ratio", ratio, "x", "<= 1.015", "<= 1.005", detail)


def error_ratio(splits: Dataset, seed: int, epochs: int, console: Console) -> tuple[float, float]:
    """(test error of the worse int8 file, of the float twin)."""
    layers = tuple(replace(layer, batch_norm=True) for layer in RECIPE.model.layers)
    variant = Variant(replace(RECIPE.quantize, epochs=epochs), seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "train.safetensors"
        model = TiedAutoencoder(ModelConfig(layers, "sigmoid", splits.inputs), seed=seed)
        fit(model, splits, Training(replace(RECIPE.train, seed=seed, epochs=epochs), progress=console.progress))
        model.save(start)
        error = exported(compressed(start, variant, splits, console), splits).error
        (twin,) = float_errors(start, [variant], splits, console).values()
    return error, twin


if __name__ == "__main__":
    sys.exit(main())
