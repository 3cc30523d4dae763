"""The proof by bytes: it accepts what only reads equal bytes from another buffer, and names every other difference."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.dedupe.share_tflite import share_tflite
from tiedae.dedupe.tflite_same import same_bytes
from tiedae.export.tflite.schema import APPENDED, pack_model, unpack_model

from .tflite_files import File, Op, tied_pair


def twice(**custom) -> bytes:
    """A file of one kernel, stored for each of two layers, with every other part that the format has."""
    file, rng = File(), np.random.default_rng(0)
    kernel = rng.normal(size=(12, 12)).astype(np.float32)
    graph = file.graph("main")
    x, h, y = (graph.tensor(name, (-1, 12)) for name in "xhy")
    for source, target, name in ((x, h, "first"), (h, y, "second")):
        graph.add(Op.FULLY_CONNECTED, [source, graph.constant(name, kernel), -1], [target], schema.FullyConnectedOptionsT())
    graph.constant("scaled", rng.integers(-9, 9, (12, 12)).astype(np.int8), scale=rng.uniform(1, 2, 12))
    graph.tensor("state", (12,), buffer=0, isVariable=True)
    graph.set_io([x], [y])
    file.note("notes", b"some notes")
    file.buffers.append(b"read by no tensor")
    model = unpack_model(file.data())
    model.operatorCodes.append(schema.OperatorCodeT(32, custom.get("code", b"Mine"), 7, 32))
    operator: Any = schema.OperatorT(len(model.operatorCodes) - 1, customOptions=np.arange(9, dtype=np.uint8))
    operator.inputs, operator.outputs = np.array([h], np.int32), np.array([y], np.int32)
    model.subgraphs[0].operators.append(operator)
    data = io.BytesIO(pack_model(model))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("labels.txt", "shirt")
    return data.getvalue()


def difference(folder, before: bytes, after: bytes) -> str:
    for name, data in (("before.tflite", before), ("after.tflite", after)):
        (folder / name).write_bytes(data)
    return same_bytes(folder / "before.tflite", folder / "after.tflite")


def test_a_merge_of_equal_bytes_is_the_same(tmp_path):
    shared = share_tflite(twice())
    assert [merged.how for merged in shared.merged] == ["a second view of one buffer"] and len(shared.data) < len(twice())
    assert difference(tmp_path, twice(), shared.data) == ""


def test_where_the_data_lie_is_no_difference(tmp_path):
    model = unpack_model(twice())
    for buffer in model.buffers[1:3]:
        buffer.offset = APPENDED
    assert difference(tmp_path, twice(), pack_model(model, twice())) == ""


def test_a_merge_that_rewrites_operators_is_not_the_same(tmp_path):
    assert difference(tmp_path, tied_pair(), share_tflite(tied_pair()).data) == "operatorCodes"


def _graph(model):
    return model.subgraphs[0]


def _tensor(model, name):
    return next(tensor for tensor in _graph(model).tensors if tensor.name == name)


def _flip(model, name):
    buffer = model.buffers[_tensor(model, name).buffer]
    buffer.data = buffer.data.copy()
    buffer.data[5] ^= 1


def _share_state(model):
    _tensor(model, b"state").buffer = _tensor(model, b"first").buffer


CHANGES = {
    "a value": (lambda m: _flip(m, b"second"), "second: its bytes"),
    "another buffer": (lambda m: setattr(_tensor(m, b"second"), "buffer", 3), "second: its bytes"),
    "a scale": (
        lambda m: _tensor(m, b"scaled").quantization.scale.__setitem__(3, 7),
        "tensors 5, quantization, scale",
    ),
    "axis": (lambda m: setattr(_tensor(m, b"scaled").quantization, "quantizedDimension", 1), "tensors 5, quantization, q"),
    "a name": (lambda m: setattr(_tensor(m, b"first"), "name", b"other"), "tensors 3, name"),
    "a shape": (lambda m: setattr(_tensor(m, b"first"), "shape", np.array([6, 24], np.int32)), "tensors 3, shape"),
    "a type": (lambda m: setattr(_tensor(m, b"first"), "type", 2), "tensors 3, type"),
    "sparsity": (lambda m: setattr(_tensor(m, b"first"), "sparsity", schema.SparsityParametersT()), "tensors 3, sparsity"),
    "a fused activation": (
        lambda m: setattr(_graph(m).operators[1].builtinOptions, "fusedActivationFunction", 1),
        "operators 1, builtinOptions, fusedActivationFunction",
    ),
    "custom options": (lambda m: _graph(m).operators[2].customOptions.__setitem__(0, 8), "operators 2, customOptions"),
    "inputs": (lambda m: setattr(_graph(m).operators[1], "inputs", np.array([0, 4, -1], np.int32)), "operators 1, inputs"),
    "order of operators": (lambda m: _graph(m).operators.reverse(), "operators 0"),
    "an operator less": (lambda m: _graph(m).operators.pop(), "operators"),
    "a version": (lambda m: setattr(m.operatorCodes[0], "version", 2), "operatorCodes 0, version"),
    "outputs": (lambda m: setattr(_graph(m), "outputs", np.array([1], np.int32)), "subgraphs 0, outputs"),
    "a signature": (lambda m: setattr(m.signatureDefs[0], "signatureKey", b"other"), "signatureDefs 0, signatureKey"),
    "a tensor of a signature": (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 1), "inputs 0, tensorIndex"),
    "description": (lambda m: setattr(m, "description", b"else"), "description"),
    "metadata": (lambda m: setattr(m.metadata[0], "buffer", 1), "notes: its bytes"),
    "unread": (lambda m: setattr(m.buffers[-1], "data", np.ones(3, np.uint8)), "which no tensor reads"),
    "a shared state": (_share_state, "state: "),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_every_other_difference_is_named_in_one_line(change, expected, tmp_path):
    data = twice()
    model = unpack_model(data)
    for tensor in _graph(model).tensors:
        if tensor.quantization is not None:
            tensor.quantization.scale = tensor.quantization.scale.copy()
    for operator in _graph(model).operators:
        operator.customOptions = None if operator.customOptions is None else operator.customOptions.copy()
    change(model)
    text = difference(tmp_path, data, pack_model(model, data))
    assert expected in text and text.count("\n") == 0


def test_a_variable_that_comes_to_share_a_buffer_is_a_difference(tmp_path):
    model = unpack_model(twice())
    _share_state(model)
    before = pack_model(model)
    _tensor(model, b"first").buffer = _tensor(model, b"second").buffer
    text = difference(tmp_path, before, pack_model(model))
    assert text == "state: a variable's buffer"


def test_buffer_0_is_empty_whatever_it_holds(tmp_path):
    model = unpack_model(twice())
    model.buffers[0].data = model.buffers[_tensor(model, b"second").buffer].data
    before = pack_model(model)
    _tensor(model, b"second").buffer = 0
    assert "second: whether it is in buffer 0" in difference(tmp_path, before, pack_model(model))


def test_the_archive_behind_the_tables_is_compared(tmp_path):
    data = twice()
    assert difference(tmp_path, data, pack_model(unpack_model(data))) == "the archive behind the tables"


def test_operators_that_refer_to_the_file_are_no_proof(tmp_path):
    data = twice(code=b"DISPATCH_OP")
    assert difference(tmp_path, data, data) == ""
    assert difference(tmp_path, data, data + b"code").startswith("operator DISPATCH_OP, which refers to positions in the file")


@pytest.mark.parametrize("size", [0, 9, 200])
def test_a_damaged_file_is_an_error(size, tmp_path):
    with pytest.raises(FormatError):
        difference(tmp_path, twice(), twice()[:size])


MERGED = share_tflite(twice()).data


def _plain(value: Any, model: Any) -> Any:
    """A tree of tables as Python values, with the bytes of a buffer for its index."""
    if isinstance(value, list):
        return [_plain(item, model) for item in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if not hasattr(value, "Pack"):
        return repr(value)
    fields = {key: _plain(item, model) for key, item in vars(value).items() if key != "buffers"}
    return fields | {"buffer": model.buffers[value.buffer].data.tobytes()} if "buffer" in fields else fields


@pytest.mark.ci
@settings(max_examples=300, deadline=None)
@given(bit=st.integers(0, 8 * len(MERGED) - 1))
def test_a_flipped_bit_is_a_difference_or_means_nothing(tmp_path_factory, bit):
    flipped = bytearray(MERGED)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        text = difference(tmp_path_factory.mktemp("bit"), twice(), bytes(flipped))
    except FormatError:
        return
    if not text:
        one, other = unpack_model(MERGED), unpack_model(bytes(flipped))
        assert _plain(one, one) == _plain(other, other)


def _with_large_options(payload: bytes) -> bytes:
    """A file whose custom operator has its options behind the tables."""
    model = unpack_model(twice())
    operator = _graph(model).operators[2]
    operator.largeCustomOptionsSize, operator.largeCustomOptionsOffset = len(payload), 1 << 20
    operator.largeCustomOptionsOffset = len(pack_model(model))
    return pack_model(model) + payload


def test_large_custom_options_are_compared_where_they_lie(tmp_path):
    assert difference(tmp_path, _with_large_options(b"options"), _with_large_options(b"options")) == ""
    text = difference(tmp_path, _with_large_options(b"options"), _with_large_options(b"optionS"))
    assert text == "large custom options"
