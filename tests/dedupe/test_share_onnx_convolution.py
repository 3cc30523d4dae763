"""`dedupe` and `inspect` on one kernel of Conv and ConvTranspose, in both orders in which files of others store it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.onnx.writer import to_onnx
from tiedae.program.interpreter import execute

from ..export.onnx.test_writer import run
from ..program.convolutions import random_program
from .onnx_models import graph, model, node, operations, qdq, require_same, share, weights

KERNEL = weights(8, 3, 3, 3)
"""[units, channels, *sizes], as Conv and ConvTranspose read it."""
LAST = np.ascontiguousarray(KERNEL.transpose(2, 3, 1, 0))
"""[*sizes, channels, units], as TensorFlow stores it: a Transpose in the file gives the order of Conv."""
ENDS = {"inputs": {"x": ("batch", 3, 8, 8)}}


def autoencoder(decoder: np.ndarray, *before):
    """Conv with W, ConvTranspose with V, which nodes `before` may make of D."""
    nodes = [*before, node("Conv", "x W", "z"), node("Relu", "z", "r"), node("ConvTranspose", "r V", "y")]
    return model(graph(nodes, {"W": KERNEL, "D" if before else "V": decoder}, **ENDS))


CASES = {
    "one order": (autoencoder(KERNEL.copy()), "equal", "one initializer"),
    "both orders": (autoencoder(LAST, node("Transpose", "D", "V", perm=(3, 2, 0, 1))), "transposed", "its own Transpose"),
}


@pytest.mark.parametrize(("file", "relation", "how"), CASES.values(), ids=CASES)
def test_one_kernel_of_both_directions_is_merged(file, relation: str, how: str, tmp_path: Path) -> None:
    shared, source, out = share(tmp_path, file)
    (duplicate,) = copies(read_onnx(source))
    assert (duplicate.relation, duplicate.size) == (relation, KERNEL.nbytes)
    (merged,) = shared.merged
    assert merged.how.startswith(how) and merged.saved == KERNEL.nbytes and not shared.kept
    assert not copies(read_onnx(out)) and "Transpose" not in operations(out)
    assert out.stat().st_size < source.stat().st_size - 0.9 * KERNEL.nbytes
    require_same(source, out)


@pytest.mark.parametrize("both", [False, True])
def test_one_quantized_kernel_of_both_directions_is_merged(both: bool, tmp_path: Path) -> None:
    integers = np.rint(KERNEL * 30).clip(-127, 127).astype(np.int8)
    again = np.ascontiguousarray(integers.transpose(2, 3, 1, 0)) if both else integers.copy()
    constants = {
        "W": integers,
        "D": again,
        "s": np.float32(1 / 30),
        "z": np.int8(0),
        "xs": np.float32(0.05),
        "xz": np.uint8(128),
    }
    nodes = [
        *qdq("x", "xs xz", "q", "xr"),
        node("DequantizeLinear", "W s z", "w"),
        node("DequantizeLinear", "D s z", "d"),
        node("Conv", "xr w", "c"),
        *qdq("c", "xs xz", "cq", "cr"),
        *([node("Transpose", "d", "v", perm=(3, 2, 0, 1))] if both else []),
        node("ConvTranspose", f"cr {'v' if both else 'd'}", "y"),
    ]
    shared, source, out = share(tmp_path, model(graph(nodes, constants, **ENDS)))
    assert [each.saved for each in shared.merged] == [integers.nbytes] and not shared.kept
    assert "QLinearConv" in operations(out) and not copies(read_onnx(out))
    require_same(source, out)


def test_our_own_file_has_nothing_to_merge(tmp_path: Path) -> None:
    program, x = random_program(4)
    (tmp_path / "p.onnx").write_bytes(to_onnx(program, io="uint8"))
    assert not copies(read_onnx(tmp_path / "p.onnx"))
    shared, _, out = share(tmp_path, tmp_path / "p.onnx")
    assert not shared.merged and out.read_bytes() == (tmp_path / "p.onnx").read_bytes()
    np.testing.assert_array_equal(run(out.read_bytes(), x)["y"], execute(program, "reconstruct", x)["y"])
