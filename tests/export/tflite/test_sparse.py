"""Kernels stored sparse: values and places once, read in both directions, and every value the program's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.export.storage_check import prove
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import int32, pack_model, unpack_model
from tiedae.export.tflite.sparse import Rows, Sparsity, sparse_kernel
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.program.program import SIGNATURES, Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.parity.comparison import compare_traced

from ...conftest import build_program
from ...program.convolutions import random_program
from ...runtimes.opening import open_tflite
from ...variants import every
from ..shapes import samples

SEEDS = range(24)


def pruned(program: Program, fraction: float = 0.75) -> Program:
    rng = np.random.default_rng(0)
    kept = {name: values * (rng.random(values.shape) >= fraction) for name, values in program.constants.items()}
    return replace(program, constants={**program.constants, **{name: kept[name] for name in program.kernels}})


def written(program: Program, kernels: str = "sparse", **options) -> bytes:
    return to_tflite(program, kernels=kernels, io="uint8" if program.quantized else "auto", **options)  # type: ignore[arg-type]


def dense_program(**options) -> Program:
    return pruned(build_program((200, 90, 40, 8), ("relu", "relu", "linear"), **options))


def sparse_names(data: bytes) -> set[str]:
    tensors = (tensor for graph in unpack_model(data).subgraphs for tensor in graph.tensors if tensor.sparsity is not None)
    return {each.name.decode() for each in tensors if any(size.format for size in each.sparsity.dimMetadata)}


@pytest.mark.parametrize("seed", every(6, SEEDS))
def test_xnnpack_gives_the_values_of_convolutions_for_every_batch(seed: int) -> None:
    program, x = random_program(seed)
    program = pruned(program)
    session = open_tflite("litert-xnnpack", written(program))
    for signature in SIGNATURES:
        values = execute(program, "encode", x)["code"] if signature == "decode" else x
        for count in (1, 16, 3):
            expected = execute(program, signature, values[:count])
            for name, each in session.run(signature, values[:count]).items():
                np.testing.assert_array_equal(each, expected[name])


@pytest.mark.parametrize(
    "options",
    every(2, [{}, {"granularity": "unit", "gains": True}, {"bias": False}, {"interleave": 4, "output_activation": "linear"}]),
)
def test_xnnpack_gives_the_values_of_a_dense_decoder_by_view(options) -> None:
    program = dense_program(byte_data=False, **options)
    data = written(program, int4="bytes")
    assert {"kernel_0", "kernel_0.decode", "kernel_1", "kernel_1.decode"} <= sparse_names(data)
    session = open_tflite("litert-xnnpack", data)
    assert "builtin" not in session.provider
    for signature in SIGNATURES:
        x = samples(program, signature, 20)
        expected = execute(program, signature, x)
        for name, each in session.run(signature, x).items():
            np.testing.assert_array_equal(each, expected[name])
        rows, hidden = compare_traced(session.trace(signature, x), program, signature, x)
        assert hidden == [] and all(not row.problem and row.max_lsb == 0 for row in rows)


@pytest.mark.parametrize(
    ("runtime", "seed"), every(3, [(r, s) for r in ("litert-builtin", "litert-reference") for s in (3, 8, 15)])
)
def test_other_kernels_of_litert_give_what_they_give_of_a_view(runtime: str, seed: int) -> None:
    program, x = random_program(seed)
    program = pruned(program)
    sparse, view = (open_tflite(runtime, written(program, kernels)).run("reconstruct", x) for kernels in ("sparse", "view"))
    for name, values in sparse.items():
        np.testing.assert_array_equal(values, view[name])


@pytest.mark.parametrize("quantized", [True, False])
def test_the_proof_reads_sparse_kernels(quantized: bool) -> None:
    for seed in (0, 3, 8):
        program = pruned(random_program(seed, quantized=quantized)[0])
        data = written(program)
        findings = prove(read_tflite(data), program, {name: program.constants[name] != 0 for name in program.kernels})
        assert sparse_names(data) and all(each.ok for each in findings), [each.text for each in findings if not each.ok]
    program = dense_program(quantized=quantized)
    assert all(each.ok for each in prove(read_tflite(written(program)), program))


def test_values_and_places_are_stored_once() -> None:
    program = dense_program()
    data, kernel = written(program, int4="bytes"), program.constants["kernel_0"]
    count, rows = int(np.count_nonzero(kernel)), kernel.shape[1]
    constants = {each.name: each for each in read_tflite(data).constants}
    assert constants["kernel_0"].nbytes == constants["kernel_0.decode"].nbytes == 2 * count + 2 * (rows + 1)
    dense = written(program, "view", int4="bytes")
    kernels = sum(program.constants[name].size for name in program.kernels)
    assert 0.5 * kernels < kernels - (len(dense) - len(data)) < 0.7 * kernels
    assert data.count(kernel.T[kernel.T != 0].tobytes()) == 1


def test_what_is_no_smaller_sparse_stays_dense() -> None:
    program, _ = random_program(3)
    assert written(program) == written(program, "view")
    split = pruned(build_program((200, 90, 8), form="split"))
    assert sparse_names(written(split)) == set()


def _shuffled(tensor) -> None:
    rows = tensor.sparsity.dimMetadata[-1]
    rows.arrayIndices.values = np.roll(rows.arrayIndices.values, 1)


def _blocks(tensor) -> None:
    tensor.sparsity.blockMap = int32([0])


def _short(tensor) -> None:
    rows = tensor.sparsity.dimMetadata[-1]
    rows.arraySegments.values = rows.arraySegments.values[:-1]


def _beyond(tensor) -> None:
    rows = tensor.sparsity.dimMetadata[-1]
    rows.arrayIndices.values = np.full_like(rows.arrayIndices.values, 255)


def changed(data: bytes, change, name: bytes = b"kernel_0.decode") -> bytes:
    model = unpack_model(data)
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.name == name):
        change(tensor)
    return pack_model(model)


@pytest.mark.parametrize("change", [_shuffled, _blocks, _short, _beyond])
def test_what_is_no_sparse_kernel_is_read_as_its_bytes(change) -> None:
    contents = read_tflite(changed(written(dense_program(), int4="bytes"), change))
    (found,) = (each for each in contents.constants if each.name == "kernel_0.decode")
    assert found.encoded == ("sparse int8", (200, 1, 1, 90))


def test_the_proof_sees_other_places() -> None:
    def moved(tensor) -> None:
        rows = tensor.sparsity.dimMetadata[-1]
        values = np.array(rows.arrayIndices.values)
        gap = next(i for i in range(1, len(values) - 1) if values[i] + 1 < values[i + 1])
        values[gap] += 1
        rows.arrayIndices.values = values

    program = dense_program()
    wrong = prove(read_tflite(changed(written(program, int4="bytes"), moved)), program)
    assert {each.name for each in wrong if not each.ok} == {"kernel_0.order"}


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    zeros=st.sampled_from([0.6, 0.9, 1.0]),
    wide=st.sampled_from([1, 50, 300]),
    seed=st.integers(0, 99),
)
def test_every_sparse_kernel_is_read_in_both_orders(shape, zeros: float, wide: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (*shape[:3], shape[3] * wide) if seed % 2 else (shape[0] * wide, *shape[1:])
    values = (rng.integers(1, 128, shape) * (rng.random(shape) >= zeros)).astype(np.int8)
    sparse = sparse_kernel(values)
    if sparse is None:
        return
    places = Rows(sparse.segments, sparse.indices, ())
    for axes in ((0, 1, 2, 3), (3, 1, 2, 0)):
        own, order = tuple(shape[axis] for axis in axes), tuple(axes[axis] for axis in sparse.order)
        sparsity = Sparsity(order, (*(own[axis] for axis in order[:-1]), places), False)
        read = sparsity.tensor(sparse.values, own)
        assert read is not None
        np.testing.assert_array_equal(read, values.transpose(axes))


def test_a_small_file_does_not_become_large() -> None:
    data = written(dense_program(), int4="bytes")

    def vast(tensor) -> None:
        tensor.shape = int32((*tensor.shape[:3], 2**31 - 1))

    with pytest.raises(FormatError, match="it leads through more than"):
        read_tflite(changed(data, vast))


def test_runtimes_without_densify_name_the_key(tmp_path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(written(dense_program(), int4="bytes"))
    with pytest.raises(UnavailableError, match='kernels = "portable"'):
        RUNTIMES["tflm"].open({"decode": path})
