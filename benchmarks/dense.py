"""The figures of a tied 784-512-256-30 on the whole of Fashion-MNIST: bytes, copies, parity, error, training step.

    TIEDAE_DATA=... python benchmarks/dense.py --json dense.json

Every row is measured in this run. It trains about 120 epochs: 20 minutes on two cores.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from rows import Row, arguments_of, report
from steps import step_row

from tiedae.bundle.results import Kind, Maker, Metrics, ModelFile, Parity, Precision, Stage
from tiedae.compress import (
    CheckError,
    DataConfig,
    Dataset,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
)
from tiedae.config.config import fine_tuning
from tiedae.pipeline.runs import run_recipe
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console

LAYERS = (LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(30))
RECIPE = Recipe("dense", DataConfig("fashion-mnist"), ModelConfig(LAYERS, "sigmoid"))
PRUNE = PruneConfig(sparsity=0.5, scope="global")


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the runs here (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        return report("784-512-256-30, Fashion-MNIST", lambda console: measure(out, console), arguments.json)


def measure(out: Path, console: Console) -> list[Row]:
    splits = recipe_data(RECIPE, Path())
    quantized = run_recipe(RECIPE, base=Path(), out=out / "qat", resume=True, force=False, console=console)
    pruned_recipe = structs.replace(RECIPE, prune=PRUNE)
    pruned = run_recipe(pruned_recipe, base=Path(), out=out / "pruned", resume=True, force=False, console=console)
    start = out / "qat" / "model" / "train.safetensors"
    twins = {
        "quantize": twin_errors(splits, start, [RECIPE.quantize], console),
        "pruned": twin_errors(splits, start, [PRUNE, RECIPE.quantize], console),
    }
    for name, metrics in (("qat", quantized), ("pruned", pruned)):
        if any(row.problem for row in metrics.parity):
            raise CheckError(f"{out / name / 'bundle'}: a comparison could not be made; see metrics.json")
    return [
        *byte_rows(quantized),
        *parity_rows(quantized),
        *error_rows(quantized, pruned, twins),
        dense_step_row(),
    ]


def byte_rows(metrics: Metrics) -> list[Row]:
    sizes = {(file.maker, file.format, file.precision): file.bytes for file in whole_files(metrics)}

    def ratio(form: str, precision: Precision, reach: str, stretch: str) -> Row:
        name = f"{form}_{precision}_bytes_ratio"
        ours, stock = sizes[Maker.TIEDAE, form, precision], sizes[Maker.STOCK, form, precision]
        return Row(name, ours / stock, "x", reach, stretch, f"{ours:,} B against {stock:,} B")

    copies = [
        math.inf if file.kernel_copies is None else file.kernel_copies for file in metrics.files if file.maker is Maker.TIEDAE
    ]
    return [
        ratio("tflite", Precision.INT8, "<= 0.50", "<= 0.482"),
        ratio("onnx", Precision.INT8, "<= 0.515", "<= 0.505"),
        ratio("tflite", Precision.F32, "<= 0.51", "<= 0.502"),
        ratio("onnx", Precision.F32, "<= 0.51", "<= 0.502"),
        Row("kernel_copies_max", max(copies), "copies", "== 1", "", f"over {len(copies)} files"),
    ]


def whole_files(metrics: Metrics) -> list[ModelFile]:
    """The files that hold the whole model, without the encoder and decoder of their own."""
    return [file for file in metrics.files if not {"encoder", "decoder"} & set(file.file.split("."))]


def parity_rows(metrics: Metrics) -> list[Row]:
    mine = {file.file for file in metrics.files if file.maker is Maker.TIEDAE}
    ours = [row for row in metrics.parity if row.file in mine]
    every_code = [row for row in ours if row.kind is Kind.CODES]
    codes = [row for row in every_code if row.runtime in ("litert-xnnpack", "ort-cpu")]
    operations = [row for row in ours if row.kind is Kind.OPERATIONS]
    floats = [row for row in ours if row.kind is Kind.FLOAT]
    runtimes = ", ".join(sorted({row.runtime for row in every_code}))
    return [
        Row(
            "codes_equal_share",
            min(row.equal_fraction for row in codes),
            "share",
            ">= 0.999",
            "== 1",
            f"{sum(row.differing for row in codes)} of {sum(row.count for row in codes):,} differ from the program",
        ),
        Row("codes_max_lsb", max(row.max_lsb for row in every_code), "LSB", "<= 1", "", runtimes),
        Row("decoder_op_max_lsb", max(row.max_lsb for row in operations), "LSB", "<= 1", "", f"{len(operations)} comparisons"),
        Row("float_max_abs", max(row.relative for row in floats), "of full scale", "<= 1e-6", "", float_detail(floats)),
    ]


def float_detail(rows: list[Parity]) -> str:
    parts = []
    for name in ("code", "y"):
        worst = max((row for row in rows if row.tensor == name), key=lambda row: row.relative)
        parts.append(f"{name} {worst.max_abs:.2g} at full scale {worst.full_scale:.3g} in {worst.runtime}")
    return ", ".join(parts)


def error_rows(metrics: Metrics, pruned: Metrics, twins: dict[str, dict[str, float]]) -> list[Row]:
    start = next(row.error for row in metrics.quality if row.stage is Stage.TRAIN)
    worst, worst_pruned = worst_int8(metrics), worst_int8(pruned)

    def against(name: str, error: float, twin: dict[str, float], reach: str, stretch: str) -> Row:
        fresh = (
            f"; one fresh schedule over all epochs from random weights gives {twin['fresh']:.4f}: {error / twin['fresh']:.4f}"
        )
        return Row(name, error / twin["continued"], "x", reach, stretch, f"{error:.4f} against {twin['continued']:.4f}{fresh}")

    return [
        Row("float_error", start, "squared error", "<= 6.9", "<= 6.0", f"{RECIPE.train.epochs} epochs"),
        against("int8_error_ratio", worst, twins["quantize"], "<= 1.010", "<= 1.005"),
        Row("int8_vs_start_ratio", worst / start, "x", "<= 0.995", "<= 0.990", f"{worst:.4f} against {start:.4f}"),
        against("pruned50_error_ratio", worst_pruned, twins["pruned"], "<= 1.025", "<= 1.015"),
    ]


def worst_int8(metrics: Metrics) -> float:
    """The larger error of the exported int8 files, in the runtimes as users get them."""
    rows = [row for row in metrics.quality if (row.stage, row.precision) == (Stage.EXPORT, Precision.INT8)]
    return max(row.error for row in rows if row.runtime in ("litert-xnnpack", "ort-cpu"))


def twin_errors(splits: Dataset, start: Path, phases: list[PruneConfig | QuantizeConfig], console: Console) -> dict[str, float]:
    """Test errors of two float models of the same total epochs.

    `continued` is the twin of the rows, since only the compression differs. `fresh` has one schedule over all epochs, from
    random weights.
    """
    from tiedae.compress import TiedAutoencoder, Training, fit

    total = RECIPE.train.epochs + sum(phase.epochs for phase in phases)
    fresh = TiedAutoencoder(structs.replace(RECIPE.model, inputs=splits.inputs), seed=RECIPE.train.seed)
    config = structs.replace(RECIPE.train, epochs=total)
    fit(fresh, splits, Training(config, progress=console.progress), stage=f"twin {total}")
    return {"continued": continued_error(splits, start, phases, console), "fresh": test_error(fresh, splits)}


def continued_error(splits: Dataset, start: Path, phases: Sequence[PruneConfig | QuantizeConfig], console: Console) -> float:
    """The test error of the float model of `start` that goes on with the schedules of `phases`, nothing compressed."""
    from tiedae.compress import TiedAutoencoder, Training, fit

    model = TiedAutoencoder.load(start)
    for phase in phases:
        fit(model, splits, Training(fine_tuning(RECIPE.train, phase), progress=console.progress), stage="twin")
    return test_error(model, splits)


def test_error(model: Any, splits: Dataset) -> float:
    from tiedae.bundle.fidelity import squared_error
    from tiedae.verify.parity.keras_device import keras_function

    x = splits.scaling.apply(splits.test.take(np.arange(len(splits.test))))
    return squared_error(x, keras_function(model)(x)[1])


def dense_step_row() -> Row:
    import tf_keras

    dense = tf_keras.layers.Dense
    widths = ((512, "relu"), (256, "relu"), (30, None), (256, "relu"), (512, "relu"), (784, "sigmoid"))
    untied = tf_keras.Sequential([dense(units, activation) for units, activation in widths])
    untied.build((None, 784))
    return step_row("tied_step_ratio", ModelConfig(LAYERS, "sigmoid", 784), untied, "<= 1.0", "<= 0.85")


if __name__ == "__main__":
    sys.exit(main())
