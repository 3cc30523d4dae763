"""What every command obeys that writes files: nothing is overwritten, no input is an output, and `-` is standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiedae.cli import commands, main
from tiedae.cli import entry as cli
from tiedae.cli.commands.command import Parser
from tiedae.report.console import Console


def parser_of(name: str) -> Parser:
    return cli.command_parser().parse_args([name, *required(name)]).parser


def required(name: str) -> list[str]:
    """The arguments without which a command does not parse; its input is `input.onnx`."""
    paths = ["input.onnx"] * {"demo": 0, "recipe": 0, "data": 0, "encode": 2, "decode": 2, "score": 2}.get(name, 1)
    more = {"rescale": ["--data", "fashion"], "package": ["--for", "c"]}.get(name, [])
    return [*paths, *more, "--out", "new.onnx"] if name in ("dedupe", "encode", "decode", "rescale", "package") else paths


WRITING = [(name, f"--{dest}") for name in commands.COMMANDS for dest in parser_of(name).files]
REPORTING = [name for name in commands.COMMANDS if name != "report"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a model file `input.onnx` that holds one constant twice."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 64]) for name in "xy")
    graph = helper.make_graph(nodes, "twice", [x], [y], [numpy_helper.from_array(values, name) for name in "ab"])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "input.onnx")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, *options: object) -> str:
    """The one line of a call that is refused before the command does anything."""
    ran: list[str] = []
    monkeypatch.setattr(commands.COMMANDS[name], "run", lambda _call: ran.append(name))
    arguments = [each for each in required(name) if "--out" not in options or each not in ("--out", "new.onnx")]
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert main([name, *arguments, *map(str, options)]) == 2 and not ran
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    return line.removeprefix("tiedae: ")


def test_every_command_that_reports_has_json_and_its_results_go_to_out() -> None:
    assert [name for name, option in WRITING if option == "--json"] == REPORTING
    results = {name for name in commands.COMMANDS if "out" in (*parser_of(name).files, *parser_of(name).folders)}
    assert results == {"demo", "recipe", "run", "search", "encode", "decode", "calibrate", "dedupe", "rescale", "package"}
    for name in results:
        assert {"-o", "--out"} <= set(parser_of(name)._option_string_actions)


@pytest.mark.parametrize(("name", "option"), WRITING)
def test_a_file_that_is_there_is_refused_before_any_work(folder: Path, capsys, monkeypatch, name: str, option: str) -> None:
    (folder / "there").write_text("precious")
    advice = "" if parser_of(name).folders else "; --force replaces it"
    line = refused(capsys, monkeypatch, name, option, "there")
    assert line == f"{option} there: is there already, must be a new file{advice}"
    assert refused(capsys, monkeypatch, name, option, folder, "--force") == f"{option} {folder}: is a folder, must be a file"
    assert main([name, *required(name), option, "there", "--force"]) == 0, "the command itself is replaced here"


@pytest.mark.parametrize(("name", "option"), [each for each in WRITING if required(each[0])])
def test_an_input_is_never_an_output(folder: Path, capsys, monkeypatch, name: str, option: str) -> None:
    (folder / "link").symlink_to("input.onnx")
    (folder / "hard").hardlink_to("input.onnx")
    for path in ("input.onnx", "./input.onnx", "link", "hard"):
        line = refused(capsys, monkeypatch, name, option, path, "--force")
        assert line == f"{option} {Path(path)}: is the input input.onnx, must be another"


def test_an_output_in_an_input_folder_is_refused(folder: Path, capsys, monkeypatch) -> None:
    (folder / "bundle").mkdir()
    monkeypatch.setattr(commands.verify, "run", lambda _call: None)
    assert main(["verify", "bundle", "--json", "bundle/new.json"]) == 2
    assert capsys.readouterr().err == "tiedae: --json bundle/new.json: is in the input bundle, must be another\n"
    assert main(["verify", "bundle", "--json", "bundle.json"]) == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (["verify", "b", "--json", "x", "--junit", "./x"], "--junit x: is --json too, must be another"),
        (["verify", "b", "--json", "-", "--markdown", "-"], "--markdown -: is --json too, must be another"),
        (["calibrate", "r.toml", "--out", "x", "--html", "x"], "--html x: is --out too, must be another"),
        (["run", "r.toml", "--out", "x", "--json", "x"], "--json x: is --out too, must be another"),
    ],
)
def test_two_outputs_are_two_files(folder: Path, capsys, call: list[str], text: str) -> None:
    assert main(call) == 2
    assert capsys.readouterr().err == f"tiedae: {text}\n" and [path.name for path in folder.iterdir()] == ["input.onnx"]


@pytest.mark.parametrize("command", ["run", "search", "calibrate", "sensitivity"])
def test_the_data_of_a_recipe_are_an_input(recipe_file: Path, capsys, command: str) -> None:
    samples = recipe_file.parent / "samples.npy"
    before = samples.read_bytes()
    options = ["--max-bytes", "1k"] if command == "search" else []
    assert main([command, str(recipe_file), *options, "--json", str(samples), "--force"]) == 2
    assert capsys.readouterr().err == f"tiedae: --json {samples}: is the input {samples}, must be another\n"
    assert samples.read_bytes() == before


def test_a_file_that_appears_while_the_command_works_is_kept(folder: Path, capsys, monkeypatch) -> None:
    def meanwhile(*_: object) -> None:
        (folder / "out.json").write_text("precious")

    monkeypatch.setattr(Console, "table", meanwhile)
    assert main(["data", "--json", "out.json"]) == 2
    line = "--json out.json: is there already, must be a new file; --force replaces it"
    assert capsys.readouterr().err == f"tiedae: {line}\n" and (folder / "out.json").read_text() == "precious"
    assert sorted(path.name for path in folder.iterdir()) == ["input.onnx", "out.json"]
    assert main(["data", "--json", "input.onnx/below"]) == 2
    assert "already" not in capsys.readouterr().err, "another reason than a file of that name"


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (["data"], "Data sets"),
        (["inspect", "input.onnx"], "64×64"),
        (["dedupe", "input.onnx", "-o", "out.onnx"], "stored once"),
    ],
)
def test_json_on_standard_output_is_alone_there(folder: Path, capsys, call: list[str], shown: str) -> None:
    assert main([*call, "--json", "-"]) == 0
    captured = capsys.readouterr()
    found = untimed(captured.out)
    assert shown in captured.err and not (folder / "-").exists()
    force = ["--force"] if call[0] == "dedupe" else []
    assert main([*call, "--json", "out.json", *force]) == 0
    assert untimed((folder / "out.json").read_text()) == found and shown in capsys.readouterr().out
    command = [sys.executable, "-m", "tiedae", *call, "--json", "-", *force]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert untimed(done.stdout) == found and shown in done.stderr


def untimed(text: str) -> object:
    """JSON without what every run measures anew."""
    found = json.loads(text)
    return {name: value for name, value in found.items() if name != "latency"} if isinstance(found, dict) else found


def test_a_run_and_a_bundle_report_alike(finished_run: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    call = ["run", str(recipe_file), "--out", str(finished_run), "--resume", "-q", "--json", "-"]
    assert main(call) == 0
    captured = capsys.readouterr()
    assert captured.out == (finished_run / "bundle" / "metrics.json").read_text() and "tied int8 tflite" in captured.err
    assert main(["verify", str(finished_run / "bundle"), "--markdown", "-", "--json", str(tmp_path / "m.json")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("## ") and "all" in captured.err and (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    "call", [["dedupe", "damaged.onnx", "-o", "new.onnx"], ["verify", "nothing"], ["inspect", "damaged.onnx"]]
)
def test_a_command_that_fails_writes_its_error_as_json(folder: Path, capsys, call: list[str]) -> None:
    (folder / "damaged.onnx").write_bytes(b"no")
    assert main([*call, "--json", "-"]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == f"tiedae: {json.loads(captured.out)['error']}"


@pytest.mark.parametrize("name", REPORTING)
def test_json_has_an_argument(name: str, capsys) -> None:
    assert main([name, *required(name), "--json"]) == 2
    line = f"--json: needs a FILE, or - for standard output; see `tiedae {name} --help`"
    assert capsys.readouterr().err == f"tiedae: {line}\n"


@pytest.mark.ci
def test_verbose_shows_our_details_and_not_the_logs_of_libraries(finished_run: Path) -> None:
    command = [sys.executable, "-m", "tiedae", "-v", "verify", str(finished_run / "bundle"), "--model"]
    done = subprocess.run([*command, str(finished_run / "model")], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "\nok  hashes" in done.stderr.replace("manifest", "hashes"), done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(("INFO", "WARNING", "I0", "W0", "E0"))]


def test_a_recipe_goes_to_standard_output_or_a_new_file(folder: Path, capsys) -> None:
    assert main(["recipe"]) == 0
    text = capsys.readouterr().out
    assert main(["recipe", "-o", "r.toml"]) == 0
    assert (folder / "r.toml").read_text() == text
    assert main(["recipe", "-o", "r.toml"]) == 2
