"""report.html: what a run reached and proved, on one page that opens anywhere.

It renders manifest.json, metrics.json and golden/, and measures nothing itself; only the errors of the golden samples, by which
they are ordered, are computed here. The same input gives the same bytes: there is no date in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...compress.errors import FormatError
from ..targets import TARGETS
from .column_quality import render_columns
from .drawing import draw_program
from .figures import escape, page, share
from .headline import Row
from .kernel_pictures import render_kernels
from .proofs import render_checks, render_parity, render_storage
from .samples import render_samples
from .sections import (
    Report,
    keras_text,
    render_error_per_stage,
    render_model,
    render_sizes,
    render_skipped,
    render_training,
    render_versions,
)
from .speed import render_speed
from .story import render_story

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
    head = f"<h1>{escape(name)}</h1>\n{render_story(report)}\n<nav>{links}</nav>"
    return page(f"{name} · tiedae", f"<main>\n{head}\n{body}\n</main>\n<footer>{footer}</footer>")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _graph(report: Report) -> str:
    manifest = report.manifest
    pruned = {
        kernel["name"]: f"{share(kernel['pruned'], kernel['shape'][0] * kernel['shape'][1])} pruned"
        for kernel in manifest["kernels"]
        if kernel.get("pruned")
    }
    drawn = []
    for format_, target in TARGETS.items():
        program = manifest.get("operations", {}).get(target.layout)
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
            title = f"Graph of the int8 {target.label} files: encoder and decoder share {kernels}"
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
    "Reconstructions": lambda report: render_samples(
        report.manifest, report.golden, data=report.described("data"), keras=keras_text(report.metrics)
    ),
    "Error per stage": render_error_per_stage,
    "Columns": lambda report: render_columns(report.metrics),
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
