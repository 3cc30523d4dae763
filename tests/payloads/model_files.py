"""Subjects of the grid that are files of other tools: every text of a model file, renamed wherever it stands, and of a table.

Texts are found by walking a file's own structure: the messages of an .onnx file, the tables of a .tflite file, the JSON and
the names of a .keras or .h5 file.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.archive import unpack_npz
from tiedae.base.keys import Line
from tiedae.base.records import checked
from tiedae.cli.commands.inspect import _inspected
from tiedae.data.csv_files import read_csv
from tiedae.export.tflite.schema import pack_model

from .documents import terminal
from .grid import HARMLESS, Subject, Surfaces

MARK = "payload-goes-here-"
TEXT = onnx.GraphProto.DESCRIPTOR.fields_by_name["name"].type
MESSAGE = onnx.GraphProto.DESCRIPTOR.fields_by_name["node"].type


@dataclass(frozen=True)
class Renamed:
    """A text of a file, at any place in it; `new`: a text that the file lacks, by where it may be.

    Names of a file are different ones: where it has the payload, another one ends in a number too.
    """

    old: str
    change: Callable[[Any, str, str], Any]
    kind: str = "file"
    number: int = 0
    valid: str = HARMLESS

    @property
    def name(self) -> str:
        return f"{self.kind} {self.old}"

    @property
    def variant(self) -> tuple[str, ...]:
        return ()

    def put(self, document: Any, text: str) -> Any:
        there = len(text) > 1 and as_bytes(text) in document
        return self.change(document, self.old, f"{text}{self.number}" if there else text)


def numbered(*fields: Renamed) -> list[Renamed]:
    return [replace(field, number=i) for i, field in enumerate(fields)]


def inspected(path: Path) -> Callable[[bytes], Surfaces]:
    """What `inspect` says of the bytes of a file, written there."""

    def show(data: bytes) -> Surfaces:
        path.write_bytes(data)
        row, text = _inspected(path, None)
        return {"inspect.terminal": terminal(lambda console: console.say(text)), "inspect.json": json.dumps(row)}

    return show


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def onnx_subject(data: bytes, folder: Path) -> Subject:
    """Texts of all messages, and those that a message may have and has not; paths of external data are among them."""
    texts = sorted({text for _, _, text in _onnx_texts(onnx.ModelProto.FromString(data)) if text})
    absent = sorted({f"{kind}.{field}" for kind, field, text in _onnx_texts(onnx.ModelProto.FromString(data)) if not text})
    fields = [Renamed(text, _onnx_renamed) for text in texts] + [Renamed(name, _onnx_added, "new") for name in absent]
    return Subject("onnx", data, numbered(*fields), bytes, inspected(folder / "model.onnx"))


def _onnx_messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.type == MESSAGE:
            for each in value if hasattr(value, "__len__") else [value]:
                yield from _onnx_messages(each)


def _onnx_texts(model: onnx.ModelProto) -> Iterator[tuple[str, str, str]]:
    for message in _onnx_messages(model):
        for field in message.DESCRIPTOR.fields:
            if field.type == TEXT:
                value = getattr(message, field.name)
                values = list(value) if not isinstance(value, str) else [value]
                yield from ((message.DESCRIPTOR.name, field.name, text) for text in values or [""])


def _onnx_renamed(data: bytes, old: str, text: str) -> bytes:
    return _with_mark(lambda mark: _onnx_replaced(data, old, mark), text)


def _onnx_replaced(data: bytes, old: str, text: str) -> bytes:
    model = onnx.ModelProto.FromString(data)
    for message in _onnx_messages(model):
        for field, value in message.ListFields():
            if field.type != TEXT or isinstance(value, bytes):  # what is no UTF-8
                continue
            if isinstance(value, str):
                if value == old:
                    setattr(message, field.name, text)
            else:
                for i in [i for i, each in enumerate(value) if each == old]:
                    value[i] = text
    return model.SerializeToString()


def _onnx_added(data: bytes, where: str, text: str) -> bytes:
    def added(mark: str) -> bytes:
        model = onnx.ModelProto.FromString(data)
        kind, _, name = where.partition(".")
        message = next(each for each in _onnx_messages(model) if each.DESCRIPTOR.name == kind)
        value = getattr(message, name)
        setattr(message, name, mark) if isinstance(value, str) else value.append(mark)
        return model.SerializeToString()

    return _with_mark(added, text)


def _with_mark(write: Callable[[str], bytes], text: str) -> bytes:
    """What a writer makes of a text, also of one that it refuses: then of a mark of as many bytes, which the text replaces."""
    try:
        text.encode()
        return write(text)
    except UnicodeEncodeError:
        mark = (MARK * (1 + len(as_bytes(text)) // len(MARK)))[: len(as_bytes(text))]
        return write(mark).replace(mark.encode(), as_bytes(text))


def tflite_subject(data: bytes, folder: Path) -> Subject:
    """Texts of all tables, and those that a table may have and has not."""
    model = _tflite_model(data)
    found = {as_text(value) for _, _, value in _tables(model) if value is not None}
    absent = {f"{type(table).__name__}.{name}" for table, name, value in _tables(model) if value is None}
    fields = [Renamed(text, _tflite_renamed) for text in sorted(found) if text]
    fields += [Renamed(name, _tflite_added, "new") for name in sorted(absent)]
    return Subject("tflite", data, numbered(*fields), bytes, inspected(folder / "model.tflite"))


def _tflite_model(data: bytes) -> Any:
    model: Any = schema.ModelT.InitFromPackedBuf(data)
    for buffer in model.buffers:
        buffer.data = np.zeros(0, np.uint8) if buffer.data is None else buffer.data
    return model


TFLITE_TEXTS = ("name", "description", "customCode", "signatureKey")
"""Attributes that hold a text where they are set; others are found by what they hold."""


def as_text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _tables(table: Any) -> Iterator[tuple[Any, str, Any]]:
    """(table, attribute, text or None)."""
    for name, value in vars(table).items():
        if isinstance(value, bytes | str) or (value is None and name in TFLITE_TEXTS):
            yield table, name, value
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "Pack"):
                yield from _tables(each)


def _tflite_renamed(data: bytes, old: str, text: str) -> bytes:
    model = _tflite_model(data)
    for table, name, value in list(_tables(model)):
        if value is not None and as_text(value) == old:
            setattr(table, name, as_bytes(text))
    return bytes(pack_model(model))


def _tflite_added(data: bytes, where: str, text: str) -> bytes:
    model = _tflite_model(data)
    table, name, _ = next(row for row in _tables(model) if f"{type(row[0]).__name__}.{row[1]}" == where and row[2] is None)
    setattr(table, name, as_bytes(text))
    return bytes(pack_model(model))


def json_texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(text for each in value.values() for text in json_texts(each))}
    if isinstance(value, list):
        return {text for each in value for text in json_texts(each)}
    return {value} if isinstance(value, str) else set()


def json_renamed(value: Any, old: str, text: str) -> Any:
    if isinstance(value, dict):
        return {text if key == old else key: json_renamed(each, old, text) for key, each in value.items()}
    if isinstance(value, list):
        return [json_renamed(each, old, text) for each in value]
    return text if value == old else value


def keras_subject(data: bytes, folder: Path) -> Subject:
    """A .keras file: texts of its JSON, and the names of its members."""
    members = _members(data)
    texts = {text for name, member in members.items() if name.endswith(".json") for text in json_texts(json.loads(member))}
    fields = [Renamed(text, _keras_renamed) for text in sorted({*texts, *members}) if text]
    return Subject("keras", data, numbered(*fields), bytes, inspected(folder / "model.keras"))


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _keras_renamed(data: bytes, old: str, text: str) -> bytes:
    """A member's name cannot hold what ZIP's writer of Python refuses: then the file stays without that member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in _members(data).items():
            if name.endswith(".json"):
                member = json.dumps(json_renamed(json.loads(member), old, text)).encode()
            name = text if name == old else name
            if as_bytes(name).isascii() or name.isprintable():
                archive.writestr(zipfile.ZipInfo(name[:60_000]), member)
    return buffer.getvalue()


def hdf5_subject(data: bytes, folder: Path) -> Subject:
    """A .h5 file: texts of its attributes and of the JSON in them, and names of groups and arrays."""
    texts: set[str] = set()
    with h5py.File(io.BytesIO(data)) as file:
        for node in _nodes(file):
            texts |= {part for part in (node.name or "").split("/") if part}
            for value in node.attrs.values():
                texts |= _attribute_texts(value)
    fields = numbered(*(Renamed(text, _hdf5_renamed) for text in sorted(texts)))
    return Subject("hdf5", data, fields, bytes, inspected(folder / "model.h5"))


def _nodes(file: h5py.File) -> list[Any]:
    found: list[Any] = [file]
    file.visititems(lambda _, node: found.append(node))
    return found


def _attribute_texts(value: Any) -> set[str]:
    if isinstance(value, np.ndarray):
        return {text for each in value.tolist() for text in _attribute_texts(each)}
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str) or not text:
        return set()
    return {each for each in json_texts(json.loads(text)) if each} if text.startswith("{") else {text}


def _hdf5_renamed(data: bytes, old: str, text: str) -> bytes:
    """What HDF5 does not store, such as a name with NUL, stays as it is."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        nodes = _nodes(file)
        for node in nodes:
            for key, value in list(node.attrs.items()):
                try:
                    if (renamed := _attribute_renamed(value, old, text)) is not value:
                        node.attrs[key] = renamed
                except (ValueError, OSError, RuntimeError, TypeError, UnicodeEncodeError):
                    node.attrs[key] = value
        for name in sorted((node.name for node in nodes if node.name), key=len, reverse=True):
            if name.rpartition("/")[2] == old and text and "/" not in text and "\0" not in text and as_bytes(text) != b".":
                with contextlib.suppress(ValueError, OSError, RuntimeError, UnicodeEncodeError):
                    file.move(name, f"{name.rpartition('/')[0]}/{text}")
    return buffer.getvalue()


def _attribute_renamed(value: Any, old: str, text: str) -> Any:
    """The value itself where it has no such text."""
    if isinstance(value, np.ndarray):
        changed = [_attribute_renamed(each, old, text) for each in value.tolist()]
        return (
            value
            if changed == value.tolist()
            else np.array([as_bytes(each) if isinstance(each, str) else each for each in changed])
        )
    plain = value.decode() if isinstance(value, bytes) else value
    if not isinstance(plain, str):
        return value
    if plain.startswith("{"):
        known = json.loads(plain)
        renamed = json_renamed(known, old, text)
        return value if renamed == known else json.dumps(renamed)
    return text if plain == old else value


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    row: int
    column: int
    kind: str = "cell"
    valid: str = HARMLESS

    @property
    def name(self) -> str:
        return f"row {self.row} column {self.column}"

    @property
    def variant(self) -> tuple[str, ...]:
        return (self.name,)

    def put(self, document: list[list[str]], text: str) -> list[list[str]]:
        rows = [list(row) for row in document]
        rows[self.row][self.column] = text
        return rows


def csv_subject(folder: Path) -> Subject:
    """A .csv file: headings, a label, a group and a number; columns that are read are lines that a manifest may hold."""
    path = folder / "table.csv"
    rows = [["a", "b", "label", "group"], *([f"{i}.5", f"{i * i}", "x", f"g{i % 2}"] for i in range(6))]

    def read(document: list[list[str]]) -> Any:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(document)
        path.write_bytes(as_bytes(text.getvalue()))
        return read_csv(path, groups="group")

    def show(arrays: Any) -> Surfaces:
        for each in (*(arrays.columns or ()), arrays.label or ""):
            checked(Line, each)
        return {"arrays.json": json.dumps([arrays.columns, arrays.label])}

    return Subject("csv", rows, [Cell(row, column) for row in (0, 1) for column in range(4)], read, show)


def npz_subject(data: bytes, kind: str, folder: Path) -> Subject:
    """An archive of arrays: texts of its header and names of its members."""
    path = folder / "arrays.npz"
    with np.load(io.BytesIO(data)) as file:
        arrays: Mapping[str, np.ndarray] = dict(file)
    header = next(name for name in arrays if arrays[name].dtype == np.uint8 and arrays[name].tobytes().startswith(b"{"))
    texts = json_texts(json.loads(arrays[header].tobytes()))

    def renamed(document: bytes, old: str, text: str) -> bytes:
        changed = json.dumps(json_renamed(json.loads(arrays[header].tobytes()), old, text)).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, values in {**arrays, header: np.frombuffer(changed, np.uint8)}.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, values, allow_pickle=False)
                name = text if name == old else name
                if "\0" not in name and as_bytes(name).decode("utf-8", "ignore") == name:
                    archive.writestr(zipfile.ZipInfo(f"{name[:60_000]}.npy"), member.getvalue())
        return buffer.getvalue()

    def read(document: bytes) -> Any:
        path.write_bytes(document)
        return unpack_npz(path, kind)

    fields = [Renamed(text, renamed) for text in sorted({*texts, *arrays}) if text]
    return Subject("npz", data, fields, read, lambda _: {})
