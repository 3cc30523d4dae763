"""The rows of models that are tied, see `imports.py`: what a tie costs, and int8 of AD01, which needs one.

The untied nets are kept in build/untied, and trained where they are not there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from imports_bits import in_keras_3
from imports_files import DATA
from rows import Row

import tiedae as ta
from tiedae.compress.imports.formats import read_model
from tiedae.config.config import DataConfig, TrainConfig
from tiedae.pipeline.importing import TIED
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

NETS = Path(__file__).resolve().parent.parent / "build" / "untied"
SEEDS, HELD = range(3), 6_000
AD01 = {"epochs": 60, "batch_size": 32}


def tie_row(console: Console) -> Row:
    """Test errors of nets that are tied, against those of nets that were trained on."""
    splits = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    rows = np.arange(len(splits.train))
    data = replace(splits, train=splits.train.select(rows[:-HELD]), validation=splits.train.select(rows[-HELD:]))
    x = data.scaling.apply(data.test.take(slice(None)))
    errors = []
    for seed in SEEDS:
        folder = nets(seed, data)
        tied = ta.tie(folder / "untied.keras", data, train=TrainConfig(**TIED, seed=seed), verbose=0)
        found = error(x, tied.predict(x, verbose=0))
        errors.append((found, error(x, read_model(folder / "longer.keras")(x))))
        console.note(f"seed {seed}: tied {errors[-1][0]:.3f}, trained on untied {errors[-1][1]:.3f}")
    detail = "; ".join(f"{tied:.3f} / {longer:.3f}" for tied, longer in errors)
    return Row("tie_error_ratio", median(tied / longer for tied, longer in errors), "x", "<= 1.05", "<= 1.00", detail)


def nets(seed: int, data: ta.Dataset) -> Path:
    """The folder of the untied nets of a seed."""
    folder = NETS / str(seed)
    if not (folder / "longer.keras").exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "x.npy", data.train.take(slice(None)))
        in_keras_3("imports_tie_train.py", folder, seed)
    return folder


def ad01_row(_: Console) -> Row:
    """The int8 score of AD01's recording, tied on its windows, against the score of the same weights in float."""
    x = np.load(DATA / "ad01" / "windows.npy")
    data = ta.Dataset.from_array(x, scaling="none", output_activation="linear")
    tied = ta.tie(DATA / "ad01" / "ad01.h5", data, train=TrainConfig(**{**TIED, **AD01}), verbose=0)
    floating, int8 = (error(x, model.predict(x, verbose=0)) for model in (tied, ta.quantize(tied, data, verbose=0)))
    detail = f"int8 {int8 / x.shape[1]:.3f}, float {floating / x.shape[1]:.3f}; untied 9.491, published int8 10.260"
    return Row("ad01_int8_ratio", int8 / floating, "x", "<= 1.01", "", detail)


def error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(y.astype(np.float64) - x).sum(axis=1).mean())
