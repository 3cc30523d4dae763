"""The signature `score` of int8 files against the integer score of their program, in every runtime that is installed.

    TIEDAE_DATA=... python benchmarks/tasks.py --json tasks.json --only score

The nets are small, trained for few epochs and quantized after training: how well they reconstruct does not
matter here. Each kind of score is measured on test samples, and on the same ones with a value stuck beyond the range.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rows import Row

from tiedae.base.errors import UnavailableError
from tiedae.bundle.bundle import Programs, model_files, write_files
from tiedae.bundle.reference_outputs import expect
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import DataConfig, Recipe, TiedAutoencoder, TrainConfig, Training, VerifyConfig
from tiedae.compress.float_training import train_float
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import ScoreKind
from tiedae.data.dataset import Dataset
from tiedae.export import lower
from tiedae.export.model_file import Contents
from tiedae.export.targets import read_model
from tiedae.pipeline.sources import load_dataset
from tiedae.program.file_io import FileIO
from tiedae.program.score_graph import Scored
from tiedae.program.scoring import Detector, Thresholds, scoring_of, threshold_of
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.findings import Evidence, Findings, Subject
from tiedae.verify.scores import measure_scores

SAMPLES = 1000
QUANTILE = 0.99
KINDS: Sequence[ScoreKind] = ("mse", "mae", "max", "standardized")
IMAGES = Recipe(
    "image",
    DataConfig("fashion-mnist"),
    ModelConfig((LayerConfig(256, "relu"), LayerConfig(30)), "sigmoid", 784),
    TrainConfig(epochs=2),
)
RECORD = Recipe(
    "record",
    DataConfig("ecg", window=256, split="tail", test=0.2),
    ModelConfig((LayerConfig(128, "tanh"), LayerConfig(16)), "linear", 256),
    TrainConfig(epochs=60, batch_size=32),
)


def score_rows(console: Console) -> Sequence[Row]:
    values, parts, runtimes = [], [], {}
    for recipe in (IMAGES, RECORD):
        found = _differences(recipe, console)
        values += found.values()
        parts.append(f"{recipe.data.source} {max(found.values()):.2g}")
        runtimes |= found
    detail = f"{', '.join(parts)}; {', '.join(KINDS)} in {', '.join(runtimes)}"
    return [Row("score_max_rel", max(values), "", "<= 1e-5", "", detail)]


def _differences(recipe: Recipe, console: Console) -> dict[str, float]:
    """The largest relative difference by runtime. A score of NaN, a flag that differs or a missed NaN is infinite."""
    splits = load_dataset(recipe.data, recipe.model.output_activation)
    model = TiedAutoencoder(recipe.model, seed=recipe.train.seed)
    train_float(model, splits, Training(recipe.train, progress=console.progress))
    quantize_post_training(model, representative(splits.train, 256, seed=0), recipe.quantize)
    programs = Programs(*(lower(model, recipe.name, layout=layout) for layout in ("split", "fused")))
    io = FileIO.of(recipe.export, splits.scaling, splits.train.dtype.name)
    train = splits.train.take(np.arange(min(SAMPLES, len(splits.train))))
    test = splits.test.take(np.arange(min(SAMPLES, len(splits.test))))
    stuck = test.copy()
    stuck[:, test.shape[1] // 2] = np.iinfo(test.dtype).max if test.dtype.kind in "iu" else 10 * np.abs(test).max()
    found: dict[str, float] = {}
    for kind in KINDS:
        detector = _detector(kind, programs, splits, io, train)
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), model_files({"int8": programs}, recipe.export, io, detector=detector))
            for runtime, values in _measured(
                Path(folder), programs, splits, io, detector, np.concatenate([test, stuck])
            ).items():
                found[runtime] = max(found.get(runtime, 0.0), values)
                console.note(f"{recipe.data.source}, {kind}: {runtime}: {values:.2g}")
    return found


def _detector(kind: ScoreKind, programs: Programs, splits: Dataset, io: FileIO, train: np.ndarray) -> Detector:
    scaled, y = splits.scaling.apply(io.samples(train)), programs.fused.quantization("y")
    expected = {layout: expect(getattr(programs, layout), scaled) for layout in ("split", "fused")}
    errors = np.sqrt(np.mean(np.square(y.dequantize(expected["fused"].y) - scaled), axis=0))
    detector = Detector(scoring_of(kind, splits.spec, y, errors), Thresholds(0, 0), QUANTILE, len(train))
    totals = {
        layout: Scored.between(detector, layout, each.program, io, train, scaled, each.x, (each.y, each.y))[0].totals
        for layout, each in expected.items()
    }
    return replace(detector, thresholds=Thresholds(**{layout: threshold_of(each, QUANTILE) for layout, each in totals.items()}))


def _measured(
    folder: Path, programs: Programs, splits: Dataset, io: FileIO, detector: Detector, x: np.ndarray
) -> dict[str, float]:
    evidence = Evidence(x, splits.scaling.apply(io.samples(x)), None, None, False)
    contents: dict[str, Contents] = {path.name: read_model(path) for path in folder.iterdir() if path.suffix != ".bin"}
    found = {}
    for name, runtime in RUNTIMES.items():
        files = {s.name: file for file, each in contents.items() if each.format == runtime.format for s in each.signatures}
        if not files:
            continue
        try:
            session = runtime.open({signature: folder / file for signature, file in files.items()})
        except UnavailableError:
            continue
        subject = Subject(session, files, contents, programs.of(runtime.format), VerifyConfig(), Findings(), io)
        measure_scores(subject, detector, evidence, expect(subject.program, evidence.scaled, subject.conversion), "samples")
        checks = subject.findings.judged(VerifyConfig())
        scores = [float(check.value) for check in checks if check.detail == "score of samples"]
        others = [check for check in checks if not check.ok and check.detail != "score of samples"]
        found[name] = np.inf if others or not scores else max(scores)
    return found
