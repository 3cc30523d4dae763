"""`.tae` files from a source of samples, and back to .npy, in pieces; interrupted work can go on."""

from __future__ import annotations

import bisect
import contextlib
import math
import mmap
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from tiedae.base.errors import CheckError, FormatError, InputError, TiedaeError
from tiedae.base.files import atomic, held, open_regular, own, place, require_replaceable, write_atomic
from tiedae.base.npy import npy_header
from tiedae.base.records import Record
from tiedae.bundle.fidelity import Fidelity, fit_text
from tiedae.bundle.results import Fit
from tiedae.codec.codec import Codec
from tiedae.codec.container import End, FrameSpan, Gap, read, read_frame, scan
from tiedae.codec.frames import MODES, FileModel
from tiedae.codec.header import SUFFIX, VERSION, Data, FileKind, Header, promise
from tiedae.codec.opening import bundle_of, open_bundle
from tiedae.codec.reader import LISTED, Reader, last_whole, last_written, require_frames, require_whole
from tiedae.codec.streams import StreamEncoder
from tiedae.data.windows import PicturePatches, Windows
from tiedae.pipeline.run_artifacts import load_test
from tiedae.program.drift import Drift, squared_errors
from tiedae.report.console import Progress

from .coding import named, opened, pieces, steps
from .picture_quality import quality_of

MEASURED_SAMPLES = 4096
"""Samples, spread evenly, whose quality and drift are measured."""


NO_RECORD = "no end of a record was found, so windows are written, of which the last of a record may be padded"


class Compressed(Record, frozen=True):
    """A file that was written: its samples and bytes, bytes of a sample before, bits per value after, and the quality.

    `sample_bytes`: in the source, whose integers may be narrower than the dtype that they are decoded to.
    `bound`: the largest error of a value, of bounded files; 0 of others. `quality`: of `measured` samples, spread evenly,
    against the given ones, or as `against` says where those are noisy; None where the bundle does not say what kind of data it
    has, and of files that are not lossy. `drift`: of the same samples; None where the bundle has no scores of training samples.
    `appended_to`: samples that the file held before; the others and the bytes are those that were added. `time_steps`: of
    records, whose last windows may be padded; 0 of other samples. `pictures`: whose patches the samples are, with
    `bits_per_pixel`; 0 of other samples.
    """

    samples: int
    sample_bytes: int
    bytes: int
    ratio: float
    bits_per_value: float
    runtime: str
    kind: str
    bound: float
    quality: Fit | None
    measured: int
    drift: Drift | None
    appended_to: int = 0
    against: Literal["", "noisy input", "clean samples"] = ""
    time_steps: int = 0
    pictures: int = 0
    bits_per_pixel: float = 0.0


class Decompressed(Record, frozen=True):
    """The samples, time steps of records, or pictures that were written (the others are 0), bytes of a sample, and what is
    damaged."""

    samples: int
    time_steps: int
    sample_bytes: int
    problems: tuple[str, ...]
    pictures: int = 0


class Info(Record, frozen=True):
    """A file without its model: header, frames by mode, damage, and the ratio to its samples as they are decoded.

    `classed`: whether each sample has a class. `records`: those, or pictures, that end in the file;
    `ratio` counts the padding of their last windows or patches.
    """

    version: int
    kind: str
    bound: float
    classed: bool
    identity: str
    samples: int
    records: int
    samples_per_frame: int
    frames: dict[str, int]
    sample_bytes: int
    bytes: int
    ratio: float
    problems: tuple[str, ...]


def encode(
    path: Path,
    source: str,
    out: Path,
    *,
    runtime: str,
    samples_per_frame: int | None,
    max_error: float | None,
    lossless: bool,
    append: bool,
    resume: bool,
    replace: bool,
    progress: Progress,
) -> Compressed:
    """Write a source as a .tae file, first to OUT.part, which stays where the work is interrupted; `resume` continues it.

    `append` writes behind a file that is there, see `_append`.

    Raises what `StreamEncoder.push` raises; InputError where OUT.part is there, or is that of other work.
    """
    codec, samples = opened(path, source, runtime)
    work = _Encoding(codec, samples, source, steps(progress, "encode"))
    kind, bound = promise(max_error, lossless)
    if append and out.exists():
        wanted = None if kind is FileKind.LOSSY else (kind, bound)
        return _append(work, out, samples_per_frame, wanted, resume=resume, drop=replace)
    require_replaceable(out)
    header = codec.file_model.header(codec.samples_per_frame if samples_per_frame is None else samples_per_frame, kind, bound)
    part = out.with_name(f"{out.name}.part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with held(out) if out.exists() else contextlib.nullcontext(), own(part) as file:
        try:
            if out.exists() and not replace:  # since another process has written it meanwhile
                raise InputError(f"{out}: is there already, must be a new file; --force replaces it")
            if part.stat().st_size > header.size and not (resume or replace):
                raise InputError(f"{part}: is there, from interrupted work; --resume continues it, --force starts again")
            written = work.written(part, header) if resume else ()
            encoder = work.encoder(header, written=written)
            file.truncate(file.seek(written[-1].stop if written else 0))
            size = work.encode_rest(file, encoder, written)
        except TiedaeError:
            if file.seek(0, os.SEEK_END) <= header.size:
                part.unlink()
            raise
        place(part, Path(os.path.realpath(out)), replace=replace and not append)
    return _compressed(codec, header, samples, size)


@dataclass(frozen=True)
class _Encoding:
    """The samples of a source and the codec that encodes them; `report` is called with those that are done, and all."""

    codec: Codec
    samples: Windows
    source: str
    report: Callable[[int, int], None]

    def encoder(self, header: Header, **options: Any) -> StreamEncoder:
        promised = {"samples_per_frame": header.samples_per_frame, "kind": header.kind, "bound": header.bound}
        return StreamEncoder(self.codec.file_model, self.codec.backend, **promised, **options)

    def encode_rest(self, file: FileIO, encoder: StreamEncoder, written: Sequence[FrameSpan | End]) -> int:
        """Write what is behind those of `written`, and the index; the size of the file."""
        first, ended = _done(written)
        ends = self.samples.ends[ended:]
        if ends and ends[0][0] == first:
            _write(file, encoder.end_record(ends[0][1]))
        stops = [stop for stop, _ in ends]
        for start, piece in pieces(self.samples, self.report, first):
            own = ends[bisect.bisect_right(stops, start) : bisect.bisect_right(stops, start + len(piece))]
            placed = [(stop - start, padding) for stop, padding in own]
            _write(file, named(self.source, 0, lambda piece=piece, placed=placed: encoder.push(piece, placed)))
        _write(file, encoder.finish())
        os.fsync(file.fileno())
        return file.tell()

    def written(self, part: Path, header: Header) -> Sequence[FrameSpan | End]:
        """The start of an interrupted file that stays; InputError for those of other data or another model."""
        if not part.exists() or part.stat().st_size < header.size:
            return ()
        with mapped(part) as data:
            if Header.from_bytes(data, part) != header:
                raise InputError(f"{part}: was begun with another model, bound, or other frames; --force starts again")
            return self.start_of(data, header.size, header, part, "starts again")

    def start_of(self, data: Data, offset: int, header: Header, path: Path, forced: str) -> Sequence[FrameSpan | End]:
        """What holds the start of the samples, from an offset on; InputError where it is of other data."""
        kept: list[FrameSpan | End] = []
        for found, right in zip(scan(data, offset, header), self._layout(header.samples_per_frame), strict=False):
            if isinstance(found, Gap) or _layout_of(found) != right:
                break
            kept.append(found)
        if not self.is_held(data, kept, header):
            raise InputError(f"{path}: holds frames of other data; --force {forced}")
        return kept

    def is_all(self, data: Data, parts: Sequence[FrameSpan | End], header: Header) -> bool:
        """Whether parts of a file are all of the samples."""
        first = next((part.first for part in parts if isinstance(part, FrameSpan)), 0)
        placed = [part._replace(first=part.first - first) if isinstance(part, FrameSpan) else part for part in parts]
        layout = self._layout(header.samples_per_frame)
        return [*map(_layout_of, parts)] == [*layout] and self.is_held(data, placed, header)

    def _layout(self, per_frame: int) -> Iterator[tuple[type, int]]:
        """What a file of the samples consists of, as `_layout_of` says."""
        for first, stop, padding in self.samples.parts():
            for start in range(first, stop, per_frame):
                yield FrameSpan, min(per_frame, stop - start)
            if padding is not None:
                yield End, padding

    def is_held(self, data: Data, parts: Sequence[FrameSpan | End], header: Header) -> bool:
        """Whether the first and the last frame are these samples, encoded."""
        frames = [part for part in parts if isinstance(part, FrameSpan)]
        for frame in {*frames[:1], *frames[-1:]}:
            encoder = self.encoder(header, frame_only=True)
            again = [*encoder.push(self.samples[frame.first : frame.first + frame.samples]), *encoder.finish()]
            if b"".join(again) != data[frame.offset : frame.stop]:
                return False
        return True


def _layout_of(part: FrameSpan | End) -> tuple[type, int]:
    """A frame and its samples, or an end and its padding."""
    return (FrameSpan, part.samples) if isinstance(part, FrameSpan) else (End, part.padding)


def _done(written: Sequence[FrameSpan | End]) -> tuple[int, int]:
    """The samples and the ends that are written."""
    samples = [part.samples for part in written if isinstance(part, FrameSpan)]
    return sum(samples), len(written) - len(samples)


def _append(
    work: _Encoding,
    out: Path,
    samples_per_frame: int | None,
    promised: tuple[FileKind, float] | None,
    *,
    resume: bool,
    drop: bool,
) -> Compressed:
    """Write samples behind a whole file, in place: frames, then an index of all. An error leaves the file as it was.

    An interruption leaves the old samples, and whole frames of the new ones behind the old index. `resume` continues it, `drop`
    drops them first. Raises FormatError for a file of another model, InputError for one of another promise or frames than were
    asked for, of unfinished work, and, if `resume`, one that ends in these samples; CheckError for one that is damaged.
    """
    with held(out) as file:
        with mapped(out) as data:
            size, contents = len(data), read(data, out)
            header = contents.header
            work.codec.file_model.require(header, out)
            is_other = promised not in (None, (header.kind, header.bound))
            if is_other or samples_per_frame not in (None, header.samples_per_frame):
                kind = f"{header.kind.name.lower()}{f' by {header.bound:g}' if header.bound else ''}"
                right = f"in frames of {header.samples_per_frame} samples; --append cannot change that"
                raise InputError(f"{out}: is {kind}, {right}")
            whole = last_whole(data, contents)
            if whole is None:
                raise CheckError(f"{out}: {'; '.join(contents.problems[:LISTED])}; nothing is appended")
            require_whole(whole.problems, out)
            require_frames(data, whole.frames, header, out)
            if not (contents.indexed or resume or drop):
                what = "an append that was interrupted; --resume continues it with the same data, --force drops its samples"
                raise InputError(f"{out}: holds {what}")
            if resume and contents.indexed and work.is_all(data, last_written(contents), header):
                raise InputError(f"{out}: ends in these samples already; leave --resume out to append them once more")
            written = work.start_of(data, whole.stop, header, out, "drops them") if resume else ()
        encoder = work.encoder(header, after=whole, written=written)
        if file.seek(0, os.SEEK_END) != size:
            raise InputError(f"{out}: has changed meanwhile; nothing is appended")
        file.truncate(file.seek(written[-1].stop if written else whole.stop))
        try:
            size = work.encode_rest(file, encoder, written)
        except TiedaeError:
            file.truncate(whole.stop)
            raise
    before = sum(frame.samples for frame in whole.frames)
    compressed = _compressed(work.codec, header, work.samples, size - whole.stop)
    return msgspec.structs.replace(compressed, appended_to=before)


def encode_test(out: Path) -> tuple[Compressed, Path]:
    """Write OUT/test.tae: the test samples of a run's own data, in its bundle's codec."""
    bundle = bundle_of(out)
    test, _ = load_test(bundle.path, bundle.manifest, bundle.manifest.recipe.data.source)
    samples, wanted = (each.values if each.rows is None else each.values[each.rows] for each in (test, test.wanted))
    codec, path = open_bundle(bundle), out / f"test{SUFFIX}"
    data = codec.compress(samples)
    write_atomic(path, data, follow=False)
    return _compressed(codec, codec.file_model.header(codec.samples_per_frame), Windows(samples), len(data), wanted), path


def _compressed(codec: Codec, header: Header, samples: Windows, size: int, wanted: np.ndarray | None = None) -> Compressed:
    """The report of a written file of `size` bytes; `wanted`: what the quality is against, by default the samples."""
    assert codec.bundle is not None
    manifest, program, spec = codec.bundle.manifest, codec.file_model.program, codec.spec
    whole = samples.whole if len(samples.whole) else samples[:]  # of a record shorter than a window, as the file holds it
    chosen = np.unique(np.linspace(0, len(whole) - 1, MEASURED_SAMPLES).astype(np.int64))
    x = spec.flatten(whole[chosen])[0]
    y = program.scaled_values(program.decode(codec.encode(x)))
    clean = x if wanted is None else spec.flatten(wanted[chosen])[0]
    quality = quality_of(Fidelity.of_data(manifest.data), samples, chosen, clean, y) if header.kind is FileKind.LOSSY else None
    errors, training = squared_errors(spec.scaling, x, y).mean(axis=1), manifest.scores
    values = samples.values
    return Compressed(
        samples=len(samples),
        sample_bytes=whole.itemsize * spec.inputs,
        bytes=size,
        ratio=values * whole.itemsize / size,
        bits_per_value=8 * size / values,
        runtime=codec.runtime,
        kind=header.kind.name.lower(),
        bound=header.bound,
        quality=quality,
        measured=len(x),
        drift=None if training is None else Drift.of(errors, training),
        against=("noisy input" if wanted is None else "clean samples") if manifest.recipe.is_noisy else "",
        time_steps=values // math.prod(spec.shape[1:]) if samples.rests else 0,
        pictures=len(samples.sizes) if isinstance(samples, PicturePatches) else 0,
        bits_per_pixel=8 * size / samples.pixels if isinstance(samples, PicturePatches) else 0.0,
    )


def quality_text(done: Compressed) -> str:
    """`PSNR 23.4 dB, MSE 297.2 against the clean samples`; empty without quality."""
    return fit_text(done.quality) + (f" against the {done.against}" if done.quality and done.against else "")


def _write(file: FileIO, chunks: Sequence[bytes]) -> None:
    data = b"".join(chunks)
    while data:
        data = data[file.write(data) :]


def decode(
    path: Path, source: Path, out: Path, *, start: int, stop: int | None, windows: bool, replace: bool, progress: Progress
) -> Decompressed:
    """Write samples start…stop − 1 of a .tae file as .npy, without those of damaged frames, in the data's dtype.

    Of records their time steps, [n] or [n, channels], unless `windows`; else samples, [n, *shape].

    Raises what `Reader` and `Reader.samples` raise; CheckError, and writes nothing, where no frame is whole.
    """
    model = FileModel.of(bundle_of(path))
    with mapped(source) as data:
        reader = Reader(model, data, source)
        as_record = reader.is_of_records and not windows
        shape, read_parts = (model.spec.shape[1:], reader.time_steps) if as_record else (model.spec.shape, reader.samples)
        of_sample = model.spec.shape[0] if as_record else 1
        count, total = 0, (reader.contents.samples if stop is None else stop) - start
        parts, report = read_parts(start, stop), steps(progress, "decode")
        with atomic(out, replace=replace) as file:
            file.write(npy_header(model.spec.dtype, (total * of_sample, *shape)))
            for part in parts:
                file.write(part.tobytes())
                count += len(part)
                report(min(total, -(-count // of_sample)), total)
            if not count:
                reader.require_whole()
            file.seek(0)
            file.write(npy_header(model.spec.dtype, (count, *shape)))
        samples, time_steps = (0, count) if as_record else (count, 0)
        if reader.problems and model.spec.kind == "record" and not (as_record or windows):
            reader.problems.append(NO_RECORD)
        return Decompressed(samples, time_steps, reader.contents.header.sample_bytes, tuple(reader.problems))


def inspect(path: Path) -> Info:
    """What a .tae file says without its model; each frame's checksum is checked. FormatError for an unusable header."""
    with mapped(path) as data:
        contents = read(data, path)
        problems, modes = list(contents.problems), Counter[str]()
        for i, frame in enumerate(contents.frames):
            try:
                mode = read_frame(data, frame, contents.header).mode
                modes[MODES[mode].name if mode in MODES else f"mode {mode}"] += 1
            except FormatError as error:
                problems.append(f"{frame.text(i)}: {error}")
        header, size = contents.header, len(data)
    return Info(
        version=VERSION,
        kind=header.kind.name.lower(),
        bound=header.bound,
        classed=header.classed,
        identity=header.identity.hex(),
        samples=contents.samples,
        records=len(contents.ends),
        samples_per_frame=header.samples_per_frame,
        frames=dict(modes),
        sample_bytes=header.sample_bytes,
        bytes=size,
        ratio=contents.samples * header.sample_bytes / size,
        problems=tuple(problems),
    )


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[Data]:
    """The bytes of a file, not read until they are used."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
