"""What `dedupe` runs, proves and measures: whole files of kinds that strangers have, through the whole command."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tiedae.base.errors import CheckError, FormatError, InputError
from tiedae.cli import main
from tiedae.dedupe import trial as trying
from tiedae.dedupe.share import share_file
from tiedae.export.tflite.schema import Op, pack_model, unpack_model
from tiedae.report.sharing import render

from .onnx_models import F32, graph, node, weights
from .tflite_files import File, int8_pair, tied_pair

KERNEL = weights(24, 24)


def saved(folder, made, name="file.onnx"):
    path = folder / name
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def audio(tmp_path):
    """A branch per sampling rate, each with the same kernel, which takes frames of 64 samples; one output is the rate's."""
    branches = []
    for name in ("fast", "slow"):
        inner = [node("Reshape", "x frames", f"{name}.framed"), node("MatMul", f"{name}.framed {name}.kernel", f"{name}.y")]
        branches.append(
            graph(inner, {f"{name}.kernel": weights(64, 32), "frames": np.array([-1, 64])}, {}, {f"{name}.y": None})
        )
    never = graph([node("Neg", "x", "no")], {}, {}, {"no": None})
    nodes = [
        node("Equal", "sr rate", "same"),
        node("If", "same", "y", then_branch=branches[0], else_branch=branches[1]),
        node("Shape", "x", "sizes"),
        node("ReduceMax", "sizes", "size", keepdims=0),
        node("Less", "size one", "none"),
        node("If", "none", "z", then_branch=never, else_branch=graph([node("Identity", "x", "yes")], {}, {}, {"yes": None})),
    ]
    made = graph(nodes, {"rate": np.array(16000), "one": np.array(1)}, {"x": ("batch", "time")}, {"y": None, "z": None})
    made.input.append(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
    return saved(tmp_path, made)


@pytest.fixture
def by_runs(monkeypatch):
    """As if no bytes proved anything."""
    monkeypatch.setattr(trying, "is_same", lambda *_files: False)


@pytest.mark.usefixtures("by_runs")
def test_sizes_and_rates_are_searched_and_branches_named(audio, tmp_path):
    found = share_file(audio, tmp_path / "out.onnx")
    assert found["ratio"] < 0.7 and found["proof"] == "runs"
    shapes = {(*used["shapes"]["x"], used["case"]) for used in found["used"]}
    assert shapes == {(batch, 64, f"sr = {rate}") for batch in (1, 3) for rate in (16000, 16001)}
    assert "x 1x16 or 3x3" in found["tried"]["main"] and "sr = 16000 or sr = 16001" in found["tried"]["main"]
    assert {branch["name"]: branch["ran"] for branch in found["branches"]} == {
        "y/then_branch": True,
        "y/else_branch": True,
        "z/then_branch": False,
        "z/else_branch": True,
    }
    text = render(found)
    assert "  3 of 4 ran\n  not run: z/then_branch" in text and "by runs of both files" in text
    assert "x 1x64 with sr = 16000; " in text and "main y  ort-cpu" in text


@pytest.mark.usefixtures("by_runs")
def test_where_nothing_runs_the_shapes_and_the_cause_are_named(audio, tmp_path, capsys):
    out = tmp_path / "out.onnx"
    assert main(["dedupe", str(audio), "-o", str(out), "--shape", "x=1x63", "-q"]) == 2
    error = capsys.readouterr().err
    assert "no input that was tried runs (x 1x63; " in error and "{1,63}" in error and error.count("\n") == 1
    assert main(["dedupe", str(audio), "-o", str(out), "--shape", "x=2x128", "-q", "--json", "-"]) == 0
    used = json.loads(capsys.readouterr().out)["used"]
    assert {tuple(each["shapes"]["x"]) for each in used} == {(2, 128)} and len(used) == 4


WRONG = {
    "shape": (["--shape", "x=1"], "--shape x: got [1], must be [batch, time]"),
    "text": (["--shape", "x"], "--shape x: must be NAME=1x16"),
    "data": (["--data", "none.npz"], "--data none.npz: no such file"),
    "change": (["--max-change", "2"], "--max-change: got 2, must be a fraction"),
    "bytes": (["--min-bytes", "0"], "--min-bytes: got 0, must be 1 or more"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_wrong_options_are_one_line(audio, tmp_path, capsys, options, message):
    assert main(["dedupe", str(audio), "-o", str(tmp_path / "out.onnx"), "-q", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out.onnx").exists()


def test_data_are_what_both_files_run_on(audio, tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 128)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, sr=np.array(8000))
    found = share_file(audio, tmp_path / "out.onnx", data=tmp_path / "data.npz")
    assert found["used"] == [{"signature": "main", "shapes": {"x": [2, 128], "sr": []}, "given": ["x", "sr"], "case": ""}]
    scale = next(row["scale"] for row in found["compared"] if row["output"] == "z")
    assert scale == pytest.approx(np.abs(x).max()) and "the same given inputs: x 2x128" in render(found)
    np.savez(tmp_path / "wrong.npz", x=x.astype(np.float64))
    with pytest.raises(InputError, match="--data x: has float64 values, must have float32"):
        share_file(audio, tmp_path / "other.onnx", data=tmp_path / "wrong.npz")


def test_a_merge_of_equal_bytes_is_proven_by_bytes(audio, tmp_path):
    found = share_file(audio, tmp_path / "out.onnx")
    assert (found["proof"], found["not_run"]) == ("bytes", "")
    assert sorted(used["case"] for used in found["used"]) == ["sr = 16000", "sr = 16001"]
    assert {row["runtime"] for row in found["compared"]} == {"ort-cpu"}
    assert "the place of constants with equal bytes; runs are a witness only" in render(found)


def custom() -> bytes:
    """An operator that no runtime here knows, which reads two equal constants."""
    file = File()
    graph = file.graph("main")
    x, y = graph.tensor("x", (1, 24)), graph.tensor("y", (1, 24))
    graph.add(Op.CUSTOM, [x, graph.constant("one", KERNEL), graph.constant("two", KERNEL)], [y])
    graph.set_io([x], [y])
    model = unpack_model(file.data())
    model.operatorCodes[0].customCode = b"Landmarks"
    return pack_model(model, b"")


def test_a_file_that_no_runtime_knows_is_written_with_a_proof_by_bytes(tmp_path, monkeypatch):
    path, out = tmp_path / "custom.tflite", tmp_path / "out.tflite"
    path.write_bytes(custom())
    found = share_file(path, out)
    assert out.stat().st_size < path.stat().st_size and found["proof"] == "bytes" and found["compared"] == []
    assert "unresolved custom op: Landmarks" in found["not_run"] and "not run: LiteRT refuses the file" in render(found)
    monkeypatch.setattr(trying, "is_same", lambda *_files: False)
    with pytest.raises(FormatError, match="unresolved custom op: Landmarks"):
        share_file(path, tmp_path / "other.tflite")
    assert not (tmp_path / "other.tflite").exists()


def twice(nodes, outputs, inputs=None):
    """x → MatMul with one of two equal kernels → h and k, and further nodes."""
    first = [node("MatMul", "x one", "h"), node("MatMul", "h two", "k")]
    return graph([*first, *nodes], {"one": KERNEL, "two": KERNEL}, inputs or {"x": ("batch", 24)}, outputs)


@pytest.mark.usefixtures("by_runs")
def test_nan_agrees_but_is_no_evidence(tmp_path):
    nodes = [node("Log", "minus", "bad"), node("Abs", "k", "size"), node("Neg", "size", "minus"), node("Log", "k", "some")]
    nodes = [nodes[1], nodes[2], nodes[0], nodes[3]]
    path = saved(tmp_path, twice(nodes, {"bad": None, "some": None}))
    found = share_file(path, tmp_path / "out.onnx")
    bad, some = found["compared"]
    assert bad["nonfinite"] == bad["count"] == 96 and 0 < some["nonfinite"] < some["count"] == 96
    text = render(found)
    assert "not compared: none of its values is finite" in text and f"{some['nonfinite']} not finite in both" in text
    path = saved(tmp_path, twice(nodes[:3], {"bad": None}))
    with pytest.raises(FormatError, match="give other inputs with --data: bad: not compared"):
        share_file(path, tmp_path / "other.onnx")


@pytest.mark.usefixtures("by_runs")
def test_strings_run_too(tmp_path):
    nodes = [node("Identity", "words", "same")]
    made = twice(nodes, {"k": None})
    made.input.append(helper.make_tensor_value_info("words", TensorProto.STRING, ["count"]))
    made.output.append(helper.make_tensor_value_info("same", TensorProto.STRING, None))
    found = share_file(saved(tmp_path, made), tmp_path / "out.onnx")
    assert [(row["output"], row["differing"]) for row in found["compared"]] == [("k", 0), ("same", 0)]
    assert found["used"][0]["shapes"] == {"x": [1, 24], "words": [16]}


def test_a_new_transpose_is_timed_without_optimizations_too(tmp_path):
    nodes = [node("Add", "x one", "h"), node("Add", "other h", "k")]
    made = graph(
        nodes, {"one": weights(24, 24), "other": np.ascontiguousarray(weights(24, 24).T)}, {"x": (24, 24)}, {"k": None}
    )
    found = share_file(saved(tmp_path, made), tmp_path / "out.onnx")
    model = onnx.load(tmp_path / "out.onnx")
    assert "Transpose" in [each.op_type for each in model.graph.node] and model.graph.input[0].type.tensor_type.elem_type == F32
    levels = [(row["optimized"], row["runs"] >= 3, row["problem"]) for row in found["latency"]]
    assert levels == [(True, True, ""), (False, True, "")]
    assert all(0 < row[key] < 1 for row in found["latency"] for key in ("before", "after"))
    text = render(found)
    assert "graph optimizations off: " in text and "the runtime folds it (ONNX Runtime from ORT_ENABLE_BASIC on)" in text


def test_large_files_are_timed_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(trying, "HELD_BYTES", 100)
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied_pair(sizes=(256, 64)))
    found = share_file(path, tmp_path / "out.tflite")
    (row,) = found["latency"]
    assert not row["in_turns"] and min(row["before"], row["after"]) > 0 and row["runs"] >= 3
    assert "calls each, one file after the other)" in render(found)


def test_the_change_of_near_duplicates_is_stated_and_bounded(tmp_path):
    path = tmp_path / "near.tflite"
    path.write_bytes(int8_pair(bias=2.0, scales=2))
    rng = np.random.default_rng(5)
    np.save(tmp_path / "x.npy", rng.integers(-128, 128, (30, 40)).astype(np.int8))
    found = share_file(path, tmp_path / "out.tflite", tolerance=1.0, data=tmp_path / "x.npy", max_change=0.1)
    largest = max(row["largest"] for row in found["compared"]) / 255
    assert 0 < largest < 0.05 and max(row["change"][0] for row in found["compared"]) == largest
    assert f"by up to {largest:.3%} (--max-change 0.1) of its full scale" in render(found) and "on --data" in render(found)
    with pytest.raises(CheckError, match=r"nothing is written: main y in litert-.* --max-change is 0\.001"):
        share_file(path, tmp_path / "other.tflite", tolerance=1.0, max_change=0.001)
    assert not (tmp_path / "other.tflite").exists()


def test_smaller_constants_are_left_alone(tmp_path):
    path = saved(tmp_path, twice([], {"k": None}))
    assert share_file(path, tmp_path / "out.onnx", minimum=KERNEL.nbytes)["merged"]
    found = share_file(path, tmp_path / "other.onnx", minimum=KERNEL.nbytes + 1)
    assert found["merged"] == found["kept"] == [] and found["proof"] == "" and found["used"] == []


def test_endings_are_known_in_any_case(tmp_path):
    path = saved(tmp_path, twice([], {"k": None})).rename(tmp_path / "FILE.ONNX")
    assert share_file(path, tmp_path / "out.onnx")["merged"]


def test_external_data_do_not_stay_where_the_file_appeared_meanwhile(tmp_path):
    path = saved(tmp_path, twice([], {"k": None}))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="file.data", size_threshold=0)
    folder = tmp_path / "new"
    folder.mkdir()
    out = folder / "out.onnx"
    with pytest.raises(InputError, match=r"out\.onnx is there already"):
        share_file(path, out, announce=lambda _text: out.write_text("precious"))
    assert [each.name for each in folder.iterdir()] == ["out.onnx"] and out.read_text() == "precious"
