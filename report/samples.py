"""The section on golden samples: input, Keras output, int8 output; worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from tiedae.bundle.fidelity import column_names
from tiedae.bundle.manifest import Manifest
from tiedae.compress.numbers import number
from tiedae.program.tensors import flat

from .images import diverging, encode_images
from .pages import fragment
from .pages.charts import Bar, BarChart, Plot

WORST, SPREAD = 8, 16
"""Number of samples with the largest errors, and of samples spread over the others."""
IMAGE_BYTES = 600_000
DIFFERENCE = "int8 − input"
INPUTS = ("input", "noisy input")
"""Without noise, and with that of the recipe."""
SHOWN = 16
"""Columns of a table drawn at first; the others are folded."""


@dataclass(frozen=True, eq=False)
class DrawnSamples:
    """`values` by kind (`input`, `keras`, `ours`), [n, inputs], not scaled; `errors` [n] of the last two; `labels` by
    kind; `shape` and `dtype` of a sample.
    """

    values: Mapping[str, np.ndarray]
    errors: Mapping[str, Sequence[float]]
    labels: Mapping[str, str]
    shape: tuple[int, ...]
    dtype: str

    def plot(self, i: int) -> Plot:
        """Input and reconstructions of sample `i`."""
        return Plot({kind: values[i] for kind, values in self.values.items()}, f"sample {i}: input and outputs")


def render_samples(manifest: Manifest, golden: Mapping[str, np.ndarray], *, keras: str) -> Markup:
    """The section of the report: images, curves of records, or columns of a table; `keras` names the model of y.f32."""
    data, quantization = manifest.data, manifest.tensors.y
    scaling, x = data.scaling, flat(golden["x"])
    io = manifest.io
    ours = quantization.dequantize(quantization.from_io(io.scaled_values(flat(golden["y"]))))
    outputs = {"keras": io.floats.scaled_values(flat(golden["y.f32"])), "ours": ours}
    wanted = scaling.apply(io.samples(x)).astype(np.float64)
    samples = DrawnSamples(
        {"input": x.astype(np.float64)} | {kind: scaling.invert(y, np.float64) for kind, y in outputs.items()},
        {kind: np.square(y - wanted).sum(axis=1).tolist() for kind, y in outputs.items()},
        {"input": INPUTS[manifest.recipe.is_noisy], "keras": keras, "ours": "int8 program"},
        data.shape,
        data.dtype,
    )
    order = np.argsort(np.negative(samples.errors["ours"]), kind="stable")
    worst, rest = order[:WORST].tolist(), order[WORST:][::-1]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, SPREAD).round().astype(int))].tolist() if len(rest) else []
    table = data.kind == "table"
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        count=len(x),
        noisy=manifest.recipe.is_noisy,
        samples=samples,
        groups={f"The {len(worst)} worst of {len(x)}": worst, "Others, from the best to the worst": spread},
        rows=[*samples.labels.values(), DIFFERENCE],
        columns=_columns(samples, data.columns, worst) if table else None,
        images=_images(samples, [*worst, *spread]) if data.kind == "images" and is_image(samples.shape) else None,
    )


def is_image(shape: Sequence[int]) -> bool:
    """Whether a shape is (h, w), (h, w, 1) or (h, w, 3) with sides of 4 or more."""
    return (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) and min(shape[:2]) >= 4


def _images(samples: DrawnSamples, indices: Iterable[int]) -> dict[tuple[int, str], str]:
    """Data URIs by (sample, row); black to white is 0…255 for bytes, else the range of the inputs."""
    shape = samples.shape[:2] if samples.shape[2:] == (1,) else samples.shape
    given = samples.values["input"]
    low, high = (0.0, 255.0) if samples.dtype == "uint8" else (given.min(), given.max())
    images: dict[tuple[int, str], np.ndarray] = {}
    for i in indices:
        levels = {k: ((values[i] - low) / ((high - low) or 1.0)).reshape(shape) for k, values in samples.values.items()}
        images |= {(i, samples.labels[k]): np.rint(255 * np.clip(at, 0, 1)).astype(np.uint8) for k, at in levels.items()}
        difference = levels["ours"] - levels["input"]
        images[i, DIFFERENCE] = diverging(2 * (difference.mean(axis=2) if difference.ndim == 3 else difference))
    return dict(zip(images, encode_images(list(images.values()), IMAGE_BYTES), strict=True))


def _columns(samples: DrawnSamples, names: Sequence[str] | None, worst: Sequence[int]) -> dict[str, object]:
    """Charts of each column's error relative to its standard deviation, and a table of the worst samples."""
    given, ours, errors = samples.values["input"], samples.values["ours"], samples.errors
    keras = samples.labels["keras"]
    called = column_names(names, given.shape[1])
    rmse = {kind: np.sqrt(np.square(samples.values[kind] - given).mean(axis=0)) for kind in ("keras", "ours")}
    spread = given.std(axis=0)
    relative = np.divide(rmse["ours"], spread, out=np.zeros_like(spread), where=spread > 0)
    bars = [
        Bar(
            called[i],
            relative[i],
            f"{100 * relative[i]:.3g} %" if spread[i] > 0 else "never changes",
            "ours",
            f"error {number(rmse['ours'][i])}, {keras} {number(rmse['keras'][i])}; values from {number(given[:, i].min())} to "
            f"{number(given[:, i].max())}",
        )
        for i in np.lexsort((-rmse["ours"], -relative))
    ]
    off = np.abs(ours - given)
    furthest = np.divide(off, spread, out=off.copy(), where=spread > 0).argmax(axis=1)
    rows = []
    for i in worst:
        at = furthest[i]
        pair = f"{number(given[i, at])} → {number(ours[i, at])}"
        rows.append((i, number(errors["ours"][i]), number(errors["keras"][i]), called[at], pair))
    header = ("sample", f"error, {samples.labels['ours']}", f"error, {keras}", "worst column", "input → output")
    return {"first": BarChart(bars[:SHOWN]), "more": BarChart(bars[SHOWN:]), "header": header, "worst": rows}
