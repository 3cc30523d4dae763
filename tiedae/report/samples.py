"""The section on golden samples: input, Keras output, int8 output; worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tiedae.base.numbers import number
from tiedae.bundle.fidelity import column_names
from tiedae.bundle.manifest import Manifest
from tiedae.config.sample_spec import SampleSpec
from tiedae.program.tensors import flat

from .images import diverging, encode_images
from .pages import fragment
from .pages.charts import Bar, FoldedBars, SignalChart
from .spectra import spectra
from .waveforms import TimeAxes, Waveform

WORST, SPREAD = 8, 16
"""Number of samples with the largest errors, and of samples spread over the others."""
WINDOWS = 6
"""Of samples drawn over time: worst ones, and typical ones."""
IMAGE_BYTES = 600_000
DIFFERENCE = RESIDUAL = "int8 − input"
INPUTS = ("input", "noisy input")
"""Without noise, and with that of the recipe."""
SHOWN = 16
"""Columns or channels with a bar at first; the others are folded."""


@dataclass(frozen=True, eq=False)
class DrawnSamples:
    """`values` by kind (`input`, `keras`, `ours`), [n, inputs], not scaled; `squared` errors of the last two, in scaled
    values; `labels` by kind; `spec` of a sample.
    """

    values: Mapping[str, np.ndarray]
    squared: Mapping[str, np.ndarray]
    labels: Mapping[str, str]
    spec: SampleSpec

    @cached_property
    def errors(self) -> Mapping[str, list[float]]:
        """The error of each sample by kind of output."""
        return {kind: each.sum(axis=1).tolist() for kind, each in self.squared.items()}

    @cached_property
    def order(self) -> list[int]:
        """The samples, worst first."""
        return np.argsort(np.negative(self.errors["ours"]), kind="stable").tolist()

    @property
    def residual(self) -> np.ndarray:
        return self.values["ours"] - self.values["input"]


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
        {kind: np.square(y - wanted) for kind, y in outputs.items()},
        {"input": INPUTS[manifest.recipe.is_noisy], "keras": keras, "ours": "int8 program"},
        data.spec,
    )
    table, image = data.kind == "table", data.kind == "image" and is_image(data.shape)
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        count=len(x),
        noisy=manifest.recipe.is_noisy,
        samples=samples,
        columns=_columns(samples) if table else None,
        images=_images(samples) if image else None,
        windows=None if table or image else _windows(samples),
    )


def is_image(shape: Sequence[int]) -> bool:
    """Whether a shape is (h, w), (h, w, 1) or (h, w, 3) with sides of 4 or more."""
    return (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) and min(shape[:2]) >= 4


def _images(samples: DrawnSamples) -> dict[str, object]:
    """The worst samples and others as data URIs by (sample, row).

    Black to white is 0…255 for bytes, else the range of the inputs.
    """
    worst, rest = samples.order[:WORST], samples.order[WORST:][::-1]
    spread = [rest[i] for i in np.unique(np.linspace(0, len(rest) - 1, SPREAD).round().astype(int))] if rest else []
    shape, given = samples.spec.shape, samples.values["input"]
    side = shape[:2] if shape[2:] == (1,) else shape
    low, high = (0.0, 255.0) if samples.spec.dtype == "uint8" else (given.min(), given.max())
    images: dict[tuple[int, str], np.ndarray] = {}
    for i in (*worst, *spread):
        levels = {k: ((values[i] - low) / ((high - low) or 1.0)).reshape(side) for k, values in samples.values.items()}
        images |= {(i, samples.labels[k]): np.rint(255 * np.clip(at, 0, 1)).astype(np.uint8) for k, at in levels.items()}
        difference = levels["ours"] - levels["input"]
        images[i, DIFFERENCE] = diverging(2 * (difference.mean(axis=2) if difference.ndim == 3 else difference))
    return {
        "uris": dict(zip(images, encode_images(list(images.values()), IMAGE_BYTES), strict=True)),
        "groups": {f"The {len(worst)} worst of {len(given)}": worst, "Others, from the best to the worst": spread},
        "rows": [*samples.labels.values(), DIFFERENCE],
    }


def _columns(samples: DrawnSamples) -> dict[str, object]:
    """Bars of each column's error, and a table of the worst samples."""
    given, ours, errors = samples.values["input"], samples.values["ours"], samples.errors
    names = column_names(samples.spec.columns, samples.spec.inputs)
    off, spread = np.abs(samples.residual), given.std(axis=0)
    furthest = np.divide(off, spread, out=off.copy(), where=spread > 0).argmax(axis=1)
    rows = []
    for i in samples.order[:WORST]:
        at = furthest[i]
        pair = f"{number(given[i, at])} → {number(ours[i, at])}"
        rows.append((i, number(errors["ours"][i]), number(errors["keras"][i]), names[at], pair))
    keras = samples.labels["keras"]
    header = ("sample", f"error, {samples.labels['ours']}", f"error, {keras}", "worst column", "input → output")
    return {"bars": _error_bars(names, samples.values, keras), "header": header, "worst": rows}


def _error_bars(names: Sequence[str], values: Mapping[str, np.ndarray], keras: str, unit: str = "") -> FoldedBars:
    """The root mean squared error of each column of `values`, [n, columns], relative to its standard deviation."""
    given = values["input"]
    rmse = {kind: np.sqrt(np.square(values[kind] - given).mean(axis=0)) for kind in ("keras", "ours")}
    spread = given.std(axis=0)
    relative = np.divide(rmse["ours"], spread, out=np.zeros_like(spread), where=spread > 0)
    order: list[int] = np.lexsort((-rmse["ours"], -relative)).tolist()
    return FoldedBars(
        [
            Bar(
                names[int(i)],
                relative[i],
                f"{100 * relative[i]:.3g} %" if spread[i] > 0 else "never changes",
                "ours",
                f"error {number(rmse['ours'][i])}{unit}, {keras} {number(rmse['keras'][i])}{unit}; values from "
                f"{number(given[:, i].min())} to {number(given[:, i].max())}{unit}",
            )
            for i in order
        ],
        SHOWN,
    )


def _windows(samples: DrawnSamples) -> dict[str, object]:
    """The worst samples and typical ones over time; of a record, the error of each channel and time step, and spectra."""
    axes, order = TimeAxes(samples.spec), samples.order
    count, channels = axes.drawn(WINDOWS, 2), axes.channels(samples.values["input"], samples.residual)
    worst, rest = order[:count], order[count:]
    middle = max(0, (len(rest) - count) // 2)
    typical = rest[middle : middle + count]
    groups = {f"The {len(worst)} worst of {len(order)}": worst, "Typical ones, of about the median error": typical}
    drawn = {
        title: axes.panels(_waveforms(samples, part), channels, axes.in_unit(RESIDUAL), sections=2)
        for title, part in groups.items()
        if part
    }
    legend = [*samples.labels.items(), ("residual", RESIDUAL)]
    if samples.spec.kind != "record":
        return {"groups": drawn, "legend": legend, "channels": None, "steps": None, "spectra": []}
    by_channel = {kind: axes.by_channel(each).reshape(-1, samples.spec.channels) for kind, each in samples.values.items()}
    unit = f" {axes.spec.signal.unit_of_measure}".rstrip()
    curves = {kind: samples.values[kind] for kind in ("input", "ours")} | {"residual": samples.residual}
    return {
        "groups": drawn,
        "legend": legend,
        "channels": _error_bars(axes.names, by_channel, samples.labels["keras"], unit),
        "steps": SignalChart(
            {kind: axes.by_channel(each).mean(axis=(0, 2)) for kind, each in samples.squared.items()},
            axes.x,
            "Mean squared error of each time step",
            axes.x_title,
            "mean squared error, in scaled values",
            150,
        ),
        "spectra": spectra(axes, curves, channels),
    }


def _waveforms(samples: DrawnSamples, indices: Sequence[int]) -> list[Waveform]:
    ours, keras = samples.errors["ours"], samples.errors["keras"]
    return [
        Waveform(
            f"sample {i}: error {number(ours[i])}, Keras {number(keras[i])}",
            {kind: values[i] for kind, values in samples.values.items()},
            samples.residual[i],
        )
        for i in indices
    ]
