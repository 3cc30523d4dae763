"""Sizes of frames and of what is decoded together, to the value."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiedae.codec.container import FrameSpan
from tiedae.codec.header import MOST_BYTES, MOST_SAMPLES, FileKind, Header, most_per_frame
from tiedae.codec.reader import groups, together
from tiedae.config.sample_spec import SampleSpec


@pytest.mark.parametrize(
    ("shape", "dtype", "most"),
    [
        ((64,), "uint8", MOST_SAMPLES),
        ((10_000,), "float64", MOST_BYTES // 80_000),
        ((MOST_BYTES // 4,), "float32", 1),
        ((MOST_BYTES,), "float32", 1),
    ],
)
def test_a_frame_holds_samples_of_64_mib_at_most(shape: tuple[int, ...], dtype: str, most: int) -> None:
    assert most_per_frame(SampleSpec(shape, dtype)) == most


@example([9000, 8000, 192, 1], 24)
@given(st.lists(st.integers(1, 9000), max_size=12), st.sampled_from([24, 5000, 7400]))
def test_frames_are_decoded_together_up_to_the_limit_and_not_one_less(counts: list[int], sample_bytes: int) -> None:
    header = Header(bytes(8), sample_bytes, 9000, FileKind.LOSSY, 0.0)
    firsts = itertools.accumulate([0, *counts])
    frames = [FrameSpan(first, count, 10 * i, 10) for i, (first, count) in enumerate(zip(firsts, counts, strict=False))]
    found, most = [list(group) for group in groups(header, frames)], together(header)
    assert [frame for group in found for frame in group] == frames
    sums = [sum(frame.samples for frame in group) for group in found]
    assert all(total <= most or len(group) == 1 for total, group in zip(sums, found, strict=True))
    assert all(total + group[0].samples > most for total, group in zip(sums, found[1:], strict=False))
