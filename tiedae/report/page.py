"""report.html: a self-contained page of a run's results.

It renders manifest.json, metrics.json and golden/; it computes nothing but the errors of the golden samples. The same input
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from tiedae.base.errors import FormatError
from tiedae.base.numbers import counted, exact, fraction, number, size
from tiedae.bundle.fidelity import fit_text, meaning
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.results import Metrics, Model, Parity
from tiedae.bundle.task_results import DenoisingResult
from tiedae.config.config import Recipe
from tiedae.config.layer_kinds import by_axis
from tiedae.config.tasks import task_kind
from tiedae.export.kinds import Maker, Precision, Stage
from tiedae.export.targets import TARGETS, reference_layout

from .column_quality import render_columns
from .graph_svg import draw_program
from .group_table import render_groups
from .heatmap import error_maps, parity_maps
from .kernel_images import render_kernels
from .key_figures import (
    Report,
    change_text,
    compare_sizes,
    file_groups,
    groups,
    keras_float,
    kind_text,
    samples_text,
    size_kind,
)
from .pages import HERE, macros, render
from .pages.charts import Bar, BarChart, Cell, Line, LineChart
from .parity_tables import FORMAT_HEADER, ParityTable, format_rows, inside, parity_tables
from .samples import render_samples
from .speed import render_speed
from .story import alarms, facts, sentence
from .tasks import TASK_VIEWS
from .tie_cost import HEADER, tie_rows
from .verdict import shown

Values = Mapping[str, object] | None
"""The arguments of a section's macro; None if the section is empty."""
Rows = Sequence[tuple[object, ...]]

GOLDEN = ("x", "y", "y.f32")
TEMPLATES = Path(__file__).parent
LATEST = {Stage.CLUSTER: "Keras clustered", Stage.PRUNE: "Keras pruned"}
"""Titles of the float stages after training, last first."""
COLOURS = {Stage.EXPORT: "ours", Stage.STOCK: "stock"}


def render_report(report: Report) -> str:
    """A self-contained HTML page. Raises FormatError where golden vectors are missing."""
    metrics, found = report.metrics, facts(report)
    missing = [key for key in GOLDEN if key not in report.golden]
    if missing:
        raise FormatError(f"report of {report.manifest.name}: lacks golden {', '.join(missing)}")
    return render(
        TEMPLATES / "report.html.j2",
        title=f"{metrics.name} · tiedae",
        name=metrics.name,
        lead=sentence(report, found),
        alarms=alarms(metrics),
        facts=found,
        sections=[(title, content) for title, draw in {**_task(report), **SECTIONS}.items() if (content := draw(report))],
        made_by=report.manifest.created_by,
    )


def _task(report: Report) -> dict[str, Callable[[Report], Markup]]:
    """The section of the task's result, if there is one."""
    result = report.metrics.task
    if result is None:
        return {}
    row = TASK_VIEWS[task_kind(result)]
    return {row.title: lambda report: row.section(report.manifest, result, report.task)}


def _section(values: Callable[[Report], Values]) -> Callable[[Report], Markup]:
    """A section rendered by the macro of sections.html.j2 that has the function's name."""

    def draw(report: Report) -> Markup:
        found = values(report)
        return Markup() if found is None else getattr(macros(TEMPLATES / "sections.html.j2"), values.__name__)(**found)

    return draw


def _table(*header: str, rows: Callable[[Report], Rows]) -> Callable[[Report], Markup]:
    """A section that is a table."""
    table = macros(HERE / "macros.html.j2").table
    return lambda report: table(header, found) if (found := rows(report)) else Markup()


def graph(report: Report) -> Values:
    manifest, drawn = report.manifest, []
    pruned = {kernel.name: f"{fraction(kernel.pruned, kernel.size)} pruned" for kernel in manifest.kernels if kernel.pruned}
    for format_, target in TARGETS.items():
        program = getattr(manifest.operations, manifest.layout(format_))
        files = [
            (name, info.signatures)
            for name, info in manifest.models.items()
            if (info.format, info.precision) == (format_, Precision.INT8)
        ]
        if files:
            file, signatures = max(files, key=lambda each: "reconstruct" in each[1])
            dtypes = {value.name: value.dtype for signature in signatures.values() for value in signature.values}
            title = f"Graph of the int8 {target.label} files: encoder and decoder share {', '.join(program.kernels)}"
            shown = "reconstruct" if "reconstruct" in signatures else next(iter(signatures))
            operations = ", ".join(f"{count} × {kind}" for kind, count in signatures[shown].operations.items())
            note = "" if target.source else f"{shown}: {operations}"
            drawn.append((draw_program(program, dtypes, pruned, title), file, note))
    return {"drawn": drawn} if drawn else None


def error_per_stage(report: Report) -> Values:
    quality, reference = report.metrics.quality, keras_float(report.metrics)
    bars = []
    for (title, stage), rows in groups(quality, lambda row: (row.title, row.stage)).items():
        worst = max(rows, key=lambda row: row.error)
        runtimes = ", ".join(f"{row.runtime} {number(row.error)}" for row in rows if row.runtime)
        change = change_text(worst.error, reference) if stage is not Stage.TRAIN else ""
        note = "; ".join(filter(None, (fit_text(worst.fidelity), runtimes)))
        bars.append(Bar(title, worst.error, number(worst.error), COLOURS.get(stage, "keras"), note, change))
    measure = next((row.fidelity.measure for row in quality if row.fidelity), None)
    words = None if measure is None else meaning(measure, report.metrics.samples)
    return {"chart": BarChart(bars), "measure": measure, "meaning": words} if bars else None


def sizes(report: Report) -> Values:
    compared = {(each.ours.format, each.ours.precision): each.ratio for each in compare_sizes(report.metrics)}
    charts = []
    for key, rows in file_groups(report.metrics).items():
        bars = []
        for row in rows:
            copies = f"kernels stored {row.kernel_copies} ×" if row.kernel_copies else ""
            agreement = "" if row.agreement is None else f"the duplicates agree in {row.agreement:.1%} of their integers"
            kind = "ours" if row.maker is Maker.TIEDAE else "stock"
            bars.append(
                Bar(row.file, row.bytes, size(row.bytes), kind, ", ".join(filter(None, (copies, agreement, size_kind(row)))))
            )
        ratio = compared.get(key)
        title = kind_text(rows[0]) + (f": {number(ratio)} × the bytes of stock" if ratio else "")
        charts.append((title, BarChart(bars)))
    return {"charts": charts} if charts else None


def training(report: Report) -> Values:
    lines, separators, entries, start = [], [], [], 0
    for stage, rows in groups(report.metrics.history, lambda row: row.stage).items():
        x = range(start + 1, start + len(rows) + 1)
        kind = stage if stage in ("train", "prune", "quantize") else "other"
        lines.append(Line(kind, x, [row.loss for row in rows]))
        seen = [(at, row.validation_loss) for at, row in zip(x, rows, strict=True) if row.validation_loss is not None]
        if seen:
            lines.append(Line(f"{kind} validation", *zip(*seen, strict=True)))
        text = f"{stage}: {counted(len(rows), 'epoch')}, loss {number(rows[0].loss)} → {number(rows[-1].loss)}"
        bits = "" if rows[-1].bits is None else f", {rows[-1].bits:.4g} bits a code"
        kept = "" if rows[-1].kept is None else f"; {rows[-1].kept.text}"
        begun = f"; {rows[0].start}" if rows[0].start else ""
        entries.append((kind, text + (f", validation {number(seen[-1][1])}" if seen else "") + bits + begun + kept))
        start += len(rows)
        separators.append(start + 0.5)
    if any("validation" in line.kind for line in lines):
        entries.append(("other validation", "dotted: validation"))
    chart = LineChart(lines, "Loss per epoch", "epoch", "loss", separators[:-1])
    return {"entries": entries, "chart": chart} if lines else None


def parity(report: Report) -> Values:
    metrics, texts = report.metrics, report.manifest.operations
    if not metrics.parity:
        return None
    layouts = (texts.split, texts.fused)
    order = list(dict.fromkeys(["x", *(operation.y for text in layouts for part in text.operations for operation in part)]))
    ours = {file.file for file in metrics.files if file.maker is Maker.TIEDAE}
    errors = error_maps(metrics.errors, order, report.manifest.recipe.export.decoder)
    shown = [row for row in metrics.parity if row.file in ours and (row.precision is Precision.INT8 or not errors)]
    return {
        "maps": parity_maps(shown, order) + errors,
        "tables": [_parity_table(each) for each in parity_tables(metrics)],
        "format_header": FORMAT_HEADER,
        "formats": format_rows(metrics.parity),
        "every": [
            (row.file, row.runtime, row.label, f"{row.count:,}", f"{row.differing:,}", *_gap(row)) for row in metrics.parity
        ],
    }


def _parity_table(table: ParityTable) -> tuple[str, tuple[str, ...], list[list[Cell | str]], Sequence[int]]:
    """Title, header, rows and numeric columns."""
    floats = table.precision is Precision.F32
    kind = "largest difference over full scale" if floats else "values that are equal"
    rows = [
        [format_, Cell(runtime, provider), *map(_cell, compared)]
        for (format_, runtime, provider), compared in table.rows.items()
    ]
    header = ("files", "runtime and what ran", *table.columns)
    return f"{table.title[0].upper()}{table.title[1:]}: {kind}", header, rows, range(2, len(header)) if floats else ()


def _cell(row: Parity | None) -> Cell:
    """The fraction of equal values, or the largest difference over full scale, with place and count as a note."""
    if row is None:
        return Cell("—")
    if row.problem:
        return Cell("✗ not comparable", inside(row), "failed")
    if row.precision is Precision.F32:
        return Cell(f"{row.relative:.2g}", inside(row))
    notes = (inside(row), f"of {row.count:,}", f"at most {row.max_lsb} LSB" if row.differing else "")
    return Cell(fraction(row.count - row.differing, row.count), ", ".join(filter(None, notes)))


def _gap(row: Parity) -> tuple[str, str]:
    largest = f"{row.max_lsb} LSB" if row.precision is Precision.INT8 else f"{row.max_abs:.2g}"
    histogram = (f"{int(lsb):+d}: {count:,}".replace("+0:", "0:") for lsb, count in row.histogram.items())
    return row.problem or largest, " · ".join(histogram)


def storage(report: Report) -> Values:
    proofs, kernels = report.metrics.storage, report.manifest.kernels
    rows = []
    for file, group in groups(proofs, lambda row: row.file).items():
        of_kernels = [[row.ok for row in group if row.kernel == kernel.name] for kernel in kernels]
        held, holds = sum(bool(proofs) and all(proofs) for proofs in of_kernels), sum(row.ok for row in group)
        rows.append((holds == len(group), file, f"{held} of {len(kernels)}", f"{holds} of {len(group)}"))
    stated = [
        (
            kernel.name,
            " × ".join(map(str, kernel.shape)),
            number(kernel.scale[0]) if len(kernel.scale) == 1 else f"{len(kernel.scale)} scales",
            fraction(kernel.pruned, kernel.size),
            Cell(kernel.sha256, kind="code"),
        )
        for kernel in kernels
    ]
    statements = [(row.ok, row.file, row.kernel, row.statement, row.text) for row in proofs]
    return {"failed": [row for row in proofs if not row.ok], "statements": statements, "rows": rows, "kernels": stated}


def verdict_of(report: Report) -> Values:
    verdict = report.metrics.verdict
    if verdict is None:
        return None
    return shown(verdict) | {"layers": [(row.layer, f"{row.units:,}", f"{len(row.dead):,}") for row in verdict.layers]}


def checks(report: Report) -> Values:
    found = report.metrics.checks
    kinds = [
        (all(c.ok for c in each), kind, f"{sum(c.ok for c in each)} of {len(each)}")
        for kind, each in groups(found, lambda check: check.kind).items()
    ]
    every = [(check.ok, check.name, exact(check.value), check.limit, check.text) for check in found]
    return {"every": every, "failed": [row for row in every if not row[0]], "kinds": kinds} if found else None


def skipped(report: Report) -> Rows:
    """One row per reason."""
    return [([row.what for row in rows], why) for why, rows in groups(report.metrics.skipped, lambda row: row.reason).items()]


def row_order(model: Model) -> str:
    """The order of the first kernel's rows in words; '' if it is that of the inputs."""
    if model.interleave == 1:
        return ""
    groups, stride = model.interleave, model.widths[0] // model.interleave
    return f"interleaved from {groups} equal parts of the inputs: row {groups}·i + j is input {stride}·j + i"


def shapes_text(manifest: Manifest) -> str:
    """The shapes of a sample, of what each encoder layer gives, and of the code."""
    return " → ".join(map(by_axis, manifest.exported_model.shapes))


def windows_text(recipe: Recipe) -> str:
    """The windows of convolutions, in words; '' without any."""
    layers = enumerate(recipe.model.layers, 1)
    return "; ".join(f"layer {i}: {layer.kind} {layer.windows}" for i, layer in layers if layer.windows)


def multiply_adds_text(manifest: Manifest) -> str:
    encoded, decoded = manifest.operations.fused.multiply_adds()
    return f"{encoded:,} to encode, {decoded:,} to decode"


def batch_norm_text(recipe: Recipe) -> str:
    """Which layers have batch normalization, in words; '' if none has."""
    layers = [str(i + 1) for i, layer in enumerate(recipe.model.layers) if layer.batch_norm]
    return f"of the units of layers {', '.join(layers)}: a gain and a bias per channel and direction" if layers else ""


def decoder_text(recipe: Recipe) -> str:
    """How a decoder by view reads the kernels, in words; '' for another one."""
    by_view = reference_layout(recipe.export.targets, recipe.export.decoder) == "view"
    return "by view: .tflite files read the encoder's kernels in the decoder's order" if by_view else ""


def model_and_data(report: Report) -> Rows:
    model, data, config = report.manifest.model, report.manifest.data, report.manifest.recipe.data
    imported = report.manifest.imported
    rule, offset, scale = data.scaling.rule, data.scaling.offset, data.scaling.scale
    if isinstance(offset, tuple) or isinstance(scale, tuple):
        rule += ": one offset and scale per feature"
    elif rule != "none":
        rule += f": (x − {number(offset)}) / {number(scale)}"
    facts = {
        "shapes": f"{shapes_text(report.manifest)} and back over the same kernels",
        "windows": windows_text(report.manifest.recipe),
        "multiply-adds of a sample": multiply_adds_text(report.manifest),
        "activations": ", ".join(model.activations),
        "output activation": model.output_activation,
        "batch normalization": batch_norm_text(report.manifest.recipe),
        "decoder": decoder_text(report.manifest.recipe),
        "rows of the first kernel": row_order(model),
        "data": data.source,
        "licence of the data": data.licence,
        "origin of the data": data.origin,
        "samples": samples_text(data),
        "test samples": config.test_source,
        "labels left out": ", ".join(map(str, config.drop_labels)),
        "columns": ", ".join(data.columns or ()),
        "label, not trained on": data.label,
        "a sample": f"{data.spec.text}, {data.dtype}",
        "scaling": rule,
        "sha256 of the data": data.sha256,
        **({} if imported is None else imported.facts),
    }
    return [(key, value) for key, value in facts.items() if value]


def keras_text(metrics: Metrics) -> str:
    """The Keras model of the float files and golden/y.f32: the last one before quantization."""
    stages = {*(row.stage for row in metrics.quality), *(row.stage for row in metrics.history)}
    return next((name for stage, name in LATEST.items() if stage in stages), "Keras float")


def reconstructions(report: Report) -> Markup:
    """The golden samples; empty where the section of a denoising task has drawn noisy, denoised and clean ones."""
    if isinstance(report.metrics.task, DenoisingResult) and "clean" in report.task:
        return Markup()
    return render_samples(report.manifest, report.golden, keras=keras_text(report.metrics))


SECTIONS: Mapping[str, Callable[[Report], Markup]] = {
    "Graph": _section(graph),
    "Reconstructions": reconstructions,
    "Error per stage": _section(error_per_stage),
    "Cost of the tie": _table(*HEADER, rows=lambda report: tie_rows(report.metrics)),
    "Columns": lambda report: render_columns(report.metrics),
    "Groups": lambda report: render_groups(report.metrics),
    "Sizes": _section(sizes),
    "Speed": lambda report: render_speed(report.metrics.bench),
    "Training": _section(training),
    "Kernels": lambda report: render_kernels(report.manifest, report.kernels, report.masks),
    "Parity": _section(parity),
    "Storage": _section(storage),
    "Verdict": _section(verdict_of),
    "Checks": _section(checks),
    "Skipped": _table("what", "why", rows=skipped),
    "Model and data": _table("", "", rows=model_and_data),
    "Versions": _table("package", "version", rows=lambda report: [*report.metrics.versions.items()]),
}
"""Sections in order; empty ones are omitted."""
