"""The row `sources_wrong`: sources whose kind, label, time, groups and channels are known, and what `tiedae recipe` proposes.

All values are real: files of TIEDAE_DATA and of packages, as they are or in another layout that users have; of some the rows
are shuffled, which makes a table of a record. Packages are read as archives, as carry_sets.py does.
"""

from __future__ import annotations

import io
import os
import tempfile
import tomllib
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from carry_sets import AEON, CACHE, SETS, SKLEARN, STATSMODELS, Content, Table, cells, encoded, member_of
from carry_sets import write as write_set
from rows import Row

from tiedae.base.errors import DataError, TiedaeError
from tiedae.data.data_sets import VARIABLE
from tiedae.pipeline.recipe import parse_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.pipeline.suggesting import Wish, suggest
from tiedae.report.console import Console

SEED = 0
HEARTPY = "heartpy==1.2.7"


@dataclass(frozen=True)
class Proposal:
    """What a source is: the kind of its samples, the names of label and time, groups, and the channels of a record."""

    kind: str
    label: str = ""
    time: str = ""
    groups: str = ""
    channels: int = 1


@dataclass(frozen=True)
class Source:
    """A source by the `name` of its file or folder, what writes it at a path, and what it is."""

    name: str
    write: Callable[[Path], None]
    right: Proposal


RECORD, TABLE, IMAGE = Proposal("record"), Proposal("table"), Proposal("image")
MOTION = Proposal("record", channels=3)


def shared(name: str) -> Path:
    if VARIABLE not in os.environ:
        raise DataError(f"{VARIABLE} is not set, must be the folder of the data sets")
    return Path(os.environ[VARIABLE]) / name


def linked(name: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(shared(name))


def of_set(name: str) -> Callable[[Path], None]:
    """A set of carry_sets.py."""
    (chosen,) = (each for each in SETS if each.name == name)
    return lambda path: path.symlink_to(write_set(chosen, (CACHE / "sources").resolve(), CACHE))


def of_package(origin: str, name: str) -> Callable[[Path], None]:
    return lambda path: _write(path, member_of(origin, CACHE)(name))


def made(content: Callable[[], Content]) -> Callable[[Path], None]:
    return lambda path: _write(path, content())


def _write(path: Path, content: Content) -> None:
    path.write_bytes(encoded(content))


def shuffled(content: Callable[[], Content]) -> Callable[[Path], None]:
    """The rows of an array, or of a table, in another order."""

    def write(path: Path) -> None:
        values = content()
        assert isinstance(values, np.ndarray | Table)
        rng = np.random.default_rng(SEED)
        if isinstance(values, np.ndarray):
            _write(path, values[rng.permutation(len(values))])
        else:
            _write(path, Table(values.header, [values.rows[i] for i in rng.permutation(len(values.rows)).tolist()]))

    return write


def array(name: str) -> np.ndarray:
    return np.load(shared(name))


def table(origin: str, name: str) -> Table:
    header, *rows = cells(member_of(origin, CACHE)(name))
    return Table(header, rows)


def motion() -> np.ndarray:
    """float32 [n, 6]: accelerometer and gyroscope of a wrist, the exercises of three people one after the other, at 50 Hz."""
    files = [file for person in ("s01", "s02", "s03") for file in sorted(shared(f"sensors/imu/{person}").glob("*.npy"))]
    return np.concatenate([np.load(file) for file in files])


def accelerometer() -> np.ndarray:
    """int16 [44800, 3], in thousandths of g."""
    return np.rint(1000 * motion()[:44_800, :3]).astype(np.int16)


def windows() -> np.ndarray:
    return accelerometer().reshape(700, 64, 3)


def steps_shuffled() -> np.ndarray:
    """Windows whose time steps are shuffled: both axes are in no order."""
    return windows()[:, np.random.default_rng(SEED).permutation(64)]


def clocked(name: str, times: Callable[[int], object], mark: str = "") -> Table:
    """The accelerometer with a column of times, and a mark of 0 and 1: the second person's exercises."""
    values = motion()[:30_000, :3]
    marks = [[int(10_000 <= i < 14_000)] for i in range(len(values))] if mark else [[]] * len(values)
    rows = [[times(i), *row, *marks[i]] for i, row in enumerate(values.tolist())]
    return Table([name, "ax", "ay", "az", *([mark] if mark else [])], rows)


def date(i: int) -> str:
    return (datetime(2026, 11, 2, 8, tzinfo=UTC) + timedelta(seconds=i / 50)).isoformat()


def tumours() -> Table:
    """The breast-cancer set with its label as 0 and 1."""
    (_, _, *_), *rows = cells(member_of(SKLEARN, CACHE)("sklearn/datasets/data/breast_cancer.csv"))
    return Table([*(f"v{i}" for i in range(30)), "is_malignant"], [[*row[:-1], 1 - int(row[-1])] for row in rows])


def recordings(suffix: str) -> Callable[[Path], None]:
    """A folder of five people's accelerometers or leads of an ECG, a file each."""

    def write(path: Path) -> None:
        path.mkdir()
        for file in sorted(shared("sensors/ecg").glob("*.npy"))[:5]:
            values = np.load(file, mmap_mode="r")[:20_000]
            text = "mlii,v5\n" + "".join(f"{a},{b}\n" for a, b in values.tolist())
            content = wav(values) if suffix == ".wav" else text.encode()
            (path / f"{file.stem}{suffix}").write_bytes(content)

    return write


def wav(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(values.shape[1])
        out.setsampwidth(2)
        out.setframerate(360)
        out.writeframes(values.astype("<i2").tobytes())
    return file.getvalue()


def beside_labels() -> Content:
    return {"x": windows(), "labels": np.repeat(["first", "second"], 350)}


def files(channels: int) -> Proposal:
    return Proposal("record", groups="file", channels=channels)


KDD = "aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16"
DAPHNET = "aeon/datasets/data/Daphnet_S06R02E0/S06R02E0.csv"
STARS, PANEL = "statsmodels/datasets/star98/star98.csv", "statsmodels/datasets/randhie/randhie.csv"
SOURCES: Sequence[Source] = (
    Source("ecg.npy", linked("ecg/mitbih208.npy"), RECORD),
    Source("leads.npy", linked("sensors/ecg/101.npy"), Proposal("record", channels=2)),
    Source("brain.npy", linked("sensors/eeg/00.npy"), Proposal("record", channels=19)),
    Source("wrist.npy", linked("sensors/imu/s01/abd-0.0.npy"), Proposal("record", channels=6)),
    Source("person", linked("sensors/imu/s01"), files(6)),
    Source("people", linked("sensors/imu"), files(6)),
    Source("brains", linked("sensors/eeg"), files(19)),
    Source("sounds", recordings(".wav"), files(2)),
    Source("texts", recordings(".csv"), files(2)),
    Source("lead.wav", made(lambda: wav(array("sensors/ecg/101.npy")[:60_000])), Proposal("record", channels=2)),
    Source("channels.npy", made(accelerometer), MOTION),
    Source("windows.npy", made(windows), MOTION),
    Source("flattened.npy", made(lambda: windows().reshape(700, 192)), MOTION),
    Source("labelled.npz", made(beside_labels), MOTION),
    Source(
        "clock.csv", made(lambda: clocked("time_s", lambda i: f"{i / 50:.2f}")), Proposal("record", time="time_s", channels=3)
    ),
    Source("dates.csv", made(lambda: clocked("Date Time", date)), Proposal("record", time="Date Time", channels=3)),
    Source(
        "marked.csv",
        made(lambda: clocked("timestamp_ms", lambda i: 20 * i, "fault")),
        Proposal("record", "fault", "timestamp_ms", channels=3),
    ),
    Source("tumours.csv", made(tumours), Proposal("table", "is_malignant")),
    Source("bleeding.csv", of_package(AEON, f"{KDD}_TRAIN.csv"), Proposal("record", "is_anomaly", "timestamp")),
    Source("bleeding_test.csv", of_package(AEON, f"{KDD}_TEST.csv"), Proposal("record", "is_anomaly", "timestamp")),
    Source("pulse.csv", of_package(HEARTPY, "heartpy/data/data2.csv"), Proposal("record", time="timer")),
    Source("worn.csv", of_package(HEARTPY, "heartpy/data/data3.csv"), RECORD),
    Source("finger.csv", of_package(HEARTPY, "heartpy/data/data.csv"), RECORD),
    Source("wine.csv", of_set("wine"), Proposal("table", "class")),
    Source("breast_cancer.csv", of_set("breast_cancer"), Proposal("table", "class")),
    Source("affairs.csv", of_set("affairs"), TABLE),
    Source("insurance.csv", of_set("insurance"), TABLE),
    Source("schools.csv", of_package(STATSMODELS, STARS), TABLE),
    Source("daphnet.csv", of_set("daphnet"), Proposal("record", channels=9)),
    Source("digits.npz", of_set("digits"), IMAGE),
    Source("hubble.npy", of_set("hubble"), IMAGE),
    Source("fashion-images-idx3-ubyte.gz", of_set("fashion"), IMAGE),
    Source("faces.npz", of_set("faces"), IMAGE),
    Source("textures", of_set("textures"), IMAGE),
    Source("italy.npz", of_set("italy"), RECORD),
    Source("motions.npz", of_set("motions"), RECORD),
    Source("shuffled_leads.npy", shuffled(lambda: array("sensors/ecg/101.npy")[:100_000]), TABLE),
    Source("shuffled_brain.npy", shuffled(lambda: array("sensors/eeg/00.npy")), TABLE),
    Source("shuffled_wrist.npy", shuffled(motion), TABLE),
    Source("shuffled_channels.npy", shuffled(accelerometer), TABLE),
    Source("shuffled_clock.csv", shuffled(lambda: clocked("time_s", lambda i: f"{i / 50:.2f}")), TABLE),
    Source("shuffled_daphnet.csv", shuffled(lambda: table(AEON, DAPHNET)), Proposal("table", "is_anomaly")),
    Source("shuffled_insurance.csv", shuffled(lambda: table(STATSMODELS, PANEL)), TABLE),
    Source("shuffled_schools.csv", shuffled(lambda: table(STATSMODELS, STARS)), TABLE),
    Source("shuffled_windows.npy", shuffled(windows), MOTION),
    Source("shuffled_steps.npy", made(steps_shuffled), IMAGE),
    Source("shuffled_flattened.npy", shuffled(lambda: windows().reshape(700, 192)), MOTION),
)


def proposal(source: Source, folder: Path) -> Proposal:
    """What `tiedae recipe` proposes for a source, as a run of the recipe takes it."""
    source.write(folder / source.name)
    suggestion = suggest(Wish.of(source.name), base=folder, to=folder)
    data = parse_recipe(tomllib.loads(suggestion.text), "x").data
    splits = load_dataset(data, "linear", base=folder)
    return Proposal(splits.kind, splits.label or "", data.time, data.groups, splits.spec.channels)


def rows(console: Console) -> Sequence[Row]:
    """The sources of which a key is proposed wrongly."""
    wrong = []
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                got: object = proposal(source, Path(folder))
            except TiedaeError as error:
                got = error
        if got != source.right:
            wrong.append(source.name)
            console.say(f"{source.name}: {got}, must be {source.right}")
    many = sum(source.name.startswith("shuffled_") for source in SOURCES)
    return [Row("sources_wrong", len(wrong), "", "== 0", detail=f"of {len(SOURCES)} sources, {many} shuffled")]
