"""Every command that reads a bundle reads OUT of a run; a suffix that says another kind of file is refused before any work."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiedae.cli import main
from tiedae.cli.commands import COMMANDS
from tiedae.cli.commands.command import Parser

OPTIONS: dict[str, Callable[[Path, Path], list[object]]] = {
    "verify": lambda samples, new: [],
    "report": lambda samples, new: [],
    "bench": lambda samples, new: ["--quick"],
    "score": lambda samples, new: [samples],
    "encode": lambda samples, new: [samples, "-o", new / "x.tae"],
    "decode": lambda samples, new: [new / "codes.npy", "-o", new / "x.npy"],
    "rescale": lambda samples, new: ["--data", samples, "-o", new / "rescaled"],
    "package": lambda samples, new: ["--for", "c", "-o", new / "c"],
}
"""What each command with a bundle needs beside it."""


def parser_of(name: str) -> Parser:
    parser = Parser()
    COMMANDS[name].add_arguments(parser)
    return parser


def test_these_are_the_commands_that_read_a_bundle() -> None:
    assert {name for name in COMMANDS if "bundle" in parser_of(name).inputs} == set(OPTIONS)


@pytest.mark.ci
@pytest.mark.parametrize("name", OPTIONS)
def test_the_folder_of_a_run_stands_for_its_bundle(
    name: str, finished_run: Path, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, empty = shutil.copytree(finished_run, tmp_path / "run"), tmp_path / "empty"
    empty.mkdir()
    np.save(tmp_path / "codes.npy", np.zeros((3, 4), np.uint8))
    more = [str(option) for option in OPTIONS[name](recipe_file.parent / "samples.npy", tmp_path)]
    assert main([name, str(empty), *more]) == 2
    assert f"{empty}: must hold manifest.json (a bundle) or bundle/manifest.json (OUT of a run)" in capsys.readouterr().err
    assert main([name, str(run), *more]) == 0


def test_inspect_shows_each_file_of_a_run(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(finished_run)]) == 0
    listed = capsys.readouterr().out
    assert main(["inspect", str(finished_run / "bundle")]) == 0
    assert capsys.readouterr().out == listed
    models = [path.name for path in (finished_run / "bundle").iterdir() if path.suffix in (".tflite", ".onnx")]
    assert len(models) > 3 and all(f"{name}:" in listed for name in models)


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (("encode", "RUN", "nothing.npy", "-o", "x.bin"), ".tae or .npy"),
        (("decode", "RUN", "nothing.tae", "-o", "x.tae"), ".npy or .png"),
        (("dedupe", "nothing.onnx", "-o", "x.tflite"), ".onnx"),
        (("dedupe", "nothing.tflite", "-o", "x"), ".tflite"),
        (("calibrate", "nothing.toml", "-o", "x.toml"), ".json"),
        (("recipe", "-o", "x.json"), ".toml"),
        (("recipe", "--schema", "-o", "x.toml"), ".json"),
    ],
)
def test_a_suffix_of_another_kind_is_refused_before_anything_is_read(
    call: tuple[str, ...], right: str, finished_run: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(finished_run) if word == "RUN" else word for word in call]) == 2
    assert capsys.readouterr().err == f"tiedae: --out {call[-1]}: must end in {right}\n"
    assert not list(tmp_path.iterdir())
