"""OpenVINO: both formats, every signature, and no word to anyone about it."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiedae as ta
from tiedae.base.errors import FormatError
from tiedae.bundle.bundle import Bundle, Programs
from tiedae.compress import ExportConfig
from tiedae.config.tasks import Anomaly
from tiedae.export.kinds import Why
from tiedae.export.onnx.writer import to_onnx
from tiedae.program.interpreter import execute
from tiedae.runtimes import openvino_runtime
from tiedae.runtimes.openvino_runtime import OpenVinoSession
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.findings import Findings
from tiedae.verify.sessions import Runnable, open_sessions

from ..conftest import build_program
from ..program import convolutions
from ..samples import curve
from .test_table import SIGNATURES, opened, samples, toy, write


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_each_signature_is_its_own(target, tmp_path):
    """OpenVINO reads one subgraph of a .tflite file; names and sizes show that it was the right one."""
    program = toy(target)
    session = opened(f"openvino-{target}", write(tmp_path, target, program))
    assert session.provider.startswith("CPU: ")
    shapes = {s: {n: v.shape[1] for n, v in session.run(s, samples(program, s, 3)).items()} for s in SIGNATURES}
    assert shapes == {"encode": {"code": 5}, "decode": {"y": 20}, "reconstruct": {"code": 5, "y": 20}}
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_differs_in_few_values(target, tmp_path):
    """It rounds in float32: near the middle of two steps it may fall the other way."""
    program = toy(target, widths=(60, 30, 12))
    session = opened(f"openvino-{target}", write(tmp_path, target, program))
    x = samples(program, "encode", 1000)
    codes, expected = session.run("encode", x)["code"], execute(program, "encode", x)["code"]
    assert np.mean(codes != expected) < 0.001


@pytest.mark.parametrize("seed", [0, 1, 2, 7, 8, 16])
def test_the_probe_knows_kernels_of_as_many_filters_as_channels(seed, tmp_path):
    program, x = convolutions.random_program(seed, quantized=False)
    path = tmp_path / "convolved.onnx"
    path.write_bytes(to_onnx(program, signature="reconstruct"))
    got, right = opened("openvino-onnx", {"reconstruct": path}).run("reconstruct", x), execute(program, "reconstruct", x)
    assert np.allclose(got["code"], right["code"], atol=1e-4 * np.abs(right["code"]).max())
    equal = np.allclose(got["y"], right["y"], atol=1e-4 * np.abs(right["y"]).max())
    assert equal == (not RUNTIMES["openvino-onnx"].fault(program, "reconstruct")) == (seed < 2)


def test_outputs_have_the_names_of_the_file(tmp_path):
    """A value that OpenVINO's own passes merge with an output has several names there, and a number comes first."""
    nodes = [helper.make_node("Relu", ["x"], ["8"]), helper.make_node("Mul", ["8", "one"], ["9"])]
    nodes.append(helper.make_node("Add", ["9", "zero"], ["y"]))
    constants = [numpy_helper.from_array(np.float32(value), name) for name, value in (("one", 1), ("zero", 0))]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xy")
    graph = helper.make_graph(nodes, "same", [x], [y], constants)
    path = tmp_path / "same.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    got = opened("openvino-onnx", {"reconstruct": path}).run("reconstruct", values)
    np.testing.assert_array_equal(got.pop("y"), values)
    assert not got


class Stack(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack():
    found = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found.start, found.flags, found.size


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's signal stacks")
def test_signals_still_find_their_stack(tmp_path):
    """OpenVINO leaves the thread with one that goes with the model: Ctrl-C would then be a segmentation fault."""
    before = signal_stack()
    session = opened("openvino-onnx", write(tmp_path, "onnx", toy("onnx")))
    assert signal_stack() == before
    del session
    assert signal_stack() == before


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("runtime", ["openvino-onnx", "ort-cpu"])
def test_the_probe_says_what_a_square_kernel_read_both_ways_gives(runtime, bits, tmp_path):
    """OpenVINO 2026.4 takes W for its transpose where both have one shape."""
    program = build_program((20, 12, 12, 5), ("relu", "relu", "linear"), bits=bits)
    path = tmp_path / "square.onnx"
    path.write_bytes(to_onnx(program, signature="reconstruct"))
    x = samples(program, "reconstruct", 64)
    got, expected = opened(runtime, {"reconstruct": path}).run("reconstruct", x), execute(program, "reconstruct", x)
    assert np.array_equal(got["code"], expected["code"])
    fault = RUNTIMES[runtime].fault(program, "reconstruct")
    assert (np.abs(got["y"].astype(int) - expected["y"]).max() <= 1) == (not fault)
    assert not fault or fault.startswith("it reads the square kernel kernel_1 [12, 12] both ways")


def test_only_files_with_a_square_kernel_in_both_directions_are_concerned():
    pytest.importorskip("openvino")
    fault = RUNTIMES["openvino-onnx"].fault
    assert not fault(build_program((20, 12, 5)), "reconstruct")
    square = build_program((20, 12, 12, 5), ("relu", "relu", "linear"))
    assert not fault(square, "encode") and not fault(square, "decode")
    assert not RUNTIMES["openvino-tflite"].fault(square, "reconstruct")


@pytest.mark.parametrize("confuses", [True, False])
def test_a_faulty_file_is_a_skipped_row_and_runs_again_once_the_fault_is_gone(confuses, finished_run, monkeypatch):
    """The probe's answer decides; only the file of both directions is left out."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino_runtime, "confuses_square", lambda _size: confuses)
    bundle, findings = Bundle.open(finished_run / "bundle"), Findings()
    square = Programs(*(build_program((20, 12, 12, 5), ("relu", "relu", "linear"), form=form) for form in ("split", "fused")))
    runnable = Runnable(bundle, square, set(bundle.manifest.files), {}, set(), 1)
    sessions = {session.runtime: set(files) for session, files, _target in open_sessions(runnable, "int8", findings)}
    assert sessions["ort-cpu"] == sessions["openvino-tflite"] == set(SIGNATURES)
    assert sessions["openvino-onnx"] == set(SIGNATURES) - ({"reconstruct"} if confuses else set())
    rows = [(row.why, row.what, row.why.excuses) for row in findings.skipped if row.runtime == "openvino-onnx"]
    assert rows == [(Why.FAULTY, "mini.int8.onnx in openvino-onnx", True)] * confuses


@pytest.mark.ci
def test_a_bundle_with_square_kernels_verifies(tmp_path):
    pytest.importorskip("openvino")
    data = ta.Dataset.from_array(curve(200, 24), validation=0.2)
    model = ta.TiedAutoencoder([24, 24, 8], activation="relu", output_activation="sigmoid")
    model.fit(data, epochs=1, verbose=0)
    small, task = ta.quantize(model, data, epochs=0, verbose=0), Anomaly(quantile=0.9)
    bundle = ta.export_bundle(small, tmp_path / "square", data=data, task=task, export=ExportConfig(stock=False), verbose=False)
    metrics = bundle.verify()
    assert [check.text for check in metrics.failed] == []
    faulty = [row.what for row in metrics.skipped if row.why is Why.FAULTY]
    names = {f"square.{name}.onnx in openvino-onnx" for name in ("int8", "score.int8", "f32")}
    assert set(faulty) == (names if openvino_runtime.confuses_square(24) else set())
    assert {row.file for row in metrics.parity if row.runtime == "openvino-onnx"} >= {"square.encoder.int8.onnx"}


def test_reports_to_nobody(tmp_path):
    """Its import would write to the home folder and send an event."""
    files = write(tmp_path, "onnx", toy("onnx"))
    opened("openvino-onnx", files)
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys; from pathlib import Path; from tiedae.runtimes.openvino_runtime import OpenVinoSession\n"
        "OpenVinoSession('openvino-onnx', {'encode': Path(sys.argv[1])})\n"
        "print('openvino_telemetry' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(files["encode"])],
        capture_output=True,
        text=True,
        env=environment | {"HOME": str(home)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    assert not (home / "intel").exists()


def test_a_file_that_it_refuses_is_named(tmp_path):
    files = write(tmp_path, "onnx", toy("onnx"))
    opened("openvino-onnx", files)
    path = files["reconstruct"]
    path.write_bytes(path.read_bytes().replace(b"Gemm", b"Gemx"))
    with pytest.raises(FormatError, match=r"reconstruct\.onnx: OpenVINO refuses it: .*Gemx"):
        OpenVinoSession("openvino-onnx", {"reconstruct": path})
