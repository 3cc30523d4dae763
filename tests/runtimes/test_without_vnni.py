"""int8 kernels that obey the pair rule are exact on processors that add products in int16; others are not."""

from __future__ import annotations

import importlib.util
import os
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.windows import Window
from tiedae.compress.affine import Quantization
from tiedae.compress.integers import PAIR_LIMIT, exceeding_pairs, within_pairs
from tiedae.export.onnx.writer import to_onnx
from tiedae.program.interpreter import execute
from tiedae.program.operations import Convolution, Upsample
from tiedae.program.program import Program
from tiedae.program.tensors import Kernel, Tensor

from ..conftest import build_program
from ..program.convolutions import random_program

pytestmark = pytest.mark.ci

spec = importlib.util.spec_from_file_location("emulated", Path(__file__).parents[2] / "benchmarks" / "emulated.py")
assert spec is not None and spec.loader is not None
emulated = importlib.util.module_from_spec(spec)
sys.modules["emulated"] = emulated  # where its dataclass looks for its types
spec.loader.exec_module(emulated)

LIMITS = (PAIR_LIMIT, PAIR_LIMIT + 1, 254)
"""The rule, one more, and none."""
SHAPES = ((3, 5), (4, 8), (33, 7), (64, 16), (257, 31))
"""[inputs, units]: both are the length of a sum in one of the directions."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if emulated.emulator() is None:
        if os.environ.get("TIEDAE_EXPECT_QEMU"):
            pytest.fail(f"{emulated.EMULATOR} was to be installed here")
        pytest.skip(f"{emulated.EMULATOR} is not installed (Debian's qemu-user)")
    return tmp_path_factory.mktemp("emulated")


def gemm(kernel: np.ndarray, *, transposed: bool) -> bytes:
    """uint8 x → x · W (transB 1 over the stored [units, inputs]) or x · Wᵀ (transB 0), requantized to uint8 as we write it."""
    size = kernel.shape[1] if transposed else kernel.shape[0]
    scale = np.float32(1 / (40 * size))
    constants = [
        numpy_helper.from_array(values, name)
        for name, values in {
            "w": np.ascontiguousarray(kernel.T),
            "one": np.float32(1),
            "scale": scale * np.float32(1 / 64),
            "scale.w": scale,
            "zero": np.uint8(0),
            "zero.w": np.int8(0),
            "zero.y": np.uint8(128),
        }.items()
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["x.real"]),
        helper.make_node("DequantizeLinear", ["w", "scale.w", "zero.w"], ["w.real"]),
        helper.make_node("Gemm", ["x.real", "w.real"], ["sum"], transB=int(not transposed)),
        helper.make_node("QuantizeLinear", ["sum", "one", "zero.y"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", size])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, ["batch", None])
    graph = helper.make_graph(nodes, "gemm", [x], [y], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def requantized(kernel: np.ndarray, x: np.ndarray, *, transposed: bool) -> np.ndarray:
    size = kernel.shape[1] if transposed else kernel.shape[0]
    sums = x.astype(np.int64) @ (kernel.T if transposed else kernel).astype(np.int64)
    return np.clip(np.rint(sums.astype(np.float32) * np.float32(1 / (40 * size))) + 128, 0, 255).astype(np.uint8)


def test_sums_are_exact_within_the_limit_and_not_beyond(folder: Path):
    rng = np.random.default_rng(0)
    files, right = {}, {}
    for limit in LIMITS:
        for shape in SHAPES:
            free = rng.choice(np.array([-127, -64, -65, 64, 65, 127], np.int8), shape)
            kernel = within_pairs(free, limit)
            for transposed in (False, True):
                for batch in (1, 5, 32):
                    name = f"{limit}-{'x'.join(map(str, shape))}-{int(transposed)}-{batch}"
                    size = shape[1] if transposed else shape[0]
                    x = rng.choice(np.array([254, 255], np.uint8), (batch, size))
                    files[name] = gemm(kernel, transposed=transposed), x
                    right[name] = requantized(kernel, x, transposed=transposed)
    got = emulated.run_emulated(folder, files)
    differing = {limit: 0 for limit in LIMITS}
    for name, values in got.items():
        differing[int(name.split("-")[0])] += int(np.count_nonzero(values["y"] != right[name]))
    assert differing[PAIR_LIMIT] == 0
    assert 0 < differing[PAIR_LIMIT + 1] < differing[254]


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
def test_whole_programs_are_exact_whether_they_obey_or_not(folder: Path):
    x = np.random.default_rng(1).integers(0, 256, (50, 65), dtype=np.uint8)
    programs = {}
    for granularity, pairs in product(("tensor", "unit"), (True, False)):
        program = build_program((65, 33, 9), granularity=granularity, pairs=pairs)
        assert bool(program.exceeding_pairs) != pairs and (exceeding_pairs(program.constants["kernel_0"]) == 0) == pairs
        programs[f"{granularity}, {pairs}"] = program
    got = emulated.run_emulated(folder, {name: (to_onnx(program, io="uint8"), x) for name, program in programs.items()})
    for name, program in programs.items():
        expected = execute(program, "reconstruct", x)
        for output in ("code", "y"):
            np.testing.assert_array_equal(got[name][output], expected[output], f"{output} of {name}")


CONVOLUTIONS = {
    "one channel": ((9, 9), Window((3, 3), (1, 1), "same"), 1, 8),
    "odd channels": ((9, 9), Window((3, 3), (2, 2), "same"), 3, 5),
    "channels in fours, the symmetric kernels": ((9, 9), Window((3, 3), (1, 1), "same"), 8, 32),
    "one unit": ((8, 8), Window((3, 2), (1, 1)), 5, 1),
    "pointwise": ((6, 6), Window((1, 1), (1, 1)), 6, 16),
    "pointwise with strides": ((6, 6), Window((1, 1), (2, 2)), 7, 16),
    "signals": ((20,), Window((5,), (2,)), 3, 16),
    "one place": ((3, 3), Window((3, 3), (1, 1)), 6, 16),
}
"""(lengths, window, channels, units) for each way that MLAS has to add products of a convolution."""


def encoder(lengths: tuple[int, ...], window: Window, channels: int, kernel: np.ndarray) -> Program:
    """A convolution; its decoder only gives the code in the shape of x, so that no other product adds anything."""
    inputs, units = kernel.shape
    shape, code = (*lengths, channels), (*window.places(lengths), units)
    scale = float(np.float32(inputs * 255 * 127 / 64 / 120))
    tensors = {
        "x": Tensor("x", shape, Quantization(1.0, 0)),
        "code": Tensor("code", code, Quantization(scale, 128)),
        "y": Tensor("y", code, Quantization(scale, 128)),
    }
    options = {"sizes": window.sizes, "strides": window.strides, "padding": window.padding}
    convolution = Convolution("x", "code", "kernel", False, None, "linear", **options)
    same = Upsample("code", "y", (1,) * len(lengths))
    kernels = {"kernel": Kernel("kernel", inputs, units, (1 / 64,))}
    return Program("encoder", tensors, kernels, (convolution,), (same,), {"kernel": kernel})


def channels_first(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The rows of a kernel in the order (channels, sizes)."""
    return kernel.reshape(-1, channels, kernel.shape[1]).swapaxes(0, 1).reshape(kernel.shape)


def one_of_each_pair(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A kernel that obeys along its rows: 127 and 1 in each pair, in a random order."""
    second = rng.integers(0, 2, (-(-shape[0] // 2), shape[1]))
    chosen = np.stack([1 - second, second], 1).reshape(-1, shape[1])[: shape[0]]
    return (1 + 126 * chosen).astype(np.int8)


def test_convolutions_add_pairs_in_the_order_of_the_kernels_rows(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Pairs along the rows (sizes, channels) have to obey; where pairs of the other order obey alone, sums saturate."""
    monkeypatch.setattr(Program, "exceeding_pairs", {})
    rng = np.random.default_rng(2)
    files, right = {}, {}
    for label, (lengths, window, channels, units) in CONVOLUTIONS.items():
        size = int(np.prod(window.sizes))
        free = rng.choice(np.array([-127, -64, 64, 127], np.int8), (size * channels, units))
        first = channels_first(one_of_each_pair(rng, free.shape), size)
        x = rng.choice(np.array([254, 255], np.uint8), (5, *lengths, channels))
        for order, kernel in (("rows", within_pairs(free)), ("channels", first)):
            program, name = encoder(lengths, window, channels, kernel), f"{order}-{label.replace(' ', '_')}"
            files[name] = to_onnx(program, signature="encode", io="uint8"), x
            right[name] = execute(program, "encode", x)["code"]
    got = emulated.run_emulated(folder, files)
    different = {name: int(np.count_nonzero(values["code"] != right[name])) for name, values in got.items()}
    assert {name: count for name, count in different.items() if name.startswith("rows")} == {
        name: 0 for name in files if name.startswith("rows")
    }
    moved = [name for name in files if name.startswith("channels") and "pointwise" not in name and "one_channel" not in name]
    assert all(different[name] for name in moved) and len(moved) == len(CONVOLUTIONS) - 3


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
def test_random_programs_with_convolutions_are_exact(folder: Path):
    drawn = {f"conv-{seed}": random_program(seed) for seed in range(60)}
    programs = {name: (program, x[:4]) for name, (program, x) in drawn.items()}
    got = emulated.run_emulated(folder, {name: (to_onnx(each, io="uint8"), x) for name, (each, x) in programs.items()})
    for name, (program, x) in programs.items():
        expected = execute(program, "reconstruct", x)
        for output in ("code", "y"):
            np.testing.assert_array_equal(got[name][output], expected[output], f"{output} of {name}")
