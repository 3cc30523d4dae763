"""`dedupe` on .onnx files with nested graphs, local functions, overridable constants, external data; and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.errors import ExportError, FormatError, InputError, TiedaeError
from tiedae.dedupe.inspection import inspect_file
from tiedae.dedupe.onnx_same import same_bytes
from tiedae.dedupe.share import share_file
from tiedae.dedupe.share_onnx import share_onnx
from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx

from .onnx_models import F32, graph, model, node, require_same, share, weights

W, B = weights(24, 24), weights(24, seed=1)
SHAPE = ("batch", 24)


def constant(values: np.ndarray, name: str) -> onnx.NodeProto:
    return node("Constant", "", name, value=numpy_helper.from_array(np.ascontiguousarray(values), name))


def branch(values: np.ndarray, name: str, *, as_node: bool = False) -> onnx.GraphProto:
    """x · values, as the branch of an If."""
    nodes = [constant(values, name)] if as_node else []
    nodes.append(node("MatMul", f"x {name}", f"{name}.y"))
    return graph(nodes, {} if as_node else {name: values}, {}, {f"{name}.y": SHAPE})


def either(*branches: onnx.GraphProto, **constants: np.ndarray) -> onnx.ModelProto:
    """x · R when the constants have it, then one of two branches."""
    nodes = [helper.make_node("If", ["c"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])]
    outputs = {"y": SHAPE}
    if "R" in constants:
        nodes.append(node("MatMul", "x R", "r"))
        outputs["r"] = SHAPE
    made = graph(nodes, constants, {"x": SHAPE}, outputs)
    made.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return model(made)


def scan(values: np.ndarray, **constants: np.ndarray) -> onnx.ModelProto:
    """Each row of x times `values` in the body of a Scan, and x · R outside."""
    row = {"row": (1, 24)}
    body = graph([node("MatMul", "row C", "out")], {"C": values}, row, {"out": (1, 24)})
    nodes = [
        node("MatMul", "x R", "r"),
        node("Reshape", "x rows", "u"),
        helper.make_node("Scan", ["u"], ["y"], name="scan", body=body, num_scan_inputs=1),
    ]
    made = graph(nodes, {"rows": np.array([-1, 1, 24])} | constants, {"x": SHAPE}, {"r": SHAPE, "y": ("batch", 1, 24)})
    return model(made)


def local(values: np.ndarray, other: np.ndarray) -> onnx.ModelProto:
    """x · values · other in a local function, whose constants are nodes."""
    nodes = [constant(values, "C"), node("MatMul", "a C", "b"), constant(other, "D"), node("MatMul", "b D", "e")]
    function = helper.make_function("local", "Twice", ["a"], ["e"], nodes, [helper.make_opsetid("", 17)])
    call = [helper.make_node("Twice", ["x"], ["h"], domain="local"), node("MatMul", "h R", "y")]
    return model(graph(call, {"R": weights(24, 24, seed=5)}, {"x": SHAPE}, {"y": SHAPE}), functions=[function])


NESTED = {
    "outer and branch": (either(branch(W.T, "C"), branch(weights(24, 24, seed=3), "D"), R=W), ["if/then_branch/C"]),
    "both branches": (either(branch(W, "C"), branch(W.T, "D")), ["if/then_branch/C"]),
    "both branches and outer": (
        either(branch(W, "C", as_node=True), branch(W.T, "D"), R=W),
        ["if/then_branch/C", "if/else_branch/D"],
    ),
    "constant nodes of branches": (either(branch(W, "C", as_node=True), branch(W, "D", as_node=True)), ["if/then_branch/C"]),
    "scan": (scan(W.T, R=W), ["scan/body/C"]),
    "function": (local(W, W), ["local.Twice/D"]),
    "function, transposed": (local(W, W.T), ["local.Twice/D"]),
}


@pytest.mark.parametrize("case", NESTED)
def test_nested_graphs_and_functions(case, tmp_path):
    built, names = NESTED[case]
    shared, source, out = share(tmp_path, built)
    assert {each.name for each in shared.merged} == set(names)
    assert {each.original for each in shared.merged} <= {each.name for each in read_onnx(source).constants}
    assert not shared.kept and not copies(read_onnx(out))
    require_same(source, out)


def test_nodes_of_a_function_stay_in_order(tmp_path):
    """Each new one behind what it reads, also where the original of some constants is a copy of another one."""
    nodes = [
        constant(W, "A"),
        constant(W.T.reshape(24, 24, 1), "K"),
        constant(W.T, "C"),
        constant(np.array([2]), "axes"),
        node("Einsum", "a A", "b", equation="bi,ij->bj"),
        node("Unsqueeze", "b axes", "u"),
        node("Conv", "u K", "k"),
        node("Squeeze", "k axes", "s"),
        node("Einsum", "s C", "t", equation="bi,ij->bj"),
        node("MatMul", "t C", "e"),
    ]
    function = helper.make_function("local", "F", ["a"], ["e"], nodes, [helper.make_opsetid("", 17)])
    made = model(graph([node("F", "x", "y", domain="local")], {}, {"x": SHAPE}, {"y": SHAPE}), functions=[function])
    shared, source, out = share(tmp_path, made)
    assert len(shared.merged) == 2 and not shared.kept
    require_same(source, out)


@pytest.mark.parametrize("copied", [False, True])
def test_what_is_dequantized_in_a_nested_graph_stays_there(copied, tmp_path):
    """ONNX Runtime does not load a file whose nested `DequantizeLinear` reads a constant outside."""
    integers = weights(24, 24, dtype=np.int8)

    def dequantized(name: str) -> onnx.GraphProto:
        nodes = [
            node("Identity", f"{name}.q", f"{name}.i") if copied else node("Identity", "x", f"{name}.unread"),
            node("DequantizeLinear", f"{name}.i scale" if copied else f"{name}.q scale", f"{name}.w"),
            node("MatMul", f"x {name}.w", f"{name}.h"),
            node("DequantizeLinear", f"{name}.r scale", f"{name}.v"),
            node("MatMul", f"{name}.h {name}.v", f"{name}.y"),
        ]
        constants = {f"{name}.q": integers, f"{name}.r": integers, "scale": np.float32(0.01)}
        return graph(nodes, constants, {}, {f"{name}.y": SHAPE})

    shared, source, out = share(tmp_path, either(dequantized("C"), dequantized("D")))
    assert [each.name for each in shared.merged] == ["if/else_branch/D.r", "if/then_branch/C.r"]
    assert {each.reason for each in shared.kept} == {
        "ONNX Runtime does not load a DequantizeLinear of a nested graph whose constants lie outside"
    }
    require_same(source, out)


def test_a_branch_that_gives_back_its_constant(tmp_path):
    """The copy is the output of a nested graph: its name has to stay."""
    one = graph([], {"C": W}, {}, {"C": (24, 24)})
    two = graph([node("Neg", "D", "d")], {"D": W.T}, {}, {"d": (24, 24)})
    made = either(one, two, R=W)
    del made.graph.output[:]
    made.graph.output.extend(
        [helper.make_tensor_value_info("y", F32, [24, 24]), helper.make_tensor_value_info("r", F32, SHAPE)]
    )
    shared, source, out = share(tmp_path, made)
    assert {each.name for each in shared.merged} == {"if/then_branch/C", "if/else_branch/D"}
    require_same(source, out)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("ir", [3, 8])
def test_constant_nodes(ir, order, tmp_path):
    """Among themselves, also where an initializer would have to be an input (IR 3); the second is used before it would be."""
    other = W if order == "C" else W.T
    nodes = [constant(weights(24, seed=8), "b"), constant(W, "C"), node("MatMul", "x C", "h"), constant(other, "D")]
    nodes.append(node("Gemm", "h D b", "y"))
    shared, source, out = share(tmp_path, model(graph(nodes, {}), opset=8, ir=ir))
    assert [each.name for each in shared.merged] == ["D"]
    kinds = [each.op_type for each in onnx.load(out).graph.node]
    assert kinds.count("Constant") == (2 if ir == 3 else 1)
    require_same(source, out)


def test_kept_and_why(tmp_path):
    nodes = [node("MatMul", "x W", "h"), node("MatMul", "h C", "y")]
    made = graph(nodes, {"W": W, "C": W.T}, {"x": SHAPE, "C": (24, 24)})
    shared, *_ = share(tmp_path, model(made))
    (kept,) = shared.kept
    assert (kept.name, kept.original) == ("C", "W")
    assert kept.reason == "C is also a graph input: the caller may pass another value"
    assert shared.data == (tmp_path / "source.onnx").read_bytes()

    function = local(W, weights(24, 24, seed=6))
    function.graph.initializer[0].CopyFrom(numpy_helper.from_array(W, "R"))
    (kept,) = share(tmp_path, function)[0].kept
    assert kept.reason == "a local function reads no constant from outside"

    training = model(graph(nodes, {"W": W, "C": W}))
    training.training_info.add().algorithm.name = "step"
    source = tmp_path / "training.onnx"
    source.write_bytes(training.SerializeToString())
    (kept,) = share_onnx(source, name="shared.onnx").kept
    assert kept.reason == "the file has training information, which refers to its constants by name"

    nodes = [node("MatMul", "x W", "y"), node("DequantizeLinear", "Q s", "q"), node("Neg", "q", "z")]
    made = graph(nodes, {"W": W}, outputs={"y": None, "z": None})
    packed = helper.make_tensor("Q", TensorProto.INT4, (24, 8), np.arange(192) % 15 - 7)
    turned = helper.make_tensor("P", TensorProto.INT4, (8, 24), (np.arange(192) % 15 - 7).reshape(24, 8).T)
    made.initializer.extend([packed, turned, numpy_helper.from_array(np.float32(0.1), "s")])
    made.node.extend([node("DequantizeLinear", "P s", "p"), node("Neg", "p", "v")])
    made.output.append(helper.make_tensor_value_info("v", F32, (8, 24)))
    (kept,) = share(tmp_path, model(made, 21, 10))[0].kept
    assert kept.reason == "Transpose and Reshape do not support int4 in every version"


def test_a_name_inside_hides_the_one_outside(tmp_path):
    """Not allowed by the specification, and found in files."""
    hiding = branch(weights(24, 24, seed=4), "C")
    source = tmp_path / "hiding.onnx"
    source.write_bytes(either(hiding, branch(W, "D"), R=W, C=W.T).SerializeToString())
    shared = share_onnx(source, name="shared.onnx")
    assert {each.name for each in shared.merged} == {"C", "if/else_branch/D"}
    (inside,) = (g for g in onnx.load_from_string(shared.data).graph.node[0].attribute if g.name == "then_branch")
    assert [list(each.input) for each in inside.g.node] == [["x", "C"]]
    assert [each.name for each in inside.g.initializer] == ["C"]


def test_annotations_follow_a_constant_outwards(tmp_path):
    made = either(branch(W, "C"), branch(W, "D"))
    for name, each in zip("DC", made.graph.node[0].attribute, strict=True):
        annotation = each.g.quantization_annotation.add(tensor_name=f"{name}.y")
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=name)
    data = share(tmp_path, made)[0].data
    graphs = [each.g for each in onnx.load_from_string(data).graph.node[0].attribute]
    named = [each.quantization_annotation[0].quant_parameter_tensor_names[0].value for each in graphs]
    assert len(set(named)) == 1
    assert [tensor.name for tensor in onnx.load_from_string(data).graph.initializer] == named[:1]


def save_external(made: onnx.ModelProto, path: Path) -> None:
    onnx.save(made, path, save_as_external_data=True, location="all.bin", size_threshold=0)


def test_external_data_stays_external(tmp_path):
    big, nodes = weights(300, 200), [node("MatMul", "x W", "h"), node("MatMul", "h C", "u"), node("Add", "u B", "y")]
    made = model(graph(nodes, {"W": big, "C": big.T, "B": weights(300)}, {"x": ("batch", 300)}))
    source = tmp_path / "in.onnx"
    save_external(made, source)
    shared, _, out = share(tmp_path, source)
    assert [each.name for each in shared.merged] == ["C"]
    assert list(shared.external) == ["shared.onnx.data"]
    stored = {tensor.name: tensor for tensor in onnx.load(out, load_external_data=False).graph.initializer}
    places = {name: {entry.key: entry.value for entry in tensor.external_data} for name, tensor in stored.items()}
    assert places["W"] == {"location": "shared.onnx.data", "offset": "0", "length": str(big.nbytes)}
    assert int(places["B"]["offset"]) % 64 == 0
    assert sum(map(len, shared.external["shared.onnx.data"])) < 0.51 * (tmp_path / "all.bin").stat().st_size
    require_same(source, out)


def test_constants_that_overlap_in_external_data_are_not_written_apart(tmp_path):
    """A small file could fill the disk."""
    made = model(graph([node("Neg", "x", "y")], {}))
    for i in range(4):
        tensor = made.graph.initializer.add(name=f"c{i}", data_type=F32, dims=[5000 - i], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "all.bin"), ("offset", 4 * i), ("length", 4 * (5000 - i))):
            tensor.external_data.add(key=key, value=str(value))
    source = tmp_path / "in.onnx"
    source.write_bytes(made.SerializeToString())
    (tmp_path / "all.bin").write_bytes(bytes(20000))
    with pytest.raises(ExportError, match=r"overlap in external data; apart they would have 8\d,\d+ bytes"):
        share_file(source, tmp_path / "out.onnx")
    assert inspect_file(source)["copies"] == []


def test_the_external_data_of_the_file_itself_is_not_replaced(tmp_path):
    made = model(graph([node("MatMul", "x W", "y")], {"W": weights(30, 20)}, {"x": ("batch", 30)}))
    source, out = tmp_path / "in.onnx", tmp_path / "all.onnx"
    onnx.save(made, source, save_as_external_data=True, location="all.onnx.data", size_threshold=0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"its data all\.onnx\.data would replace that of in\.onnx"):
        share_file(source, out)
    (tmp_path / "data.onnx").symlink_to("all.onnx.data")
    with pytest.raises(InputError, match=r"data\.onnx: is the data of in\.onnx, must be another file"):
        share_file(source, tmp_path / "data.onnx", force=True)
    (tmp_path / "data.onnx").unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "other").mkdir()
    found = share_file(source, tmp_path / "other" / "all.onnx")
    assert (found["merged"], found["external"], len(found["compared"])) == ([], ["all.onnx.data"], 1)
    assert found["bytes_after"] == sum(path.stat().st_size for path in (tmp_path / "other").iterdir())


def test_nothing_else_is_lost(tmp_path):
    """What the edits do not name is there byte for byte; what names the copy follows or goes."""
    function = helper.make_function("local", "Same", ["a"], ["b"], [node("Identity", "a", "b")], [helper.make_opsetid("", 17)])
    nodes = [
        node("MatMul", "x W", "h"),
        node("MatMul", "h C", "u"),
        node("Add", "u B", "v"),
        node("Same", "v", "y", domain="local"),
    ]
    nodes[1].doc_string, nodes[1].name = "of the product", "second"
    made = model(graph(nodes, {"W": W, "C": W, "B": B}), functions=[function], doc_string="of the model", model_version=7)
    helper.set_model_props(made, {"author": "someone"})
    made.graph.doc_string = "of the graph"
    made.graph.metadata_props.add(key="k", value="v")
    for name in ("C", "h", "u"):
        made.graph.value_info.append(helper.make_tensor_value_info(name, F32, SHAPE if name != "C" else (24, 24)))
    for tensor in ("C", "h"):
        annotation = made.graph.quantization_annotation.add(tensor_name=tensor)
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="C")
    _, source, out = share(tmp_path, made)
    require_same(source, out)
    expected, got = onnx.load(source), onnx.load(out)
    del expected.graph.initializer[1]
    expected.graph.node[1].input[1] = "W"
    del expected.graph.value_info[0]
    del expected.graph.quantization_annotation[0]
    expected.graph.quantization_annotation[0].quant_parameter_tensor_names[0].value = "W"
    assert got == expected


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda m: m.graph.node[1].output.__setitem__(0, "h"), FormatError, "two nodes have the output 'h'"),
        (lambda m: m.graph.initializer[0].ClearField("raw_data"), FormatError, "damaged"),
        (
            lambda m: m.graph.node.append(node("Mystery", "x", "m", table=TensorProto(name="far", data_location=1))),
            ExportError,
            "'far' lies in external data",
        ),
    ],
)
def test_files_that_are_refused(change, error, text, tmp_path):
    made = model(graph([node("MatMul", "x W", "h"), node("MatMul", "h C", "y")], {"W": W, "C": W}))
    change(made)
    path = tmp_path / "broken.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(error, match=text):
        share_onnx(path, name="out.onnx")


@pytest.mark.ci
@pytest.mark.parametrize("seed", range(100))
def test_mutated_files(seed, tmp_path):
    """A clear error or a file, never anything else."""
    rng = np.random.default_rng(seed)
    files = [either(branch(W, "C", as_node=True), branch(W.T, "D"), R=W), local(W, W.T), scan(W.T, R=W)]
    data = bytearray(files[seed % 3].SerializeToString())
    weights_at = [i for i in range(len(data)) if data[i : i + 8] == W.tobytes()[:8] or data[i : i + 8] == W.T.tobytes()[:8]]
    structure = [i for i in range(len(data)) if not any(start <= i < start + W.nbytes for start in weights_at)]
    for _ in range(rng.integers(1, 4)):
        data[structure[rng.integers(len(structure))]] = rng.integers(256)
    path = tmp_path / "mutated.onnx"
    path.write_bytes(data)
    try:
        shared = share_onnx(path, name="out.onnx", tolerance=1.0)
        (tmp_path / "out.onnx").write_bytes(shared.data)
        found = same_bytes(path, tmp_path / "out.onnx")
        assert shared.merged or not found
    except TiedaeError as error:
        assert "\n" not in str(error)


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    """x through some products of 24 columns, whose kernels are few arrays in either order, read by several operations."""
    pool = [weights(24, 24, seed=seed) for seed in range(2)]
    nodes, constants, value = [], {}, "x"
    for i in range(draw(st.integers(1, 5))):
        kernel = draw(st.sampled_from(pool))
        turned = draw(st.booleans())
        values = kernel.T if turned else kernel
        operation = draw(st.sampled_from(["MatMul", "Gemm", "Gemm1", "Add", "Transpose", "Identity"]))
        if draw(st.booleans()):
            constants[f"k{i}"] = values
        else:
            nodes.append(constant(values, f"k{i}"))
        name = f"k{i}"
        if operation in ("Transpose", "Identity"):
            nodes.append(node(operation, name, f"t{i}"))
            name, operation = f"t{i}", "MatMul"
        if operation == "Gemm1":
            nodes.append(node("Gemm", f"{value} {name}", f"h{i}", transB=1))
        elif operation == "Add":
            nodes += [node("MatMul", f"{value} {name}", f"m{i}"), node("Add", f"m{i} B", f"h{i}")]
            constants["B"] = B
        else:
            nodes.append(node(operation, f"{value} {name}", f"h{i}"))
        value = f"h{i}"
        nodes.append(node("Tanh", value, f"a{i}"))
        value = f"a{i}"
    nodes.append(node("Identity", value, "y"))
    return model(graph(nodes, constants), draw(st.sampled_from([11, 13, 17])))


@settings(max_examples=60, deadline=None)
@given(made=chains())
def test_any_chain_of_products_keeps_its_outputs(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("chain")
    shared, source, out = share(folder, made)
    assert not shared.kept and not copies(read_onnx(out))
    require_same(source, out)
