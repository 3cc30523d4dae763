"""Readers of sample files and folders, by kind.

Every reader raises FormatError for a file that is damaged or of another kind than its name, DataError for contents other than
numeric arrays; both name the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from msgspec.structs import fields, replace

from tiedae.base.errors import DataError
from tiedae.config.config import DataConfig

from .arrays import Arrays, npz_names, read_idx, read_npy, read_npz
from .csv_dtypes import in_dtype
from .csv_files import read_csv, read_headings
from .image_files import IMAGE_SUFFIXES
from .image_folders import is_picture, read_images
from .recordings import FILE, read_folder, record_files
from .wav_files import read_wav

KEYS: Mapping[str, str] = {
    **dict.fromkeys(("columns", "drop", "label", "time", "dtype"), "a .csv file"),
    **dict.fromkeys(("resize", "convert", "patch"), "a folder of images"),
    "groups": "a .csv file, a .npz file or a folder of a record's files",
}
"""Keys of [data] that are for some kinds of source only."""
DEFAULTS: Mapping[str, object] = {field.name: field.default for field in fields(DataConfig) if field.name in KEYS}
TABLE, IMAGES = ("columns", "drop", "label", "time", "groups", "dtype"), ("resize", "convert", "patch")


def require_keys(config: DataConfig, source: object, allowed: Collection[str]) -> None:
    """Raise DataError, naming `source`, for a key of another kind of source that is not in `allowed`."""
    for name in KEYS:
        if name not in allowed and (got := getattr(config, name)) != DEFAULTS[name]:
            got = list(got) if isinstance(got, tuple) else got
            raise DataError(f"{source}: `{name}` in [data] is for {KEYS[name]}; got {got!r}, must be left out")


def keys_of(config: DataConfig, path: Path) -> DataConfig:
    """The configuration without keys of other kinds of source than `path`, other data than the recipe's, and without groups or
    times that a file of it has not."""
    files = record_files(path, RECORDS) if is_recordings(path, config) else [path]
    lacking = {key for key in ("groups", "time") if not all(_has(file, key, config) for file in files)}
    if (path.is_dir() or is_picture(path, config)) and config.groups == FILE:
        lacking -= {"groups"}
    return _only(config, {*_allowed(path, config)} - lacking)


def is_recordings(path: Path, config: DataConfig) -> bool:
    """Whether a path is a folder of records: as `kind` says; auto: it holds files of records and no image."""
    if not path.is_dir() or config.kind != "auto":
        return path.is_dir() and config.kind == "record"
    suffixes = {file.suffix.lower() for file in path.rglob("*")}
    return bool(suffixes & {*RECORDS}) and not suffixes & {*IMAGE_SUFFIXES}


def _only(config: DataConfig, keys: Collection[str]) -> DataConfig:
    """The configuration with none but these of `KEYS`."""
    return replace(config, **{name: default for name, default in DEFAULTS.items() if name not in keys})


def _has(file: Path, key: str, config: DataConfig) -> bool:
    """Whether a file has the column or the array that a key names."""
    name, kind = getattr(config, key), file.suffix.lower()
    if kind == ".npz":
        return key == "groups" and name.lower() in npz_names(file)
    return kind == ".csv" and file.is_file() and name in read_headings(file)


def _allowed(path: Path, config: DataConfig) -> Collection[str]:
    """The keys of `KEYS` that are for this source; for a folder of records, which each need a file that they are for."""
    if is_recordings(path, config):
        return {"groups"}.union(*(_allowed(file, config) for file in record_files(path, RECORDS)))
    if path.is_dir() or is_picture(path, config):
        return (*IMAGES, "groups") if config.patch is not None else IMAGES
    return {".csv": TABLE, ".npz": ("groups",)}.get(path.suffix.lower(), ())


def read(path: Path, config: DataConfig | None = None) -> Arrays:
    """Read a file or folder by its extension, with the columns or images that `config` selects; .csv files in its `dtype`.

    Raises DataError for a missing path, an unknown kind and keys of another kind of source.
    """
    config = config or DataConfig(str(path))
    arrays = _as_stored(path, config)
    return in_dtype(arrays, config.dtype, path) if is_text(path, config) else arrays


def is_text(path: Path, config: DataConfig) -> bool:
    """Whether a path is a .csv file, or a folder of records that are."""
    files = record_files(path, RECORDS) if is_recordings(path, config) else [path]
    return all(file.suffix.lower() == ".csv" for file in files)


def _as_stored(path: Path, config: DataConfig) -> Arrays:
    """What a path holds, the numbers of a .csv file as float64."""
    require_keys(config, path, _allowed(path, config))
    if is_recordings(path, config):
        return read_folder(path, config, RECORDS, _of_folder)
    if path.is_dir() or is_picture(path, config):
        return read_images(path, config)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    name = path.name.removesuffix(".gz")
    kind = ".idx" if name.endswith(("ubyte", ".idx")) else path.suffix.lower()
    if kind not in READERS:
        raise DataError(f"{path}: unknown kind; must be {', '.join(READERS)}, .idx.gz or a folder of images")
    return READERS[kind](path, config)


def _of_folder(path: Path, config: DataConfig) -> Arrays:
    """A file of a folder: `groups` and `time` are of each, other keys of those that they are for."""
    return _as_stored(path, _only(config, {*_allowed(path, config), "groups", "time"}))


def _read_csv(path: Path, config: DataConfig) -> Arrays:
    options = {"drop": config.drop, "label": config.label, "time": config.time, "groups": config.groups}
    return read_csv(path, config.columns, **options)


RECORDS = (".npy", ".npz", ".csv", ".wav")
"""What holds records."""
READERS: Mapping[str, Callable[[Path, DataConfig], Arrays]] = {
    ".npy": lambda path, _: read_npy(path),
    ".npz": lambda path, config: read_npz(path, config.groups),
    ".csv": _read_csv,
    ".wav": lambda path, _: read_wav(path),
    ".idx": lambda path, _: read_idx(path),
}
