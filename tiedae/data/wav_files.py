"""Sound and vibration: .wav files of integers, by the standard library."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError, FormatError
from tiedae.base.files import open_regular

from .arrays import Arrays

DTYPES = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}
"""Of samples of so many bytes; those of 3 bytes become int32."""


def read_wav(path: Path) -> Arrays:
    """A record [n] or [n, channels] of uint8, int16 or int32, and its rate in Hz.

    Raises DataError for samples that are no integers, FormatError for a file that is damaged or none of this kind.
    """
    try:
        with open_regular(path) as raw, wave.open(raw) as file:
            channels, width, rate, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            needed, size = count * channels * width, os.fstat(raw.fileno()).st_size
            if needed > size:
                raise FormatError(f"{path}: is of {size:,} bytes, must have {needed:,} of samples; damaged")
            data = file.readframes(count)
    except wave.Error as error:
        if "65534" in str(error) or "extended" in str(error):
            raise DataError(
                f"{path}: is in the extensible format, must be plain PCM of 8, 16, 24 or 32 bits; convert it"
            ) from None
        if "unknown format" in str(error):
            raise DataError(f"{path}: holds samples of an {error}, must be PCM of 8, 16, 24 or 32 bits; convert it") from None
        raise FormatError(f"{path}: is damaged or not a .wav file ({error})") from None
    except (EOFError, RuntimeError):  # the second of a part that is longer than the file
        raise FormatError(f"{path}: is damaged or not a .wav file (it ends too early)") from None
    if width not in DTYPES:
        raise DataError(f"{path}: holds samples of {8 * width} bits, must be of 8, 16, 24 or 32")
    if len(data) != needed:
        raise FormatError(f"{path}: holds {len(data):,} bytes of samples, must be {needed:,}; damaged")
    if width == 3:
        wide = np.zeros((count * channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = wide.view(DTYPES[width])[:, 0] >> 8
    else:
        values = np.frombuffer(data, DTYPES[width])
    return Arrays(values if channels == 1 else values.reshape(count, channels), rate=float(rate))
