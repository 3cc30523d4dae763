import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiedae import __version__
from tiedae.base.errors import CheckError, ExportError, FormatError
from tiedae.cli import commands, main
from tiedae.cli import entry as cli
from tiedae.data.data_sets import DATA_SETS, VARIABLE

from ..conftest import smallest_recipe

COMMAND = [sys.executable, "-m", "tiedae"]
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE, OPTIONS = ((REFERENCE / name).read_text(encoding="utf-8") for name in ("command-line.md", "options.md"))

RECIPE = smallest_recipe()


def one_line(capsys):
    """What standard error says, which has to be one line of ours; standard output has to be silent."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("tiedae: ")
    return line.removeprefix("tiedae: ")


@pytest.mark.ci
@pytest.mark.parametrize(("stated", "loaded"), [(None, "False"), ("0", "True")])
def test_a_process_of_its_own_loads_keras_3_only_if_told(stated: str | None, loaded: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    environment |= {} if stated is None else {"TF_USE_LEGACY_KERAS": stated}
    program = "import sys, tiedae.__main__, tensorflow; print('keras.src' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (RECIPE.replace("source", "sauce"), "data.sauce: unknown key; did you mean source?"),
        (RECIPE.replace("3", "'3'"), "model.layers[0].units: got '3', must be an integer"),
        (
            RECIPE.replace("{units = 3}", "{units = 8, activation = 'elu'}"),
            "model.layers[0].activation: got 'elu', must be one of",
        ),
        (RECIPE + "[prune]\nsparsity = 1.0", "prune.sparsity: got 1.0, must be a number in [0, 1)"),
        (RECIPE + "[prune]\nsparsity = -0.5", "prune.sparsity: got -0.5, must be a number in [0, 1)"),
        (RECIPE + "[prune]\npattern = '1:4'", "prune.sparsity: got 0.5, must be 0.75, the fraction that 1:4 prunes"),
        (RECIPE + "[prune]\nblock = [4, 4]", "prune.block: got [4, 4], must be left out, or pattern block"),
        (
            RECIPE + "[prune]\npattern = '2:4'",
            "prune.pattern: got '2:4', must be one that divides kernel 0, 12 × 3; skip = [0] leaves that kernel whole",
        ),
        (
            RECIPE + "[prune]\npattern = 'structured'",
            "prune.pattern: got 'structured', must be another: the model has no hidden",
        ),
        (
            RECIPE + "[prune]\npattern = 'structured'\ncode = true\nsparsity = 0.9",
            "prune.sparsity: got 0.9, must be at most 0.667, so that one of the 3 units of layer 0 stays",
        ),
        (RECIPE + "interleave = 5", "model.interleave: got 5, must be a divisor of the 12 inputs"),
        (RECIPE + "interleave = 0", "model.interleave: got 0, must be an integer, 1 or more"),
        (RECIPE + "inputs = 700", "model.inputs: got 700, must be 12, the number of values per sample of x.npy"),
        (RECIPE + "[codec]\nclasses = 257", "codec.classes: got 257, must be an integer in [1, 256]"),
        (RECIPE + "[codec]\nclasses = 0", "codec.classes: got 0, must be an integer in [1, 256]"),
        (RECIPE + "[codec]\nclasses = 19", "codec.classes: got 19, must be 18 at most, the number of training samples"),
        (RECIPE + "layers", "not valid TOML: "),
        (
            RECIPE.replace("x.npy", "fashion-mnist"),
            f"fashion-mnist: not found ({VARIABLE} is not set); set {VARIABLE}",
        ),
        (RECIPE.replace("x.npy", "y.npy"), "y.npy: no such file or folder"),
    ],
)
def test_a_wrong_recipe_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, recipe, text):
    monkeypatch.delenv(VARIABLE, raising=False)
    np.save(tmp_path / "x.npy", np.eye(20, 12, dtype=np.uint8))
    (tmp_path / "small.toml").write_text(recipe)
    assert main(["run", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out")]) == 2
    assert text in one_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (["run", "missing.toml"], "missing.toml: no such recipe"),
        (["run"], "the following arguments are required: RECIPE.toml; see `tiedae run --help`"),
        ([], "the following arguments are required: COMMAND; see `tiedae --help`"),
        (["trian"], "argument COMMAND: invalid choice: 'trian'"),
        (["demo", "--data", "mnist"], "argument --data: invalid choice: 'mnist'"),
        (["run", "x.toml", "--resume", "--force"], "not allowed with argument"),
        (["-q", "-v", "data"], "not allowed with argument"),
        (["verify", "missing"], "missing: no such file or folder"),
        (["verify", "missing", "--model", "nothing"], "missing: no such file or folder"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path, monkeypatch, capsys, call, text):
    monkeypatch.chdir(tmp_path)
    assert main(call) == 2
    assert text in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CheckError("codes differ"), 1, "codes differ"),
        (ExportError("no such operation"), 2, "no such operation"),
        (FormatError("x.onnx: is truncated"), 2, "x.onnx: is truncated"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x.npz"), 2, "out/x.npz: no space left on the disk" + cli.RESUME),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "out/x.npz"), 2, "out/x.npz: no space left on the disk" + cli.RESUME),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 2, "out: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted" + cli.RESUME),
    ],
)
def test_every_way_out_has_its_code_and_its_line(monkeypatch, capsys, error, code, text):
    def fail(call):
        raise error

    monkeypatch.setattr(commands.demo, "run", fail)
    assert main(["demo"]) == code
    assert one_line(capsys) == text


def test_help_needs_nothing_heavy_and_answers_at_once():
    code = "import sys; from tiedae.cli import main\ntry: main(['--help'])\nfinally: print('LOADED', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split("LOADED ")[1].split()
    assert not {"numpy", "rich", "tensorflow", "onnx", "onnxruntime", "ai_edge_litert", "matplotlib", "PIL"} & set(loaded)
    for command in ("demo", "run", "verify", "inspect", "data", "Exit codes: 0 fine"):
        assert command in done.stdout


@pytest.mark.parametrize("command", ["", *commands.COMMANDS])
def test_help_points_to_nothing_that_is_not_installed(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert not re.findall(r"docs/|https?:|README|CONTRIBUTING", capsys.readouterr().out)


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_says_what_each_exit_code_means(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    (shown,) = re.findall(r"Exit codes: (.*)", " ".join(capsys.readouterr().out.split()))
    fails = getattr(commands.COMMANDS[name], "FAILS", "")
    assert shown == f"0 fine; {f'1 {fails}; ' if fails else ''}2 the input or the call is wrong; 130 interrupted."
    section = OPTIONS.partition(f"\n## tiedae {name}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^Exit code 1: (.*)\.$", section, re.MULTILINE) == ([fails] if fails else [])
    assert f"\n    tiedae {name} " in PAGE or f"\n    tiedae {name}\n" in PAGE


def test_version():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tiedae {__version__}\n"


def test_data_lists_what_ships_and_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(["data", "--json", "-"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(DATA_SETS)
    assert rows["fashion-mnist"]["found"] is None and rows["fashion-mnist"]["looked"] == []
    assert all(
        (Path(rows[name]["found"]) / file).exists() for name in ("fashion", "ecg", "ecg-table") for file in rows[name]["files"]
    )
    assert main(["data"]) == 0
    table = capsys.readouterr().out
    for text in ("fashion-mnist", "MIT", "ODC-By 1.0", "ships with tiedae", VARIABLE):
        assert text in table


def test_data_says_where_it_looked_and_what_was_not_there(monkeypatch, capsys, tmp_path):
    known = DATA_SETS["fashion-mnist"]
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    assert main(["data"]) == 0
    inner, outer = tmp_path / "data" / known.folder, tmp_path / "data"
    assert f"fashion-mnist: not found; {inner} is no folder; {outer} is no folder\n" in capsys.readouterr().out
    inner.mkdir(parents=True)
    for file in known.files[1:]:
        (inner / file).touch()
    assert main(["data", "--json", "-"]) == 0
    output = capsys.readouterr()
    text = f"fashion-mnist: not found; {inner} holds no {known.files[0]}; {outer} holds none of its files\n"
    assert text in output.err and str(known.files[0]) in output.err
    row = next(row for row in json.loads(output.out) if row["name"] == known.name)
    assert row["looked"] == [
        {"folder": str(inner), "missing": [known.files[0]]},
        {"folder": str(outer), "missing": list(known.files)},
    ]
    (inner / known.files[0]).touch()
    assert main(["data"]) == 0
    assert "not found" not in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "data"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tiedae: no space left on the disk\n")


def test_a_reader_that_leaves_early_is_no_error_worth_a_word():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "data"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.CLOSED_PIPE, b"")


INTERRUPTED = """
import sys, time
from tiedae.cli import commands, main
def wait(call):
    print("ready", flush=True)
    time.sleep(30)
commands.run.run = wait
sys.exit(main(["run", "x.toml"]))
"""


def test_ctrl_c_leaves_with_130_and_says_how_to_go_on():
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, f"tiedae: interrupted{cli.RESUME}\n")


def weights(*names):
    """An ONNX file with an equal 64×64 initializer of each name."""
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    inputs = ["x", *(f"y{i}" for i in range(len(names)))]
    nodes = [helper.make_node("MatMul", [x, name], [y]) for x, name, y in zip(inputs, names, inputs[1:], strict=False)]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 64]) for name in (inputs[0], inputs[len(names)])]
    graph = helper.make_graph(nodes, "twice", infos[:1], infos[1:], [numpy_helper.from_array(values, name) for name in names])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize(("names", "copies", "code"), [(("a",), 0, 0), (("a", "b"), 1, 1), (("a", "b", "c"), 2, 1)])
def test_inspect_counts_copies_and_fails_on_them_where_asked(tmp_path, capsys, names, copies, code):
    (tmp_path / "x.onnx").write_bytes(weights(*names))
    assert main(["inspect", str(tmp_path / "x.onnx"), "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["copies"]) == copies
    assert main(["inspect", str(tmp_path / "x.onnx"), "--fail-on-copies"]) == code
    captured = capsys.readouterr()
    assert "64×64" in captured.out
    assert (f"{copies} of its constants are duplicates" in captured.err) == (copies > 0)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("x.tflite", None, "x.tflite"),
        ("x.tflite", b"not a model", "x.tflite"),
        ("x.onnx", weights("a")[:-9], "x.onnx"),
        ("x.onnx", b"\x89PNG\r\n", "x.onnx"),
        ("x.txt", b"text", "x.txt: is no model that can be read: SavedModel, HDF5, .keras, .onnx, .tflite, .c"),
    ],
)
def test_inspect_names_a_file_that_it_cannot_read(tmp_path, capsys, name, data, text):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert text in one_line(capsys)
