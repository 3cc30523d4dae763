"""Proves that two .tflite files are the same but for which buffer each constant is read from.

Both files are read anew by the generated schema, apart from the reader and the rewriter that made one of them. Each is read as
statements, in order; the files are the same if all statements are.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.errors import FormatError
from tiedae.base.files import open_regular
from tiedae.export.reals import digest_of
from tiedae.export.tflite.graph import name_of
from tiedae.export.tflite.schema import DAMAGED, IN_FILE, has_archive, unknown_parts, vector

from .equivalence import Statement, first_difference

PLACES = {
    "ModelT": ("buffers", "metadataBuffer"),
    "TensorT": ("buffer",),
    "MetadataT": ("buffer",),
    "OperatorT": ("largeCustomOptionsOffset",),
}
"""Fields that say where something lies; what lies there is compared."""


def same_bytes(before: Path, after: Path) -> str:
    """The first part in which two .tflite files differ, in one line, "" if there is none.

    Compared are operators with all options, subgraphs, signatures, tensors (name, type, shape, quantization, sparsity, bytes),
    metadata and the archive behind the tables. The index of a buffer may differ, and where in the file it lies; not whether a
    variable shares it. Raises FormatError for a damaged file.
    """
    try:
        one, other = _TfliteFile(before), _TfliteFile(after)
        return first_difference(one.statements(one.unread), other.statements(one.unread))
    except DAMAGED as error:
        raise FormatError(f"{after}: cannot be compared with {before}: {type(error).__name__}: {error}") from None


class _TfliteFile:
    """One of the files. `read`: (name, buffer) of every tensor, then of metadata."""

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.data[4:8] != b"TFL3":
            raise FormatError(f"{path}: not a .tflite file")
        self.root: Any = schema.Model.GetRootAs(self.data, 0)
        self.model: Any = schema.ModelT.InitFromObj(self.root)
        self.tensors = [tensor for graph in self.model.subgraphs for tensor in graph.tensors or []]
        self.read = [(name_of(each), each.buffer) for each in (*self.tensors, *(self.model.metadata or []))]
        self.read += [("metadataBuffer", index) for index in vector(self.model.metadataBuffer)]
        self._digests: dict[int, bytes] = {}

    @property
    def unread(self) -> list[int]:
        return sorted({*range(len(self.model.buffers))} - {index for _, index in self.read})

    def statements(self, unread: Collection[int]) -> Iterator[Statement]:
        """`unread`: the buffers that nothing reads in the first of both files; others lost their readers."""
        yield from ((part, object()) for part in unknown_parts(self.model, self.root))  # equal to nothing
        yield from _of_tables(self.model, "")
        for name, index in self.read:
            digest = self._digest(index)
            yield f"{name}: its bytes", digest
            yield f"{name}: whether it is in buffer 0, which LiteRT takes for empty", digest != NOTHING and index == 0
        for index in unread:
            yield f"buffer {index}, which no tensor reads", self._digest(index)
        views = defaultdict(list)
        for place, tensor in enumerate(self.tensors):
            views[tensor.buffer].append(place)
        for place, tensor in enumerate(self.tensors):
            if tensor.isVariable:  # it keeps a state; without data it shares nothing by buffer 0
                yield f"{name_of(tensor)}: a variable's buffer", views[tensor.buffer] if tensor.buffer else [place]
        for operator in (operator for graph in self.model.subgraphs for operator in graph.operators or []):
            offset, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
            yield "large custom options", digest_of(self._part(offset, size)) if offset > 1 else NOTHING
        for code in self.model.operatorCodes or []:
            if code.customCode in IN_FILE:
                yield f"operator {code.customCode.decode()}, which refers to positions in the file", digest_of(self._part())
        yield "the archive behind the tables", self._archive()

    def _digest(self, index: int) -> bytes:
        """The hash of a buffer's bytes, wherever they lie; a buffer that is missing is empty."""
        if index not in self._digests:
            buffer = self.model.buffers[index] if index < len(self.model.buffers) else schema.BufferT()
            lies_behind = buffer.offset > 1 and buffer.size
            held = np.empty(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)
            self._digests[index] = digest_of(self._part(buffer.offset, buffer.size) if lies_behind else held)
        return self._digests[index]

    def _part(self, offset: int = 0, size: int = -1) -> np.ndarray:
        if offset + size > len(self.data):
            raise FormatError(f"damaged .tflite file: bytes {offset}…{offset + size} of {len(self.data)} are referred to")
        return np.frombuffer(self.data, np.uint8, size, offset)

    def _archive(self) -> Mapping[str, bytes]:
        """Files of the ZIP archive behind the tables."""
        if not has_archive(self.data):
            return {}
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return {entry.filename: archive.read(entry) for entry in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
            raise FormatError(f"the archive behind the model is damaged: {error}") from None


NOTHING = digest_of(np.empty(0, np.uint8))


def _of_tables(value: Any, at: str) -> Iterator[Statement]:
    """The statements of a value of the object API, tables field by field."""
    if isinstance(value, list):
        yield at, len(value)
        for index, item in enumerate(value):
            yield from _of_tables(item, f"{at} {index}")
    elif isinstance(value, np.ndarray):
        yield at, (value.dtype.str, value.shape, value.tobytes())
    elif hasattr(value, "Pack"):
        yield at, type(value)
        for name, item in vars(value).items():
            if name not in PLACES.get(type(value).__name__, ()):
                yield from _of_tables(item, f"{at}, {name}" if at else name)
    else:
        yield at, repr(value)
