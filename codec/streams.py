"""Samples to the bytes of a .tae file and back, in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from tiedae.compress.errors import CheckError, DataError, FormatError, InputError

from .backends import BATCH, PROGRAM, Backend
from .container import (
    LONGEST_HEADER,
    MOST_BYTES,
    NO_INDEX,
    SAMPLES_PER_FRAME,
    Data,
    FileContents,
    FileKind,
    FrameSpan,
    Gap,
    Header,
    is_index,
    listed_frames,
    pack_frame,
    pack_index,
    read,
    read_frame,
    scan,
)
from .frames import FileModel, decode_frames, encode_frames

TOGETHER = 8192
"""Samples whose frames are coded together, at most: enough lanes for full speed. They take `MOST_BYTES` or are one frame."""
CHECKED = 16
"""Samples of a piece whose codes are compared with the program's."""
LISTED = 5
"""Problems that an error lists."""


class Whole(NamedTuple):
    """A file up to its last index: the frames which that lists, and where it ends."""

    frames: tuple[FrameSpan, ...]
    stop: int

    @property
    def last(self) -> tuple[FrameSpan, ...]:
        """The frames that were written last: between the last two indexes."""
        cuts = [i for i, (a, b) in enumerate(pairwise(self.frames), 1) if a.stop != b.offset]
        return self.frames[cuts[-1] if cuts else 0 :]


def last_whole(data: Data, contents: FileContents) -> Whole | None:
    """What is whole of a file that frames may have been appended to; None where no index lists what is before it.

    Behind it lie the frames of an append that was interrupted.
    """
    if contents.indexed:
        return Whole(contents.frames, len(data))
    found = None
    for gap in scan(data, contents.header.size, contents.header):
        if isinstance(gap, Gap) and is_index(data, gap, contents.header):
            listed = listed_frames(data, gap.offset, gap.stop, contents.header)
            found = found if listed is None else Whole(listed, gap.stop)
    return found


class StreamEncoder:
    """Samples in pieces → the bytes of a file in pieces: `push` as often as there are samples, then `finish`.

    `backend` makes the codes. `frame_only`: frames alone, without header and index, such as for radio packets; each is one
    item of what `push` returns, and a `StreamDecoder` of the same model and `samples_per_frame` decodes it. `after`: the whole
    file behind which frames are appended. `written`: frames of these samples that a file holds already, after that.
    """

    def __init__(
        self,
        model: FileModel,
        backend: Backend,
        *,
        samples_per_frame: int = SAMPLES_PER_FRAME,
        kind: FileKind = FileKind.LOSSY,
        bound: float = 0.0,
        frame_only: bool = False,
        after: Whole | None = None,
        written: Sequence[FrameSpan] = (),
    ) -> None:
        self.header = model.header(samples_per_frame, kind, bound)
        self._model, self._backend, self._frame_only = model, backend, frame_only
        exact = replace(model.program, session=None, runtime=PROGRAM, conversion=backend.conversion)
        self._reference = None if backend.runtime == PROGRAM else exact
        before = (*after.frames, Gap(after.stop, after.stop)) if after else ()
        self._entries = _entries((*before, *written), self.header.size)
        self._samples = sum(frame.samples for frame in written)
        self._begun = bool(self._entries) or frame_only
        self._rest = np.empty((0, model.spec.inputs), model.spec.dtype)
        self._codes = np.empty((0, model.tables.units), np.uint8)

    def push(self, x: Any) -> list[bytes]:
        """The bytes that one sample, or a batch [n, *shape] or [n, inputs], completes.

        Raises DataError for samples of another shape or dtype, NaN and infinity; CheckError where the runtime's codes are not
        the program's.
        """
        flat, _ = self._model.spec.flatten(x)
        chunks: list[bytes] = []
        together = _together(self.header)
        for start in range(0, len(flat), together):
            part = np.ascontiguousarray(flat[start : start + together], self._rest.dtype)
            self._model.spec.require_finite(part, self._samples)
            self._rest = np.concatenate([self._rest, part])
            self._codes = np.concatenate([self._codes, self._encoded(part)])
            self._samples += len(part)
            chunks += self._frames(len(self._rest) // self.header.samples_per_frame * self.header.samples_per_frame)
        return chunks

    def whole(self, x: Any) -> bytes:
        """A whole file of these samples."""
        return b"".join([*self.push(x), *self.finish()])

    def finish(self) -> list[bytes]:
        """The rest of the bytes: a last, shorter frame, and the index. DataError where there were no samples."""
        if not self._samples:
            raise DataError("samples: got none, must be one or more")
        chunks = self._frames(len(self._rest))
        return chunks if self._frame_only else [*chunks, pack_index(self.header, self._entries)]

    def _frames(self, samples: int) -> list[bytes]:
        """The frames of the first samples that wait."""
        chunks = [] if self._begun else [self.header.to_bytes()]
        self._begun = True
        if samples:
            cuts = range(self.header.samples_per_frame, samples, self.header.samples_per_frame)
            parts, codes = (np.split(each[:samples], cuts) for each in (self._rest, self._codes))
            self._rest, self._codes = self._rest[samples:], self._codes[samples:]
            payloads = encode_frames(self._model, self.header, parts, codes)
            for part, payload in zip(parts, payloads, strict=True):
                chunks.append(pack_frame(self.header, payload.mode, len(part), payload.data))
                if not self._frame_only:
                    self._entries.append((len(part), len(chunks[-1])))
        return chunks

    def _encoded(self, x: np.ndarray) -> np.ndarray:
        codes = np.concatenate([self._backend.encode(x[start : start + BATCH]) for start in range(0, len(x), BATCH)])
        if self._reference is not None:
            chosen = np.unique(np.linspace(0, len(x) - 1, CHECKED).astype(np.int64))
            right = self._reference.encode(x[chosen])
            differing = np.count_nonzero((codes[chosen] != right).any(axis=1))
            if differing:
                got = f"{differing} of {len(chosen)} samples have other codes than in the program"
                raise CheckError(f"{self._backend.runtime}: {got}; runtime program gives them")
        return codes


class StreamDecoder:
    """The bytes of a file in pieces → samples in pieces: `push` as they come, then `finish`.

    `frame_only`: bytes are whole frames, in any order, some lost, of a `StreamEncoder` of the same model, `samples_per_frame`,
    `kind` and `bound`. A file states those itself.
    """

    def __init__(
        self,
        model: FileModel,
        *,
        samples_per_frame: int = SAMPLES_PER_FRAME,
        kind: FileKind = FileKind.LOSSY,
        bound: float = 0.0,
        frame_only: bool = False,
        source: object = "stream",
    ) -> None:
        self._model, self._source, self._frame_only = model, source, frame_only
        self._header = model.header(samples_per_frame, kind, bound) if frame_only else None
        self._rest = bytearray()
        self._entries: list[tuple[int, int]] = []
        self._ended = False
        self._problems: list[str] = []

    def push(self, data: bytes) -> np.ndarray:
        """The samples of the frames that these bytes complete, [n, *shape] in the data's unit of measure and dtype; n may be 0.

        Raises FormatError for an unusable header or that of another model, and, if `frame_only`, for bytes that are no whole
        frames. Damaged frames of a file are left out, and `finish` names them.
        """
        self._rest += data
        if self._frame_only:
            samples = self._decoded(final=True)
            if self._problems:
                raise FormatError(f"{self._source}: {self._problems.pop()}")
            return samples
        return self._decoded(final=False)

    def finish(self) -> None:
        """End the file. Raises CheckError, with what is wrong, where frames were damaged or lost, or the file is cut off."""
        if self._frame_only:
            return
        self._decoded(final=True)
        if not self._ended:
            self._problems.append(NO_INDEX)
        require_whole(self._problems, self._source)

    def _decoded(self, *, final: bool) -> np.ndarray:
        """The samples of the frames that have arrived whole, whose bytes are then dropped."""
        if self._header is None and (final or len(self._rest) >= LONGEST_HEADER):
            self._header = Header.from_bytes(self._rest, self._source)
            self._model.require(self._header, self._source)
            del self._rest[: self._header.size]
        header = self._header
        if header is None:
            return self._model.spec.shaped(_nothing(self._model), False)
        longest = self._model.longest_payload(header.samples_per_frame)
        found = list(scan(self._rest, 0, header, final=final, longest=longest))
        parts = [_nothing(self._model)]
        for group in _groups(header, [each for each in found if isinstance(each, FrameSpan)]):
            samples, problems = decode_frames(self._model, header, self._rest, group)
            parts += samples
            self._problems += [f"frame of {frame.samples} samples: {text}" for frame, text in problems.items()]
        for each in found:
            self._take(each)
        if found:
            del self._rest[: found[-1].stop]
        return self._model.spec.shaped(np.concatenate(parts), False)

    def _take(self, found: FrameSpan | Gap) -> None:
        """Note a frame or gap: whether it is damaged, and whether the file may end behind it."""
        assert self._header is not None
        size = found.stop - found.offset
        self._ended = False
        if isinstance(found, Gap):
            self._ended = self._rest[found.offset : found.stop] == pack_index(self._header, self._entries)
            if not is_index(self._rest, found, self._header):
                self._problems.append(f"{size} bytes after {sum(n for n, _ in self._entries)} samples hold no whole frame")
        self._entries.append((found.samples if isinstance(found, FrameSpan) else 0, size))


class Reader:
    """A whole file, in memory or mapped: its contents, its samples, any range of them.

    `problems`: the damage found so far. Raises FormatError for an unusable header, that of another model, and a
    file without samples.
    """

    def __init__(self, model: FileModel, data: Data, source: object) -> None:
        self.contents: FileContents = read(data, source)
        self.problems = list(self.contents.problems)
        self._model, self._data, self._source = model, data, source
        model.require(self.contents.header, source)
        if not self.contents.frames:
            require_whole(self.problems, source)
            raise FormatError(f"{source}: holds no samples")

    def samples(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Samples start…stop − 1, without those of damaged frames, in pieces [n, *shape] in the data's dtype, not scaled.

        Raises InputError for a range that the file does not have, CheckError for one of a file whose damage hides which samples
        are where.
        """
        total, whole = self.contents.samples, (start, stop) == (0, None)
        stop = total if stop is None else stop
        if not whole:
            if not self.contents.placed:
                require_whole([*self.problems, "the numbers of the samples behind that are not known"], self._source)
            if not 0 <= start < stop <= total:
                raise InputError(f"{self._source}: samples {start}:{stop}: must be a range in 0:{total}")
        frames = [frame for frame in self.contents.frames if frame.first < stop and frame.first + frame.samples > start]
        return self._decoded(frames, start, stop)

    def require_whole(self) -> None:
        """Raise CheckError, with what is wrong, where frames were damaged or lost, or the file is cut off."""
        require_whole(self.problems, self._source)

    def _decoded(self, frames: Sequence[FrameSpan], start: int, stop: int) -> Iterator[np.ndarray]:
        number = self.contents.frames.index(frames[0])
        for group in _groups(self.contents.header, frames):
            samples, problems = decode_frames(self._model, self.contents.header, self._data, group)
            for i, frame in enumerate(group, number):
                if frame in problems:
                    self.problems.append(f"{frame.text(i)}: {problems[frame]}")
            number += len(group)
            whole = [frame for frame in group if frame not in problems]
            parts = [part[max(0, start - frame.first) : stop - frame.first] for frame, part in zip(whole, samples, strict=True)]
            yield self._model.spec.shaped(np.concatenate([_nothing(self._model), *parts]), False)


def require_whole(problems: Sequence[str], source: object) -> None:
    """Raise CheckError, which starts with `source`, where there are problems."""
    if problems:
        more = f"; {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise CheckError(f"{source}: {'; '.join(problems[:LISTED])}{more}")


def _entries(parts: Iterable[FrameSpan | Gap], at: int) -> list[tuple[int, int]]:
    """What an index lists of parts from an offset on, (samples, bytes): what lies between them has no samples."""
    entries = []
    for part in parts:
        if part.offset > at:
            entries.append((0, part.offset - at))
        if isinstance(part, FrameSpan):
            entries.append((part.samples, part.size))
        at = part.stop
    return entries


def require_frames(data: Data, frames: Iterable[FrameSpan], header: Header, source: object) -> None:
    """Raise CheckError, which starts with `source`, where the checksum of a frame is not that of its bytes."""
    problems = []
    for i, frame in enumerate(frames):
        try:
            read_frame(data, frame, header)
        except FormatError as error:
            problems.append(f"{frame.text(i)}: {error}")
    require_whole(problems, source)


def _together(header: Header) -> int:
    """Samples that are coded together, at most; a frame of more by itself."""
    return min(TOGETHER, header.samples_within(MOST_BYTES))


def _groups(header: Header, frames: Sequence[FrameSpan]) -> Iterator[Sequence[FrameSpan]]:
    """Frames that are decoded together."""
    start = samples = 0
    for i, frame in enumerate(frames):
        if i > start and samples + frame.samples > _together(header):
            yield frames[start:i]
            start, samples = i, 0
        samples += frame.samples
    if frames:
        yield frames[start:]


def _nothing(model: FileModel) -> np.ndarray:
    return np.empty((0, model.spec.inputs), model.spec.dtype)
