"""Models whose network copies values: their tables, samples and files."""

from __future__ import annotations

import numpy as np

from tiedae.codec.container import pack_frame, pack_index
from tiedae.codec.frames import FileModel, encode_frames
from tiedae.codec.header import FileKind, Header
from tiedae.config.sample_spec import Kind, SampleSpec
from tiedae.entropy.classes import ClassTables, CodeTables
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.residuals import fit_residuals
from tiedae.entropy.tables import FrequencyTables, fit

from .codec_library import Copying

IDENTITY = b"identity"
SHAPES: dict[Kind, tuple[tuple[int, ...], ...]] = {
    "image": ((3, 4), (2, 3, 2), (5,), (3, 1)),
    "record": ((12,), (4, 3), (2, 5)),
    "table": ((5,),),
}


def random_tables(rng: np.random.Generator, tables: int, bits: int) -> FrequencyTables:
    """Tables with gaps of frequency 0, with one code that is almost certain, with the escape alone."""
    frequencies = np.zeros((tables, (1 << bits) + 1), np.uint16)
    for row in frequencies:
        used = rng.random(len(row) - 1) < rng.choice([0.0, 0.2, 0.9])
        weights = np.append(used * rng.random(len(row) - 1) ** rng.choice([1, 20]), rng.choice([1e-6, 0.3]))
        row[:] = np.maximum(np.floor(weights / weights.sum() * 16000), weights > 0)
        row[row.argmax()] += (1 << 14) - int(row.sum(dtype=np.int64))
    return FrequencyTables(bits, frequencies)


def random_classes(rng: np.random.Generator, units: int, bits: int) -> ClassTables:
    """Few or many tables in the family."""
    count, tables = int(rng.integers(2, 9)), int(rng.choice([1, 3, 16, 17, 40]))
    frequencies = np.append(np.ones(count - 1, np.uint16), np.uint16((1 << 14) - count + 1))
    means, scales = (rng.integers(0, most, (count, units), np.uint8) for most in (1 << bits, tables))
    return ClassTables(random_tables(rng, tables, bits), frequencies, means, scales)


def walk(spec: SampleSpec, samples: int, seed: int) -> np.ndarray:
    """Samples [n, inputs] that change little, with jumps, and some that are random."""
    rng, limits = np.random.default_rng(seed), np.iinfo(spec.dtype)
    changes = rng.integers(-9, 9, (samples, spec.inputs)) + (rng.random((samples, spec.inputs)) < 0.05) * 3000
    slow = (limits.max + limits.min) // 2 + changes.cumsum().reshape(changes.shape)
    values = np.where(np.arange(samples)[:, None] % 7 == 6, rng.integers(limits.min, limits.max, slow.shape), slow)
    return np.clip(values, limits.min, limits.max).astype(spec.dtype)


def coarse(network: Copying, samples: int, seed: int) -> np.ndarray:
    """Samples near those that the network gives of random codes."""
    rng, limits = np.random.default_rng(seed), np.iinfo(network.value)
    y = network.samples(rng.integers(0, 1 << network.bits, (samples, network.units), np.uint8)).astype(np.int64)
    return np.clip(y + rng.integers(0, 3, y.shape), limits.min, limits.max).astype(network.value)


def model_of(spec: SampleSpec, units: int = 4, bits: int = 6, *, classed: bool = False) -> FileModel:
    """A model of a network that copies, with tables for its samples, or random ones with classes."""
    network, training = Copying(spec, units, bits), walk(spec, 60, 1)
    near = coarse(network, 60, 2)
    prediction = fit_residuals(spec.kind, spec.shape, training, 8)
    corrections = fit_residuals(spec.kind, spec.shape, near, 8, network.samples(network.codes(near)))
    tables: CodeTables = fit(network.codes(np.concatenate([training, near])), bits)
    if classed:
        tables = random_classes(np.random.default_rng(0), units, bits)
    return FileModel(network, tables, IDENTITY, ResidualTables(prediction, corrections))  # type: ignore[arg-type]


def file_of(model: FileModel, header: Header, frames: list[np.ndarray], codes: list[np.ndarray]) -> bytes:
    payloads = encode_frames(model, header, frames, codes)
    parts = [pack_frame(header, each.mode, len(frame), each.data) for each, frame in zip(payloads, frames, strict=True)]
    entries = [(len(frame), len(part)) for frame, part in zip(frames, parts, strict=True)]
    return b"".join([header.to_bytes(), *parts, pack_index(header, entries)])


def header_of(model: FileModel, bound: int | None, per_frame: int) -> Header:
    kind = FileKind.LOSSY if bound is None else FileKind.BOUNDED if bound else FileKind.LOSSLESS
    return model.header(per_frame, kind, float(bound or 0))


def kind_of(bound: int | None) -> tuple[str, int]:
    """The kind of a file by its bound, None of lossy ones, and the bound as C takes it."""
    return ("lossy" if bound is None else "bounded" if bound else "lossless"), bound or 0
