"""The target C in bundles: it is verified, proven, and compiled only where its text is ours."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import tiedae as ta
from tiedae.base.errors import FormatError, NotInstalledError
from tiedae.base.files import write_atomic
from tiedae.bundle import golden
from tiedae.bundle.bundle import Bundle, model_files, npy
from tiedae.bundle.manifest import made_for_its_program, with_files
from tiedae.bundle.results import Metrics, read_metrics
from tiedae.cli import main
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import integer_errors
from tiedae.codec.frames import FileModel, model_codec
from tiedae.config.tasks import Anomaly
from tiedae.export.file_info import FileInfo, ModelFileInfo
from tiedae.export.kinds import Kind, Why
from tiedae.export.targets import read_model
from tiedae.pipeline.assemble import write_described
from tiedae.program.scoring import Detector, Thresholds, scoring_of
from tiedae.verify.bench.subjects import find_subjects
from tiedae.verify.limits import Limits
from tiedae.verify.parity.assertion import assert_parity
from tiedae.verify.verify import verify_bundle

from ...codec.conftest import NAMES, extract_runs
from ...export.c.compiled import compiler
from ...variants import every
from ...without_openvino import without_openvino


def with_c(run: Path, folder: Path, targets: tuple[str, ...] = ("c",), *, detects: bool = False, **export: Any) -> Bundle:
    """A copy of a run's bundle as its recipe with these targets writes it, perhaps with a detector of its golden samples."""
    before = Bundle.open(Path(shutil.copytree(run / "bundle", folder / "bundle")))
    manifest = before.manifest
    programs = before.programs({name: read_model(before.path / name) for name in before.models})
    recipe = manifest.recipe
    if detects:
        recipe = replace(recipe, task=Anomaly(quantile=0.5), data=replace(recipe.data, validation=0.1))
    recipe = replace(recipe, export=replace(manifest.recipe.export, targets=targets, **export))
    manifest = replace(manifest, recipe=recipe)
    arrays = {name: before.golden()[name] for name in ("x", *golden.FLOATS)}
    scaled = manifest.data.scaling.apply(manifest.io.samples(arrays["x"]))
    answered = golden.expectations(programs, targets, scaled, manifest.io)
    arrays |= golden.answers(answered, manifest.io)
    if detects:
        spec, io = manifest.data.spec, manifest.io
        scoring = scoring_of("mse", spec, manifest.tensors.y, np.full(spec.inputs, 0.1))
        backend = ProgramBackend(programs.reference, spec, io, manifest.integer_maps)
        middle = int(np.median(scoring.totals(integer_errors(scoring, backend, spec.flatten(arrays["x"])[0])[0])))
        manifest = replace(manifest, detector=Detector(scoring, Thresholds(middle, middle), 0.5, len(scaled)))
        arrays |= golden.scores(answered, io, manifest.detector, arrays["x"], scaled)
    models = {name for name in manifest.files if name.endswith((".onnx", ".tflite", ".bin"))}
    kept = [name for name in manifest.files if not name.startswith("golden/y") and (targets != ("c",) or name not in models)]
    files = {name: (before.path / name).read_bytes() for name in kept}
    codec = model_codec(manifest, before.tables(), before.residuals())
    files |= {f"golden/{name}.npy": npy(values) for name, values in arrays.items()}
    files |= model_files({"int8": programs}, manifest.recipe.export, manifest.io, codec=codec, detector=manifest.detector)
    for path in before.path.rglob("*"):
        if path.is_file() and path.relative_to(before.path).as_posix() not in files:
            path.unlink()
    stated = manifest.calibration is not None and manifest.calibration.program
    write_described(before.path, made_for_its_program(manifest) if stated else manifest, files, arrays)
    return Bundle.open(before.path)


@pytest.fixture
def marked(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Bundle, Path]:
    """A bundle whose C file, the manifest's sha256 and all, writes a file as soon as it is loaded; and that file."""
    compiler()
    bundle, mark = with_c(finished_run, tmp_path), tmp_path / "mark"
    path = bundle.path / "mini.c"
    text = path.read_text() + "int creat(const char *, unsigned);\n__attribute__((constructor)) static void mark(void)\n{\n"
    letters = "".join(f"  name[{i}] = {ord(each)};\n" for i, each in enumerate(str(mark)))
    write_atomic(
        path,
        f"{text}  char name[{len(str(mark)) + 1}];\n{letters}  name[{len(str(mark))}] = 0;\n  creat(name, 420);\n}}\n".encode(),
    )
    info = ModelFileInfo.of_model(path.read_bytes(), path.name, read_model(path))
    write_atomic(bundle.path / "manifest.json", with_files(bundle.path, {path.name: info}))
    return Bundle.open(bundle.path), mark


def rows_of_c(metrics: Metrics) -> list:
    return [row for row in metrics.parity if row.runtime == "c"]


RUNS = {"bytes": "finished_run", "a table in its own unit of measure": "float_run"}


@pytest.mark.parametrize(
    ("run", "targets", "storage"),
    [
        pytest.param("finished_run", ("c",), "sparse", marks=pytest.mark.ci),
        ("finished_run", ("tflite", "onnx", "c"), "dense"),
        pytest.param("float_run", ("tflite", "onnx", "c"), "sparse", marks=pytest.mark.ci),
    ],
    ids=["alone", "beside others", "a table in its own unit of measure"],
)
def test_a_bundle_verifies(run: str, targets: tuple[str, ...], storage: str, tmp_path: Path, request) -> None:
    compiler()
    bundle = with_c(request.getfixturevalue(run), tmp_path, targets, c_storage=storage)
    with without_openvino():
        metrics = verify_bundle(bundle.path)
    assert [check.text for check in metrics.failed] == []
    rows = rows_of_c(metrics)
    assert {row.kind for row in rows} >= {Kind.CODES, Kind.OUTPUT}
    assert all(row.differing == 0 for row in rows if row.kind in (Kind.CODES, Kind.OUTPUT))
    (file,) = [row for row in metrics.files if row.format == "c"]
    assert file.kernel_copies == 1 and file.precision == "int8"
    assert file.bytes < (bundle.path / file.file).stat().st_size / 2, "of its constants alone"
    texts = [check for check in metrics.checks if (check.kind, check.detail) == (Kind.PROGRAM, "text")]
    assert len(texts) == 3 and {Path(check.file).suffix for check in texts} == {".c", ".h"}
    limits = {check.limit for check in metrics.checks if check.runtime == "c" and check.kind in (Kind.CODES, Kind.OUTPUT)}
    assert all(limit.endswith("<= 0 LSB") for limit in limits)
    if len(targets) > 1:
        crossed = {(row.encoder, row.runtime) for row in metrics.parity if row.kind is Kind.CROSSING}
        assert {("c", "ort-cpu"), ("ort-cpu", "c"), ("litert-xnnpack", "c")} <= crossed


@pytest.mark.parametrize("run", every(2, RUNS.values()), ids=RUNS)
def test_a_bundle_of_c_alone_is_a_codec(run: str, tmp_path: Path, request, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler()
    bundle = with_c(request.getfixturevalue(run), tmp_path)
    x = bundle.golden()["x"]
    program, own = ta.load(bundle.path, runtime="program"), ta.load(bundle.path, runtime="c")
    assert own.runtime == "c" and own.backend.session is not None  # type: ignore[attr-defined]
    for method in ("encode", "reconstruct", "score"):
        np.testing.assert_array_equal(getattr(own, method)(x), getattr(program, method)(x))
    data = own.compress(x)
    assert data == program.compress(x)
    np.testing.assert_array_equal(own.decompress(data), program.reconstruct(x))
    monkeypatch.setenv("CC", "no-compiler")
    assert ta.load(bundle.path).runtime == "program", "auto never compiles"


def test_a_bundle_without_a_c_file_runs_as_c_too(finished_run: Path) -> None:
    compiler()
    x = Bundle.open(finished_run / "bundle").golden()["x"]
    np.testing.assert_array_equal(ta.load(finished_run, runtime="c").encode(x), ta.load(finished_run).encode(x))


def test_the_text_has_the_identity_of_the_files(finished_run: Path, tmp_path: Path) -> None:
    """That of the manifest and tables beside it; a derived bundle, whose tables are others, has its own."""

    def stated(bundle: Path) -> bytes:
        found = re.search(r"mini_identity\[8\] = \{\n([\d,]+)\n\}", (bundle / "mini.c").read_text())
        return bytes(map(int, found[1].split(",")))  # type: ignore[index]

    bundle, out = with_c(finished_run, tmp_path, ("tflite", "onnx", "c")), tmp_path / "out"
    samples = str(tmp_path / "other.npy")
    np.save(samples, np.random.default_rng(1).integers(0, 256, (300, 24)).astype(np.uint8))
    with without_openvino():
        assert main(["rescale", str(bundle.path), "--data", samples, "-o", str(out), "-q"]) == 0
    identities = [FileModel.of(Bundle.open(path)).identity for path in (bundle.path, out)]
    assert [stated(bundle.path), stated(out)] == identities and identities[0] != identities[1]
    assert not read_metrics(out / "metrics.json").failed


def test_changed_text_is_not_compiled(marked: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, mark = marked
    metrics = verify_bundle(bundle.path)
    assert [(check.kind, check.file, check.detail) for check in metrics.failed] == [(Kind.PROGRAM, "mini.c", "text")]
    assert metrics.failed[0].text.startswith("mini.c: its text is not what tiedae ")
    (row,) = [row for row in metrics.skipped if row.runtime == "c"]
    assert (row.kind, row.why) == (Kind.OPENS, Why.REFUSED) and "--run-c runs it" in row.reason
    assert not rows_of_c(metrics)
    x = bundle.golden()["x"]
    np.testing.assert_array_equal(
        ta.load(bundle.path, runtime="c").encode(x), ta.load(bundle.path, runtime="program").encode(x)
    )
    assert not [each for each in find_subjects(bundle, tmp_path, None, tmp_path).subjects if each.format == "c"]
    for reference, file in ((bundle, bundle.path / "mini.c"), (bundle.path / "mini.c", bundle.path / "mini.c")):
        with pytest.raises(FormatError, match=r"mini\.c: is source text, whose code would run here"):
            assert_parity(reference, file, signature="encode")
    assert not mark.exists()


def test_text_that_changes_behind_the_check_is_not_compiled(finished_run: Path, tmp_path: Path) -> None:
    """What was compared runs, not what lies there when the other runtimes are done."""
    bundle, mark = with_c(finished_run, tmp_path, ("tflite", "c")), tmp_path / "mark"

    def change(text: str) -> None:
        path = bundle.path / "mini.c"
        if text == "int8 c":
            mark.touch()
        elif text.startswith("int8") and "#error" not in path.read_text():
            path.write_text(path.read_text() + "#error changed\n")

    with without_openvino():
        metrics = verify_bundle(bundle.path, announce=change)
    assert mark.exists() and rows_of_c(metrics) and not metrics.failed


def test_it_is_compiled_if_asked(marked: tuple[Bundle, Path]) -> None:
    bundle, mark = marked
    assert main(["verify", str(bundle.path), "-q", "--run-c"]) == 1, "its text is still another"
    assert mark.exists()


def test_text_that_the_reader_refuses_is_not_run(finished_run: Path, tmp_path: Path) -> None:
    bundle = with_c(finished_run, tmp_path, ("tflite", "c"))
    path, info = bundle.path / "mini.c", bundle.manifest.files["mini.c"]
    path.write_text(path.read_text() + 'const char more[] = "text";\n')
    info = replace(info, sha256=FileInfo.of(path.read_bytes()).sha256, bytes=path.stat().st_size)
    write_atomic(bundle.path / "manifest.json", with_files(bundle.path, {path.name: info}))
    with without_openvino():
        metrics = verify_bundle(bundle.path, limits=Limits(run_source=True))
    assert (Kind.FORMAT, "mini.c") in {(check.kind, check.file) for check in metrics.failed}
    assert [row.what for row in metrics.skipped if (row.kind, row.why) == (Kind.RUNS, Why.REFUSED)] == ["running mini.c"]


def test_text_of_another_version_is_a_skipped_row(marked: tuple[Bundle, Path]) -> None:
    bundle, mark = marked
    path = bundle.path / "manifest.json"
    path.write_text(path.read_text().replace(bundle.manifest.created_by, "tiedae 0.0.9"))
    metrics = verify_bundle(bundle.path)
    assert not metrics.failed and not rows_of_c(metrics) and not mark.exists()
    assert [row.why for row in metrics.skipped if row.runtime == "c"] == [Why.REFUSED]
    again = verify_bundle(bundle.path, limits=Limits(run_source=True))
    assert not again.failed and rows_of_c(again) and mark.exists()


@pytest.mark.parametrize("signatures", every(2, [(("score",),), ((),)]))
@pytest.mark.parametrize("run", every(2, NAMES))
def test_the_scores_of_c_files_are_verified(run: str, signatures: tuple[str, ...], tmp_path: Path) -> None:
    """Of a file of `score` alone too, whose codes and y are compared as ever; a bundle's codec does not take its C files."""
    compiler()
    bundle = with_c(extract_runs(tmp_path / "runs") / run, tmp_path, detects=True, c_signatures=signatures)
    metrics = verify_bundle(bundle.path)
    assert not metrics.failed
    checks = [check for check in metrics.checks if check.kind is Kind.SCORE]
    assert [check.detail for check in checks] == ["score of golden samples", "anomaly of golden samples"]
    assert {row.signature for row in rows_of_c(metrics) if row.kind is Kind.CODES} >= {"encode"}
    (name,) = bundle.models
    assert set(bundle.manifest.models[name].signatures) == {"encode", "decode", *(() if signatures else ("reconstruct",))}
    x = bundle.golden()["x"]
    np.testing.assert_array_equal(
        ta.load(bundle.path, runtime="c").reconstruct(x), ta.load(bundle.path, runtime="program").reconstruct(x)
    )


def test_another_score_is_found(tmp_path: Path) -> None:
    """In text that is compiled since that is asked for."""
    compiler()
    bundle = with_c(extract_runs(tmp_path / "runs") / "bytes", tmp_path, detects=True, c_signatures=("score",))
    path, info = bundle.path / "bytes.c", bundle.manifest.files["bytes.c"]
    text = path.read_text()
    assert "  *score = total;\n" in text
    path.write_text(text.replace("  *score = total;\n", "  *score = total + 1;\n"))
    info = replace(info, sha256=FileInfo.of(path.read_bytes()).sha256, bytes=path.stat().st_size)
    write_atomic(bundle.path / "manifest.json", with_files(bundle.path, {path.name: info}))
    failed = verify_bundle(bundle.path, limits=Limits(run_source=True)).failed
    assert [(check.kind, check.detail) for check in failed] == [(Kind.PROGRAM, "text"), (Kind.SCORE, "score of golden samples")]


@pytest.mark.parametrize("name", ["mini.c", "mini.h", "mini_float.h"])
def test_a_file_that_is_not_the_manifests_does_not_run(name: str, finished_run: Path, tmp_path: Path) -> None:
    bundle = with_c(finished_run, tmp_path)
    path = bundle.path / name
    path.write_text(path.read_text() + "\n")
    metrics = verify_bundle(bundle.path)
    assert (Kind.SHA256, name) in {(check.kind, check.file) for check in metrics.failed} and not rows_of_c(metrics)
    path.unlink()
    assert (Kind.SHA256, name) in {(check.kind, check.file) for check in verify_bundle(bundle.path).failed}


def changed(text: str) -> str:
    start = text.index("mini_kernel_0[") + text[text.index("mini_kernel_0[") :].index("{\n") + 2
    value = re.match(r"-?\d+", text[start:])[0]  # type: ignore[index]
    return f"{text[:start]}{int(value) ^ 1}{text[start + len(value) :]}"


def test_the_storage_proof_holds_for_c_files(finished_run: Path, tmp_path: Path) -> None:
    bundle = with_c(finished_run, tmp_path, ("tflite", "onnx", "c"))
    path = bundle.path / "mini.c"
    path.write_text(changed(path.read_text()))
    with without_openvino():
        failed = {check.kind for check in verify_bundle(bundle.path).failed if check.file == "mini.c"}
    assert failed >= {Kind.SHA256, Kind.STORAGE}


def test_without_a_compiler_it_is_a_skipped_row(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_c(finished_run, tmp_path)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    metrics = verify_bundle(bundle.path)
    (row,) = [row for row in metrics.skipped if row.runtime == "c"]
    assert (row.kind, row.why) == (Kind.OPENS, Why.NOT_INSTALLED) and "apt-get install gcc" in row.reason
    assert not metrics.failed
    with pytest.raises(NotInstalledError):
        ta.load(bundle.path, runtime="c")


@pytest.mark.ci
def test_a_run_with_c_alone(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the recipe to a codec, with report and card; the card's program gives the golden sample's code and y."""
    compiler()
    recipe = recipe_file.with_name("alone.toml")
    text = recipe_file.read_text(encoding="utf-8")
    recipe.write_text(f'{text}\n[export]\nstock = false\ntargets = ["c"]\n', encoding="utf-8")
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out), "-q"]) == 0
    bundle = Bundle.open(out / "bundle")
    assert bundle.models == ["mini.c"]
    assert "Graph of the int8 C files" in (bundle.path / "report.html").read_text(encoding="utf-8")
    samples = recipe_file.with_name("samples.npy")
    assert main(["encode", str(out), str(samples), "-o", str(tmp_path / "a.tae"), "-q"]) == 0
    assert main(["decode", str(out), str(tmp_path / "a.tae"), "-o", str(tmp_path / "a.npy"), "-q"]) == 0
    expected = ta.load(out, runtime="c").reconstruct(np.load(samples))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    (program,) = re.findall(r"```python\n(.*?)```", (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(bundle.path)
    names: dict[str, Any] = {}
    exec(compile(program, "MODEL_CARD.md", "exec"), names)
    arrays = bundle.golden()
    assert names["status"] == 0
    np.testing.assert_array_equal(names["code"], arrays["code"][0])
    np.testing.assert_array_equal(names["y"], arrays["y"][0])
