"""The rate and the code's scale of `tiedae recipe --for ecg-conv`, chosen on four blocks of the training record.

    python benchmarks/convolution_ecg_choice.py --json choice.json [--rate 0.06] [--keep FOLDER]

The first four fifths of the record are four blocks of 42 windows, as many as the test has. For each block an int8 net is trained on the
other three and codes the block to a .tae file. The rule, written before the test was run: of all rates and scales whose PRDN stays within
the limit by `upper_bound`, the one of the highest mean ratio.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from convolution_ecg import scaled
from msgspec.structs import replace as replace_record
from rate import PRDN, Net, ecg_cost, listed, trained
from rows import Row, arguments_of, report
from tiedae.compress import Dataset, Recipe
from tiedae.compress.data import overlapping
from tiedae.console import Console
from tiedae.data_sets import ASSETS
from tiedae.recipe import load_recipe
from tiedae.sources import load_dataset

RATES = (0.06, 0.085, 0.12)
FACTORS = (0.7, 0.85, 1.0)
"""Factors on the scale of the codes, as of `tiedae rescale`."""
BLOCKS = 4
QUANTILE = 2.353
"""Student's t at 95 % with `BLOCKS` − 1 degrees of freedom."""


@dataclass(frozen=True)
class Choice:
    """A rate and a factor on the scale, with the ratio and the PRDN in % of each block."""

    rate: float
    factor: float
    ratios: tuple[float, ...]
    prdns: tuple[float, ...]

    @property
    def bound(self) -> float:
        return upper_bound(self.prdns)


def upper_bound(values: Sequence[float]) -> float:
    """What the next block stays below in 95 % of cases: mean + t · s · √(1 + 1/n), the prediction limit of normal values."""
    return mean(values) + QUANTILE * stdev(values) * (1 + 1 / len(values)) ** 0.5


def best(choices: Sequence[Choice], limit: float) -> Choice:
    """The choice of the rule; the one of the lowest bound where none keeps the limit."""
    within = [choice for choice in choices if choice.bound <= limit]
    return max(within, key=lambda choice: mean(choice.ratios)) if within else min(choices, key=lambda choice: choice.bound)


def blocks_of(data: Dataset, stride: int) -> list[Dataset]:
    """A data set for each block of the training windows: its test samples are the block, its training windows are within the others."""
    windows = data.train.disjoint
    blocks = np.array_split(np.arange(len(windows)), BLOCKS)
    return [
        replace(
            data,
            train=overlapping(windows.select(np.delete(np.arange(len(windows)), block)), stride),
            test=windows.select(block),
        )
        for block in blocks
    ]


def choices_of(recipe: Recipe, folds: Sequence[Dataset], rate: float, folder: Path, console: Console) -> list[Choice]:
    nets: list[Net] = []
    for number, fold in enumerate(folds, 1):
        name = f"{recipe.name}-block-{number}"
        named = replace_record(recipe, name=name, train=replace_record(recipe.train, rate=rate))
        nets.append(trained(named, fold, folder, console))
        cost = ecg_cost(nets[-1])
        console.note(f"rate {rate:g}, block {number}: ratio {cost.ratio:.1f} at PRDN {cost.prdn:.1f} %")
    costs = {factor: [ecg_cost(scaled(net, factor)) for net in nets] for factor in FACTORS}
    return [
        Choice(rate, factor, tuple(cost.ratio for cost in each), tuple(cost.prdn for cost in each))
        for factor, each in costs.items()
    ]


def rows(choices: Sequence[Choice]) -> list[Row]:
    chosen = best(choices, PRDN)
    return [
        Row(
            f"ecg_conv_bound_{choice.rate:g}_{choice.factor:g}",
            choice.bound,
            "%",
            f"<= {PRDN}" if choice is chosen else "",
            "",
            f"PRDN {listed(choice.prdns)}; ratio {mean(choice.ratios):.1f}: {listed(choice.ratios)}"
            + ("; chosen" if choice is chosen else ""),
        )
        for choice in choices
    ]


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--rate", type=float, action="append", help=f"of training (can be repeated; default: {listed(RATES)})")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep trained nets here")
    arguments = parser.parse_args()

    def measure(console: Console) -> Sequence[Row]:
        recipe = load_recipe(ASSETS / "ecg-conv.toml")
        folds = blocks_of(load_dataset(recipe.data, recipe.model.output_activation), recipe.data.stride)
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            return rows([c for rate in arguments.rate or RATES for c in choices_of(recipe, folds, rate, folder, console)])

    return report("ECG by convolutions, choice", measure, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
