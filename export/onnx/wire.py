"""Takes the larger tensors out of an encoded ONNX model, and puts them back.

Protobuf copies a tensor when it parses, reads and serializes it. `split` replaces the `raw_data` of larger ones with a short
*placeholder*, so that only the rest is parsed. `join` encodes a model with the bytes again: in parts, views of the file.

Specification: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnx import ModelProto, TensorProto

from ..reals import Chunk, release

LARGE = 1024
"""Minimum size, in bytes, of tensors that are taken out, and of tensors in external data: ONNX's own threshold."""
PLACEHOLDER = f"\0inside {secrets.token_hex(8)}:"
"""Start of a placeholder's location, followed by the tensor's index: no file has such a name, and none can know it."""
DEPTH = 100
"""Protobuf's limit of nested messages."""

_MARK = PLACEHOLDER.encode()
_TENSOR = TensorProto.DESCRIPTOR
_RAW, _EXTERNAL = TensorProto.RAW_DATA_FIELD_NUMBER, TensorProto.EXTERNAL_DATA_FIELD_NUMBER
_LOCATION = TensorProto.DATA_LOCATION_FIELD_NUMBER
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""

EncodedField = tuple[int, int, int, int]
"""(number, start of the field, start and end of its value)."""


def split(data: memoryview) -> tuple[bytes, list[memoryview]]:
    """(encoded model with placeholders, the `raw_data` that they stand for, as views of `data`).

    Data that are no protobuf message come back as they are: parsing them fails.
    """
    found: list[memoryview] = []
    try:
        rest = b"".join(_split(data, ModelProto.DESCRIPTOR, found, 0))
    except ValueError:
        return bytes(data), []
    release(data)
    return rest, found


def join(model: ModelProto, tensors: Sequence[Chunk]) -> list[Chunk]:
    """Encode a model whose placeholders stand for `tensors`."""
    data = model.SerializeToString()
    return _join(data, 0, len(data), ModelProto.DESCRIPTOR, tensors)


def place(tensor: TensorProto, index: int) -> None:
    """Make a tensor without data a placeholder."""
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"{PLACEHOLDER}{index}")


def placed(tensor: TensorProto) -> int | None:
    """Index of a placeholder's data; None for any other tensor."""
    locations = [entry.value for entry in tensor.external_data if entry.key == "location"]
    if len(locations) != 1 or not isinstance(locations[0], str) or not locations[0].startswith(PLACEHOLDER):
        return None
    number = locations[0].removeprefix(PLACEHOLDER)
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else None


def _split(data: memoryview, message: Any, found: list[memoryview], depth: int) -> list[Chunk]:
    if message is _TENSOR:
        return _cut(data, found)
    parts: list[Chunk] = []
    done, inner = 0, _with_tensors(message)
    for number, start, begin, end in encoded_fields(data, 0, len(data)):
        if number in inner and end - begin >= LARGE and depth < DEPTH:
            changed = _split(data[begin:end], inner[number], found, depth + 1)
            if len(changed) > 1:
                parts += [data[done:start], _head(number, changed), *changed]
                done = end
    return [*parts, data[done:]] if parts else [data]


def _cut(data: memoryview, found: list[memoryview]) -> list[Chunk]:
    """A tensor with a placeholder, unless its data are small, repeated or external."""
    fields = list(encoded_fields(data, 0, len(data)))
    raw = [each for each in fields if each[0] == _RAW]
    elsewhere = [
        number for number, _, begin, end in fields if number == _EXTERNAL or (number == _LOCATION and any(data[begin:end]))
    ]
    if len(raw) != 1 or elsewhere:
        return [data]
    ((_, start, begin, end),) = raw
    if end - begin < LARGE:
        return [data]
    placeholder = TensorProto()
    place(placeholder, len(found))
    found.append(data[begin:end])
    return [data[:start], data[end:], placeholder.SerializeToString()]


def _join(data: bytes, start: int, end: int, message: Any, tensors: Sequence[Chunk]) -> list[Chunk]:
    if message is _TENSOR:
        return _filled(data[start:end], tensors)
    parts: list[Chunk] = []
    done, inner = start, _with_tensors(message)
    for number, field, begin, stop in encoded_fields(data, start, end):
        if number in inner and data.find(_MARK, begin, stop) >= 0:
            filled = _join(data, begin, stop, inner[number], tensors)
            parts += [data[done:field], _head(number, filled), *filled]
            done = stop
    return [*parts, data[done:end]]


def _filled(data: bytes, tensors: Sequence[Chunk]) -> list[Chunk]:
    tensor = TensorProto.FromString(data)
    index = placed(tensor)
    if index is None:
        return [data]
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    return [tensor.SerializeToString(), _head(_RAW, [tensors[index]]), tensors[index]]


def _head(number: int, parts: Sequence[Chunk]) -> bytes:
    """Tag and length of a field of bytes."""
    return _varint(number << 3 | _BYTES) + _varint(sum(map(len, parts)))


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])


def encoded_fields(data: Chunk, start: int, end: int) -> Iterator[EncodedField]:
    """The fields of a message. Raises ValueError for data that are none."""
    while start < end:
        key, begin = _number(data, start, end)
        number, wire = key >> 3, key & 7
        if wire == _BYTES:
            length, begin = _number(data, begin, end)
            stop = begin + length
        elif wire == _VARINT:
            stop = _number(data, begin, end)[1]
        elif wire in (_FIXED64, _FIXED32):
            stop = begin + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError("no protobuf message")
        if stop > end:
            raise ValueError("no protobuf message")
        yield number, start, begin, stop
        start = stop


def _number(data: Chunk, start: int, end: int) -> tuple[int, int]:
    """(variable-length integer, place after it)."""
    value = 0
    for i in range(start, min(end, start + 10)):
        value |= (data[i] & 127) << 7 * (i - start)
        if data[i] < 128:
            return value, i + 1
    raise ValueError("no protobuf message")


@functools.cache
def _with_tensors(message: Any) -> Mapping[int, Any]:
    """The fields of a message type that can hold a tensor: message types by field number."""
    return {field.number: field.message_type for field in message.fields if _reaches(field.message_type, frozenset())}


def _reaches(message: Any, seen: frozenset[Any]) -> bool:
    if message is None or message in seen:
        return False
    return message is _TENSOR or any(_reaches(field.message_type, seen | {message}) for field in message.fields)
