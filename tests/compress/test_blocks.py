"""Blocks of an array's rows: all of them once, in order, whatever the shape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiedae.compress.blocks import VALUES, blocks


@given(st.lists(st.integers(0, 300), min_size=1, max_size=3).map(tuple))
def test_blocks_are_the_rows_once_in_order(shape):
    values = np.broadcast_to(np.int8(0), shape)
    parts = list(blocks(values))
    assert [row for part in parts for row in range(len(values))[part]] == list(range(len(values)))
    assert all(values[part].size <= max(VALUES, values[:1].size) for part in parts)
    assert len(parts) <= 1 + 2 * values.size // VALUES or values[:1].size > VALUES // 2
