"""What a bundle holds of its training samples beside the model: tables of codes and of residuals, and their scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tiedae.bundle.bundle import residuals_name, tables_name
from tiedae.bundle.manifest import Manifest, program_sha256
from tiedae.data.dataset import choose
from tiedae.data.noise import Noise, noisy_samples
from tiedae.data.samples import Samples
from tiedae.entropy.class_fitting import fit_classes
from tiedae.entropy.classes import CodeTables
from tiedae.entropy.residual_tables import ResidualTables, fit_tables
from tiedae.entropy.tables import fit, made_for
from tiedae.program.drift import TrainingScores, squared_errors

from .backends import BATCH, ProgramBackend
from .header import SAMPLES_PER_FRAME

TABLE_SAMPLES = 20_000
"""Maximum number of training samples whose codes the frequency tables are fitted to."""
CLASS_SAMPLES = 60_000
"""The same of tables with classes."""
RESIDUAL_SAMPLES = 5_120
"""Maximum number of training samples whose residuals the tables of residuals are fitted to."""
RESIDUAL_VALUES = 1 << 19
"""About the maximum number of their values: some seconds of work."""


@dataclass(frozen=True, eq=False)
class FittedCodec:
    tables: CodeTables
    residuals: ResidualTables
    scores: TrainingScores


def codec_files(manifest: Manifest, fitted: FittedCodec) -> dict[str, bytes]:
    """The tables by file name, of a manifest that does not list them yet."""
    tables = {tables_name(manifest.name): fitted.tables, residuals_name(manifest.name): fitted.residuals}
    program = program_sha256(manifest)
    return {name: made_for(each.to_bytes(), program) for name, each in tables.items()}


def fit_codec(
    backend: ProgramBackend, train: Samples, seed: int, noise: Noise | None = None, *, classes: int = 1
) -> FittedCodec:
    """Tables and scores of an integer program for these training samples, with `noise`; of many, some are drawn by the seed.

    `classes`: of the tables of codes, 1 for none. Raises InputError for more than 256, or than there are training samples.
    """
    tables = fit_code_tables(backend, train, seed, noise, classes=classes)
    reconstructed = ((x, backend.scaled_values(backend.reconstruct(x)[1])) for x in _drawn(train, seed, noise))
    scores = np.concatenate([squared_errors(backend.spec.scaling, x, y).mean(axis=1) for x, y in reconstructed])
    return FittedCodec(tables, _residual_tables(backend, train, seed, noise), TrainingScores.of(scores))


def fit_code_tables(
    backend: ProgramBackend, train: Samples, seed: int, noise: Noise | None = None, *, classes: int = 1
) -> CodeTables:
    """The tables of codes of `fit_codec` alone."""
    drawn = _drawn(train, seed, noise, TABLE_SAMPLES if classes == 1 else CLASS_SAMPLES)
    codes, bits = np.concatenate([backend.encode(x) for x in drawn]), backend.program.quantization("code").bits
    return fit(codes, bits) if classes == 1 else fit_classes(codes, classes, bits, seed)


def training_inputs(backend: ProgramBackend, train: Samples, seed: int, noise: Noise | None = None) -> np.ndarray:
    """The samples that tables are fitted to, as the program's input, uint8 [samples, inputs]."""
    return np.concatenate([backend.input(x) for x in _drawn(train, seed, noise)])


def _drawn(train: Samples, seed: int, noise: Noise | None, count: int = TABLE_SAMPLES) -> Iterator[np.ndarray]:
    """At most `count` training samples in the data's unit of measure, in batches [n, inputs], in order."""
    chosen = choose(train, count, seed)
    for i, part in enumerate(np.array_split(chosen, -(-len(chosen) // BATCH))):
        yield noisy_samples(train.take(part), train, noise, [seed, i])


def _residual_tables(backend: ProgramBackend, train: Samples, seed: int, noise: Noise | None) -> ResidualTables:
    """They are fitted to frames of consecutive training samples, drawn by the seed."""
    train = train.disjoint
    count, spec = len(train), backend.spec
    per_frame = min(SAMPLES_PER_FRAME, count)
    most = min(RESIDUAL_SAMPLES, RESIDUAL_VALUES // spec.inputs) // per_frame
    frames = np.random.default_rng(seed).permutation(count // per_frame)[: max(1, most)]
    chosen = (np.sort(frames)[:, None] * per_frame + np.arange(per_frame)).ravel()
    x = noisy_samples(train.take(chosen), train, noise, [seed])
    y = backend.reconstruct(x)[1]
    return fit_tables(spec, x, backend.bases(y), per_frame)
