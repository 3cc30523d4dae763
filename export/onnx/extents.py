"""The extents of an .onnx file and its external data: every field of every message that onnx.proto names.

Specification: https://protobuf.dev/programming-guides/encoding and https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from onnx import ModelProto, TensorProto

from ..extents import Extent, FileBytes, Part
from .reader import open_onnx
from .tensors import content, mapped
from .wire import DEPTH, encoded_fields

MOST_FIELDS = 200_000
"""Fields that are read; others are left over."""
_VALUES = {
    TensorProto.DESCRIPTOR.fields_by_name[name].number
    for name in ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")
}
_NAME = TensorProto.NAME_FIELD_NUMBER
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRES = {
    **dict.fromkeys((FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE), _BYTES),
    FieldDescriptor.CPPTYPE_FLOAT: _FIXED32,
    FieldDescriptor.CPPTYPE_DOUBLE: _FIXED64,
}
"""Wire type of a field that is not packed; _VARINT for the others."""


def read_onnx_extents(path: Path) -> FileBytes:
    """Find the extents of an .onnx file and its external data.

    The storage of an initializer of the graph is that of `read_onnx`; values of all other tensors have their place in the model
    for a name. Raises the errors of `read_onnx`.
    """
    opened = open_onnx(path)
    walk = _MessageBytes(content(path))
    walk.message(0, len(walk.data), ModelProto.DESCRIPTOR, "", 0)
    data = {"": walk.data}
    for location in opened.data.files:
        data[location] = mapped(path.parent / location)
    outside = {
        (location, int(offset), constant.nbytes): constant.storage
        for constant in opened.contents.constants
        for location, _, offset in (constant.storage.rpartition(":"),)
        if location in opened.data.files and offset.isdecimal()
    }
    found = [Extent(offset, offset + size, Part.VALUES, name, file) for (file, offset, size), name in outside.items()]
    return FileBytes(data, (*walk.found, *found))


@dataclass
class _MessageBytes:
    """The extents of a model's messages."""

    data: memoryview
    found: list[Extent] = field(default_factory=list)
    fields: int = 0

    def message(self, start: int, end: int, message: Any, place: str, depth: int) -> None:
        """Add the fields of a message at a `place` in the model; nothing for bytes that are no message."""
        if depth > DEPTH:
            return
        storage = self._storage(start, end, place) if message is TensorProto.DESCRIPTOR else ""
        try:
            for number, first, begin, stop in encoded_fields(self.data, start, end):
                self.fields += 1
                known = message.fields_by_number.get(number)
                if known is not None and self.fields <= MOST_FIELDS:
                    self._field(known, first, begin, stop, storage if number in _VALUES else "", place, depth)
        except ValueError:
            return

    def _field(self, known: Any, first: int, begin: int, stop: int, storage: str, place: str, depth: int) -> None:
        wire, right = self.data[first] & 7, _WIRES.get(known.cpp_type, _VARINT)
        where = f"{place}.{known.name}".lstrip(".")
        if wire == right and known.message_type is not None:
            self._add(first, begin, Part.STRUCTURE)
            self.message(begin, stop, known.message_type, where, depth + 1)
        elif wire == _BYTES and (right == _BYTES or known.is_repeated):
            self._add(first, begin, Part.STRUCTURE)
            part = Part.VALUES if storage else Part.TEXT if right == _BYTES else Part.NUMBERS
            self._add(begin, stop, part, storage or where)
        elif wire == right:
            self._add(first, stop, Part.STRUCTURE)

    def _add(self, start: int, stop: int, part: Part, name: str = "") -> None:
        last = self.found[-1] if self.found else None
        if part is Part.STRUCTURE and last is not None and last.part is part and last.stop == start:
            self.found[-1] = Extent(last.start, stop, part)
        elif stop > start:
            self.found.append(Extent(start, stop, part, name))

    def _storage(self, start: int, end: int, place: str) -> str:
        """The storage of a tensor's values: the name of an initializer of the graph."""
        if place != _INITIALIZER:
            return f"{place} of a tensor"
        names = [self.data[b:e] for number, _, b, e in encoded_fields(self.data, start, end) if number == _NAME]
        return bytes(names[-1]).decode(errors="replace") if names else place


_INITIALIZER = "graph.initializer"
