"""docs/reference/bundle.md: the files of a run, and which of them each use needs: those alone, and every one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tiedae.cli import main

from ..export.c.compiled import tool
from ..variants import every

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "bundle.md").read_text(encoding="utf-8")
USES = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.partition("| use | files to keep |\n|---|---|\n")[2], re.MULTILINE)
PATHS = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)


def kept(text: str) -> list[str]:
    """The paths that a cell names, "the same" being those of the row above."""
    rows = [row for _, row in USES]
    before = kept(rows[rows.index(text) - 1]) if text.startswith("the same") else []
    return before + [path.replace("NAME", "mini") for path in re.findall(r"`([^`]+)`", text)]


@pytest.fixture(scope="module")
def run(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run for every target; beside it samples.npy, and codes.npy, codes.tae and exact.tae that its bundle wrote."""
    folder = tmp_path_factory.mktemp("page")
    recipe = folder / "mini.toml"
    export = '[export]\nstock = false\ntargets = ["tflite", "onnx", "c"]\n'
    recipe.write_text(recipe_file.read_text("utf-8") + export, encoding="utf-8")
    shutil.copy(recipe_file.with_name("samples.npy"), folder)
    out = folder / "mini"
    assert main(["run", str(recipe), "--out", str(out), "-q"]) == 0
    for name, *options in (("codes.npy",), ("codes.tae",), ("exact.tae", "--lossless")):
        assert main(["encode", str(out), str(folder / "samples.npy"), "-o", str(folder / name), "-q", *options]) == 0
    return out


def litert(bundle: Path, run: Path) -> int:
    try:
        runner = Interpreter(str(bundle / "mini.int8.tflite")).get_signature_runner("encode")
    except ValueError:
        return 2
    golden = run / "bundle" / "golden"
    return int(not np.array_equal(runner(x=np.load(golden / "x.npy"))["code"], np.load(golden / "code.npy")))


def ort(name: str) -> Callable[[Path, Path], int]:
    def use(bundle: Path, run: Path) -> int:
        runtime = pytest.importorskip("onnxruntime")
        try:
            session = runtime.InferenceSession(str(bundle / name), providers=["CPUExecutionProvider"])
        except (runtime.capi.onnxruntime_pybind11_state.NoSuchFile, runtime.capi.onnxruntime_pybind11_state.Fail) as error:
            assert "mini" in str(error)
            return 2
        golden = run / "bundle" / "golden"
        (code,) = session.run(["code"], {"x": np.load(golden / "x.npy")})
        return int(not np.array_equal(code, np.load(golden / "code.npy")))

    return use


def compiled(bundle: Path, _run: Path) -> int:
    command = [tool("cc"), "-std=c99", "-fsyntax-only", "mini.c"]
    return subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode


def commands(*calls: Sequence[str]) -> Callable[[Path, Path], int]:
    """Calls of tiedae on the bundle; the largest exit code. NAME.npy and NAME.tae are files beside the run."""

    def use(bundle: Path, run: Path) -> int:
        codes = []
        for command, *arguments in calls:
            files = [str(run.with_name(each)) if each.endswith((".npy", ".tae")) else each for each in arguments]
            target = [] if command == "score" else ["-o", str(bundle.with_name(f"made{Path(files[0]).suffix}")), "--force"]
            if command == "decode":
                target[1] = str(bundle.with_name("decoded.npy"))
            if command == "package":
                target[1] = str(bundle.with_name("packed"))
            codes.append(main([command, str(bundle), *files, *target, "-q"]))
        return max(codes)

    return use


def coded(bundle: Path, run: Path) -> int:
    """`encode` to .tae files, lossy and lossless, and `decode` of both kinds."""
    made, samples, codes = str(bundle.with_name("made.tae")), str(run.with_name("samples.npy")), []
    for name, *options in (("codes.tae",), ("exact.tae", "--lossless")):
        codes.append(main(["encode", str(bundle), samples, "-o", made, "--force", "-q", *options]))
        codes.append(commands(("decode", name))(bundle, run))
    return max(codes)


def as_baseline(bundle: Path, run: Path) -> int:
    return main(
        [
            "verify",
            str(run / "bundle"),
            "--baseline",
            str(bundle / "metrics.json"),
            "--data",
            str(run.with_name("samples.npy")),
            "-q",
        ]
    )


WORKS: dict[str, Callable[[Path, Path], int]] = {
    "an app with LiteRT": litert,
    "an app with ONNX Runtime": ort("mini.int8.onnx"),
    "an app with ONNX Runtime that encodes only": ort("mini.encoder.int8.onnx"),
    "a program in C": compiled,
    "`encode` and `decode` of codes in .npy, `score`, `ta.load`": commands(
        ("encode", "samples.npy"), ("decode", "codes.npy"), ("score", "samples.npy")
    ),
    "`encode` and `decode` of .tae files": coded,
    "`package`": commands(("package", "--for", "c")),
    "a baseline for `verify --baseline`": as_baseline,
}


@pytest.mark.parametrize(("use", "files"), every(4, USES), ids=[use for use, _ in USES])
def test_a_use_needs_these_files_alone_and_each_of_them(use: str, files: str, run: Path, tmp_path: Path) -> None:
    part, names = tmp_path / "part", kept(files)
    for name in names:
        source = run / "bundle" / name
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, part / name) if source.is_dir() else shutil.copy(source, part / name)
    assert WORKS[use](part, run) == 0
    for name in names:
        (part / name).rename(tmp_path / "away")
        assert WORKS[use](part, run) != 0, name
        (tmp_path / "away").rename(part / name)


def test_every_use_of_the_page_is_tried() -> None:
    assert [use for use, _ in USES] == list(WORKS)


def test_pages_for_people_are_written_again(run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(run / "bundle", bundle)
    for name in ("report.html", "MODEL_CARD.md"):
        (bundle / name).unlink()
    assert main(["verify", str(bundle), "-q"]) == 1
    assert main(["report", str(bundle), "-q"]) == 0 and main(["verify", str(bundle), "-q"]) == 0


def test_all_of_a_run_but_its_bundle_may_be_deleted(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "mini"
    shutil.copytree(run / "bundle", out / "bundle")
    assert main(["verify", str(out / "bundle"), "-q"]) == 0 and main(["report", str(out / "bundle"), "-q"]) == 0
    assert main(["encode", str(out), str(run.with_name("samples.npy")), "-o", str(tmp_path / "codes.npy"), "-q"]) == 0


def test_every_file_is_on_the_page(run: Path) -> None:
    stated = {path for cell in PATHS for path in re.findall(r"`([^`]+)`", cell)} | {"NAME.int8.kernels.bin"}
    patterns = {path.replace("NAME", "mini") for path in stated if path != "f32"}
    patterns |= {path.replace("int8", "f32") for path in patterns}
    for file in (path.relative_to(run) for path in run.rglob("*") if path.is_file()):
        inside = file.relative_to("bundle") if file.is_relative_to("bundle") else file
        assert any(inside.match(pattern) or str(inside).startswith(pattern) for pattern in patterns - {"bundle/"}), file
