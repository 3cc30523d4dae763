"""What a source seems to be: keys of `[data]` by the names of its columns, its files, and whether its rows follow in time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import DataError
from tiedae.base.numbers import counted
from tiedae.base.records import checked, within
from tiedae.config.config import DataConfig
from tiedae.data.arrays import Arrays
from tiedae.data.clocks import rate_of, seconds_of
from tiedae.data.csv_files import LABELS, read_clocks, read_columns, read_headings
from tiedae.data.data_sets import DATA_SETS
from tiedae.data.image_folders import PATCH, surveyed
from tiedae.data.readers import RECORDS, is_recordings
from tiedae.data.recordings import FILE, record_files, shortest
from tiedae.data.splitting import LEAST_GROUPS

from ..sources import read_source
from .choices import Chosen, window_of
from .order import (
    LEAST_ROWS,
    LEAST_STEPS,
    MOST_CHANNELS,
    Order,
    are_windows,
    channels_of_rows,
    order_of_rows,
)

SMALL_SIDE = 64
"""Pixels of the longer side up to which an image is a sample as it is."""
LEAST_PATCH = 4
"""Rows of a patch that is proposed, at least."""
MARKS = ("anomaly", "fault", "outlier", "is_")
"""What a heading of labels of 0 and 1 begins with, in any case."""
LOOKED_AT = 4_000
"""Samples whose time steps are looked at, at most."""
LEADING = 0.8
"""Fraction of the rows that are looked at: the last ones of a record are its test samples."""


def proposed(stated: Mapping[str, Any], source: str, task: str, base: Path, inputs: int = 0) -> dict[str, Chosen]:
    """The keys of `[data]` that a source suggests beside those that are stated, with reasons; raises as `load_dataset`.

    `inputs`: values that a trained model takes, which rows of as many are samples for; 0: there is none.
    """
    with within("data."):
        config = checked(DataConfig, {"source": source, **stated})
    path = base / Path(source)
    if source in DATA_SETS or not path.exists():
        return {}
    chosen = _of_pictures_in(path, config) | _of_folder(path, config, task) | _of_columns(path, config)
    keys = {
        key.removeprefix("data."): choice.value for key, choice in chosen.items() if key.removeprefix("data.") not in stated
    }
    config = replace(config, **{key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()})
    arrays, _ = read_source(config, base)
    chosen |= _dtype(arrays, path)
    if inputs and arrays.values.ndim == 2 and arrays.values.shape[1] == inputs:
        return {key: choice for key, choice in chosen.items() if key not in ("data.kind", "data.time")} | _not_a_channel(chosen)
    if config.kind == "auto" and config.patch is None and not (config.window or config.channels or arrays.rate):
        chosen |= _kind(arrays, task)
    kind = chosen["data.kind"].value if "data.kind" in chosen else config.kind
    if kind == "record" and not (config.window or "data.channels" in chosen):
        chosen |= _window(arrays, inputs)
    return chosen


def _of_folder(path: Path, config: DataConfig, task: str) -> dict[str, Chosen]:
    """Of a folder of recordings that it is a record, whose files are groups where there are enough."""
    if not is_recordings(path, config):
        return {}
    files = record_files(path, RECORDS)
    kind = {"data.kind": Chosen("record", f"a folder of {len(files):,} recordings")}
    labelled = len({file.parent for file in files}) > 1 and task == "anomaly"
    if len(files) < LEAST_GROUPS or labelled:  # a file has one label, but each group needs normal samples
        return kind
    return kind | {"data.groups": Chosen(FILE, "no recording is in two of training, validation and test samples")}


def _of_pictures_in(path: Path, config: DataConfig) -> dict[str, Chosen]:
    """Of a folder of photographs that they are cut into patches, and converted where some are gray and some RGB."""
    if not path.is_dir() or is_recordings(path, config):
        return {}
    survey = surveyed(path, config)
    chosen = {}
    if config.convert == "none" and {*survey.kinds} == {"gray", "RGB"}:
        text = "; ".join(part for part in survey.differences if part.startswith("modes"))
        chosen["data.convert"] = Chosen("rgb", f"images of several {text}", "gray is `gray`, a third of the values")
    sizes = [facts.size for facts in survey.facts.values()]
    if config.patch is None and not config.resize and sizes and min(map(max, sizes)) > SMALL_SIDE:
        smallest = min(sizes, key=min)
        patch = min(PATCH, *smallest)
        if patch >= LEAST_PATCH:
            text = f"{counted(len(sizes), 'picture')} of {smallest.width}×{smallest.height} pixels or more"
            right = "each is cut into patches, which share a split; a .tae file holds whole pictures"
            chosen["data.patch"] = Chosen(patch, f"{text}: {right}")
    return chosen


def _of_columns(path: Path, config: DataConfig) -> dict[str, Chosen]:
    """Of a .csv file, or a folder of them: the column of times, and one of labels of 0 and 1."""
    file = record_files(path, RECORDS)[0] if is_recordings(path, config) else path
    if file.suffix.lower() != ".csv":
        return {}
    return _time(file, config) | _label(file, config)


def _time(file: Path, config: DataConfig) -> dict[str, Chosen]:
    """The first column of times that never fall: `time` where it gives a rate, else one to drop."""
    if config.time or config.columns:
        return {}
    clocks = [name for name in read_clocks(file) if name not in (*config.drop, config.label, config.groups)]
    cells = read_columns(file, clocks)
    for name in clocks:
        times = seconds_of(file, name, cells[name])
        rate = _rate(file, name, times)
        if rate and len(times) >= LEAST_ROWS:
            text = f"times that grow by {1 / rate:.3g} s a row: no channel, and the rate of a record"
            kind = Chosen("record", f"rows are time steps: {name} grows by the same from row to row", _OTHER["table"])
            return {"data.time": Chosen(name, text), "data.kind": kind}
    if not clocks:
        return {}
    few = f"; {LEAST_ROWS} rows or more of equal steps would be a record" if len(cells[clocks[0]]) < LEAST_ROWS else ""
    return {"data.drop": Chosen([*config.drop, *clocks], f"times, no values to train on{few}")}


def _not_a_channel(chosen: Mapping[str, Chosen]) -> dict[str, Chosen]:
    """The column of times, to drop where rows are samples."""
    if "data.time" not in chosen:
        return {}
    return {"data.drop": Chosen([chosen["data.time"].value], "times, no values to train on")}


def _rate(file: Path, name: str, times: np.ndarray) -> float:
    """Rows per second; 0 where times jump."""
    try:
        return rate_of(file, name, times)
    except DataError:
        return 0.0


def _label(file: Path, config: DataConfig) -> dict[str, Chosen]:
    """A column of 0 and 1 that is named like a mark of anomalies, where no other is named like labels."""
    headings = read_headings(file)
    if config.label != "auto" or any(name.lower() in LABELS for name in headings):
        return {}
    named = [name for name in headings if name.lower().startswith(MARKS) and name not in (*config.columns, *config.drop)]
    marks = [name for name, cells in read_columns(file, named).items() if _is_mark(cells)]
    if len(marks) != 1:
        return {}
    return {"data.label": Chosen(marks[0], "0 and 1, named like a mark of anomalies: a label, not trained on")}


def _is_mark(cells: list[str]) -> bool:
    return bool(cells) and {cell.lower() for cell in cells} <= {"0", "1", "0.0", "1.0", "false", "true"}


def _dtype(arrays: Arrays, path: Path) -> dict[str, Chosen]:
    """The dtype that the numbers of .csv files are read in."""
    suffixes = {Path(part.file or path).suffix.lower() for part in arrays.parts}
    if suffixes != {".csv"}:
        return {}
    return {"data.dtype": Chosen(arrays.values.dtype.name, "the narrowest that holds every value; later files are read in it")}


def _kind(arrays: Arrays, task: str) -> dict[str, Chosen]:
    """Whether samples are windows, rows time steps of a record, or neither; nothing for what can be one kind alone."""
    values, named = arrays.values, arrays.columns is not None
    if values.ndim == 3:
        return _of_pictures(values)
    if values.ndim != 2:
        return {}
    many = arrays.labels is not None and task == "anomaly" and not _are_marks(arrays.labels)
    if not named and values.dtype != np.uint8 and (found := _of_rows(values)):
        return found
    if len(values) < LEAST_ROWS or values.shape[1] > MOST_CHANNELS or many:
        return {}
    order = _order(values)
    return _in_time(order) if order.in_time else _in_no_order(values)


def _window(arrays: Arrays, inputs: int) -> dict[str, Chosen]:
    """The window of a record [n, channels] without names and rate, whose rows could be windows that are cut already."""
    values = arrays.values
    if values.ndim != 2 or arrays.columns or arrays.rate or len(values) < LEAST_ROWS or values.shape[1] > MOST_CHANNELS:
        return {}
    if _of_rows(values) or not _order(values).in_time:
        return {}
    if inputs:
        return {"data.window": Chosen(max(1, inputs // values.shape[1]), "time steps that the model takes")}
    return {"data.window": window_of(len(values), shortest(arrays))}


def _order(values: np.ndarray) -> Order:
    return order_of_rows(values[: int(LEADING * len(values))])


def _are_marks(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "biuf" and bool(np.isin(labels, (0, 1)).all())


_OTHER = {
    "record": 'the other choice: kind = "record" takes rows for time steps, columns for channels',
    "table": 'the other choice: kind = "table" takes each row for a sample of its own',
    "image": 'the other choice: kind = "image" takes both axes for those of a picture',
    "windows": 'the other choice: kind = "record" takes the first axis of a sample for time, the second for channels',
}


def _in_time(order: Order) -> dict[str, Chosen]:
    return {"data.kind": Chosen("record", f"rows are time steps: {order.text}", _OTHER["table"])}


def _in_no_order(values: np.ndarray) -> dict[str, Chosen]:
    kind = "image" if values.dtype == np.uint8 else "table"
    return {"data.kind": Chosen(kind, "each row is a sample: its neighbours are no closer than other rows", _OTHER["record"])}


def _of_rows(values: np.ndarray) -> dict[str, Chosen]:
    """Rows that are windows, of one channel or of several, flattened."""
    channels = channels_of_rows(_some(values)) if values.shape[1] >= LEAST_STEPS else 0
    if not channels:
        return {}
    steps = values.shape[1] // channels
    text = f"each row is a window of {steps} time steps: neighbouring values are similar"
    chosen = {"data.kind": Chosen("record", text, _OTHER["table"])}
    if channels > 1:
        text = f"values that are {channels} apart are neighbours in time: {channels} channels, flattened step by step"
        chosen["data.channels"] = Chosen(channels, text)
    return chosen


def _of_pictures(values: np.ndarray) -> dict[str, Chosen]:
    if are_windows(_some(values)):
        text = f"windows of {values.shape[1]} time steps, smooth along them and not along the other axis"
        return {"data.kind": Chosen("record", text, _OTHER["image"])}
    return {"data.kind": Chosen("image", "both axes of a sample are alike, as those of pictures are", _OTHER["windows"])}


def _some(values: np.ndarray) -> np.ndarray:
    """Samples of the leading ones, float64, evenly spread."""
    count = int(LEADING * len(values)) or len(values)
    chosen = np.unique(np.linspace(0, count - 1, LOOKED_AT).astype(np.int64))
    return np.asarray(values[chosen], np.float64)
