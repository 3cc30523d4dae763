"""`tiedae rescale`: a whole bundle from another one, without TensorFlow, and the drift that `encode` reports by its scores."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tiedae as ta
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.bundle.manifest import FILE
from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.codec.backends import program_of
from tiedae.codec.opening import load
from tiedae.entropy.tables import fit
from tiedae.export.kinds import Kind, Maker, Stage
from tiedae.pipeline.run_artifacts import load_splits


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("tiedae:")]
    return line.removeprefix("tiedae: ")


@pytest.fixture(scope="module")
def samples(recipe_file: Path) -> Path:
    return recipe_file.parent / "samples.npy"


WITHOUT = """
import sys
sys.modules |= dict.fromkeys(("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "tf2onnx"))
from tiedae.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def coarse(finished_run: Path, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the run with a scale of its codes twice as coarse, made without TensorFlow."""
    out, before = tmp_path_factory.mktemp("derived") / "coarse", content(finished_run)
    arguments = ["rescale", finished_run, "--data", samples, "--factor", 2, "-o", out, "--json", out.with_suffix(".json")]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "bits per sample, before" in done.stdout and "is not the training data" not in done.stderr
    assert content(finished_run) == before and sorted(path.name for path in out.parent.iterdir()) == ["coarse", "coarse.json"]
    return out


@pytest.mark.ci
def test_the_new_bundle_verifies_on_the_data_and_beside_the_model(finished_run: Path, coarse: Path, samples: Path) -> None:
    for options in ((), ("--data", samples), ("--data", samples, "--model", finished_run / "model")):
        assert call("verify", coarse, *options, "-q") == 0
    assert {path.name for path in coarse.iterdir()} == {path.name for path in (finished_run / "bundle").iterdir()}


def test_kernels_stay_and_the_scale_of_the_codes_doubles(finished_run: Path, coarse: Path) -> None:
    before, after = (program_of(Bundle.open(path)) for path in (finished_run / "bundle", coarse))
    old, new = before.quantization("code"), after.quantization("code")
    assert new.scale == float(np.float32(2 * old.scale))
    for name in before.kernels:
        np.testing.assert_array_equal(before.constants[name], after.constants[name])
    assert Bundle.open(coarse).manifest.kernels == Bundle.open(finished_run / "bundle").manifest.kernels
    floats = [name for name in content(coarse) if ".f32." in name and not name.startswith("golden/y.tfl")]
    assert floats and all((coarse / name).read_bytes() == (finished_run / "bundle" / name).read_bytes() for name in floats)


def test_tables_are_those_of_the_new_programs_training_codes(coarse: Path, samples: Path) -> None:
    bundle = Bundle.open(coarse)
    train = load_splits(coarse, bundle.manifest, str(samples)).train
    codec = load(coarse, runtime="program")
    codes, scores = codec.encode(train.take(slice(None))), codec.score(train.take(slice(None)))
    assert bundle.tables().to_bytes() == fit(codes).to_bytes()
    assert codes.max() < 255 and abs(int(codes.min()) - (255 - int(codes.max()))) <= 2
    assert bundle.manifest.scores is not None and bundle.manifest.scores.samples == len(train)
    assert bundle.manifest.scores.extreme == pytest.approx(np.quantile(scores, 0.999))


def test_the_manifest_says_where_the_bundle_comes_from(finished_run: Path, coarse: Path, samples: Path) -> None:
    source, made = (Bundle.open(path).manifest for path in (finished_run / "bundle", coarse))
    (row,) = made.derived
    assert row.manifest_sha256 == hashlib.sha256((finished_run / "bundle" / FILE).read_bytes()).hexdigest()
    assert (row.factor, row.source, row.data_sha256) == (2.0, str(samples), source.data.sha256)
    assert (made.recipe, made.calibration, made.data) == (source.recipe, source.calibration, source.data)
    card = (coarse / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"from the bundle of manifest `{row.manifest_sha256[:12]}…`, without training: the scale of the codes × 2, " in card


def test_metrics_keep_what_stays_true_and_say_what_does_not(finished_run: Path, coarse: Path) -> None:
    before, after = (read_metrics(path / "metrics.json") for path in (finished_run / "bundle", coarse))
    kept = [row for row in before.quality if row.stage in (Stage.TRAIN, Stage.PRUNE, Stage.STOCK)]
    assert kept and [row for row in after.quality if row.stage is not Stage.EXPORT] == kept
    assert {row.runtime for row in after.quality if row.stage is Stage.EXPORT} >= {"litert-xnnpack", "ort-cpu"}
    assert [row for row in after.files if row.maker is Maker.STOCK] == [row for row in before.files if row.maker is Maker.STOCK]
    assert after.history == before.history and after.samples is not None
    assert any(row.what == "Keras int8 simulation" and "scale of before" in row.reason for row in after.skipped)
    quality = [check for check in after.checks if check.kind is Kind.QUALITY]
    keras = next(row.error for row in before.quality if row.stage is Stage.TRAIN)
    assert quality and all(f"against Keras float {keras:.4g}" in check.text for check in quality)


def test_codes_cost_less_and_files_are_of_another_identity(
    finished_run: Path, coarse: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(coarse.with_suffix(".json").read_text())
    assert found["bits_before"] - 1.2 * 4 < found["bits"] < found["bits_before"] - 0.5 * 4  # a bit less for each of 4 codes
    assert (found["factor"], found["same_data"], found["samples"]) == (2.0, True, 40)
    file, back = tmp_path / "x.tae", tmp_path / "x.npy"
    assert call("encode", coarse, samples, "-o", file, "-q") == 0
    assert call("decode", coarse, file, "-o", back, "-q") == 0
    np.testing.assert_array_equal(np.load(back), load(coarse, runtime="program").reconstruct(np.load(samples)))
    assert call("decode", finished_run, file, "-o", back, "--force") == 2
    assert "was encoded with another model, tables" in error_of(capsys)


@pytest.mark.ci
def test_fresh_tables_alone_are_those_of_the_export(finished_run: Path, samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert call("rescale", finished_run / "bundle", "--data", samples, "-o", out, "-q") == 0
    before, after = content(finished_run / "bundle"), content(out)
    differ = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys() and differ <= {"manifest.json", "metrics.json", "report.html", "MODEL_CARD.md"}
    assert load(out).file_model.identity == load(finished_run).file_model.identity
    old, new = (read_metrics(path / "metrics.json") for path in (finished_run / "bundle", out))
    assert sorted(old.quality, key=lambda row: (row.title, row.runtime)) == sorted(
        new.quality, key=lambda row: (row.title, row.runtime)
    )
    assert call("rescale", out, "--data", samples, "--factor", 1.5, "-o", out.with_name("third"), "-q") == 0
    assert [row.factor for row in Bundle.open(out.with_name("third")).manifest.derived] == [1.0, 1.5]


def test_other_data_are_named(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, out = tmp_path / "other.npy", tmp_path / "out"
    np.save(other, np.random.default_rng(3).integers(0, 256, (300, 24)).astype(np.uint8))
    assert call("rescale", finished_run, "--data", other, "-o", out, "--json", tmp_path / "o.json") in (0, 1)
    assert f"{other}: is not the training data of {finished_run / 'bundle'} (another sha256)" in capsys.readouterr().err
    assert json.loads((tmp_path / "o.json").read_text())["same_data"] is False
    metrics = read_metrics(out / "metrics.json")
    assert {row.stage for row in metrics.quality} == {Stage.EXPORT}
    assert any("were measured on other test samples" in row.reason for row in metrics.skipped)
    assert "tables of `" in (out / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.mark.ci
def test_a_bundle_without_tables_names_the_command_and_gets_them(
    small_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "x.tae", tmp_path / "out"
    assert call("encode", small_runs / "bytes", small_runs / "bytes/bytes.npy", "-o", file) == 2
    line = error_of(capsys)
    assert line.endswith(f"`tiedae rescale {small_runs / 'bytes/bundle'} --data DATA --out DIR` writes a bundle with it")
    for name, source in (("bytes", "bytes.npy"), ("table", "table.csv")):
        data = small_runs / name / source
        assert call("rescale", small_runs / name, "--data", data, "-o", out, "--factor", 1.5, "--force", "-q") == 0
        assert call("encode", out, data, "-o", file, "--force") == 0
        assert "expected: 0.1 %" in capsys.readouterr().out


@pytest.mark.ci
def test_classes_cost_fewer_bits_and_decode_to_the_same(
    finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file, back, report = (tmp_path / name for name in ("classes", "x.tae", "x.npy", "x.json"))
    assert call("rescale", finished_run, "--data", samples, "--classes", 4, "-o", out, "--json", report) == 0
    assert ", 4 classes, of 40 test samples" in capsys.readouterr().out
    found, bundle = json.loads(report.read_text()), Bundle.open(out)
    assert found["classes"] == bundle.tables().classes == bundle.manifest.derived[0].classes == 4
    assert call("verify", out, "-q") == 0
    text = "without training: tables of 4 classes of the training data"
    assert text in (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "this codec, .tae: 4 classes" in (out / "report.html").read_text(encoding="utf-8")
    assert call("encode", out, samples, "-o", file, "-q") == 0
    assert call("decode", out, file, "-o", back, "-q") == 0
    np.testing.assert_array_equal(np.load(back), load(finished_run, runtime="program").reconstruct(np.load(samples)))
    capsys.readouterr()
    assert call("info", file, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["classed"] is True
    assert call("info", file) == 0 and "classes   one per sample" in capsys.readouterr().out
    again, none = tmp_path / "again", tmp_path / "none"
    assert call("rescale", out, "--data", samples, "-o", again, "-q") == 0
    assert (again / "mini.codec").read_bytes() == (out / "mini.codec").read_bytes()
    assert call("rescale", out, "--data", samples, "--classes", 1, "-o", none, "-q") == 0
    assert (none / "mini.codec").read_bytes() == (finished_run / "bundle" / "mini.codec").read_bytes()


@pytest.mark.parametrize(
    ("classes", "most"), [(257, 256), (0, 256), (-3, 256), (42, 41)], ids=["beyond", "none", "negative", "than samples"]
)
def test_classes_that_cannot_be_are_one_line(
    finished_run: Path, samples: Path, tmp_path: Path, classes: int, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = tmp_path / "few.npy", tmp_path / "out"
    np.save(few, np.load(samples)[: 320 if most == 256 else 45])
    assert call("rescale", finished_run, "--data", few, "--classes", classes, "-o", out) == 2
    right = f"classes: got {classes}, must lie in 1…{most}: 256 at most, and no more than training samples"
    assert error_of(capsys).endswith(right) and [path.name for path in tmp_path.iterdir()] == ["few.npy"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--factor", "0"], "factor: got 0, must be a number above 0"),
        (["--factor", "-1"], "factor: got -1, must be a number above 0"),
        (["--factor", "nan"], "factor: got nan, must be a number above 0"),
        (["--factor", "1e9"], "factor: got 1e+09, must lie in "),
        (["--factor", "200"], "factor: got 200, "),
    ],
)
def test_a_bad_step_is_one_line(
    finished_run: Path, samples: Path, tmp_path: Path, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call("rescale", finished_run, "--data", samples, "-o", out, *options) == 2
    assert error_of(capsys).startswith(text) and not list(tmp_path.iterdir())


def test_no_bundle_is_overwritten(
    finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = content(run)
    (tmp_path / "files").mkdir()
    calls = [
        (run / "bundle", [], "exists; choose another folder, or --force"),
        (run / "bundle", ["--force"], "is, holds or lies in the bundle"),
        (run / "bundle" / "in", ["--force"], "is, holds or lies in the bundle"),
        (run, ["--force"], "is no bundle, so it is not overwritten"),
        (tmp_path / "files", ["--force"], "is no bundle, so it is not overwritten"),
    ]
    for out, options, text in calls:
        assert call("rescale", run, "--data", samples, "-o", out, *options) == 2
        assert text in error_of(capsys), out
    assert content(run) == before


def test_samples_of_another_shape_or_dtype_are_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for values, text in (
        (rng.normal(size=(50, 24)).astype(np.float32), "samples: got float32, must be uint8"),
        (rng.integers(0, 256, (50, 4, 6)).astype(np.uint8), "samples are [4, 6], must be [24] as in the bundle"),
        (rng.integers(0, 256, (50, 25)).astype(np.uint8), "has 25 values per sample, must be 24"),
    ):
        np.save(tmp_path / "x.npy", values)
        assert call("rescale", finished_run, "--data", tmp_path / "x.npy", "-o", tmp_path / "out") == 2
        assert text in error_of(capsys)


def test_a_damaged_bundle_is_refused(
    finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    write_files(run / "bundle", {"mini.f32.onnx": b"changed"})
    assert call("rescale", run, "--data", samples, "-o", tmp_path / "out") == 2
    assert "mini.f32.onnx: missing or changed" in error_of(capsys)


def test_drift_is_in_the_report_of_encode(
    finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = tmp_path / "noise.npy"
    np.save(noise, 255 * np.random.default_rng(0).integers(0, 2, (200, 24)).astype(np.uint8))
    found = {}
    for name, source in (("own", samples), ("noise", noise)):
        for kind in ([], ["--lossless"]):
            report = tmp_path / f"{name}.json"
            assert call("encode", finished_run, source, "-o", tmp_path / "x.tae", "--force", "--json", report, *kind) == 0
            assert "have a larger error than 99.9 % of the training samples" in capsys.readouterr().out
            found[name] = json.loads(report.read_text())["drift"]
    assert found["own"]["beyond"] < 0.02 and found["own"]["distance"] < 0.1 and found["own"]["samples"] == 400
    assert found["noise"]["beyond"] > 0.9 and found["noise"]["distance"] > 0.95


def test_drift_is_not_known_of_an_older_bundle(
    finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    written = json.loads((run / "bundle" / FILE).read_bytes())
    del written["scores"], written["derived"]
    write_files(run / "bundle", {FILE: json.dumps(written).encode()})
    assert call("encode", run, samples, "-o", tmp_path / "x.tae", "--json", tmp_path / "x.json") == 0
    assert "drift: not known, the bundle holds no scores of its training samples" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.json").read_text())["drift"] is None


@pytest.mark.ci
def test_from_python(finished_run: Path, samples: Path, tmp_path: Path) -> None:
    bundle = ta.ExportedBundle.open(finished_run / "bundle")
    data = ta.load_data(samples)
    assert data.train.sha256 == bundle.manifest.data.sha256
    made = bundle.derive(tmp_path / "coarse", data, factor=2.0, verbose=False)
    assert made.manifest.derived[0].factor == 2.0 and not made.verify(data).failed
    classed = bundle.derive(tmp_path / "classes", data, classes=3, verbose=False)
    codec, x = classed.load(), np.load(samples)
    assert classed.tables().classes == 3 and codec.decompress(codec.compress(x)).shape == x.shape
    with pytest.raises(ta.TiedaeError, match="exists; choose another folder, or overwrite=True"):
        bundle.derive(tmp_path / "coarse", data)
    assert bundle.derive(tmp_path / "coarse", data, overwrite=True, verbose=False).manifest.derived[0].factor == 1.0
