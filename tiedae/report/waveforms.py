"""Samples over time: a panel for each sample of one channel, or for each channel of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiedae.config.sample_spec import SampleSpec

from .pages.charts import SignalChart

SHOWN, FOLDED = 6, 6
"""Channels drawn at first, and in a fold; those of larger errors before others."""
PANELS, POINTS = 40, 30_000
"""Most panels of a section outside folds, and points of all its curves: the size of the page."""
MOST, FEWEST = 512, 64
"""Points of a curve."""
LOW = 64
"""Height of the chart below a waveform, in pixels."""


Channels = tuple[Sequence[int], Sequence[int]]
"""Those drawn at first, and in the fold."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Charts below each other over the same x."""

    caption: str
    charts: Sequence[SignalChart]


@dataclass(frozen=True, eq=False)
class PanelGroup:
    """Panels below a heading, which may be empty; those of further channels in a fold."""

    heading: str
    panels: Sequence[Panel]
    folded: Sequence[Panel] = ()


@dataclass(frozen=True, eq=False)
class Waveform:
    """One sample: `curves` by CSS class and, below them, the `error` of each value, all [inputs]; `caption`: what it is."""

    caption: str
    curves: Mapping[str, np.ndarray]
    error: np.ndarray


@dataclass(frozen=True)
class TimeAxes:
    """How samples of `spec` are drawn: those of a record over time, by channel; others as one curve over their values."""

    spec: SampleSpec

    @property
    def names(self) -> Sequence[str]:
        """Of the channels."""
        return self.spec.signal.channel_names or [f"channel {i}" for i in range(self.spec.channels)]

    @property
    def unit(self) -> str:
        """The unit of measure, or `value`."""
        return self.spec.signal.unit_of_measure or "value"

    def in_unit(self, text: str) -> str:
        """`text (mV)`, or the text alone where the unit is unknown."""
        unit = self.spec.signal.unit_of_measure
        return f"{text} ({unit})" if unit else text

    @cached_property
    def x(self) -> np.ndarray:
        """Seconds where the rate is known, else the number of the time step, float64 [t]."""
        return np.arange(self.spec.inputs // self.spec.channels) / (self.spec.signal.rate or 1.0)

    @property
    def x_title(self) -> str:
        return "seconds" if self.spec.signal.rate else "time step" if self.spec.kind == "record" else "value"

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Values [..., inputs] as float64 [..., t, channels]."""
        return values.reshape(*values.shape[:-1], -1, self.spec.channels).astype(np.float64)

    def drawn(self, wanted: int, sections: int = 1) -> int:
        """How many of the `wanted` samples each of several sections of a page draws."""
        return max(1, min(wanted, PANELS // (sections * min(self.spec.channels, SHOWN))))

    def channels(self, x: np.ndarray, errors: np.ndarray) -> Channels:
        """The channels drawn at first and in the fold: those with the largest errors relative to the deviation of x.

        Both [n, inputs]; each part in the order of the data.
        """
        given, left = self.by_channel(x), self.by_channel(errors)
        deviation, rms = given.std(axis=(0, 1)), np.sqrt(np.square(left).mean(axis=(0, 1)))
        order = np.argsort(-rms / np.where(deviation > 0, deviation, 1.0), kind="stable").tolist()
        return sorted(order[:SHOWN]), sorted(order[SHOWN : SHOWN + FOLDED])

    def panels(
        self, waveforms: Sequence[Waveform], channels: Channels, error_title: str, *, sections: int = 1
    ) -> list[PanelGroup]:
        """Groups of panels: one of all samples where there is one channel, else one for each sample.

        `error_title`: of the axis of the errors; `sections`: how many such lists a page has.
        """
        curves = (len(waveforms[0].curves) + 1) * len(waveforms) * sum(map(len, channels)) * sections
        points = min(MOST, max(FEWEST, POINTS // curves))
        groups = [
            PanelGroup(wave.caption, *([self._panel(wave, i, error_title, points) for i in part] for part in channels))
            for wave in waveforms
        ]
        return [PanelGroup("", [group.panels[0] for group in groups])] if self.spec.channels == 1 else groups

    def _panel(self, wave: Waveform, channel: int, error_title: str, points: int) -> Panel:
        caption, title = wave.caption, wave.caption
        if self.spec.channels > 1:
            caption = self.names[channel]
            title = f"{wave.caption}, {caption}"
        curves = {kind: self.by_channel(curve)[:, channel] for kind, curve in wave.curves.items()}
        errors, below = {"residual": self.by_channel(wave.error)[:, channel]}, f"{title}: {error_title}"
        return Panel(
            caption,
            (
                SignalChart(curves, self.x, title, "", self.unit, points=points),
                SignalChart(errors, self.x, below, self.x_title, error_title, LOW, points=points),
            ),
        )
