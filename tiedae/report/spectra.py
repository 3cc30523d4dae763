"""Power spectral densities of signals and of their residuals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .pages.charts import SMALLEST, SignalChart
from .waveforms import MOST, Channels, Panel, PanelGroup, TimeAxes

SHORTEST = 8
"""Time steps of a window that has a spectrum."""
FLOOR = 1e-12
"""Of the largest power: what is smaller is drawn there."""


def power_density(windows: np.ndarray, rate: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies [t // 2] in Hz above 0, and the one-sided power density at each, [t // 2, ...] in squared units per Hz.

    `windows`: [n, t, ...], `rate` in time steps per second. The periodograms of the windows are averaged, each with its mean
    removed and tapered by a Hann window (P. Welch, "The use of fast Fourier transform for the estimation of power spectra",
    IEEE Transactions on Audio and Electroacoustics 15, 1967).
    """
    count = windows.shape[1]
    taper = np.hanning(count + 1)[:-1].reshape(-1, *[1] * (windows.ndim - 2))
    spectrum = np.fft.rfft((windows - windows.mean(axis=1, keepdims=True)) * taper, axis=1)
    density = np.square(np.abs(spectrum)).mean(axis=0) * 2 / (rate * np.square(taper).sum())
    density[-1] /= 2 - count % 2
    return np.fft.rfftfreq(count, 1 / rate)[1:], density[1:]


def spectra(axes: TimeAxes, values: Mapping[str, np.ndarray], channels: Channels) -> list[PanelGroup]:
    """A panel per channel with the density of each of `values`, by CSS class, [n, inputs]."""
    if len(axes.x) < SHORTEST:
        return []
    rate = axes.spec.signal.rate
    per, x_title = ("Hz", "Hz") if rate else ("cycle per step", "cycles per time step")
    curves = {kind: power_density(axes.by_channel(each), rate or 1.0) for kind, each in values.items()}
    unit = f"{axes.unit if axes.unit.isalpha() else f'({axes.unit})'}² / {per}"

    def panel(channel: int) -> Panel:
        name = axes.names[channel] if axes.spec.channels > 1 else ""
        densities = {kind: density[:, channel] for kind, (_, density) in curves.items()}
        lowest = max(FLOOR * max(density.max() for density in densities.values()), SMALLEST)
        shown = {kind: np.maximum(density, lowest) for kind, density in densities.items()}
        frequencies, title = next(iter(curves.values()))[0], f"power spectral density {name}".rstrip()
        return Panel(name, (SignalChart(shown, frequencies, title, x_title, unit, 150, logarithmic=True, points=MOST),))

    return [PanelGroup("", *([panel(i) for i in part] for part in channels))]
