"""Encoded models of other tools: lengths of any form, texts that look like placeholders, and what is no message."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, helper, numpy_helper

from tiedae.export.onnx.wire import LARGE, PLACEHOLDER, join, split
from tiedae.export.reals import joined

GRAPH, INITIALIZER = ModelProto.GRAPH_FIELD_NUMBER, GraphProto.INITIALIZER_FIELD_NUMBER


def number(value: int, size: int = 0) -> bytes:
    """A varint, in `size` bytes where it would take fewer: other encoders leave space for a length that they do not know."""
    parts = [value >> shift & 127 for shift in range(0, max(7 * size, value.bit_length(), 1), 7)]
    return bytes([*(part | 128 for part in parts[:-1]), parts[-1]])


def field(tag: int, content: bytes, size: int = 0) -> bytes:
    return number(tag << 3 | 2) + number(len(content), size) + content


def tensor(count: int) -> bytes:
    return numpy_helper.from_array(np.arange(count).astype(np.uint8), "a").SerializeToString()


def model(content: bytes, size: int = 0) -> bytes:
    """A model of one tensor; the length of its graph takes `size` bytes."""
    return field(GRAPH, field(INITIALIZER, content), size)


@pytest.mark.parametrize("count", [LARGE - 1, LARGE, 2 * LARGE, (1 << 14) - 1, 1 << 14, 1 << 21])
def test_tensors_are_taken_out_from_1024_bytes_on(count: int) -> None:
    data = model(tensor(count))
    assert onnx.load_from_string(data).graph.initializer[0].dims == [count]
    rest, found = split(memoryview(data))
    assert [len(each) for each in found] == ([count] if count >= 1024 else [])
    assert len(rest) < 1200 and joined(join(onnx.load_from_string(rest), found)) == data


@pytest.mark.parametrize("count", [1100, 9])
@pytest.mark.parametrize("size", [0, 5, 10])
def test_lengths_of_up_to_ten_bytes_are_read(count: int, size: int) -> None:
    data = model(tensor(count), size)
    rest, found = split(memoryview(data))
    assert [bytes(each) for each in found] == ([np.arange(count).astype(np.uint8).tobytes()] if count >= 1024 else [])
    if not found:
        assert rest == data


def test_what_holds_no_tensor_to_take_out_comes_back_as_it_is() -> None:
    """With its own lengths, though a part is as large as a tensor."""
    data = field(GRAPH, field(GraphProto.DOC_STRING_FIELD_NUMBER, b"text " * 999) + field(INITIALIZER, tensor(9)), 5)
    rest, found = split(memoryview(data))
    assert (rest, found) == (data, [])


def test_a_length_of_eleven_bytes_is_no_message() -> None:
    data = model(tensor(1100), 11)
    assert split(memoryview(data)) == (data, [])


def test_text_that_looks_like_a_placeholder_stays() -> None:
    values = np.arange(LARGE, dtype=np.float32)
    made = helper.make_model(helper.make_graph([], "g", [], [], [numpy_helper.from_array(values, "a")], PLACEHOLDER))
    made.doc_string = f"{PLACEHOLDER}0"
    made.metadata_props.add(key="a", value=f"{PLACEHOLDER}0")
    rest, found = split(memoryview(made.SerializeToString()))
    assert len(found) == 1
    assert onnx.load_from_string(joined(join(onnx.load_from_string(rest), found))) == made
