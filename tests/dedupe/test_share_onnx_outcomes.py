"""`dedupe` on .onnx files: each duplicate has one outcome, external data are shared as they were, memory stays small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx

from .onnx_models import graph, model, node, require_same, share, weights
from .test_share_onnx_graphs import SHAPE, B, W, branch, chains, local, save_external


@settings(max_examples=60, deadline=None)
@given(made=chains(), minimum=st.sampled_from([1, 64, B.nbytes + 1, W.nbytes, W.nbytes + 1]))
def test_each_duplicate_is_merged_or_kept(tmp_path_factory, made, minimum):
    folder = tmp_path_factory.mktemp("chain")
    shared, source, out = share(folder, made, minimum=minimum)
    before, after = (copies(read_onnx(path), minimum) for path in (source, out))
    assert len(shared.merged) + len(shared.kept) == len(before) and len(shared.kept) == len(after)
    assert all(each.saved >= minimum for each in shared.merged)
    names = {each.name for each in read_onnx(source).constants}
    assert {name for each in (*shared.merged, *shared.kept) for name in (each.name, each.original)} <= names
    if minimum > W.nbytes:
        assert not before and shared.data == source.read_bytes()


SMALL = weights(17)


def small(*shapes: tuple[int, ...], name: str = "k") -> onnx.ModelProto:
    """Sums of a constant of 68 bytes, in these shapes."""
    constants = {f"{name}{i}": SMALL.reshape(shape) for i, shape in enumerate(shapes)}
    nodes = [node("Mul", f"x {each}", f"y{i}") for i, each in enumerate(constants)]
    return model(graph(nodes, constants, {"x": (1, 17)}, {f"y{i}": None for i in range(len(shapes))}))


def test_an_operation_that_costs_more_than_it_saves_is_not_made(tmp_path):
    assert [each.name for each in share(tmp_path, small((17,), (17,)))[0].merged] == ["k1"]
    shared, source, _ = share(tmp_path, small((17,), (1, 17)))
    (kept,) = shared.kept
    assert kept.reason == "a Transpose or Reshape of the original would take as many bytes"
    assert shared.data == source.read_bytes()
    shared, source, out = share(tmp_path, small((17,), (1, 17), (1, 17)))
    assert [each.name for each in shared.merged] == ["k2"] and len(shared.kept) == 1
    assert out.stat().st_size < source.stat().st_size
    require_same(source, out)


def test_kept_in_one_place_and_merged_in_another(tmp_path):
    """The original can be read by a function's constants as little as they by it: each duplicate has one outcome."""
    made = local(W, W)
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(W, "R"))
    shared, source, out = share(tmp_path, made)
    assert [(each.name, each.original) for each in shared.merged] == [("local.Twice/D", "local.Twice/C")]
    assert [(each.name, each.reason) for each in shared.kept] == [
        ("local.Twice/C", "a local function reads no constant from outside")
    ]
    require_same(source, out)


def test_graphs_of_one_name_are_told_apart(tmp_path):
    """A node without a name goes by that of its output, which may be the name of another."""
    nodes = [
        helper.make_node("If", ["c"], [f"y{i}"], name=name, then_branch=branch(W, f"C{i}"), else_branch=branch(B * W, f"D{i}"))
        for i, name in enumerate(["y1", ""])
    ]
    for attribute in (attribute for each in nodes for attribute in each.attribute):
        attribute.g.initializer[0].name = attribute.g.node[0].input[1] = "C"
    made = graph(nodes, {}, {"x": SHAPE}, {"y0": SHAPE, "y1": SHAPE})
    made.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    shared, source, out = share(tmp_path, model(made))
    assert {each.name for each in shared.merged} == {"y1/then_branch/2/C", "y1/else_branch/2/C"}
    require_same(source, out)


def test_views_of_one_place_in_external_data_stay_one(tmp_path):
    """Two tensors over the same bytes, and a third with other, equal ones."""
    names = ("A", "U", "V", "C", "D")
    nodes = [node("MatMul", f"{'x' if not i else names[i - 1] + '.y'} {each}", f"{each}.y") for i, each in enumerate(names)]
    other = weights(24, 24, seed=3)
    values = dict(zip(names, (other, W, W, W, W), strict=True))
    made = model(graph(nodes, values, {"x": SHAPE}, {"D.y": SHAPE}))
    source = tmp_path / "in.onnx"
    save_external(made, source)
    stored = onnx.load(source, load_external_data=False)
    places = {tensor.name: tensor.external_data for tensor in stored.graph.initializer}
    for name, as_in in (("V", "U"), ("D", "C")):
        for entry, its in zip(places[name], places[as_in], strict=True):
            entry.value = its.value
    source.write_bytes(stored.SerializeToString())
    shared, _, out = share(tmp_path, source)
    assert [each.name for each in shared.merged] == ["C"] and not shared.kept
    assert sum(map(len, shared.external["shared.onnx.data"])) == W.nbytes + other.nbytes
    left = {tensor.name for tensor in onnx.load(out, load_external_data=False).graph.initializer}
    assert left == {"A", "U", "V"}
    require_same(source, out)


MEMORY = """
import sys
from pathlib import Path
from tiedae.dedupe.share import share_file
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10
import onnx
before = peak()
found = share_file(Path(sys.argv[1]), Path(sys.argv[2]))
print(len(found["merged"]), (peak() - before) / found["bytes_before"])
"""


@pytest.mark.ci
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(("external", "limit"), [(True, 1.0), (False, 2.2)])
def test_memory(external, limit, tmp_path):
    """Constants are maps whose pages are released: new external data are written in pieces, a whole file is in memory once."""
    big = weights(2048, 2048)
    nodes = [node("MatMul", "x W", "h"), node("MatMul", "h C", "u"), node("MatMul", "u D", "y")]
    constants = {"W": big, "C": big.T, "D": big[::-1]}
    made = model(graph(nodes, constants, {"x": ("batch", 2048)}, {"y": ("batch", 2048)}))
    source = tmp_path / "in.onnx"
    save_external(made, source) if external else onnx.save(made, source)
    del made
    arguments = [sys.executable, "-c", MEMORY, source, tmp_path / "out.onnx"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    merged, peak = map(float, done.stdout.split()[-2:])
    assert merged == 1 and peak < limit
