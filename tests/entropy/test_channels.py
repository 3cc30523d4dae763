"""Records of several channels: the order of values, links, and what they are worth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import FormatError, InputError
from tiedae.config.sample_spec import INTEGERS, Integer, SampleSpec
from tiedae.entropy.channels import COUNT, Links, Waves, fit_links, unexplained
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.residuals import ContextTables, ResidualCoder, fit_residuals

from . import residual_reference as reference
from .test_residuals import golden_tables, samples_of


def links_of(channels: int, seed: int, largest: int) -> Links:
    """Random links with weights up to a magnitude, and the most negative one."""
    rng = np.random.default_rng(seed)
    others = np.array([rng.choice([k for k in range(channels) if k != own], COUNT) for own in range(channels)])
    distances = others - np.arange(channels)[:, None]
    lags = np.maximum(0, distances + 1) + rng.integers(0, 20, others.shape)
    weights = rng.integers(-largest - 1, largest, others.shape, endpoint=True)
    weights[:, 0] = -largest - 1
    return Links(distances.astype(np.int8), lags.astype(np.uint8), weights.astype(np.int32))


def coder_of(shape: tuple[int, ...], dtype: Integer, links: Links) -> ResidualCoder:
    weights = np.random.default_rng(0).integers(-9000, 9000, (links.channels, 16)).astype(np.int16)
    return ResidualCoder("record", shape, dtype, dataclasses.replace(golden_tables("record", links), weights=weights))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 3), st.integers(1, 3))
def test_each_value_has_a_place_in_a_wave_and_comes_back(steps: int, channels: int, samples: int, lanes: int) -> None:
    waves = Waves(steps, channels)
    frames = np.arange(1, lanes * samples * steps * channels + 1).reshape(lanes, samples, steps * channels)
    split = waves.split(frames)
    assert split.shape == (samples * waves.count, channels, lanes)
    np.testing.assert_array_equal(waves.joined(split), frames)
    places = [(wave, k) for wave in range(len(split)) for k in range(*waves.active(wave).indices(channels))]
    assert places == [tuple(place) for place in np.argwhere(split[:, :, 0]).tolist()]
    for wave, k in places:
        time = waves.times(wave)[k - waves.active(wave).start]
        assert split[wave, k, 0] == frames[0].ravel()[time * channels + k]


GOLDEN = {
    (0, False): "64e60900bbe11ba2503f3f7fbfe285e3aece5d3f9dff9df6c7fe9bdf87c713efe4cf58bfe7fe03d7aebe80fe",
    (3, True): "5812be0cbc03fca9800a0c1f",
}
"""Payloads of three samples of four steps of two channels. They hold the format."""


@pytest.mark.parametrize(("bound", "with_y"), GOLDEN)
def test_golden_bytes(bound: int, with_y: bool) -> None:
    number = np.arange(2 * COUNT).reshape(2, COUNT)
    distances = np.where(number < COUNT, 1, -1).astype(np.int8)
    links = Links(
        distances, (number % 5 + 2 * (distances > 0)).astype(np.uint8), (number * 7919 % 200_003 - 100_001).astype(np.int32)
    )
    made = ResidualCoder("record", (4, 2), "int16", golden_tables("record", links))
    ramp = np.arange(24).reshape(3, 8)
    x = (ramp * ramp % 91 + ramp).astype(np.int16)
    y = [(x // 16 * 16).astype(np.int16)] if with_y else None
    assert made.encode([x], bound, y)[0].hex() == GOLDEN[bound, with_y]
    (found,) = made.decode([bytes.fromhex(GOLDEN[bound, with_y])], [3], bound, y)
    assert np.abs(found.astype(int) - x).max() <= bound


@given(
    st.integers(2, 8),
    st.integers(1, 9),
    st.sampled_from(INTEGERS),
    st.sampled_from(("random", "extremes", "walk", "impulses")),
    st.sampled_from((1, 1 << 20, (1 << 31) - 1)),
    st.sampled_from((0, 1, 40, 65535)),
    st.integers(0, 99),
)
def test_any_links_decode_as_the_specification_says(
    channels: int, steps: int, dtype: Integer, content: str, largest: int, bound: int, seed: int
) -> None:
    """Sums of large weights are limited, the same in both."""
    made, limits = coder_of((steps, channels), dtype, links_of(channels, seed, largest)), np.iinfo(dtype)
    frames = [samples_of(content, (count, made.inputs), dtype, seed) for count in (3, 1, 3)]
    payloads = made.encode(frames, bound)
    for payload, frame, got in zip(payloads, frames, made.decode(payloads, [3, 1, 3], bound), strict=True):
        assert np.abs(got.astype(int) - frame).max() <= bound
        blank = np.zeros(frame.shape, int).tolist()
        ends = int(limits.min), int(limits.max)
        assert got.tolist() == reference.decode("record", made.shape, ends, made.part, payload, len(frame), bound, blank)


def delayed(steps: int, lag: int) -> np.ndarray:
    """Two channels [steps, 2, 3 lanes]: a walk of white changes, and three quarters of it `lag` steps later."""
    walk = np.random.default_rng(0).integers(-400, 401, (steps + lag, 3)).cumsum(axis=0)
    return np.stack([walk[lag:], walk[:steps] * 3 // 4], axis=1)


@pytest.mark.parametrize(("lag", "flipped"), [(0, False), (3, False), (20, False), (2, True), (20, True)])
def test_links_find_a_channel_that_another_one_leads(lag: int, flipped: bool) -> None:
    series = delayed(3000, lag)[:, ::-1] if flipped else delayed(3000, lag)
    links, k = fit_links(series), 0 if flipped else 1
    strongest = np.abs(links.weights[k].astype(int)).argmax()
    assert links.distances[k, strongest] == (1 if flipped else -1)
    assert links.lags[k, strongest] == lag
    assert links.weights[k, strongest] / 2**20 == pytest.approx(0.75, abs=0.01)
    left = np.diff(unexplained(series, links)[:, k], axis=0)[lag + 1 :]
    assert np.abs(left).mean() < 3 < 0.1 * np.abs(np.diff(series[:, k], axis=0)).mean()


@pytest.mark.ci
def test_channels_together_take_less_than_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    walk = rng.integers(-40, 41, 24_000).cumsum()[:, None] * [1, -2, 0.5] + rng.normal(0, 2, (24_000, 3))
    x = np.clip(walk, -32000, 32000).astype(np.int16)
    sizes = []
    for part in (x, *(x[:, k : k + 1] for k in range(3))):
        windows = part.reshape(-1, 60 * part.shape[1])
        made = fit_residuals("record", (60, part.shape[1]) if part.shape[1] > 1 else (60,), windows[:200], 50)
        sizes.append(sum(map(len, made.encode(np.split(windows[200:], 4), 0))))
    assert sizes[0] < 0.73 * sum(sizes[1:])


def test_one_channel_in_two_axes_is_coded_as_in_one() -> None:
    x = samples_of("walk", (40, 12), "int16", 3)
    one, two = (fit_residuals("record", shape, x, 8) for shape in ((12,), (12, 1)))
    assert one.part.to_bytes() == two.part.to_bytes()
    assert one.encode([x], 1) == two.encode([x], 1)


def changed(links: Links, field: str, value: int) -> bytes:
    """The bytes of links whose first link has another value."""
    values = getattr(links, field).copy()
    values[0, 0] = value
    broken = object.__new__(Links)
    for each in ("distances", "lags", "weights"):
        object.__setattr__(broken, each, values if each == field else getattr(links, each))
    return broken.to_bytes()


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("distances", 0, "each must be to another one of 3 channels"),
        ("distances", -1, "each must be to another one of 3 channels"),
        ("distances", 3, "each must be to another one of 3 channels"),
        ("lags", 1, "a lag must be above the distance of a later channel"),
    ],
)
def test_links_that_there_cannot_be_are_refused(field: str, value: int, text: str) -> None:
    links = links_of(3, 0, 9)
    first = np.full((3, COUNT), 1)
    first[1:] = -1
    links = Links(first.astype(np.int8), np.full((3, COUNT), 2, np.uint8), links.weights)
    part = golden_tables("record", links)
    made = coder_of((4, 3), "int16", links)
    spec, written = SampleSpec((4, 3), "int16", kind="record"), ResidualTables(made, made).to_bytes()
    assert ResidualTables.from_bytes(spec, written, "m.residuals").to_bytes() == written
    data = part.to_bytes().replace(links.to_bytes(), changed(links, field, value))
    with pytest.raises(FormatError, match=rf"^m\.residuals: damaged: links: {text}$"):
        ContextTables.from_bytes(data, "m.residuals", 3)


def test_links_of_other_channels_are_refused() -> None:
    part = golden_tables("record", links_of(3, 0, 9))
    with pytest.raises(InputError, match=r"^links: got those of 3 channels, must be of 2$"):
        ResidualCoder("record", (4, 2), "int16", part)
    with pytest.raises(FormatError, match=r"^m\.residuals: not the tables of residuals$"):
        ContextTables.from_bytes(part.to_bytes()[:200], "m.residuals", 3)
