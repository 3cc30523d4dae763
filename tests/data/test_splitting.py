import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import DataError
from tiedae.data.splitting import WINDOW_BLOCKS, epoch_order, split_rows

SEEDS = st.none() | st.integers(0, 3)
FRACTIONS = st.lists(st.floats(0, 0.3), min_size=1, max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 300), FRACTIONS, SEEDS)
def test_every_row_is_in_one_part_and_the_seed_fixes_which(n, fractions, seed):
    parts, again = (split_rows(n, fractions, "x", seed=seed) for _ in range(2))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert [rows.tolist() for rows in parts] == [rows.tolist() for rows in again]
    assert all((np.diff(rows) > 0).all() for rows in parts)
    assert [len(rows) for rows in parts[1:]] == [max(1, round(n * fraction)) if fraction else 0 for fraction in fractions]


def test_without_a_seed_the_last_rows_are_split_off():
    train, validation, test = split_rows(10, (0.2, 0.3), "x", seed=None)
    assert (train.tolist(), validation.tolist(), test.tolist()) == ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])


def test_too_few_rows_are_named():
    with pytest.raises(DataError, match="x: holds 2 samples; with 2 split off none is left to train on"):
        split_rows(2, (0.1, 0.1), "x", seed=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(0, 5), st.integers(0, 3), st.integers(0, 40))
def test_an_epoch_holds_every_sample_once_in_a_fixed_order(n, seed, epoch, block):
    order = epoch_order(n, seed, epoch, block)
    assert sorted(order.tolist()) == list(range(n))
    np.testing.assert_array_equal(order, epoch_order(n, seed, epoch, block))


def test_epochs_and_seeds_differ():
    orders = [epoch_order(1000, seed, epoch, block).tolist() for seed in (0, 1) for epoch in (0, 1) for block in (0, 10)]
    assert len({tuple(order) for order in orders}) == 8


def test_reads_of_a_memory_map_stay_within_a_window_and_are_shuffled_in_it():
    block, n = 8, 100 * 8 * WINDOW_BLOCKS
    order = epoch_order(n, 0, 0, block)
    assert all(len(np.unique(window // block)) == WINDOW_BLOCKS for window in order.reshape(100, -1))
    assert (np.diff(order) == 1).mean() < 0.05
