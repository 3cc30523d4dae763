"""Cases of `verdict_wrong` that only fair opponents find: formats of pictures, the RMS of windows, thresholds that flag
nothing, and values that float32 rounds to one. PCA in any scaling is better in tables with one larger column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tiedae.bundle.verdict import Reason

Arrays = Mapping[str, np.ndarray]
STEPS = np.arange(64)
"""Time steps of a window."""


def discs(rng: np.random.Generator) -> Arrays:
    """Sharp discs and boxes at any place on a slope, uint8 [600, 32, 32]: no few components describe them."""
    rows, columns = np.mgrid[:32, :32][:, None]
    x, y, size = (rng.uniform(low, high, (600, 1, 1)) for low, high in ((6, 26), (6, 26), (3, 8)))
    round_ones = np.hypot(rows - y, columns - x) < size
    boxes = np.maximum(abs(rows - y), abs(columns - x)) < size
    shapes = np.where(rng.random((600, 1, 1)) < 0.5, round_ones, boxes)
    slope = 60 + 2 * (rows * rng.uniform(-1, 1, (600, 1, 1)) + columns * rng.uniform(-1, 1, (600, 1, 1)))
    return {"x": np.clip(slope + 120 * shapes, 0, 255).astype(np.uint8)}


def stripes(rng: np.random.Generator) -> Arrays:
    """A sharp edge of any direction through each picture, uint8 [600, 32, 32]."""
    rows, columns = np.mgrid[:32, :32][:, None]
    angle, at = rng.uniform(0, 2 * np.pi, (600, 1, 1)), rng.uniform(-10, 10, (600, 1, 1))
    edge = (rows - 16) * np.sin(angle) + (columns - 16) * np.cos(angle) > at
    return {"x": np.where(edge, *rng.integers(20, 236, (2, 600, 1, 1))).astype(np.uint8)}


def unequal(columns: int, ratio: float, seed: int) -> Any:
    """Rows of a table whose columns depend on each other; one has values `ratio` times as large."""

    def drawn(rng: np.random.Generator) -> Arrays:
        mixing = np.random.default_rng(seed).normal(size=(columns, columns))
        mixing[:, 0] *= ratio
        return {"x": (rng.normal(size=(3_000, columns)) @ mixing).astype(np.float32)}

    return drawn


def outliers(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """One normal sample in 25 lies far off, an anomaly a little: its score is high, and the threshold is above it."""

    def drawn(rng: np.random.Generator) -> Arrays:
        size = int(np.prod(shape))
        label = (rng.random(3_000) < 0.2).astype(int)
        far = (rng.random(3_000) < 0.04) & (label == 0)
        rows = np.tanh(rng.normal(size=(3_000, 3)) @ rng.normal(size=(3, size)))
        noise = rng.normal(size=rows.shape) * np.select([far, label == 1], [1.5, 0.3], 0.1)[:, None]
        values = (rows + noise).reshape(-1, *shape)
        return {"x": (np.clip(128 + 40 * values, 0, 255) if dtype == "uint8" else values).astype(dtype), "label": label}

    return drawn


def windows(kind: str) -> Any:
    """Windows of a record, float32 [3000, 64]: smooth ones of any size, which few units describe badly. An anomaly has a little
    high frequency more (`ripple`, `steps`), or a larger amplitude (`amplitude`)."""

    def drawn(rng: np.random.Generator) -> Arrays:
        label = (rng.random(3_000) < 0.2).astype(int)
        odd = label[:, None]
        if kind == "amplitude":
            phase, pitch = rng.uniform(0, 2 * np.pi, (3_000, 1)), rng.uniform(0.2, 1.5, (3_000, 1))
            return {"x": ((1 + 0.2 * odd) * np.sin(phase + pitch * STEPS)).astype(np.float32), "label": label}
        smooth = np.cumsum(np.cumsum(rng.normal(size=(3_000, 64)), axis=1), axis=1)
        smooth *= rng.uniform(0.1, 2, (3_000, 1)) / np.abs(smooth).max(axis=1, keepdims=True)
        more = (-1.0) ** STEPS if kind == "ripple" else np.sign(rng.normal(size=(3_000, 64)))
        return {"x": (smooth + 0.002 * rng.normal(size=smooth.shape) + 0.01 * odd * more).astype(np.float32), "label": label}

    return drawn


def far_away(columns: int) -> Any:
    """A table of 1e9 and small differences, float64: one number of float32."""

    def drawn(rng: np.random.Generator) -> Arrays:
        return {"x": 1e9 + 0.3 * rng.normal(size=(1_000, 2)) @ rng.normal(size=(2, columns))}

    return drawn


SMALL_NET = [{"units": 32, "activation": "tanh"}, 4]
HELD = {"validation": 0.2, "test": 0.2}
LINEAR = {"output_activation": "linear"}
DETECTS = {"kind": "anomaly", "normal": [0], "quantile": 0.99}
PICTURES, RMS = ("jpeg", "webp", "avif"), ("rms", "rms-differences")
WIDE = [{"units": 256, "activation": "relu"}, 64]


def _table(**tables: Any) -> Mapping[str, Any]:
    return {"data": {**HELD, "kind": "table"}, "model": LINEAR, **tables}


def _windows() -> Mapping[str, Any]:
    return {"data": {**HELD, "kind": "record"}, "model": LINEAR, "task": DETECTS}


OPPONENTS: Mapping[str, tuple[list[Any], int, Mapping[str, Any], Reason, tuple[str, ...], Any]] = {
    "discs at any place": (WIDE, 40, {"data": HELD}, Reason.WORSE, PICTURES, discs),
    "edges of any direction": (WIDE, 40, {"data": HELD}, Reason.WORSE, PICTURES, stripes),
    "a column a hundred times as large": (SMALL_NET, 10, _table(), Reason.WORSE, ("pca",), unequal(8, 100, 1)),
    "a column a thousand times as large": (SMALL_NET, 10, _table(), Reason.WORSE, ("pca",), unequal(8, 1000, 2)),
    "sixteen columns, one larger": (SMALL_NET, 10, _table(), Reason.WORSE, ("pca",), unequal(16, 100, 3)),
    "five columns, one larger": (SMALL_NET, 10, _table(), Reason.WORSE, ("pca",), unequal(5, 50, 4)),
    "a table with outliers": (SMALL_NET, 20, _table(task=DETECTS), Reason.FEW_FLAGGED, (), outliers((16,))),
    "pictures with outliers": (
        SMALL_NET,
        20,
        {"data": HELD, "task": DETECTS},
        Reason.FEW_FLAGGED,
        (),
        outliers((8, 8), "uint8"),
    ),
    "windows with outliers": (SMALL_NET, 20, _windows(), Reason.FEW_FLAGGED, (), outliers((32,))),
    "a ripple": (SMALL_NET, 10, _windows(), Reason.WORSE, RMS, windows("ripple")),
    "steps": (SMALL_NET, 10, _windows(), Reason.WORSE, RMS, windows("steps")),
    "a larger amplitude": (SMALL_NET, 10, _windows(), Reason.WORSE, RMS, windows("amplitude")),
    "six columns of 1e9": (SMALL_NET, 5, _table(), Reason.CONSTANT, (), far_away(6)),
    "twelve columns of 1e9": (SMALL_NET, 5, _table(), Reason.CONSTANT, (), far_away(12)),
}
"""By name: layers, epochs, tables of the recipe, the reason, the baselines of which one has to be named, the data."""
