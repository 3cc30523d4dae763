"""`same_bytes` of ONNX files: empty for a file whose equal constants were merged, the part that differs for another."""

from __future__ import annotations

import time
from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tiedae.dedupe.onnx_same import same_bytes

from .onnx_models import F32, graph, model, node, share, weights
from .test_share_onnx_graphs import NESTED, chains, constant, save_external, scan

W, B = weights(24, 24), weights(24, seed=1)
SHAPE = ("batch", 24)
SPARSE = helper.make_sparse_tensor(numpy_helper.from_array(np.ones(2, np.float32)), numpy_helper.from_array(np.arange(2)), [9])


def branch(name: str, values: np.ndarray) -> onnx.GraphProto:
    return graph([node("MatMul", f"x {name}", f"{name}.y")], {name: values}, {}, {f"{name}.y": SHAPE})


def built() -> ModelProto:
    """Constants of all kinds: equal, sparse, nested, in a function, an input's default, an attribute of another operation."""
    function = helper.make_function(
        "local", "Twice", ["a"], ["e"], [constant(W, "C"), node("MatMul", "a C", "e")], [helper.make_opsetid("", 17)]
    )
    nodes = [
        node("MatMul", "x W", "h", name="first"),
        constant(W, "Z"),
        node("Gemm", "h V B", "g", alpha=0.5),
        node("Add", "g D", "s"),
        node("Custom", "s", "t", table=numpy_helper.from_array(weights(600, seed=4), "table"), zeros=SPARSE, domain="local"),
        helper.make_node("If", ["c"], ["u"], then_branch=branch("P", W), else_branch=branch("Q", weights(24, 24, seed=6))),
        node("Twice", "u", "v", domain="local"),
        node("MatMul", "v Z", "y"),
    ]
    made = graph(nodes, {"W": W, "V": W, "B": B, "D": B}, {"x": SHAPE, "D": (24,)}, {"y": SHAPE, "V": (24, 24)})
    made.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    made.value_info.append(helper.make_tensor_value_info("h", F32, SHAPE))
    annotation = made.quantization_annotation.add(tensor_name="h")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="B")
    made.sparse_initializer.add(
        values=numpy_helper.from_array(np.ones(2, np.float32), "S"), indices=numpy_helper.from_array(np.arange(2)), dims=[9]
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, functions=[function])


@pytest.fixture
def written(tmp_path):
    """Write a model; returns its path."""

    def write(made: ModelProto, name: str):
        (tmp_path / name).write_bytes(made.SerializeToString())
        return tmp_path / name

    return write


def merge_by_hand(made: ModelProto) -> None:
    """V, Z, P and the output V read W."""
    main = made.graph
    main.node[2].input[1] = main.node[7].input[1] = "W"
    then = main.node[5].attribute[0].g if main.node[5].attribute[0].name == "then_branch" else main.node[5].attribute[1].g
    then.node[0].input[1] = "W"
    del then.initializer[:]
    main.node.insert(2, node("Identity", "W", "V"))
    del main.node[1], main.initializer[1]


def test_merged_by_hand(written):
    before, made = built(), built()
    merge_by_hand(made)
    assert made.ByteSize() < before.ByteSize() - 3 * W.nbytes + 200
    assert same_bytes(written(before, "before.onnx"), written(made, "after.onnx")) == ""
    made.graph.initializer[0].name = "elsewhere"
    for each in made.graph.node:
        each.input[:] = ["elsewhere" if name == "W" else name for name in each.input]
    assert "then_branch: node 0, MatMul" in same_bytes(written(before, "before.onnx"), written(made, "after.onnx"))


def flip(tensor: TensorProto) -> None:
    data = bytearray(tensor.raw_data)
    data[-1] ^= 1
    tensor.raw_data = bytes(data)


def swap(made: ModelProto, index: int) -> None:
    """Swap a node and the next one."""
    one, other = (onnx.NodeProto.FromString(made.graph.node[i].SerializeToString()) for i in (index, index + 1))
    made.graph.node[index].CopyFrom(other)
    made.graph.node[index + 1].CopyFrom(one)


CHANGES: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "a bit": (lambda m: flip(m.graph.initializer[0]), "node 0, MatMul 'first'"),
    "a bit of an output": (lambda m: flip(m.graph.initializer[1]), "node 1, Gemm ''"),
    "a bit of a Constant": (lambda m: flip(m.graph.node[1].attribute[0].t), "node 6, MatMul ''"),
    "a bit of a default": (lambda m: flip(m.graph.initializer[3]), "defaults of inputs"),
    "a bit of an attribute": (lambda m: flip(m.graph.node[4].attribute[0].t), "node 3, local.Custom ''"),
    "a bit of a branch": (lambda m: flip(m.graph.node[5].attribute[0].g.initializer[0]), "_branch: node 0, MatMul ''"),
    "a bit of a function": (lambda m: flip(m.functions[0].node[0].attribute[0].t), "local.Twice: node 0"),
    "a bit of a sparse one": (lambda m: flip(m.graph.sparse_initializer[0].values), "sparse constants"),
    "a shape": (lambda m: m.graph.initializer[2].dims.insert(0, 1), "node 1, Gemm ''"),
    "a sparse shape": (lambda m: m.graph.sparse_initializer[0].dims.__setitem__(0, 8), "sparse constants"),
    "a sparse attribute's shape": (
        lambda m: m.graph.node[4].attribute[1].sparse_tensor.dims.__setitem__(0, 8),
        "node 3, local.Custom ''",
    ),
    "an input": (lambda m: m.graph.node[2].input.__setitem__(0, "x"), "node 1, Gemm ''"),
    "a constant for an input": (lambda m: m.graph.node[2].input.__setitem__(0, "W"), "node 1, Gemm ''"),
    "a default for a constant": (lambda m: m.graph.node[2].input.__setitem__(2, "D"), "node 1, Gemm ''"),
    "a constant for a default": (lambda m: m.graph.node[3].input.__setitem__(1, "B"), "node 2, Add ''"),
    "inputs in another order": (lambda m: m.graph.node[0].input.reverse(), "node 0, MatMul 'first'"),
    "one input fewer": (lambda m: m.graph.node[2].input.pop(), "node 1, Gemm ''"),
    "an operation": (lambda m: setattr(m.graph.node[3], "op_type", "Sub"), "node 2, Add ''"),
    "a domain": (lambda m: setattr(m.graph.node[3], "domain", "local"), "node 2, Add ''"),
    "a name": (lambda m: setattr(m.graph.node[0], "name", "other"), "node 0, MatMul 'first'"),
    "an output": (lambda m: m.graph.node[4].output.__setitem__(0, "z"), "node 3, local.Custom ''"),
    "an attribute": (lambda m: setattr(m.graph.node[2].attribute[0], "f", 0.25), "node 1, Gemm ''"),
    "one attribute more": (lambda m: m.graph.node[0].attribute.add(name="a", i=1, type=2), "node 0, MatMul 'first'"),
    "one node more": (lambda m: m.graph.node.append(node("Neg", "y", "w")), "number of nodes"),
    "one node fewer": (lambda m: m.graph.node.pop(6), "node 5, local.Twice ''"),
    "the order of nodes": (lambda m: swap(m, 3), "node 2, Add ''"),
    "a graph input": (lambda m: setattr(m.graph.input[0], "name", "w"), "inputs, outputs or names"),
    "a graph output": (lambda m: m.graph.output.pop(), "inputs, outputs or names"),
    "a type": (lambda m: setattr(m.graph.value_info[0].type.tensor_type, "elem_type", 10), "types of inner values"),
    "an annotation": (
        lambda m: setattr(m.graph.quantization_annotation[0].quant_parameter_tensor_names[0], "value", "W"),
        "quantization of h",
    ),
    "no annotation": (lambda m: m.graph.quantization_annotation.pop(), "quantization of h"),
    "an operator set": (lambda m: setattr(m.opset_import[0], "version", 16), "version, operator sets or metadata"),
    "the format's version": (lambda m: setattr(m, "ir_version", 9), "version, operator sets or metadata"),
    "metadata": (lambda m: m.metadata_props.add(key="k", value="v"), "version, operator sets or metadata"),
    "no function": (lambda m: m.functions.pop(), "number of local functions"),
    "a function's name": (lambda m: setattr(m.functions[0], "name", "Thrice"), "local.Twice: "),
    "a new constant": (lambda m: m.graph.initializer.append(numpy_helper.from_array(B + 1, "N")), "constants"),
    "a name twice": (lambda m: m.graph.node.append(node("Neg", "y", "B")), "names defined twice"),
    "a hidden value": (
        lambda m: m.graph.node[5].attribute[0].g.initializer.append(numpy_helper.from_array(B, "x")),
        "_branch: node 0, MatMul",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_any_other_change_is_a_difference(case, written):
    change, text = CHANGES[case]
    made = built()
    change(made)
    found = same_bytes(written(built(), "before.onnx"), written(made, "after.onnx"))
    assert text in found and "\n" not in found


def test_a_constant_that_nothing_reads_must_stay(written):
    """Also where it had the bytes of none that is left."""
    before, after = built(), built()
    before.graph.initializer.append(numpy_helper.from_array(W, "again"))
    assert same_bytes(written(before, "before.onnx"), written(after, "after.onnx")) == ""
    for one in (before, after):
        more = [
            np.zeros((0, 3), np.float32),
            np.array(True),
            np.array([["a", "b"]], object),
            weights(7).astype(ml_dtypes.bfloat16),
        ]
        more += [weights(20, seed=i) for i in range(10, 2500)]
        one.graph.initializer.extend(numpy_helper.from_array(each, f"unread{i}") for i, each in enumerate(more))
    start = time.perf_counter()
    assert same_bytes(written(before, "before.onnx"), written(after, "after.onnx")) == ""
    assert time.perf_counter() - start < 10
    before.graph.initializer.append(numpy_helper.from_array(W + 1, "only"))
    assert same_bytes(written(before, "before.onnx"), written(after, "after.onnx")) == "constants"


@pytest.mark.parametrize("case", NESTED)
def test_merged_in_nested_graphs_and_functions(case, tmp_path):
    shared, source, out = share(tmp_path, NESTED[case][0])
    equal = {each.relation for each in shared.merged} == {"equal"}
    assert (same_bytes(source, out) == "") is equal


def test_a_value_inside_hides_a_constant_outside(written):
    before, after = scan(W, R=W), scan(W, R=W, row=W)
    body = next(each.g for node in after.graph.node for each in node.attribute if each.name == "body")
    body.node[0].input[1] = "row"
    del body.initializer[:]
    assert "body: node 0, " in same_bytes(written(before, "before.onnx"), written(after, "after.onnx"))


def test_external_data_may_move(tmp_path):
    big, nodes = weights(200, 200), [node("MatMul", "x W", "h"), node("Gemm", "h C B", "y", transB=1)]
    source = tmp_path / "in.onnx"
    save_external(model(graph(nodes, {"B": B[:1], "W": big, "C": big}, {"x": ("batch", 200)})), source)
    _, _, out = share(tmp_path, source)
    assert same_bytes(source, out) == ""
    data = bytearray((tmp_path / "shared.onnx.data").read_bytes())
    data[77] ^= 4
    (tmp_path / "shared.onnx.data").write_bytes(data)
    assert "node 0, MatMul" in same_bytes(source, out)


@settings(max_examples=60, deadline=None)
@given(made=chains(), data=st.data())
def test_any_chain(tmp_path_factory, made, data):
    """Proven if and only if no merge changed an operation; never after a change of one byte of a constant."""
    folder = tmp_path_factory.mktemp("chain")
    shared, source, out = share(folder, made)
    equal = {each.how for each in shared.merged} <= {"one initializer", "nothing reads it"}
    assert (same_bytes(source, out) == "") is equal
    after = onnx.load(out)
    tensors = [*after.graph.initializer, *(each.attribute[0].t for each in after.graph.node if each.op_type == "Constant")]
    flip(data.draw(st.sampled_from(tensors)))
    out.write_bytes(after.SerializeToString())
    assert same_bytes(source, out) != ""
