"""Mutations of parsed models: fields of protobuf messages (.onnx) and of flatbuffers (.tflite), wherever they lie.

Damage to the bytes ends in the parser mostly; damage to the parsed model, written again, reaches what reads it.
"""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message

from tiedae.base.errors import TiedaeError
from tiedae.export.tflite.flatbuffer import Flatbuffer
from tiedae.export.tflite.reader import read_tflite

from .mutations import NUMBERS, blind

LARGEST_PART = 1 << 12
"""Bytes of a message that is put in another place, at most."""
VALUES = (0, 1, -1, 2, 7, 16, 255, 2**31 - 1, -(2**31), 2**62, 1.5, float("nan"), "", "x", "../x", "/etc/passwd", b"\1\2", b"")


def protobuf(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One field of one message of an .onnx file."""
    try:
        model = onnx.load_from_string(data)
    except (DecodeError, ValueError):
        return blind(data, rng, others)
    messages = list(_messages_in(model))
    message = rng.choice(messages)
    field = rng.choice(message.DESCRIPTOR.fields)
    parts = [other for other in messages if other.DESCRIPTOR is field.message_type][:20]
    part = rng.choice(parts).SerializeToString() if parts else b""
    try:
        _change_field(message, field, part if len(part) < LARGEST_PART else b"", rng)
        return model.SerializeToString()
    except (TypeError, ValueError, DecodeError, EncodeError):
        return data  # a value that the field cannot have


def _change_field(message: Message, field: FieldDescriptor, part: bytes, rng: random.Random) -> None:
    """Remove it, set it, or, with what another message of its kind holds, add to it."""
    held, value = getattr(message, field.name), rng.choice(VALUES)
    if field.is_repeated:
        if len(held) and rng.random() < 0.6:
            del held[rng.randrange(len(held))]
        elif field.message_type:
            held.add().MergeFromString(part)
        else:
            held.extend([value] * rng.choice((1, 2, 40)))
    elif rng.random() < 0.3:
        message.ClearField(field.name)
    elif field.message_type:
        held.MergeFromString(part)
    else:
        setattr(message, field.name, value)


def _messages_in(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for each in value if field.is_repeated else [value]:
                yield from _messages_in(each)


def fields(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Up to four numbers or offsets of a .tflite file, in their places: those that its reader reads of the whole file."""
    places = _places(data) if data in others else ()
    if not places:
        return blind(data, rng, others)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.choice(places)
        before = int.from_bytes(changed[at : at + size], "little")
        other, width = rng.choice(places)
        copied = int.from_bytes(data[other : other + width], "little")
        value = rng.choice((rng.choice(NUMBERS), before + rng.randrange(-4, 5), copied))
        changed[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(changed)


@functools.lru_cache(maxsize=512)
def _places(data: bytes) -> tuple[tuple[int, int], ...]:
    """(position, size) of what the reader reads; none of a file that it refuses."""
    found: dict[tuple[int, int], None] = {}
    read = Flatbuffer.read

    def recorded(self: Flatbuffer, code: str, position: int) -> int | float:
        found[position, struct.calcsize(code)] = None
        return read(self, code, position)

    with patch.object(Flatbuffer, "read", recorded):
        try:
            read_tflite(data)
        except TiedaeError:
            return ()
    return tuple(found)


def tables(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Fields of up to three tables of a .tflite file, which is then written anew."""
    try:
        read_tflite(data)
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    except (TiedaeError, ValueError, TypeError, struct.error):
        return blind(data, rng, others)
    found = [table for table in _tables_in(model) if vars(table)]
    for _ in range(rng.choice((1, 2, 3))):
        _change_table(rng.choice(found), rng)
    builder = flatbuffers.Builder()
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (TypeError, ValueError, AttributeError, struct.error):
        return data  # a value that the field cannot have
    return bytes(builder.Output())


INTEGERS = (0, 1, 2, 3, 17, 18, 120, 127, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**40)


def _change_table(table: Any, rng: random.Random) -> None:
    name = rng.choice(list(vars(table)))
    before = getattr(table, name)
    if isinstance(before, list) and before:
        setattr(table, name, rng.choices(before, k=rng.randrange(2 * len(before))))
    elif isinstance(before, np.ndarray) and len(before):
        setattr(table, name, np.array(rng.choices(before, k=min(rng.randrange(2 * len(before) + 1), 1 << 12)), before.dtype))
    elif isinstance(before, int):
        setattr(table, name, rng.choice(INTEGERS))
    elif isinstance(before, bytes):
        setattr(table, name, rng.choice((b"", b"\xff\xfe", b"two\nlines")))


def _tables_in(table: Any) -> Iterator[Any]:
    yield table
    for value in vars(table).values():
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "Pack"):
                yield from _tables_in(each)
