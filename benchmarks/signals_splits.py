"""Whether two parts of a split share a group or a time step, for every kind of source; a module of `benchmarks/signals.py`."""

from __future__ import annotations

import itertools
import tempfile
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from rows import Row

from tiedae.config.config import DataConfig
from tiedae.data.dataset import Dataset
from tiedae.pipeline.sources import load_dataset

GROUPS, STEPS, WINDOW = 7, 400, 32
"""Machines, time steps of each, time steps of a window."""
SEEDS = range(5)
MACHINES = np.repeat(np.arange(GROUPS), STEPS)
RECORD = np.stack([np.arange(GROUPS * STEPS), np.zeros(GROUPS * STEPS)], 1).astype(np.int32)
"""Two channels, [n, 2]: the first holds the number of its time step, so that any window says what it was cut from."""


def _windows(folder: Path) -> Path:
    cut = RECORD.reshape(-1, 40, 2)
    np.savez(folder / "windows.npz", x=cut, groups=MACHINES[::40])
    return folder / "windows.npz"


def _long(folder: Path) -> Path:
    np.savez(folder / "long.npz", x=RECORD, groups=MACHINES)
    return folder / "long.npz"


def _csv(folder: Path) -> Path:
    lines = [f"{step},{other},{machine}" for (step, other), machine in zip(RECORD, MACHINES, strict=True)]
    (folder / "record.csv").write_text("\n".join(["a,b,machine", *lines]))
    return folder / "record.csv"


def _csv_folder(folder: Path) -> Path:
    (folder / "csv").mkdir()
    for machine in range(GROUPS):
        part = RECORD[np.equal(MACHINES, machine)]
        np.savetxt(folder / "csv" / f"{machine}.csv", part, "%d", ",", header="a,b", comments="")
    return folder / "csv"


def _mixed_folder(folder: Path) -> Path:
    """Files from the middle of a machine to that of the next, which are numbers but for one."""
    (folder / "mixed").mkdir()
    for number, rows in enumerate(np.split(np.arange(len(RECORD)), range(STEPS // 2, len(RECORD), STEPS))):
        names = ["pump" if machine == 3 else str(machine) for machine in MACHINES[rows].tolist()]
        lines = [f"{step},{other},{name}" for (step, other), name in zip(RECORD[rows], names, strict=True)]
        (folder / "mixed" / f"{number}.csv").write_text("\n".join(["a,b,machine", *lines]))
    return folder / "mixed"


def _wav_folder(folder: Path) -> Path:
    (folder / "wav").mkdir()
    for machine in range(GROUPS):
        with wave.open(str(folder / "wav" / f"{machine}.wav"), "wb") as file:
            file.setparams((2, 4, 8000, 0, "NONE", ""))
            file.writeframes(RECORD[np.equal(MACHINES, machine)].astype("<i4").tobytes())
    return folder / "wav"


def _plain(folder: Path) -> Path:
    np.save(folder / "record.npy", RECORD)
    return folder / "record.npy"


SOURCES: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    "windows in .npz": (_windows, "groups"),
    "record in .npz": (_long, "groups"),
    "record in .csv": (_csv, "machine"),
    "folder of .csv": (_csv_folder, "file"),
    "folder of .csv, groups of numbers and text": (_mixed_folder, "machine"),
    "folder of .wav": (_wav_folder, "file"),
    "record in .npy": (_plain, ""),
}
"""What writes a source, and its `groups`."""


def groups_leaked_row() -> Row:
    """Samples that share a group or a time step with another part of their split, over sources, strides and seeds."""
    leaked, cases = {}, 0
    for name, (write, groups) in SOURCES.items():
        with tempfile.TemporaryDirectory() as work:
            source = str(write(Path(work)))
            window = 40 if name.startswith("windows") else WINDOW
            for stride, order, seed in itertools.product((0, window // 4), ("auto", "tail"), SEEDS):
                if stride and name.startswith("windows"):
                    continue
                config = DataConfig(
                    source,
                    kind="record",
                    window=window,
                    stride=stride,
                    groups=groups,
                    split=order,
                    seed=seed,
                    validation=0.2,
                    test=0.2,
                )
                splits = load_dataset(config, "linear")
                leaked[name] = leaked.get(name, 0) + shared(splits, of_groups=bool(groups))
                cases += 1
    found = ", ".join(f"{name}: {count}" for name, count in leaked.items())
    return Row("groups_leaked", sum(leaked.values()), "samples", "== 0", "", f"{cases} splits; {found}")


def shared(splits: Dataset, *, of_groups: bool) -> int:
    """How many samples hold a time step of another part, or are of one of its machines if `of_groups`."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    steps = [part.take(np.arange(len(part))).reshape(len(part), *part.shape)[..., 0].astype(np.int64) for part in parts]
    count = 0
    for own, other in itertools.permutations(steps, 2):
        wrong = np.isin(own, other).any(axis=1)
        if of_groups:
            wrong |= np.isin(MACHINES[own], MACHINES[other]).any(axis=1)
        count += int(wrong.sum())
    return count
