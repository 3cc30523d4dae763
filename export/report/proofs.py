"""The sections of the report that prove: checks, parity and storage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..parity.comparison import relative
from .figures import details, escape, exact, number, share, table, verdict
from .headline import Row, groups
from .heatmap import error_maps, parity_maps
from .parity_tables import FORMAT_HEADER, INNER, format_rows, parity_tables
from .sections import Report

NOT_COMPARABLE = '<span class="failed">✗ not comparable</span>'


def render_checks(report: Report) -> str:
    checks = report.rows("checks")

    def rows(some: Iterable[Row]) -> Iterable[Sequence[str]]:
        for check in some:
            cells = (check["name"], exact(check["value"]), check["limit"], check["text"])
            yield verdict(check["ok"]), *map(escape, cells)

    if not checks:
        return ""
    header = ("", "check", "value", "limit", "")
    failed = [check for check in checks if not check["ok"]]
    kinds: dict[str, list[Row]] = {}
    for check in checks:
        kinds.setdefault(check["name"].split()[0], []).append(check)
    counts = [
        (verdict(all(c["ok"] for c in each)), escape(kind), f"{sum(c['ok'] for c in each)} of {len(each)}")
        for kind, each in kinds.items()
    ]
    summary = table(("", "kind of check", "ok"), counts, numeric=(2,))
    first = table(header, rows(failed)) if failed else ""
    return f"{first}{summary}{details(f'All {len(checks)} checks', table(header, rows(checks)))}"


def render_parity(report: Report) -> str:
    rows = report.rows("parity")
    if not rows:
        return ""
    parts = []
    for each in parity_tables(report.metrics):
        cells = [
            (escape(format_), f"{escape(runtime)}<br><small>{escape(provider)}</small>", *map(_cell, compared))
            for (format_, runtime, provider), compared in each.rows.items()
        ]
        header = ("files", "runtime and what ran", *each.columns)
        kind = "values that are equal" if each.kind == "int8" else "largest difference over full scale"
        title = f"{each.title[0].upper()}{each.title[1:]}: {kind}"
        parts.append(
            f"<h3>{escape(title)}</h3>\n{table(header, cells, numeric=range(2, len(header)) if each.kind == 'float' else ())}"
        )
    formats = [tuple(map(escape, row)) for row in format_rows(rows)]
    if formats:
        parts.append(f"<h3>Formats against each other: values that differ</h3>\n{table(FORMAT_HEADER, formats)}")
    every = []
    for row in rows:
        histogram = " · ".join(
            f"{lsb if lsb.startswith(('-', '0')) else '+' + lsb}: {count:,}" for lsb, count in row.get("histogram", {}).items()
        )
        gap = f"{row['max_lsb']} LSB" if row["kind"] == "int8" else f"{row['max_abs']:.2g}"
        counts = (f"{row['count']:,}", f"{row['differing']:,}", row.get("problem") or gap, histogram)
        every.append([escape(cell) for cell in (row["file"], row["runtime"], row["what"], *counts)])
    columns = ("file", "runtime", "what", "values", "differ", "by at most", "LSB: values")
    intro = (
        "Each cell is one comparison, on the test samples or, inside the files, on the first of them: int8 files with the "
        "integer program, in LSB; float files with Keras or the float program. The darker a layer in a runtime, the further "
        "apart; gray is equal. A higher signal-to-noise ratio is better."
    )
    full = details(f"All {len(every)} comparisons", table(columns, every, numeric=(3, 4)))
    order = ["x"]
    for form in report.manifest.get("operations", {}).values():
        order += [operation["y"] for part in ("encoder", "decoder") for operation in form[part]]
    order = list(dict.fromkeys(order))
    ours = [row for row in rows if row["file"] in _ours(report)]
    errors = error_maps(report.rows("errors"), order)
    maps = parity_maps([row for row in ours if row["kind"] == "int8" or not errors], order) + errors
    return f"<p>{intro}</p>\n{maps}\n{''.join(parts)}{full}"


def _ours(report: Report) -> set[str]:
    return {row["file"] for row in report.metrics["files"] if row["maker"] == "tiedae"}


def _cell(row: Row | None) -> str:
    """One comparison: its fraction of equal values or its largest difference over full scale; below it where, how many."""
    if row is None:
        return "—"
    inside = row["what"].partition(" ")[2] if row["what"].partition(" ")[0] in INNER else ""
    notes = [inside] if inside else []
    if row.get("problem"):
        shown = NOT_COMPARABLE
    elif row["kind"] == "int8":
        shown = share(row["count"] - row["differing"], row["count"])
        notes += [f"of {row['count']:,}", *([f"at most {row['max_lsb']} LSB"] if row["differing"] else [])]
    else:
        shown = f"{relative(row['max_abs'], row.get('full_scale', 1.0)):.2g}"
    return f"{shown}<br><small>{escape(', '.join(notes))}</small>"


def render_storage(report: Report) -> str:
    proofs = report.rows("storage")
    rows = []
    for (file,), group in groups(proofs, "file").items():
        held = [_held(group, kernel["name"]) for kernel in report.manifest["kernels"]]
        holds = sum(row["ok"] for row in group)
        rows.append((verdict(holds == len(group)), escape(file), f"{sum(held)} of {len(held)}", f"{holds} of {len(group)}"))
    failed = "".join(f"<li>{escape(row['file'])}: {escape(row['text'])}</li>" for row in proofs if not row["ok"])
    failed = f'<div class="alarm"><ul>{failed}</ul></div>' if failed else ""
    found = [(verdict(row["ok"]), *(escape(row[key]) for key in ("file", "name", "text"))) for row in proofs]
    every = table(("", "file", "what", ""), found)
    intro = "Each file was parsed again after writing: every kernel is in it once, with the integers of the program."
    summary = table(("", "file", "kernels held", "statements proved"), rows, numeric=(2, 3))
    proof = f"<p>{intro}</p>\n{failed}{summary}{details('What was found', every)}" if proofs else ""
    kernels = [
        (
            escape(kernel["name"]),
            " × ".join(map(str, kernel["shape"])),
            number(kernel["scale"][0]) if len(kernel["scale"]) == 1 else f"{len(kernel['scale'])} scales",
            share(kernel["pruned"], int(np.prod(kernel["shape"]))) if "pruned" in kernel else "—",
            f"<code>{escape(kernel['sha256'])}</code>",
        )
        for kernel in report.manifest["kernels"]
    ]
    return proof + table(("kernel", "inputs × units", "scale", "pruned", "sha256 of the integers"), kernels)


def _held(proofs: Iterable[Row], kernel: str) -> bool:
    """Whether something was found of a kernel in a file, and all of it holds."""
    found = [row["ok"] for row in proofs if row["name"].partition(".")[0] == kernel]
    return bool(found) and all(found)
