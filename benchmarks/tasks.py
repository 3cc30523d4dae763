"""The tasks of a recipe on their data: what each is measured by, through the exported int8 program.

    TIEDAE_DATA=... python benchmarks/tasks.py --json tasks.json [--only anomaly]

Nets, hyperparameters and thresholds are chosen on training and validation samples. Each figure is the median of the seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from anomaly import anomaly_rows
from equal_bytes import equal_bytes_rows
from msgspec.structs import replace
from needs import require
from reduction import reduction_rows
from rows import Row, arguments_of, report
from scores import score_rows
from verify_seconds import verify_rows

from tiedae.bundle.task_results import KERAS, PROGRAM, DenoisingResult
from tiedae.calibration import quantize_post_training, representative
from tiedae.codec.backends import ProgramBackend
from tiedae.compress import DataConfig, Dataset, NoiseConfig, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig, Training
from tiedae.compress.float_training import train_float
from tiedae.compress.quantized_training import train_quantized
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Denoising
from tiedae.export import lower
from tiedae.pipeline.sources import load_dataset
from tiedae.program.file_io import FileIO
from tiedae.report.console import Console
from tiedae.report.tasks import denoising as view
from tiedae.tasks import denoising
from tiedae.tasks.row import Exported
from tiedae.verify.parity.keras_device import keras_function

SEEDS = (0, 1, 2)
IMAGES = 10_000
DENOISING = Recipe(
    "denoising",
    DataConfig("fashion-mnist", validation=1 / 12),
    ModelConfig((LayerConfig(512, "relu"), LayerConfig(256)), "sigmoid", 784),
    TrainConfig(epochs=8, batch_size=128, weight_decay=0.0, noise=NoiseConfig("gaussian", 0.3)),
    quantize=QuantizeConfig(epochs=2, weight_decay=0.0),
    task=Denoising(),
)
"""Chosen on the validation images."""


def exported(recipe: Recipe, splits: Dataset, console: Console) -> Exported:
    """The int8 program of a recipe without pruning and clustering, and its float model."""
    training = Training(recipe.train, progress=console.progress)
    floating = TiedAutoencoder(recipe.model, seed=recipe.train.seed)
    train_float(floating, splits, training)
    model = floating.copy()
    data = representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed, noise=recipe.train.noise)
    quantize_post_training(model, data, recipe.quantize)
    train_quantized(model, splits, recipe.quantize, training)
    program = lower(model, recipe.name, layout="fused")
    io = FileIO.of(recipe.export, splits.scaling, splits.train.dtype.name)
    return Exported(ProgramBackend(program, splits.spec, io), splits, recipe, keras_function(floating))


def denoising_rows(console: Console) -> Sequence[Row]:
    splits = load_dataset(DENOISING.data, "sigmoid")
    results: list[DenoisingResult] = []
    for seed in SEEDS:
        recipe = replace(DENOISING, train=replace(DENOISING.train, seed=seed))
        measured = denoising.measure(exported(recipe, splits, console), IMAGES, (1.0,))
        assert isinstance(measured.result, DenoisingResult)
        for row in measured.result.rows:
            console.note(f"seed {seed}: {view.title(row)}: {view.quality_text(row)} {view.gain_text(row)}")
        results.append(measured.result)
    gains = [result.row(PROGRAM).gain_db or 0.0 for result in results]
    floats = [result.row(KERAS).gain_db or 0.0 for result in results]
    bests = [best for result in results if (best := result.best_baseline)]
    over = [gain - (best.gain_db or 0.0) for gain, best in zip(gains, bests, strict=True)]
    lost = [f - gain for f, gain in zip(floats, gains, strict=True)]
    widths = "-".join(map(str, DENOISING.model.widths))
    baselines = ", ".join(sorted({best.method for best in bests}))
    texts = (f"{', '.join(f'{value:.3f}' for value in values)}" for values in (gains, over, lost))
    return [
        Row("denoise_psnr_gain_db", median(gains), "dB", ">= 6.0", ">= 7.0", f"{widths}, seeds: {next(texts)}"),
        Row("denoise_vs_best_baseline_db", median(over), "dB", ">= 1.5", ">= 2.5", f"{baselines}, seeds: {next(texts)}"),
        Row("denoise_int8_loss_db", median(lost), "dB", "<= 0.1", "<= 0.02", f"seeds: {next(texts)}"),
    ]


MEASURES: Mapping[str, Callable[[Console], Sequence[Row]]] = {
    "anomaly": anomaly_rows,
    "denoising": denoising_rows,
    "equal_bytes": equal_bytes_rows,
    "reduction": reduction_rows,
    "score": score_rows,
    "verify": verify_rows,
}
"""The rows of each task."""
PACKAGES: Mapping[str, Sequence[str]] = {
    "anomaly": ("sklearn",),
    "denoising": ("pywt", "scipy", "skimage"),
    "equal_bytes": (),
    "reduction": ("sklearn",),
    "score": (),
    "verify": (),
}
"""What the baselines of each task run on: a row without them would flatter us."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--only", choices=MEASURES, action="append", help="measure only this task (can be repeated)")
    arguments = parser.parse_args()

    def measure(console: Console) -> Sequence[Row]:
        parts = arguments.only or MEASURES
        require(data=("fashion-mnist",), packages=sorted({package for part in parts for package in PACKAGES[part]}))
        return [row for name in parts for row in MEASURES[name](console)]

    return report("Tasks", measure, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
