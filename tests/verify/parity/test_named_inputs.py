"""A Keras model of two inputs gets them by their names where it has the file's, and else in the file's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from tiedae import assert_parity


@pytest.mark.parametrize(("names", "swapped"), [(("second", "first"), False), (("a", "b"), True)], ids=["by name", "in order"])
def test_inputs_of_a_keras_model(tmp_path: Path, names: tuple[str, str], swapped: bool) -> None:
    import tf_keras

    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("first", "second", "y")}
    nodes = [helper.make_node("Sub", ["first", "second"], ["y"])]
    graph = helper.make_graph(nodes, "difference", [values["first"], values["second"]], [values["y"]])
    path = tmp_path / "difference.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    one, other = (tf_keras.Input((4,), name=name) for name in names)
    difference = tf_keras.layers.Subtract()([one, other] if swapped else [other, one])
    model = tf_keras.Model([one, other], difference)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    (row,) = assert_parity(model, path, inputs={"second": x[1], "first": x[0]}).outputs
    assert (row.count, row.differing) == (20, 0)
