"""Files within a bound, of records that nobody tuned the format to: their bytes beside other coders', and the same files in C.

`make bench-carry` runs it. The first half of each record trains the tables, the second half is measured, in frames of 64
windows of 256 values. Bounds are parts of the range of the second half. A network that copies values takes the place of an
autoencoder, so that prediction alone counts. The tables, NAME.residuals, are part of a bundle and not counted, as those of
other formats are part of their programs. The others code the values rounded to 2E + 1:

flac     RFC 9639, level 8, by soundfile, of the rounded values
lzma     `.lzma`, preset 9 extreme, of the differences of the rounded values, and of the residuals below; the smaller one
entropy  of order 0, of the residuals of the previous decoded value, in 2E + 1; its table takes 2 bytes for each residual

The contexts were chosen on the ECG, daphnet and two series that are not here; the other three records are only reported.
"""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from carry_sets import AEON, CACHE, Half, Member, cells, member_of, numbers, problem
from needs import require
from rows import Row

from tiedae.codec.frames import FileModel
from tiedae.codec.reader import Reader
from tiedae.config.sample_spec import SampleSpec
from tiedae.entropy.residual_tables import fit_tables
from tiedae.entropy.tables import fit
from tiedae.report.console import Console

sys.path.append(str(Path(__file__).parent.parent))
from tests.export.c.codec_library import Copying, Library
from tests.export.c.codec_models import file_of as file_within
from tests.export.c.codec_models import header_of

WINDOW = 256
PER_FRAME = 64
PARTS = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Bounds, as parts of the range."""
QUAKE_VALUES = 100_000


@dataclass(frozen=True)
class BoundedRecord:
    """A record: its package, or "" for TIEDAE_DATA; its half; int16 [2, n], what trains and what is measured."""

    name: str
    origin: str
    half: Half
    content: Callable[[Member], np.ndarray]


def ecg(member: Member) -> np.ndarray:
    return np.load(io.BytesIO(member("ecg/mitbih208.npy"))).reshape(2, -1)


def daphnet(member: Member) -> np.ndarray:
    """Nine axes of accelerometers, one after the other, in thousandths of g."""
    _, *rows = cells(member("aeon/datasets/data/Daphnet_S06R02E0/S06R02E0.csv"))
    return numbers([row[1:10] for row in rows]).reshape(2, -1, 9).swapaxes(1, 2).reshape(2, -1)


def pulse(member: Member) -> np.ndarray:
    """Light through a finger."""
    _, *rows = cells(member("heartpy/data/data3.csv"))
    return halves(numbers([row[1:] for row in rows]).ravel())


def motions(member: Member) -> np.ndarray:
    """A watch's accelerometer and gyroscope, series after series of 100 values, in steps of 1/500."""
    series, _ = problem(member, "BasicMotions")
    return np.rint(500 * series).reshape(2, -1)


def quake(member: Member) -> np.ndarray:
    """The vertical axis of a seismometer."""
    text = gzip.decompress(member("obspy/signal/tests/data/BW.KW1._.EHZ.D.2011.090_downsampled.asc.gz"))
    return halves(np.array(text.split()[:QUAKE_VALUES], np.float64))


def halves(values: np.ndarray) -> np.ndarray:
    return values[: len(values) // 2 * 2].reshape(2, -1)


RECORDS = (
    BoundedRecord("ecg", "", "choice", ecg),
    BoundedRecord("daphnet", AEON, "choice", daphnet),
    BoundedRecord("pulse", "heartpy==1.2.7", "report", pulse),
    BoundedRecord("motions", AEON, "report", motions),
    BoundedRecord("quake", "obspy==1.5.1", "report", quake),
)


@dataclass(frozen=True)
class BoundedFile:
    """Bytes of a file within a bound, and of others by name; whether C writes and reads the same."""

    record: BoundedRecord
    values: int
    part: float
    bound: int
    size: int
    others: dict[str, int]
    same_in_c: bool

    @property
    def ratio(self) -> float:
        return self.size / min(self.others.values())


def rows(console: Console) -> Sequence[Row]:
    require(data=("ecg",), packages=("soundfile",))
    files: list[BoundedFile] = []
    for record in RECORDS:
        console.note(f"bounded files: {record.name}")
        files += files_of(record, member_of(record.origin, CACHE / "packages"))
    worst = max(files, key=lambda file: file.ratio)
    titles = ("record", "half", "values", "bound", "our bytes", "bit a value", *worst.others, "ours / best")
    console.table("Bounded files", titles, [texts(file) for file in files])
    detail = f"{worst.record.name} at {worst.part:.1%} of its range, ± {worst.bound}: {worst.size:,} bytes"
    different = sum(not file.same_in_c for file in files)
    return [
        Row("bounded_worst", worst.ratio, "", "<= 1.00", "<= 0.85", detail),
        Row("bounded_c_different", different, "files", "== 0", "", f"of {len(files)}, written and read"),
    ]


def texts(file: BoundedFile) -> tuple[str, ...]:
    others = (f"{size:,}" for size in file.others.values())
    bits = f"{8 * file.size / file.values:.3f}"
    head = (file.record.name, file.record.half, f"{file.values:,}", f"± {file.bound} ({file.part:.1%})", f"{file.size:,}", bits)
    return (*head, *others, f"{file.ratio:.3f}")


def files_of(record: BoundedRecord, member: Member) -> list[BoundedFile]:
    """A file of the second half of a record within each bound. AssertionError where a value is beyond it."""
    found = record.content(member)
    training, x = (half[: len(half) // WINDOW * WINDOW].reshape(-1, WINDOW).astype(np.int16) for half in found)
    assert np.abs(found).max() <= np.iinfo(np.int16).max
    spec = SampleSpec((WINDOW,), "int16", kind="record")
    network = Copying(spec, 4, 6)
    codes = network.codes(training)
    residuals = fit_tables(spec, training, network.samples(codes), PER_FRAME)
    model = FileModel(network, fit(codes, 6), b"bounded.", residuals)  # type: ignore[arg-type]
    span = int(x.max()) - int(x.min())
    with tempfile.TemporaryDirectory() as folder:
        library = Library(network, model.coding, Path(folder) / "c", "-O2")  # type: ignore[arg-type]
        return [file_of(record, model, library, x, part, max(1, round(part * span))) for part in PARTS]


def file_of(record: BoundedRecord, model: FileModel, library: Library, x: np.ndarray, part: float, bound: int) -> BoundedFile:
    network: Copying = library.network  # type: ignore[assignment]
    frames = np.split(x, range(PER_FRAME, len(x), PER_FRAME))
    data = file_within(model, header_of(model, bound, PER_FRAME), frames, [network.codes(frame) for frame in frames])
    back = np.concatenate(list(Reader(model, data, record.name).samples()))
    assert np.abs(back.astype(int) - x).max() <= bound, f"{record.name}: a value is more than {bound} away"
    read = library.read(data)
    written = library.write_file(library.header("bounded", bound, PER_FRAME), frames, 4 * PER_FRAME * WINDOW)
    same = written == data and not read.problems and bool((read.samples == back).all())
    return BoundedFile(record, x.size, part, bound, len(data), others_of(x.ravel().astype(np.int64), bound), same)


def others_of(x: np.ndarray, bound: int) -> dict[str, int]:
    """Bytes of other coders for values within a bound."""
    quantum = 2 * bound + 1
    rounded, residuals = (x + bound) // quantum, held(x, bound)
    counts = np.unique(residuals, return_counts=True)[1]
    entropy = -(counts * np.log2(counts / len(x))).sum() / 8 + 2 * len(counts)
    lengths = [packed(values) for values in (np.diff(rounded, prepend=0), residuals)]
    return {"flac": flac(rounded), "lzma": min(lengths), "entropy": round(entropy)}


def held(x: np.ndarray, bound: int) -> np.ndarray:
    """Residuals of the previous decoded value, in 2E + 1."""
    last, residuals = 0, np.empty_like(x)
    for i, value in enumerate(x.tolist()):
        residuals[i] = (value - last + bound) // (2 * bound + 1)
        last += int(residuals[i]) * (2 * bound + 1)
    return residuals


def packed(values: np.ndarray) -> int:
    small = values.astype(next(dtype for dtype in (np.int8, np.int16, np.int32) if np.abs(values).max() <= np.iinfo(dtype).max))
    return len(lzma.compress(small.tobytes(), lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME))


def flac(values: np.ndarray) -> int:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, values.astype(np.int16), 8000, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return len(file.getvalue())
