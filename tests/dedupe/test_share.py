"""`dedupe` as a command: what it refuses, what it compares, and that it writes nothing unless all is well."""

import json
import math
import random
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tiedae.base.errors import CheckError, FormatError, InputError
from tiedae.cli import main
from tiedae.dedupe import rewriters
from tiedae.dedupe import trial as trying
from tiedae.dedupe.equivalence import BOUNDS, compare_outputs
from tiedae.dedupe.share import share_file
from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import pack_model, unpack_model
from tiedae.report.sharing import render
from tiedae.runtimes.sandbox import Answer, TrialRun, run_apart

from ..runtimes.test_sandbox import crashing
from .tflite_files import int8_pair, schema, tied_pair

WIDE = (256, 64)


@pytest.fixture
def tied(tmp_path):
    path = tmp_path / "tied.tflite"
    path.write_bytes(tied_pair(sizes=WIDE))
    return path


def untied() -> bytes:
    model = unpack_model(tied_pair())
    model.buffers[2].data = np.random.default_rng(9).normal(size=96).astype(np.float32).view(np.uint8)
    return pack_model(model, b"")


def test_a_file_is_rewritten_and_compared(tied, tmp_path):
    said = []
    out = tmp_path / "out.tflite"
    found = share_file(tied, out, announce=said.append)
    assert copies(read_tflite(out.read_bytes())) == []
    assert (found["bytes_before"], found["bytes_after"]) == (tied.stat().st_size, out.stat().st_size)
    assert found["ratio"] == found["bytes_after"] / found["bytes_before"] < 0.55
    assert [merged["relation"] for merged in found["merged"]] == ["transposed"] and found["kept"] == []
    rows = [(row["runtime"], row["signature"], row["output"], row["count"]) for row in found["compared"]]
    assert rows == [(name, "main", "y", 4 * WIDE[0]) for name in ("litert-xnnpack", "litert-reference")]
    assert all(row["largest"] <= 1e-4 * row["scale"] and not row["problem"] for row in found["compared"])
    assert json.loads(json.dumps(found)) == found
    assert len(said) == 2
    text = render(found)
    assert "  FULLY_CONNECTED → BATCH_MATMUL on a view\n    second is transposed to first: 65,536 bytes\n" in text
    assert re.search(r"main y  litert-reference +1,024 +\S+ .*, mean ", text)
    assert "XNNPACK: main 3 of 3 operations" in text


def test_a_tflite_file_needs_no_other_library(tied, tmp_path):
    call = f"main(['dedupe', {str(tied)!r}, '--out', {str(tmp_path / 'out.tflite')!r}, '-q'])"
    code = f"import sys; from tiedae.cli import main; print({call}, {{'onnx', 'tensorflow'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 set()", done.stderr


def test_int8_outputs_are_compared_in_lsb(tmp_path):
    path, out = tmp_path / "near.tflite", tmp_path / "out.tflite"
    path.write_bytes(int8_pair(bias=2.0, scales=2))
    found = share_file(path, out, tolerance=1.0)
    assert [merged["relation"] for merged in found["merged"]] == ["near"]
    for row in found["compared"]:
        assert row["dtype"] == "int8" and sum(row["histogram"].values()) == row["count"] == 160
        assert 0 < row["mean"] < 2 and row["largest"] == max(abs(int(lsb)) for lsb in row["histogram"])
    assert "of the integers changed" in render(found) and "mean 5.1 LSB" in render(found)


def test_a_file_without_copies_is_copied(tmp_path):
    path, out = tmp_path / "untied.tflite", tmp_path / "out.tflite"
    path.write_bytes(untied())
    found = share_file(path, out)
    assert out.read_bytes() == path.read_bytes() and found["merged"] == found["compared"] == []
    assert f"untied.tflite → {out}: unchanged\nno constant is stored twice" in render(found)


def test_a_file_that_would_grow_is_copied(tmp_path):
    """Operators that read a view take bytes too."""
    path, out = tmp_path / "small.tflite", tmp_path / "out.tflite"
    path.write_bytes(tied_pair(sizes=(4, 4)))
    assert share_tflite(path.read_bytes()).merged
    found = share_file(path, out)
    assert out.read_bytes() == path.read_bytes() and found["merged"] == [] and found["ratio"] == 1
    assert "unchanged" in render(found) and "not fewer\n    second, a duplicate of first" in render(found)


def test_lines_of_text_hold_no_control_characters(tied, tmp_path):
    model = unpack_model(tied.read_bytes())
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"\x1b[2J\n" + tensor.name
    tied.write_bytes(pack_model(model, b""))
    text = render(share_file(tied, tmp_path / "out.tflite"))
    assert r"\x1b[2J\nsecond is transposed to \x1b[2J\nfirst" in text and "\x1b" not in text


def test_a_signature_that_never_runs_is_refused(tied, tmp_path):
    """Else its outputs would go unseen. All axes of the second one's x are free, but only one length fits its weights."""
    tied.write_bytes(tied_pair(sizes=(251, 64)))
    model, other = unpack_model(tied.read_bytes()), unpack_model(tied.read_bytes())
    graph = other.subgraphs[0]
    graph.tensors[graph.inputs[0]].shapeSignature = np.array([-1, -1], np.int32)
    model.subgraphs.append(graph)
    model.signatureDefs.append(other.signatureDefs[0])
    model.signatureDefs[1].subgraphIndex, model.signatureDefs[1].signatureKey = 1, b"other"
    tied.write_bytes(pack_model(model, b""))
    with pytest.raises(FormatError, match="other: no input that was tried runs") as caught:
        share_file(tied, tmp_path / "out.tflite")
    assert "(x 1x16 or 3x3 or 1x1 or" in str(caught.value) and "1x1536" in str(caught.value)
    assert "give others with --shape or --data: litert-xnnpack refuses to run it" in str(caught.value)
    assert not (tmp_path / "out.tflite").exists()
    found = share_file(tied, tmp_path / "out.tflite", shapes={"x": (2, 251)})
    assert found["used"] == [
        {"signature": name, "shapes": {"x": [2, 251]}, "given": [], "case": ""} for name in ("main", "main", "other", "other")
    ]


def test_a_second_runtime_that_does_not_answer_is_told(tied, tmp_path, monkeypatch):
    def silent(runs, jobs, **bounds):
        first = run_apart(runs, jobs[:3], **bounds)
        return [*first, *(Answer(problem=f"{job.runtime} did not answer within 60 s") for job in jobs[3:])]

    monkeypatch.setattr(trying, "run_apart", silent)
    found = share_file(tied, tmp_path / "out.tflite")
    assert [row["runtime"] for row in found["compared"]] == ["litert-xnnpack"]
    assert "litert-reference: not compared: litert-reference did not answer within 60 s" in render(found)


def test_an_onnx_file_goes_the_same_way(tmp_path, make_program):
    path, out = tmp_path / "file.onnx", tmp_path / "out.onnx"
    path.write_bytes(to_onnx(make_program(quantized=False)))
    found = share_file(path, out)
    assert found["format"] == "onnx" and copies(read_onnx(out)) == []


CALLS = {
    "itself": (lambda path: (path, path), {}, "is the file itself"),
    "no folder": (lambda path: (path, path.parent / "none" / "out.tflite"), {}, "there is no folder"),
    "a folder": (lambda path: (path, path.parent), {}, "is a folder"),
    "ending": (lambda path: (path, path.parent / "out.onnx"), {}, "must end in .tflite"),
    "negative": (lambda path: (path, path.parent / "out.tflite"), {"tolerance": -1.0}, "got -1, must be"),
    "nan": (lambda path: (path, path.parent / "out.tflite"), {"tolerance": math.nan}, "got nan, must be"),
    "missing": (lambda path: (path.parent / "none.tflite", path.parent / "out.tflite"), {}, "no such file"),
}


@pytest.mark.parametrize(("paths", "options", "message"), CALLS.values(), ids=CALLS)
def test_wrong_calls(tied, paths, options, message):
    before = sorted(tied.parent.iterdir())
    with pytest.raises(InputError, match=message):
        share_file(*paths(tied), **options)
    assert sorted(tied.parent.iterdir()) == before


@pytest.mark.parametrize("name", ["notes.txt", "tflite"])
def test_an_unknown_format(tmp_path, name):
    (tmp_path / name).write_bytes(tied_pair())
    with pytest.raises(FormatError, match=r"must end in \.tflite or \.lite or \.onnx"):
        share_file(tmp_path / name, tmp_path / f"out{(tmp_path / name).suffix}")


def spoil(change):
    """A writer of .tflite whose result is changed afterwards."""

    def write(path, _name, tolerance, _minimum):
        shared = share_tflite(path.read_bytes(), tolerance=tolerance)
        model = unpack_model(shared.data)
        change(model)
        return replace(shared, data=pack_model(model, b""))

    return write


def _other_bias(model) -> None:
    bias = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"bias")
    model.buffers[bias.buffer].data = (model.buffers[bias.buffer].data.view(np.float32) + 0.1).view(np.uint8)


def _not_a_number(model) -> None:
    bias = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"bias")
    values = model.buffers[bias.buffer].data.view(np.float32).copy()
    values[0] = np.nan
    model.buffers[bias.buffer].data = values.view(np.uint8)


def _other_output(model) -> None:
    model.signatureDefs[0].outputs[0].name = b"z"


def _no_operator(model) -> None:
    model.subgraphs[0].operators[-1].inputs = np.array([0, -1], np.int32)


SPOILT = {
    "values": (_other_bias, "main y in litert-xnnpack: largest difference 0.1"),
    "nan": (_not_a_number, "main y in litert-xnnpack: 4 of 1024 values are not finite, first at [0]: got nan"),
    "output": (_other_output, "main y in litert-xnnpack: missing from the rewritten file"),
    "refused": (_no_operator, "litert-xnnpack runs the file but not the rewritten one"),
}


@pytest.mark.parametrize(("change", "message"), SPOILT.values(), ids=SPOILT)
def test_nothing_is_written_where_an_output_differs(tied, tmp_path, monkeypatch, change, message):
    monkeypatch.setattr(rewriters, "REWRITERS", {"tflite": spoil(change)})
    with pytest.raises(CheckError, match="nothing is written") as caught:
        share_file(tied, tmp_path / "out.tflite")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out.tflite").exists()


def test_what_was_merged_is_looked_for_in_the_written_bytes(tmp_path, monkeypatch):
    path, out = tmp_path / "noted.tflite", tmp_path / "out.tflite"
    path.write_bytes(tied_pair(metadata=["notes"]))

    def write(source, _name, _tolerance, _minimum):
        return replace(share_tflite(source.read_bytes()), data=tied_pair())

    monkeypatch.setattr(rewriters, "REWRITERS", {"tflite": write})
    with pytest.raises(CheckError, match="in the rewritten file second is transposed to first: 384 bytes stored again"):
        share_file(path, out)
    assert not out.exists()


def test_a_file_that_crashes_its_runtime_is_written_only_with_a_proof(tmp_path, capsys, monkeypatch):
    path, out = tmp_path / "crash.tflite", tmp_path / "out.tflite"
    model = unpack_model(crashing())
    other = unpack_model(untied())
    for tensor in other.subgraphs[0].tensors:
        tensor.buffer += len(model.buffers)
    model.buffers += other.buffers
    model.subgraphs[0].tensors += other.subgraphs[0].tensors
    for extra in other.subgraphs[0].tensors[4:5]:
        model.subgraphs[0].tensors.append(schema.TensorT(**{**vars(extra), "name": b"again"}))
    model.buffers.append(schema.BufferT(data=other.buffers[1].data))
    model.subgraphs[0].tensors[-1].buffer = len(model.buffers) - 1
    path.write_bytes(pack_model(model, b""))
    assert main(["dedupe", str(path), "--out", str(out), "-q"]) == 0
    assert "proof\n  by bytes" in (text := capsys.readouterr().out) and "not run: litert-xnnpack crashed (SIGSEGV)" in text
    monkeypatch.setattr(trying, "is_same", lambda *_files: False)
    assert main(["dedupe", str(path), "--out", str(out), "-q", "--force"]) == 2
    error = capsys.readouterr().err
    assert "litert-xnnpack crashed (SIGSEGV)" in error and error.count("\n") == 1


def test_mutated_files_end_in_one_line(tmp_path, capfd):
    """The whole command; `test_share_tflite` mutates more files without running them."""
    path, out = tmp_path / "file.tflite", tmp_path / "out.tflite"
    sources = [tied_pair(), int8_pair(bias=2.0, scales=2)]
    codes = set()
    for seed in range(10):
        rng = random.Random(seed)
        data = bytearray(sources[seed % 2])
        for _ in range(rng.choice([1, 2, 4])):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(data[: rng.randrange(len(data))] if seed % 4 == 0 else data)
        code = main(["dedupe", str(path), "--out", str(out), "--near", "1", "-q"])
        error = capfd.readouterr().err
        assert code in (0, 1, 2) and error.count("\n") == (code > 0) and "Traceback" not in error
        assert out.exists() == (code == 0)
        out.unlink(missing_ok=True)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        codes.add(code)
    assert codes >= {0, 2}


def test_a_file_that_is_there_is_replaced_only_with_force(tied, tmp_path, capsys):
    out = tmp_path / "out.tflite"
    out.write_bytes(b"mine")
    assert main(["dedupe", str(tied), "--out", str(out), "-q"]) == 2
    assert f"--out {out}: is there already" in capsys.readouterr().err and out.read_bytes() == b"mine"
    assert main(["dedupe", str(tied), "--out", str(out), "-q", "--force"]) == 0
    assert out.read_bytes() != b"mine"


def test_the_command_prints_json(tied, tmp_path, capsys):
    assert main(["dedupe", str(tied), "--out", str(tmp_path / "out.tflite"), "--json", "-", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["merged"][0]["original"] == "first"


def compared(expected, got, change="operators", quantized=False):
    runs = [TrialRun("s", {})]
    (row,) = compare_outputs("r", runs, [{"y": np.asarray(expected)}], [{"y": np.asarray(got)}], BOUNDS[change, quantized])
    return row


FLOATS, BYTES = np.linspace(-1, 1, 100, dtype=np.float32), np.arange(100, dtype=np.int8)
DIFFERENCES = {
    "equal": (FLOATS, FLOATS, "views", False, ""),
    "close": (FLOATS, FLOATS + np.float32(5e-6), "operators", False, ""),
    "far": (FLOATS, FLOATS + np.float32(1e-3), "operators", False, "largest difference"),
    "one far": (FLOATS, FLOATS + np.float32(9e-5) * (FLOATS == 1), "operators", False, ""),
    "all far": (FLOATS, FLOATS + np.float32(9e-5), "operators", False, "mean 9e-05, allowed 0.0001, mean 1e-05"),
    "dtype": (FLOATS, FLOATS.astype(np.float64), "operators", False, "got float64 [100], expected float32 [100]"),
    "shape": (FLOATS, FLOATS[:50], "near", True, "got float32 [50], expected float32 [100]"),
    "nan in both": (FLOATS * np.nan, FLOATS * np.nan, "near", True, ""),
    "infinity in both": (FLOATS * np.inf, FLOATS * np.inf, "near", True, ""),
    "other infinity": (FLOATS * np.inf, FLOATS * -np.inf, "near", True, "100 of 100 values are not finite"),
    "an LSB of a view": (BYTES, BYTES + np.int8(1), "views", True, "largest difference 1 LSB"),
    "one LSB too many": (
        BYTES,
        BYTES + np.int8(9) * (BYTES == 7).astype(np.int8),
        "operators",
        True,
        "largest difference 9 LSB",
    ),
    "an LSB of an operator": (BYTES, BYTES + np.int8(1), "operators", True, ""),
    "many LSB": (BYTES, BYTES + np.int8(9), "near", True, "mean 9 LSB"),
    "ids": (np.arange(100), np.arange(100) + 1, "operators", False, "100 of 100 values differ"),
    "truth": (BYTES > 50, BYTES > 49, "views", False, "1 of 100 values differ"),
}


@pytest.mark.parametrize(("expected", "got", "change", "quantized", "problem"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_comparisons(expected, got, change, quantized, problem):
    row = compared(expected, got, change, quantized)
    assert problem in row.problem and bool(problem) == bool(row.problem)


def test_values_that_are_finite_in_neither_file_agree():
    holes = np.where(FLOATS > 0.5, np.nan, FLOATS)
    holes[0] = -np.inf
    row = compared(holes, holes + np.float32(1e-6))
    assert (row.problem, row.count, row.nonfinite, row.is_compared) == ("", 100, 26, True) and row.scale < 1
    other = holes.copy()
    other[1] = np.nan
    assert "1 of 74 values are not finite" in compared(holes, other).problem
    nothing = compared(FLOATS * np.nan, FLOATS * np.nan)
    assert (nothing.problem, nothing.is_compared) == ("", False) and "none of its values is finite" in nothing.allowed
    assert not compared(FLOATS[:0], FLOATS[:0]).is_compared


@pytest.mark.parametrize(
    ("expected", "got", "change"),
    [
        (np.array([1000, 4], np.int64), np.array([999, 4], np.int64), 0.001),
        (np.array([100, 4], np.int8), np.array([49, 4], np.int8), 0.2),
        (np.array([-50, 4], np.float32), np.array([-40, 4], np.float32), 0.2),
        (np.array([True, False]), np.array([False, False]), 1.0),
    ],
)
def test_changes_are_fractions_of_the_full_scale(expected, got, change):
    assert compared(expected, got).change[0] == pytest.approx(change)


def test_comparisons_count_lsb():
    row = compared(BYTES, BYTES + np.where(BYTES < 10, 2, 0).astype(np.int8), "operators", True)
    assert (row.differing, row.largest, row.mean, row.histogram) == (10, 2.0, 0.2, {"0": 90, "2": 10})
    assert row.to_json()["share"] == 0.1


def test_a_new_output_is_a_failure():
    rows = list(
        compare_outputs("r", [TrialRun("s", {})], [{"y": FLOATS}], [{"y": FLOATS, "z": FLOATS}], BOUNDS["views", False])
    )
    assert [bool(row.problem) for row in rows] == [False, True]


def test_a_run_that_the_first_file_refuses_is_left_out():
    runs = [TrialRun("s", {}), TrialRun("s", {})]
    (row,) = compare_outputs("r", runs, ["refused", {"y": FLOATS}], ["refused", {"y": FLOATS}], BOUNDS["views", False])
    assert (row.count, row.problem) == (100, "")
    (row,) = compare_outputs("r", runs[:1], [{"y": FLOATS}], ["refused"], BOUNDS["views", False])
    assert row.problem == "refused"


def test_a_file_that_appears_while_both_are_compared_is_kept(tied, tmp_path):
    out = tmp_path / "out.tflite"
    with pytest.raises(InputError, match=r"out\.tflite is there already; --force replaces it"):
        share_file(tied, out, announce=lambda _text: out.write_text("precious"))
    assert out.read_text() == "precious"
