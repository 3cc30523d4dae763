"""What `tiedae inspect` says of real files, ours and a small one that holds a matrix three times."""

import json
import re
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.errors import FormatError
from tiedae.cli import main
from tiedae.cli.entry import command_parser
from tiedae.dedupe.inspection import inspect_file
from tiedae.dedupe.share import share_file
from tiedae.export.duplicates import MINIMUM
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.tflite.schema import pack_model, unpack_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.report.inspection import SHOWN, render

from ..conftest import build_program
from ..export.tflite.test_writer import split
from ..variants import every
from .tflite_files import int8_pair, tied_pair


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
    assert found["bytes_if_shared"] < found["bytes"] - 200 and found["constant_bytes"] == 384
    text = render(found)
    assert "b is transposed to a: 128 bytes stored again" in text and "stored twice" not in text


def test_the_account_has_every_byte_and_a_bar_for_each_row(tmp_path):
    path = saved(tmp_path / "thrice.onnx", {"a": MATRIX, "b": MATRIX.T, "c": MATRIX})
    path.write_bytes(path.read_bytes() + b"\xfa\x3e\x04copy")
    found = inspect_file(path)["account"]
    rows = {row["kind"]: row["bytes"] for row in found["rows"]}
    size = path.stat().st_size
    assert sum(rows.values()) == found["bytes"] == size
    assert (rows["constant a"], rows["stored again"], rows["left over"], found["left_over"]) == (128, 256, 7, 7)
    assert found["runs"] == [{"bytes": 7, "where": f"bytes {size - 7} to {size}"}]
    text = render(inspect_file(path))
    assert f"constant a    128  {128 / size:.2%}  {'█' * round(40 * 128 / size)}\n" in text
    assert f"left over: 7 bytes, bytes {size - 7} to {size}" in text


@pytest.mark.parametrize("arrays", [{"a": MATRIX}, {"a": np.ones((5, 3), np.float32), "b": np.ones((3, 5), np.float32)}])
def test_no_copies_and_how_far_that_was_searched(tmp_path, arrays):
    text = render(inspect_file(saved(tmp_path / "once.onnx", arrays)))
    limits = "searched: from 64 bytes; equal in value but not in bytes from 64 values, matrices from 16"
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


def test_views_scales_inputs_and_outputs_of_a_tflite_file(tmp_path):
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


def test_long_names_and_texts_are_shortened_where_people_look(tmp_path):
    path = saved(tmp_path / "a.onnx", {"layer/" * 20 + "kernel": MATRIX})
    model = onnx.load(path)
    helper.set_model_props(model, {"labels": "cat, dog, " * 30, "author": "someone"})
    path.write_bytes(model.SerializeToString())
    found = inspect_file(path)
    text = render(found)
    assert found["metadata"]["labels"] == "cat, dog, " * 30 and "author: someone" in text and "… (300 characters)" in text
    assert "  …" in text and "layer/kernel  float32" in text and found["constants"][0]["name"] == "layer/" * 20 + "kernel"


@pytest.mark.parametrize("name", ["A.ONNX", "a.lite", "a.TFLITE"])
def test_suffixes_of_other_makers(name, tmp_path):
    make = to_onnx if "onnx" in name.lower() else to_tflite
    (tmp_path / name).write_bytes(make(build_program((12, 6, 3)) if make is to_onnx else split(widths=(12, 6, 3))))
    assert inspect_file(tmp_path / name)["format"] == ("onnx" if make is to_onnx else "tflite")


@pytest.mark.parametrize("name", ["lacking.onnx", "what.txt"])
def test_what_is_no_model_is_a_format_error(tmp_path, name):
    (tmp_path / "what.txt").write_text("no")
    with pytest.raises(FormatError, match=name):
        inspect_file(tmp_path / name)


# --- wherever copies hide ---

KERNEL = np.random.default_rng(7).normal(size=(24, 10)).astype(np.float32)
SCALE = np.float32(np.abs(KERNEL).max() / 127)
INTEGERS = np.rint(KERNEL / SCALE).astype(np.int8)


def onnx_file(path, nodes, initializers=(), functions=()):
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(initializers))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=list(functions), opset_imports=opsets, ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def stored(values, name):
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def constant(values, name):
    return helper.make_node("Constant", [], [name], value=stored(values, name))


def branch(values):
    out = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    return helper.make_graph([helper.make_node("Identity", ["inner"], ["z"])], "b", [], out, [stored(values, "inner")])


def in_nested_graphs(folder):
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=branch(KERNEL), else_branch=branch(KERNEL.T))
    return onnx_file(folder / "a.onnx", [node])


def in_constant_nodes(folder):
    return onnx_file(folder / "a.onnx", [constant(KERNEL, "y"), constant(KERNEL.ravel(), "b")])


def in_a_function(folder):
    function = helper.make_function("own", "F", ["a"], ["b"], [constant(KERNEL.T, "b")], [helper.make_opsetid("", 21)])
    return onnx_file(folder / "a.onnx", [helper.make_node("F", ["w"], ["y"], domain="own")], [stored(KERNEL, "w")], [function])


def in_external_data(folder):
    (folder / "w.bin").write_bytes(KERNEL.T.tobytes())
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(10, 24), data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="w.bin")
    return onnx_file(folder / "a.onnx", [], [stored(KERNEL, "v"), outside])


def in_float16(folder):
    return onnx_file(folder / "a.onnx", [], [stored(KERNEL, "v"), stored(KERNEL.T.astype(np.float16), "w")])


def in_int4_and_int8(folder):
    coarse = np.float32(np.abs(KERNEL).max() / 7)
    packed = helper.make_tensor("w", TensorProto.INT4, [10, 24], np.rint(KERNEL.T / coarse).astype(int).ravel().tolist())
    nodes = [
        helper.make_node("DequantizeLinear", [name, f"{name}.scale"], [f"{name}.real"], domain=domain)
        for name, domain in (("v", ""), ("w", "com.microsoft"))
    ]
    scales = [stored(np.array(scale, np.float32), name) for name, scale in (("v.scale", SCALE), ("w.scale", coarse))]
    return onnx_file(folder / "a.onnx", nodes, [stored(INTEGERS, "v"), packed, *scales])


def in_two_subgraphs(folder):
    def graph(buffer, values):
        quantization = schema.QuantizationParametersT(scale=np.array([SCALE]), zeroPoint=np.array([0]))
        kind = schema.TensorType.INT8
        tensor = schema.TensorT(name="w", shape=list(values.shape), type=kind, buffer=buffer, quantization=quantization)
        return schema.SubGraphT(tensors=[tensor], inputs=[], outputs=[], operators=[], name=f"graph {buffer}")

    both = INTEGERS, INTEGERS.T
    buffers = [schema.BufferT(), *(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)) for values in both)]
    builder = flatbuffers.Builder()
    graphs = [graph(i + 1, values) for i, values in enumerate(both)]
    builder.Finish(schema.ModelT(version=3, subgraphs=graphs, buffers=buffers).Pack(builder), b"TFL3")
    (folder / "a.tflite").write_bytes(builder.Output())
    return folder / "a.tflite"


@pytest.mark.parametrize(
    ("make", "relation", "order", "size"),
    [
        (in_nested_graphs, "transposed", "transposed", 960),
        (in_constant_nodes, "reshaped", "reshaped", 960),
        (in_a_function, "transposed", "transposed", 960),
        (in_external_data, "transposed", "transposed", 960),
        (in_float16, "near", "transposed", 480),
        (in_int4_and_int8, "near", "transposed", 120),
        (in_two_subgraphs, "transposed", "transposed", 240),
    ],
)
def test_copies_are_found_wherever_they_hide(make, relation, order, size, tmp_path):
    path = make(tmp_path)
    found = inspect_file(path)
    assert [(copy["relation"], copy["order"], copy["bytes"]) for copy in found["copies"]] == [(relation, order, size)]
    text = render(found)
    (copy,) = found["copies"]
    if copy["merged"]:
        assert found["bytes_if_shared"] == found["bytes_if_merged"] < found["bytes"] - size // 2
        assert f"tiedae dedupe would write {found['bytes_if_shared']:,} bytes" in text
    else:
        assert found["bytes_if_shared"] == found["bytes_if_merged"] == found["bytes"]
        assert text.endswith("tiedae dedupe would leave the file as it is")
    assert copy["dedupe"] in text and (found["near_steps"] is not None) == (relation == "near")


def _with_places(data: bytes) -> bytes:
    """With metadata that refer to operators by index, so that none can be added."""
    model = unpack_model(data)
    model.metadata = [schema.MetadataT(name=b"model_control_dependencies", buffer=0)]
    return pack_model(model)


TIED = {
    "float.tflite": lambda: tied_pair(),
    "kept.tflite": lambda: tied_pair(metadata=["model_control_dependencies"]),
    "int8.tflite": lambda: int8_pair(bias=2.0),
    "near.tflite": lambda: int8_pair(bias=2.0, scales=2),
    "near, kept.tflite": lambda: _with_places(int8_pair(bias=2.0, scales=2)),
    "small.tflite": lambda: tied_pair(sizes=(5, 4)),
}


@pytest.mark.parametrize("name", every(2, TIED))
@pytest.mark.parametrize("minimum", [64, 2000])
def test_the_estimate_is_the_size_that_share_writes_and_both_list_the_same(name, minimum, tmp_path):
    path = tmp_path / name
    path.write_bytes(TIED[name]())
    found = inspect_file(path, minimum=minimum)
    for steps, key in ((None, "bytes_if_shared"), (found["near_steps"], "bytes_if_merged")):
        shared = share_file(path, tmp_path / "out.tflite", tolerance=steps, minimum=minimum, force=True)
        assert found[key] == shared["bytes_after"] == (tmp_path / "out.tflite").stat().st_size
        assert len(found["copies"]) == len(shared["merged"]) + len(shared["kept"])
        if steps is None:
            assert [copy["merged"] for copy in found["copies"]] == [True] * len(shared["merged"]) or shared["kept"]
    for copy in found["copies"]:
        advised = re.search(r"--near (\S+) would allow that", copy["dedupe"])
        if copy["relation"] == "near":
            merged = share_file(path, tmp_path / "out.tflite", tolerance=found["near_steps"], force=True)["merged"]
            assert bool(advised) == bool(merged) and (not advised or float(advised[1]) == found["near_steps"])


def test_a_file_that_share_refuses_is_described_with_the_reason(tmp_path):
    path = tmp_path / "a.tflite"
    model = unpack_model(tied_pair())
    model.operatorCodes.append(schema.OperatorCodeT(32, b"DISPATCH_OP", 1, 32))
    path.write_bytes(pack_model(model))
    (copy,) = inspect_file(path)["copies"]
    assert copy["dedupe"] == "dedupe leaves it: DISPATCH_OP refers to positions in the file, which would move"


def test_the_minimum_is_checked_and_stated(tmp_path, capsys):
    path = saved(tmp_path / "a.onnx", {"a": MATRIX, "b": MATRIX.T})
    assert run(capsys, path, "--min-bytes", "0")[::2] == (2, "tiedae: --min-bytes: got 0, must be 1 or more\n")
    assert "no constant is stored twice (searched: from 129 bytes;" in run(capsys, path, "--min-bytes", "129")[1]


# --- the command ---


def run(capsys, *arguments):
    code = main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_of_one_file_is_an_object_and_of_several_a_list(tmp_path, capsys):
    first = in_int4_and_int8(tmp_path)
    second = saved(tmp_path / "b.onnx", {"m": MATRIX})
    code, out, _ = run(capsys, first, "--json", "-")
    found = json.loads(out)
    (copy,) = found["copies"]
    assert code == 0 and copy["axes"] == [1, 0] and 0 < copy["mean"] < copy["largest"] <= 1.001 and 0 <= copy["equal"] < 1
    integers = next(each for each in found["constants"] if each["name"] == "v")
    assert (integers["dtype"], integers["bytes"], integers["scale"], integers["zero_point"]) == ("int8", 240, float(SCALE), 0)
    code, out, _ = run(capsys, first, second, "--json", "-")
    assert [each["file"] for each in json.loads(out)] == ["a.onnx", "b.onnx"] and code == 0


def test_a_damaged_file_hides_no_other(tmp_path, capsys):
    good, bad = saved(tmp_path / "good.onnx", {"m": MATRIX}), tmp_path / "bad.onnx"
    bad.write_bytes(b"no")
    code, out, err = run(capsys, bad, good, tmp_path / "none.tflite", "--json", "-")
    rows = json.loads(out)
    assert code == 2 and [each["file"] for each in rows] == ["bad.onnx", "good.onnx", "none.tflite"]
    assert ["error" in each for each in rows] == [True, False, True] and "good.onnx: onnx" in err
    assert err.splitlines()[-1] == f"tiedae: {rows[0]['error']}; {rows[2]['error']}"


@pytest.mark.parametrize("command", ["inspect", "dedupe"])
def test_help_states_the_minimum_size(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"(default: {MINIMUM})" in " ".join(capsys.readouterr().out.split())


def test_fail_on_copies_of_any_file(tmp_path, capsys):
    near, once = in_float16(tmp_path), saved(tmp_path / "b.onnx", {"m": MATRIX})
    assert run(capsys, once, "--fail-on-copies")[0] == 0
    assert run(capsys, near)[0] == 0
    code, out, err = run(capsys, once, near, "--fail-on-copies")
    assert code == 1 and "b.onnx" in out and "a.onnx" in out
    assert err.strip() == f"tiedae: {near}: 1 of its constants are duplicates of others"


def test_the_pre_commit_hook_is_a_command_that_we_have():
    hook = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    entry = next(line.split(": ", 1)[1] for line in hook.splitlines() if line.strip().startswith("entry:"))
    arguments = command_parser().parse_args([*entry.split()[1:], "a.onnx", "b.tflite"])
    assert arguments.fail_on_copies and len(arguments.files) == 2


OURS = {"a.tflite": to_tflite(split(widths=(12, 6, 3))), "a.onnx": to_onnx(build_program((12, 6, 3)))}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_file_is_exit_2_and_one_line(name, tenths, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(OURS[name][: len(OURS[name]) * tenths // 10])
    code, out, err = run(capsys, path)
    assert (code, out) == (2, "") and err.startswith(f"tiedae: {path}: ") and err.count("\n") == 1


def test_names_cannot_write_to_the_terminal(tmp_path, capsys):
    path = saved(tmp_path / "a.onnx", {"a\x1b[2J\nb": MATRIX, "c": MATRIX.T})
    code, out, _ = run(capsys, path)
    assert code == 0 and "\x1b" not in out and r"a\x1b[2J\nb" in out
