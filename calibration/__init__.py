"""Representative data, the observers that watch it, and the ranges that quantization starts from."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .observers import OBSERVERS, MinMax, MovingAverage, Observer
from .representative import Representative, representative

if TYPE_CHECKING:
    from .ranges import calibrate, quantize_post_training

__all__ = [
    "OBSERVERS",
    "MinMax",
    "MovingAverage",
    "Observer",
    "Representative",
    "calibrate",
    "quantize_post_training",
    "representative",
]


def __getattr__(name: str) -> Any:
    if name not in ("calibrate", "quantize_post_training"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(".ranges", __name__), name)
