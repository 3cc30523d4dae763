"""The tables of a .tflite file, packed so that what is equal is written once.

The flatbuffer is built with the object API of the TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs). Tables,
vectors and strings of a flatbuffer may be shared: a second reference costs four bytes. The classes here are the schema's
own with a `Pack` that looks first whether an equal one has been written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...compress.errors import ExportError

ALIGNMENT = 16
"""Bytes to which the schema aligns the data of a buffer, so that a mapped file can be used in place."""
MAX_BYTES = 2**31 - 2**20
"""A flatbuffer has 31-bit offsets."""

Op = schema.BuiltinOperator
RUNTIME_VERSIONS: Mapping[tuple[int, int], str] = {
    (Op.ADD, 1): "1.5.0",
    (Op.ADD, 2): "1.14.0",
    (Op.BATCH_MATMUL, 1): "2.3.0",
    (Op.BATCH_MATMUL, 2): "2.3.0",
    (Op.DEQUANTIZE, 1): "1.13.1",
    (Op.DEQUANTIZE, 2): "1.14.0",
    (Op.DEQUANTIZE, 6): "2.17.0",
    (Op.FULLY_CONNECTED, 1): "1.5.0",
    (Op.FULLY_CONNECTED, 4): "1.14.0",
    (Op.FULLY_CONNECTED, 10): "2.11.0",
    (Op.LOGISTIC, 1): "1.14.0",
    (Op.LOGISTIC, 2): "1.14.0",
    (Op.MUL, 2): "1.14.0",
    (Op.MUL, 3): "1.15.0",
    (Op.QUANTIZE, 1): "1.14.0",
    (Op.RELU, 1): "1.5.0",
    (Op.RELU6, 1): "1.5.0",
    (Op.RESHAPE, 1): "1.5.0",
    (Op.TANH, 1): "1.14.0",
    (Op.TANH, 2): "1.14.0",
    (Op.TRANSPOSE, 1): "1.6.0",
    (Op.TRANSPOSE, 2): "1.14.0",
}
"""The first TensorFlow release whose runtime has this (operator, version), for what the writer emits (`runtime_version.cc`)."""


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
        """The offset of what `key` stands for, written now if it is the first time."""
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


class SharedTable:
    """Mixed into a table class of the schema: equal tables are packed once per builder."""

    def Pack(self, builder: Builder) -> int:
        return builder.once(_key(self), lambda: super(SharedTable, self).Pack(builder))  # type: ignore[misc]


class Quantization(SharedTable, schema.QuantizationParametersT): ...


class Tensor(SharedTable, schema.TensorT): ...


class Operator(SharedTable, schema.OperatorT): ...


class TensorMap(SharedTable, schema.TensorMapT): ...


class FullyConnectedOptions(SharedTable, schema.FullyConnectedOptionsT): ...


class BatchMatMulOptions(SharedTable, schema.BatchMatMulOptionsT): ...


class AddOptions(SharedTable, schema.AddOptionsT): ...


class MulOptions(SharedTable, schema.MulOptionsT): ...


OPTIONS: Mapping[str, type[SharedTable]] = {
    "ADD": AddOptions,
    "BATCH_MATMUL": BatchMatMulOptions,
    "FULLY_CONNECTED": FullyConnectedOptions,
    "MUL": MulOptions,
}
"""Of the operators that have some."""


class Buffer(schema.BufferT):
    """A buffer of these bytes, aligned as the schema demands, which the generated class does not do."""

    def __init__(self, content: bytes | memoryview) -> None:
        super().__init__()
        self._content = content

    def Pack(self, builder: Builder) -> int:
        data = None
        if self._content:
            size = len(self._content)
            builder.StartVector(1, size, ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self._content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class Buffers:
    """Buffers by content: equal bytes get one index. Buffer 0 is empty, as the schema demands."""

    def __init__(self) -> None:
        self._indices: dict[bytes, int] = {b"": 0}

    def index(self, data: bytes) -> int:
        return self._indices.setdefault(data, len(self._indices))

    @property
    def size(self) -> int:
        return sum(map(len, self._indices))

    def tables(self) -> list[Buffer]:
        return [Buffer(data) for data in self._indices]


class OperatorCodes:
    """(operator, version) pairs by index, each once."""

    def __init__(self) -> None:
        self._indices: dict[tuple[int, int], int] = {}

    def index(self, code: int, version: int) -> int:
        return self._indices.setdefault((code, version), len(self._indices))

    def tables(self) -> list[schema.OperatorCodeT]:
        # BuiltinCode is read by runtimes since 2.3, the deprecated byte by older ones; 127 there means "see the new field".
        return [
            schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), version=version, builtinCode=code)
            for code, version in self._indices
        ]

    @property
    def min_runtime_version(self) -> str:
        """The newest of the releases that first had these operators."""
        return max((RUNTIME_VERSIONS[pair] for pair in self._indices), key=version_key, default="")


def version_key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def pack(
    subgraphs: list[schema.SubGraphT],
    signatures: list[schema.SignatureDefT],
    buffers: Buffers,
    codes: OperatorCodes,
    description: str,
) -> bytes:
    """The file: its tables in one flatbuffer with identifier TFL3, and the minimum runtime version as 16 bytes of metadata."""
    version = buffers.index(codes.min_runtime_version.encode().ljust(16, b"\0"))
    model = schema.ModelT(
        version=3,
        operatorCodes=codes.tables(),
        subgraphs=subgraphs,
        description=description,
        buffers=buffers.tables(),
        metadata=[schema.MetadataT(name="min_runtime_version", buffer=version)],
        signatureDefs=signatures,
    )
    if buffers.size > MAX_BYTES:
        raise ExportError(f"the model has {buffers.size:,} bytes of constants, a .tflite file holds at most {MAX_BYTES:,}")
    builder = Builder(buffers.size + 65536)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def int32(values: Iterable[int]) -> np.ndarray:
    """A vector of shape or indices as the schema types it."""
    return np.array(tuple(values), np.int32)
