"""One page around a package of `package`: `web_page`. docs/web.md describes it."""

from __future__ import annotations

import html
from pathlib import Path

from .package import WebModel

INDEX = "index.html"
SCRIPTS = ("app.mjs", "draw.mjs", "files.mjs", "pad.mjs", "samples.mjs", "style.css")
"""The page's own files beside `INDEX`, in the folder `page`."""

TITLES = {"anomaly": "anomaly detection", "denoising": "denoising"}
DESCRIPTIONS = {
    "compression": "{values} become {units} numbers of {bits} bits, and come back, in this browser.",
    "anomaly": "Scores {values} by the error of their reconstruction from {units} numbers of {bits} bits, in this browser.",
    "denoising": "Removes noise from {values}, through {units} numbers of {bits} bits, in this browser.",
    "reduction": "{values} become codes of {units} numbers of {bits} bits, in this browser.",
}
"""What the page says of a model, by the kind of its task."""


def web_page(model: WebModel) -> dict[str, bytes]:
    """The files by path, all of which a browser fetches, beside those of the package."""
    spec, code = model.spec, model.golden.code
    bits = model.program.quantization("code").bits
    shape = "×".join(map(str, spec.shape))
    values = f"{shape} values" if len(spec.shape) > 1 else f"{spec.inputs:,} values"
    text = DESCRIPTIONS[model.task].format(values=f"{values} of {spec.dtype}", units=code.shape[1], bits=bits)
    name = model.source.name
    title = f"{name}: {TITLES.get(model.task, 'a tied autoencoder')}"
    folder = Path(__file__).parent / "page"
    index = (folder / INDEX).read_text(encoding="utf-8")
    for key, value in {"NAME": name, "TITLE": title, "DESCRIPTION": text}.items():
        index = index.replace(key, html.escape(value))
    return {INDEX: index.encode(), **{f"page/{name}": (folder / name).read_bytes() for name in SCRIPTS}}
