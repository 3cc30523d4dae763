"""Samples over time: channels, axes, spectra, and what is folded; the section of a record on the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.config.sample_spec import SampleSpec, Signal
from tiedae.report.pages.charts import Bar, FoldedBars
from tiedae.report.spectra import power_density
from tiedae.report.waveforms import FOLDED, SHOWN, TimeAxes, Waveform

from .drawn import render_card, render_report
from .html_tables import section

AXES = ("ax", "ay", "az", "gx", "gy", "gz")


def axes(shape: tuple[int, ...], **signal: Any) -> TimeAxes:
    return TimeAxes(SampleSpec(shape, "float32", kind="record", signal=Signal(**signal)))


def record_parts(make_parts: Callable, shape: tuple[int, ...], **signal: Any) -> tuple:
    """The parts of a bundle whose data are a record."""
    manifest, metrics, *arrays = make_parts(shape, "float32", "minmax")
    manifest["data"] |= {"kind": "record", "signal": signal}
    return manifest, metrics, *arrays


def test_values_of_a_sample_are_time_steps_of_channels() -> None:
    values = np.arange(2 * 5 * 3).reshape(2, 15)
    of = axes((5, 3), rate=100.0)
    assert of.by_channel(values)[1, 2].tolist() == [21, 22, 23] and of.by_channel(values).shape == (2, 5, 3)
    assert of.x.tolist() == [0, 0.01, 0.02, 0.03, 0.04] and of.x_title == "seconds"
    assert of.names == ["channel 0", "channel 1", "channel 2"]
    assert axes((5,)).x_title == "time step" and axes((5,)).x.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("channels", [1, 2, 40])
def test_a_panel_has_the_curves_of_one_channel_and_their_error_below(channels: int) -> None:
    rng = np.random.default_rng(0)
    of = axes((700, channels) if channels > 1 else (700,), unit_of_measure="mV")
    x, y = rng.normal(size=(2, 3, 700 * channels))
    x[:, 1::channels] *= 1e-3  # the largest relative errors
    waves = [Waveform(f"sample {i}", {"input": x[i], "ours": y[i]}, y[i] - x[i]) for i in range(3)]
    groups = of.panels(waves, of.channels(x, y - x), "ours − input")
    assert [group.heading for group in groups] == ([""] if channels == 1 else ["sample 0", "sample 1", "sample 2"])
    panels = groups[0].panels if channels == 1 else groups[2].panels
    assert [len(group.folded) for group in groups][-1] == (FOLDED if channels == 40 else 0)
    assert len(panels) == {1: 3, 2: 2, 40: SHOWN}[channels]
    of_channel = {panel.caption: panel for panel in panels}
    name, at = ("sample 2", 0) if channels == 1 else ("channel 1", 1)
    above, below = of_channel[name].charts
    np.testing.assert_array_equal(above.curves["input"], x[2, at::channels])
    np.testing.assert_array_equal(below.curves["residual"], (y - x)[2, at::channels])
    assert above.y_title == "mV" and below.y_title == "ours − input" and below.x_title == "time step"
    for line in above.drawn:
        assert (line.x[0], line.x[-1]) == (0, 1000) and len(line.x) <= above.points + 2 < 700, "thinned, but for its extremes"
    highest = above.frame.line("", [0], [above.curves["input"].max()]).y[0]
    assert min(above.drawn[0].y) == pytest.approx(highest, abs=0.06)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 65), st.floats(0.1, 1e4), st.integers(0, 99))
def test_the_power_of_a_spectrum_is_that_of_the_tapered_windows(count: int, rate: float, seed: int) -> None:
    """Parseval's theorem; the power at 0, which is not drawn, aside."""
    windows = np.random.default_rng(seed).normal(3, 2, (5, count, 2))
    frequencies, density = power_density(windows, rate)
    taper = np.hanning(count + 1)[:-1, None]
    tapered = (windows - windows.mean(axis=1, keepdims=True)) * taper
    power = (np.square(tapered).sum(axis=1) - np.square(tapered.sum(axis=1)) / count).mean(axis=0) / np.square(taper).sum()
    np.testing.assert_allclose(density.sum(axis=0) * rate / count, power, rtol=1e-9)
    assert len(frequencies) == count // 2 and frequencies[0] == pytest.approx(rate / count)


def test_a_tone_has_its_power_at_its_frequency() -> None:
    t = np.arange(512) / 100
    frequencies, density = power_density(np.stack([3 * np.sin(2 * np.pi * 12.5 * t + p) for p in (0, 1, 2)]), 100)
    assert frequencies[density.argmax()] == pytest.approx(12.5)
    assert density.sum() * 100 / 512 == pytest.approx(3**2 / 2, rel=1e-3)


def test_a_record_of_channels_is_drawn_over_seconds_in_its_unit(make_parts: Callable) -> None:
    parts = record_parts(make_parts, (100, 6), channel_names=AXES, rate=50.0, unit_of_measure="m/s²")
    page = render_report(*parts)
    text = section(page, "reconstructions")
    assert "<img" not in text
    assert len(re.findall("<h4>sample ", text)) == 6 and len(re.findall("<h3>", text)) == 5
    for title in ("The 3 worst of 64", "Typical ones", "Error per channel", "Error over time", "Spectra"):
        assert f"<h3>{title}" in text
    assert text.count("<figcaption>ay</figcaption>") == 7
    assert '<p class="axis up">m/s²</p>' in text and "m/s²² / Hz" not in text and "(m/s²)² / Hz (logarithmic)" in text
    assert "seconds" in text and "time step</p>" not in text and ">Hz</p>" in text
    labels = re.findall('aria-label="(.*?)"', text)
    assert len(labels) == 2 * 36 + 7 and len(set(labels)) == len(labels)
    sample = "100 time steps of 6 channels (ax, ay, az, gx, gy, gz) at 50 Hz in m/s²"
    assert f"{sample}, float32" in page and f"A sample is {sample}, float32" in render_card(*parts[:2])


def test_the_worst_windows_come_first_and_typical_ones_have_the_median_error(make_parts: Callable) -> None:
    manifest, metrics, *arrays = record_parts(make_parts, (64,))
    errors = [
        float(error)
        for error in re.findall(r"<figcaption>sample \d+: error ([\d.]+)", render_report(manifest, metrics, *arrays))
    ]
    assert len(errors) == 12 and errors[:6] == sorted(errors[:6], reverse=True) and min(errors[:6]) > max(errors[6:])
    manifest["data"]["signal"] = {"rate": 1e3}
    text = section(render_report(manifest, metrics, *arrays), "reconstructions")
    assert text.count("channel 0") == 1, "the bar of its error alone"
    assert "value² / Hz" in text


@pytest.mark.parametrize("shape", [(4000,), (1000, 6), (200, 64), (7, 3), (1,)], ids=str)
def test_a_page_of_long_windows_and_many_channels_stays_small(make_parts: Callable, shape: tuple[int, ...]) -> None:
    page = render_report(*record_parts(make_parts, shape))
    assert len(page) < 1_000_000
    text = section(page, "reconstructions")
    assert ("Spectra" in text) == (shape[0] >= 8)
    channels = shape[1] if len(shape) > 1 else 1
    assert f"{min(FOLDED, channels - SHOWN)} more channels" in text or channels <= SHOWN
    assert len(re.findall("<td class=n>", text)) == channels


def test_a_signal_that_never_changes_is_drawn(make_parts: Callable) -> None:
    manifest, metrics, golden, *rest = record_parts(make_parts, (32, 2))
    golden["x"][:, 1::2] = 0
    page = render_report(manifest, metrics, golden, *rest)
    assert "never changes" in page and "nan" not in page and "inf" not in re.findall('points="(.*?)"', page)


def test_bars_beyond_the_fold_are_counted() -> None:
    bars = FoldedBars([Bar(str(i), 1, "", "ours") for i in range(1024)], 16)
    assert (len(bars.first.bars), len(bars.more.bars), bars.left) == (16, 200, 808)
