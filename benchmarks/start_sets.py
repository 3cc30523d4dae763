"""The start on data that nobody tuned to: the sets of carry.py and six more, each by `tiedae recipe --data` and `tiedae run`.

Five were named before their first run: the cells of scanpy, leaves of the time-series archive, a pulse of heartpy, and EEG and
motion by person. The sixth are whole photographs, as patches of which no picture is in two splits. Runs are kept as those of
carry.py, which makes the same ones of its sets.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from carry import made, median, name_of
from carry_runs import Job, Outcome
from carry_sets import AEON, ARCHIVE, CACHE, PHOTOS, SETS, C, Content, Member, StrangersSet, problem, write
from PIL import Image
from rows import Row

from tiedae.base.numbers import number
from tiedae.base.records import checked
from tiedae.compress.rate import NOISE_FRACTION
from tiedae.compress.training_start import TrainingStart
from tiedae.report.console import Console

SEEDS = (0, 1, 2)
EEG_PEOPLE = ("00", "01", "03", "04", "06", "07", "09", "10", "12", "13", "15", "16")
MOTION_PEOPLE = tuple(f"s{i:02}" for i in range(1, 11))
EEG_WINDOW, MOTION_WINDOW = 250, 50


def cells(member: Member) -> Content:
    """float32 [700, 765]: what genes express, scaled by the package's authors."""
    with h5py.File(io.BytesIO(member("scanpy/datasets/10x_pbmc68k_reduced.h5ad"))) as file:
        return np.asarray(file["X"])


def leaves(member: Member) -> Content:
    """float64 [442, 427]: outlines of leaves."""
    return problem(member, "OSULeaf")[0][:, 0]


def heart(member: Member) -> Content:
    """int16 [n]: a pulse from a finger, over two hours."""
    _, *rows = csv.reader(io.StringIO(member("heartpy/data/data3.csv").decode()))
    return np.array([row[-1] for row in rows], np.float64).astype(np.int16)


def eeg(member: Member) -> Content:
    """int16 windows of half a second of the first channel, [1488, 250], and whose they are."""
    records = [np.load(io.BytesIO(member(f"sensors/eeg/{person}.npy")))[:, 0] for person in EEG_PEOPLE]
    return by_person([each[: len(each) // EEG_WINDOW * EEG_WINDOW].reshape(-1, EEG_WINDOW) for each in records])


def motion(member: Member) -> Content:
    """float32 windows of a second of the first axis of a wrist's accelerometer, and whose they are."""
    found = []
    for person in MOTION_PEOPLE:
        x = np.load(io.BytesIO(member(f"sensors/imu/{person}/abd-0.0.npy")))[:, 0]
        found.append(x[: len(x) // MOTION_WINDOW * MOTION_WINDOW].reshape(-1, MOTION_WINDOW))
    return by_person(found)


def pictures(member: Member) -> Content:
    """uint8 [1, rows, columns] each: gray values of ten photographs, of which a run cuts patches, no picture in two splits."""
    files = {name: io.BytesIO(member(f"photos/{name}.png")) for name in PHOTOS.split()}
    return {name: np.asarray(Image.open(file).convert("L"))[None] for name, file in files.items()}


def by_person(windows: Sequence[np.ndarray]) -> Content:
    return {"x": np.concatenate(windows), "groups": np.repeat(np.arange(len(windows)), [len(each) for each in windows])}


MORE: Sequence[StrangersSet] = (
    StrangersSet(
        "cells", ".npy", "scanpy==1.11.5", "CC BY 4.0 (10x Genomics), in a package under BSD-3-Clause", "report", (C,), cells
    ),
    StrangersSet("leaves", ".npy", AEON, ARCHIVE, "report", (C,), leaves),
    StrangersSet("heart", ".npy", "heartpy==1.2.7", "MIT", "report", (C,), heart),
    StrangersSet("eeg", ".npz", "", "ODC-By 1.0", "report", (C,), eeg),
    StrangersSet("pictures", "", "", "CC0", "report", (C,), pictures),
    StrangersSet("motion", ".npz", "", "BSD-3-Clause", "report", (C,), motion),
)


def rows(console: Console, *, work: Path = CACHE, workers: int = 2, minutes: float = float("inf")) -> list[Row]:
    """`start_lost` and `pca_lost` of every compression, three seeds; the photographs' error over PCA's at equal bytes."""
    work = work.resolve()
    chosen = [each for each in (*SETS, *MORE) if C in each.tasks]
    files = {each.name: write(each, work / "sets", work / "packages") for each in chosen}
    jobs = [
        Job(each, C, seed, files[each.name], work / "runs" / f"{each.name}-{C}-{seed}") for seed in SEEDS for each in chosen
    ]
    outcomes = made(jobs, workers, minutes, console)
    folders = {name_of(outcome): work / "runs" / f"{outcome.name}-{C}-{outcome.seed}" for outcome in outcomes}
    started = {name: found for name, folder in folders.items() if (found := losses(folder / "run")) is not None}
    lost = [f"{name}: {end:.4g} from {start:.4g}" for name, (start, end) in started.items() if end > start]
    kept = sum(start == end for start, end in started.values())
    worse = sorted({name_of(outcome) for outcome in outcomes if beyond_noise(outcome)})
    left = f", {len(jobs) - len(outcomes)} not made" if len(outcomes) < len(jobs) else ""
    photos = [outcome.pca.ratio for outcome in outcomes if outcome.name == "pictures" and outcome.pca is not None]
    return [
        Row(
            "start_lost",
            len(lost),
            "runs",
            "== 0",
            "",
            "; ".join([f"of {len(started)} that began at PCA, {kept} kept it", *lost]),
        ),
        Row("start_pca_lost", len(worse), "runs", "== 0", "", "; ".join([f"of {len(outcomes)}{left}", *worse])),
        Row("photos_vs_pca", median(photos), "x", "<= 1.01", "<= 0.97", f"seeds: {', '.join(map(number, photos))}"),
    ]


def beyond_noise(outcome: Outcome) -> bool:
    """Whether PCA at equal bytes has the smaller error beyond noise."""
    return outcome.pca is not None and outcome.pca.high < 0


def losses(run: Path) -> tuple[float, float] | None:
    """The validation loss of the start at PCA and of what float training kept; None for others, and without validation."""
    file = next(iter(run.glob("model/train*.json")), None)
    history = [] if file is None else json.loads(file.read_bytes())
    begun = history[0].get("begun") if history else None
    start = None if begun is None else checked(TrainingStart, begun)
    if start is None or start.start != "pca" or start.loss is None:
        return None
    noisy = math.ceil(len(history) * NOISE_FRACTION) if "bits" in history[0] else 0
    after = min(record["validation_loss"] for record in history[min(noisy, len(history) - 1) :])
    return start.loss, start.loss if start.kept else after
