"""Convolutions in .tflite files: a kernel is one buffer in two orders, and every value is the program's in XNNPACK."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiedae.base.errors import ExportError, UnavailableError
from tiedae.compress.affine import Quantization
from tiedae.export.storage_check import prove
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import int32, pack_model, unpack_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import apply, execute
from tiedae.program.operations import Convolution, MaxPool, Patches, Reshape, Unpatch, Upsample
from tiedae.program.program import SIGNATURES, Program
from tiedae.program.tensors import Kernel, Tensor
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.parity.comparison import compare_traced

from ...program.convolutions import random_program
from ...runtimes.opening import open_tflite
from ...variants import every

KERNELS = ("view", "portable", "copies")
SEEDS = range(24)


def written(program: Program, kernels: str = "view", **options) -> bytes:
    return to_tflite(program, kernels=kernels, io="uint8" if program.quantized else "auto", **options)  # type: ignore[arg-type]


def sources(program: Program, x: np.ndarray) -> dict[str, np.ndarray]:
    return {name: execute(program, "encode", x)["code"] if name == "decode" else x for name in SIGNATURES}


@pytest.mark.parametrize("seed", every(4, SEEDS))
def test_xnnpack_gives_the_programs_values_for_every_batch(seed: int) -> None:
    program, x = random_program(seed)
    session = open_tflite("litert-xnnpack", written(program))
    assert "builtin" not in session.provider
    for signature, values in sources(program, x).items():
        for count in (1, 16, 3):
            expected, got = execute(program, signature, values[:count]), session.run(signature, values[:count])
            for name, each in got.items():
                np.testing.assert_array_equal(each, expected[name])


@pytest.mark.parametrize("seed", every(6, SEEDS))
def test_xnnpack_runs_a_float_program_whole(seed: int) -> None:
    program, x = random_program(seed, quantized=False)
    session = open_tflite("litert-xnnpack", written(program))
    assert "builtin" not in session.provider
    for signature, values in sources(program, x).items():
        expected = execute(program, signature, values)
        for name, each in session.run(signature, values).items():
            np.testing.assert_allclose(each, expected[name], atol=1e-5 * max(0.1, np.abs(expected[name]).max()))


@pytest.mark.parametrize("seed", every(6, SEEDS))
def test_every_operation_is_seen_and_equal(seed: int) -> None:
    program, x = random_program(seed)
    session = open_tflite("litert-xnnpack", written(program))
    for signature, values in sources(program, x).items():
        rows, hidden = compare_traced(session.trace(signature, values), program, signature, values)
        assert hidden == [] and all(not row.problem and row.max_lsb == 0 for row in rows)


@pytest.mark.parametrize(
    ("runtime", "kernels", "seed"),
    every(
        7,
        [
            (runtime, kernels, seed)
            for runtime in ("litert-builtin", "litert-reference", "tflm")
            for kernels in KERNELS
            if (runtime, kernels) != ("tflm", "view")
            for seed in (3, 7, 8, 15)
        ],
    ),
)
def test_other_kernels_are_within_one_lsb_per_operation(runtime: str, kernels: str, seed: int) -> None:
    if runtime == "tflm":
        pytest.importorskip("tflite_micro", reason="pip install 'tiedae[tflm]'")
    program, x = random_program(seed)
    traced = open_tflite(runtime, written(program, kernels)).trace("reconstruct", x)
    for operation in program.operations:
        expected = apply(program, operation, x if operation.x == "x" else traced[operation.x])
        apart = np.abs(expected.astype(int) - traced[operation.y])
        assert apart.max() <= 1 and np.mean(apart > 0) < 0.03, operation


@pytest.mark.parametrize(
    ("quantized", "seed"), every(4, [(quantized, seed) for seed in (2, 3, 6, 8, 13) for quantized in (True, False)])
)
def test_openvino_runs_portable_files(quantized: bool, seed: int, tmp_path) -> None:
    pytest.importorskip("openvino")
    program, x = random_program(seed, quantized=quantized)
    path = tmp_path / "net.tflite"
    path.write_bytes(written(program, "portable"))
    session = RUNTIMES["openvino-tflite"].open(dict.fromkeys(SIGNATURES, path))
    for signature, values in sources(program, x).items():
        expected = execute(program, signature, values)
        for name, each in session.run(signature, values).items():
            assert np.abs(each.astype(float) - expected[name]).max() <= (2 if quantized else 1e-5)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("quantized", [True, False])
def test_the_proof_counts_the_buffers_of_a_kernel(kernels: str, quantized: bool) -> None:
    for seed in range(6):
        program, _ = random_program(seed, quantized=quantized)
        contents = read_tflite(written(program, kernels))
        findings = prove(contents, program, copies=kernels == "copies")
        assert all(each.ok for each in findings), [each.text for each in findings if not each.ok]
        by_name = {each.name: each.text for each in findings}
        for name in program.kernels:
            times = "stored once" if kernels != "copies" else f"stored 2 times ({name}, {name}.decode)"
            assert by_name[f"{name}.copies"].startswith(f"{name}: {times}")
        if kernels == "copies":
            assert "and their copies have" in by_name["weights"]
            wrong = {each.name for each in prove(contents, program) if not each.ok}
            assert {f"{name}.copies" for name in program.kernels} | {"weights"} == wrong


@pytest.mark.parametrize("kernels", ["view", "portable"])
def test_a_decoder_alone_proves_its_kernels(kernels: str) -> None:
    for seed in (3, 8, 15):
        program, _ = random_program(seed)
        findings = prove(read_tflite(written(program, kernels, signatures=("decode",))), program)
        assert all(each.ok for each in findings) and any(each.statement == "order" for each in findings)


def _swapped(shape, order) -> tuple[int, ...]:
    """Another order of axes, of the same lengths where the first and last are equal."""
    first, last = order.index(0), order.index(len(shape) - 1)
    other = list(order)
    other[first], other[last] = other[last], other[first]
    return tuple(other)


def square_net(window: int = 3) -> Program:
    """One convolution of 4 channels to 4, whose filter has one shape in both directions."""
    tensors = {name: Tensor(name, (6, 6, 4), Quantization(1 / 16, 128)) for name in ("x", "code", "y")}
    rng = np.random.default_rng(0)
    options = {"sizes": (window, window), "strides": (1, 1), "padding": "same"}
    layers = (
        Convolution("x", "code", "k", False, "b", "linear", **options),
        Convolution("code", "y", "k", True, None, "linear", **options),
    )
    values = {
        "k": rng.integers(-60, 60, (window * window * 4, 4)).astype(np.int8),
        "b": rng.integers(-90, 90, 4).astype(np.int32),
    }
    kernels = {"k": Kernel("k", window * window * 4, 4, (1 / 128,))}
    return Program("square", tensors, kernels, layers[:1], layers[1:], values)


def test_the_proof_sees_a_filter_in_another_order() -> None:
    program = square_net()
    model = unpack_model(written(program))
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.sparsity is not None):
        order = _swapped(tensor.shape, tensor.sparsity.traversalOrder.tolist())
        tensor.sparsity.traversalOrder = int32(order)
        assert [each.denseSize for each in tensor.sparsity.dimMetadata] == [tensor.shape[axis] for axis in order]
    wrong = [each for each in prove(read_tflite(pack_model(model)), program) if not each.ok]
    assert [each.name for each in wrong] == ["k.order"]


def test_a_convolution_without_a_bias_has_zeros() -> None:
    program = square_net()
    x = np.random.default_rng(1).integers(0, 256, (5, 6, 6, 4), np.uint8)
    got, expected = open_tflite("litert-xnnpack", written(program)).run("reconstruct", x), execute(program, "reconstruct", x)
    for name, values in got.items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("seed", every(3, [2, 8, 33, 6, 18, 19]))
@pytest.mark.parametrize("bits", [3, 6])
def test_a_code_of_fewer_bits_is_clamped(bits: int, seed: int) -> None:
    program, x = random_program(seed)
    code = program.quantization("code")
    scale = code.scale * code.top / (2**bits - 1) / 1.5  # a range that codes leave
    fewer = Quantization(float(np.float32(scale)), code.zero_point >> (8 - bits), bits)
    tensors = {
        name: replace(each, quantization=fewer) if each.quantization == code else each for name, each in program.tensors.items()
    }
    program = replace(program, tensors=tensors)
    session, expected = open_tflite("litert-xnnpack", written(program)), execute(program, "reconstruct", x)
    for name, values in session.run("reconstruct", x).items():
        np.testing.assert_array_equal(values, expected[name])
    assert expected["code"].max() == fewer.top


def test_kernels_of_convolutions_are_bytes_whatever_their_bits() -> None:
    program = square_net()
    kernel = replace(program.kernels["k"], bits=4)
    program = replace(program, kernels={"k": kernel}, constants={**program.constants, "k": program.constants["k"] // 16})
    contents = read_tflite(written(program, int4="packed"))
    assert {each.values.dtype for each in contents.constants if each.name.startswith("k")} == {np.dtype(np.int8)}
    assert all(each.ok for each in prove(contents, program))


def signal_net() -> Program:
    """Two convolutions over a signal with pooling between, back by nearest neighbours."""
    grid, names = Quantization(1 / 16, 128), {"x": (24, 2), "a": (24, 5), "p": (12, 5), "code": (6, 4)}
    names |= {"d": (12, 5), "u": (24, 5), "y": (24, 2)}
    tensors = {name: Tensor(name, shape, grid) for name, shape in names.items()}
    rng = np.random.default_rng(0)
    first, second = ({"sizes": (3,), "strides": (s,), "padding": "same"} for s in (1, 2))
    values = {name: rng.integers(-60, 60, size).astype(np.int8) for name, size in (("k", (6, 5)), ("l", (15, 4)))}
    kernels = {name: Kernel(name, len(each), each.shape[1], (1 / 128,)) for name, each in values.items()}
    encoder = (
        Convolution("x", "a", "k", False, None, "relu", **first),
        MaxPool("a", "p", (2,)),
        Convolution("p", "code", "l", False, None, "linear", **second),
    )
    decoder = (
        Convolution("code", "d", "l", True, None, "relu", **second),
        Upsample("d", "u", (2,)),
        Convolution("u", "y", "k", True, None, "linear", **first),
    )
    return Program("signal", tensors, kernels, encoder, decoder, values)


def test_a_signal_is_pixels_from_its_first_convolution_to_its_last() -> None:
    program = signal_net()
    found = {each.name: each.operations for each in read_tflite(written(program)).signatures}
    ends = {"DEQUANTIZE": 2, "QUANTIZE": 2}
    assert found["encode"] == ends | {"RESHAPE": 2, "CONV_2D": 2, "MAX_POOL_2D": 1}
    assert found["decode"] == ends | {"RESHAPE": 3, "DENSIFY": 2, "TRANSPOSE_CONV": 2, "CONCATENATION": 1}
    x = np.random.default_rng(1).integers(0, 256, (5, 24, 2), np.uint8)
    got, expected = open_tflite("litert-xnnpack", written(program)).run("reconstruct", x), execute(program, "reconstruct", x)
    for name, values in got.items():
        np.testing.assert_array_equal(values, expected[name])


def test_images_are_not_reshaped() -> None:
    (encode, *_, reconstruct) = read_tflite(written(square_net())).signatures
    assert "RESHAPE" not in {**encode.operations, **reconstruct.operations}


@pytest.mark.parametrize(("shape", "sizes"), [((6, 4, 3), (3, 2)), ((6, 4, 3), (1, 4)), ((4, 4, 2), (2, 2)), ((10, 3), (5,))])
def test_values_are_moved_as_the_program_moves_them(shape, sizes) -> None:
    grid = Quantization(1 / 16, 128)
    places = tuple(n // k for n, k in zip(shape, sizes, strict=False))
    rows = (*places, int(np.prod(sizes)) * shape[-1])
    pairs = {
        "patches": ((rows, Patches("x", "code", sizes)), Unpatch("code", "y", sizes)),
        "pool": (((*places, shape[-1]), MaxPool("x", "code", sizes)), Upsample("code", "y", sizes)),
        "flat": (((int(np.prod(shape)),), Reshape("x", "code")), Reshape("code", "y")),
    }
    x = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    for (code, there), back in pairs.values():
        tensors = {name: Tensor(name, each, grid) for name, each in (("x", shape), ("code", code), ("y", shape))}
        program = Program("p", tensors, {}, (there,), (back,), {})
        expected = execute(program, "reconstruct", x)
        found = [each for graph in unpack_model(written(program)).subgraphs for each in graph.tensors]
        repeated = [each for each in found if b".repeated.2" in each.name]
        columns = 1 if len(sizes) == 1 else shape[1] // sizes[1]
        assert all(each.shape[2] == columns * sizes[0] for each in repeated)
        for runtime in ("litert-xnnpack", "litert-reference"):
            session = open_tflite(runtime, written(program))
            for name, values in session.run("reconstruct", x).items():
                np.testing.assert_array_equal(values, expected[name])


def test_runtimes_without_densify_name_the_key(tmp_path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(written(square_net()))
    with pytest.raises(UnavailableError, match='kernels = "portable"'):
        RUNTIMES["tflm"].open({"decode": path})


def test_compiled_model_is_not_asked_to_compute_shapes(tmp_path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(written(square_net(), "portable"))
    with pytest.raises(UnavailableError, match='TRANSPOSE_CONV with a computed shape; kernels = "view"'):
        RUNTIMES["litert-compiled"].open({"decode": path})


def test_another_way_to_read_a_kernel_is_refused() -> None:
    with pytest.raises(ExportError, match="kernels: got 'shared', must be one of view, portable, copies, sparse"):
        written(square_net(), "shared")
