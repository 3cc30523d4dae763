"""Dtypes of text: the narrowest that holds the numbers of a .csv file, and numbers in a dtype that is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from tiedae.base.errors import DataError
from tiedae.config.config import TextType

from .arrays import Arrays

NARROW: Sequence[TextType] = ("int16", "uint16", "float32", "float64")
"""What `auto` chooses from, in this order. Not uint8, whose scale is that of pixels."""
DIGITS = 6
"""Decimal digits that float32 holds."""


def in_dtype(arrays: Arrays, dtype: TextType, path: object) -> Arrays:
    """Arrays of a .csv file, float64, in a dtype; auto: in the narrowest that holds them.

    Raises DataError, naming file, row and column, for a value that a stated dtype does not hold; floats are rounded.
    """
    values = arrays.values
    if dtype != "auto":
        _require_held(arrays, dtype, path)
    return replace(arrays, values=values.astype(narrowest(values) if dtype == "auto" else dtype))


def narrowest(values: np.ndarray) -> TextType:
    """The first of `NARROW` that holds all values, float64; values that are not finite are held by floats alone."""
    return next(name for name in NARROW if name == "float64" or _held(values, name).all())


def stated(dtype: str) -> TextType:
    """A dtype of samples as a key of [data]; auto for one that text is not read in."""
    return next((name for name in get_args(TextType) if name == dtype), "auto")


def _held(values: np.ndarray, dtype: TextType) -> np.ndarray:
    """Which values a dtype holds: whole numbers in its range, or of float32 those of `DIGITS` digits, or its own."""
    if dtype != "float32":
        return _whole(values, dtype)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        places = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        short = np.abs(np.rint(values * places) / places - values) <= 1e-12 * np.abs(values)
        single = values.astype(np.float32)
    return np.isfinite(single) & (short | (single == values)) | ~np.isfinite(values)


def _whole(values: np.ndarray, dtype: TextType) -> np.ndarray:
    limits = np.iinfo(dtype)
    return (values >= limits.min) & (values <= limits.max) & (np.trunc(values) == values)


def _require_held(arrays: Arrays, dtype: TextType, path: object) -> None:
    values = arrays.values
    if dtype.startswith("float"):
        wrong, right = np.isfinite(values) & (np.abs(values) > float(np.finfo(dtype).max)), f"within the range of {dtype}"
    else:
        limits = np.iinfo(dtype)
        wrong, right = ~_whole(values, dtype), f"a whole number in {limits.min}…{limits.max}, of {dtype}"
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        name = arrays.columns[column] if arrays.columns else column + 1
        stretch, first = _file_of(arrays, row)
        where = f"{path}{stretch}: row {row - first + 1}, column {name} is {values[row, column]:.17g}"
        raise DataError(f"{where}, must be {right}, as the data to train on are (`dtype` in [data])")


def _file_of(arrays: Arrays, row: int) -> tuple[str, int]:
    """The file of a folder that a row is of, and its first row."""
    first = 0
    for part in arrays.parts:
        if row < first + part.rows:
            return (f"/{part.file}" if part.file else ""), first
        first += part.rows
    return "", 0
