"""What programs of `stream_drivers` have to write: results of windows, and .tae files of samples and of records, by Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tiedae.codec.detector import integer_errors
from tiedae.codec.header import FileKind
from tiedae.codec.streams import StreamEncoder
from tiedae.data.windows import Stream, Windows

from ..export.c.models import CASES, Made, samples_of
from ..export.c.stream_library import RECORDS, cut

MODELS = {case.name: case for case in (*CASES, *RECORDS[1:])}
"""Bytes as images, int16 and floats as windows of one and of several channels, and as a table."""
RECORD_MODELS = ("record", "axes", "floats")
PIECES = (1, 2, 40, 0, 500)
FRAMES = (1, 3, 64)


class Expected(NamedTuple):
    """A line for a program, the file that it writes, and what has to be in it."""

    line: str
    path: Path
    right: bytes


def kinds_of(made: Made) -> list[tuple[FileKind, int]]:
    exact = [(FileKind.BOUNDED, 2), (FileKind.LOSSLESS, 0)] if made.model.residuals is not None else []
    return [(FileKind.LOSSY, 0), *exact]


def encoder_of(made: Made, kind: FileKind, bound: int, most: int, **options: object) -> StreamEncoder:
    fixed = {"samples_per_frame": most, "kind": kind, "bound": float(bound)}
    return StreamEncoder(made.model, made.model.program, **fixed, **options)


def record_of(made: Made, steps: int) -> np.ndarray:
    """[steps, …] of the data's dtype."""
    spec = made.model.spec
    return samples_of(spec, steps // spec.window + 1).reshape(-1, *spec.shape[1:])[:steps]


def words(sizes: Sequence[int], each: int) -> str:
    return " ".join(str(size * each) for size in sizes)


def sample_files(made: Made, folder: Path) -> list[Expected]:
    """Each kind of file in frames of each size, pushed in pieces, flushed, and closed."""
    x, inputs = samples_of(made.model.spec, 70), made.model.spec.inputs
    x.tofile(folder / "x")
    found = []
    for kind, bound in kinds_of(made):
        for most in FRAMES:
            path = folder / f"{kind:d}-{most}.tae"
            line = f"write {path} {kind:d} {bound} {most} {folder / 'x'} {words(PIECES, inputs)} flush close"
            found.append(Expected(line, path, encoder_of(made, kind, bound, most).whole(x)))
    return found


def record_files(made: Made, folder: Path) -> list[Expected]:
    """Two records, of which one ends in a whole window, and one that `close` ends."""
    spec, each = made.model.spec, made.model.spec.inputs // made.model.spec.window
    sizes = (4 * spec.window, 2 * spec.window + 1, spec.window + 2)
    steps = record_of(made, sum(sizes))
    steps.tofile(folder / "steps")
    pushed = f"{words((3, sizes[0] - 3), each)} end {words((sizes[1],), each)} end {words((sizes[2],), each)} close"
    found = []
    for kind, bound in kinds_of(made):
        for most in FRAMES:
            path, encoder, chunks = folder / f"record-{kind:d}-{most}.tae", encoder_of(made, kind, bound, most), []
            for record in np.split(steps, np.cumsum(sizes)[:-1]):
                windows = Windows.of(record, spec)
                chunks += encoder.push(windows[:], windows.ends)
            line = f"write {path} {kind:d} {bound} {most} {folder / 'steps'} {pushed}"
            found.append(Expected(line, path, b"".join([*chunks, *encoder.finish()])))
    return found


def window_results(made: Made, folder: Path) -> list[Expected]:
    """Each result of windows, whatever the pieces, for each hop."""
    spec, backend, scoring = made.model.spec, made.model.program, made.detector.scoring
    steps, each = record_of(made, 4 * spec.window + 3), spec.inputs // spec.window
    steps.tofile(folder / "record")

    def totals(x: np.ndarray) -> np.ndarray:
        return scoring.totals(integer_errors(scoring, backend, x)[0])

    def frames(x: np.ndarray) -> np.ndarray:
        return np.frombuffer(b"".join(encoder_of(made, FileKind.LOSSY, 0, 1, frame_only=True).push(x)), np.uint8)

    results = {
        "code": backend.encode,
        "reconstruction": lambda x: backend.samples(backend.reconstruct(x)[1]),
        "score": lambda x: totals(x) * scoring.factor,
        "anomaly": lambda x: totals(x) > made.detector.thresholds.fused,
        "frame": frames,
    }
    found = []
    for name, function in results.items():
        for hop in (1, 2, spec.window):
            for sizes in ((1,) * 40, (7, 90, 0, 40), (spec.window,) * 5):
                stream, path = Stream(spec, hop, function), folder / f"{name}-{len(found)}"
                right = np.concatenate([stream.push(piece) for piece in cut(steps, sizes)])
                line = f"stream {name} {hop} {folder / 'record'} {path} {words(sizes, each)} 99999"
                found.append(Expected(line, path, right.tobytes()))
    return found
