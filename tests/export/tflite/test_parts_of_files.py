"""Fields of .tflite files as other tools write them, versions, sparse places, and scores of batches."""

from __future__ import annotations

import io
import itertools
import mmap
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.errors import ExportError
from tiedae.config.config import Kernels
from tiedae.config.tasks import ScoreKind
from tiedae.export.tflite.reader import (
    contents_of,
    has_computed_shapes,
    has_fixed_batch,
    has_views,
    read_entries,
    read_tflite,
)
from tiedae.export.tflite.schema import (
    Op,
    Type,
    has_archive,
    needed_version,
    new_operator,
    pack_model,
    unpack_model,
    version_buffer,
)
from tiedae.export.tflite.sparse import SparseKernel, sparse_kernel
from tiedae.export.tflite.writer import to_tflite

from ...conftest import build_program
from ...program.convolution_nets import Layer, float_net
from ...program.test_score_graph import detector_of
from ...runtimes.opening import open_tflite
from .test_reader import buffer, tensor, write

DATA = bytes(range(40, 48))
CONVOLVED = float_net("net", (12, 12, 1), [Layer(3, 3, 2), Layer(4, 3, 2)])


@pytest.mark.parametrize(
    ("offset", "size", "behind"), [(0, 0, False), (0, 8, False), (1, 8, False), (8, 0, False), (2, 8, True), (16, 8, True)]
)
def test_data_lie_in_the_file_at_an_offset_from_2_on(offset: int, size: int, behind: bool) -> None:
    """0 and 1 are no offsets, and 0 is no size: data are then in the buffer's table."""
    table = schema.BufferT(data=np.frombuffer(DATA, np.uint8), offset=offset, size=size)
    file = write([tensor("a", (8,), Type.UINT8)], [table])
    expected = file[offset : offset + 8] if behind else DATA
    (constant,) = read_tflite(file).constants
    assert constant.values.tobytes() == expected
    unpacked = unpack_model(file).buffers[1]
    assert unpacked.data.tobytes() == expected and unpacked.offset == int(behind)


def test_a_constant_without_axes_is_a_number() -> None:
    (constant,) = read_tflite(write([tensor("a", (), Type.FLOAT32)], [buffer(np.array(0.5, np.float32))])).constants
    assert constant.values.shape == () and constant.values == 0.5


def test_a_file_without_signatures_has_that_of_its_first_subgraph() -> None:
    assert [each.name for each in read_tflite(write([], [])).signatures] == ["main"]
    model = unpack_model(to_tflite(build_program(), signatures=("decode", "encode")))
    model.signatureDefs = []
    (signature,) = read_tflite(pack_model(model)).signatures
    assert (signature.name, [each.name for each in signature.inputs]) == ("decode", ["code"])
    model.subgraphs[0].name = None
    assert [each.name for each in read_tflite(pack_model(model)).signatures] == ["main"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a sensor", "a sensor"),
        (b"\xff!", "2 bytes"),
        (b"two\nlines", "9 bytes"),
        (b"a\0b", "3 bytes"),
        ("°C".encode(), "°C"),
    ],
)
def test_metadata_are_text_where_they_are_printable(content: bytes, text: str) -> None:
    entries = [schema.MetadataT(name="about", buffer=1)]
    assert read_tflite(write([], [schema.BufferT(data=list(content))], metadata=entries)).metadata == {"about": text}


def test_a_runtime_reads_a_file_once() -> None:
    data = to_tflite(build_program())
    assert contents_of(data) is contents_of(data) and read_entries(data) is read_entries(data)


@pytest.mark.parametrize(
    ("kernels", "quantized", "expected"),
    [("view", False, (True, False, True)), ("portable", False, (False, True, False)), ("copies", False, (True, False, False))],
)
def test_what_runtimes_ask_of_a_file(kernels: Kernels, quantized: bool, expected: tuple[bool, ...]) -> None:
    """A fixed batch, computed shapes, views; none of them without convolutions but the views of a decoder."""
    data = to_tflite(CONVOLVED, kernels=kernels)
    assert (has_fixed_batch(data), has_computed_shapes(data), has_views(data)) == expected
    encode = to_tflite(CONVOLVED, kernels=kernels, signatures=("encode",))
    assert not (has_fixed_batch(encode) or has_computed_shapes(encode) or has_views(encode))
    dense = to_tflite(build_program(quantized=quantized), kernels=kernels)
    assert not has_fixed_batch(dense) and not has_computed_shapes(dense) and has_views(dense) == (kernels == "view")


@pytest.mark.parametrize(("kernels", "versions"), [("view", {3, 4}), ("portable", {3}), ("copies", {3})])
def test_a_fused_activation_is_version_4_of_a_transposed_convolution(kernels: Kernels, versions: set[int]) -> None:
    """The last layer is linear; OpenVINO takes no fused activation, so that others have an operator of their own."""
    data = to_tflite(CONVOLVED, kernels=kernels)
    codes = unpack_model(data).operatorCodes
    assert {code.version for code in codes if code.builtinCode == Op.TRANSPOSE_CONV} == versions
    assert ("RELU" in read_tflite(data).signatures[1].operations) == (kernels != "view")
    assert read_tflite(data).details["min_runtime_version"] == ("2.13.0" if 4 in versions else "2.3.0")


@pytest.mark.parametrize("activation", ["relu", "relu6", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("quantized", [True, False])
def test_every_activation_has_a_version_with_its_oldest_runtime(activation: str, quantized: bool) -> None:
    program = build_program(output_activation=activation, quantized=quantized, byte_data=False)
    codes = {code.builtinCode: code.version for code in unpack_model(to_tflite(program)).operatorCodes}
    kind = {"tanh": Op.TANH, "sigmoid": Op.LOGISTIC}.get(activation)
    assert kind is None or codes[kind] == (2 if quantized else 1)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(b"1.9.0", "1.14.0"), (b"1.14.0", "1.14.0"), (b"2.3.0", "2.3.0"), (b"1.15", "1.15"), (b"", "1.14.0"), (b"n/a", "1.14.0")],
)
def test_a_new_operator_raises_the_oldest_runtime_that_a_file_states(stated: bytes, expected: str) -> None:
    model: Any = schema.ModelT(operatorCodes=[], metadata=[schema.MetadataT(b"min_runtime_version", 1)])
    model.buffers = [schema.BufferT(data=np.frombuffer(each, np.uint8)) for each in (b"", stated.ljust(16, b"\0"))]
    operators = [new_operator(model, Op.QUANTIZE, 1, [0], 1) for _ in range(2)]
    operators.append(new_operator(model, Op.RESHAPE, 1, [0], 1))
    assert [each.opcodeIndex for each in operators] == [0, 0, 1]
    assert model.buffers[model.metadata[0].buffer].data.tobytes() == expected.encode().ljust(16, b"\0")
    assert bytes(model.buffers[version_buffer(model, "2.0.0")].data) == b"2.0.0" + bytes(11)


@pytest.mark.parametrize(
    ("code", "version", "options", "text"),
    [
        (Op.GATHER_ND, 1, {}, "operator GATHER_ND: has no row in RUNTIME_VERSIONS of export"),
        (Op.ADD, 3, {}, "operator ADD: has no row in RUNTIME_VERSIONS, of version 3 of export"),
        (Op.GATHER, 1, {"axis": 1}, "operator GATHER: has no row in OPTIONS of export"),
        (Op.RESHAPE, 1, {"activation": 1}, "operator RESHAPE: has no row in OPTIONS of export"),
    ],
)
def test_an_operator_without_a_row_is_named(code: int, version: int, options: dict[str, int], text: str) -> None:
    model: Any = schema.ModelT(operatorCodes=[], metadata=[])
    with pytest.raises(ExportError, match=text):
        new_operator(model, code, version, [0], 1, **options)
        needed_version(model)


@pytest.mark.parametrize("comment", [0, (1 << 16) - 1])
def test_an_archive_behind_a_file_is_found_and_a_mapped_file_is_not_copied_for_it(comment: int, tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(bytes(1 << 22))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        tracemalloc.start()
        try:
            assert not has_archive(mapped)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
    appended = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(appended, "a") as archive:
        archive.writestr("labels.txt", "shirt\n")
        archive.comment = bytes(comment)
    assert has_archive(appended.getvalue())


def sparse_file(kernels: list[SparseKernel], shape: tuple[int, ...]) -> bytes:
    """A tensor for each kernel, all over the values of the first."""
    tensors = [
        tensor(f"t{i}", shape, Type.INT8, sparsity=kernel.table(shape, range(len(shape)))) for i, kernel in enumerate(kernels)
    ]
    return write(tensors, [buffer(kernels[0].values)])


@pytest.mark.parametrize(("channels", "kind"), [(255, "Uint8Vector"), (256, "Uint8Vector"), (257, "Uint16Vector")])
@pytest.mark.parametrize("wide", [False, True])
def test_places_are_as_narrow_as_the_last_one(channels: int, kind: str, wide: bool) -> None:
    channels, kind = (channels << 8, {"Uint8Vector": "Uint16Vector"}.get(kind, "Int32Vector")) if wide else (channels, kind)
    values = np.zeros((2, 1, 1, channels), np.int8)
    values[0, 0, 0, [0, channels - 1]] = 5, -7
    kernel = sparse_kernel(values)
    assert kernel is not None and kernel.order == (0, 1, 2, 3)
    rows = kernel.table(values.shape, range(4)).dimMetadata[-1]
    assert rows.arrayIndicesType == getattr(schema.SparseIndexVector, kind)
    assert rows.arraySegmentsType == schema.SparseIndexVector.Uint8Vector
    (constant,) = read_tflite(sparse_file([kernel], values.shape)).constants
    np.testing.assert_array_equal(constant.values, values)


def test_tensors_with_other_places_in_one_buffer_have_other_values() -> None:
    """Of as many values, and with vectors of the same sizes."""
    shape, at = (2, 1, 1, 9), ([0, 8], [3, 5])
    kernels = [SparseKernel(np.int8([5, -7]), (0, 1, 2, 3), np.uint8([0, 2, 2]), np.array(places, np.uint8)) for places in at]
    constants = read_tflite(sparse_file(kernels, shape)).constants
    assert [np.flatnonzero(each.values).tolist() for each in constants] == [*at]


@pytest.mark.parametrize("kind", ["mse", "mae", "max", "standardized"])
def test_a_sample_has_its_own_score_in_a_batch_of_any_size(kind: ScoreKind) -> None:
    """Of 7 values, which a mean takes as 9."""
    program = build_program((7, 5, 3), byte_data=False)
    session = open_tflite("litert-builtin", to_tflite(program, io="float32", detector=detector_of(kind, 7)))
    x = np.random.default_rng(0).normal(0, 1, (5, 7)).astype(np.float32)
    found = session.run("score", x)
    assert {name: values.shape for name, values in found.items()} == {"score": (5,), "anomaly": (5,)}
    for i, j in itertools.combinations(range(6), 2):
        np.testing.assert_array_equal(session.run("score", x[i:j])["score"], found["score"][i:j])
    distances = np.abs(x - session.run("reconstruct", x)["y"])
    right = {"mse": (distances**2).mean(1), "mae": distances.mean(1), "max": distances.max(1)}
    if kind in right:
        np.testing.assert_allclose(found["score"], right[kind], rtol=1e-5)
