"""One page around a package of `package`: `web_page`. docs/guides/web.md describes it."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError
from tiedae.base.unseen import visible

from .package import WebModel

INDEX = "index.html"
DATA = "data.mjs"
SCRIPTS = (
    "app.mjs",
    "draw.mjs",
    "files.mjs",
    "microphone.mjs",
    "numbers.mjs",
    "pad.mjs",
    "photo.mjs",
    "recorder.mjs",
    "result.mjs",
    "samples.mjs",
    "style.css",
    "view.mjs",
)
"""The page's own files beside `INDEX` and `DATA`, in the folder `page`."""

TITLES = {"anomaly": "anomaly detection", "denoising": "denoising"}
DESCRIPTIONS = {
    "compression": "{values} become {units} numbers of {bits} bits, and come back, in this browser.",
    "anomaly": "Scores {values} by the error of their reconstruction from {units} numbers of {bits} bits, in this browser.",
    "denoising": "Removes noise from {values}, through {units} numbers of {bits} bits, in this browser.",
    "reduction": "{values} become codes of {units} numbers of {bits} bits, in this browser.",
}
"""What the page says of a model, by the kind of its task."""


@dataclass(frozen=True)
class Shown:
    """Samples that the page shows in place of the golden ones, [n, inputs] in the data's dtype: the first of `total` in the
    source `name`. `clean`: what a denoising model shall give for them, or None. `note`: what was done with them.

    Raises DataError for another number of clean samples.
    """

    name: str
    total: int
    data: np.ndarray
    clean: np.ndarray | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.clean is not None and len(self.clean) != len(self.data):
            raise DataError(f"{self.name}: got {len(self.clean)} clean samples, must be {len(self.data)}, one for each")


def web_page(model: WebModel, *, time: str = "", shown: Shown | None = None, tiled: bool = False) -> dict[str, bytes]:
    """The files by path, all of which a browser fetches, beside those of the package. `time`: the column of the times of a
    record's .csv files. `tiled`: samples are patches, which a picture is cut into."""
    spec, code = model.spec, model.golden.code
    bits = model.program.quantization("code").bits
    text = DESCRIPTIONS[model.task].format(values=f"{spec.text} ({spec.dtype})", units=code.shape[1], bits=bits)
    name = model.source.name
    title = f"{name}: {TITLES.get(model.task, 'a tied autoencoder')}"
    folder = Path(__file__).parent / "page"
    index = (folder / INDEX).read_text(encoding="utf-8")
    for key, value in {"NAME": name, "TITLE": title, "DESCRIPTION": text}.items():
        index = index.replace(key, html.escape(visible(value)))
    facts = _data(model, time, shown) | ({"tiled": True} if tiled else {})
    data = f"export default {json.dumps(facts, allow_nan=False)};\n"
    scripts = {f"page/{name}": (folder / name).read_bytes() for name in SCRIPTS}
    return {INDEX: index.encode(), f"page/{DATA}": data.encode(), **scripts}


def _data(model: WebModel, time: str, shown: Shown | None) -> dict[str, object]:
    """What the page alone knows: the signal, the kind of score, and the samples that are shown first."""
    signal, detector = model.spec.signal, model.detector
    names = list(signal.channel_names) or [f"channel {i}" for i in range(model.spec.channels)]
    facts = {"named": bool(signal.channel_names), "channels": names, "rate": signal.rate, "unit": signal.unit_of_measure}
    first = None
    if shown is not None:
        clean = None if shown.clean is None else _encoded(shown.clean)
        first = {"name": shown.name, "total": shown.total, "note": shown.note, "data": _encoded(shown.data), "clean": clean}
    return {"signal": facts | {"time": time}, "score": None if detector is None else detector.scoring.kind, "shown": first}


def _encoded(values: np.ndarray) -> str:
    """Values in base64; JavaScript has no float16."""
    stored = values.astype(np.float32) if values.dtype == np.float16 else np.ascontiguousarray(values)
    return base64.b64encode(stored.tobytes()).decode()
