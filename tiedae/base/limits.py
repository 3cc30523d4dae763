"""Limits of what is read, since any file may be a stranger's. docs/explanation/trust.md has each reader and its limits.

A size that a file states is held to its limit before anything of that size is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from .errors import DataError, FormatError

UNPACKED = 1 << 30
"""Bytes that a packed file of samples may unpack to, whatever its own size."""
RATIO = 100
"""How many times larger than itself a file of samples may be unpacked, beyond `UNPACKED`: zeros alone reach 1,000."""
INFLATION = 100
"""How many times larger than what a model file stores for it an array or a member of an archive may be, beyond `FREE_BYTES`;
and all arrays of a file together."""
FREE_BYTES = 1 << 20
JSON = 8 << 20
"""Bytes of a JSON file; empty lists in a list take 27 times as much memory."""
TOML = 1 << 20
"""Bytes of a recipe."""
KERAS_CONFIG = 8 << 20
"""Bytes of the configuration in a Keras file, which is JSON too."""
KERAS_ARRAYS = 200_000
"""Arrays of the layers and models of a Keras file, those of a layer once for each of its calls."""
KERAS_OWN = 1_000
"""Layers of a model's own classes, each of which may hold the kernel of any before it."""
KERAS_LAYERS = 2_500
"""Layers of a Keras file, those of a model inside once for each of its calls: 16 models in each other, each of which calls the
next one twice, have 2¹⁶."""
GRAPH_LAYERS = 2_500
"""Layers that the operations of a graph are."""
ARCHIVE_HEADER = 8 << 20
"""Bytes of the header of a .safetensors file; a tensor of no values takes 20 times as much memory as its entry."""
HDF5_OBJECTS = 50_000
"""Groups and arrays of a file."""
HDF5_DEPTH = 64
"""Groups inside groups."""
PROTOBUF = 2**31
"""Upper bound of a protobuf message; larger models use external data."""
AXES = 32
"""Axes of a sample of a model, and of a tensor of a graph."""
SAMPLE_VALUES = 2**31 - 1
"""Values of a sample of a model, and of what a layer gives for it."""
GRAPH_WORK = 16
"""How many times what a graph's constants take, beyond `FREE_BYTES`, its operations may read and compute of them."""
BRACKETS = 100
"""Brackets in the header of a .npy file, which Python's parser reads."""


def require_unpackable(path: Path | str, unpacked: int, packed: int) -> None:
    """Raise DataError for a packed file that takes far more memory than its size: more than any measured data do."""
    if unpacked > max(UNPACKED, RATIO * packed):
        right = f"at most {RATIO} × its size or {UNPACKED:,}; save the array as .npy, which is not packed"
        raise DataError(f"{path}: {packed:,} bytes would unpack to {unpacked:,}, must be {right}")


def require_sample(where: str, shape: Sequence[int]) -> None:
    """Raise FormatError, naming `where`, for a sample of more axes or values than a model may have."""
    if len(shape) > AXES or math.prod(shape) > SAMPLE_VALUES:
        got = f"{len(shape):,} axes" if len(shape) > AXES else f"more than {SAMPLE_VALUES:,} values"
        raise FormatError(f"{where}: has {got}, must be {AXES} axes and {SAMPLE_VALUES:,} values at most")
