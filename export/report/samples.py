"""The golden samples: what went in, what the Keras model and the int8 program make of it, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...compress.affine import Quantization
from ...compress.data import Scaling
from .charts import legend, plot
from .columns import render_column_errors
from .figures import escape, number, region
from .key_figures import Row
from .pictures import diverging, pictures

WORST, SPREAD = 8, 16
"""How many samples are shown: those with the largest errors, and some from the best to those."""
PICTURE_BYTES = 600_000
ROW = 8
"""Samples beside each other."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What is drawn: `values` by kind (`input`, `keras`, `ours`), [n, inputs] in the user's unit.

    `errors`, n numbers, of the latter two; `labels` by kind; `shape` and `dtype` of a sample.
    """

    values: Mapping[str, np.ndarray]
    errors: Mapping[str, Sequence[float]]
    labels: Mapping[str, str]
    shape: tuple[int, ...]
    dtype: str


def render_samples(manifest: Row, golden: Mapping[str, np.ndarray], *, data: Row, keras: str) -> str:
    """The section of the report: pictures, curves of records, or the columns of a table; `keras` names the model that y.f32
    comes from, `data` describes the samples (`kind` and `columns`, where they are known)."""
    scaling = Scaling.from_json(manifest["data"]["scaling"])
    x = golden["x"].reshape(len(golden["x"]), -1)
    stated = manifest["tensors"]["y"]
    quantization = Quantization(stated["scale"], stated["zero_point"])
    outputs = {
        "keras": golden["y.f32"],
        "ours": quantization.dequantize(quantization.from_port(golden["y"])),
    }
    wanted = scaling.apply(x).astype(np.float64)
    samples = Samples(
        {"input": x.astype(np.float64)} | {kind: scaling.invert(y, np.float64) for kind, y in outputs.items()},
        {kind: np.square(y - wanted).sum(axis=1).tolist() for kind, y in outputs.items()},
        {"input": "input", "keras": keras, "ours": "int8 program"},
        tuple(manifest["data"]["shape"]),
        manifest["data"]["dtype"],
    )
    order = np.argsort(np.negative(samples.errors["ours"]), kind="stable")
    worst, rest = order[:WORST], order[WORST:][::-1]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, SPREAD).round().astype(int))] if len(rest) else rest
    groups = {f"The {len(worst)} worst of {len(x)}": worst, "Others, from the best to the worst": spread}
    if data_kind(data, manifest) == "table":
        drawn = render_column_errors(samples.values, samples.errors, data.get("columns"), worst.tolist(), samples.labels)
    else:
        drawn = (_as_pictures if is_picture(samples.shape) else _as_plots)(groups, samples)
    intro = (
        f"{len(x)} test samples (golden/x.npy): what went in, what the model {escape(keras)} makes of it, and what the int8 "
        "program makes of it. Errors are squared and summed over a sample, in model units."
    )
    return f"<p>{intro}</p>\n{drawn}"


def data_kind(data: Row, manifest: Row) -> str | None:
    """`images`, `table` or `record`, as `data` says; what earlier manifests leave open follows from their recipe, else None."""
    if "kind" in data or is_picture(data["shape"]):
        return data.get("kind", "images")
    recipe = manifest.get("recipe", {}).get("data")
    return None if recipe is None else "record" if recipe.get("window") or data["dtype"] == "uint8" else "table"


def is_picture(shape: Sequence[int]) -> bool:
    """(h, w), (h, w, 1) and (h, w, 3) from four pixels a side are pictures; everything else is drawn as curves."""
    return (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) and min(shape[:2]) >= 4


def _as_pictures(groups: Mapping[str, np.ndarray], samples: Samples) -> str:
    """Pictures of the samples in each group (title: indices), byte data black to white at 0…255."""
    shape = samples.shape[:2] if samples.shape[2:] == (1,) else samples.shape
    given = samples.values["input"]
    low, high = (0.0, 255.0) if samples.dtype == "uint8" else (given.min(), given.max())
    span = (high - low) or 1.0
    rows = [*samples.labels.values(), "int8 − input"]
    images = []
    for i in np.concatenate(list(groups.values())):
        levels = [((values[i] - low) / span).reshape(shape) for values in samples.values.values()]
        images += [np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8) for level in levels]
        difference = levels[-1] - levels[0]
        images.append(diverging(2 * (difference.mean(axis=2) if difference.ndim == 3 else difference)))
    sources = iter(pictures(images, PICTURE_BYTES))
    first = "".join(f"<i>{escape(row)}</i>" for row in rows) + "<figcaption>error, int8<br>Keras</figcaption>"
    parts = []
    for title, indices in groups.items():
        strips = []
        for start in range(0, len(indices), ROW):
            cells = [f"<figure>{first}</figure>"]
            for i in indices[start : start + ROW]:
                shown = "".join(f'<img src="{next(sources)}" alt="sample {i}, {escape(row)}">' for row in rows)
                caption = f"{number(samples.errors['ours'][i])}<br>{number(samples.errors['keras'][i])}"
                cells.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
            strips.append(f'<div class="samples" style="--ratio: {shape[1]} / {shape[0]}">\n' + "\n".join(cells) + "\n</div>")
        drawn = "\n".join(region(strip, f"{title}, strip {n} of {len(strips)}") for n, strip in enumerate(strips, 1))
        parts.append(f"<h3>{escape(title)}</h3>\n{drawn}" if strips else "")
    note = "The last row is the difference: blue too bright, orange too dark, white equal; full colour at half the range."
    return "\n".join(parts) + f'\n<p class="soft">{note}</p>'


def _as_plots(groups: Mapping[str, np.ndarray], samples: Samples) -> str:
    """Curves of the samples in each group, the reconstructions over the input."""
    parts = [legend(list(samples.labels.items()))]
    for title, indices in groups.items():
        cells = []
        for i in indices:
            drawn = plot({kind: values[i] for kind, values in samples.values.items()}, label=f"sample {i}: input and outputs")
            error = f"error {number(samples.errors['ours'][i])}, Keras {number(samples.errors['keras'][i])}"
            given = samples.values["input"][i]
            bounds = f"input from {number(given.min())} to {number(given.max())}"
            cells.append(f"<figure>{drawn}<figcaption>{error}<br>{bounds}</figcaption></figure>")
        if cells:
            parts.append(f'<h3>{escape(title)}</h3>\n<div class="plots">\n' + "\n".join(cells) + "\n</div>")
    return "\n".join(parts)
