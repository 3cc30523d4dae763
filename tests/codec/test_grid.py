"""Float samples within a bound: the law of the grid, its frames, a golden file, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec.structs import replace

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import decoding_text
from tiedae.codec.container import read, read_frame
from tiedae.codec.frames import MODES, FileModel
from tiedae.codec.header import FileKind
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder
from tiedae.entropy import grid
from tiedae.entropy.residual_tables import ResidualTables, fit_tables

from ..variants import every
from . import reference_file
from .conftest import GOLDEN

FLOATS = ("float16", "float32", "float64")


def values_of(dtype: str, most: float) -> st.SearchStrategy[np.ndarray]:
    width = 8 * np.dtype(dtype).itemsize
    return arrays.arrays(dtype, 5, elements=st.floats(-most, most, width=width))


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, float]:
    dtype = draw(st.sampled_from(FLOATS))
    return draw(values_of(dtype, 60_000.0)), draw(values_of("float64", 60_000.0)), draw(st.floats(1e-6, 1e6))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_a_sample_comes_back_within_the_bound_or_is_refused(case: tuple[np.ndarray, np.ndarray, float]) -> None:
    samples, base, bound = case
    found = grid.steps_of(samples, base, bound)
    farthest = np.abs(samples.astype(np.float64) - base).max()
    if found is None:
        assert farthest > grid.LARGEST * bound or np.spacing(np.abs(samples).max()) > bound / 2
        return
    halvings, steps = found
    back = grid.restored(steps, base, bound, halvings, samples.dtype)
    assert back.dtype == samples.dtype and steps.dtype == np.int16
    assert (np.abs(back.astype(np.float64) - samples) <= bound).all()


def test_a_step_is_halved_where_the_dtype_s_rounding_would_break_the_bound() -> None:
    """Beside 2,000 float16 has steps of one, so a reconstruction 0.7 away is rounded further off."""
    samples, bound = np.array([2001.0], np.float16), 0.8
    halvings, steps = grid.steps_of(samples, np.array([2001.75]), bound) or (0, np.zeros(1))
    assert halvings > 0
    assert grid.restored(steps, np.array([2001.75]), bound, halvings, "float16") == samples
    assert grid.restored(np.zeros(1), np.array([2001.75]), bound, 0, "float16") == np.float16(2002)


@pytest.fixture(scope="module")
def model(coded_runs: Path) -> FileModel:
    """The bundle of a table with golden tables of residuals, which bundles of its time do not have."""
    bundle = coded_runs / "table" / "bundle"
    plain, data = FileModel.of(Bundle.open(bundle)), (GOLDEN / "grid.residuals").read_bytes()
    residuals = ResidualTables.from_bytes(plain.spec, data, "grid.residuals")
    identity = hashlib.sha256(decoding_text(bundle) + plain.tables.to_bytes() + data).digest()[:8]
    return dataclasses.replace(plain, residuals=residuals, identity=identity)


def compressed(model: FileModel, x: np.ndarray, bound: float, samples_per_frame: int = 64) -> bytes:
    encoder = StreamEncoder(model, model.program, samples_per_frame=samples_per_frame, kind=FileKind.BOUNDED, bound=bound)
    return b"".join([*encoder.push(x), *encoder.finish()])


def decompressed(model: FileModel, data: bytes) -> np.ndarray:
    return np.concatenate(list(Reader(model, data, "f.tae").samples()))


def modes(data: bytes) -> list[int]:
    contents = read(data, "f.tae")
    return [read_frame(data, frame, contents.header).mode for frame in contents.frames]


def of_table(coded_runs: Path) -> np.ndarray:
    return np.loadtxt(coded_runs / "table" / "table.csv", delimiter=",", skiprows=1, usecols=range(10))


def golden_samples(model: FileModel, coded_runs: Path) -> np.ndarray:
    """Two frames near what the model can give, and one that it has never seen the like of."""
    rng, x = np.random.default_rng(0), of_table(coded_runs)[-20:]
    near = x
    for _ in range(20):
        near = model.program.bases(model.program.reconstruct(near)[1])
    near = near + rng.normal(0, 0.02, x.shape)
    return np.where(np.arange(20)[:, None] < 16, near, x + 40 * rng.normal(size=x.shape).cumsum(0))


GOLDEN_BOUND = 0.05


def test_the_golden_file_decodes_for_ever(model: FileModel, coded_runs: Path) -> None:
    """Version 1, written on 2026-11-29 with frames of 8. Never write it again."""
    data = (GOLDEN / "grid.tae").read_bytes()
    np.testing.assert_array_equal(decompressed(model, data), np.load(GOLDEN / "grid.npy"))
    x = golden_samples(model, coded_runs)
    assert compressed(model, x, GOLDEN_BOUND, 8) == data
    assert np.abs(np.load(GOLDEN / "grid.npy") - x).max() <= GOLDEN_BOUND
    assert set(modes(data)) == {3, 4}


def test_a_decoder_written_from_the_document_agrees(model: FileModel, coded_runs: Path) -> None:
    manifest = json.loads((coded_runs / "table" / "bundle" / "manifest.json").read_bytes())
    tables, residuals = (coded_runs / "table" / "bundle" / "table.codec").read_bytes(), (GOLDEN / "grid.residuals").read_bytes()

    def reconstruct(codes: list[list[int]]) -> list[list[float]]:
        return model.program.bases(model.program.decode(np.array(codes, np.uint8))).tolist()

    identity = reference_file.identity(manifest, tables + residuals)
    found = reference_file.decode_floats(
        (GOLDEN / "grid.tae").read_bytes(), identity, reference_file.frequencies(tables), residuals, manifest, reconstruct
    )
    np.testing.assert_array_equal(np.array(found), np.load(GOLDEN / "grid.npy"))


@pytest.mark.parametrize(
    ("dtype", "bound", "content"),
    every(5, itertools.product(FLOATS, (4e-3, 0.03, 2.0), ("table", "random", "constant", "extremes"))),
)
def test_bounds_hold(model: FileModel, coded_runs: Path, dtype: str, bound: float, content: str) -> None:
    rng = np.random.default_rng(0)
    x = {
        "table": of_table(coded_runs)[:40],
        "random": rng.normal(0, 10, (40, 10)),
        "constant": np.full((40, 10), 1.25),
        "extremes": np.where(rng.random((40, 10)) < 0.5, -30.0, 30.0),
    }[content].astype(dtype)
    program = dataclasses.replace(model.program, spec=replace(model.spec, dtype=dtype))
    own = dataclasses.replace(model, program=program)
    assert own.residuals is not None
    for mode in own.modes(FileKind.BOUNDED):
        header = own.header(64, FileKind.BOUNDED, bound)
        (payload,) = MODES[mode].encode(own, header, [x], [program.encode(x)])
        if payload is not None:
            (back,) = MODES[mode].decode(own, header, [payload], [len(x)])
            assert back.dtype == dtype
            assert np.abs(back.astype(np.float64) - x.astype(np.float64)).max() <= bound
    back = decompressed(own, compressed(own, x, bound))
    assert np.abs(back.astype(np.float64) - x.astype(np.float64)).max() <= bound


def test_what_cannot_be_promised_is_refused(model: FileModel, coded_runs: Path) -> None:
    x = of_table(coded_runs)[:8]
    with pytest.raises(DataError, match=r"max error 1e-12: too small: a value is more than 32,767 steps of twice that"):
        compressed(model, x, 1e-12)
    for bound in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"bound of a bounded file: got .*, must be finite and above 0"):
            compressed(model, x, bound)
    x[3, 2] = np.nan
    with pytest.raises(DataError, match="value 2 of sample 3 is nan, must be finite"):
        compressed(model, x, 1.0)


def test_damaged_halvings_are_named(model: FileModel, coded_runs: Path) -> None:
    header, x = model.header(64, FileKind.BOUNDED, 0.5), of_table(coded_runs)[:8]
    for mode in model.modes(FileKind.BOUNDED):
        (payload,) = MODES[mode].encode(model, header, [x], [model.program.encode(x)])
        assert payload is not None
        at = 0 if mode == 3 else 4 + int.from_bytes(payload[:4], "little")
        for wrong in (payload[:at], payload[:at] + b"\x21" + payload[at + 1 :]):
            with pytest.raises(FormatError, match="frame 0: damaged: its step is halved more than 32 times"):
                MODES[mode].decode(model, header, [wrong], [8])


def test_tables_are_fitted_to_the_steps(model: FileModel, coded_runs: Path) -> None:
    x = of_table(coded_runs)

    def size(training: np.ndarray) -> int:
        y = model.program.bases(model.program.reconstruct(training)[1])
        own = dataclasses.replace(model, residuals=fit_tables(model.spec, training, y, 64))
        return len(compressed(own, x[300:], 0.1))

    assert size(x[:300]) < 0.9 * size(np.full((300, 10), 4.0))
