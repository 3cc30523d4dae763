"""Convolutions trained for rate: the error of real .tae files of Fashion-MNIST at 150 bits an image, and what int8 costs.

    TIEDAE_DATA=... python benchmarks/convolution_fashion.py --json convolution_fashion.json [--keep FOLDER] [--only NAME]

The net is that of `tiedae recipe --for fashion-conv`, on all of Fashion-MNIST. It and its rate are chosen on validation
images. Each figure is the median of the seeds, on the test images. Trained nets are kept in FOLDER, where the next call finds
them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from exported import Exported, exported
from msgspec.structs import replace as replace_record
from rate import BITS, SEEDS, Net, archives, listed, of_seed, trained
from rows import Row, report_trained, training_arguments_of

from tiedae.compress import Dataset, Recipe, TiedAutoencoder, Training, fit
from tiedae.config.config import fine_tuning
from tiedae.data.data_sets import ASSETS
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

BYTES = 150_000


def recipe() -> Recipe:
    """The recipe to start from, over all images."""
    shipped = load_recipe(ASSETS / "fashion-conv.toml")
    data = replace_record(shipped.data, source="fashion-mnist", validation=1 / 12)
    return replace_record(shipped, data=data)


def fashion_rows(folder: Path, console: Console, *, ratio: bool) -> list[Row]:
    base = recipe()
    data = load_dataset(base.data, base.model.output_activation)
    nets = [trained(of_seed(base, seed, base.train.rate), data, folder, console) for seed in SEEDS]
    files = [exported(TiedAutoencoder.load(archives(net.recipe, folder)[1]), data) for net in nets]
    rows = [error_row(nets, files, data)]
    return [*rows, ratio_row(nets, files, data, folder, console)] if ratio else rows


def error_row(nets: Sequence[Net], files: Sequence[Exported], data: Dataset) -> Row:
    """By .tae files, encoded and decoded; a net whose codes or .tflite file are larger than allowed has none."""
    costs = [net.file(data.test, net.class_tables) for net in nets]
    sizes = [len(file.tflite) for file in files]
    errors = [cost.error if cost.bits <= BITS and size <= BYTES else np.inf for cost, size in zip(costs, sizes, strict=True)]
    train = nets[0].recipe.train
    detail = (
        f"seeds: {listed(cost.error for cost in costs)} at {listed(cost.bits for cost in costs)} bit; int8 .tflite "
        f"{max(sizes):,} B; rate {train.rate:g}, {train.epochs} + {nets[0].recipe.quantize.epochs} epochs"
    )
    return Row("conv_error_150", median(errors), "", "<= 5.9", "<= 5.3", detail)


def ratio_row(nets: Sequence[Net], files: Sequence[Exported], data: Dataset, folder: Path, console: Console) -> Row:
    """The test error of the worse int8 file against that of a float twin that is trained as long at the same rate."""
    twins = [replace(net, floating=twin(net, data, folder, console)) for net in nets]
    costs = [net.floats(data.test, 1.0) for net in twins]
    ratios = [file.error / cost.error for file, cost in zip(files, costs, strict=True)]
    detail = "seeds: " + "; ".join(f"{file.error:.3f} / {cost.error:.3f}" for file, cost in zip(files, costs, strict=True))
    return Row("conv_int8_error_ratio", median(ratios), "x", "<= 1.015", "<= 1.005", detail)


def twin(net: Net, data: Dataset, folder: Path, console: Console) -> TiedAutoencoder:
    """The float model, trained on as quantization-aware training trains it."""
    path = archives(net.recipe, folder)[0]
    kept = path.with_name(path.name.replace("-float", "-twin"))
    if not kept.exists():
        model = TiedAutoencoder.load(path)
        config = fine_tuning(net.recipe.train, net.recipe.quantize)
        fit(model, data, Training(config, progress=console.progress), stage="twin")
        model.save(kept)
    return TiedAutoencoder.load(kept)


def main() -> int:
    parser = training_arguments_of(__doc__ or "")
    parser.add_argument("--only", choices=("conv_error_150",), help="measure only this row")
    arguments = parser.parse_args()

    def measure(folder: Path, console: Console) -> Sequence[Row]:
        return fashion_rows(folder, console, ratio=arguments.only is None)

    return report_trained("Convolutions on Fashion-MNIST", measure, arguments.json, arguments.keep)


if __name__ == "__main__":
    sys.exit(main())
