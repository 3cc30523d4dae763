"""How the test error of the int8 files is held to Keras float's; each task names its row, or none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tiedae.compress.config import VerifyConfig


@dataclass(frozen=True)
class ErrorLimit:
    """`lost(error, reference)`: what squared errors say of the loss, positive for a worse file. `text`: its format.

    `most`: the limit of [verify] on it. `unit`: behind the limit.
    """

    lost: Callable[[float, float], float]
    text: str
    most: Callable[[VerifyConfig], float]
    unit: str = ""


def _fraction(error: float, reference: float) -> float:
    return error / reference - 1 if reference > 0 else float(error > 0)


def _decibels(error: float, reference: float) -> float:
    """PSNR lost; an exact reference loses all of it."""
    if error <= 0 or reference <= 0:
        return 0.0 if error <= reference else math.inf
    return 10 * math.log10(error / reference)


FRACTION = ErrorLimit(_fraction, "{:+.2%}", lambda limits: limits.max_quality_loss)
DECIBELS = ErrorLimit(_decibels, "{:.2f} dB of PSNR lost", lambda limits: limits.max_decibels_lost, " dB")
