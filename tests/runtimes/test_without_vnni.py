"""int8 kernels that obey the pair rule are exact on processors that add products in int16; others are not."""

from __future__ import annotations

import importlib.util
import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiedae.compress.integers import PAIR_LIMIT, exceeding_pairs, within_pairs
from tiedae.export.onnx.writer import to_onnx
from tiedae.program.interpreter import execute

from ..conftest import build_program

pytestmark = pytest.mark.ci

spec = importlib.util.spec_from_file_location("emulated", Path(__file__).parents[2] / "benchmarks" / "emulated.py")
assert spec is not None and spec.loader is not None
emulated = importlib.util.module_from_spec(spec)
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
