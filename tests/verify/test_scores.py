"""Scores of the files in every runtime against the integer scores of the program, and the check that says where they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.errors import UnavailableError
from tiedae.bundle.bundle import Programs, model_files, model_names, write_files
from tiedae.bundle.reference_outputs import expect
from tiedae.compress import ExportConfig, VerifyConfig
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import ScoreKind
from tiedae.export.kinds import Kind
from tiedae.export.storage_check import prove, prove_scaling, prove_score
from tiedae.export.targets import TARGETS, read_model
from tiedae.program.file_io import FileIO
from tiedae.program.program import Program
from tiedae.program.score_graph import SCORE, Scored, constants, grid
from tiedae.program.scoring import Detector, Thresholds, scoring_of, threshold_of
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.findings import Evidence, Findings, Subject
from tiedae.verify.scores import measure_scores

from ..variants import every

KINDS: tuple[ScoreKind, ...] = ("mse", "mae", "max", "standardized")
SIZE = 41
"""No divisor: its means are padded."""
COLUMNS = Scaling("minmax", tuple(np.linspace(-40, 320, SIZE).tolist()), tuple(np.logspace(-2, 3, SIZE).tolist()))


@dataclasses.dataclass(frozen=True)
class Data:
    """Samples [300, SIZE], not scaled, of which the last 20 have a value far beyond the range of the others."""

    spec: SampleSpec
    x: np.ndarray
    io: FileIO

    @property
    def scaled(self) -> np.ndarray:
        return self.spec.scaling.apply(self.io.samples(self.x))


def bytes_of(io: str) -> Data:
    x = np.random.default_rng(0).integers(0, 256, (300, SIZE)).astype(np.uint8)
    return Data(SampleSpec((SIZE,), "uint8", Scaling("byte", 0.0, 255.0)), x, FileIO(io))


def signals(io: str, units: str) -> Data:
    scaling, rng = Scaling("minmax", -300.0, 700.0), np.random.default_rng(1)
    x = rng.integers(-300, 400, (300, SIZE)).astype(np.int16)
    x[280:, 5] = rng.choice([-32768, 32767, 7000], 20)
    return Data(SampleSpec((SIZE,), "int16", scaling), x, FileIO(io, scaling if units == "data" else None))


def table(io: str, units: str) -> Data:
    rng, f = np.random.default_rng(2), np.float32
    x = (rng.uniform(0, 1, (300, SIZE)) * COLUMNS.float32[1] + COLUMNS.float32[0]).astype(f)
    x[280:290, 3] += f(10) * COLUMNS.float32[1][3]
    x[290:, 7] = 3e30
    return Data(SampleSpec((SIZE,), "float32", COLUMNS), x, FileIO(io, COLUMNS if units == "data" else None))


DATA: Mapping[str, Data] = {
    **{f"bytes, {io}": bytes_of(io) for io in ("uint8", "int8", "float32")},
    **{f"int16, {units}": signals("float32", units) for units in ("data", "model")},
    **{f"table, {units}": table("float32", units) for units in ("data", "model")},
    **{f"table, {io}": table(io, "model") for io in ("uint8", "int8")},
}


def programs_of(data: Data, make_program: Callable[..., Program], **options: object) -> Programs:
    byte = data.spec.dtype == "uint8"
    options = {"byte_data": byte, "output_activation": "sigmoid" if byte else "linear", **options}
    return Programs(*(make_program((SIZE, 12, 5), form=form, **options) for form in ("split", "fused")))


def detector_of(programs: Programs, data: Data, kind: ScoreKind, quantile: float = 0.9) -> Detector:
    """Thresholds from the samples that are within range."""
    errors = np.random.default_rng(3).uniform(0.02, 0.3, SIZE)
    scoring = scoring_of(kind, data.spec, programs.fused.quantization("y"), errors)
    detector = Detector(scoring, Thresholds(0, 0), quantile, 280)
    found = {}
    for layout in ("split", "fused"):
        program = getattr(programs, layout)
        got = expect(program, data.scaled[:280])
        given = (detector, layout, program, data.io, data.x[:280], data.scaled[:280], got.x)
        scored, _ = Scored.between(*given, (got.y, got.y))
        found[layout] = threshold_of(scored.totals, quantile)
    return replace(detector, thresholds=Thresholds(**found))


@dataclasses.dataclass(frozen=True)
class Files:
    """The int8 files with a score."""

    folder: Path
    programs: Programs
    data: Data
    detector: Detector

    @classmethod
    def write(cls, folder: Path, programs: Programs, data: Data, detector: Detector) -> Files:
        write_files(folder, model_files({"int8": programs}, ExportConfig(), data.io, detector=detector))
        return cls(folder, programs, data, detector)

    def subject(self, runtime: str) -> Subject:
        target = RUNTIMES[runtime].format
        contents = {path.name: read_model(path) for path in self.folder.glob(f"*{TARGETS[target].suffix}")}
        files = {each.name: name for name, parsed in contents.items() for each in parsed.signatures}
        try:
            session = RUNTIMES[runtime].open({signature: self.folder / file for signature, file in files.items()})
        except UnavailableError as error:
            pytest.skip(str(error))
        return Subject(session, files, contents, self.programs.of(target), VerifyConfig(), Findings(), self.data.io)

    def measure(self, runtime: str, detector: Detector | None = None) -> Findings:
        """What verify does with them in a runtime, for `detector` instead of their own."""
        subject, data = self.subject(runtime), self.data
        expected = expect(subject.program, data.scaled, subject.conversion)
        evidence = Evidence(data.x, data.scaled, None, None, False)
        measure_scores(subject, detector or self.detector, evidence, expected, "samples")
        return subject.findings


INT8 = [name for name, row in RUNTIMES.items() if "int8" in row.precisions and TARGETS[row.format].scores]


def of_each_two(rows: Sequence[Any], columns: Sequence[Any]) -> list[tuple[Any, Any, ScoreKind]]:
    """Every row with every column; the kind of score changes along both, so that each meets each."""
    return [(row, column, KINDS[(i + j) % len(KINDS)]) for i, row in enumerate(rows) for j, column in enumerate(columns)]


@pytest.mark.parametrize(("name", "runtime", "kind"), every(5, of_each_two(list(DATA), INT8)))
def test_scores_and_flags_are_the_programs(name, runtime, kind, make_program, tmp_path):
    data = DATA[name]
    programs = programs_of(data, make_program)
    files = Files.write(tmp_path, programs, data, detector_of(programs, data, kind))
    findings = files.measure(runtime)
    gaps = {"NaN and infinity in samples"} if data.io.dtype == "float32" else set()
    details = {check.detail for check in findings.judged(VerifyConfig())}
    assert details == {"score of samples", "anomaly of samples"} | gaps
    assert {check.kind for check in findings.judged(VerifyConfig())} == {Kind.SCORE}
    assert not findings.skipped or runtime.startswith("openvino")
    assert [check.text for check in findings.judged(VerifyConfig()) if not check.ok] == []


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "ort-cpu"])
def test_a_score_at_the_threshold_is_normal(runtime, make_program, tmp_path):
    """The largest errors of bytes are few different ones, so that many samples are at the threshold."""
    data = DATA["bytes, uint8"]
    programs = programs_of(data, make_program)
    for quantile in (0.2, 0.35, 0.5, 0.65, 0.8):
        detector = detector_of(programs, data, "max", quantile)
        (tmp_path / str(quantile)).mkdir()
        subject = Files.write(tmp_path / str(quantile), programs, data, detector).subject(runtime)
        expected = expect(subject.program, data.scaled, subject.conversion)
        layout = TARGETS[subject.format].layout
        given = (detector, layout, subject.program, data.io, data.x, data.scaled, expected.x)
        scored, _ = Scored.between(*given, (expected.y, expected.y))
        equal = scored.totals == getattr(detector.thresholds, layout)
        x = subject.input(SCORE, Evidence(data.x, data.scaled, None, None, False))
        assert equal.sum() > 1 and not subject.run(SCORE, x)["anomaly"][equal].any(), quantile


@pytest.mark.parametrize("runtime", INT8)
def test_batches_of_one_and_of_many(runtime, make_program, tmp_path):
    data = DATA["table, data"]
    programs = programs_of(data, make_program)
    subject = Files.write(tmp_path, programs, data, detector_of(programs, data, "mse")).subject(runtime)
    many, one = subject.session.run(SCORE, data.x), subject.session.run(SCORE, data.x[:1])
    assert {name: (values.dtype, values.shape) for name, values in many.items()} == {
        "score": (np.float32, (300,)),
        "anomaly": (bool, (300,)),
    }
    assert {name: values.shape for name, values in one.items()} == {"score": (1,), "anomaly": (1,)}
    np.testing.assert_allclose(one["score"], many["score"][:1], rtol=1e-6)
    twice = subject.session.run(SCORE, data.x)
    assert all(np.array_equal(twice[name], many[name]) for name in many)


@pytest.mark.parametrize("runtime", INT8)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sensor_beyond_its_range_is_scored_before_it_is_clipped(kind, runtime, make_program, tmp_path):
    """x saturates at the same integer from 2 times the range on, and the score still grows."""
    data = DATA["table, data"]
    programs = programs_of(data, make_program)
    x = np.repeat(data.x[:1], 3, axis=0)
    x[:, 3] = COLUMNS.float32[0][3] + COLUMNS.float32[1][3] * np.array([5, 10, 1e4], np.float32)
    subject = Files.write(tmp_path, programs, data, detector_of(programs, data, kind)).subject(runtime)
    got = subject.session.run(SCORE, x)
    assert len(np.unique(subject.session.run("encode", x)["code"], axis=0)) == 1
    assert (np.diff(got["score"]) > 0).all() and got["anomaly"][1:].all()
    wanted = 10 - programs.fused.quantization("y").dequantize(expect(subject.program, data.spec.scaling.apply(x)).y)[1, 3]
    if kind == "max":
        assert got["score"][1] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("runtime", "size", "kind"),
    of_each_two(["litert-xnnpack", "litert-reference", "tflm", "ort-cpu", "openvino-onnx"], [2, 3, 64, 1009, 3072, 4099]),
)
def test_sums_of_many_values_are_exact_to_a_millionth(runtime, size, kind, make_program, tmp_path):
    scaling = Scaling("byte", 0.0, 255.0)
    x = np.random.default_rng(0).integers(0, 256, (20, size)).astype(np.uint8)
    data = Data(SampleSpec((size,), "uint8", scaling), x, FileIO("uint8"))
    programs = Programs(*(make_program((size, 8), ("linear",), form=form) for form in ("split", "fused")))
    scoring = scoring_of(kind, data.spec, programs.fused.quantization("y"), np.linspace(0.05, 0.2, size))
    files = Files.write(tmp_path, programs, data, Detector(scoring, Thresholds(10**9, 10**9), 0.9, 10))
    findings = files.measure(runtime)
    assert [check.text for check in findings.judged(VerifyConfig()) if not check.ok] == []
    (value,) = [check.value for check in findings.judged(VerifyConfig()) if check.detail == "score of samples"]
    assert float(value) < (2e-6 if size >= 64 else 1e-5)


@pytest.mark.parametrize("size", [*range(1, 300), 784, 3072, 65536, 65521])
def test_a_grid_holds_every_value_in_few_more_places(size):
    rows, columns = grid(size)
    assert size <= rows * columns < size + columns and max(rows, columns) <= 2 * np.ceil(np.sqrt(size))


@pytest.mark.parametrize("kind", KINDS)
def test_integer_scores_of_errors_below_a_step_are_not_biased(kind):
    """Against binary64: rounding each square down would be off by 2e-4 here."""
    y, rng = Quantization(float(np.float32(1 / 255)), 0), np.random.default_rng(0)
    q = rng.integers(0, 256, (50, 784)).astype(np.uint8)
    x = (y.dequantize(q) + rng.normal(0, 0.2 * y.scale, q.shape)).astype(np.float32)
    scoring = scoring_of(kind, SampleSpec((784,), "float32"), y, rng.uniform(0.004, 0.01, 784))
    got = scoring.totals(scoring.errors(scoring.units(x, x), q)) * scoring.factor
    errors = np.abs(x.astype(np.float64) - q.astype(np.float64) * y.scale)
    weights = np.array(scoring.weights) * scoring.unit_weight if scoring.weights else 1.0
    wanted = {"mae": errors.mean(1), "max": errors.max(1)}.get(kind, (errors**2 * weights).mean(1))
    np.testing.assert_allclose(got, wanted, rtol=5e-5)


def test_another_detector_is_told_apart(make_program, tmp_path):
    """Weights, threshold and kind: of the files, and of the detector that they are compared with."""
    data = DATA["int16, data"]
    programs = programs_of(data, make_program)
    own = detector_of(programs, data, "standardized")
    files = Files.write(tmp_path, programs, data, own)
    weights = list(own.scoring.weights)
    weights[4] += 1
    changed = {
        "weights": replace(own, scoring=replace(own.scoring, weights=tuple(weights))),
        "threshold": replace(own, thresholds=Thresholds(own.thresholds.split + 10**6, own.thresholds.fused + 10**6)),
        "unit": replace(own, scoring=replace(own.scoring, unit_weight=own.scoring.unit_weight * (1 + 1e-6))),
    }
    for path in sorted(tmp_path.glob("*")):
        if path.suffix == ".bin" or SCORE not in {each.name for each in read_model(path).signatures}:
            continue
        contents = read_model(path)
        layout = TARGETS[contents.format].layout
        assert prove_score(contents, constants(own, layout)).ok and not prove_score(contents, None).ok
        assert all(finding.ok for finding in prove(contents, programs.fused))
        for detector in changed.values():
            assert not prove_score(contents, constants(detector, layout)).ok
    for runtime in ("litert-xnnpack", "ort-cpu"):
        low = replace(own, thresholds=Thresholds(0, 0))
        failed = {check.detail for check in files.measure(runtime, low).judged(VerifyConfig()) if not check.ok}
        assert failed == {"anomaly of samples"}
        other = detector_of(programs, data, "mse")
        assert "score of samples" in {
            check.detail for check in files.measure(runtime, other).judged(VerifyConfig()) if not check.ok
        }


def test_a_code_at_a_tie_is_no_wrong_score(make_program, tmp_path):
    """A sample whose score in OpenVINO is 2.1 % below that of the program and that of its own y: a code of three at a tie."""
    rng = np.random.default_rng(15)
    offset, scale = COLUMNS.float32
    x = (rng.uniform(0, 1, (8000, SIZE)) * scale + offset).astype(np.float32)[500:800]
    data = dataclasses.replace(DATA["table, data"], x=x)
    options = {"byte_data": False, "output_activation": "linear", "seed": 15}
    activations = ("relu", "relu", "linear")
    programs = Programs(*(make_program((SIZE, 24, 12, 3), activations, form=form, **options) for form in ("split", "fused")))
    files = Files.write(tmp_path, programs, data, detector_of(programs, data, "standardized"))
    findings = files.measure("openvino-onnx")
    assert [check.text for check in findings.judged(VerifyConfig()) if not check.ok] == [] and not findings.skipped


@pytest.mark.parametrize("factor", [1.002, 0.998])
def test_a_wrong_score_is_found_where_ties_are_rounded_either_way(factor, make_program, tmp_path):
    """A weight unit that is 0.2 % off: few samples have integers at a tie, and few of these so wide bounds."""
    data = DATA["int16, data"]
    programs = programs_of(data, make_program)
    own = detector_of(programs, data, "standardized")
    files = Files.write(tmp_path, programs, data, own)
    wrong = replace(own, scoring=replace(own.scoring, unit_weight=own.scoring.unit_weight * factor))
    assert [check.text for check in files.measure("openvino-onnx").judged(VerifyConfig()) if not check.ok] == []
    failed = [check for check in files.measure("openvino-onnx", wrong).judged(VerifyConfig()) if not check.ok]
    assert "score of samples" in {check.detail for check in failed}
    assert "rounded either way; the nearest to its end" in failed[0].text and "bound" in failed[0].limit


def test_a_wrong_scalar_is_reported_not_raised(make_program, tmp_path):
    data = DATA["int16, data"]
    programs = programs_of(data, make_program)
    files = Files.write(tmp_path, programs, data, detector_of(programs, data, "mse"))
    contents = read_model(files.folder / "toy.int8.tflite")
    assert prove_scaling(contents, data.io.constants((SIZE,))).ok
    wrong = prove_scaling(contents, FileIO("float32", Scaling("minmax", -300.0, 701.0)).constants((SIZE,)))
    assert "1 of 1 values of scaling.scale differ from the manifest's, first at []" in wrong.text


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "ort-cpu"])
def test_a_score_behind_the_clipping_is_found(runtime, make_program, tmp_path):
    """Samples that are clipped first, as a score of the quantized x would have them: the others score the same."""
    data = DATA["table, model"]
    programs = programs_of(data, make_program)
    detector = detector_of(programs, data, "mse")
    low, high = np.float32(-0.5), np.float32(1.5)
    x = np.clip(data.scaled, low, high)
    files = Files.write(tmp_path, programs, data, detector)
    subject = files.subject(runtime)
    expected = expect(subject.program, data.scaled, subject.conversion)
    given = (detector, TARGETS[subject.format].layout, subject.program, data.io, data.x, data.scaled, expected.x)
    scored, _ = Scored.between(*given, (expected.y, expected.y))
    clipped = subject.session.run(SCORE, x)["score"]
    assert scored.relative(clipped)[:280].max() <= 1e-5 < scored.relative(clipped)[280:].min()


def test_files_without_a_detector_have_no_score(make_program, tmp_path):
    data = DATA["bytes, uint8"]
    programs, config = programs_of(data, make_program), ExportConfig()
    floats = Programs(*(make_program((SIZE, 12, 5), form=form, quantized=False) for form in ("split", "fused")))
    both, detector = {"int8": programs, "f32": floats}, detector_of(programs, data, "mae")
    plain, scored = model_files(both, config, data.io), model_files(both, config, data.io, detector=detector)
    (name,) = {each.partition(".")[0] for each in plain}
    assert set(plain) == model_names(name, config) and set(scored) == model_names(name, config, detector=detector)
    assert set(scored) - set(plain) == {f"{name}.score.int8.onnx"}
    changed = {each for each in plain if plain[each] != scored[each]}
    assert changed == {f"{name}.int8.tflite"}
    kernels = sum(programs.fused.constants[each].size for each in programs.fused.kernels)
    assert len(scored[f"{name}.int8.tflite"]) - len(plain[f"{name}.int8.tflite"]) < 4000
    assert len(scored[f"{name}.score.int8.onnx"]) < 6000 + kernels
