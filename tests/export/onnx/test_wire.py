"""Large tensors out of an encoded model and back: nothing is lost, nothing is copied."""

import mmap
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tiedae.export.onnx import tensors as onnx_tensors
from tiedae.export.onnx.reader import open_onnx, read_onnx
from tiedae.export.onnx.wire import LARGE, join, placed, split
from tiedae.export.reals import joined


def is_mapped(values: np.ndarray) -> bool:
    """Whether values are a view of a memory-mapped file."""
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)


SIZES = (0, 3, LARGE // 4 - 1, LARGE // 4, 3 * LARGE)


def tensor(size: int, seed: int, name: str, kind: str) -> TensorProto:
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    if kind == "typed":
        return helper.make_tensor(name, TensorProto.FLOAT, [size], values)
    made = numpy_helper.from_array(values, name)
    if kind == "external":
        made.external_data.add(key="location", value="elsewhere")
        made.data_location = TensorProto.EXTERNAL
    if kind == "placeholder's text":
        made.doc_string = "\0inside:0"
    return made


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> onnx.ModelProto:
    """Tensors of all sizes wherever a model can have them."""
    number = iter(range(10**6))

    def one() -> TensorProto:
        seed = next(number)
        kind = draw(st.sampled_from(["raw", "raw", "typed", "external", "placeholder's text"]))
        return tensor(draw(st.sampled_from(SIZES)), seed, f"t{seed}", kind)

    def graph(depth: int) -> onnx.GraphProto:
        nodes = []
        for _ in range(draw(st.integers(0, 2))):
            made = helper.make_node("Any", ["x"], [f"n{next(number)}"], value=one(), more=[one(), one()])
            if depth:
                made.attribute.append(helper.make_attribute("body", graph(depth - 1)))
                made.attribute.append(helper.make_attribute("bodies", [graph(0)]))
            sparse = made.attribute.add(name="sparse", type=AttributeProto.SPARSE_TENSOR).sparse_tensor
            sparse.values.CopyFrom(one())
            sparse.indices.CopyFrom(one())
            nodes.append(made)
        return helper.make_graph(nodes, "g", [], [], [one() for _ in range(draw(st.integers(0, 3)))])

    made = helper.make_model(graph(depth), doc_string="text " * draw(st.integers(0, 400)))
    made.functions.append(helper.make_function("own", "F", ["a"], ["b"], [*graph(1).node], []))
    made.training_info.add().initialization.CopyFrom(graph(0))
    return made


@settings(max_examples=80, deadline=None)
@given(model=models())
def test_what_is_taken_out_comes_back(model):
    data = model.SerializeToString()
    rest, found = split(memoryview(data))
    assert all(len(each) >= LARGE for each in found)
    assert len(rest) + sum(map(len, found)) < len(data) + 40 * len(found) + 1
    assert onnx.load_from_string(joined(join(onnx.load_from_string(rest), found))) == model


@pytest.mark.parametrize(("location", "taken"), [(TensorProto.DEFAULT, 1), (TensorProto.EXTERNAL, 0)])
def test_a_stated_location_of_data(location, taken):
    """Other tools write the default location out, behind the data."""
    made = numpy_helper.from_array(np.arange(3000, dtype=np.float32), "a")
    made.data_location = location
    data = helper.make_model(helper.make_graph([], "g", [], [], [made])).SerializeToString()
    rest, found = split(memoryview(data))
    assert len(found) == taken
    (held,) = onnx.load_from_string(rest).graph.initializer
    assert placed(held) == (0 if taken else None)
    (back,) = onnx.load_from_string(joined(join(onnx.load_from_string(rest), found))).graph.initializer
    assert (back.raw_data, back.data_location) == (made.raw_data, location)


def test_the_tensors_are_views_of_the_file(tmp_path, monkeypatch):
    values = np.arange(3000, dtype=np.float32)
    made = [numpy_helper.from_array(values, "a"), numpy_helper.from_array(values[:10], "b")]
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([], "g", [], [value], made))
    path = tmp_path / "file.onnx"
    path.write_bytes(model.SerializeToString())
    opened = open_onnx(path)
    (taken,) = [each for each in opened.model.graph.initializer if placed(each) is not None]
    assert (taken.name, len(opened.data.inside)) == ("a", 1)
    assert opened.model.ByteSize() < 300
    monkeypatch.setattr(onnx_tensors, "MAPPED", 1)
    for each, mapped in ((read_onnx(path), True), (opened.contents, False)):
        a, b = (constant.values for constant in each.constants)
        np.testing.assert_array_equal(a, values)
        np.testing.assert_array_equal(b, values[:10])
        assert is_mapped(a) is mapped
        assert not a.flags.writeable and not b.flags.writeable


@settings(max_examples=300, deadline=None)
@given(changes=st.dictionaries(st.integers(0, 10**6), st.integers(0, 255), max_size=3), cut=st.floats(0.5, 1))
def test_damaged_models_are_read_as_protobuf_reads_them(changes, cut):
    """With or without the large tensors in them, a model parses or does not."""
    parts = [tensor(500, i, f"t{i}", "raw") for i in range(3)]
    nodes = [helper.make_node("Constant", [], ["c"], value=parts[2])]
    data = bytearray(helper.make_model(helper.make_graph(nodes, "g", [], [], parts[:2])).SerializeToString())
    for position, value in changes.items():
        data[position % len(data)] = value
    data = bytes(data[: int(cut * len(data))]) if cut < 0.9 else bytes(data)
    rest, found = split(memoryview(data))
    try:
        expected = onnx.load_from_string(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            onnx.load_from_string(rest)
    else:
        assert onnx.load_from_string(joined(join(onnx.load_from_string(rest), found))) == expected
