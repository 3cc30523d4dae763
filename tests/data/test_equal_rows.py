"""Sources with many equal samples: no sample is in two splits; others are split as they always were."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.data.dataset import Dataset, split
from tiedae.data.equal_rows import equal_rows
from tiedae.data.samples import Samples
from tiedae.data.splitting import split_rows


def rows(count: int, copies: int = 1, width: int = 8) -> np.ndarray:
    different = np.random.default_rng(1).random((count, width)).astype(np.float32)
    return np.random.default_rng(2).permutation(np.repeat(different, copies, axis=0))


def test_copies_of_a_sample_are_in_one_split() -> None:
    data = Dataset.from_array(rows(20, 30), test=0.1, validation=0.1)
    assert data.validation is not None
    held = [{row.tobytes() for row in part.take(slice(None))} for part in (data.train, data.validation, data.test)]
    assert [len(each) for each in held] == [16, 2, 2]
    assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]


@pytest.mark.parametrize(
    "values",
    [rows(500), np.concatenate([rows(400), rows(1, 100)]), rows(4, 100), np.zeros((50, 3), np.uint8)],
    ids=["different", "a fifth are equal", "a categorical table", "all equal"],
)
def test_other_samples_are_split_as_before(values: np.ndarray) -> None:
    samples = Samples(values)
    assert equal_rows(samples) is None
    parts = split(samples, (0.1, 0.2), "x", seed=3)
    for part, expected in zip(parts, split_rows(len(values), (0.1, 0.2), "x", seed=3), strict=True):
        assert part is not None and np.array_equal(part.places(np.arange(len(part))), expected)


def test_the_last_samples_are_held_out_as_they_are() -> None:
    train, test = split(Samples(rows(20, 30)), (0.25,), "x", seed=None)
    assert train is not None and test is not None and (len(train), len(test)) == (450, 150)


def test_equal_rows_have_one_number() -> None:
    values = rows(20, 30)
    numbers = equal_rows(Samples(values))
    assert numbers is not None
    same = (values[:, None] == values).all(axis=2)
    assert np.array_equal(numbers[:, None] == numbers, same)
