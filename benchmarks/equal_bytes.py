"""The row `same_bits_error`: PCA's error between two files around our bytes against that of a real file of our bytes.

The recipes are those of `jobs_verdict` whose task is compression: what ships, and tables, pictures and records drawn there. Our
bytes are those of a file of PCA itself at each rate of `RATES`, so that nothing has to be trained. The real file has the same
components, and a step that is bisected until its bytes are as near to ours as they come, 0.5 % at most.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jobs_verdict import CASES, Case
from rows import Row

from tiedae.config.tasks import Compression
from tiedae.data.dataset import Dataset
from tiedae.pipeline.recipe import parse_recipe
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console
from tiedae.tasks.compression import HELD_SAMPLES, LEAST_SAMPLES, MAX_INPUTS, MAX_SAMPLES, TRAINING_SAMPLES
from tiedae.tasks.equal_bytes import CodedFile
from tiedae.tasks.pca_files import PcaFiles, fair_pca
from tiedae.tasks.sample_errors import SampleError

RATES: Mapping[str, float] = {"low": 0.25, "middle": 1.0, "high": 3.0}
"""Bits of a component of the training samples' spectrum, of as many as a tenth of the values."""
NEAR = 0.005
"""The real file has our bytes but for this fraction."""


def splits_of(case: Case, folder: Path) -> Dataset:
    """The samples of a case, as its run splits them."""
    folder.mkdir(parents=True)
    if case.arrays is not None:
        np.savez(folder / "drawn.npz", **dict(case.arrays(np.random.default_rng(0))))  # pyright: ignore[reportArgumentType]
    return recipe_data(parse_recipe(dict(case.recipe), "case"), folder)


def is_compression(case: Case) -> bool:
    return isinstance(parse_recipe(dict(case.recipe), "case").task, Compression)


def real_file(pca: PcaFiles, x: np.ndarray, units: int, step: float, size: int) -> CodedFile:
    """The file of `units` components whose bytes are nearest to `size`, by bisection of the step around `step`."""
    finest, coarsest, best = step / 4, 4 * step, None
    for _ in range(30):
        middle = float(np.sqrt(finest * coarsest))
        file = pca.file(pca.choice.coder(units, middle), x)
        best = file if best is None or abs(file.size - size) < abs(best.size - size) else best
        finest, coarsest = (middle, coarsest) if file.size > size else (finest, middle)
        if best.size == size:
            break
    assert best is not None
    return best


def differences(data: Dataset, seed: int) -> Iterator[tuple[float, str]]:
    """The relative difference of both errors at each rate, and what was compared; none where no two files lie around ours."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.train))
    held = min(HELD_SAMPLES, len(order) // 5)
    train = data.train.take(np.sort(order[held:][:TRAINING_SAMPLES]))
    chosen, x = data.train.take(np.sort(order[:held])), data.test.take(np.arange(min(len(data.test), MAX_SAMPLES)))
    if data.spec.inputs > MAX_INPUTS or len(train) < LEAST_SAMPLES:
        return
    for name, rate in RATES.items():
        bits = rate * max(4.0, 0.1 * data.spec.inputs)
        pca = fair_pca(data.spec, train, chosen, bits, SampleError.of(data.spec.kind, x))
        start = pca.coder(bits)
        if start is None:
            continue
        size = round(pca.file(start, x).size * 1.013)  # between two of its files, not at one
        found = pca.around(x, bits, size)
        if found is None or found.problem:
            continue
        setting = found.files[0].setting
        real = real_file(pca, x, int(setting.split()[0]), float(setting.split()[3].rstrip(",")), size)
        if abs(real.size / size - 1) <= NEAR and real.error > 0:
            text = f"{name}: {size:,} B, real file {real.size:,} B, {setting}"
            yield abs(float(found.errors().mean()) / real.error - 1), text


def equal_bytes_rows(console: Console) -> Sequence[Row]:
    worst, where, count = 0.0, "", 0
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, case) in enumerate(CASES.items()):
            if not is_compression(case):
                continue
            for difference, text in differences(splits_of(case, Path(folder) / str(i)), i):
                console.note(f"{name}, {text}: {difference:.5f}")
                count += 1
                if difference >= worst:
                    worst, where = difference, f"{name}, {text}"
    return [Row("same_bits_error", worst, "", "<= 0.01", "<= 0.002", f"{count} pairs of files; the largest: {where}")]
