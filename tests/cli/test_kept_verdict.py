"""The verdict that a bundle keeps: shown by `verify`, measured again on the same samples, and baselines never fitted again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from tiedae.bundle.bundle import TASK_FILE, Bundle, task_file
from tiedae.bundle.results import Metrics, read_metrics
from tiedae.bundle.verdict import Criterion, Verdict
from tiedae.cli import main
from tiedae.codec.backends import ProgramBackend, program_of
from tiedae.data.dataset import Dataset
from tiedae.export.kinds import Kind, Why
from tiedae.pipeline.run_artifacts import load_splits
from tiedae.tasks import compression
from tiedae.tasks.judging import with_verdict
from tiedae.tasks.row import Exported, TaskMeasurement


@pytest.fixture
def bundle(finished_run: Path, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(finished_run / "bundle", tmp_path / "bundle"))


@pytest.fixture
def splits(bundle: Bundle, recipe_file: Path) -> Dataset:
    source = str(recipe_file.with_name("samples.npy"))
    return load_splits(bundle.path, bundle.manifest, source).with_scaling(bundle.manifest.data.scaling)


def measured_again(bundle: Bundle, splits: Dataset) -> TaskMeasurement:
    """As `verify --data` does, by the program: no other method is fitted."""
    manifest = bundle.manifest
    backend = ProgramBackend(program_of(bundle), manifest.data.spec, manifest.io, manifest.integer_maps)
    return compression.measure(Exported(backend, splits, manifest.recipe, None, bundle.tables(), others=False))


def of_run(bundle: Bundle) -> tuple[Metrics, Verdict]:
    metrics = read_metrics(bundle.path / "metrics.json")
    assert metrics.verdict is not None
    return replace(metrics, verdict=None, skipped=()), metrics.verdict


def test_without_samples_the_verdict_of_the_run_is_shown(bundle: Bundle, splits: Dataset) -> None:
    metrics, kept = of_run(bundle)
    found = with_verdict(metrics, bundle, None, None, None)
    assert found.verdict == replace(kept, kept=True)
    assert [(row.kind, row.why) for row in found.skipped] == [(Kind.VERDICT, Why.NO_SAMPLES)]
    other = with_verdict(metrics, bundle, splits.train, splits.test, measured_again(bundle, splits))
    assert other.verdict is not None and other.verdict.kept and other.skipped[0].why is Why.NOT_COMPARABLE


def test_on_the_samples_of_the_run_it_is_measured_again(
    bundle: Bundle, splits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, kept = of_run(bundle)
    monkeypatch.setattr(compression, "fair_pca", None)
    monkeypatch.setattr(Exported, "held_apart", None)
    found = with_verdict(metrics, bundle, splits.test, splits.test, measured_again(bundle, splits)).verdict
    assert found is not None and not found.kept and [row.baseline for row in found.comparisons] == ["pca", "mean"]
    for now, before in zip(found.comparisons, kept.comparisons, strict=True):
        assert (now.theirs, now.setting) == (before.theirs, before.setting)
        assert now.ours == pytest.approx(before.ours, rel=0.02), "in one runtime and in the program"
    assert found.layers == kept.layers


def test_what_a_bundle_keeps_is_not_taken_where_it_was_changed(bundle: Bundle, splits: Dataset) -> None:
    metrics, _ = of_run(bundle)
    arrays = bundle.task_arrays()
    arrays["figures"][1:] += 1e9
    (bundle.path / TASK_FILE).write_bytes(task_file(bundle.program_sha256, arrays))
    found = with_verdict(metrics, bundle, splits.test, splits.test, measured_again(bundle, splits))
    assert found.verdict is None and found.skipped[0].why is Why.UNAVAILABLE and TASK_FILE in found.skipped[0].reason
    (bundle.path / "metrics.json").unlink()
    assert with_verdict(metrics, bundle, None, None, None).verdict is None


def test_baselines_of_another_figure_are_not_compared(bundle: Bundle, splits: Dataset) -> None:
    """A table of before was compared by squared errors."""
    metrics, _ = of_run(bundle)
    measured = measured_again(bundle, splits)
    assert measured.contest is not None
    contest = dataclasses.replace(measured.contest, criterion=Criterion.UNEXPLAINED)
    found = with_verdict(metrics, bundle, splits.test, splits.test, dataclasses.replace(measured, contest=contest))
    assert found.verdict is None and "measured by mean squared error, today by fraction of" in found.skipped[0].reason


@pytest.mark.ci
def test_a_baseline_that_has_to_be_surpassed_is_a_check(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """This run of seconds is worse than PCA and keeps little: amber alone, until the manifest names PCA."""
    assert main(["verify", str(bundle.path), "--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "m.md")]) == 0
    shown = capsys.readouterr().out
    assert "! verdict: no good, although every file is right (2 findings, as the run found)" in shown
    assert "! worse than PCA: mean squared error " in shown and "all " in shown
    junit, markdown = ((tmp_path / name).read_text(encoding="utf-8") for name in ("j.xml", "m.md"))
    assert '<testsuite name="findings"' in junit and 'failures="0"' in junit and "worse than PCA" in junit
    assert "### Verdict" in markdown and "**no good, although every file is right" in markdown
    for page in ("report.html", "MODEL_CARD.md"):
        assert "worse than PCA: mean squared error" in (bundle.path / page).read_text(encoding="utf-8")
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for names, code in ((["mean"], 0), (["pca", "mean"], 1)):
        manifest["recipe"]["verify"]["better_than"] = names
        path.write_text(json.dumps(manifest), encoding="utf-8")
        assert main(["verify", str(bundle.path), "-q"]) == code
    assert "gain over PCA" in capsys.readouterr().err
