"""Packages that an install lacks, or has twice: one line with the command that mends it, exit code 2, and nothing written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from tiedae.base import packages
from tiedae.base.errors import UnavailableError
from tiedae.base.packages import INSTALL, missing, require_one_build
from tiedae.cli import main
from tiedae.cli.commands import COMMANDS
from tiedae.data.data_sets import ASSETS

from ..conftest import smallest_recipe

TRAIN = "pip install 'tiedae[train]'"
CPU = "pip install 'tiedae[cpu]'"
BARE = ("tensorflow", "tf_keras", "tensorflow_model_optimization", "tf2onnx", "onnxruntime", "optuna")
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def without(monkeypatch):
    """Makes packages look as if they were not installed, and a machine as if tiedae[train] had no GPU build for it."""

    def hide(*modules: str) -> None:
        monkeypatch.setattr(packages, "_builds", dict)
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


def one_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line.removeprefix("tiedae: ")


@pytest.mark.parametrize(
    ("call", "hidden", "text"),
    [
        (["demo"], BARE, f"tensorflow is not installed: {TRAIN}"),
        (["run", "table.toml"], BARE, f"tensorflow is not installed: {TRAIN}"),
        (["run", "table.toml"], ("tf2onnx",), f"tf2onnx is not installed: {TRAIN}"),
        (["run", "table.toml"], ("onnxruntime",), f"onnxruntime is not installed: {CPU}"),
        (["search", "table.toml", "--max-bytes", "1k"], BARE, "optuna is not installed: pip install 'tiedae[search,train]'"),
        (["search", "table.toml", "--max-bytes", "1k"], ("tensorflow",), f"tensorflow is not installed: {TRAIN}"),
        (
            ["calibrate", "table.toml"],
            ("tensorflow_model_optimization",),
            f"tensorflow_model_optimization is not installed: {TRAIN}",
        ),
        (["sensitivity", "table.toml"], BARE, f"tensorflow is not installed: {TRAIN}"),
        (["verify", "bundle"], BARE, f"onnxruntime is not installed: {CPU}"),
        (["verify", "bundle", "--model", "model"], ("tensorflow",), f"tensorflow is not installed: {TRAIN}"),
        (["rescale", "bundle", "--data", "table.csv", "-o", "out"], BARE, f"onnxruntime is not installed: {CPU}"),
        (["bench", "bundle"], BARE, f"onnxruntime is not installed: {CPU}"),
        (["bench", "bundle", "--model", "model"], ("tensorflow",), f"tensorflow is not installed: {TRAIN}"),
        (["dedupe", "bundle/table.f32.onnx", "--out", "out.onnx"], BARE, f"onnxruntime is not installed: {CPU}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_command_names_the_extra_that_it_lacks(small_runs, without, monkeypatch, capsys, call, hidden, text):
    monkeypatch.chdir(small_runs / "table")
    before = {path: path.stat().st_mtime_ns for path in small_runs.rglob("*")}
    without(*hidden)
    assert main(call) == 2
    assert one_line(capsys) == text
    assert {path: path.stat().st_mtime_ns for path in small_runs.rglob("*")} == before


@pytest.mark.parametrize(
    "call",
    [["inspect", "bundle/table.f32.onnx", "bundle/table.int8.tflite"], ["data"], ["report", "bundle"]],
    ids=lambda call: call[0],
)
def test_a_bare_install_is_enough(small_runs, without, monkeypatch, call):
    monkeypatch.chdir(small_runs / "table")
    without(*BARE)
    assert main([*call, "-q"]) == 0


CALLS = {
    "demo": ["demo"],
    "recipe": ["recipe"],
    "run": ["run", "table.toml"],
    "search": ["search", "table.toml", "--max-bytes", "1k"],
    "verify": ["verify", "bundle"],
    "encode": ["encode", "bundle", "table.csv", "-o", "codes.npy"],
    "decode": ["decode", "bundle", "bundle/golden/code.npy", "-o", "y.npy"],
    "info": ["info", str(Path(__file__).parents[1] / "codec" / "golden" / "bytes.tae")],
    "score": ["score", "bundle", "table.csv"],
    "rescale": ["rescale", "bundle", "--data", "table.csv", "-o", "out"],
    "package": ["package", "bundle", "--for", "c", "-o", "out"],
    "bench": ["bench", "bundle"],
    "sensitivity": ["sensitivity", "table.toml"],
    "calibrate": ["calibrate", "table.toml"],
    "report": ["report", "bundle"],
    "inspect": ["inspect", "bundle/table.int8.tflite"],
    "dedupe": ["dedupe", "bundle/table.int8.tflite", "-o", "out.tflite"],
    "data": ["data"],
}
"""A call of each command."""
INSTALL_ROW = re.compile(r"^\| `pip install '?\.(?:\[(.*?)\])?'?` \| (.*?) \|", re.MULTILINE)


def extras_of_the_readme() -> dict[str, set[str]]:
    """The extras of the first row of the README's table of installs that names each command."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = [(extras, re.findall(r"`(\w+)`", cell)) for extras, cell in INSTALL_ROW.findall(readme)]
    return {
        name: set(filter(None, extras.split(","))) for extras, names in reversed(rows) for name in names if name in COMMANDS
    }


def test_the_readme_names_the_install_of_every_command() -> None:
    assert extras_of_the_readme().keys() == CALLS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_needs_what_the_readme_says(small_runs, without, monkeypatch, capsys, command) -> None:
    monkeypatch.chdir(small_runs / "table")
    without(*BARE)
    code = main([*CALLS[command], "-q"])
    named = re.findall(r"tiedae\[(.*)\]", capsys.readouterr().err)
    assert (code, {extra for each in named for extra in each.split(",")}) == (
        2 if named else 0,
        extras_of_the_readme()[command],
    )


def test_a_bundle_without_onnx_files_needs_no_onnx_runtime(small_runs, without, monkeypatch, capsys):
    """What its manifest lists is missing then; nothing asks for ONNX Runtime."""
    monkeypatch.chdir(small_runs / "table")
    for path in Path("bundle").glob("*.onnx"):
        path.unlink()
    without(*BARE)
    assert main(["verify", "bundle"]) == 1
    assert "onnxruntime is not installed" not in capsys.readouterr().err


def test_a_package_that_only_the_data_needs(tmp_path, monkeypatch, capsys):
    """Found by the import itself: no command can tell beforehand."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    (tmp_path / "recipe.toml").write_text(smallest_recipe("pictures"))
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["run", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "out")]) == 2
    assert one_line(capsys) == "PIL is not installed: pip install pillow"


def test_a_module_that_no_extra_brings_is_a_fault_of_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "tiedae.data.data_sets", None)
    with pytest.raises(ModuleNotFoundError, match=r"tiedae\.data\.data_sets"):
        main(["data"])


def installed(folder: Path, *builds: str) -> None:
    for build in builds:
        about = folder / f"{build.replace('-', '_')}-1.99.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {build}\nVersion: 1.99.0\n")


@pytest.mark.parametrize(
    "call",
    [
        ["verify", "bundle"],
        ["bench", "bundle"],
        ["dedupe", "bundle/table.f32.onnx", "--out", "out.onnx"],
        ["run", "table.toml"],
    ],
    ids=lambda call: call[0],
)
def test_two_builds_of_onnx_runtime_stop_a_command_that_needs_it(small_runs, tmp_path, monkeypatch, capsys, call):
    monkeypatch.chdir(small_runs / "table")
    installed(tmp_path, "onnxruntime", "onnxruntime-gpu")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(call) == 2
    assert one_line(capsys) == (
        "onnxruntime 1.99.0 and onnxruntime-gpu 1.99.0 are installed together and overwrite each other: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )
    assert main(["inspect", "bundle/table.f32.onnx", "-q"]) == 0


def test_tensorflow_that_is_newer_than_tf_keras_stops_what_trains(small_runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(small_runs / "table")
    about = tmp_path / "tensorflow-2.99.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.99.1\n")
    keras = version("tf-keras")
    minor = keras.rpartition(".")[0]
    mended = f"pip install 'tensorflow=={minor}.*'"
    line = f"tf-keras {keras} is made for tensorflow {minor}, and tensorflow 2.99.1 is installed: {mended}"
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["run", "table.toml"]) == 2
    assert one_line(capsys) == line
    assert main(["inspect", "bundle/table.f32.onnx", "-q"]) == 0
    started = "import tiedae as ta\nta.TiedAutoencoder([4, 2])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", started], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"tiedae.base.errors.UnavailableError: {line}"


def test_two_builds_without_one_for_cuda(tmp_path, monkeypatch):
    installed(tmp_path, "onnxruntime", "onnxruntime-openvino")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(each for each in sys.path if "site-packages" not in each)])
    with pytest.raises(UnavailableError, match=r"onnxruntime-openvino && pip install onnxruntime$"):
        require_one_build()


@pytest.mark.parametrize(
    ("builds", "gpu", "before"),
    [
        (["onnxruntime"], True, "pip uninstall -y onnxruntime && "),
        (["onnxruntime"], False, ""),
        (["onnxruntime-gpu"], True, ""),
        ([], True, ""),
    ],
)
def test_training_brings_another_build_which_the_light_one_makes_way_for(monkeypatch, builds, gpu, before):
    monkeypatch.setattr(packages, "_builds", lambda: dict.fromkeys(builds, "1"))
    monkeypatch.setattr(packages, "_train_has_gpu_build", lambda: gpu)
    assert str(missing("tensorflow")) == f"tensorflow is not installed: {before}{TRAIN}"
    assert str(missing("onnxruntime")) == f"onnxruntime is not installed: {CPU}"


DISTRIBUTIONS = {"sklearn": "scikit_learn", "skimage": "scikit_image", "pywt": "PyWavelets"}
"""What modules are called where they are installed from, if not the same."""


def test_every_named_extra_brings_what_it_is_named_for():
    extras = PROJECT["optional-dependencies"]
    for module, install in INSTALL.items():
        for extra in re.findall(r"tiedae\[(.*)\]", install):
            names = [name.replace("-", "_") for each in extra.split(",") for name in extras[each]]
            assert any(name.startswith(DISTRIBUTIONS.get(module, module)) for name in names), module


def test_no_install_can_bring_two_builds_of_onnx_runtime_but_cpu_and_train_together():
    """Without an extra there is none; the two of tiedae[train] exclude each other by their markers."""
    assert not [each for each in PROJECT["dependencies"] if each.startswith("onnxruntime")]
    extras = PROJECT["optional-dependencies"]
    named = {extra: [each for each in names if each.startswith("onnxruntime")] for extra, names in extras.items()}
    assert {extra: len(names) for extra, names in named.items() if names} == {"cpu": 1, "train": 2}
    first, second = (each.split("; ")[1] for each in named["train"])
    assert first == "sys_platform == 'linux' and platform_machine == 'x86_64'"
    assert second == "sys_platform != 'linux' or platform_machine != 'x86_64'"


def test_the_transformer_without_scikit_learn_names_the_extra() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport tiedae as ta\nta.load\nta.TiedAutoencoderTransformer"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("NotInstalledError: sklearn is not installed: pip install 'tiedae[tasks]'")


@pytest.mark.parametrize(
    ("kind", "hidden", "method"),
    [
        ("anomaly", "sklearn", "isolation-forest"),
        ("denoising", "scipy", "median"),
        ("denoising", "skimage", "nl-means"),
        ("denoising", "pywt", "wavelet"),
    ],
)
def test_a_run_says_before_training_which_methods_it_cannot_measure(
    kind: str, hidden: str, method: str, without, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without(hidden)
    text, recipe, taken = (ASSETS / f"{kind}.toml").read_text(encoding="utf-8"), tmp_path / "r.toml", tmp_path / "taken"
    taken.touch()
    recipe.write_text(text, encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(taken)]) == 2
    notes = capsys.readouterr().err.splitlines()
    said = f"{method} will not be measured beside the model: {hidden} is not installed: pip install 'tiedae[tasks]'"
    assert said in notes and notes[-1] == f"tiedae: {taken}: is a file, must be a folder"
    recipe.write_text(f'{text}\n[verify]\nbetter_than = ["{method}"]\n', encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"tiedae: {hidden} is not installed: pip install 'tiedae[tasks]'"
    assert not (tmp_path / "out").exists()
