"""The gate of `tiedae verify --data DATA --baseline OLD.json`: bundles that were made worse on purpose must fail, those that
are no worse must pass.

Six small models on real data, each with a bundle whose metrics are the baseline: Fashion-MNIST (4,000 training images of the
authors' training set, 2,000 of their test set) for detection of anomalies, compression, denoising and reduction; the MIT-BIH
record 208 as windows and as a table. Every other bundle is trained or altered, quantized and written as the product does, so
that all hashes and proofs hold: only the baseline may find it, or the samples that thresholds come from. Seeds are 0 where none
is stated; the runtimes are those of `tiedae[cpu]`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from msgspec import structs
from rows import Row

from tiedae.base.errors import CheckError
from tiedae.base.files import write_atomic
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Metrics, read_metrics, to_json
from tiedae.calibration import quantize_post_training, representative
from tiedae.cli.verification import verify
from tiedae.compress import DataConfig, Dataset, ExportConfig, NoiseConfig, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig
from tiedae.compress.float_training import train_float
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Anomaly, Compression, Denoising, Reduction
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind
from tiedae.export.targets import decoder_layout
from tiedae.pipeline.assemble import Written, assemble, golden_arrays, write_bundle, write_described, write_models
from tiedae.pipeline.derive import EarlierBundle
from tiedae.pipeline.sources import load_dataset, recipe_data
from tiedae.pipeline.trained import Trained, TrainedModels
from tiedae.program.scoring import Detector, Thresholds
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES

TRAINING, TEST = 4_000, 2_000
CPU = ("litert-xnnpack", "litert-builtin", "litert-reference", "ort-cpu", "c")
"""What runs a bundle's files with `tiedae[cpu]`, and a C compiler."""
NORMAL = (0, 2, 3, 4, 6)
"""Clothes for the upper body, the normal classes of Fashion-MNIST here."""


def image_recipe(name: str, code: int, task: Any, **train: Any) -> Recipe:
    """784-64-code on the file of images; `train` replaces keys of its training."""
    settings = {"epochs": 12, "batch_size": 64, "weight_decay": 0.0} | train
    return Recipe(
        name,
        DataConfig("clothes.npz", validation=0.2),
        ModelConfig((LayerConfig(64, "relu"), LayerConfig(code)), "sigmoid", 784),
        TrainConfig(**settings),
        quantize=QuantizeConfig(method="ptq"),
        task=task,
    )


def ecg_recipe(name: str, source: str, layers: Sequence[int], inputs: int, bits: int, epochs: int) -> Recipe:
    *hidden, code = layers
    return Recipe(
        name,
        DataConfig(source, validation=0.1, test=0.2),
        ModelConfig((*(LayerConfig(units, "tanh") for units in hidden), LayerConfig(code)), "linear", inputs),
        TrainConfig(epochs=epochs, batch_size=16, weight_decay=0.0),
        quantize=QuantizeConfig(method="ptq", bits=(bits,)),
        export=ExportConfig(opset=21),
    )


RECIPES: Mapping[str, Recipe] = {
    "anomaly": image_recipe("anomaly", 16, Anomaly(0.99, NORMAL)),
    "compression": image_recipe("compression", 16, Compression()),
    "denoising": image_recipe("denoising", 32, Denoising(), noise=NoiseConfig("gaussian", 0.3)),
    "reduction": image_recipe("reduction", 8, Reduction(samples=1000)),
    "table": ecg_recipe("table", "ecg-table", (16, 4), 8, 8, 60),
    "record": ecg_recipe("record", "ecg", (64, 16), 256, 4, 40),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained model of a recipe, with the samples that it is exported with."""

    recipe: Recipe
    splits: Dataset
    floating: TiedAutoencoder

    @classmethod
    def trained(cls, recipe: Recipe, splits: Dataset, learned: Dataset | None = None, **train: Any) -> Subject:
        """`train` replaces keys of the recipe's training, `learned` the samples that weights are learned from."""
        recipe = structs.replace(recipe, train=structs.replace(recipe.train, **train))
        floating = TiedAutoencoder(recipe.model, seed=recipe.train.seed)
        if recipe.train.epochs:
            train_float(floating, splits if learned is None else learned, recipe.train)
        return cls(recipe, splits, floating)

    def claiming(self, recipe: Recipe) -> Subject:
        """The same weights as if the recipe had trained them."""
        return replace(self, recipe=recipe)

    def changed(self, **arrays: Callable[[np.ndarray], np.ndarray]) -> Subject:
        """Variables, by names with `__` for a point, changed in the float model."""
        values = self.floating.arrays()
        for name, change in arrays.items():
            key = name.replace("__", ".")
            values[key] = np.asarray(change(values[key]), np.float32)
        return replace(self, floating=TiedAutoencoder.rebuild(self.floating.describe(), values))

    def with_keys(self, **keys: Any) -> Subject:
        """Other tables of the recipe: `export`, `quantize`, `task`."""
        return replace(self, recipe=structs.replace(self.recipe, **keys))

    def write(self, folder: Path, floating: TiedAutoencoder | None = None, calibrated: Dataset | None = None) -> Written:
        """The bundle in `folder`; `floating`: another source of its float files, `calibrated`: other samples of the ranges."""
        recipe, model = self.recipe, self.floating.copy()
        shown = representative(
            (calibrated or self.splits).train, recipe.quantize.samples, seed=recipe.data.seed, noise=recipe.train.noise
        )
        layout = decoder_layout(recipe.export.targets, recipe.export.decoder)
        calibration = quantize_post_training(model, shown, recipe.quantize, layout=layout)
        source = self.floating if floating is None else floating
        models = TrainedModels({"train": source, "quantize": model}, calibration)
        return write_bundle(Trained(models, self.splits, recipe, folder / "stock"), folder, lambda _text: None)


@dataclass(frozen=True, eq=False)
class Job:
    """A recipe with its data in a folder, its model, and the metrics of its bundle, the baseline."""

    name: str
    folder: Path
    recipe: Recipe

    @cached_property
    def splits(self) -> Dataset:
        return recipe_data(self.recipe, self.folder)

    @cached_property
    def labelled(self) -> Dataset:
        """The samples with anomalies among those of training."""
        return load_dataset(self.recipe.data, self.recipe.model.output_activation, base=self.folder)

    @cached_property
    def subject(self) -> Subject:
        return Subject.trained(self.recipe, self.splits)

    @cached_property
    def bundle(self) -> Path:
        folder = self.folder / self.name / "baseline"
        self.subject.write(folder)
        return folder

    @cached_property
    def baseline(self) -> Path:
        """Metrics of the bundle, as `tiedae verify BUNDLE --data DATA --json OLD.json` writes them."""
        metrics = self.verify(self.bundle)
        metrics.raise_for_failures()
        path = self.folder / self.name / "old.json"
        write_atomic(path, to_json(metrics).encode())
        return path

    @property
    def data(self) -> str:
        source = self.recipe.data.source
        return str(self.folder / source) if source.endswith(".npz") else source

    def verify(self, bundle: Path, **options: Any) -> Metrics:
        arguments: dict[str, Any] = {"model": None, "data": self.data, "announce": lambda _text: None} | options
        return verify(bundle, **arguments)


@dataclass(frozen=True)
class Case:
    """A bundle of a job: `write` leaves it in a folder. `without`: a package that is missing, as it may be, for its judge."""

    job: str
    write: Callable[[Job, Path], object]
    without: str = ""


def retrained(**train: Any) -> Callable[[Job, Path], object]:
    return lambda job, folder: Subject.trained(job.recipe, job.splits, **train).write(folder)


def changed(**arrays: Callable[[np.ndarray], np.ndarray]) -> Callable[[Job, Path], object]:
    return lambda job, folder: job.subject.changed(**arrays).write(folder)


def keyed(**keys: Any) -> Callable[[Job, Path], object]:
    return lambda job, folder: job.subject.with_keys(**keys).write(folder)


def again(job: Job, folder: Path) -> None:
    job.subject.write(folder)


def scaled(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values * factor


def shifted(amount: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values + amount


def zeroed(rows: slice | int = slice(None), columns: slice | int = slice(None)) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[rows, columns] = 0
        return values

    return change


def contaminated(job: Job, folder: Path) -> None:
    """Weights that learned anomalies too."""
    Subject.trained(job.recipe, job.splits, job.labelled).write(folder)


def thresholds(change: Callable[[Thresholds], Thresholds]) -> Callable[[Job, Path], object]:
    """The same program with other thresholds, in the manifest and in every file."""

    def write(job: Job, folder: Path) -> None:
        written = job.subject.write(folder)
        found = written.manifest.detector
        assert found is not None
        detector: Detector = structs.replace(found, thresholds=change(found.thresholds))
        rewritten(written, folder, detector)

    return write


def rewritten(written: Written, folder: Path, detector: Detector) -> None:
    from tiedae.bundle.bundle import npy

    manifest = structs.replace(written.manifest, detector=detector, files={}, golden=None)
    arrays = golden_arrays(replace(written.fitted, detector=detector), written.arrays)
    files = {f"golden/{name}.npy": npy(values) for name, values in arrays.items()}
    files |= write_models(written.fitted, manifest, lambda _text: None)
    kept = {name: (folder / name).read_bytes() for name in written.manifest.files if name not in files}
    write_described(folder, manifest, {**kept, **files}, arrays)


def other_tables(job: Job, folder: Path) -> None:
    """Tables of codes that were fitted to the negatives of the images."""
    train = job.splits.train
    negatives = Samples(255 - np.asarray(train.take(slice(None))).reshape(-1, *train.shape), scaling=train.scaling)
    replace(job.subject, splits=replace(job.splits, train=negatives)).write(folder, calibrated=job.splits)


def other_float_files(job: Job, folder: Path) -> None:
    job.subject.write(folder, Subject.trained(job.recipe, job.splits, epochs=2).floating)


def without_noise(job: Job, folder: Path) -> None:
    clean = structs.replace(job.recipe, task=Compression(), train=structs.replace(job.recipe.train, noise=None))
    Subject.trained(clean, job.splits).claiming(job.recipe).write(folder)


def of_less_noise(job: Job, folder: Path) -> None:
    quiet = structs.replace(job.recipe, train=structs.replace(job.recipe.train, noise=NoiseConfig("gaussian", 0.1)))
    Subject.trained(quiet, job.splits).claiming(job.recipe).write(folder)


def rescaled(factor: float) -> Callable[[Job, Path], object]:
    def write(job: Job, folder: Path) -> None:
        with_metrics(job)
        earlier = EarlierBundle.of(Bundle.open(job.bundle), job.splits, job.recipe.data.source, factor=factor)
        assemble(earlier, folder, lambda _text: None)

    return write


WORSE: Mapping[str, Case] = {
    "anomaly: untrained": Case("anomaly", retrained(epochs=0)),
    "anomaly: two epochs": Case("anomaly", retrained(epochs=2)),
    "anomaly: learned from anomalies too": Case("anomaly", contaminated),
    "anomaly: thresholds of other samples": Case(
        "anomaly", thresholds(lambda found: Thresholds(*(int(2.5 * each) for each in structs.astuple(found))))
    ),
    "anomaly: threshold of one target alone": Case(
        "anomaly", thresholds(lambda found: structs.replace(found, split=found.split // 2))
    ),
    "anomaly: another quantile": Case("anomaly", keyed(task=Anomaly(0.9, NORMAL))),
    "anomaly: another score": Case("anomaly", keyed(task=Anomaly(0.99, NORMAL, "max"))),
    "compression: half the epochs": Case("compression", retrained(epochs=4)),
    "compression: scale of one layer": Case("compression", changed(kernel_0=scaled(1.1))),
    "compression: tables of other data": Case("compression", other_tables),
    "compression: constant output": Case("compression", changed(encoder_0__bias=shifted(-50.0))),
    "compression: a dead unit of the code": Case("compression", changed(kernel_1=zeroed(columns=3))),
    "compression: worse float files": Case("compression", other_float_files),
    "compression: kernels of 4 bits": Case("compression", keyed(quantize=QuantizeConfig(method="ptq", bits=(4,)))),
    "compression: no whole model": Case("compression", keyed(export=ExportConfig(signatures=("encode", "decode")))),
    "compression: a target dropped": Case("compression", keyed(export=ExportConfig(targets=("onnx",)))),
    "denoising: learned without noise": Case("denoising", without_noise),
    "denoising: learned with less noise": Case("denoising", of_less_noise),
    "denoising: outputs too bright": Case("denoising", changed(y__bias=shifted(0.5))),
    "reduction: untrained": Case("reduction", retrained(epochs=0)),
    "reduction: three units of eight": Case("reduction", changed(kernel_1=zeroed(columns=slice(3, None)))),
    "table: a column lost": Case("table", changed(kernel_0=zeroed(rows=7))),
    "record: bytes, int4 unpacked": Case("record", keyed(export=ExportConfig(int4="bytes", opset=21))),
    "record: bits, a finer scale of the codes": Case("record", rescaled(0.5)),
}
"""Bundles that are worse than their job's baseline."""

BETTER = {"epochs": 40, "seed": 1}
FINE: Mapping[str, Case] = {
    "anomaly: the same": Case("anomaly", again),
    "compression: exported again": Case("compression", again),
    "reduction: the same": Case("reduction", again),
    "record: rescaled by 1": Case("record", rescaled(1.0)),
    "anomaly: one more target": Case("anomaly", keyed(export=ExportConfig(targets=("tflite", "onnx", "c")))),
    "compression: retrained, better": Case("compression", retrained(**BETTER)),
    "denoising: retrained, better": Case("denoising", retrained(**BETTER)),
    "reduction: retrained, better": Case("reduction", retrained(**BETTER)),
    "table: retrained, better": Case("table", retrained(epochs=150, seed=1)),
    "compression: one more target": Case("compression", keyed(export=ExportConfig(targets=("tflite", "onnx", "c")))),
    "denoising: more files": Case("denoising", keyed(export=ExportConfig(targets=("tflite", "onnx", "c")))),
    "compression: one runtime fewer": Case("compression", again, without="onnxruntime"),
}
"""Bundles that are no worse than their job's baseline."""


def with_metrics(job: Job) -> None:
    """A bundle holds metrics.json, which an `EarlierBundle` reads."""
    path = job.bundle / "metrics.json"
    if not path.exists():
        write_atomic(path, job.baseline.read_bytes())


def write_images(folder: Path) -> None:
    """The images of both tests of Fashion-MNIST that the jobs take, with labels."""
    splits = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    arrays: dict[str, Any] = {}
    for name, part, count in (("train", splits.train, TRAINING), ("test", splits.test, TEST)):
        chosen = np.arange(count)
        arrays[f"x_{name}"] = part.take(chosen).reshape(count, 28, 28)
        arrays[f"y_{name}"] = np.asarray(part.labels)[chosen]
    np.savez(folder / "clothes.npz", **arrays)


ABSENT = """
import json, sys
from pathlib import Path
sys.modules[sys.argv[1]] = None
from tiedae.runtimes.table import RUNTIMES
from tiedae.bundle.results import to_json
from tiedae.cli.verification import verify
kept, bundle, data, baseline, allowed, out = json.loads(sys.argv[2])
for name in [name for name in RUNTIMES if name not in kept]:
    del RUNTIMES[name]
options = {"model": None, "data": data, "baseline": Path(baseline), "allow_unmeasured": allowed, "announce": print}
Path(out).write_text(to_json(verify(Path(bundle), **options)), encoding="utf-8")
"""
"""`verify` in a process in which a package cannot be imported."""


def verify_without(package: str, job: Job, bundle: Path, *, allow_unmeasured: bool) -> Metrics:
    """The metrics of a call where the package is not installed."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "metrics.json"
        given = (list(RUNTIMES), str(bundle), job.data, str(job.baseline), allow_unmeasured, str(out))
        subprocess.run([sys.executable, "-c", ABSENT, package, json.dumps(given)], check=True, capture_output=True)
        return read_metrics(out)


def failed(job: Job, name: str, case: Case) -> list[str]:
    """What failed a case; CheckError where another check than a comparison fails."""
    baseline, folder = job.baseline, job.folder / job.name / f"bundle {len(list((job.folder / job.name).iterdir()))}"
    case.write(job, folder)
    if case.without:
        metrics = verify_without(case.without, job, folder, allow_unmeasured=True)
    else:
        metrics = job.verify(folder, baseline=baseline)
    broken = [check for check in metrics.failed if check.kind not in (Kind.BASELINE, Kind.TASK)]
    if broken:
        raise CheckError(f"{name}: is no whole bundle: {broken[0].text}")
    return [check.text for check in metrics.failed]


@contextmanager
def runtimes_of_cpu() -> Iterator[None]:
    """The other runtimes are gone meanwhile."""
    every = dict(RUNTIMES)
    for name in every.keys() - set(CPU):
        del RUNTIMES[name]
    try:
        yield
    finally:
        RUNTIMES.clear()
        RUNTIMES.update(every)


def rows(console: Console) -> Sequence[Row]:
    with TemporaryDirectory() as directory, runtimes_of_cpu():
        folder = Path(directory)
        write_images(folder)
        jobs = {name: Job(name, folder, recipe) for name, recipe in RECIPES.items()}
        found: dict[str, list[str]] = {}
        for name, case in {**WORSE, **FINE}.items():
            found[name] = failed(jobs[case.job], name, case)
            console.note(f"{name}: {'; '.join(found[name]) or 'passed'}")
    missed = [name for name in WORSE if not found[name]]
    alarms = [name for name in FINE if found[name]]
    return [
        Row("gate_missed", len(missed), "", "== 0", detail="; ".join((f"of {len(WORSE)} bundles", *missed))),
        Row("gate_false_alarms", len(alarms), "", "== 0", detail="; ".join((f"of {len(FINE)} bundles", *alarms))),
    ]
