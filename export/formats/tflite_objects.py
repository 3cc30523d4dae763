"""A .tflite file as the object API of its schema, whole: what cannot be carried over is refused instead of lost."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...compress.errors import ExportError, FormatError
from .tflite_schema import MAX_BYTES, Buffer, Builder, SharedTable

DAMAGED = (struct.error, ValueError, IndexError, TypeError, OverflowError, AttributeError, RecursionError, MemoryError)
"""What the generated code, which verifies nothing, raises on a damaged file."""


def unpack_model(data: bytes) -> Any:
    """The tables of a .tflite file, a `schema.ModelT`; the data of every buffer is uint8, those behind the tables included.

    Untyped, since the generated hints speak of lists of int where there are numpy vectors.
    Raises FormatError for a damaged file and ExportError for one with parts that a rewritten file would lose: fields and
    options that this schema does not know, custom options behind the flatbuffer.
    """
    try:
        root: Any = schema.Model.GetRootAs(data, 0)
        model: Any = schema.ModelT.InitFromObj(root)
        _require_known(model, root)
        for subgraph in model.subgraphs:
            for operator in subgraph.operators or []:
                if operator.largeCustomOptionsOffset > 1:
                    raise ExportError("share: the file keeps custom options behind its tables, which would be lost")
        for buffer in model.buffers:
            if buffer.offset > 1 and buffer.size:
                buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.data = np.zeros(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)
            buffer.offset = buffer.size = 0
        _require_indices(model)
    except DAMAGED as error:
        raise FormatError(f"damaged .tflite file: its tables do not unpack ({type(error).__name__})") from None
    return model


def _require_indices(model: Any) -> None:
    for subgraph in model.subgraphs:
        tensors, operators = subgraph.tensors or [], subgraph.operators or []
        for what, indices, count in (
            ("buffer", [tensor.buffer for tensor in tensors], len(model.buffers)),
            ("operator code", [operator.opcodeIndex for operator in operators], len(model.operatorCodes or [])),
            ("tensor", [i for o in operators for each in (o.inputs, o.outputs) for i in _vector(each)], len(tensors)),
            ("tensor", [i for each in (subgraph.inputs, subgraph.outputs) for i in _vector(each)], len(tensors)),
        ):
            wrong = [index for index in indices if not -1 <= index < count]
            if wrong:
                raise FormatError(f"damaged .tflite file: {what} {wrong[0]} of {count}")


def _vector(values: np.ndarray | None) -> list[int]:
    return [] if values is None else np.asarray(values).tolist()


def pack_model(model: Any, source: bytes) -> bytes:
    """The file of a model: equal tables once, buffers aligned; files appended to `source` (TFLite metadata) are appended again.

    Raises ExportError where it would pass the 2 GB of a flatbuffer.
    """
    size = sum(buffer.data.size for buffer in model.buffers)
    if size > MAX_BYTES:
        raise ExportError(f"the model has {size:,} bytes of constants, a .tflite file holds at most {MAX_BYTES:,}")
    builder = Builder(size + 65536)
    packed: Any = schema.ModelT(**vars(model))
    packed.buffers = [Buffer(memoryview(buffer.data)) for buffer in model.buffers]
    packed.subgraphs = [_with_shared_tables(subgraph) for subgraph in model.subgraphs]
    builder.Finish(packed.Pack(builder), b"TFL3")
    return _append_files(bytes(builder.Output()), source)


def _append_files(data: bytes, source: bytes) -> bytes:
    """TFLite metadata keeps label files and the like as a ZIP archive behind the flatbuffer."""
    if not zipfile.is_zipfile(io.BytesIO(source)):
        return data
    target = io.BytesIO(data)
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(target, "a") as new:
            if sum(entry.file_size for entry in old.infolist()) > len(source):
                raise ExportError("share: the archive behind the model is larger than the file, which would be lost")
            for entry in old.infolist():
                new.writestr(entry, old.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise FormatError(f"the archive behind the model is damaged: {error}") from None
    return target.getvalue()


def _with_shared_tables(value: Any) -> Any:
    """The same object whose tables below it are packed once where they are equal."""
    match value:
        case list():
            return [_with_shared_tables(item) for item in value]
        case _ if hasattr(value, "Pack"):
            return _shared(type(value))(**{name: _with_shared_tables(item) for name, item in vars(value).items()})
        case _:
            return value


@functools.cache
def _shared(table: type) -> type:
    return type(table.__name__, (SharedTable, table), {})


class _Slots:
    """Stands for a builder to learn how many fields a table has in this schema."""

    count = 0

    def StartObject(self, count: int) -> None:
        self.count = count


@functools.cache
def _slots(table: str) -> int:
    slots = _Slots()
    getattr(schema, f"{table}Start")(slots)
    return slots.count


def _require_known(value: Any, reader: Any) -> None:
    """Raise ExportError where a table, or one below it, has fields or options that this schema does not know."""
    name = type(value).__name__.removesuffix("T")
    table = reader._tab
    vtable = table.Pos - struct.unpack_from("<i", table.Bytes, table.Pos)[0]
    slots = (struct.unpack_from("<H", table.Bytes, vtable)[0] - 4) // 2
    if any(struct.unpack_from(f"<{slots}H", table.Bytes, vtable + 4)[_slots(name) :]):
        raise ExportError(f"share: the file has a field of {name} that this version does not know and would lose")
    for field, item in vars(value).items():
        read = getattr(reader, field[0].upper() + field[1:])
        if isinstance(item, list) and item and hasattr(item[0], "Pack"):
            for index, each in enumerate(item):
                _require_known(each, read(index))
        elif hasattr(item, "Pack"):
            _require_known(item, _member(item, read()))
        elif item is None and getattr(value, f"{field}Type", 0) and read() is not None:
            raise ExportError(f"share: the file has {field} of a kind that this version does not know and would lose")


def _member(item: Any, found: Any) -> Any:
    """The reader of a table; a union gives it without its type."""
    if hasattr(found, "_tab"):
        return found
    reader = getattr(schema, type(item).__name__.removesuffix("T"))()
    reader.Init(found.Bytes, found.Pos)
    return reader
