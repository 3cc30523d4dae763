"""Whether rows follow each other in time, beside the same rows in another order."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.pipeline.suggesting.order import are_windows, channels_of_rows, order_of_rows

from ..samples import shared_data


def test_pictures_stay_pictures() -> None:
    x = np.random.default_rng(0).random((300, 12, 12)).cumsum(axis=1).cumsum(axis=2)
    smooth = x - x.mean(axis=0)
    assert not are_windows(smooth) and not are_windows(np.random.default_rng(0).random((300, 64, 3)))
    assert are_windows(np.random.default_rng(0).standard_normal((300, 64, 3)).cumsum(axis=1))


def test_a_sorted_table_and_rows_that_repeat_are_no_record() -> None:
    rng = np.random.default_rng(0)
    classes = np.sort(rng.integers(0, 3, 3000))
    assert not order_of_rows(classes[:, None] * 4 + rng.standard_normal((3000, 5))).in_time
    assert not order_of_rows(np.repeat(rng.standard_normal((600, 5)), 5, axis=0)).in_time
    assert order_of_rows(rng.standard_normal((3000, 5)).cumsum(axis=0)).in_time
    assert not order_of_rows(np.arange(3000)[:, None]).in_time  # a clock does not count


def test_a_vibration_of_a_quarter_of_the_rate_is_in_time() -> None:
    rng, t = np.random.default_rng(0), np.arange(6400)
    x = np.sin(np.pi / 2 * t[:, None] + rng.random(3)) + 0.2 * rng.standard_normal((6400, 3))
    order = order_of_rows(x)
    assert order.in_time and order.lag > 1 and f"rows {order.lag} apart" in order.text
    assert not order_of_rows(rng.permutation(x)).in_time


@pytest.mark.parametrize(("factor", "channels"), [(9, 1), (12, 0)])
def test_time_steps_whose_deviations_differ_by_more_than_10_are_no_window(factor: float, channels: int) -> None:
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (4000, 1))
    x = np.sin(np.linspace(0, 4 * np.pi, 31) + phases) * np.linspace(1, factor, 31)
    assert channels_of_rows(x) == channels


def test_channels_of_an_eeg_are_no_window() -> None:
    x = np.load(sorted(shared_data("sensors/eeg").glob("*.npy"))[0])
    assert order_of_rows(x).in_time and not channels_of_rows(np.random.default_rng(0).permutation(x)[:4000].astype(float))
