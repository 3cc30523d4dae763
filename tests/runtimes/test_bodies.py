"""Which branches of control flow a run enters: nested ones too, in both formats, and also where a branch has no operation."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import Op
from tiedae.export.tflite.views import LARGE
from tiedae.export.tflite.writer import to_tflite
from tiedae.runtimes.bodies import OnnxBodies, TfliteBodies

from ..conftest import build_program
from ..dedupe.onnx_models import graph, node
from ..dedupe.tflite_files import File

CASES = {
    (True, True): {"outer/then", "inner/then"},
    (True, False): {"outer/then", "inner/else"},
    (False, True): {"outer/else"},
}


@pytest.fixture
def onnx_file(tmp_path):
    """`If` in `If`, of which no node has a name; one branch has a constant and nothing else, another only passes a value on."""
    three = graph([], {"three": np.float32([3])}, {}, {"three": None})
    same = graph([node("Identity", "x", "same")], {}, {}, {"same": None})
    then = graph([node("If", "b", "deep", then_branch=three, else_branch=same)], {}, {}, {"deep": None})
    other = graph([node("Neg", "x", "negative")], {}, {}, {"negative": None})
    nodes = [
        node("Cast", "p", "a", to=9),
        node("Cast", "q", "b", to=9),
        node("If", "a", "y", then_branch=then, else_branch=other),
    ]
    made = graph(nodes, {}, {"p": (), "q": (), "x": (1,)}, {"y": None})
    path = tmp_path / "file.onnx"
    made = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("case", CASES)
def test_branches_of_an_onnx_file(onnx_file, case):
    p, q = (np.array(each, np.float32) for each in case)
    found = OnnxBodies(onnx_file).call("main", {"p": p, "q": q, "x": np.ones(1, np.float32)})
    names = {
        "y/then_branch": "outer/then",
        "y/else_branch": "outer/else",
        "y/then_branch/deep/then_branch": "inner/then",
        "y/then_branch/deep/else_branch": "inner/else",
    }
    assert found.keys() == names.keys()
    assert {names[name] for name, entered in found.items() if entered} == CASES[case]


def branching() -> bytes:
    """A file with an IF in an IF."""
    file = File()
    graph = file.graph("main")
    p, q, x, outer = (
        graph.tensor("p", (1,), "bool"),
        graph.tensor("q", (1,), "bool"),
        graph.tensor("x", (2,)),
        graph.tensor("outer", (2,)),
    )
    graph.add(Op.IF, [p, q, x], [outer], schema.IfOptionsT(thenSubgraphIndex=1, elseSubgraphIndex=2))
    graph.set_io([p, q, x], [outer])
    then = file.graph("then")
    q, x, inner = then.tensor("q", (1,), "bool"), then.tensor("x", (2,)), then.tensor("inner", (2,))
    then.add(Op.IF, [q, x], [inner], schema.IfOptionsT(thenSubgraphIndex=3, elseSubgraphIndex=4))
    then.set_io([q, x], [inner])
    last = file.graph("else")
    q, x, y = last.tensor("q", (1,), "bool"), last.tensor("x", (2,)), last.tensor("y", (2,))
    last.add(Op.NEG, [x], [y])
    last.set_io([q, x], [y])
    for name in ("deep then", "deep else"):
        deep = file.graph(name)
        x, y = deep.tensor("x", (2,)), deep.tensor("y", (2,))
        deep.add(Op.ADD, [x, deep.constant("c", np.float32([1, 2]))], [y], schema.AddOptionsT())
        deep.set_io([x], [y])
    return file.data()


@pytest.mark.parametrize("signatures", [True, False])
def test_branches_of_a_tflite_file(tmp_path, signatures):
    from tiedae.export.tflite.schema import pack_model, unpack_model

    path = tmp_path / "file.tflite"
    model = unpack_model(branching())
    model.signatureDefs = model.signatureDefs[:1] if signatures else None
    path.write_bytes(pack_model(model, b""))
    session = TfliteBodies(path)
    for case, entered in CASES.items():
        p, q = (np.array([each]) for each in case)
        found = session.call("main", {"p": p, "q": q, "x": np.ones(2, np.float32)})
        assert found.keys() == {"outer/then", "outer/else", "inner/then", "inner/else"}
        assert {name for name, ran in found.items() if ran} == entered


def test_a_call_of_one_subgraph_either_way_is_no_branch(tmp_path):
    path = tmp_path / "file.tflite"
    path.write_bytes(to_tflite(build_program((LARGE // 64, 64, 5)), io="uint8"))
    assert "IF" in {kind for signature in read_tflite(path.read_bytes()).signatures for kind in signature.operations}
    assert TfliteBodies(path).call("reconstruct", {"x": np.zeros((1, LARGE // 64), np.uint8)}) == {}
