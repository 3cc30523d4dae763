"""Tables whose columns differ in scale, through the shortest recipe: how many columns come back worse than their mean.

    python benchmarks/tables.py --json tables.json

Two tables of 64 columns that depend on eight hidden factors: floats of scales 1e-3 to 1e3, among them skewed and long-tailed
columns, and int16 of scales 1 to 1e4. The recipe has `source` and `layers` alone. About a minute on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rows import Row, arguments_of, report

from tiedae.bundle.results import Metrics, Precision, Stage
from tiedae.pipeline.recipe import parse_recipe
from tiedae.pipeline.runs import run_recipe
from tiedae.report.console import Console

SAMPLES, COLUMNS, FACTORS = 4000, 64, 8
LAYERS = ({"units": 48, "activation": "relu"}, {"units": 16})


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    return report(f"{COLUMNS} columns of different scale", lambda console: [row(console)], arguments.json)


def row(console: Console) -> Row:
    """`table_columns_negative`: columns of both tables with R² < 0 in any of the exported int8 files."""
    found, details = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in TABLES.items():
            path = Path(folder) / f"{name}.npy"
            np.save(path, make(np.random.default_rng(0)))
            r2 = worst_r2(run(path, console))
            found += sum(value < 0 for value in r2)
            details.append(f"{name}: worst R² {min(r2):.3f}, median {float(np.median(r2)):.3f}")
    return Row("table_columns_negative", found, "columns", "== 0", "", "; ".join(details))


def run(source: Path, console: Console) -> Metrics:
    """The metrics of the shortest recipe on a file."""
    recipe = parse_recipe({"data": {"source": source.name}, "model": {"layers": list(LAYERS)}}, source.stem)
    out = source.with_suffix("")
    return run_recipe(recipe, base=source.parent, out=out, resume=True, force=False, console=console)


def worst_r2(metrics: Metrics) -> Sequence[float]:
    """R² of each column in the worst of our int8 files."""
    ours = [row for row in metrics.quality if (row.stage, row.precision) == (Stage.EXPORT, Precision.INT8)]
    values = np.array([[column.r2 for column in row.fidelity.columns] for row in ours if row.fidelity], np.float64)
    return values.min(axis=0).tolist()


def hidden(rng: np.random.Generator) -> np.ndarray:
    """[samples, columns] of unit variance: mixtures of the factors and a little noise."""
    mixed = rng.normal(size=(SAMPLES, FACTORS)) @ rng.normal(size=(FACTORS, COLUMNS)) / np.sqrt(FACTORS)
    return mixed + rng.normal(0, 0.1, mixed.shape)


def floats(rng: np.random.Generator) -> np.ndarray:
    """float32; every fourth column is skewed (log-normal), every eighth long-tailed (Student's t with 3 degrees of freedom)."""
    table = hidden(rng)
    table[:, ::4] = np.exp(table[:, ::4])
    table[:, 3::8] *= np.sqrt(3 / rng.chisquare(3, (SAMPLES, 1)))
    scales = rng.permutation(np.logspace(-3, 3, COLUMNS))
    return (scales * (table + rng.normal(0, 3, COLUMNS))).astype(np.float32)


def integers(rng: np.random.Generator) -> np.ndarray:
    """int16 of standard deviations 1 to 1e4, saturated."""
    scales = rng.permutation(np.logspace(0, 4, COLUMNS))
    return np.clip(np.rint(scales * hidden(rng)), -32768, 32767).astype(np.int16)


TABLES: Mapping[str, Callable[[np.random.Generator], np.ndarray]] = {"float": floats, "int16": integers}

if __name__ == "__main__":
    sys.exit(main())
