"""The picture of first-layer kernels in docs/explanation/how-it-works.md: by both starts, before and after training.

TIEDAE_DATA=... python benchmarks/start_kernels.py docs/explanation/start-kernels.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from PIL import Image
from start import EPOCHS, fashion, model_of

from tiedae.compress.float_training import train_float
from tiedae.compress.pca_start import start_at_pca
from tiedae.compress.train import Training
from tiedae.config.config import TrainConfig
from tiedae.config.layer_kinds import LayerConfig
from tiedae.report.console import Console

LAYERS = [LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(64)]
COLUMNS, SIDE, GAP, ZOOM = 16, 28, 2, 2


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("png", type=Path)
    path = parser.parse_args().png
    with Console() as console:
        Image.fromarray(drawn(kernels(console))).save(path, optimize=True)
    return 0


def kernels(console: Console) -> list[np.ndarray]:
    """The first kernel, float32 [784, 512]: random, trained from there, PCA, trained from there."""
    data, found = fashion(validation=0.1), []
    for start in ("random", "pca"):
        model = model_of(LAYERS, "sigmoid", 0)
        if start == "pca":
            start_at_pca(model, data, 0)
        found.append(model.kernels[0].variable.numpy())
        model = model_of(LAYERS, "sigmoid", 0)
        train_float(model, data, Training(replace(TrainConfig(epochs=EPOCHS), start=start), progress=console.progress))
        found.append(model.kernels[0].variable.numpy())
    return found


def drawn(kernels: list[np.ndarray]) -> np.ndarray:
    """uint8 [height, width]: a row of columns as images for each kernel, each from black, its least value, to white."""
    rows = []
    for kernel in kernels:
        tiles = kernel[:, :COLUMNS].T.reshape(COLUMNS, SIDE, SIDE)
        low, high = tiles.min(axis=(1, 2), keepdims=True), tiles.max(axis=(1, 2), keepdims=True)
        grey = np.rint(255 * (tiles - low) / (high - low)).astype(np.uint8)
        padded = np.pad(grey, ((0, 0), (GAP, 0), (GAP, 0)), constant_values=255)
        rows.append(np.concatenate(list(padded), axis=1))
    return np.concatenate(rows).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


if __name__ == "__main__":
    sys.exit(main())
