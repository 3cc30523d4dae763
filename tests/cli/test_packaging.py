"""`tiedae package`: folders that build and check themselves, from bundles of bytes and of floats, without TensorFlow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tiedae as ta
from tiedae.apps.c.core import PARTS
from tiedae.cli import app_folders as apps
from tiedae.cli import main
from tiedae.cli.app_folders import APPS, MARKER
from tiedae.program.program import SIGNATURES

from ..apps.native.libraries import Call, built
from ..codec.conftest import NAMES, extract_runs
from ..export.c.compiled import built_check, tool
from ..variants import every
from ..verify.test_scored_bundle import scored_bundle

WITHOUT = """
import sys
sys.modules |= dict.fromkeys(("tensorflow", "tf_keras", "keras", "onnxruntime"))
from tiedae.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract_runs(tmp_path_factory.mktemp("runs"))


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def checked(project: Path, program: Path) -> str:
    built_check(project, program, "-O1")
    return subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", every(2, NAMES))
def test_the_folder_builds_and_its_check_holds(runs: Path, name: str, tmp_path: Path) -> None:
    tool("cc")
    out, before = tmp_path / "c", content(runs / name)
    arguments = ["package", runs / name, "--for", "c", "-o", out, "--json", tmp_path / "made.json"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert checked(out, tmp_path / "check") == f"{name}: 8 samples equal\n"
    made, files = json.loads((tmp_path / "made.json").read_text()), content(out)
    assert made["files"] == {path: len(data) for path, data in files.items() if path != MARKER}
    assert json.loads(files[MARKER]) == {"kind": "c", "name": name}
    header = files[f"src/{name}.h"].decode()
    assert f"#define {name.upper()}_ARENA_BYTES {made['arena']}\n" in header
    assert all(f"#define {macro} " in header for macro in made["buffers"]) and len(made["buffers"]) >= 3
    golden = files[f"examples/check/{name}_golden.h"].decode()
    assert ("golden_lossless" in golden) == (name == "bytes") and "golden_lossy" in golden
    assert content(runs / name) == before and {path.name for path in tmp_path.iterdir()} == {"c", "check", "made.json"}


@pytest.mark.ci
@pytest.mark.parametrize("name", NAMES)
def test_an_android_module_computes_what_python_does(runs: Path, name: str, tmp_path: Path) -> None:
    tool("javac")
    out, report = tmp_path / "android", tmp_path / "made.json"
    arguments = [sys.executable, "-c", WITHOUT, "package", runs / name, "--for", "android", "-o", out, "--json", report]
    options = ["--files", "lossless"] if name == "bytes" else []
    done = subprocess.run([*map(str, arguments), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["files"] == {path: len(data) for path, data in content(out).items() if path != MARKER}
    codec, library = ta.load(runs / name, runtime="program"), built({}, out)
    x = codec.bundle.golden()["x"] if codec.bundle is not None else np.zeros(0)
    right = {
        "encode": codec.encode(x),
        "reconstruct": codec.reconstruct(x),
        "compress": np.frombuffer(codec.compress(x), np.uint8),
    }
    if name == "bytes":
        right["compressLossless"] = np.frombuffer(codec.compress(x, lossless=True), np.uint8)
        assert "compressWithin" not in next(out.glob("src/main/java/**/BytesModel.java")).read_text()
    answers = [answer[:2] for answer in library.run(*(Call(method, x) for method in right))]
    assert answers == [("ok", values.tobytes()) for values in right.values()]


@pytest.mark.parametrize("target", every(2, ["android", "ios"]))
def test_what_a_library_adds_is_the_model_and_little_more(runs: Path, target: str, tmp_path: Path, capsys) -> None:
    reports = {kind: tmp_path / f"{kind}.json" for kind in ("c", target)}
    for kind, report in reports.items():
        assert call("package", runs / "bytes", "--for", kind, "-o", tmp_path / kind, "--json", report) == 0
    c, made = (json.loads(report.read_text()) for report in reports.values())
    flash = sum(c["core_bytes"][part] for part in PARTS)
    assert made["added"]["model"] == pytest.approx(flash, rel=0.02), "a folder for phones is not linked here"
    assert 1000 < made["added"]["functions"] < 10_000
    assert f"{sum(made['added'][part] for part in ('model', 'functions')):,}" in capsys.readouterr().out
    assert made["tae_files"] == ["lossy", "bounded", "lossless"] and made["signatures"] == ALL
    assert json.loads((tmp_path / target / MARKER).read_text()) == {"kind": target, "name": "bytes"}


def test_a_bundle_without_int8_files_has_no_integers(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Path(shutil.copytree(runs / "bytes" / "bundle", tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in [name for name in manifest["files"] if ".int8." in name]:
        del manifest["files"][name]
        (bundle / name).unlink()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    for target in APPS:
        assert call("package", bundle, "--for", target, "-o", tmp_path / target) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"tiedae: {bundle}: holds no int8 model file" and not (tmp_path / target).exists()


def test_the_bytes_are_those_of_the_object(runs: Path, tmp_path: Path) -> None:
    """The sections that a linker puts into read-only memory, as `objdump` lists them."""
    assert call("package", runs / "bytes", "--for", "android", "-o", tmp_path / "app", "--json", tmp_path / "made.json") == 0
    found = json.loads((tmp_path / "made.json").read_text())["added"]
    compiler, *options = found["compiler"].split()
    made = tmp_path / "bytes.o"
    subprocess.run([tool(compiler), *options, "-c", next(tmp_path.rglob("bytes.c")), "-o", made], check=True)
    listed = subprocess.run([tool("objdump"), "-h", made], capture_output=True, text=True, check=True).stdout
    sections = dict(re.findall(r"^ +\d+ (\.\S+) +([0-9a-f]+)", listed, re.MULTILINE))
    kept = [int(size, 16) for name, size in sections.items() if name.startswith((".text", ".rodata"))]
    assert found["model"] == pytest.approx(sum(kept), abs=64), "notes of the compiler, at most"


@pytest.mark.ci
def test_cmake_builds_it(runs: Path, tmp_path: Path) -> None:
    out, build = tmp_path / "c", tmp_path / "build"
    assert call("package", runs / "table" / "bundle", "--for", "c", "-o", out) == 0
    for command in ([tool("cmake"), "-S", out, "-B", build], [tool("cmake"), "--build", build]):
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    subprocess.run([tool("ctest"), "--test-dir", build], check=True, capture_output=True, timeout=60)


@pytest.mark.ci
def test_half_of_it_is_smaller(runs: Path, tmp_path: Path) -> None:
    """`--signatures` and `--storage` reach the sources."""
    sizes = []
    for i, options in enumerate(([], ["--signatures", "encode"], ["--signatures", "encode", "--storage", "sparse"])):
        out, report = tmp_path / f"c{i}", tmp_path / f"{i}.json"
        assert call("package", runs / "bytes", "--for", "c", "-o", out, *options, "--json", report) == 0
        assert checked(out, tmp_path / f"check{i}") == "bytes: 8 samples equal\n"
        made, text = json.loads(report.read_text()), (out / "src" / "bytes.c").read_text()
        assert ("bytes_decode" in text, "bytes_mask_places" in text) == (not options, "sparse" in options)
        assert (made["signatures"], made["storage"]) == (["encode"] if options else ALL, "sparse" if i == 2 else "dense")
        sizes.append(sum(made["core_bytes"][part] for part in PARTS))
    assert sizes[1] < sizes[0]


ALL = ["encode", "decode", "reconstruct"]


def test_a_bundle_without_tables_has_no_codec(small_runs: Path, tmp_path: Path) -> None:
    assert call("package", small_runs / "bytes", "--for", "c", "-o", tmp_path / "c") == 0
    assert "file_open" not in (tmp_path / "c" / "src" / "bytes.h").read_text()
    assert checked(tmp_path / "c", tmp_path / "check") == "bytes: 8 samples equal\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--for", "watch"], "--for watch: must be one of c, web"),
        (["--for", "c", "--storage", "packed"], "storage: got 'packed', must be one of dense, sparse"),
        (["--for", "c", "--signatures", "encode,"], "signature: got ''"),
        (
            ["--for", "c", "--signatures", "score"],
            "signature: got 'score', must be one of encode, decode, reconstruct: the model",
        ),
        (["--for", "c", "--files", "none,lossy"], "--files none,lossy: must be some of lossy, bounded, lossless, or none"),
        (["--for", "c", "--flash", "256K"], "--flash: needs --cc, the C compiler of the core"),
        (["--for", "c", "--ram", "64K"], "--ram: needs --cc, the C compiler of the core"),
        (["--for", "c", "--cc", "cc", "--ram", "64KB"], "--ram: got '64KB', must be bytes, such as 262144, 256K or 1M"),
        (["--for", "c", "--cc", ""], "--cc '': must be the command of a C compiler, no program '' is found"),
        (["--for", "c", "--cc", "no-such-gcc -O2"], "--cc 'no-such-gcc -O2': must be the command of a C compiler, no program"),
        (["--for", "c", "--cc", "cc --no-such"], "--cc 'cc --no-such': must compile C99: "),
        (["--for", "c", "--cc", "cc -Wl,--no-such"], "--cc 'cc -Wl,--no-such': "),
        (["--for", "c", "--cc", "cc 'a"], '--cc "cc \'a": must be a command, No closing quotation'),
        (["--for", "android", "--cc", "cc"], "--for android: has no --cc, --flash and --ram, they are for C sources: --for c"),
        (["--for", "web", "--signatures", "encode"], "--signatures encode: must be left out, a web package has all of them"),
        (["--for", "c", "-o", "there"], "there: exists; choose another folder, or --force"),
        (["--for", "c", "-o", "there", "--force"], "there: is no folder of `tiedae package`, so it is not overwritten"),
        (["--for", "c", "-o", "bytes/bundle/c"], "bytes/bundle/c: is, holds or lies in the bundle bytes/bundle"),
        ([], "the following arguments are required: --for"),
    ],
)
def test_what_cannot_be_is_one_line(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    text: str,
) -> None:
    extract_runs(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "precious").write_text("mine")
    before = content(tmp_path)
    assert call("package", "bytes", *options, *([] if "-o" in options else ["-o", "new"])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tiedae: {text}"), line
    assert content(tmp_path) == before and not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def detector(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of bytes, with its tables and a detector."""
    with pytest.warns(UserWarning, match="pairs of neighbours"):
        return scored_bundle(runs / "bytes", tmp_path_factory.mktemp("detector"), "mse").path


@pytest.mark.parametrize(
    ("options", "signatures", "files"),
    every(
        4,
        [
            (["--signatures", "score"], ["score"], []),
            (["--signatures", "score", "--files", "none"], ["score"], []),
            (["--files", "none"], [*SIGNATURES, "score"], []),
            (["--signatures", "encode,score"], ["encode", "score"], ["lossy"]),
            (["--signatures", "encode,decode"], [*SIGNATURES], ["lossy", "bounded", "lossless"]),
            ([], [*SIGNATURES, "score"], ["lossy", "bounded", "lossless"]),
        ],
    ),
)
def test_a_folder_holds_what_is_asked_for(
    detector: Path, tmp_path: Path, options: list[str], signatures: list[str], files: list[str]
) -> None:
    tool("cc")
    assert call("package", detector, "--for", "c", "-o", tmp_path / "c", *options, "--json", tmp_path / "made.json") == 0
    made = json.loads((tmp_path / "made.json").read_text())
    assert (made["signatures"], made["tae_files"]) == (signatures, files)
    assert checked(tmp_path / "c", tmp_path / "check") == "bytes: 8 samples equal\n"
    header = (tmp_path / "c" / "src" / "bytes.h").read_text()
    assert ("bytes_score(" in header, "bytes_frame_" in header) == ("score" in signatures, bool(files))


@pytest.mark.parametrize(
    ("signatures", "files", "text"),
    [
        ("score", "lossy", "must be none or left out, --signatures score has no .tae files"),
        ("encode", "bounded", "must have lossy, --signatures encode writes no other files"),
    ],
)
def test_files_that_signatures_do_not_have_are_refused(
    detector: Path, signatures: str, files: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--signatures", signatures, "--files", files]
    assert call("package", detector, "--for", "c", "-o", tmp_path / "c", *options) == 2
    assert capsys.readouterr().err == f"tiedae: --files {files}: {text}\n" and not (tmp_path / "c").exists()


def test_a_core_without_the_memory(detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, one line and no folder; with enough of it, README.md states what the table does."""
    tool("gcc")
    given = ["package", detector, "--for", "c", "-o", tmp_path / "c", "--cc", "gcc -O1", "--json", tmp_path / "made.json"]
    assert call(*given, "--flash", "1K", "--ram", "64K") == 1
    line = capsys.readouterr().err
    assert re.fullmatch(r"tiedae: does not fit: flash of [\d,]+ bytes, the core has 1,024: [\d,]+ too many\n", line), line
    assert not (tmp_path / "c").exists() and not (tmp_path / "made.json").exists()
    assert call(*given, "--flash", "1M", "--ram", "64K") == 0
    made = json.loads((tmp_path / "made.json").read_text())["core_bytes"]
    readme = (tmp_path / "c" / "README.md").read_text()
    assert all(f"| flash {part} | {made[part]:,} bytes |\n" in readme for part in PARTS)
    assert f"| RAM | {made['arena'] + max(made['stacks'].values()):,} bytes |\n" in readme and "gcc -std=c99 -O2" in readme


def test_force_replaces_an_earlier_folder_as_a_whole(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "c"
    assert call("package", runs / "bytes", "--for", "c", "-o", out) == 0
    before = content(out)
    monkeypatch.setattr(apps, "write_files", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert call("package", runs / "table", "--for", "c", "-o", out, "--force") == 2
    assert content(out) == before and [path.name for path in tmp_path.iterdir()] == ["c"]
    monkeypatch.undo()
    assert call("package", runs / "table", "--for", "c", "-o", out, "--force") == 0
    assert "src/table.c" in content(out) and "src/bytes.c" not in content(out)


def test_without_a_compiler_the_size_is_unknown(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for target, key in (("c", "core_bytes"), ("android", "added"), ("ios", "added")):
        assert call("package", runs / "bytes", "--for", target, "-o", tmp_path / target, "--json", "-") == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)[key] is None and "unknown: " in shown.err


def test_the_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["package", "--help"])
    about = capsys.readouterr().out.rpartition("--for KIND")[2].partition("--storage NAME")[0]
    assert set(re.findall(r"\b(\w+): ", about)) == set(APPS)
