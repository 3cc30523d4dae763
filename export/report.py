"""report.html: what a run reached and proved, on one page that opens anywhere.

It renders manifest.json, metrics.json and golden/, and measures nothing itself; only the errors of the golden samples, by which
they are ordered, are computed here. The same input gives the same bytes: there is no date in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..compress.data import Scaling
from ..compress.errors import FormatError
from . import figures
from .figures import Bar, Line, bar_chart, details, escape, legend, line_chart, number, share, table, verdict
from .headline import (
    Row,
    codes_rows,
    compare_sizes,
    exported_error,
    file_groups,
    groups,
    keras_float,
    promised_codes,
    stored_once,
)
from .program import Quantization

WORST, SPREAD = 8, 16
"""How many samples are shown: those with the largest errors, and some from the best to those."""
REQUIRED = ("name", "quality", "files", "parity", "storage", "checks", "skipped", "versions")
GOLDEN = ("x", "y", "y.f32")


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


def render_report(
    manifest: Row,
    metrics: Row,
    golden: Mapping[str, np.ndarray],
    kernels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> str:
    """A self-contained HTML page.

    `golden` by name as in the bundle: `x` [n, inputs] in the user's unit and dtype, `y` uint8 [n, inputs] of the reference
    program, `y.f32` float32 [n, inputs] of the Keras model in model units (`y` dequantizes to them by the manifest's
    `tensors`). `kernels` int8 and `masks` bool, both [inputs, units], by the kernel's name. Raises
    FormatError where the metrics or golden vectors lack something.
    """
    missing = [f"metrics: {key}" for key in REQUIRED if key not in metrics]
    missing += [f"golden: {key}" for key in GOLDEN if key not in golden]
    if missing:
        raise FormatError(f"report of {manifest.get('name')}: lacks {', '.join(missing)}")
    report = Report(manifest, metrics, golden, kernels, masks)
    sections = [(title, content) for title, render in SECTIONS.items() if (content := render(report))]
    links = "".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title, _ in sections)
    body = "\n".join(f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>\n{text}</section>' for title, text in sections)
    name = metrics["name"]
    footer = f"Made by {escape(manifest.get('created_by', 'tiedae'))} from metrics.json, manifest.json and golden/."
    head = f"<h1>{escape(name)}</h1>\n{_headline(report)}\n<nav>{links}</nav>"
    return figures.page(f"{name} · tiedae", f"<main>\n{head}\n{body}\n</main>\n<footer>{footer}</footer>")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _change(value: float, reference: float | None) -> str:
    return f"{value / reference - 1:+.1%}".replace("%", " %").replace("-", "−") if reference else ""


def _headline(report: Report) -> str:
    metrics = report.metrics
    phrases, cards = zip(_error_card(metrics), _size_card(metrics), _tie_card(report), strict=True)
    sentence = f"The tied autoencoder {escape(metrics['name'])} {', '.join(phrases[:-1])}, and {phrases[-1]}."
    alarm = ""
    failed = [check for check in metrics["checks"] if not check["ok"]]
    if failed:
        items = "".join(f"<li>{escape(check['text'])}</li>" for check in failed)
        title = f'<p class="failed">{len(failed)} of {len(metrics["checks"])} checks failed</p>'
        alarm = f'<div class="alarm">{title}<ul>{items}</ul></div>'
    return f'<p class="lead">{sentence}</p>\n{alarm}<div class="cards">\n{"".join(cards)}</div>'


def _card(figure: str, text: str, kind: str = "") -> str:
    return f'<div class="card"><b class="{kind}">{figure}</b><span>{text}</span></div>\n'


def _error_card(metrics: Row) -> tuple[str, str]:
    reference = keras_float(metrics)
    error, name = exported_error(metrics, "int8"), "int8"
    if error is None:
        error, name = exported_error(metrics, "f32"), "float"
    float_text = f"Keras float {number(reference)}" if reference is not None else "Keras float not measured"
    if error is None:
        return "has exported files whose error was not measured", _card("—", f"error per test sample; {float_text}")
    change = _change(error, reference)
    phrase = f"reconstructs a test sample with an error of {number(error)} in {name} ({float_text})"
    note = f"{change} against {float_text}" if change else float_text
    return phrase, _card(f"{number(error)}", f"error of {name}, the worst exported file; {note}")


def _size_card(metrics: Row) -> tuple[str, str]:
    """The ratio of the int8 files (else of all) to stock: the least favourable one in large."""
    compared = compare_sizes(metrics)
    ratios = {_kind(each.ours): each.ratio for each in compared if each.ratio}
    if not ratios:
        shown = figures.size(compared[0].ours["bytes"]) if compared else "—"
        return f"takes {shown}" if compared else "was not exported", _card(shown, "no stock file to compare with")
    leading = {kind: ratio for kind, ratio in ratios.items() if kind.endswith("int8")} or ratios
    listed = " and ".join(f"{number(ratio)} ({escape(kind)})" for kind, ratio in leading.items())
    phrase = f"takes {listed} of the bytes that the stock converters need"
    text = "of the bytes that the stock converters need: " + ", ".join(
        f"{kind} {number(ratio)}" for kind, ratio in ratios.items()
    )
    return phrase, _card(f"{number(max(leading.values()))} ×", escape(text))


def _kind(row: Row) -> str:
    return f"{FORMATS.get(row['format'], row['format'])} {row['precision']}"


def _tie_card(report: Report) -> tuple[str, str]:
    metrics, kernels = report.metrics, len(report.manifest["kernels"])
    once = stored_once(metrics)
    proofs = sum(row["ok"] for row in metrics["storage"])
    rows = promised_codes(metrics)
    count, differing = sum(row["count"] for row in rows), sum(row["differing"] for row in rows)
    broken = any(row.get("problem") for row in rows)
    codes = f"{share(count - differing, count)} of codes equal in {len({row['runtime'] for row in rows})} runtimes"
    if differing:
        codes += f", the rest at most {max(row['max_lsb'] for row in rows)} LSB apart"
    codes = "codes were not compared" if not rows else "codes cannot be compared" if broken else codes
    files = len({row["file"] for row in metrics["storage"]})
    phrase = f"holds each of its {kernels} kernels once" if once else "is not shown to hold every kernel once"
    figure = "1 copy" if once else f"{proofs} of {len(metrics['storage'])}"
    text = f"of each of {kernels} kernels in each of {files} files" if once else "storage proofs hold"
    return f"{phrase}; {codes}", _card(figure, escape(f"{text}; {codes}"), "" if once else "failed")


FORMATS = {"tflite": "TFLite", "onnx": "ONNX"}


def _reconstructions(report: Report) -> str:
    manifest, golden = report.manifest, report.golden
    scaling = Scaling.from_json(manifest["data"]["scaling"])
    x = golden["x"].reshape(len(golden["x"]), -1)
    outputs = {
        "keras": golden["y.f32"],
        "ours": Quantization(manifest["tensors"]["y"]["scale"], manifest["tensors"]["y"]["zero_point"]).dequantize(golden["y"]),
    }
    wanted = scaling.apply(x).astype(np.float64)
    errors = {kind: np.square(y - wanted).sum(axis=1) for kind, y in outputs.items()}
    order = np.argsort(-errors["ours"], kind="stable")
    worst, rest = order[:WORST], order[WORST:][::-1]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, SPREAD).round().astype(int))] if len(rest) else rest
    values = {"input": x.astype(np.float64)} | {kind: scaling.invert(y, np.float64) for kind, y in outputs.items()}
    draw = figures.sample_pictures if is_picture(manifest["data"]["shape"]) else figures.sample_plots
    groups = {f"The {len(worst)} worst of {len(x)}": worst, "Others, from the best to the worst": spread}
    drawn = draw(groups, values, {kind: each.tolist() for kind, each in errors.items()}, manifest["data"])
    intro = (
        f"{len(x)} test samples (golden/x.npy): what went in, what the Keras float model makes of it, and what the int8 "
        "program makes of it. Errors are squared and summed over a sample, in model units."
    )
    return f"<p>{intro}</p>\n{drawn}"


def is_picture(shape: Sequence[int]) -> bool:
    """(h, w), (h, w, 1) and (h, w, 3) from four pixels a side are pictures; everything else is drawn as curves."""
    return (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) and min(shape[:2]) >= 4


def _error_per_stage(report: Report) -> str:
    reference = keras_float(report.metrics)
    bars = []
    for (name, stage), rows in groups(report.rows("quality"), "row", "stage").items():
        error = max(row["error"] for row in rows)
        runtimes = [f"{row['runtime']} {number(row['error'])}" for row in rows if row.get("runtime")]
        change = _change(error, reference) if name != "Keras float" else ""
        kind = {"export": "ours", "stock": "stock"}.get(stage, "keras")
        bars.append(Bar(name, error, number(error), kind, ", ".join(runtimes), change))
    if not bars:
        return ""
    intro = (
        "Squared error per test sample, summed over its values in model units; in percent against Keras float. Where a file "
        "ran in several runtimes, the bar is the worst."
    )
    return f"<p>{intro}</p>\n{bar_chart(bars)}"


def _sizes(report: Report) -> str:
    parts = []
    ratios = {(each.ours["format"], each.ours["precision"]): each for each in compare_sizes(report.metrics)}
    for key, rows in file_groups(report.metrics).items():
        title = _kind(rows[0])
        compared = ratios.get(key)
        if compared and compared.ratio:
            title += f": {number(compared.ratio)} × the bytes of stock"
        bars = []
        for row in rows:
            copies = f"kernels stored {row['kernel_copies']} ×" if row.get("kernel_copies") else ""
            note = ", ".join(filter(None, (copies, row.get("note"))))
            kind = "ours" if row["maker"] == "tiedae" else "stock"
            bars.append(Bar(row["file"], row["bytes"], figures.size(row["bytes"]), kind, note))
        parts.append(f"<h3>{escape(title)}</h3>\n{bar_chart(bars)}")
    legend = "Blue is ours, gray what the stock converters make of the same model. A file counts with its external data."
    return f"<p>{legend}</p>\n" + "\n".join(parts) if parts else ""


def _training(report: Report) -> str:
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
    chart = line_chart(lines, title="Loss per epoch", separators=separators[:-1])
    return f'{legend(entries)}\n{chart}\n<p class="soft">Loss over epochs; upright dashed lines part the stages.</p>'


def _checks(report: Report) -> str:
    checks = report.rows("checks")

    def rows(some: Iterable[Row]) -> Iterable[Sequence[str]]:
        for check in some:
            cells = (check["name"], figures.exact(check["value"]), check["limit"], check["text"])
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


def _parity(report: Report) -> str:
    rows = report.rows("parity")
    if not rows:
        return ""
    codes_of = {id(row) for row in codes_rows(report.metrics)}
    summary = []
    for (file, runtime, provider), group in groups(rows, "file", "runtime", "provider").items():
        codes = [row for row in group if id(row) in codes_of]
        others = [row for row in group if row["kind"] == "int8" and id(row) not in codes_of]
        floats = [row for row in group if row["kind"] == "float"]
        ran = f"{escape(runtime)}<br><small>{escape(provider)}</small>"
        largest = f"{max(row['max_abs'] for row in floats):.2g}" if floats else "—"
        largest = "✗ not comparable" if any(row.get("problem") for row in floats) else largest
        summary.append((escape(file), ran, _equal(codes), _equal(others), largest))
    header = ("file", "runtime and what ran", "codes equal", "operations equal", "float, largest difference")
    every = []
    for row in rows:
        histogram = " · ".join(
            f"{lsb if lsb.startswith(('-', '0')) else '+' + lsb}: {count:,}" for lsb, count in row.get("histogram", {}).items()
        )
        gap = f"{row['max_lsb']} LSB" if row["kind"] == "int8" else f"{row['max_abs']:.2g}"
        counts = (f"{row['count']:,}", f"{row['differing']:,}", row.get("problem") or gap, histogram)
        every.append([escape(cell) for cell in (row["file"], row["runtime"], row["what"], *counts)])
    columns = ("file", "runtime", "what", "values", "differ", "by at most", "LSB: values")
    intro = "int8 files against the integer program, in LSB; each operation on equal inputs. Float files against Keras."
    full = details(f"All {len(every)} comparisons", table(columns, every, numeric=(3, 4)))
    return f"<p>{intro}</p>\n{table(header, summary, numeric=(4,))}{full}"


def _equal(rows: Sequence[Row]) -> str:
    if not rows:
        return "—"
    if any(row.get("problem") for row in rows):
        return '<span class="failed">✗ not comparable</span>'
    count, differing = sum(row["count"] for row in rows), sum(row["differing"] for row in rows)
    gap = f", at most {max(row['max_lsb'] for row in rows)} LSB" if differing else ""
    return f"{share(count - differing, count)}<br><small>of {count:,}{gap}</small>"


def _storage(report: Report) -> str:
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


def _skipped(report: Report) -> str:
    rows = [(escape(row["what"]), escape(row["reason"])) for row in report.rows("skipped")]
    return table(("what", "why"), rows) if rows else ""


def _model(report: Report) -> str:
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
        "data": data.get("source"),
        "licence of the data": data.get("licence"),
        "origin of the data": data.get("origin"),
        "samples": ", ".join(f"{data[k]:,} {k}" for k in ("train", "validation", "test") if data.get(k)),
        "a sample": f"{data['dtype']} {' × '.join(map(str, data['shape']))}",
        "scaling": rule,
        "sha256 of the data": data.get("sha256"),
    }
    return table(("", ""), [(escape(key), escape(value)) for key, value in facts.items() if value])


def _versions(report: Report) -> str:
    return table(("package", "version"), [(escape(k), escape(v)) for k, v in report.metrics["versions"].items()])


SECTIONS: Mapping[str, Callable[[Report], str]] = {
    "Reconstructions": _reconstructions,
    "Error per stage": _error_per_stage,
    "Sizes": _sizes,
    "Training": _training,
    "Checks": _checks,
    "Parity": _parity,
    "Storage": _storage,
    "Skipped": _skipped,
    "Model and data": _model,
    "Versions": _versions,
}
"""The page, in order. A section that has nothing to show is left out."""
