"""An untied 784-256-32 of Keras 3, trained on the pictures of x.npy: python imports_tie_train.py FOLDER SEED.

It writes untied.keras after 15 epochs and, trained 15 epochs longer, longer.keras.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

EPOCHS, BATCH, RATE = 15, 64, 1e-3


def main(folder: Path, seed: int) -> None:
    """Train, and write both models."""
    keras.utils.set_random_seed(seed)
    x = np.load(folder / "x.npy").reshape(-1, 784).astype("float32") / 255
    dense = keras.layers.Dense
    layers = [dense(256, "relu"), dense(32), dense(256, "relu"), dense(784, "sigmoid")]
    model = keras.Sequential([keras.Input((784,)), *layers])
    for name in ("untied", "longer"):
        schedule = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(x) // BATCH))
        adam: Any = keras.optimizers.Adam(schedule)  # pyright: ignore[reportArgumentType]  # Keras takes schedules
        model.compile(adam, "mse", jit_compile=False)  # pyright: ignore[reportArgumentType]  # and False
        model.fit(x, x, batch_size=BATCH, epochs=EPOCHS, verbose=0)  # pyright: ignore[reportArgumentType]  # Keras takes 0
        model.save(folder / f"{name}.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
