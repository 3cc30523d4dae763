"""Packs and unpacks .tflite files by the object API of their schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).

Packing writes equal tables, vectors and strings once: a second reference costs four bytes. Unpacking refuses a file with parts
that repacking would lose. Models are typed Any: the generated hints claim lists of int for numpy vectors.
"""

from __future__ import annotations

import functools
import io
import mmap
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.errors import ExportError, FormatError

from ..reals import pieces

ALIGNMENT = 16
"""Alignment of buffer data in the schema, in bytes, so that a mapped file can be used in place."""
MAX_BYTES = 2**31 - 2**20
"""Maximum size of a file: flatbuffers have 31-bit offsets."""
PLACEHOLDER = 0xFFFFFFFF
END_OF_ARCHIVE = b"PK\5\6"
APPENDED = 1
"""Offset of a buffer whose data lie behind the flatbuffer; the schema reserves 1 as "not known yet"."""
IN_FILE = (b"DISPATCH_OP",)
"""Custom operators whose options are positions in the file."""
MIN_VERSION = b"min_runtime_version"
"""Metadata entry of 16 bytes: the oldest runtime that can run the file."""
DAMAGED = (struct.error, ValueError, IndexError, TypeError, OverflowError, AttributeError, RecursionError, MemoryError)
"""Errors of the generated code, which verifies nothing, on a damaged file."""

Op = schema.BuiltinOperator
Type = schema.TensorType
OPERATORS: Mapping[int, str] = {number: name for name, number in vars(Op).items() if isinstance(number, int)}
RUNTIME_VERSIONS: Mapping[int, Mapping[int, str]] = {
    Op.ABS: {1: "1.13.0"},
    Op.ADD: {1: "1.5.0", 2: "1.14.0"},
    Op.BATCH_MATMUL: {1: "2.3.0", 2: "2.3.0", 4: "2.5.0"},
    Op.CONCATENATION: {1: "1.5.0", 2: "1.14.0"},
    Op.CONV_2D: {1: "1.5.0", 3: "1.14.0"},
    Op.DENSIFY: {1: "2.2.0"},
    Op.DEQUANTIZE: {1: "1.13.1", 2: "1.14.0", 6: "2.17.0"},
    Op.DIV: {1: "1.6.0"},
    Op.FULLY_CONNECTED: {1: "1.5.0", 4: "1.14.0", 5: "2.0.0", 10: "2.11.0"},
    Op.IF: {1: "1.15.0"},
    Op.LESS_EQUAL: {1: "1.14.0"},
    Op.LOGICAL_NOT: {1: "1.11.0"},
    Op.LOGISTIC: {1: "1.14.0", 2: "1.14.0"},
    Op.MAX_POOL_2D: {1: "1.5.0", 2: "1.14.0"},
    Op.MEAN: {1: "1.6.0"},
    Op.MINIMUM: {1: "1.14.0"},
    Op.MUL: {1: "1.5.0", 2: "1.14.0", 3: "1.15.0"},
    Op.PAD: {1: "1.5.0"},
    Op.QUANTIZE: {1: "1.14.0"},
    Op.REDUCE_MAX: {1: "1.11.0"},
    Op.RELU: {1: "1.5.0"},
    Op.RELU6: {1: "1.5.0"},
    Op.RESHAPE: {1: "1.5.0"},
    Op.SHAPE: {1: "1.10.0"},
    Op.SUB: {1: "1.6.0"},
    Op.TANH: {1: "1.14.0", 2: "1.14.0"},
    Op.TRANSPOSE: {1: "1.6.0", 2: "1.14.0"},
    Op.TRANSPOSE_CONV: {3: "2.3.0", 4: "2.13.0"},
}
"""The first TensorFlow release that supports each operator version that we write (`runtime_version.cc`)."""
OPTIONS: Mapping[int, type] = {
    Op.ADD: schema.AddOptionsT,
    Op.BATCH_MATMUL: schema.BatchMatMulOptionsT,
    Op.CONCATENATION: schema.ConcatenationOptionsT,
    Op.CONV_2D: schema.Conv2DOptionsT,
    Op.DENSIFY: schema.DensifyOptionsT,
    Op.DIV: schema.DivOptionsT,
    Op.FULLY_CONNECTED: schema.FullyConnectedOptionsT,
    Op.IF: schema.IfOptionsT,
    Op.MAX_POOL_2D: schema.Pool2DOptionsT,
    Op.MEAN: schema.ReducerOptionsT,
    Op.MUL: schema.MulOptionsT,
    Op.REDUCE_MAX: schema.ReducerOptionsT,
    Op.SHAPE: schema.ShapeOptionsT,
    Op.SUB: schema.SubOptionsT,
    Op.TRANSPOSE_CONV: schema.TransposeConvOptionsT,
}
"""Options of the operators that we write."""


def new_operator(
    model: Any, code: int, version: int, inputs: Iterable[int], output: int, activation: int = 0, **more: Any
) -> Any:
    """An operator with one output, a fused `activation` and `more` options; the others have their defaults."""
    options: Any = None
    kind = 0
    if code in OPTIONS:
        options, kind = OPTIONS[code](), getattr(schema.BuiltinOptions, OPTIONS[code].__name__.removesuffix("T"))
    elif activation or more:
        raise _no_row(code, "OPTIONS")
    if activation:
        options.fusedActivationFunction = activation
    for name, value in more.items():
        setattr(options, name, value)
    place = _operator_code(model, code, version)
    return schema.OperatorT(place, int32(inputs), int32([output]), builtinOptionsType=kind, builtinOptions=options)


def _operator_code(model: Any, code: int, version: int) -> int:
    """Index of an operator code; adding one may raise the file's minimum runtime version."""
    for index, found in enumerate(model.operatorCodes):
        if (max(found.builtinCode, found.deprecatedBuiltinCode), found.version) == (code, version):
            return index
    # Runtimes before 2.3 read the deprecated byte; 127 there refers to the new field.
    model.operatorCodes.append(schema.OperatorCodeT(min(code, 127), None, version, code))
    for entry in model.metadata or []:
        if entry.name == MIN_VERSION:
            stated = model.buffers[entry.buffer].data.tobytes().rstrip(b"\0").decode(errors="replace")
            needed = _runtime_version(code, version)
            if not stated.replace(".", "").isdigit() or _order(stated) < _order(needed):
                entry.buffer = version_buffer(model, needed)
    return len(model.operatorCodes) - 1


def _runtime_version(code: int, version: int) -> str:
    """The first release that supports a version of an operator; ExportError where `RUNTIME_VERSIONS` has none."""
    if version not in (versions := RUNTIME_VERSIONS.get(code, {})):
        raise _no_row(code, f"RUNTIME_VERSIONS, of version {version}" if versions else "RUNTIME_VERSIONS")
    return versions[version]


def _no_row(code: int, table: str) -> ExportError:
    return ExportError(f"TFLite operator {OPERATORS.get(code, code)}: has no row in {table} of export/tflite/schema.py")


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def version_buffer(model: Any, version: str) -> int:
    return buffer_of(model, version.encode().ljust(16, b"\0"))


def needed_version(model: Any) -> str:
    """The oldest release that supports all operators of a model."""
    return max((_runtime_version(each.builtinCode, each.version) for each in model.operatorCodes), key=_order, default="")


def buffer_of(model: Any, data: bytes) -> int:
    """Index of a buffer with these bytes, appended if there is none."""
    for index, buffer in enumerate(model.buffers):
        if index and buffer.data.size == len(data) and buffer.data.tobytes() == data:
            return index
    model.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
    return len(model.buffers) - 1


def quantization(scales: Sequence[float] | np.ndarray, zero_points: Sequence[int] | int = 0, axis: int = 0) -> Any:
    """Quantization table of float32 scales along an axis, with one zero point or one per scale."""
    points = np.broadcast_to(np.array(zero_points, np.int64), len(scales))
    table = schema.QuantizationParametersT(scale=np.array(scales, np.float32), zeroPoint=np.array(points))
    table.quantizedDimension = axis
    return table


def int32(values: Iterable[int]) -> np.ndarray:
    """A shape or index vector, int32 as in the schema."""
    return np.array(tuple(values), np.int32)


class Builder(flatbuffers.Builder):
    """A flatbuffer builder that writes equal vectors, strings and shared tables once."""

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self.written: dict[Any, int] = {}

    def CreateString(self, s: str, encoding: str = "utf-8", errors: str = "strict") -> int:
        return self.once(("string", s), lambda: super(Builder, self).CreateString(s, encoding, errors))

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        return self.once(_key(x), lambda: super(Builder, self).CreateNumpyVector(x))

    def once(self, key: Any, write: Any) -> int:
        """Offset of the object with this key, written on first use."""
        if key not in self.written:
            self.written[key] = write()
        return self.written[key]


def _key(value: Any) -> Any:
    match value:
        case np.ndarray():
            return value.dtype.str, value.tobytes()
        case list():
            return tuple(map(_key, value))
        case _ if hasattr(value, "Pack"):
            return type(value), *map(_key, vars(value).values())
        case _:
            return value


class _SharedTable:
    """Mixed into a table class of the schema: equal tables are packed once per builder."""

    def Pack(self, builder: Builder) -> int:
        return builder.once(_key(self), lambda: super(_SharedTable, self).Pack(builder))  # type: ignore[misc]


@functools.cache
def _shared(table: type) -> type:
    return type(table.__name__, (_SharedTable, table), {})


def _with_shared_tables(value: Any) -> Any:
    """Copy of an object in which equal tables, itself included, are packed once."""
    match value:
        case list():
            return [_with_shared_tables(item) for item in value]
        case _ if hasattr(value, "Pack"):
            return _shared(type(value))(**{name: _with_shared_tables(item) for name, item in vars(value).items()})
        case _:
            return value


class _Buffer(schema.BufferT):
    """A buffer whose data follow the tables: a placeholder, whose field is set when their position is known."""

    def Pack(self, builder: Builder) -> int:
        size = memoryview(self.data).nbytes  # pyright: ignore[reportArgumentType]
        if size and self.offset == APPENDED:
            schema.BufferStart(builder)
            schema.BufferAddOffset(builder, PLACEHOLDER)
            schema.BufferAddSize(builder, size)
            return schema.BufferEnd(builder)
        return builder.once(("buffer", bool(size)), lambda: self._table(builder, PLACEHOLDER if size else 0))

    def _table(self, builder: Builder, data: int) -> int:
        schema.BufferStart(builder)
        builder.PrependUint32Slot(0, data, 0)
        return schema.BufferEnd(builder)


def pack_model(model: Any, source: bytes | mmap.mmap = b"") -> bytes:
    """Serialize a model: its tables, then the data of its buffers.

    The ZIP archive at the end of `source` (TFLite metadata) is appended again. Raises ExportError for a file above the 2 GB
    limit of flatbuffers, in which buffers behind the flatbuffer do not count.
    """
    size = sum(buffer.data.size for buffer in model.buffers if buffer.offset != APPENDED)
    if size > MAX_BYTES:
        raise ExportError(f"the model has {size:,} bytes of constants, a .tflite file holds at most {MAX_BYTES:,}")
    builder = Builder(65536)
    packed: Any = schema.ModelT(**vars(model))
    packed.buffers = [_Buffer(buffer.data, buffer.offset) for buffer in model.buffers]
    packed.subgraphs, packed.signatureDefs = map(_with_shared_tables, (model.subgraphs, model.signatureDefs))
    builder.Finish(packed.Pack(builder), b"TFL3")
    tables, file = builder.Output(), io.BytesIO()
    file.writelines(pieces([tables, *_data_parts(model.buffers, tables)]))
    _append_archive(source, file)
    return file.getvalue()


def _data_parts(buffers: Sequence[Any], tables: bytearray) -> Iterator[bytes | memoryview]:
    """The data of the buffers, aligned, each behind its table; sets their positions in `tables`."""
    root: Any = schema.Model.GetRootAs(tables, 0)
    end = len(tables)
    for index, buffer in sorted(enumerate(buffers), key=lambda each: each[1].offset):
        if not buffer.data.size:
            continue
        table = root.Buffers(index)._tab
        if buffer.offset == APPENDED:
            head = b""
            start = end + -end % ALIGNMENT
            struct.pack_into("<Q", tables, table.Pos + table.Offset(6), start)
        else:
            start = end + 12 + -(end + 12) % ALIGNMENT
            (to_fields,) = struct.unpack_from("<i", tables, table.Pos)
            head = struct.pack("<iII", start - 12 - (table.Pos - to_fields), 4, buffer.data.size)
            entry = root._tab.Vector(root._tab.Offset(12)) + 4 * index
            struct.pack_into("<I", tables, entry, start - 12 - entry)
        yield bytes(start - len(head) - end) + head
        yield np.ascontiguousarray(buffer.data).data
        end = start + buffer.data.size


def has_archive(data: bytes | mmap.mmap) -> bool:
    """Whether a ZIP archive lies behind a flatbuffer; the record that ends it has up to 65,557 bytes."""
    return data.rfind(END_OF_ARCHIVE, max(0, len(data) - (1 << 16) - 22)) >= 0 and zipfile.is_zipfile(io.BytesIO(data))


def _append_archive(source: bytes | mmap.mmap, file: io.BytesIO) -> None:
    """Append the ZIP archive behind the source's flatbuffer, which TFLite metadata uses for label files, if there is one."""
    if not has_archive(source):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(file, "a") as new:
            if sum(entry.file_size for entry in old.infolist()) > len(source):
                raise ExportError("dedupe: the archive behind the model is larger than the file, which would be lost")
            for entry in old.infolist():
                new.writestr(entry, old.read(entry))
            new.comment = old.comment
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise FormatError(f"the archive behind the model is damaged: {error}") from None


def unpack_model(data: bytes | mmap.mmap) -> Any:
    """Unpack a .tflite file to a `schema.ModelT`; the data of every buffer is a uint8 view of the file.

    Buffers behind the flatbuffer are marked by an offset of `APPENDED`. Raises FormatError for a damaged file, ExportError for
    parts that repacking would lose: unknown fields and options, custom options behind the flatbuffer.
    """
    try:
        root: Any = schema.Model.GetRootAs(data, 0)
        model: Any = schema.ModelT.InitFromObj(root)
        for part in unknown_parts(model, root):
            raise ExportError(f"dedupe: the file has {part} that this version does not know and would lose")
        for code in model.operatorCodes or []:
            if code.customCode in IN_FILE:
                raise ExportError(f"dedupe: {code.customCode.decode()} refers to positions in the file, which would move")
        for subgraph in model.subgraphs:
            for operator in subgraph.operators or []:
                if operator.largeCustomOptionsOffset > 1:
                    raise ExportError("dedupe: the file keeps custom options behind its tables, which would be lost")
        for buffer in model.buffers:
            if buffer.offset > 1 and buffer.size:
                buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
                buffer.offset = APPENDED
            else:
                buffer.data = np.zeros(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)
                buffer.offset = 0
            buffer.size = 0
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
            ("tensor", [i for o in operators for each in (o.inputs, o.outputs) for i in vector(each)], len(tensors)),
            ("tensor", [i for each in (subgraph.inputs, subgraph.outputs) for i in vector(each)], len(tensors)),
        ):
            wrong = [index for index in indices if not -1 <= index < count]
            if wrong:
                raise FormatError(f"damaged .tflite file: {what} {wrong[0]} of {count}")


def vector(values: np.ndarray | None) -> list[int]:
    """A vector as a list; empty if absent."""
    return [] if values is None else np.asarray(values).tolist()


class _Slots:
    """A fake builder that records the number of fields of a table."""

    count = 0

    def StartObject(self, count: int) -> None:
        self.count = count


@functools.cache
def _slots(table: str) -> int:
    slots = _Slots()
    getattr(schema, f"{table}Start")(slots)
    return slots.count


def unknown_parts(value: Any, reader: Any) -> Iterator[str]:
    """Fields and kinds of options, of a table or a nested one, that this schema lacks."""
    name = type(value).__name__.removesuffix("T")
    table = reader._tab
    vtable = table.Pos - struct.unpack_from("<i", table.Bytes, table.Pos)[0]
    slots = (struct.unpack_from("<H", table.Bytes, vtable)[0] - 4) // 2
    if any(struct.unpack_from(f"<{slots}H", table.Bytes, vtable + 4)[_slots(name) :]):
        yield f"a field of {name}"
    for field, item in vars(value).items():
        read = getattr(reader, field[0].upper() + field[1:])
        if isinstance(item, list) and item and hasattr(item[0], "Pack"):
            for index, each in enumerate(item):
                yield from unknown_parts(each, read(index))
        elif hasattr(item, "Pack"):
            yield from unknown_parts(item, _member(item, read()))
        elif item is None and getattr(value, f"{field}Type", 0) and read() is not None:
            yield f"{field} of a kind"


def _member(item: Any, found: Any) -> Any:
    """The typed reader of a table; unions return an untyped one."""
    if hasattr(found, "_tab"):
        return found
    reader = getattr(schema, type(item).__name__.removesuffix("T"))()
    reader.Init(found.Bytes, found.Pos)
    return reader
