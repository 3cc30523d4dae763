"""What has to hold before anything is built on top: tables, exact and fast int8 kernels, the light install, verification.

    TIEDAE_DATA=... python benchmarks/foundation.py --json foundation.json [--run OUT] [--only ROWS]

Ratios of latency want a processor with VNNI (the detail says whether this one has it) and an idle machine. Haswell is emulated
by qemu-x86_64, from Debian's qemu-user. Quantization trains some epochs more: half an hour on two cores.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

import numpy as np
from codec_speed import load_row, overhead_rows, readme_row
from emulated import EMULATOR, PROCESSOR, emulator, run_emulated
from exported import Variant, compressed, exported, trained
from install import light_install_row
from needs import require
from proof import ROUNDS, SECONDS, Finished, open_run, train, verify_row
from rows import Row, arguments_of, report
from tables import row as tables_row

from tiedae.bundle.results import Precision
from tiedae.compress import CheckError, DataConfig, QuantizeConfig
from tiedae.export.targets import read_model
from tiedae.pipeline.sources import load_dataset
from tiedae.program.interpreter import execute, program_input
from tiedae.report.console import Console
from tiedae.verify.bench.benchmark import Plan, bench_bundle

BATCHES = (1, 32, 256)
EMULATED_SAMPLES = 1000
SEEDS = (0, 1, 2)
PLAN = Plan(("reconstruct",), BATCHES, (), (1,), SECONDS, ROUNDS, 0)
PTQ = Variant(QuantizeConfig(method="ptq", samples=256))


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument(
        "--run", type=Path, metavar="OUT", help="measure this finished run of dense.py's data (default: train one)"
    )
    parser.add_argument("--start", type=Path, metavar="NPZ", help="the float model that is quantized (default: train it)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only these rows (default: all)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def measure(console: Console) -> list[Row]:
            parts = arguments.only or PARTS
            require(data=("fashion-mnist",))
            if "haswell" in parts:
                emulator()
            inputs = Inputs(folder, arguments.run, arguments.start, console)
            return [row for name, part in PARTS.items() if name in parts for row in part(inputs)]

        return report("Foundation", measure, arguments.json)


@dataclasses.dataclass
class Inputs:
    """What parts share; a run or a float model that the call does not name is trained when the first part asks for it."""

    folder: Path
    out: Path | None
    start: Path | None
    console: Console

    def run(self) -> Finished:
        self.out = self.out or train(self.folder / "run", self.console)
        return open_run(self.out, self.folder)

    def floating(self) -> Path:
        if self.start is None:
            splits = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
            self.start = trained(self.folder / "train.safetensors", splits, self.console)
        return self.start


def onnx_rows(inputs: Inputs) -> list[Row]:
    """Our int8 .onnx against ONNX Runtime's own quantizer, inputs and outputs alike, one thread."""
    run = inputs.run()
    measured = bench_bundle(run.bundle, run.real, stock=run.stock, plan=PLAN, announce=inputs.console.note)
    found = {
        row.batch: (row, row.ratio)
        for row in measured.latency
        if row.ratio and (row.format, row.precision) == ("onnx", Precision.INT8)
    }
    if set(found) != set(BATCHES):
        raise CheckError(f"onnx_batch_ratio: nothing to compare at batches {sorted(set(BATCHES) - set(found))}")
    rows = []
    for batch, (row, ratio) in found.items():
        stock = next(each for each in measured.latency if (each.subject, each.batch) == (row.against, batch))
        interval = f"95 % [{ratio.low:.3f}, {ratio.high:.3f}]"
        detail = f"{row.median_us:.2f} against {stock.median_us:.2f} µs, {interval}, {row.provider}, {vnni()}"
        rows.append(Row(f"onnx_batch{batch}_ratio", ratio.value, "x", "<= 1.05", "<= 1.00", detail))
    return rows


def codec_rows(inputs: Inputs) -> list[Row]:
    bundle = inputs.run().bundle.path
    return [readme_row(), load_row(bundle, inputs.folder, inputs.console), *overhead_rows(bundle)]


def vnni() -> str:
    """Whether this processor adds four products of bytes in int32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return "VNNI unknown"
    return "with VNNI" if {"avx512_vnni", "avx_vnni"} & set(flags) else "no VNNI"


def haswell_rows(inputs: Inputs) -> list[Row]:
    """Codes and reconstructions of the int8 .onnx on an emulated processor without VNNI, against the fused program."""
    run = inputs.run()
    splits = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    name = f"{run.bundle.manifest.name}.int8.onnx"
    contents = {each: read_model(run.bundle.path / each) for each in run.bundle.models}
    program = run.bundle.programs(contents).fused
    q = program_input(program, splits.scaling.apply(splits.test.take(np.arange(EMULATED_SAMPLES))))
    got = run_emulated(inputs.folder, {"net": ((run.bundle.path / name).read_bytes(), q)})["net"]
    expected = execute(program, "reconstruct", q)
    different = {key: int(np.count_nonzero(got[key] != expected[key])) for key in ("code", "y")}
    kernels = sorted({str(c.values.dtype) for c in contents[name].constants if c.name in program.kernels})
    sizes = ", ".join(f"{different[key]} of {expected[key].size:,} in {key}" for key in different)
    detail = f"{EMULATOR} -cpu {PROCESSOR}, {EMULATED_SAMPLES:,} images, kernels {' and '.join(kernels)}: {sizes}"
    return [Row("haswell_values_different", sum(different.values()), "values", "== 0", "", detail)]


def ptq_rows(inputs: Inputs) -> list[Row]:
    value, detail = pair_ratio(inputs, [PTQ])
    return [Row("pair_rule_ptq_ratio", value, "x", "<= 1.001", "<= 1.000", f"{detail}; one float net, 256 samples")]


def qat_rows(inputs: Inputs) -> list[Row]:
    value, detail = pair_ratio(inputs, [Variant(seed=seed) for seed in SEEDS])
    return [Row("pair_rule_qat_ratio", value, "x", "<= 1.005", "<= 1.000", f"{detail}; mean of {len(SEEDS)} seeds of training")]


def pair_ratio(inputs: Inputs, variants: list[Variant]) -> tuple[float, str]:
    """The mean test error of the exported files with the pair rule, over that without it."""
    splits = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    errors: Mapping[bool, list[float]] = {True: [], False: []}
    for variant in variants:
        for pairs, found in errors.items():
            model = compressed(inputs.floating(), dataclasses.replace(variant, pairs=pairs), splits, inputs.console)
            found.append(exported(model, splits).error)
    means = {pairs: fmean(found) for pairs, found in errors.items()}
    single = ", ".join(f"{a:.4f} against {b:.4f}" for a, b in zip(errors[True], errors[False], strict=True))
    return means[True] / means[False], single


PARTS: Mapping[str, Callable[[Inputs], list[Row]]] = {
    "tables": lambda inputs: [tables_row(inputs.console)],
    "onnx": onnx_rows,
    "haswell": haswell_rows,
    "ptq": ptq_rows,
    "qat": qat_rows,
    "install": lambda inputs: [light_install_row(inputs.console)],
    "verify": lambda inputs: [verify_row(inputs.run())],
    "codec": codec_rows,
}


if __name__ == "__main__":
    sys.exit(main())
