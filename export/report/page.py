"""report.html: what a run reached and proved, on one page that opens anywhere.

It renders manifest.json, metrics.json and golden/, and measures nothing itself; only the errors of the golden samples, by which
they are ordered, are computed here. The same input gives the same bytes: there is no date in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...compress.errors import FormatError
from .drawing import draw_program
from .figures import escape, number, page, share, size
from .headline import Row, compare_sizes, exported_error, keras_float, promised_codes, stored_once
from .kernel_pictures import render_kernels
from .proofs import render_checks, render_parity, render_storage
from .samples import render_samples
from .sections import (
    FORMATS,
    Report,
    change_text,
    keras_text,
    kind_text,
    render_error_per_stage,
    render_model,
    render_sizes,
    render_skipped,
    render_training,
    render_versions,
)
from .speed import render_speed

REQUIRED = ("name", "quality", "files", "parity", "storage", "checks", "skipped", "versions")
GOLDEN = ("x", "y", "y.f32")


def render_report(
    manifest: Row,
    metrics: Row,
    golden: Mapping[str, np.ndarray],
    kernels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> str:
    """A self-contained HTML page.

    `golden` by name as in the bundle: `x` [n, inputs] in the user's unit and dtype, `y` [n, inputs] of the reference
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
    return page(f"{name} · tiedae", f"<main>\n{head}\n{body}\n</main>\n<footer>{footer}</footer>")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


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
    change = change_text(error, reference)
    phrase = f"reconstructs a test sample with an error of {number(error)} in {name} ({float_text})"
    note = f"{change} against {float_text}" if change else float_text
    return phrase, _card(f"{number(error)}", f"error of {name}, the worst exported file; {note}")


def _size_card(metrics: Row) -> tuple[str, str]:
    """The ratio of the int8 files (else of all) to stock: the least favourable one in large."""
    compared = compare_sizes(metrics)
    ratios = {kind_text(each.ours): each.ratio for each in compared if each.ratio}
    if not ratios:
        shown = size(compared[0].ours["bytes"]) if compared else "—"
        return f"takes {shown}" if compared else "was not exported", _card(shown, "no stock file to compare with")
    leading = {kind: ratio for kind, ratio in ratios.items() if kind.endswith("int8")} or ratios
    listed = " and ".join(f"{number(ratio)} ({escape(kind)})" for kind, ratio in leading.items())
    phrase = f"takes {listed} of the bytes that the stock converters need"
    text = "of the bytes that the stock converters need: " + ", ".join(
        f"{kind} {number(ratio)}" for kind, ratio in ratios.items()
    )
    return phrase, _card(f"{number(max(leading.values()))} ×", escape(text))


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


FORMS = {"tflite": "split", "onnx": "fused"}
"""The form of the program that the int8 files of a format hold."""


def _graph(report: Report) -> str:
    manifest = report.manifest
    pruned = {
        kernel["name"]: f"{share(kernel['pruned'], kernel['shape'][0] * kernel['shape'][1])} pruned"
        for kernel in manifest["kernels"]
        if kernel.get("pruned")
    }
    drawn = []
    for format_, form in FORMS.items():
        program = manifest.get("operations", {}).get(form)
        files = [
            (name, stated)
            for name, stated in manifest["files"].items()
            if (stated.get("format"), stated.get("precision")) == (format_, "int8") and stated.get("signatures")
        ]
        if program and files:
            file, stated = max(files, key=lambda each: "reconstruct" in each[1]["signatures"])
            signatures = stated["signatures"].values()
            dtypes = {port["name"]: port["dtype"] for each in signatures for port in (*each["inputs"], *each["outputs"])}
            kernels = ", ".join(program["kernels"])
            title = f"Graph of the int8 {FORMATS[format_]} files: encoder and decoder share {kernels}"
            drawing = draw_program(program, dtypes, pruned, title)
            drawn.append(f"<figure>{drawing}<figcaption>{_operations(file, stated)}</figcaption></figure>")
    if not drawn:
        return ""
    intro = (
        "Data runs down the encoder and up the decoder. Each kernel stands between them once: both directions read the same "
        "stored integers, the decoder as the transpose."
    )
    return f'<p>{intro}</p>\n<div class="graphs">\n' + "\n".join(drawn) + "\n</div>"


def _operations(file: str, stated: Row) -> str:
    """The operations that a runtime sees in a file, in the widest signature that it has."""
    signature = "reconstruct" if "reconstruct" in stated["signatures"] else next(iter(stated["signatures"]))
    counts = ", ".join(f"{count} × {kind}" for kind, count in stated["signatures"][signature].get("operations", {}).items())
    return f"<b>{escape(file)}</b> {escape(signature)}: {escape(counts)}"


SECTIONS: Mapping[str, Callable[[Report], str]] = {
    "Graph": _graph,
    "Reconstructions": lambda report: render_samples(report.manifest, report.golden, keras=keras_text(report.metrics)),
    "Error per stage": render_error_per_stage,
    "Sizes": render_sizes,
    "Speed": lambda report: render_speed(report.metrics.get("bench")),
    "Training": render_training,
    "Kernels": lambda report: render_kernels(report.manifest, report.kernels, report.masks),
    "Parity": render_parity,
    "Storage": render_storage,
    "Checks": render_checks,
    "Skipped": render_skipped,
    "Model and data": render_model,
    "Versions": render_versions,
}
"""The page, in order. A section that has nothing to show is left out."""
