"""The rows of anomaly detection, see `tasks.py`.

Fashion-MNIST: one class is normal, the nine others are anomalies; the training images of a class are split into 5,000 and 1,000
that set the threshold. Net, epochs and score were chosen on training and held-out images of classes 0, 4, 6 and 8.
ECG: the last fifth of the record is normal, and copies of it with one of five injections are anomalies. The injections were
written down here before any training; the net was chosen by them on validation windows. The lowest AUC of the five is compared
with PCA's lowest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median

import numpy as np
from msgspec.structs import replace
from rows import Row

from tiedae.bundle.task_results import AnomalyResult, Detection
from tiedae.calibration import quantize_post_training, representative
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import fit_detector
from tiedae.compress import DataConfig, Dataset, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig, Training
from tiedae.compress.float_training import train_float
from tiedae.compress.quantized_training import train_quantized
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Anomaly
from tiedae.export import lower
from tiedae.export.targets import Programs
from tiedae.pipeline.sources import load_dataset
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import fit
from tiedae.report.console import Console
from tiedae.tasks import anomaly
from tiedae.tasks.ranking import Ranked, roc_auc
from tiedae.tasks.row import Exported
from tiedae.verify.parity.keras_device import keras_function

SEEDS = (0, 1, 2)
CLASSES = range(10)
TASK = Anomaly(0.99, (0,), "standardized")
FASHION = Recipe(
    "anomaly",
    DataConfig("fashion-mnist", validation=1 / 6),
    ModelConfig((LayerConfig(128, "relu"), LayerConfig(16)), "sigmoid", 784),
    TrainConfig(epochs=20, batch_size=64, weight_decay=0.0),
    quantize=QuantizeConfig(epochs=2, weight_decay=0.0),
    task=TASK,
)
ECG = Recipe(
    "anomaly-ecg",
    DataConfig("ecg", validation=0.1, test=0.2),
    ModelConfig((LayerConfig(128, "tanh"), LayerConfig(8, "tanh")), "linear", 256),
    TrainConfig(epochs=150, batch_size=16, weight_decay=0.0),
    quantize=QuantizeConfig(epochs=20, weight_decay=0.0),
    task=Anomaly(0.95, (), "mse"),
)
RATE = 360
"""Samples per second of the record."""
MIDDLE = 1024
"""Counts of 0 mV; 200 counts are 1 mV."""

Inject = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _scaled(factor: float) -> Inject:
    return lambda x, rng: MIDDLE + factor * (x - MIDDLE)


def _hum(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """60 Hz of 10 % of each window's RMS about its mean, at a random phase."""
    rms = x.std(axis=1, keepdims=True)
    phase = rng.uniform(0, 2 * np.pi, (len(x), 1))
    return x + np.sqrt(2) * 0.1 * rms * np.sin(2 * np.pi * 60 / RATE * np.arange(x.shape[1]) + phase)


def _dropout(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """40 ms at 0 mV, somewhere in each window."""
    length = round(0.04 * RATE)
    start = rng.integers(0, x.shape[1] - length + 1, (len(x), 1))
    place = np.arange(x.shape[1])
    return np.where((place >= start) & (place < start + length), MIDDLE, x)


def _step(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0.2 mV = 40 counts more from a random place in the middle half of each window on."""
    start = rng.integers(x.shape[1] // 4, 3 * x.shape[1] // 4, (len(x), 1))
    return x + 40 * (np.arange(x.shape[1]) >= start)


INJECTIONS: Mapping[str, Inject] = {
    "amplitude × 0.5": _scaled(0.5),
    "amplitude × 1.5": _scaled(1.5),
    "60 Hz at 10 % of the RMS": _hum,
    "dropout of 40 ms": _dropout,
    "baseline step of 0.2 mV": _step,
}


def exported(recipe: Recipe, splits: Dataset, console: Console) -> Exported:
    """The int8 program of a recipe in both layouts with its detector, and its float model."""
    training = Training(recipe.train, progress=console.progress)
    floating = TiedAutoencoder(recipe.model, seed=recipe.train.seed)
    train_float(floating, splits, training)
    model = floating.copy()
    quantize_post_training(model, representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed), recipe.quantize)
    train_quantized(model, splits, recipe.quantize, training)
    programs = Programs(*(lower(model, recipe.name, layout=layout) for layout in ("split", "fused")))
    maps, scaling = fit(splits.spec, programs.fused.quantization("x"), programs.fused.quantization("y"))
    splits = splits.with_scaling(scaling)
    io = FileIO.of(recipe.export, scaling, splits.train.dtype.name)
    backend = ProgramBackend(programs.fused, splits.spec, io, maps)
    detector = fit_detector(programs, backend, splits, recipe.task, recipe.data.seed)
    return Exported(backend, splits, recipe, keras_function(floating), detector=detector)


def _area(result: AnomalyResult, method: str) -> float:
    found = result.method(method)
    assert isinstance(found, Detection)
    return found.roc_auc.value


def fashion_rows(console: Console, seeds: Sequence[int] = SEEDS) -> Sequence[Row]:
    lost, gained, rates = [], [], []
    for seed in seeds:
        results = []
        for label in CLASSES:
            task = replace(TASK, normal=(label,))
            data, train = replace(FASHION.data, seed=seed), replace(FASHION.train, seed=seed)
            recipe = replace(FASHION, data=data, train=train, task=task)
            splits = load_dataset(data, "sigmoid", normal=task.normal)
            found = anomaly.measure(exported(recipe, splits, console)).result
            assert isinstance(found, AnomalyResult)
            areas = ", ".join(f"{each.method} {each.roc_auc.value:.4f}" for each in found.methods)
            console.note(f"seed {seed}, class {label}: {areas}; {found.false_alarms} alarms on {found.normal} normal")
            results.append(found)
        int8, keras, pca = (mean(_area(each, name) for each in results) for name in (anomaly.INT8, anomaly.FLOAT, anomaly.PCA))
        expected = sum((each.normal or 0) * (1 - each.quantile) for each in results)
        lost.append(keras - int8)
        gained.append(int8 - pca)
        rates.append(sum(each.false_alarms or 0 for each in results) / expected)
        console.note(f"seed {seed}: int8 {int8:.4f}, float {keras:.4f}, PCA {pca:.4f}, alarms {rates[-1]:.3f} × expected")
    widths = "-".join(map(str, FASHION.model.widths))
    texts = (f"seeds: {', '.join(f'{value:.4f}' for value in values)}" for values in (lost, gained, rates))
    return [
        Row("anomaly_auc_loss", median(lost), "", "<= 0.002", "<= 0.0005", f"{widths}, {next(texts)}"),
        Row(
            "anomaly_auc_gain",
            median(gained),
            "",
            ">= 0.00",
            ">= 0.03",
            f"over PCA of {FASHION.model.widths[-1]}, {next(texts)}",
        ),
        Row("alarm_rate", median(rates), "", ">= 0.7", "", next(texts)),
        Row("alarm_rate_above", median(rates), "", "<= 1.4", "<= 1.2", "the same, its upper bound"),
    ]


def ecg_rows(console: Console, seeds: Sequence[int] = SEEDS) -> Sequence[Row]:
    gains, texts = [], []
    for seed in seeds:
        recipe = replace(ECG, train=replace(ECG.train, seed=seed))
        splits = load_dataset(recipe.data, "linear")
        scores = compared(exported(recipe, splits, console))
        x = splits.test.take(np.arange(len(splits.test)))
        gain, text = lowest_gain({name: _injected(x, inject, scores) for name, inject in INJECTIONS.items()}, seed, console)
        gains.append(gain)
        texts.append(text)
    return [Row("anomaly_ecg_gain", median(gains), "", ">= 0.00", ">= 0.05", f"seeds: {', '.join(texts)}")]


def compared(found: Exported) -> list[anomaly.Score]:
    """The scores of the int8 program and of PCA."""
    assert found.detector is not None
    scoring = found.detector.scoring
    pca = anomaly.other_methods(found, scoring)[0][anomaly.PCA]
    return [lambda x: scoring.totals(anomaly.program_errors(found, scoring, x)) * scoring.factor, pca]


def lowest_gain(areas: Mapping[str, Sequence[float]], seed: int, console: Console) -> tuple[float, str]:
    """The lowest area of int8 minus PCA's lowest, of areas [int8, PCA] by kind of fault, and both in words."""
    for name, (ours, theirs) in areas.items():
        console.note(f"seed {seed}, {name}: int8 {ours:.4f}, PCA {theirs:.4f}")
    lowest, of_pca = (min(areas, key=lambda name, i=i: areas[name][i]) for i in (0, 1))
    gain = areas[lowest][0] - areas[of_pca][1]
    return gain, f"{gain:.4f} ({lowest}, {areas[lowest][0]:.4f}; PCA: {of_pca}, {areas[of_pca][1]:.4f})"


def _injected(x: np.ndarray, inject: Inject, scores: Sequence[anomaly.Score]) -> list[float]:
    """ROC-AUC of each score of the samples with an injection, rounded to counts, against the samples without."""
    changed = np.rint(inject(x.astype(np.float64), np.random.default_rng(0)))
    limits = np.iinfo(x.dtype)
    both = np.concatenate([x, np.clip(changed, limits.min, limits.max).astype(x.dtype)])
    anomalous = np.arange(len(both)) >= len(x)
    return [roc_auc(*Ranked.of(score(both), anomalous).counts()) for score in scores]


def anomaly_rows(console: Console) -> Sequence[Row]:
    return [*fashion_rows(console), *ecg_rows(console)]
