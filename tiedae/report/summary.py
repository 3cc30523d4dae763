"""The table at the end of a run: Keras float models, stock int8 files and our int8 files."""

from __future__ import annotations

from pathlib import Path

from tiedae.base.numbers import fraction
from tiedae.bundle.fidelity import fit_text
from tiedae.bundle.results import Metrics, ModelFile, Parity
from tiedae.config.tasks import task_kind
from tiedae.export.kinds import Kind, Maker, Precision, Stage
from tiedae.runtimes.table import rounds_as_program

from .key_figures import float_bytes, groups, size_kind
from .parity_tables import cell_text
from .tasks import TASK_VIEWS
from .tasks.view import TableRow

HEADER = ("", "error", "quality", "bytes", "parity")
"""Columns: subject, test error in scaled values, fidelity in the data's unit of measure, bytes, parity."""
FLOATS = (Stage.TRAIN, Stage.PRUNE, Stage.CLUSTER)
PARTS = {"encoder", "decoder", "score"}
"""Name parts of files that hold half of the model."""
COPIES = {1: "kernel stored once", 2: "kernel stored twice", None: "copies not counted"}


def table_rows(metrics: Metrics) -> list[TableRow]:
    """The rows of the table, with the numbers of metrics.json."""
    floats = [row for row in metrics.quality if row.stage in FLOATS]
    rows: list[TableRow] = [
        (row.title, f"{row.error:.3f}", fit_text(row.fidelity), f"{float_bytes(metrics):,}", "the reference") for row in floats
    ]
    for maker in (Maker.STOCK, Maker.TIEDAE):
        files = [file for file in metrics.files if (file.maker, file.precision) == (maker, Precision.INT8)]
        for same in groups(files, lambda file: file.format).values():
            whole = [file for file in same if not _part(file)]
            rows += [_file_row(metrics, file) for file in whole or same]
    return rows if metrics.task is None else [*rows, *TASK_VIEWS[task_kind(metrics.task)].rows(metrics.task)]


def _part(file: ModelFile) -> str:
    return "".join(f" {suffix[1:]}" for suffix in Path(file.file).suffixes if suffix[1:] in PARTS)


def _file_row(metrics: Metrics, file: ModelFile) -> TableRow:
    measured = sorted((row for row in metrics.quality if row.file == file.file), key=lambda row: row.error)
    span = dict.fromkeys(f"{row.error:.3f}" for row in (*measured[:1], *measured[-1:]))
    label = "stock" if file.maker is Maker.STOCK else "tied"
    quality = fit_text(measured[-1].fidelity) if measured else ""
    parity = ", ".join([*_parity(metrics, file), *_finer(metrics, file)])
    return f"{label} int8 {file.format}{_part(file)}", "…".join(span) or "—", quality, f"{file.bytes:,}", parity


def _finer(metrics: Metrics, file: ModelFile) -> list[str]:
    """What a stock file's error is not comparable for, beside a model that was trained for rate."""
    rated = metrics.verdict is not None and metrics.verdict.for_rate and file.maker is Maker.STOCK
    return ["its codes are finer: 256 steps over the range of each, not the step of the rate"] if rated else []


def _parity(metrics: Metrics, file: ModelFile) -> list[str]:
    parts = [COPIES.get(file.kernel_copies, f"{file.kernel_copies} copies")]
    if file.agreement is not None:
        parts.append(f"the duplicates agree in {file.agreement:.1%} of their integers")
    rows = [row for row in metrics.parity if row.file == file.file]
    for same in (True, False):
        group = [row for row in rows if row.kind is Kind.CODES and rounds_as_program(row.runtime) == same]
        parts += [_codes(group)] if group else []
    witnesses = [f"{row.label}: {cell_text(row)}" for row in rows if row.kind is Kind.WITNESS]
    return [each for each in (*parts, *witnesses, size_kind(file)) if each]


def _codes(rows: list[Parity]) -> str:
    """The worst of these comparisons with the program, in words."""
    row, runtimes = max(rows, key=lambda row: row.badness), list(dict.fromkeys(row.runtime for row in rows))
    if row.problem:
        return f"codes not comparable in {row.runtime}"
    if not row.differing:
        return f"codes equal in {' and '.join(runtimes)}"
    others = f", the worst of {' and '.join(runtimes)}" if len(runtimes) > 1 else ""
    equal = fraction(row.count - row.differing, row.count)
    return f"{equal} of codes equal, at most {row.max_lsb} LSB off in {row.runtime}{others}"
