"""The rate and the scale of the codes for `benchmarks/convolution_ecg.py`, chosen on four blocks of the training record.

    python benchmarks/convolution_ecg_choice.py --json choice.json [--rate 0.085] [--keep FOLDER]

The first four fifths of the record are four blocks, each as long as the test. For each block a float net of the recipe's layers
is trained on the other three and codes the block. The test takes no part.

The rule: of all rates and factors on the scale whose PRDN keeps the limit in the worst block, the one of the highest mean
ratio. A prediction limit of 95 % came first. It grows where a block is easier than the others, and no factor kept it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from msgspec.structs import replace as replace_record
from rate import PRDN, EcgCost, float_cost, listed
from rows import Row, report_trained, training_arguments_of

from tiedae.compress import Dataset, Recipe, TiedAutoencoder, Training
from tiedae.compress.float_training import train_float
from tiedae.data.data_sets import ASSETS
from tiedae.data.dataset import overlapping
from tiedae.pipeline.factor_choice import PARTS
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

RATES = (0.085,)
FACTORS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2)
"""Factors on the scale of the codes, as of `tiedae rescale`."""


@dataclass(frozen=True)
class Choice:
    """A rate and a factor on the scale, with what each block costs."""

    rate: float
    factor: float
    costs: tuple[EcgCost, ...]

    @property
    def worst(self) -> float:
        """PRDN in % of the worst block."""
        return max(cost.prdn for cost in self.costs)

    @property
    def ratio(self) -> float:
        return mean(cost.ratio for cost in self.costs)

    @property
    def row(self) -> Row:
        ratios, errors = (listed(values) for values in zip(*((cost.ratio, cost.prdn) for cost in self.costs), strict=True))
        detail = f"ratio {self.ratio:.1f}: {ratios}; PRDN {errors} %"
        return Row(f"ecg_conv_worst_block · rate {self.rate:g}, factor {self.factor:g}", self.worst, "%", "", "", detail)


def best(choices: Sequence[Choice]) -> Choice:
    """The choice of the rule; the one of the lowest error where none keeps the limit."""
    within = [choice for choice in choices if choice.worst <= PRDN]
    return max(within, key=lambda choice: choice.ratio) if within else min(choices, key=lambda choice: choice.worst)


def blocks_of(data: Dataset, stride: int) -> list[Dataset]:
    """A data set for each block: its test samples are the block, its training windows lie in the others."""
    windows = data.train.disjoint
    every = np.arange(len(windows))
    return [
        replace(data, train=overlapping(windows.select(np.delete(every, block)), stride), test=windows.select(block))
        for block in np.array_split(every, PARTS)
    ]


def trained_on(recipe: Recipe, data: Dataset, file: Path, console: Console) -> TiedAutoencoder:
    """The float net of a recipe, trained unless the file is there."""
    if not file.exists():
        model = TiedAutoencoder(recipe.model.of_samples(data.spec.shape), seed=recipe.train.seed)
        train_float(model, data, Training(recipe.train, progress=console.progress))
        model.save(file)
    return TiedAutoencoder.load(file)


def choices_of(recipe: Recipe, folds: Sequence[Dataset], rate: float, folder: Path, console: Console) -> list[Choice]:
    recipe = replace_record(recipe, train=replace_record(recipe.train, rate=rate))
    costs: dict[float, list[EcgCost]] = {factor: [] for factor in FACTORS}
    for number, fold in enumerate(folds, 1):
        model = trained_on(recipe, fold, folder / f"{recipe.name}-{rate:g}-block-{number}.safetensors", console)
        for factor in FACTORS:
            cost = float_cost(model, fold, fold.test, factor, recipe.data.seed)
            costs[factor].append(EcgCost.of(cost, fold.test))
        found = costs[1.0][-1]
        console.note(f"rate {rate:g}, block {number}: ratio {found.ratio:.1f} at PRDN {found.prdn:.2f} %")
    return [Choice(rate, factor, tuple(each)) for factor, each in costs.items()]


def main() -> int:
    parser = training_arguments_of(__doc__ or "")
    parser.add_argument("--rate", type=float, action="append", help=f"of training (can be repeated; default: {listed(RATES)})")
    arguments = parser.parse_args()

    def measure(folder: Path, console: Console) -> Sequence[Row]:
        recipe = load_recipe(ASSETS / "ecg-conv.toml")
        folds = blocks_of(load_dataset(recipe.data, recipe.model.output_activation), recipe.data.stride)
        rates = arguments.rate or RATES
        choices = [choice for rate in rates for choice in choices_of(recipe, folds, rate, folder, console)]
        chosen = best(choices)
        kept = f"ratio {chosen.ratio:.1f}; rate {chosen.rate:g}, factor {chosen.factor:g}"
        return [*(each.row for each in choices), Row("ecg_conv_worst_block", chosen.worst, "%", f"<= {PRDN}", "", kept)]

    return report_trained("ECG by convolutions, choice", measure, arguments.json, arguments.keep)


if __name__ == "__main__":
    sys.exit(main())
