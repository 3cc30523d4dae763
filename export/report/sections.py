"""The sections of the report that are rows of metrics.json: errors, sizes, latency, training, and what was run.

A section is a function of a `Report` that returns HTML, or '' where it has nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..parity.fidelity import MEANINGS, fidelity_text
from ..targets import TARGETS
from .charts import Bar, Line, bar_chart, legend, line_chart
from .figures import escape, number, size, table
from .headline import Row, compare_sizes, file_groups, groups, keras_float


@dataclass(frozen=True, eq=False)
class Report:
    """What the sections read."""

    manifest: Row
    metrics: Row
    golden: Mapping[str, np.ndarray]
    kernels: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]

    def rows(self, key: str) -> Sequence[Row]:
        return self.metrics.get(key) or ()

    def described(self, key: str) -> Row:
        """`data` or `model`, as the manifest and the metrics tell them."""
        return {**self.manifest.get(key, {}), **self.metrics.get(key, {})}


def kind_text(row: Row) -> str:
    """What a file is: TFLite int8."""
    target = TARGETS.get(row["format"])
    return f"{target.label if target else row['format']} {row['precision']}"


def change_text(value: float, reference: float | None) -> str:
    """A signed change in percent; '' without a reference."""
    return f"{value / reference - 1:+.1%}".replace("%", " %").replace("-", "−") if reference else ""


def keras_text(metrics: Row) -> str:
    """The Keras model that the float files and golden/y.f32 come from: the last one before quantization."""
    stages = {row["stage"] for row in (*metrics["quality"], *metrics.get("history", ()))}
    return next((name for stage, name in LATEST.items() if stage in stages), "Keras float")


LATEST = {"cluster": "Keras clustered", "prune": "Keras pruned"}
"""Float stages after training, the last first."""


def render_error_per_stage(report: Report) -> str:
    reference = keras_float(report.metrics)
    bars = []
    for (name, stage), rows in groups(report.rows("quality"), "row", "stage").items():
        error = max(row["error"] for row in rows)
        runtimes = [f"{row['runtime']} {number(row['error'])}" for row in rows if row.get("runtime")]
        change = change_text(error, reference) if name != "Keras float" else ""
        kind = {"export": "ours", "stock": "stock"}.get(stage, "keras")
        measured = [fidelity_text(row.get("fidelity")) for row in rows if row["error"] == error]
        bars.append(Bar(name, error, number(error), kind, "; ".join(filter(None, (measured[0], ", ".join(runtimes)))), change))
    if not bars:
        return ""
    intro = (
        "Squared error per test sample, summed over its values in model units; in percent against Keras float. Where a file "
        "ran in several runtimes, the bar is the worst."
    )
    measure = next((row["fidelity"]["measure"] for row in report.rows("quality") if row.get("fidelity")), None)
    if measure is not None:
        intro += f" Beside it {measure}, in the unit of the data: {MEANINGS[measure]}."
    return f"<p>{intro}</p>\n{bar_chart(bars)}"


def render_sizes(report: Report) -> str:
    parts = []
    ratios = {(each.ours["format"], each.ours["precision"]): each for each in compare_sizes(report.metrics)}
    for key, rows in file_groups(report.metrics).items():
        title = kind_text(rows[0])
        compared = ratios.get(key)
        if compared and compared.ratio:
            title += f": {number(compared.ratio)} × the bytes of stock"
        bars = []
        for row in rows:
            copies = f"kernels stored {row['kernel_copies']} ×" if row.get("kernel_copies") else ""
            note = ", ".join(filter(None, (copies, row.get("note"))))
            kind = "ours" if row["maker"] == "tiedae" else "stock"
            bars.append(Bar(row["file"], row["bytes"], size(row["bytes"]), kind, note))
        parts.append(f"<h3>{escape(title)}</h3>\n{bar_chart(bars)}")
    legend = "Blue is ours, gray what the stock converters make of the same model. A file counts with its external data."
    return f"<p>{legend}</p>\n" + "\n".join(parts) if parts else ""


def render_training(report: Report) -> str:
    lines, separators, entries, start = [], [], [], 0
    for (stage,), rows in groups(report.rows("history"), "stage").items():
        x = range(start + 1, start + len(rows) + 1)
        kind = stage if stage in ("train", "prune", "quantize") else "other"
        lines.append(Line(kind, x, [row["loss"] for row in rows]))
        seen = [(at, row["validation_loss"]) for at, row in zip(x, rows, strict=True) if row.get("validation_loss") is not None]
        if seen:
            lines.append(Line(f"{kind} validation", [at for at, _ in seen], [loss for _, loss in seen]))
        text = f"{stage}: {len(rows)} epochs, loss {number(rows[0]['loss'])} → {number(rows[-1]['loss'])}"
        entries.append((kind, text + (f", validation {number(seen[-1][1])}" if seen else "")))
        start += len(rows)
        separators.append(start + 0.5)
    if not lines:
        return ""
    if any("validation" in line.kind for line in lines):
        entries.append(("other validation", "dotted: validation"))
    chart = line_chart(lines, title="Loss per epoch", x="epoch", y="loss", separators=separators[:-1])
    return f'{legend(entries)}\n{chart}\n<p class="soft">Upright dashed lines part the stages.</p>'


def render_skipped(report: Report) -> str:
    """One row per reason."""
    reasons = groups(report.rows("skipped"), "reason").items()
    rows = [("<br>".join(escape(row["what"]) for row in skipped), escape(reason)) for (reason,), skipped in reasons]
    return table(("what", "why"), rows) if rows else ""


def row_order(model: Row) -> str | None:
    """The order of the first kernel's rows, in words; None where it is that of the inputs."""
    ways = model.get("interleave", 1)
    if ways == 1:
        return None
    return f"taken in turn from {ways} equal parts of the inputs: row {ways}·i + j is input {model['widths'][0] // ways}·j + i"


def render_model(report: Report) -> str:
    model, data = report.described("model"), report.described("data")
    scaling = data["scaling"]
    wide = any(isinstance(scaling[key], Sequence) for key in ("offset", "scale"))
    rule = scaling["rule"]
    if rule != "none":
        by = "one offset and scale per feature" if wide else f"(x − {number(scaling['offset'])}) / {number(scaling['scale'])}"
        rule += f": {by}"
    facts = {
        "widths": " → ".join(map(str, model["widths"])) + " and back over the same kernels" if "widths" in model else None,
        "activations": ", ".join(model["activations"]) if "activations" in model else None,
        "output activation": model.get("output_activation"),
        "rows of the first kernel": row_order(model),
        "data": data.get("source"),
        "licence of the data": data.get("licence"),
        "origin of the data": data.get("origin"),
        "samples": ", ".join(f"{data[k]:,} {k}" for k in ("train", "validation", "test") if data.get(k)),
        "columns": ", ".join(data.get("columns") or ()),
        "label, not trained on": data.get("label"),
        "a sample": f"{data['dtype']} {' × '.join(map(str, data['shape']))}",
        "scaling": rule,
        "sha256 of the data": data.get("sha256"),
    }
    return table(("", ""), [(escape(key), escape(value)) for key, value in facts.items() if value])


def render_versions(report: Report) -> str:
    return table(("package", "version"), [(escape(k), escape(v)) for k, v in report.metrics["versions"].items()])
