"""Representative data, observers, calibration and post-training quantization.

Names are imported on first use: observers and calibration files need no TensorFlow, calibrating a model does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .calibration_file import Calibration, read_calibration, write_calibration
from .histogram import Grid, Histogram
from .observers import OBSERVERS, Entropy, MeanSquared, MinMax, MovingAverage, Percentile, PerUnit
from .representative import Representative, representative

if TYPE_CHECKING:
    from .post_training import quantize_post_training
    from .ranges import calibrate

__all__ = [
    "OBSERVERS",
    "Calibration",
    "Entropy",
    "Grid",
    "Histogram",
    "MeanSquared",
    "MinMax",
    "MovingAverage",
    "PerUnit",
    "Percentile",
    "Representative",
    "calibrate",
    "quantize_post_training",
    "read_calibration",
    "representative",
    "write_calibration",
]

_LAZY = {"calibrate": "ranges", "quantize_post_training": "post_training"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
