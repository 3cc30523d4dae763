"""The payload of a frame within a bound: residuals of a prediction alone, or codes and residuals, whichever is smaller."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ...compress.errors import FormatError
from . import rans
from .residuals import ResidualCoder
from .tables import FrequencyTables

_CODE_BYTES = struct.Struct("<I")


class Mode(IntEnum):
    """What the payload of a frame holds. The values are those of the file."""

    CODES = 0
    PREDICTION = 1
    CODES_AND_RESIDUALS = 2


@dataclass(frozen=True)
class PayloadCoder:
    """Frames of integer samples [samples, inputs] to payloads and back. `codes`: the tables of the code units.

    `prediction` codes without the autoencoder; `residuals`, where there is one, the rest that its reconstruction leaves.
    """

    codes: FrequencyTables
    prediction: ResidualCoder
    residuals: ResidualCoder | None = None

    def encode(
        self,
        frames: Sequence[np.ndarray],
        bound: int,
        codes: Sequence[np.ndarray] | None = None,
        y: Sequence[np.ndarray] | None = None,
    ) -> list[tuple[Mode, bytes]]:
        """The smaller payload of each frame, and its mode; without `codes` all are predictions.

        `codes`: uint8 [samples, units] of each frame. `y`: what they decode to, as the frames. Raises as `ResidualCoder` does.
        """
        found = [(Mode.PREDICTION, payload) for payload in self.prediction.encode(frames, bound)]
        if self.residuals is None or codes is None or y is None:
            return found
        coded, residuals = rans.encode(self.codes, codes), self.residuals.encode(frames, bound, y)
        both = [
            (Mode.CODES_AND_RESIDUALS, _CODE_BYTES.pack(len(code)) + code + rest)
            for code, rest in zip(coded, residuals, strict=True)
        ]
        return [min(pair, key=lambda each: len(each[1])) for pair in zip(found, both, strict=True)]

    def decode(
        self,
        mode: Mode,
        payloads: Sequence[bytes],
        samples: Sequence[int],
        bound: int,
        reconstruct: Callable[[np.ndarray], np.ndarray],
    ) -> list[np.ndarray]:
        """The samples of frames that `encode` wrote in one mode. `reconstruct`: codes, uint8 [n, units], to `y`, [n, inputs].

        Raises FormatError, which names the frame by its place, for a payload that is none, and for another mode.
        """
        if mode is Mode.PREDICTION:
            return self.prediction.decode(payloads, samples, bound)
        if self.residuals is None or mode is not Mode.CODES_AND_RESIDUALS:
            raise FormatError(f"frame 0: got mode {mode.name}, this model has tables for prediction alone")
        split = [_split(payload, i) for i, payload in enumerate(payloads)]
        codes = rans.decode(self.codes, [code for code, _ in split], samples)
        y = np.split(reconstruct(np.concatenate(codes)), np.cumsum(samples)[:-1])
        return self.residuals.decode([rest for _, rest in split], samples, bound, y)


def _split(payload: bytes, frame: int) -> tuple[bytes, bytes]:
    """A payload's codes and residuals."""
    size = _CODE_BYTES.unpack_from(payload)[0] if len(payload) >= _CODE_BYTES.size else len(payload)
    if size > len(payload) - _CODE_BYTES.size:
        raise FormatError(f"frame {frame}: damaged: {len(payload)} bytes cannot hold {size} bytes of codes")
    return payload[_CODE_BYTES.size :][:size], payload[_CODE_BYTES.size + size :]
