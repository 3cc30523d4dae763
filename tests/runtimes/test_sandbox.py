"""The process of its own: what runs, what is refused, and that crashes, hangs and hunger for memory end as one line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from tiedae.export.onnx.writer import to_onnx
from tiedae.export.random_inputs import Draw
from tiedae.export.tflite.schema import Op
from tiedae.runtimes.sandbox import LINE, Job, TrialRun, run_apart

from ..dedupe.onnx_models import graph, node
from ..dedupe.tflite_files import File, tied_pair
from ..variants import every
from .opening import open_tflite

X = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)


def outputs(run):
    assert isinstance(run, dict), run
    return run


def error(run):
    assert isinstance(run, str), run
    return run


def endless() -> bytes:
    """A file whose one signature never ends, with a constant that it stores twice."""
    file = File()
    graph = file.graph("main")
    i, out = (graph.tensor(name, (1,), "int32") for name in ("i", "out"))
    graph.add(Op.WHILE, [i], [out], schema.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2))
    graph.set_io([i], [out])
    for name in ("once", "again"):
        graph.constant(name, np.arange(100, dtype=np.float32))
    condition = file.graph("condition")
    i, goes_on = condition.tensor("i", (1,), "int32"), condition.tensor("goes on", (1,), "bool")
    condition.add(Op.LESS, [i, condition.constant("limit", np.array([1 << 30], np.int32))], [goes_on])
    condition.set_io([i], [goes_on])
    body = file.graph("body")
    i, same = body.tensor("i", (1,), "int32"), body.tensor("same", (1,), "int32")
    body.add(Op.ADD, [i, body.constant("nothing", np.array([0], np.int32))], [same], schema.AddOptionsT())
    body.set_io([i], [same])
    return file.data()


def crashing() -> bytes:
    """A file whose QUANTIZE has a zero point far out of its type, which the native kernel follows out of its table."""
    file = File()
    graph = file.graph("main")
    x, y = graph.tensor("x", (-1, 40), "uint8", 0.5, 0), graph.tensor("y", (-1, 40), "int8", 0.5, -(2**31))
    graph.add(Op.QUANTIZE, [x], [y])
    graph.set_io([x], [y])
    return file.data()


def greedy() -> bytes:
    """A file that wants 1 GiB for an activation."""
    file = File()
    graph = file.graph("main")
    x, y = graph.tensor("x", (1, 1, 1)), graph.tensor("y", (1 << 12, 1 << 8, 1 << 8))
    shape = graph.constant("shape", np.array([1 << 12, 1 << 8, 1 << 8], np.int32))
    graph.add(Op.BROADCAST_TO, [x, shape], [y], version=2)
    graph.set_io([x], [y])
    return file.data()


@pytest.fixture
def save(tmp_path):
    def write(data: bytes, name: str = "file.tflite"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def test_what_the_child_answers_is_what_the_runtime_answers_here(save):
    path = save(tied_pair())
    runtimes = ("litert-xnnpack", "litert-reference")
    answers = run_apart(
        [TrialRun("main", {"x": X}), TrialRun("main", {"x": X[:1]})], [Job(runtime, (path,)) for runtime in runtimes]
    )
    for runtime, answer in zip(runtimes, answers, strict=True):
        session = open_tflite(runtime, path.read_bytes())
        assert answer.problem == "" and answer.provider == session.provider
        three, one = map(outputs, answer.runs)
        np.testing.assert_array_equal(three["y"], session.run("main", X)["y"])
        assert one["y"].shape == (1, 12)


def test_onnx_runtime_too(save, make_program):
    program = make_program(quantized=False)
    path = save(to_onnx(program), "file.onnx")
    x = np.random.default_rng(0).uniform(size=(2, 20)).astype(np.float32)
    (answer,) = run_apart([TrialRun("main", {"x": x})], [Job("ort-cpu", (path,))])
    assert answer.provider == "CPUExecutionProvider"
    assert {name: values.shape for name, values in outputs(answer.runs[0]).items()} == {"code": (2, 5), "y": (2, 20)}


def test_a_file_without_signatures_takes_its_inputs_in_order(save):
    from tiedae.export.tflite.schema import pack_model, unpack_model

    model = unpack_model(tied_pair())
    model.signatureDefs = None
    jobs = [Job("litert-xnnpack", (save(pack_model(model, b"")),))]
    (answer,) = run_apart([TrialRun("main", {"whatever": X})], jobs)
    assert outputs(answer.runs[0])["y"].shape == (3, 12)


def test_refusals_are_told_apart_from_answers(save):
    runs = [TrialRun("main", {"x": X[:, :5]}), TrialRun("main", {"x": X})]
    paths = save(tied_pair()), save(b"no model", "bad.tflite")
    mixed, bad = run_apart(runs, [Job("litert-xnnpack", (path,)) for path in paths])
    assert "refuses the file" in bad.problem and len(bad.problem) <= LINE
    assert "refuses to run it" in error(mixed.runs[0]) and outputs(mixed.runs[1])["y"].shape == (3, 12)


def test_the_first_job_tries_runs_until_enough_of_each_case(save):
    """Later jobs get those that it ran, and nothing else."""
    wrong, right = {"x": X[:, :5]}, {"x": X}
    cases = [(wrong, "a"), (right, "a"), (right, "b"), (right, "a"), (wrong, "b"), (right, "b"), (right, "a")]
    path = save(tied_pair())
    jobs = [Job("litert-xnnpack", (path,)), Job("litert-reference", (path,)), Job("litert-reference", (path,), most=1)]
    first, later, once = run_apart([TrialRun("main", inputs, case) for inputs, case in cases], jobs, enough=2)
    kinds = [[type(run).__name__ for run in answer.runs] for answer in (first, later, once)]
    assert kinds[0] == ["str", "dict", "dict", "dict", "str", "dict", "NoneType"]
    assert kinds[1] == ["NoneType", "dict", "dict", "dict", "NoneType", "dict", "NoneType"]
    assert kinds[2] == ["NoneType", "dict"] + 5 * ["NoneType"]


def test_drawn_inputs_are_equal_in_every_job(save):
    path = save(tied_pair())
    draw = Draw("float32", (2, 12), -3.0, 3.0, 7)
    one, other = run_apart([TrialRun("main", {"x": draw})], 2 * [Job("litert-xnnpack", (path,))])
    expected = open_tflite("litert-xnnpack", path).run("main", draw.values)["y"]
    for answer in (one, other):
        np.testing.assert_array_equal(outputs(answer.runs[0])["y"], expected)


def test_strings_go_in_and_out(save):
    words = np.array([["a", "b\u00e4r"], ["", "\x00end"]])
    made = graph([node("Identity", "words", "same")], {}, {"words": (2, 2)}, {"same": None}, TensorProto.STRING)
    made = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    jobs = [Job("ort-cpu", (save(made.SerializeToString(), "words.onnx"),))]
    given, drawn = run_apart(
        [TrialRun("main", {"words": words}), TrialRun("main", {"words": Draw("string", (2, 2), 0, 0, 1)})], jobs
    )[0].runs
    np.testing.assert_array_equal(outputs(given)["same"], words)
    np.testing.assert_array_equal(outputs(drawn)["same"], Draw("string", (2, 2), 0, 0, 1).values.astype(str))


def test_the_cause_is_quoted_whole(save):
    """A failure in a nested graph has its cause at the end of a long line."""
    inner = node("Reshape", "x wrong", "inside")
    for depth in range(4):
        branch = graph([inner], {"wrong": np.array([7, 7])} if depth == 0 else {}, {}, {inner.output[0]: None})
        inner = node("If", "yes", f"out{depth}", then_branch=branch, else_branch=branch)
        inner.name = f"If_{depth}_{'x' * 60}"
    made = graph([inner], {"yes": np.array(True)}, {"x": ("batch", 4)}, {inner.output[0]: None})
    made = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = save(made.SerializeToString(), "nested.onnx")
    (answer,) = run_apart([TrialRun("main", {"x": X[:, :4]})], [Job("ort-cpu", (path,))])
    cause = error(answer.runs[0])
    assert "{7,7}" in cause and len(cause) > 200 and "\n" not in cause


def test_a_crash_is_told_and_ends_with_its_job(save):
    good, bad = save(tied_pair()), save(crashing(), "bad.tflite")
    jobs = [Job("litert-xnnpack", (good,)), Job("litert-xnnpack", (bad,)), Job("litert-reference", (good,))]
    before, crashed, after = run_apart([TrialRun("main", {"x": np.zeros((1, 40), np.uint8)})], jobs)
    assert before.problem == ""
    assert crashed.problem.startswith("litert-xnnpack crashed (SIG")
    assert after.problem == "litert-reference was not reached"


def test_a_hang_ends_in_time(save):
    start = time.monotonic()
    job = Job("litert-reference", (save(endless()),))
    (answer,) = run_apart([TrialRun("main", {"i": np.zeros(1, np.int32)})], [job], seconds=1)
    assert answer.problem == "litert-reference did not answer within 1 s"
    assert time.monotonic() - start < 40


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux")
def test_memory_has_a_bound(save):
    job = Job("litert-reference", (save(greedy()),))
    (answer,) = run_apart([TrialRun("main", {"x": np.zeros((1, 1, 1), np.float32)})], [job], memory=1 << 29)
    assert "Didn't find op" not in answer.problem
    assert answer.problem or "refuses to run it" in error(answer.runs[0])


def _wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    """The processes that `pid` started, as soon as there is one."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    _wait_until(lambda: path.read_text())
    return [int(child) for child in path.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="processes as /proc shows them")
@pytest.mark.parametrize(("number", "code"), every(2, [(signal.SIGTERM, 130), (signal.SIGKILL, -9)]))
def test_an_interrupted_share_leaves_no_output(save, tmp_path, number, code):
    path, out = save(endless()), tmp_path / "out.tflite"
    command = [sys.executable, "-m", "tiedae", "dedupe", str(path), "--out", str(out)]
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "TMPDIR": str(work)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as child:
        child.stderr.readline()
        assert "comparing" in child.stderr.readline()
        (started,) = _children(child.pid)
        child.send_signal(number)
        assert child.wait(60) == code
        assert "Traceback" not in child.stderr.read()
    _wait_until(lambda: not Path(f"/proc/{started}").exists())
    for entry in work.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()  # a file: what tempfile tries a folder with, killed in it
    work.rmdir()
    left = [entry.name for entry in tmp_path.iterdir() if entry != path and not entry.name.startswith(".out.tflite.")]
    assert left == [] and (number == signal.SIGKILL or [*tmp_path.iterdir()] == [path])
