"""Files as the object API has them: whole, or refused."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.errors import ExportError
from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.tflite import schema as tflite_schema
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import pack_model, unpack_model
from tiedae.export.tflite.writer import to_tflite

from ...dedupe.tflite_files import tied_pair
from .test_writer import PROGRAMS, buffers_of, split


def plain(value):
    """A tree of tables as Python values, to compare two files by."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    return {key: plain(item) for key, item in vars(value).items()} if hasattr(value, "Pack") else value


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_unpacking_and_packing_change_nothing(options):
    data = to_tflite(split(**options))
    assert plain(unpack_model(pack_model(unpack_model(data), data))) == plain(unpack_model(data))


def test_nothing_of_the_file_is_lost():
    """Metadata, variables, custom operators, data behind the tables and appended files are where they were."""
    model = unpack_model(tied_pair())
    model.operatorCodes.append(schema.OperatorCodeT(32, b"Mine", 7, 32))
    model.metadata = [schema.MetadataT(name=b"min_runtime_version", buffer=len(model.buffers))]
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"1.5.0".ljust(16, b"\0"), np.uint8)))
    model.metadata.append(schema.MetadataT(name=b"notes", buffer=len(model.buffers)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"kept as it is", np.uint8)))
    graph = model.subgraphs[0]
    graph.tensors.append(schema.TensorT(name=b"state", shape=np.array([2], np.int32), isVariable=True))
    custom: Any = schema.OperatorT(len(model.operatorCodes) - 1, customOptions=np.arange(9, dtype=np.uint8))
    custom.inputs = custom.outputs = np.array([len(graph.tensors) - 1], np.int32)
    graph.operators.append(custom)
    data = io.BytesIO(pack_model(model, b""))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("labels.txt", "shirt\ncoat\n")
    shared = share_tflite(data.getvalue())
    after = unpack_model(shared.data)
    assert len(shared.merged) == 1
    assert plain(after.subgraphs[0].operators[-1]) == plain(custom)
    assert plain(after.operatorCodes[custom.opcodeIndex]) == plain(model.operatorCodes[-1])
    assert [(entry.name, after.buffers[entry.buffer].data.tobytes()) for entry in after.metadata][1:] == [
        (entry.name, model.buffers[entry.buffer].data.tobytes()) for entry in model.metadata
    ][1:]
    assert any(tensor.name == b"state" and tensor.isVariable for tensor in after.subgraphs[0].tensors)
    with zipfile.ZipFile(io.BytesIO(shared.data)) as archive:
        assert archive.read("labels.txt") == b"shirt\ncoat\n"


def test_buffers_behind_the_tables_stay_there():
    data = tied_pair()
    model = unpack_model(data)
    kernel = model.buffers[1].data
    model.buffers[1] = _Behind(16, kernel.size)
    packed = _finish(model)
    model.buffers[1] = _Behind(len(packed), kernel.size)
    packed = _finish(model) + kernel.tobytes()
    shared = share_tflite(packed)
    assert [merged.name for merged in shared.merged] == ["second"] and len(shared.data) < len(packed)
    (table,) = [each for each in buffers_of(shared.data) if each.Offset() > 1]
    assert shared.data[table.Offset() :] == kernel.tobytes() and table.Offset() % 16 == 0 and table.DataIsNone()
    assert read_tflite(shared.data).constants[0].values.tobytes() == kernel.tobytes()


class _Behind(schema.BufferT):
    def __init__(self, offset: int, size: int) -> None:
        super().__init__(None, offset, size)


def _finish(model) -> bytes:
    builder = tflite_schema.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _FutureOptions(schema.FullyConnectedOptionsT):
    """Options with a field more than the schema knows."""

    def Pack(self, builder):
        builder.StartObject(20)
        builder.PrependInt8Slot(19, 1, 0)
        return builder.EndObject()


class _FutureUnion(schema.OperatorT):
    """An operator with options of a kind that the schema does not know."""

    def Pack(self, builder):
        self.builtinOptionsType = 250
        return super().Pack(builder)


@pytest.mark.parametrize("what", ["field", "kind"])
def test_parts_that_are_not_known_are_refused(what):
    model = unpack_model(tied_pair())
    operators = model.subgraphs[0].operators
    if what == "field":
        operators[0].builtinOptions = _FutureOptions()
    else:
        operators[0] = _FutureUnion(**vars(operators[0]))
    with pytest.raises(ExportError, match=f"{'a field' if what == 'field' else 'builtinOptions'} of .* does not know"):
        share_tflite(_finish(model))


def test_more_than_two_gigabytes_are_refused(monkeypatch):
    monkeypatch.setattr(tflite_schema, "MAX_BYTES", 100)
    with pytest.raises(ExportError, match="at most 100"):
        share_tflite(tied_pair())
