"""A start at PCA: how near it is to PCA, what it costs, and what training makes of it. Fashion-MNIST.

    TIEDAE_DATA=... python benchmarks/start.py --json start.json [--only PART]

exact    the start against PCA, before any training, of nets of one to three hidden layers; seconds
seconds  of the start, against one epoch of training
epochs   784-512-256-64 for rate: epochs of a shorter training by `auto`, those of all trials counted, to the validation loss
         that random weights end at
dead     units that no sample activates, after float training by `auto` with the layers of each recipe of the package
sets     those of carry.py and six more by `tiedae recipe --data`: what training made of the start, and PCA at equal bytes
deep     784-1000-500-250-30: test error by `auto` against the best of three learning rates by random weights; dead units
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib import import_module
from statistics import median
from typing import Literal

import numpy as np
from jobs_sources import shared
from msgspec.structs import replace
from rate import FASHION, RATES
from rows import Row, report_parts

from tiedae.base.records import checked
from tiedae.cli.commands.recipe import STARTERS
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.dead_units import dead_units
from tiedae.compress.float_training import train_float
from tiedae.compress.pca_start import start_at_pca
from tiedae.compress.train import Training
from tiedae.compress.training_start import TrainingStart
from tiedae.config.config import TrainConfig
from tiedae.config.layer_kinds import Activation, LayerConfig, layer_tables
from tiedae.config.model_config import ModelConfig
from tiedae.config.scaling import Rule
from tiedae.data.data_sets import ASSETS, DATA_SETS
from tiedae.data.dataset import Dataset
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.sources import load_data, load_dataset, recipe_data
from tiedae.report.console import Console

SEEDS = (0, 1, 2)
CODE = 24
WINDOWS = {"kind": "conv2d", "filters": 32, "kernel": 4, "strides": 4, "activation": "relu"}
NETS: dict[str, Sequence[LayerConfig]] = {
    "relu": [LayerConfig(512, "relu")],
    "relu, relu": [LayerConfig(512, "relu"), LayerConfig(256, "relu")],
    "three relu": [LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(64, "relu")],
    "linear": [LayerConfig(256, "linear")],
    "linear, relu": [LayerConfig(256, "linear"), LayerConfig(128, "relu")],
    "batch_norm": [LayerConfig(512, "relu", batch_norm=True), LayerConfig(256, "relu", batch_norm=True)],
    "conv2d": layer_tables([WINDOWS, {"kind": "flatten"}, {"units": 512, "activation": "relu"}]),
    "two conv2d": layer_tables(
        [
            WINDOWS,
            {**WINDOWS, "filters": 512, "kernel": 7, "strides": 7},
            {"kind": "flatten"},
            {"units": 64, "activation": "relu"},
        ]
    ),
    "conv2d, batch_norm": layer_tables(
        [{**WINDOWS, "batch_norm": True}, {"kind": "flatten"}, {"units": 64, "activation": "relu"}]
    ),
}
"""The layers before the code. Windows keep all: 4 × 4 values as 16 pairs."""
SCALINGS: Sequence[Rule] = ("standard", "capped", "minmax")
DEEP = (1000, 500, 250, 30)
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
EPOCHS = 12
FEWER_EPOCHS = 19
"""Those of training for rate by `auto`: a trial takes one of them."""


def fashion(*, output: Activation = "sigmoid", validation: float = 0.0, scaling: Rule | Literal["auto"] = "auto") -> Dataset:
    """60,000 training images, 10,000 test images."""
    train, test = (shared(f"fashion-mnist/{name}-images-idx3-ubyte.gz") for name in ("train", "t10k"))
    return load_data(train, test=test, validation=validation, scaling=scaling, output_activation=output)


def model_of(layers: Sequence[LayerConfig], output: Activation, seed: int) -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig(tuple(layers), output, 784), seed=seed)


def error(model: TiedAutoencoder, x: np.ndarray) -> float:
    """The mean squared error of a sample, float32 [n, inputs]."""
    parts = [np.square(model(part).numpy().astype(np.float64) - part).sum() for part in np.array_split(x, 1 + len(x) // 4096)]
    return float(sum(parts)) / len(x)


def pca_error(x: np.ndarray, components: int) -> float:
    """The mean squared error of a sample that PCA of these samples leaves, float32 [n, inputs]."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    return float(np.linalg.eigvalsh(centred.T @ centred)[:-components].sum() / len(x))


def scaled(data: Dataset, split: str = "train") -> np.ndarray:
    samples = getattr(data, split)
    return samples.scaling.apply(samples.take(np.arange(len(samples))))


def exact_rows(console: Console) -> list[Row]:
    worst, where = 0.0, ""
    for scaling in SCALINGS:
        data = fashion(output="linear", scaling=scaling)
        x = scaled(data)
        right = pca_error(x, CODE)
        for name, layers in NETS.items():
            console.note(f"{scaling}: {name}")
            config = ModelConfig((*layers, LayerConfig(CODE)), "linear").of_samples((28, 28))
            model = TiedAutoencoder(config, seed=0)
            start_at_pca(model, data, 0)
            if model.norms:
                model.start_statistics(x[:4096])
                model.know_statistics(x[:4096])
            if (ratio := error(model, x) / right) > worst:
                worst, where = ratio, f"{name}, {scaling}"
    detail = f"{where}; {len(NETS)} nets, {CODE} components, {', '.join(SCALINGS)}"
    return [Row("start_is_pca", worst, "", "<= 1.001", "<= 1.0001", detail)]


def seconds_rows(console: Console) -> list[Row]:
    data, layers = fashion(), [LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(64)]
    starts, epochs = [], []
    for seed in SEEDS:
        model, training = model_of(layers, "sigmoid", seed), TrainConfig(epochs=1, seed=seed, start="random")
        train_float(model, data, Training(training, progress=console.progress))  # compiles the step
        begun = time.perf_counter()
        start_at_pca(model, data, seed)
        starts.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        train_float(model, data, Training(training, progress=console.progress))
        epochs.append(time.perf_counter() - begun)
    detail = f"{median(starts):.1f} s against {median(epochs):.1f} s, medians of three"
    return [Row("start_seconds", median(starts) / median(epochs), "", "<= 1.0", "<= 0.3", detail)]


def begun_of(history: list) -> TrainingStart:
    return checked(TrainingStart, history[0]["begun"])


def epochs_rows(console: Console) -> list[Row]:
    data, rate, found = load_dataset(FASHION.data, "sigmoid"), RATES[0], []
    for seed in SEEDS:
        random = replace(FASHION.train, seed=seed, rate=rate, start="random")
        auto = replace(random, start="auto", epochs=FEWER_EPOCHS)
        histories = [
            train_float(model_of(FASHION.model.layers, "sigmoid", seed), data, Training(config, progress=console.progress))
            for config in (random, auto)
        ]
        begun, target = begun_of(histories[1]), histories[0][-1]["validation_loss"]
        reached = next((row["epoch"] for row in histories[1] if row["validation_loss"] <= target), float("inf"))
        tried = max(0, len(begun.trials) - 1) * begun.trial_epochs
        found.append((tried + reached) / random.epochs)
        end = histories[1][-1]["validation_loss"]
        console.note(f"seed {seed}: {tried} + {reached} epochs to {target:.5f}; {end:.5f} at the end of {auto.epochs}")
    detail = (
        f"seeds: {', '.join(f'{each:.3f}' for each in found)}; {FEWER_EPOCHS} and {FASHION.train.epochs} epochs, rate {rate:g}"
    )
    return [Row("fashion_epochs", median(found), "", "<= 0.6", "<= 0.4", detail)]


def dead_rows(console: Console) -> list[Row]:
    """Of every recipe of the package that has data, after its float training by `auto`."""
    shares = {}
    for name in STARTERS.values():
        recipe = load_recipe(ASSETS / f"{name}.toml")
        if recipe.data.source not in DATA_SETS:
            continue
        data = recipe_data(recipe, ASSETS)
        model = TiedAutoencoder(recipe.model.of_samples(data.spec.shape), seed=recipe.train.seed)
        training = Training(replace(recipe.train, start="auto"), progress=console.progress)
        dead = begun_of(train_float(model, data, training)).dead
        hidden = {f"encoder_{i}": layer.units for i, layer in enumerate(recipe.model.layers[:-1])}
        shares[name] = max((dead.get(layer, 0) / units for layer, units in hidden.items()), default=0.0)
        console.note(f"{name}: {shares[name]:.3f} of a layer")
    worst = max(shares, key=shares.__getitem__)
    return [Row("dead_units", shares[worst], "of a layer", "<= 0.05", "<= 0.01", f"{worst}, of {len(shares)} recipes")]


def deep_rows(console: Console) -> list[Row]:
    data, layers = fashion(validation=0.1), [*(LayerConfig(units, "relu") for units in DEEP[:-1]), LayerConfig(DEEP[-1])]
    x = scaled(data, "test")

    def trained(config: TrainConfig) -> tuple[TiedAutoencoder, list]:
        model = model_of(layers, "sigmoid", 0)
        return model, train_float(model, data, Training(config, progress=console.progress))

    configs = {rate: TrainConfig(epochs=EPOCHS, learning_rate=rate, start="random") for rate in LEARNING_RATES}
    random = {rate: error(trained(config)[0], x) for rate, config in configs.items()}
    model, history = trained(TrainConfig(epochs=EPOCHS, start="auto"))
    dead = {name: len(units) for name, units in dead_units(model, scaled(data)[:10_000]).items()}
    share = max((dead.get(f"encoder_{i}", 0) / units for i, units in enumerate(DEEP[:-1])), default=0.0)
    texts = ", ".join(f"{rate:g} {each:.3f}" for rate, each in random.items())
    return [
        Row("deep_fashion", error(model, x) / min(random.values()), "", "<= 1.00", "<= 0.95", f"seed 0; random: {texts}"),
        Row("dead_units_deep", share, "of a layer", "<= 0.05", "<= 0.01", begun_of(history).text),
    ]


def set_rows(console: Console) -> list[Row]:
    return import_module("start_sets").rows(console)


PARTS = {
    "exact": exact_rows,
    "seconds": seconds_rows,
    "epochs": epochs_rows,
    "dead": dead_rows,
    "deep": deep_rows,
    "sets": set_rows,
}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "A start at PCA", PARTS))
