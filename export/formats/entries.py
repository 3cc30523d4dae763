"""Where the signatures of a .tflite file live: for runtimes that know subgraphs by their place, or run the first one only."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...compress.affine import unsigned
from ...compress.errors import InputError
from .flatbuffer import Flatbuffer
from .tflite_reader import read_tflite
from .tflite_writer import INNER

_SUBGRAPHS, _SIGNATURES = 2, 7
"""Slots of the root table in the schema."""


@dataclass(frozen=True)
class Entry:
    """One signature: the index of its subgraph, its one input, and its outputs in the order of that subgraph.

    `dtype` and `size` are of one input sample. `tensors` are the names of the subgraph's tensors, by index; the batch of those
    in `batched` is free.
    """

    subgraph: int
    x: str
    dtype: np.dtype
    size: tuple[int, ...]
    outputs: tuple[str, ...]
    tensors: tuple[str, ...]
    batched: frozenset[int]


@lru_cache(maxsize=1)
def read_entries(data: bytes) -> Mapping[str, Entry]:
    """The signatures of a .tflite file by name; those of the last file are kept, one runtime after the other opens it.

    Raises FormatError for a damaged file, InputError for one of several inputs.
    """
    contents = read_tflite(data)
    root = Flatbuffer(data, ".tflite").root(b"TFL3")
    subgraphs = root.tables(_SUBGRAPHS)
    definitions = {table.text(2): table for table in root.tables(_SIGNATURES)}
    entries = {}
    for signature in contents.signatures:
        if len(signature.inputs) != 1:
            raise InputError(f"signature {signature.name}: has {len(signature.inputs)} inputs, must have one")
        (x,) = signature.inputs
        definition = definitions.get(signature.name)
        index = definition.integer(4, "I") if definition else 0
        subgraph = subgraphs[index]
        places = {entry.integer(1, "I"): entry.text(0) for entry in definition.tables(1)} if definition else {}
        tensors = subgraph.tables(0)
        names = [tensor.text(3) for tensor in tensors]
        outputs = [places[place] if place in places else names[place] for place in subgraph.vector(2).tolist()]
        batched = frozenset(i for i, tensor in enumerate(tensors) if tensor.vector(7).size and tensor.vector(7)[0] == -1)
        size = tuple(1 if extent is None else extent for extent in x.shape[1:])
        entries[signature.name] = Entry(index, x.name, np.dtype(x.dtype), size, tuple(outputs), tuple(names), batched)
    return entries


def with_primary(data: bytes, index: int) -> bytes:
    """The file with subgraph `index` in the place of the first, the only one that some runtimes list or run.

    Entries of a vector are offsets from their own place. The signatures, which no longer fit, are left out.
    """
    if index == 0:
        return data
    copy = bytearray(data)
    root = Flatbuffer(data, ".tflite").root(b"TFL3")
    subgraphs, _ = root.extent(_SUBGRAPHS, 4)
    signatures, _ = root.extent(_SIGNATURES, 4)
    (offset,) = struct.unpack_from("<I", copy, subgraphs + 4 * index)
    struct.pack_into("<I", copy, subgraphs, offset + 4 * index)
    struct.pack_into("<I", copy, signatures - 4, 0)
    return bytes(copy)


def only(data: bytes, index: int) -> bytes:
    """The file with nothing but subgraph `index`, for runtimes that take the time to read the others; without signatures."""
    copy = bytearray(with_primary(data, index))
    root = Flatbuffer(data, ".tflite").root(b"TFL3")
    for slot, count in ((_SUBGRAPHS, 1), (_SIGNATURES, 0)):
        start, _ = root.extent(slot, 4)
        struct.pack_into("<I", copy, start - 4, count)
    return bytes(copy)


def named_activations(values: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Tensors by their names in a file → those of [batch, size] by the program's names, int8 as uint8 (+ 128).

    Where a port of another dtype stands before an int8 tensor, that one is taken.
    """
    found: dict[str, np.ndarray] = {}
    for name, array in values:
        inner = name.removesuffix(INNER)
        if array.ndim == 2 and array.dtype in (np.int8, np.uint8, np.float32) and (name != inner or name not in found):
            found[inner] = unsigned(array)
    return found


def entry_of(entries: Mapping[str, Entry], signature: str) -> Entry:
    """Raises InputError for a signature that the file has not."""
    if signature not in entries:
        raise InputError(f"signature: got {signature!r}, the file has {', '.join(entries) or 'none'}")
    return entries[signature]
