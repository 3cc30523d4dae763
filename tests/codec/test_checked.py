"""Codes of a runtime are compared with the program's: 16 samples of a piece, the first and the last among them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import CheckError, InputError
from tiedae.bundle.bundle import Bundle
from tiedae.codec.backends import FileBackend
from tiedae.codec.frames import FileModel
from tiedae.codec.opening import load
from tiedae.codec.streams import StreamEncoder

from ..data.test_windows import codec_of
from ..export.c.stream_library import RECORDS


@dataclasses.dataclass(frozen=True)
class Wrong(FileBackend):
    """The files of a bundle, with another code for one sample of each call."""

    place: int = 0

    def encode(self, x: np.ndarray) -> np.ndarray:
        codes = super().encode(x).copy()
        codes[self.place, 0] ^= 1
        return codes


def wrong(folder: Path, place: int) -> StreamEncoder:
    backend = load(folder).backend
    assert isinstance(backend, FileBackend)
    fields = {field.name: getattr(backend, field.name) for field in dataclasses.fields(backend)}
    return StreamEncoder(FileModel.of(Bundle.open(folder)), Wrong(**fields, place=place))


@pytest.mark.parametrize(
    ("count", "place", "compared"), [(1, 0, 1), (9, 0, 9), (9, 4, 9), (9, 8, 9), (16, 7, 16), (40, 0, 16), (40, 39, 16)]
)
def test_another_code_is_an_error(bundle: Path, samples: np.ndarray, count: int, place: int, compared: int) -> None:
    text = f"1 of {compared} samples have other codes than in the program; runtime program gives them"
    with pytest.raises(CheckError, match=re.escape(text)):
        wrong(bundle, place).push(samples[:count])


@pytest.mark.parametrize("padding", [-1, "window"])
def test_padding_is_less_than_a_window(padding: int | str) -> None:
    codec = codec_of(RECORDS[0].made())
    window = codec.spec.shape[0]
    x, got = np.zeros((2, *codec.spec.shape), codec.spec.dtype), window if padding == "window" else padding
    with pytest.raises(InputError, match=f"^padding: got {got} time steps, must be 0 to {window - 1}, of windows of a record$"):
        codec.encoder().push(x, [(1, got)])  # pyright: ignore[reportArgumentType]
    codec.encoder().push(x, [(1, window - 1)])
