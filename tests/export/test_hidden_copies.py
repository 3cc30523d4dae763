"""Ways to hide a second copy of a kernel in a file of a real size: the account finds each of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from tiedae.bundle.manifest import sha256_of
from tiedae.export.account_check import Needed, float_claims, integer_claims, prove_account
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.export.targets import read_extents, read_model
from tiedae.export.tflite.schema import int32, pack_model, unpack_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.program import Program

from ..conftest import build_program

WIDTHS = (784, 512, 256, 30)
PIECE = 250
HIDDEN = "kernel_2"
"""The smallest kernel of these widths, 7,680 values of a file of 550,000 bytes."""


@cache
def program(form: str, *, quantized: bool) -> Program:
    return build_program(WIDTHS, ("relu", "relu", "linear"), form=form, quantized=quantized)


@cache
def hidden(*, quantized: bool = True) -> np.ndarray:
    """The values that are hidden, int8 or float32 [7680]."""
    return program("fused", quantized=quantized).constants[HIDDEN].ravel()


def pieces(size: int = PIECE) -> Iterator[tuple[int, np.ndarray]]:
    values = hidden()
    yield from enumerate(values[start : start + size] for start in range(0, values.size, size))


def texts(size: int) -> list[str]:
    """The values in base64, cut into texts."""
    text = base64.b64encode(hidden().tobytes()).decode()
    return [text[start : start + size] for start in range(0, len(text), size)]


def tensor(model: Any, name: str, values: np.ndarray, subgraph: int = 0, **fields: Any) -> None:
    """Append a constant that nothing reads."""
    model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    kind = getattr(schema.TensorType, values.dtype.name.upper())
    shape = fields.pop("shape", values.shape)
    fields |= {"buffer": len(model.buffers) - 1, "name": name, "type": kind, "hasRank": True}
    model.subgraphs[subgraph].tensors.append(schema.TensorT(shape=int32(shape), **fields))


def in_tensor_names(model: Any) -> None:
    for text in texts(60):
        model.subgraphs[0].tensors.append(schema.TensorT(shape=int32([1]), name=text, hasRank=True))


def in_custom_options(model: Any) -> None:
    model.subgraphs[0].operators[0].customOptions = np.frombuffer(hidden().tobytes(), np.uint8)


def in_scales(model: Any) -> None:
    table = schema.QuantizationParametersT(scale=hidden().astype(np.float32), zeroPoint=np.zeros(hidden().size, np.int64))
    model.subgraphs[0].tensors[0].quantization = table


def in_ranges(model: Any) -> None:
    for (_, values), each in zip(pieces(960), model.subgraphs[0].tensors, strict=False):
        each.quantization.min = values.astype(np.float32)


def in_metadata(model: Any) -> None:
    model.buffers.append(schema.BufferT(data=hidden().view(np.uint8)))
    model.metadata.append(schema.MetadataT("labels", len(model.buffers) - 1))


def in_sparse_places(model: Any) -> None:
    """A tensor over a kernel's buffer whose places are the values."""
    kernel = next(each for each in model.subgraphs[0].tensors if each.name == b"kernel_0")
    rows = schema.DimensionMetadataT(
        1, 0, 3, schema.Uint8VectorT(np.zeros(2, np.uint8)), 3, schema.Uint8VectorT(hidden().view(np.uint8))
    )
    sizes = [schema.DimensionMetadataT(0, 784), rows]
    sparsity = schema.SparsityParametersT(traversalOrder=int32([1, 0]), dimMetadata=sizes)
    shape, name, scales = int32(kernel.shape), b"kernel_0.places", kernel.quantization
    model.subgraphs[0].tensors.append(
        schema.TensorT(shape=shape, type=kernel.type, buffer=kernel.buffer, name=name, quantization=scales, sparsity=sparsity)
    )


def unread_buffer(model: Any) -> None:
    model.buffers.append(schema.BufferT(data=hidden().view(np.uint8)))


def in_signatures(model: Any) -> None:
    for text in texts(60):
        model.signatureDefs.append(schema.SignatureDefT(inputs=[], outputs=[], signatureKey=text, subgraphIndex=0))


def in_pieces(dtype: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for index, values in pieces():
            tensor(model, f"piece.{index}", values.astype(dtype))

    return change


def packed(dtype: str) -> Callable[[Any], None]:
    return lambda model: tensor(model, "places", hidden().view(dtype))


def tflite(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        model = unpack_model(data)
        change(model)
        return pack_model(model, data)

    return changed


def set_description(model: Any) -> None:
    model.description = texts(20_000)[0]


def between_buffers(data: bytes) -> bytes:
    """The first bytes of a file, its vtables, lie behind the values: the root's offset leads there."""
    copy = hidden().tobytes()
    shift = len(copy)
    model = unpack_model(data)
    packed_again = bytearray(pack_model(model, data))
    (root,) = np.frombuffer(packed_again, "<u4", 1)
    packed_again[:4] = np.uint32(root + shift).tobytes()
    return bytes(packed_again[:8]) + copy + bytes(packed_again[8:])


def onnx_model(change: Callable[[onnx.ModelProto], object]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        model = onnx.load_from_string(data)
        change(model)
        return model.SerializeToString()

    return changed


def initializers(*values: np.ndarray, name: str = "more") -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.initializer.extend(
        numpy_helper.from_array(each, f"{name}.{index}") for index, each in enumerate(values)
    )


def set_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="licence", value=texts(20_000)[0])


def set_texts(model: onnx.ModelProto) -> None:
    for node, text in zip(model.graph.node, texts(200), strict=False):
        node.doc_string = text


def set_node_names(model: onnx.ModelProto) -> None:
    for text in texts(60):
        model.graph.node.append(helper.make_node("Identity", ["x"], [text], name=text))


def set_training(model: onnx.ModelProto) -> None:
    info = model.training_info.add()
    info.initialization.initializer.append(numpy_helper.from_array(hidden(), "start"))


def set_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("places", hidden().view(np.int64).tolist()))


def set_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(hidden().view(np.int32), "y"))
    operators = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Start", [], ["y"], [node], operators))


def nested(model: onnx.ModelProto) -> None:
    """Initializers of both branches of an If that nothing reads."""
    graph = helper.make_graph([], "then", [], [helper.make_tensor_value_info("inner", TensorProto.INT32, [hidden().size // 4])])
    graph.initializer.append(numpy_helper.from_array(hidden().view(np.int32), "inner"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.append(helper.make_node("If", ["always"], ["more"], then_branch=graph, else_branch=graph))


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1920, np.float32), "sparse")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.sort(hidden().view(np.int32)).astype(np.int64)), [2**32])
    )


def unknown_field(data: bytes) -> bytes:
    """A field of number 500 behind the model."""
    copy = hidden().tobytes()
    head = (500 << 3 | 2, len(copy))
    return data + b"".join(_varint(each) for each in head) + copy


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])


@dataclass(frozen=True)
class Way:
    """A change of a file that hides a copy; `external`: of the kernels that two files share."""

    suffix: str
    change: Callable[[bytes], bytes]
    quantized: bool = True
    external: bool = False


WAYS = {
    "float32 of one axis": Way(
        ".tflite", tflite(lambda model: tensor(model, "more", hidden(quantized=False))), quantized=False
    ),
    "float16 of one axis": Way(
        ".onnx", onnx_model(lambda model: initializers(hidden(quantized=False).astype(np.float16))(model)), quantized=False
    ),
    "int8 in pieces of 250": Way(".tflite", tflite(in_pieces("int8"))),
    "float32 in pieces of 250": Way(".tflite", tflite(in_pieces("float32"))),
    "packed in int32": Way(".tflite", tflite(packed("int32"))),
    "packed in int64": Way(".tflite", tflite(packed("int64"))),
    "trailing bytes": Way(".tflite", lambda data: data + hidden().tobytes()),
    "bytes before the tables": Way(".tflite", between_buffers),
    "a buffer that no tensor reads": Way(".tflite", tflite(unread_buffer)),
    "a buffer of metadata": Way(".tflite", tflite(in_metadata)),
    "names of tensors": Way(".tflite", tflite(in_tensor_names)),
    "custom options": Way(".tflite", tflite(in_custom_options)),
    "the description": Way(".tflite", tflite(set_description)),
    "keys of signatures": Way(".tflite", tflite(in_signatures)),
    "places of a sparse tensor": Way(".tflite", tflite(in_sparse_places)),
    "scales of a tensor": Way(".tflite", tflite(in_scales)),
    "ranges of tensors": Way(".tflite", tflite(in_ranges)),
    "initializers of 250": Way(".onnx", onnx_model(lambda model: initializers(*(each for _, each in pieces()))(model))),
    "initializers of int32": Way(".onnx", onnx_model(lambda model: initializers(hidden().view(np.int32))(model))),
    "initializers of 60 bytes": Way(".onnx", onnx_model(lambda model: initializers(*(e for _, e in pieces(60)))(model))),
    "metadata_props": Way(".onnx", onnx_model(set_metadata)),
    "doc_string": Way(".onnx", onnx_model(set_texts)),
    "names of nodes": Way(".onnx", onnx_model(set_node_names)),
    "training_info": Way(".onnx", onnx_model(set_training)),
    "numbers of an attribute": Way(".onnx", onnx_model(set_attribute)),
    "a function": Way(".onnx", onnx_model(set_function)),
    "a nested graph": Way(".onnx", onnx_model(nested)),
    "a sparse initializer": Way(".onnx", onnx_model(sparse)),
    "an unknown field": Way(".onnx", unknown_field),
    "behind the external kernels": Way(".onnx", lambda data: data + hidden().tobytes(), external=True),
}


def proved(folder: Path, way: Way, change: Callable[[bytes], bytes] = bytes) -> Any:
    """The finding on a changed file; the whole one says what a file needs."""
    form = "split" if way.suffix == ".tflite" else "fused"
    own, integer = program(form, quantized=way.quantized), program(form, quantized=True)
    files = {f"a{way.suffix}": to_tflite(own) if form == "split" else to_onnx(own)}
    if way.external:
        files = dict(zip(("a.onnx", "b.onnx", "k.bin"), to_onnx_pair(own, kernels_file="k.bin"), strict=True))
    changed = "k.bin" if way.external else f"a{way.suffix}"
    path = folder / f"a{way.suffix}"
    for name, data in files.items():
        (folder / name).write_bytes(data)
    needed = Needed.of(read_extents(path))
    (folder / changed).write_bytes(change(files[changed]))
    contents = read_model(path)
    if way.quantized:
        claims = integer_claims(contents, [integer], needed)
    else:
        hashes = {name: sha256_of(own.constants[name]) for name in own.kernels}
        claims = float_claims(contents, [integer], hashes, needed)
    return prove_account(read_extents(path), claims)


@pytest.mark.parametrize("name", WAYS)
def test_a_hidden_copy_is_found(tmp_path: Path, name: str) -> None:
    finding = proved(tmp_path, WAYS[name], WAYS[name].change)
    assert (finding.statement, finding.ok) == ("account", False), finding.text


@pytest.mark.parametrize("way", dict.fromkeys((way.suffix, way.quantized, way.external) for way in WAYS.values()), ids=str)
def test_the_whole_file_passes(tmp_path: Path, way: tuple[str, bool, bool]) -> None:
    suffix, quantized, external = way
    finding = proved(tmp_path, Way(suffix, bytes, quantized, external))
    assert finding.ok and (": 0 of " in finding.text or ": 8 of " in finding.text), finding.text
