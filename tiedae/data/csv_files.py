"""Tables of numbers: .csv files, by the headings of their columns."""

from __future__ import annotations

import csv
import difflib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tiedae.base.errors import DataError, FormatError, listed
from tiedae.base.files import open_regular

from .arrays import Arrays, group_names
from .clocks import is_clock, is_named_like_time, rate_of, seconds_of

LABELS = ("label", "class", "target", "y")
"""Headings that `label` auto recognizes, in any case."""


MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
"""Cells without a value, in lower case."""


def read_csv(
    path: Path, columns: Sequence[str] = (), *, drop: Sequence[str] = (), label: str = "auto", time: str = "", groups: str = ""
) -> Arrays:
    """Rows of numbers separated by comma, semicolon or tab; line 1 is a heading if none of its cells is a number.

    `columns`: the features, in this order; default: all columns except `drop`, the label, `time` and `groups`. `label`: the
    column of the labels; auto: the one with a heading in `LABELS` that is not in `columns` (y beside x is a coordinate); empty:
    none. Labels are float64 [n], or as written if one is text; groups are text. `time`: the column of the rows' times, which
    gives the rate; empty: a column of times is no feature unless `columns` has it. Other columns may hold anything.
    """
    try:
        with _open(path) as file:
            first = file.readline()
            delimiter, names = _delimiter(first), _cells(first)
            heading = _is_heading(names)
            if not heading:
                file.seek(0)
            stated = {"columns": columns, "drop": drop, "label": label, "time": time, "groups": groups}
            if heading and not columns:
                stated["drop"] = [*drop, *(name for name in read_clocks(path) if name not in (*drop, label, groups, time))]
            chosen = _choose(path, [name.strip() for name in names] if heading else None, stated)
            texts: dict[int, list[str]] = {index: [] for index in chosen.texts}
            converters: dict[int | str, Callable[[str], float]] = dict.fromkeys(chosen.ignored, lambda _: 0.0)
            converters |= {index: partial(_add_text, cells) for index, cells in texts.items()}
            try:
                with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an empty file, see below
                    values = np.loadtxt(file, comments=None, delimiter=delimiter, converters=converters, ndmin=2, quotechar='"')
            except ValueError:
                _explain_csv(path, delimiter, heading, chosen)
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is not text in UTF-8, must be .csv") from None
    except csv.Error as error:
        raise FormatError(f"{path}: is damaged or not a table of numbers ({error})") from None
    if values.size == 0:
        raise DataError(f"{path}: holds no row of numbers")
    if not heading:
        return Arrays(values)
    if len(names) != values.shape[1]:
        raise DataError(f"{path}: line 1 has {len(names)} values, line 2 has {values.shape[1]}; must be the same number")
    times = None if chosen.time is None else seconds_of(path, time, texts[chosen.time])
    return Arrays(
        values[:, chosen.features],
        _encoded(texts, chosen.label),
        columns=tuple(chosen.names[i] for i in chosen.features),
        label=None if chosen.label is None else chosen.names[chosen.label],
        groups=None if chosen.groups is None else group_names(path, groups, np.array(texts[chosen.groups])),
        rate=0.0 if times is None else rate_of(path, time, times),
        begin=0.0 if times is None else float(times[0]),
    )


def _add_text(cells: list[str], cell: str) -> float:
    if not cell.strip():
        raise ValueError("empty")
    cells.append(cell.strip())
    return 0.0


def _encoded(texts: Mapping[int, list[str]], index: int | None) -> np.ndarray | None:
    """The cells of a column as float64, or as text where one is none."""
    if index is None:
        return None
    try:
        return np.array([float(cell) for cell in texts[index]])
    except ValueError:
        return np.array(texts[index])


@dataclass(frozen=True)
class _Columns:
    """The headings of a .csv file, and the indices of its features, its label, its times and its groups."""

    names: Sequence[str]
    features: Sequence[int]
    label: int | None = None
    time: int | None = None
    groups: int | None = None

    @cached_property
    def texts(self) -> frozenset[int]:
        """The columns that may hold text."""
        return frozenset(index for index in (self.label, self.groups, self.time) if index is not None)

    @cached_property
    def ignored(self) -> frozenset[int]:
        return frozenset(range(len(self.names))).difference(self.features, self.texts)


def _open(path: Path, errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors=errors, newline="")


def read_headings(path: Path) -> list[str]:
    """The headings of a .csv file, [] without a heading."""
    with _open(path, errors="replace") as file:
        names = [name.strip() for name in _cells(file.readline())]
    return names if _is_heading(names) else []


def read_columns(path: Path, names: Collection[str]) -> dict[str, list[str]]:
    """The cells of columns with these headings, as text, those of rows that are too short left out."""
    with _open(path, errors="replace") as file:
        delimiter = _delimiter(file.readline())
        file.seek(0)
        headings, *rows = csv.reader(file, delimiter=delimiter)
    places = {name.strip(): place for place, name in enumerate(headings) if name.strip() in names}
    return {name: [row[place].strip() for row in rows if len(row) > place] for name, place in places.items()}


def read_clocks(path: Path) -> list[str]:
    """The headings of columns of times: those that are named like it, and never fall or are dates."""
    named = [name for name in read_headings(path) if is_named_like_time(name)]
    return [name for name, cells in read_columns(path, named).items() if is_clock(cells)] if named else []


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)), [])


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _is_heading(names: Sequence[str]) -> bool:
    return bool(names) and all(_number(cell) is None for cell in names)


def _choose(path: Path, names: Sequence[str] | None, stated: Mapping[str, Any]) -> _Columns:
    """Select the features, the label, times and groups by `stated`; DataError for unknown names and ambiguous selections."""
    columns, drop, label = stated["columns"], stated["drop"], stated["label"]
    if names is None:
        for key, value in {**stated, "label": "" if label == "auto" else label}.items():
            if value:
                raise DataError(f"{path}: line 1 is not a heading, which `{key}` in [data] requires; add one, or leave it out")
        return _Columns((), ())
    counts, places = Counter(names), {name: i for i, name in enumerate(names)}

    def place(key: str, name: str) -> int:
        """The index of the one heading `name`; DataError, with the closest match, if it is missing or a duplicate."""
        if counts[name] == 1:
            return places[name]
        if name in places:
            raise DataError(f"{path}: {counts[name]} columns are named {name!r}; must be one for `{key}` in [data]")
        folded = {heading.lower(): heading for heading in reversed(names)}
        close = difflib.get_close_matches(name.lower(), folded, 1)
        right = f"did you mean {folded[close[0]]}?" if close else f"there are {listed(names)}"
        raise DataError(f"{path}: no column {name!r}, which `{key}` in [data] names; {right}")

    index = place("label", label) if label not in ("", "auto") else None
    time, groups = (place(key, stated[key]) if stated[key] else None for key in ("time", "groups"))
    dropped = {place("drop", name) for name in drop} | {time, groups}
    if columns:
        features = [place("columns", name) for name in columns]
    else:
        features = [i for i in range(len(names)) if i != index and i not in dropped]
    if label == "auto":
        lower = [name.lower() for name in names]
        known = {*LABELS} - ({"y"} if "x" in lower else set())
        candidates = [i for i, name in enumerate(lower) if name in known and i not in dropped]
        chosen = set(features if columns else ())
        found = [i for i in candidates if i not in chosen]
        if len(found) > 1 and not columns:
            named = " and ".join(names[i] for i in found)
            right = 'name one as `label` in [data], or `label = ""` to train on all'
            raise DataError(f"{path}: {named} are named like labels; {right}")
        index = found[0] if len(found) == 1 else None
        features = [i for i in features if i != index]
    for i in features:
        if not names[i]:
            right = 'must have a name, be left out of `columns`, or be dropped (`drop = [""]` in [data])'
            raise DataError(f"{path}: line 1, column {i + 1} has no name (the index of a table?); {right}")
        if counts[names[i]] > 1:
            raise DataError(f"{path}: {counts[names[i]]} columns are named {names[i]!r}; must be each name once")
    if not features:
        raise DataError(f"{path}: no column of {len(names)} is left to train on")
    return _Columns(names, features, index, time, groups)


def _explain_csv(path: Path, delimiter: str, heading: bool, chosen: _Columns) -> NoReturn:
    """Raise DataError for the first invalid cell or row."""
    with _open(path) as file:
        rows = csv.reader(file, delimiter=delimiter)
        names = next(rows) if heading else []
        width, width_line = (len(names), 1) if heading else (0, 0)
        missing = Counter[int]()
        first = ""
        for row in rows:
            if not row:
                continue
            width, width_line = (width, width_line) if width else (len(row), rows.line_num)
            if len(row) != width:
                got = f"line {rows.line_num} has {len(row)} values, line {width_line} has {width}"
                raise DataError(f"{path}: {got}; must be the same number")
            for column, cell in enumerate(row):
                where = f"line {rows.line_num}, column {column + 1}" + (f" ({names[column]})" if heading else "")
                if column in chosen.texts and not cell.strip():
                    kind = {chosen.label: "label", chosen.time: "time"}.get(column, "group")
                    raise DataError(f"{path}: {where} is empty, must be a {kind}")
                if column in chosen.texts or column in chosen.ignored:
                    continue
                if cell.strip().lower() in MISSING:
                    missing[column] += 1
                    first = first or f"{where}: {cell!r}"
                elif _number(cell) is None:
                    out = f', or left out: `drop = ["{names[column].strip()}"]` in [data]' if heading else ""
                    raise DataError(f"{path}: {where}: {cell!r} is not a number, must be one{out}")
    if not missing:
        raise DataError(f"{path}: is not a table of numbers")
    counts = {names[column].strip() if heading else f"column {column + 1}": count for column, count in sorted(missing.items())}
    dropped = ", ".join(f'"{name}"' for name in counts)
    remedy = f"; fill them in, or leave the columns out: `drop = [{dropped}]` in [data]" if heading else ""
    text = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
    raise DataError(f"{path}: {first} is not a number, must be one; missing values: {text}{remedy}")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
