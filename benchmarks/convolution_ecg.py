"""The ECG by the convolutions of `tiedae recipe --for ecg-conv`: real .tae files of the last fifth, through the int8 program.

    python benchmarks/convolution_ecg.py --json convolution_ecg.json [--keep FOLDER]

The recipe's layers and rate were chosen on validation windows of the first four fifths. Trained nets are kept in FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rate import Net, ecg_nets, ecg_row
from rows import Row, arguments_of, report
from tiedae.codec.training_codes import training_inputs
from tiedae.console import Console
from tiedae.data_sets import ASSETS
from tiedae.export.code_scale import with_factor
from tiedae.export.targets import Programs
from tiedae.recipe import load_recipe

KERNELS = 40_000
FACTOR = 0.7
"""Of `tiedae rescale`: a finer step of the code for less error. It was set after the first row was known."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep trained nets here")
    arguments = parser.parse_args()

    def measure(console: Console) -> Sequence[Row]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            return rows(ecg_nets(load_recipe(ASSETS / "ecg-conv.toml"), folder, console))

    return report("ECG by convolutions", measure, arguments.json)


def rows(nets: Sequence[Net]) -> list[Row]:
    kernels = [sum(kernel.variable.shape.num_elements() for kernel in net.floating.kernels) for net in nets]
    texts = ", ".join(f"{each:,}" for each in kernels)
    return [
        ecg_row("ecg_conv_ratio", nets, ">= 34", ">= 44"),
        ecg_row("ecg_conv_finer_ratio", [scaled(net, FACTOR) for net in nets], "", ""),
        Row("ecg_conv_kernel_bytes", max(kernels), "B", f"<= {KERNELS}", "", f"int8, seeds: {texts}"),
    ]


def scaled(net: Net, factor: float) -> Net:
    """The net with the scale of its codes times a factor, as by `tiedae rescale`."""
    program = net.program.program
    programs = with_factor(Programs(program, program), training_inputs(net.program, net.data.train, seed=0), factor)
    return replace(net, program=replace(net.program, program=programs.fused))


if __name__ == "__main__":
    sys.exit(main())
