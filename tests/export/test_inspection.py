"""What `tiedae inspect` says of real files, ours and a small one that holds a matrix three times."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiedae.compress.errors import FormatError
from tiedae.export.inspection import SHOWN, inspect_file, render
from tiedae.export.onnx_writer import to_onnx
from tiedae.export.tflite_writer import to_tflite

from ..conftest import build_program
from .test_tflite_writer import split


def saved(path, arrays):
    """An ONNX file that multiplies its input by each matrix in turn."""
    initializers = [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in arrays.items()]
    nodes, source = [], "x"
    for name in arrays:
        nodes.append(helper.make_node("MatMul", [source, name], [f"{name}.y"]))
        source = f"{name}.y"
    sizes = {"x": next(iter(arrays.values())).shape[0], source: next(reversed(arrays.values())).shape[1]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items())
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
    return path


MATRIX = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def test_a_small_matrix_stored_three_times(tmp_path):
    found = inspect_file(saved(tmp_path / "thrice.onnx", {"a": MATRIX, "b": MATRIX.T, "c": MATRIX}))
    assert [(copy["name"], copy["relation"], copy["bytes"]) for copy in found["copies"]] == [
        ("b", "transposed", 128),
        ("c", "equal", 128),
    ]
    assert found["bytes_if_shared"] == found["bytes"] - 256 and found["constant_bytes"] == 384
    text = render(found)
    assert "b is transposed to a: 128 bytes stored again" in text and "stored twice" not in text


@pytest.mark.parametrize("arrays", [{"a": MATRIX}, {"a": np.ones((8, 8), np.float32), "b": np.ones((8, 8), np.float32)}])
def test_no_copies_and_how_far_that_was_searched(tmp_path, arrays):
    text = render(inspect_file(saved(tmp_path / "once.onnx", arrays)))
    limits = "searched: 64 values or more, matrices from 16, one value repeated from 1,024"
    assert text.endswith(f"no constant is stored twice ({limits})")


@pytest.mark.parametrize("widths", [(20, 12, 5), (8, 4), (40, 24, 6)])
def test_our_files_store_nothing_twice(tmp_path, widths):
    activations = ("relu", "linear")[-len(widths) + 1 :]
    for options in ({}, {"granularity": "unit"}, {"quantized": False}):
        (tmp_path / "a.tflite").write_bytes(to_tflite(split(widths=widths, activations=activations, **options)))
        (tmp_path / "a.onnx").write_bytes(to_onnx(build_program(widths, activations, **options)))
        for name in ("a.tflite", "a.onnx"):
            found = inspect_file(tmp_path / name)
            assert found["copies"] == [] and found["bytes_if_shared"] == found["bytes"]


def test_views_scales_and_ports_of_a_tflite_file(tmp_path):
    path = tmp_path / "toy.tflite"
    path.write_bytes(to_tflite(split(widths=(40, 24, 6), granularity="unit")))
    found = inspect_file(path)
    kernel = next(each for each in found["constants"] if each["name"] == "kernel_0")
    assert kernel["views"] > 1 and kernel["bytes"] == 960 and kernel["scales"] == 24
    text = render(found)
    assert "encode: x uint8 [batch, 40], scale 0.00392157, zero point 0 → code uint8 [batch, 6]" in text
    assert "views)" in text and "24 scales" in text


def test_a_long_list_is_summed_up(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {f"m{i}": rng.normal(size=(4, 4)).astype(np.float32) for i in range(SHOWN + 3)}
    text = render(inspect_file(saved(tmp_path / "many.onnx", arrays)))
    assert "and 3 smaller ones, 192 bytes" in text


@pytest.mark.parametrize("name", ["lacking.onnx", "what.txt"])
def test_what_is_no_model_is_a_format_error(tmp_path, name):
    (tmp_path / "what.txt").write_text("no")
    with pytest.raises(FormatError, match=name):
        inspect_file(tmp_path / name)
