"""Labels of samples: which are among those that a recipe names, and samples without some of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from tiedae.base.errors import DataError, listed

from .samples import Samples

Label = int | str


def label_text(label: object) -> str:
    """A label in words, the same for 3, 3.0, "3" and True for 1."""
    text = str(int(label)) if isinstance(label, bool | np.bool_) else str(label).strip()
    if "_" in text:  # which Python allows between digits
        return text
    with suppress(ValueError):
        return str(int(text))
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def is_among(labels: np.ndarray, wanted: Sequence[Label]) -> np.ndarray:
    """Which labels [n] are among the wanted, bool [n]. Numbers compare as such: 3, 3.0 and "3" are one label."""
    names, members = np.unique(np.asarray(labels), return_inverse=True)
    texts = {label_text(label) for label in wanted}
    return np.array([label_text(name) in texts for name in names.tolist()], bool)[members.reshape(-1)]


def require_occurring(labels: np.ndarray | None, wanted: Sequence[Label], key: str, source: str, where: str = "sample") -> None:
    """Raise DataError, naming the source, where there are no labels, or none of one that `key` of a recipe states."""
    if labels is None:
        raise DataError(f"{source}: has no labels, must have those of {key}: {listed(wanted)}")
    texts = sorted({label_text(label) for label in np.unique(labels).tolist()})
    for label in wanted:
        if label_text(label) not in texts:
            raise DataError(f"{source}: no {where} has the label {label!r} of {key}, must be among {listed(texts)}")


def with_labels(samples: Samples, wanted: Sequence[Label]) -> Samples:
    """The samples with these labels."""
    return samples.select(np.flatnonzero(is_among(np.asarray(samples.labels), wanted)))


def without_labels(samples: Samples, dropped: Sequence[Label], source: str) -> Samples:
    """The samples without these labels; all of samples that have none. Raises DataError, naming the source, if none is left."""
    if not dropped or samples.labels is None:
        return samples
    kept = np.flatnonzero(~is_among(samples.labels, dropped))
    if not len(kept):
        raise DataError(f"{source}: data.drop_labels leaves none of {len(samples)} samples, must leave some")
    return samples.select(kept)
