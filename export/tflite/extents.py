"""The extents of a .tflite file: every field of every table that the schema names.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiedae.base.errors import FormatError
from tiedae.base.files import open_regular

from ..extents import Extent, FileBytes, Part
from .flatbuffer import Flatbuffer, Table
from .reader import MAPPED
from .schema import schema

MOST_TABLES = 40_000
"""Tables that are read; others are left over."""
METADATA = "metadata "
"""Start of the name of a buffer of metadata, before its own."""
LONGEST = 64
"""Most bytes of the table, and of the vtable, of an operator's options: numbers of a fixed size."""

Fields = Mapping[int, tuple[str, str]]
TABLES: Mapping[str, Fields] = {
    "Model": {
        0: ("version", "4"),
        1: ("operator_codes", "[OperatorCode]"),
        2: ("subgraphs", "[SubGraph]"),
        3: ("description", "text"),
        4: ("buffers", "[Buffer]"),
        5: ("metadata_buffer", "x4"),
        6: ("metadata", "[Metadata]"),
        7: ("signature_defs", "[SignatureDef]"),
        8: ("external_buffer_groups", "[ExternalBufferGroup]"),
        9: ("external_buffers", "[ExternalBuffer]"),
    },
    "OperatorCode": {0: ("code", "1"), 1: ("custom_code", "text"), 2: ("version", "4"), 3: ("builtin_code", "4")},
    "SubGraph": {
        0: ("tensors", "[Tensor]"),
        1: ("inputs", "x4"),
        2: ("outputs", "x4"),
        3: ("operators", "[Operator]"),
        4: ("name", "text"),
        5: ("debug_metadata_index", "4"),
    },
    "Tensor": {
        0: ("shape", "x4"),
        1: ("type", "1"),
        2: ("buffer", "4"),
        3: ("name", "text"),
        4: ("quantization", "QuantizationParameters"),
        5: ("is_variable", "1"),
        6: ("sparsity", "SparsityParameters"),
        7: ("shape_signature", "x4"),
        8: ("has_rank", "1"),
        9: ("variant_tensors", "[VariantSubType]"),
        10: ("external_buffer", "4"),
    },
    "VariantSubType": {0: ("shape", "x4"), 1: ("type", "1"), 2: ("has_rank", "1")},
    "QuantizationParameters": {
        0: ("min", "x4"),
        1: ("max", "x4"),
        2: ("scale", "x4"),
        3: ("zero_point", "x8"),
        4: ("details_type", "1"),
        5: ("details", "CustomQuantization"),
        6: ("quantized_dimension", "4"),
    },
    "CustomQuantization": {0: ("custom", "x1")},
    "SparsityParameters": {
        0: ("traversal_order", "x4"),
        1: ("block_map", "x4"),
        2: ("dim_metadata", "[DimensionMetadata]"),
    },
    "DimensionMetadata": {
        0: ("format", "1"),
        1: ("dense_size", "4"),
        2: ("array_segments_type", "1"),
        3: ("array_segments", "places"),
        4: ("array_indices_type", "1"),
        5: ("array_indices", "places"),
    },
    "Operator": {
        0: ("opcode_index", "4"),
        1: ("inputs", "x4"),
        2: ("outputs", "x4"),
        3: ("builtin_options_type", "1"),
        4: ("builtin_options", "options"),
        5: ("custom_options", "x1"),
        6: ("custom_options_format", "1"),
        7: ("mutating_variable_inputs", "x1"),
        8: ("intermediates", "x4"),
        9: ("large_custom_options_offset", "8"),
        10: ("large_custom_options_size", "8"),
        11: ("builtin_options_2_type", "1"),
        12: ("builtin_options_2", "options"),
        13: ("debug_metadata_index", "4"),
    },
    "Buffer": {0: ("data", "values"), 1: ("offset", "8"), 2: ("size", "8")},
    "Metadata": {0: ("name", "text"), 1: ("buffer", "4")},
    "SignatureDef": {
        0: ("inputs", "[TensorMap]"),
        1: ("outputs", "[TensorMap]"),
        2: ("signature_key", "text"),
        4: ("subgraph_index", "4"),
    },
    "TensorMap": {0: ("name", "text"), 1: ("tensor_index", "4")},
    "ExternalBufferGroup": {0: ("name", "text")},
    "ExternalBuffer": {0: ("id", "4"), 1: ("group", "4"), 2: ("offset", "8"), 3: ("length", "8"), 4: ("packing", "text")},
}
"""Name and kind of each slot. A kind is the size of a scalar in bytes; or what an offset leads to: text, a vector of items of
that size (x4), a table, a vector of tables, `options` of an operator, `places` of a sparse tensor, `values` of a constant."""
_VECTOR_OPTIONS = (schema.BuiltinOptions.ReshapeOptions, schema.BuiltinOptions.SqueezeOptions)
"""Kinds of options whose slot 0 is a vector of int32."""
_PLACES = {1: 4, 2: 2, 3: 1}
"""Bytes of an item, by the kind of a vector of places."""


def read_tflite_extents(path: Path) -> FileBytes:
    """Find the extents of a .tflite file. The storage of a constant is its buffer's index, as in `read_tflite`.

    Raises FormatError for a truncated, empty, damaged or foreign file.
    """
    with open_regular(path) as file:
        small = path.stat().st_size < MAPPED
        data = file.read() if small else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return FileBytes({"": memoryview(data)}, tflite_extents(data))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def tflite_extents(data: bytes | mmap.mmap) -> tuple[Extent, ...]:
    """The extents of the bytes of a .tflite file. Raises FormatError as `read_tflite_extents`."""
    walk = _TableBytes(Flatbuffer(data, ".tflite"))
    root = walk.file.root(b"TFL3")
    walk.add(0, 8, Part.STRUCTURE)
    walk.table(root, "Model")
    return tuple(walk.found)


@dataclass
class _TableBytes:
    """The extents found so far, the tables seen by kind and position, and the buffers that tensors and metadata read."""

    file: Flatbuffer
    found: list[Extent] = field(default_factory=list)
    seen: set[tuple[str, int]] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    metadata: dict[int, str] = field(default_factory=dict)

    def add(self, start: int, size: int, part: Part, name: str = "") -> None:
        self.file.check(start, size)
        if size:
            self.found.append(Extent(start, start + size, part, name))

    def table(self, table: Table, kind: str, storage: str = "") -> None:
        """Add a table and what it leads to. `storage`: that of the tensor, or of the buffer, which it belongs to."""
        position, _, vtable, slots = table.head
        if (kind, position) in self.seen or len(self.seen) >= MOST_TABLES:
            return
        self.seen.add((kind, position))
        fields = TABLES[kind]
        self.add(vtable, 4 + 2 * min(slots, max(fields) + 1), Part.STRUCTURE)
        self.add(position, 4, Part.STRUCTURE)
        if kind == "Tensor":
            self.read.add(table.integer(2, "I"))
            storage = str(table.integer(2, "I"))
        elif kind == "Metadata":
            self.metadata[table.integer(1, "I")] = table.text(0)
        for slot in sorted(fields, key=lambda slot: fields[slot][0] == "buffers"):
            place = table.place(slot)
            if place is not None:
                name, form = fields[slot]
                self.add(place, int(form) if form.isdigit() else 4, Part.STRUCTURE)
                self._follow(table, slot, f"{kind}.{name}", form, storage)
        if kind == "Buffer" and table.integer(1, "Q") > 1:
            self.add(table.integer(1, "Q"), table.integer(2, "Q"), _part(storage), storage)

    def _follow(self, table: Table, slot: int, name: str, form: str, storage: str) -> None:
        """Add what the offset of a field leads to."""
        match form:
            case "text":
                self._vector(table, slot, 1, Part.TEXT, name, ends=1)
            case "x1" | "x4" | "x8":
                self._vector(table, slot, int(form[1]), Part.NUMBERS, name)
            case "values":
                self._vector(table, slot, 1, _part(storage), storage)
            case "places":
                vector, item = table.table(slot), _PLACES.get(table.integer(slot - 1, "B"), 0)
                if vector is not None and item:
                    self._options(vector, name)
                    self._vector(vector, 0, item, Part.VALUES, storage)
            case "options":
                if (options := table.table(slot)) is not None:
                    self._options(options, name)
                    if slot == 4 and table.integer(3, "B") in _VECTOR_OPTIONS:
                        self._vector(options, 0, 4, Part.NUMBERS, name)
            case _ if form.startswith("["):
                start, count = table.extent(slot, 4)
                self.add(start - 4, 4 + 4 * count, Part.STRUCTURE)
                for index, each in enumerate(table.tables(slot) if count < MOST_TABLES else ()):
                    self.table(each, form[1:-1], self._buffer(index) if form == "[Buffer]" else storage)
            case _ if form in TABLES and (nested := table.table(slot)) is not None:
                self.table(nested, form, storage)

    def _vector(self, table: Table, slot: int, item: int, part: Part, name: str, *, ends: int = 0) -> None:
        """Add a vector: its length, its items, and the zero that `ends` a text."""
        start, count = table.extent(slot, item)
        if start:
            self.add(start - 4, 4, Part.STRUCTURE)
            self.add(start, count * item, part, name)
            self.add(start + count * item, min(ends, len(self.file.data) - start - count * item), Part.STRUCTURE)

    def _options(self, table: Table, name: str) -> None:
        position, size, vtable, slots = table.head
        for start, length in ((position, size), (vtable, 4 + 2 * slots)):
            self.add(start, length, Part.STRUCTURE if length <= LONGEST else Part.NUMBERS, name)

    def _buffer(self, index: int) -> str:
        """The storage of a buffer; another name if no tensor reads it."""
        if index in self.read:
            return str(index)
        if index in self.metadata:
            return f"{METADATA}{self.metadata[index]}"
        return f"buffer {index}, which no tensor reads"


def _part(storage: str) -> Part:
    return Part.TEXT if storage.startswith(METADATA) else Part.VALUES
