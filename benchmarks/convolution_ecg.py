"""The ECG by the convolutions of `tiedae recipe --for ecg-conv`: real .tae files of the last fifth, through the int8 program.

    python benchmarks/convolution_ecg.py --json convolution_ecg.json [--keep FOLDER]

`convolution_ecg_choice.py` chose the recipe's rate, and `FACTOR`, on the first four fifths. Quantization-aware
training has all of that rate: the recipe's half has less error, for more bits. Trained nets are kept in FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as replace_record
from rate import Net, ecg_nets, ecg_row
from rows import Row, report_trained, training_arguments_of

from tiedae.codec.training_codes import training_inputs
from tiedae.data.data_sets import ASSETS
from tiedae.export.code_scale import with_factor
from tiedae.export.targets import Programs
from tiedae.pipeline.recipe import load_recipe
from tiedae.report.console import Console

KERNELS = 40_000
FACTOR = 0.9
"""On the scale of the codes, as of `tiedae rescale --factor`."""


def main() -> int:
    arguments = training_arguments_of(__doc__ or "").parse_args()

    def measure(folder: Path, console: Console) -> Sequence[Row]:
        recipe = load_recipe(ASSETS / "ecg-conv.toml")
        recipe = replace_record(recipe, quantize=replace_record(recipe.quantize, rate_fraction=1.0))
        return rows(ecg_nets(recipe, folder, console))

    return report_trained("ECG by convolutions", measure, arguments.json, arguments.keep)


def rows(nets: Sequence[Net]) -> list[Row]:
    kernels = [sum(kernel.variable.shape.num_elements() for kernel in net.floating.kernels) for net in nets]
    texts = ", ".join(f"{each:,}" for each in kernels)
    return [
        ecg_row("ecg_conv_ratio", [scaled(net, FACTOR) for net in nets], ">= 34", ">= 44"),
        Row("ecg_conv_kernel_bytes", max(kernels), "B", f"<= {KERNELS}", "", f"int8, seeds: {texts}"),
    ]


def scaled(net: Net, factor: float) -> Net:
    """The net with the scale of its codes times a factor, as by `tiedae rescale`."""
    program = net.program.program
    programs = with_factor(Programs(program, program), training_inputs(net.program, net.data.train, seed=0), factor)
    return replace(net, program=replace(net.program, program=programs.fused))


if __name__ == "__main__":
    sys.exit(main())
