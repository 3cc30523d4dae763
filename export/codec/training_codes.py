"""What a bundle holds of its training samples beside the model: tables of codes and of residuals, and their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compress.data import Samples, choose
from ...compress.sample_spec import SampleSpec
from ..bundle import residuals_name, tables_name
from ..drift import TrainingScores, squared_errors
from ..file_io import FileIO
from ..program import Program
from .backends import BATCH, ProgramBackend
from .container import SAMPLES_PER_FRAME
from .residual_tables import INTEGERS, ResidualTables, fit_tables
from .tables import FrequencyTables, fit

TABLE_SAMPLES = 20_000
"""Maximum number of training samples whose codes the frequency tables are fitted to."""
RESIDUAL_SAMPLES = 5_120
"""Maximum number of training samples whose residuals the tables of residuals are fitted to."""
RESIDUAL_VALUES = 1 << 19
"""About the maximum number of their values: some seconds of work."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """`codes`: uint8 [samples, units], what the tables are fitted to. `residuals`: of integer data, else None."""

    codes: np.ndarray
    tables: FrequencyTables
    residuals: ResidualTables | None
    scores: TrainingScores


def codec_files(name: str, fitted: Fitted) -> dict[str, bytes]:
    """The tables by file name, of a model of this name."""
    files = {tables_name(name): fitted.tables.to_bytes()}
    return files if fitted.residuals is None else files | {residuals_name(name): fitted.residuals.to_bytes()}


def fit_codec(program: Program, train: Samples, spec: SampleSpec, io: FileIO, seed: int) -> Fitted:
    """Tables and scores of an integer program for these training samples, of which some are drawn by the seed."""
    codes, scores = training_codes(program, train, spec, io, seed)
    residuals = _residual_tables(program, train, spec, io, seed) if spec.dtype in INTEGERS else None
    return Fitted(codes, fit(codes, program.quantization("code").bits), residuals, TrainingScores.of(scores))


def training_codes(
    program: Program, train: Samples, spec: SampleSpec, io: FileIO, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The program's codes of training samples, uint8 [samples, units], and their scores, float64 [samples], in order.

    At most `TABLE_SAMPLES`, drawn by the seed.
    """
    chosen, backend = choose(train, TABLE_SAMPLES, seed), ProgramBackend(program, spec, io)
    codes, scores = [], []
    for part in np.array_split(chosen, -(-len(chosen) // BATCH)):
        x = train.take(part)
        code, y = backend.reconstruct(x)
        codes.append(code)
        scores.append(squared_errors(spec.scaling, x, backend.model_units(y)).mean(axis=1))
    return np.concatenate(codes), np.concatenate(scores)


def _residual_tables(program: Program, train: Samples, spec: SampleSpec, io: FileIO, seed: int) -> ResidualTables:
    """They are fitted to frames of consecutive training samples, drawn by the seed."""
    count = len(train)
    per_frame = min(SAMPLES_PER_FRAME, count)
    most = min(RESIDUAL_SAMPLES, RESIDUAL_VALUES // spec.inputs) // per_frame
    frames = np.random.default_rng(seed).permutation(count // per_frame)[: max(1, most)]
    chosen = (np.sort(frames)[:, None] * per_frame + np.arange(per_frame)).ravel()
    x, backend = train.take(chosen).reshape(len(chosen), -1), ProgramBackend(program, spec, io)
    y = backend.samples(backend.reconstruct(x)[1])
    return fit_tables(spec, x, y, per_frame)
