"""Readers of sample files and folders, by kind.

Every reader raises FormatError for a file that is damaged or of another kind than its name, DataError for contents other than
numeric arrays; both name the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import fields, replace
from tiedae.compress.config import DataConfig
from tiedae.compress.errors import DataError

from .arrays import Arrays, read_idx, read_npy, read_npz
from .csv_files import read_csv
from .image_files import read_images

TABLE_KEYS, IMAGE_KEYS = ("columns", "drop", "label"), ("resize", "grayscale")
"""Keys of [data] for .csv files only, and for folders of images only."""


def require_keys(config: DataConfig, source: object, allowed: Sequence[str]) -> None:
    """Raise DataError, naming `source`, for a key of another kind of source that is not in `allowed`."""
    for key in fields(config):
        if key.name in {*TABLE_KEYS, *IMAGE_KEYS} - {*allowed} and getattr(config, key.name) != key.default:
            which = "a .csv file" if key.name in TABLE_KEYS else "a folder of images"
            got = getattr(config, key.name)
            got = list(got) if isinstance(got, tuple) else got
            raise DataError(f"{source}: `{key.name}` in [data] is for {which}; got {got!r}, must be left out")


def keys_of(config: DataConfig, path: Path) -> DataConfig:
    """The configuration without keys of other kinds of source than `path`."""
    allowed = IMAGE_KEYS if path.is_dir() else TABLE_KEYS if path.suffix.lower() == ".csv" else ()
    dropped = {*TABLE_KEYS, *IMAGE_KEYS} - {*allowed}
    return replace(config, **{field.name: field.default for field in fields(config) if field.name in dropped})


def read(path: Path, config: DataConfig | None = None) -> Arrays:
    """Read a file or folder by its extension, with the columns or images that `config` selects.

    Raises DataError for a missing path, an unknown kind and keys of another kind of source.
    """
    config = config or DataConfig(str(path))
    if path.is_dir():
        require_keys(config, path, IMAGE_KEYS)
        return read_images(path, config.resize, grayscale=config.grayscale)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    name = path.name.removesuffix(".gz")
    kind = ".idx" if name.endswith(("ubyte", ".idx")) else path.suffix.lower()
    if kind not in READERS:
        raise DataError(f"{path}: unknown kind; must be {', '.join(READERS)}, .idx.gz or a folder of images")
    if kind == ".csv":
        require_keys(config, path, TABLE_KEYS)
        return read_csv(path, config.columns, drop=config.drop, label=config.label)
    require_keys(config, path, ())
    return READERS[kind](path)


READERS: Mapping[str, Callable[[Path], Arrays]] = {".npy": read_npy, ".npz": read_npz, ".csv": read_csv, ".idx": read_idx}
