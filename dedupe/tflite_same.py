"""Proves that two .tflite files are the same but for which buffer each constant is read from.

Both files are read anew by the generated schema, apart from the reader and the rewriter that made one of them.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tiedae.compress.errors import FormatError
from tiedae.compress.files import open_regular
from tiedae.export.tflite.schema import DAMAGED, IN_FILE, unknown_parts

PLACES = {"TensorT": ("buffer",), "MetadataT": ("buffer",), "OperatorT": ("largeCustomOptionsOffset",)}
"""Fields that say where something lies; what lies there is compared."""
BY_CONTENT = ("buffers", "metadataBuffer")
"""Fields of the model that are compared by the data that tensors, metadata and the runtime read."""
TAIL = (1 << 16) + 22
"""Maximum size of the record that ends a ZIP archive."""


def same_bytes(before: Path, after: Path) -> str:
    """The first difference of two .tflite files in one line, "" if there is none.

    Compared are operators with all options, subgraphs, signatures, tensors (name, type, shape, quantization, sparsity, bytes),
    metadata and the archive behind the tables. The index of a buffer may differ, and where in the file it lies; not whether a
    variable shares it. Raises FormatError for a damaged file.
    """
    try:
        return next(_differences(_TfliteFile.open(before), _TfliteFile.open(after)), "")
    except DAMAGED as error:
        raise FormatError(f"{after}: cannot be compared with {before}: {type(error).__name__}: {error}") from None


@dataclass(frozen=True, eq=False)
class _TfliteFile:
    data: bytes | mmap.mmap
    model: Any
    unknown: str
    """A part that the schema does not know, as a message."""

    @classmethod
    def open(cls, path: Path) -> _TfliteFile:
        with open_regular(path) as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if data[4:8] != b"TFL3":
            raise FormatError(f"{path}: not a .tflite file")
        root: Any = schema.Model.GetRootAs(data, 0)
        model: Any = schema.ModelT.InitFromObj(root)
        return cls(data, model, next((f"{part} cannot be compared" for part in unknown_parts(model, root)), ""))

    def content(self, index: int) -> np.ndarray:
        """The bytes of a buffer, wherever they lie."""
        buffer = self.model.buffers[index]
        if buffer.offset > 1 and buffer.size:
            return self.part(buffer.offset, buffer.size)
        return np.empty(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)

    def part(self, offset: int, size: int) -> np.ndarray:
        if offset + size > len(self.data):
            raise FormatError(f"damaged .tflite file: bytes {offset}…{offset + size} of {len(self.data)} are referred to")
        return np.frombuffer(self.data, np.uint8, size, offset)

    @property
    def tensors(self) -> list[Any]:
        return [tensor for graph in self.model.subgraphs for tensor in graph.tensors or []]

    @property
    def read(self) -> list[int]:
        """Indices of the buffers by what reads them: every tensor, then metadata."""
        metadata = [entry.buffer for entry in self.model.metadata or []]
        listed = [] if self.model.metadataBuffer is None else np.asarray(self.model.metadataBuffer).tolist()
        return [*(tensor.buffer for tensor in self.tensors), *metadata, *listed]

    def archive(self) -> Mapping[str, bytes]:
        """Files of the ZIP archive behind the tables."""
        if self.data.rfind(b"PK\5\6", max(0, len(self.data) - TAIL)) < 0 or not zipfile.is_zipfile(io.BytesIO(self.data)):
            return {}
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return {entry.filename: archive.read(entry) for entry in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
            raise FormatError(f"the archive behind the model is damaged: {error}") from None


def _differences(before: _TfliteFile, after: _TfliteFile) -> Iterator[str]:
    yield from filter(None, (before.unknown, after.unknown))
    yield from _of_tables(before.model, after.model, "")
    yield from _of_content(before, after)
    yield from _of_variables(before, after)
    yield from _of_places(before, after)
    if before.archive() != after.archive():
        yield "the archives behind the tables differ"


def _of_tables(one: Any, other: Any, at: str) -> Iterator[str]:
    """Differences of two values of the object API, tables field by field."""
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{at}: {len(one)} and {len(other)}"
        for index, pair in enumerate(zip(one, other, strict=False)):
            yield from _of_tables(*pair, f"{at} {index}{_label(pair[0])}")
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
            yield f"{at}: {_brief(one)} and {_brief(other)}"
    elif type(one) is not type(other):
        yield f"{at}: {_brief(one)} and {_brief(other)}"
    elif hasattr(one, "Pack"):
        skipped = BY_CONTENT if isinstance(one, schema.ModelT) else PLACES.get(type(one).__name__, ())
        for name, value in vars(one).items():
            if name not in skipped:
                yield from _of_tables(value, getattr(other, name), f"{at}, {name}" if at else name)
    elif one != other and not (one != one and other != other):
        yield f"{at}: {_brief(one)} and {_brief(other)}"


def _label(value: Any) -> str:
    name = getattr(value, "name", None)
    return f" ({name.decode(errors='replace')})" if isinstance(name, bytes) else ""


def _brief(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def _of_content(before: _TfliteFile, after: _TfliteFile) -> Iterator[str]:
    """Differences of what tensors and metadata read, each pair of buffers once, and of buffers that neither reads."""
    names = [tensor.name or b"" for tensor in before.tensors] + [entry.name or b"" for entry in before.model.metadata or []]
    if len(before.read) != len(after.read):
        yield f"metadataBuffer: {len(before.read)} and {len(after.read)} reads of buffers"
    readers = dict(
        zip(zip(before.read, after.read, strict=False), [*names, *[b"metadataBuffer"] * len(before.read)], strict=False)
    )
    for (one, other), name in readers.items():
        content = before.content(one)
        if bool(one) != bool(other) and content.size:
            yield f"{name.decode(errors='replace')}: only one of both reads buffer 0, which LiteRT takes for empty"
        if not np.array_equal(content, after.content(other)):
            yield f"{name.decode(errors='replace')}: the bytes of buffer {one} are not those of buffer {other}"
    for index in sorted({*range(len(before.model.buffers))} - {*before.read}):
        here = after.content(index) if index < len(after.model.buffers) else np.empty(0, np.uint8)
        if not np.array_equal(before.content(index), here):
            yield f"buffer {index}, which no tensor reads: its bytes differ"


def _of_variables(before: _TfliteFile, after: _TfliteFile) -> Iterator[str]:
    """Variables keep a state: they share a buffer with the same tensors as before."""
    groups = [_sharing(file.tensors) for file in (before, after)]
    for index, tensor in enumerate(before.tensors):
        if tensor.isVariable and len({frozenset(shared[index]) for shared in groups}) > 1:
            yield f"{(tensor.name or b'').decode(errors='replace')}: a variable that shares its buffer with others than before"


def _sharing(tensors: Sequence[Any]) -> list[list[int]]:
    """Indices of the tensors with the same buffer, per tensor; those without data share nothing by buffer 0."""
    views: dict[int, list[int]] = defaultdict(list)
    for index, tensor in enumerate(tensors):
        views[tensor.buffer].append(index)
    return [views[tensor.buffer] if tensor.buffer else [index] for index, tensor in enumerate(tensors)]


def _of_places(before: _TfliteFile, after: _TfliteFile) -> Iterator[str]:
    """Differences of what lies behind the tables: large options of custom operators, and operators that read the file."""
    for one, other in zip(_operators(before), _operators(after), strict=False):
        size, *offsets = one.largeCustomOptionsSize, one.largeCustomOptionsOffset, other.largeCustomOptionsOffset
        if max(offsets) > 1 and not np.array_equal(before.part(offsets[0], size), after.part(offsets[1], size)):
            yield f"large custom options at {offsets[0]} and at {offsets[1]} differ"
    for code in before.model.operatorCodes or []:
        if code.customCode in IN_FILE and memoryview(before.data) != memoryview(after.data):
            yield f"operator {code.customCode.decode()} refers to positions in the file, which may have moved"


def _operators(file: _TfliteFile) -> Iterable[Any]:
    return (operator for graph in file.model.subgraphs for operator in graph.operators or [])
