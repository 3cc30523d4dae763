"""Normal samples are chosen by their labels, of whatever type these are."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.base.errors import DataError
from tiedae.compress import Dataset
from tiedae.config.tasks import MOST_INPUTS, Anomaly, Compression, held_out_samples
from tiedae.data.labels import label_text
from tiedae.data.normal import is_normal, normal_only, require_detectable

X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
LABELS = np.arange(100) % 4
TEXTS = [
    ("1_000", "1_000"),
    (2**53 + 1, "9007199254740993"),
    ("9007199254740993", "9007199254740993"),
    ("-0", "0"),
    ("nan", "nan"),
]
"""Labels that Python's float takes for others, or rounds."""


@pytest.mark.parametrize(
    ("labels", "normal"),
    [
        (LABELS, (1, 3)),
        (LABELS.astype(np.float64), (1, "3")),
        (LABELS.astype(np.float32), ("1.0", 3)),
        (LABELS.astype(np.str_), (1, "3")),
        (np.array(["ant", "bee", "cat", "dog"])[LABELS], ("bee", " dog")),
    ],
)
def test_labels_of_any_type_are_compared_by_what_they_say(labels: np.ndarray, normal: tuple[int | str, ...]) -> None:
    np.testing.assert_array_equal(
        is_normal(labels, tuple(str(each).strip() if " " in str(each) else each for each in normal)), LABELS % 2 == 1
    )


def test_without_stated_labels_0_and_normal_are() -> None:
    assert is_normal(np.array([0, 1, 2])).tolist() == [True, False, False]
    assert is_normal(np.array([False, True])).tolist() == [True, False]
    assert is_normal(np.array(["normal", "crack"])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("label", "text"), [(3, "3"), (3.0, "3"), ("3.0", "3"), (0.5, "0.5"), (True, "1"), (" a", "a"), *TEXTS]
)
def test_text_of_a_label(label: object, text: str) -> None:
    assert label_text(label) == text


def test_training_and_validation_keep_normal_samples_and_the_test_all() -> None:
    data = Dataset.from_array(X, labels=LABELS, test=0.2, validation=0.2)
    found = normal_only(data, (2,), "x")
    for part, before in ((found.train, data.train), (found.validation, data.validation)):
        assert part is not None and before is not None and part.labels is not None and before.labels is not None
        assert set(part.labels.tolist()) == {2} and len(part) == np.count_nonzero(before.labels == 2)
        np.testing.assert_array_equal(part.take(slice(None)), X[part.rows])
        np.testing.assert_array_equal(LABELS[part.rows], part.labels)
    assert found.test is data.test and found.scaling == data.scaling
    assert normal_only(found, (2,), "x").train.sha256 == found.train.sha256, "twice is once"
    assert normal_only(data, (), "x") is data


def test_labels_that_are_not_there_are_named() -> None:
    data = Dataset.from_array(X, labels=LABELS)
    with pytest.raises(DataError, match=r"x: no training sample has the label 'ant' of task.normal, must be among 0, 1, 2, 3$"):
        normal_only(data, (1, "ant"), "x")
    with pytest.raises(DataError, match=r"x: has no labels, must have those of task.normal: 1"):
        normal_only(Dataset.from_array(X), (1,), "x")


@pytest.mark.parametrize(("quantile", "least"), [(0.99, 100), (0.9, 10), (0.999, 1000), (0.5, 2), (0.95, 20), (0.01, 2)])
def test_a_quantile_needs_samples_beyond_it(quantile: float, least: int) -> None:
    assert held_out_samples(quantile) == least


def test_too_few_held_out_samples_are_refused() -> None:
    data = Dataset.from_array(X, labels=LABELS, validation=0.4)
    require_detectable(data, Compression(), "x")
    require_detectable(data, Anomaly(0.975), "x")
    with pytest.raises(DataError, match=r"x: has 40 held-out normal samples, must be 50 or more for task.quantile 0.98; raise"):
        require_detectable(data, Anomaly(0.98), "x")
    with pytest.raises(DataError, match="has 0 held-out"):
        require_detectable(Dataset.from_array(X), Anomaly(0.5), "x")


def test_samples_of_too_many_values_are_refused_before_training() -> None:
    wide = Dataset.from_array(np.eye(4, MOST_INPUTS + 1, dtype=np.uint8), validation=0.5)
    require_detectable(wide, Compression(), "x")
    with pytest.raises(DataError, match=r"x: has 65,537 values per sample, must be at most 65,536 with \[task\] anomaly"):
        require_detectable(wide, Anomaly(0.5), "x")
