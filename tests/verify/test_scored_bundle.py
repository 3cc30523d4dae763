"""A bundle with a detector, end to end: `tiedae verify` proves its scores, and finds what was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle import golden
from tiedae.bundle.bundle import Bundle, model_files, npy
from tiedae.bundle.manifest import FILE, made_for_its_program
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics
from tiedae.cli import main
from tiedae.export.kinds import Kind
from tiedae.export.targets import TARGETS, read_model
from tiedae.pipeline.assemble import write_described
from tiedae.program.score_graph import Scored
from tiedae.program.scoring import Detector, Thresholds, scoring_of, threshold_of
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.verify import verify_bundle

from ..variants import every
from ..without_openvino import without_openvino


def scored_bundle(run: Path, folder: Path, kind: str, targets: tuple[str, ...] = ("tflite", "onnx")) -> Bundle:
    """A copy of a run's bundle with a detector of its golden samples."""
    before = Bundle.open(Path(shutil.copytree(run / "bundle", folder / "bundle")))
    manifest, arrays = before.manifest, before.golden()
    programs = before.programs({name: read_model(before.path / name) for name in before.models})
    spec, io = manifest.data.spec, manifest.io
    scaled = spec.scaling.apply(io.samples(arrays["x"]))
    scoring = scoring_of(kind, spec, manifest.tensors.y, np.full(spec.inputs, 0.1))  # type: ignore[arg-type]
    detector = Detector(scoring, Thresholds(0, 0), 0.9, len(scaled))
    answered = golden.expectations(programs, targets, scaled, io)
    found = {}
    for target in targets:
        each, layout = answered[target], TARGETS[target].layout
        given = (detector, layout, each.program, io, arrays["x"], scaled, each.x)
        scored, _ = Scored.between(*given, (each.y, each.y))
        found[layout] = threshold_of(scored.totals, detector.quantile)
    detector = replace(detector, thresholds=Thresholds(**found))
    arrays |= golden.scores(answered, io, detector, arrays["x"], scaled)
    (before.path / METRICS).unlink()  # those of the files as they were
    files = {name: (before.path / name).read_bytes() for name in manifest.files if name != METRICS}
    files |= model_files({"int8": programs}, manifest.recipe.export, io, detector=detector)
    files |= {f"golden/{name}.npy": npy(values) for name, values in arrays.items()}
    write_described(before.path, made_for_its_program(replace(manifest, detector=detector)), files, arrays)
    return Bundle.open(before.path)


def failed(metrics: Metrics) -> list[str]:
    return [check.text for check in metrics.failed]


RUNS = {"bytes": "finished_run", "a table in its own unit of measure": "float_run"}


@pytest.mark.parametrize("kind", every(2, ["standardized", "max"]))
@pytest.mark.parametrize("run", every(2, reversed(RUNS.values())), ids=reversed(RUNS))
def test_verify_holds_with_and_without_test_samples(run, kind, tmp_path, request, capsys) -> None:
    run = request.getfixturevalue(run)
    bundle = scored_bundle(run, tmp_path, kind)
    name = bundle.manifest.name
    assert {"score", "anomaly", "score.tflite", "anomaly.tflite"} <= bundle.golden().keys()
    assert bundle.manifest.models[f"{name}.score.int8.onnx"].signatures.keys() == {"score"}
    assert main(["verify", str(bundle.path), "-q"]) == 0
    data = request.getfixturevalue("recipe_file").parent / "samples.npy" if run.name == "mini" else run.parent / "table.npy"
    capsys.readouterr()
    assert main(["verify", str(bundle.path), "--data", str(data), "--json", "-"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    scores = [check for check in checks if check["kind"] == "score"]
    runtimes = {check["runtime"] for check in checks if check["kind"] == "codes" and ".int8." in check["file"]}
    for output in ("score of golden samples", "anomaly of golden samples", "score of test samples"):
        assert {check["runtime"] for check in scores if check["detail"] == output} == runtimes


def test_golden_scores_are_what_the_files_give(finished_run, tmp_path) -> None:
    bundle = scored_bundle(finished_run, tmp_path, "mse")
    arrays, ports = bundle.golden(), bundle.manifest.golden.values
    for runtime, file in {"litert-xnnpack": "mini.int8.tflite", "ort-cpu": "mini.score.int8.onnx"}.items():
        session = RUNTIMES[runtime].open({"score": bundle.path / file})
        got = session.run("score", arrays["x"])
        stated = {output: np.load(bundle.path / ports[file][output]) for output in ("score", "anomaly")}
        assert {name: (each.dtype, each.shape) for name, each in stated.items()} == {
            name: (each.dtype, each.shape) for name, each in got.items()
        }
        np.testing.assert_allclose(got["score"], stated["score"], rtol=1e-5)
        threshold = bundle.manifest.detector.threshold("split" if file.endswith("tflite") else "fused")
        clear = np.abs(stated["score"] / threshold - 1) > 1e-5  # the threshold itself is the score of a golden sample
        assert clear.sum() >= len(clear) - 1 and np.array_equal(got["anomaly"][clear], stated["anomaly"][clear])


def altered_threshold(bundle: Bundle) -> None:
    written = json.loads((bundle.path / FILE).read_text())
    written["detector"]["thresholds"]["split"] //= 2
    (bundle.path / FILE).write_text(json.dumps(written))


def without_file(bundle: Bundle) -> None:
    written = json.loads((bundle.path / FILE).read_text())
    for key in (written["files"], written["golden"]["ports"]):
        del key["mini.score.int8.onnx"]
    (bundle.path / FILE).write_text(json.dumps(written))


def without_detector(bundle: Bundle) -> None:
    written = json.loads((bundle.path / FILE).read_text())
    del written["detector"]
    (bundle.path / FILE).write_text(json.dumps(written))


def altered_golden(bundle: Bundle) -> None:
    arrays = bundle.golden()
    arrays["score"][3] *= np.float32(1.001)
    (bundle.path / "golden" / "score.npy").write_bytes(npy(arrays["score"]))


@pytest.fixture(scope="module")
def right(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a detector that verifies, to copy and change."""
    bundle = scored_bundle(finished_run, tmp_path_factory.mktemp("right"), "mae")
    assert failed(verify_bundle(bundle.path)) == []
    return bundle.path


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (altered_threshold, {Kind.STORAGE, Kind.GOLDEN, Kind.SCORE}),
        (without_file, {Kind.MANIFEST, Kind.SCORE}),
        (without_detector, {Kind.STORAGE, Kind.GOLDEN, Kind.MANIFEST}),
        (altered_golden, {Kind.SHA256, Kind.GOLDEN}),
    ],
)
def test_a_change_is_found(change: Callable[[Bundle], None], kinds: set[Kind], right: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(Path(shutil.copytree(right, tmp_path / "bundle")))
    change(bundle)
    with without_openvino():
        assert {check.kind for check in verify_bundle(bundle.path).failed} == kinds
