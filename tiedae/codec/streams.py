"""Samples to the bytes of a .tae file and back, in pieces of any size."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tiedae.base.errors import CheckError, DataError, FormatError, InputError
from tiedae.data.windows import problem_of_end

from .backends import BATCH, PROGRAM, Backend
from .container import NO_INDEX, End, FrameSpan, Gap, index_entries, is_index, pack_end, pack_frame, pack_index, scan
from .frames import FileModel, decode_frames, encode_frames
from .header import LONGEST_HEADER, SAMPLES_PER_FRAME, FileKind, Header
from .reader import Whole, groups, nothing, require_whole, together

CHECKED = 16
"""Samples of a piece whose codes are compared with the program's."""


class StreamEncoder:
    """Samples in pieces → the bytes of a file in pieces: `push` as often as there are samples, then `finish`.

    `backend` makes the codes. `frame_only`: frames alone, without header and index, such as for radio packets; each is one
    item of what `push` returns, and a `StreamDecoder` of the same model and `samples_per_frame` decodes it. `after`: the whole
    file behind which frames are appended. `written`: what a file holds of these samples already, after that.
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
        written: Sequence[FrameSpan | End] = (),
    ) -> None:
        self.header = model.header(samples_per_frame, kind, bound)
        self._model, self._backend, self._frame_only = model, backend, frame_only
        exact = replace(model.program, session=None, runtime=PROGRAM, conversion=backend.conversion)
        self._reference = None if backend.runtime == PROGRAM else exact
        before = (*after.frames, Gap(after.stop, after.stop)) if after else ()
        self._entries = _entries((*before, *written), self.header.size)
        self._samples = sum(part.samples for part in written if isinstance(part, FrameSpan))
        self._is_in_record = isinstance(written[-1] if written else None, FrameSpan)
        self._begun = bool(self._entries) or frame_only
        self._rest = np.empty((0, model.spec.inputs), model.spec.dtype)
        self._codes = np.empty((0, model.tables.units), np.uint8)

    def push(self, x: Any, ends: Sequence[tuple[int, int]] = ()) -> list[bytes]:
        """The bytes that one sample, or a batch [n, *shape] or [n, inputs], completes.

        `ends`: of each record that ends in these samples, how many of them are before its end, and the padding of its last
        window in time steps; in their order. A frame holds samples of one record. Of pictures: `PictureSize.number` of each.

        Raises DataError for samples of another shape or dtype, NaN and infinity; CheckError where the runtime's codes are not
        the program's; InputError for a record without a window, and a padding that is not 0 to less than the window.
        """
        flat, _ = self._model.spec.flatten(x)
        self._require_ends(ends, len(flat))
        chunks = self._frames([(len(self._rest), padding) for stop, padding in ends if stop == 0])
        most = together(self.header)
        for start in range(0, len(flat), most):
            part = np.ascontiguousarray(flat[start : start + most], self._rest.dtype)
            self._model.spec.require_finite(part, self._samples)
            waiting = len(self._rest) - start
            self._rest = np.concatenate([self._rest, part])
            self._codes = np.concatenate([self._codes, self._encoded(part)])
            self._samples += len(part)
            chunks += self._frames([(waiting + stop, padding) for stop, padding in ends if start < stop <= start + len(part)])
        if ends or len(flat):
            self._is_in_record = not ends or ends[-1][0] < len(flat)
        return chunks

    def end_record(self, padding: int = 0) -> list[bytes]:
        """The bytes that end a record: its last frame, and the end. `padding`: time steps of its last window that are not its.

        Raises InputError as `push`.
        """
        return self.push(np.empty((0, self._model.spec.inputs), self._rest.dtype), [(0, padding)])

    def whole(self, x: Any) -> bytes:
        """A whole file of these samples."""
        return b"".join([*self.push(x), *self.finish()])

    def finish(self) -> list[bytes]:
        """The rest of the bytes: a last, shorter frame, and the index. DataError where there were no samples."""
        if not self._samples:
            raise DataError("samples: got none, must be one or more")
        chunks = self._frames([(len(self._rest), None)] if len(self._rest) else [])
        return chunks if self._frame_only else [*chunks, pack_index(self.header, self._entries)]

    def _require_ends(self, ends: Sequence[tuple[int, int]], samples: int) -> None:
        window, last = self._model.spec.window, -1 if self._is_in_record else 0
        for stop, padding in ends:
            if not last < stop <= samples:
                raise InputError(f"record: ends behind {stop} of {samples} samples, must have one or more, and end in them")
            if self._model.spec.is_patch:
                if problem := problem_of_end(self._model.spec, operator.index(padding)):
                    raise InputError(problem)
            elif self._model.spec.kind != "record" or operator.index(padding) not in range(window):
                raise InputError(f"padding: got {padding} time steps, must be 0 to {window - 1}, of windows of a record")
            last = stop

    def _frames(self, ends: Sequence[tuple[int, int | None]]) -> list[bytes]:
        """The bytes of the samples that wait up to each of `ends`, (samples, padding or None), and of full frames behind."""
        chunks = [] if self._begun else [self.header.to_bytes()]
        self._begun = True
        stops, at, per_frame = [], 0, self.header.samples_per_frame
        for stop, _ in ends:
            stops += [*range(at + per_frame, stop, per_frame), *[stop] * (stop > at)]
            at = stop
        stops += range(at + per_frame, len(self._rest) + 1, per_frame)
        paddings = {stop: padding for stop, padding in ends if padding is not None}
        if 0 in paddings:
            chunks.append(self._end(paddings[0]))
        if stops:
            parts, codes = (np.split(each[: stops[-1]], stops[:-1]) for each in (self._rest, self._codes))
            self._rest, self._codes = self._rest[stops[-1] :], self._codes[stops[-1] :]
            payloads = encode_frames(self._model, self.header, parts, codes)
            for stop, part, payload in zip(stops, parts, payloads, strict=True):
                chunks.append(pack_frame(self.header, payload.mode, len(part), payload.data))
                if not self._frame_only:
                    self._entries.append((len(part), len(chunks[-1])))
                if stop in paddings:
                    chunks.append(self._end(paddings[stop]))
        return chunks

    def _end(self, padding: int) -> bytes:
        end = pack_end(self.header, padding)
        if not self._frame_only:
            self._entries.append((0, len(end)))
        return end

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
    """The bytes of a file in pieces → samples in pieces: `push` as they come, then `finish`. Of records, windows.

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
        self._ended = self._behind = False
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
            return self._model.spec.shaped(nothing(self._model), False)
        longest = self._model.longest_payload(header.samples_per_frame)
        found = list(scan(self._rest, 0, header, final=final, longest=longest, behind=self._behind))
        parts = [nothing(self._model)]
        for group in groups(header, [each for each in found if isinstance(each, FrameSpan)]):
            samples, problems = decode_frames(self._model, header, self._rest, group)
            parts += samples
            self._problems += [f"frame of {frame.samples} samples: {text}" for frame, text in problems.items()]
        for each in found:
            self._take(each)
        if found:
            del self._rest[: found[-1].stop]
        return self._model.spec.shaped(np.concatenate(parts), False)

    def _take(self, found: FrameSpan | End | Gap) -> None:
        """Note what was found: whether it is damaged, and whether the file may end behind it."""
        assert self._header is not None
        self._behind, self._ended = isinstance(found, FrameSpan), False
        if isinstance(found, Gap) and is_index(self._rest, found, self._header):
            self._ended = _are_listed(self._entries, index_entries(self._rest, found.offset, found.stop))
        elif isinstance(found, Gap):
            got = f"{found.stop - found.offset} bytes after {sum(n for n, _ in self._entries)} samples"
            self._problems.append(f"{got} hold no whole frame")
        elif isinstance(found, End) and (problem := problem_of_end(self._model.spec, found.padding)):
            self._problems.append(problem)
        _list(self._entries, *_entry(found))


def _entries(parts: Iterable[FrameSpan | End | Gap], at: int) -> list[tuple[int, int]]:
    """What an index lists of parts from an offset on, (samples, bytes), with what lies between them."""
    entries: list[tuple[int, int]] = []
    for part in parts:
        if at < part.offset:
            _list(entries, 0, part.offset - at)
        _list(entries, *_entry(part))
        at = part.stop
    return entries


def _entry(part: FrameSpan | End | Gap) -> tuple[int, int]:
    return part.samples if isinstance(part, FrameSpan) else 0, part.stop - part.offset


def _list(entries: list[tuple[int, int]], samples: int, size: int) -> None:
    """Add to what an index lists, with bytes to skip that lie side by side as one entry."""
    if entries and not entries[-1][0] and not samples:
        entries[-1] = (0, entries[-1][1] + size)
    else:
        entries.append((samples, size))


def _are_listed(entries: Sequence[tuple[int, int]], index: Iterable[tuple[int, int]]) -> bool:
    """Whether an index lists these entries; bytes to skip may be several of its own."""
    listed: list[tuple[int, int]] = []
    try:
        for samples, size in index:
            _list(listed, samples, size)
    except (IndexError, ValueError):
        return False
    return listed == entries
