"""Whole .tae files: what they hold, and their samples or time steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tiedae.base.errors import CheckError, FormatError, InputError
from tiedae.data.patches import PictureSize, join
from tiedae.data.windows import problem_of_end

from .container import End, FileContents, FrameSpan, Gap, is_index, listed_frames, read, read_frame, scan
from .frames import FileModel, decode_frames
from .header import MOST_BYTES, Data, Header

TOGETHER = 8192
"""Samples whose frames are coded together, at most: enough lanes for full speed. They take `MOST_BYTES` or are one frame."""
LISTED = 5
"""Problems that an error lists."""


class Whole(NamedTuple):
    """A file up to its last index: the frames which that lists, where it ends, and what is damaged before."""

    frames: tuple[FrameSpan, ...]
    stop: int
    problems: tuple[str, ...]


def last_whole(data: Data, contents: FileContents) -> Whole | None:
    """What is whole of a file that frames may have been appended to; None where no index lists what is before it.

    Behind it lie the frames of an append that was interrupted.
    """
    if contents.indexed:
        return Whole(contents.frames, len(data), contents.problems)
    found, problems = None, ()
    for gap in scan(data, contents.header.size, contents.header):
        if isinstance(gap, Gap) and is_index(data, gap, contents.header):
            listed = listed_frames(data, gap.offset, gap.stop, contents.header)
            found = found if listed is None else Whole(listed, gap.stop, problems)
        elif isinstance(gap, Gap):
            problems = (*problems, gap.text)
    return found


def last_written(contents: FileContents) -> Sequence[FrameSpan | End]:
    """What was written last of a whole file: between its last two indexes."""
    parts = sorted((*contents.frames, *contents.ends), key=lambda part: part.offset)
    cuts = [i for i, (a, b) in enumerate(itertools.pairwise(parts), 1) if a.stop != b.offset]
    return parts[cuts[-1] if cuts else 0 :]


class Reader:
    """A whole file, in memory or mapped: its contents, its samples or the time steps of its records, any range of them.

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
        wrong = {end.offset: problem_of_end(model.spec, end.padding) for end in self.contents.ends}
        self._ends = {end.offset: end.padding for end in self.contents.ends if not wrong[end.offset]}
        self.problems += dict.fromkeys(filter(None, wrong.values()))

    @property
    def is_of_records(self) -> bool:
        """Whether the samples are windows of records that end in this file, which `time_steps` gives back."""
        return self._model.spec.kind == "record" and bool(self._ends)

    @property
    def sizes(self) -> Sequence[PictureSize]:
        """Those of the pictures that end in this file, in order, which `pictures` gives back; none of other samples."""
        return [PictureSize.from_number(number) for number in self._ends.values()] if self._model.spec.is_patch else []

    def pictures(self) -> Iterator[np.ndarray]:
        """The pictures, [h, w, …] each in the data's dtype; patches of damaged frames are 0.

        Raises CheckError where damage hides which patches are of which picture. What is wrong is in `problems`.
        """
        self._require_range(0, self.contents.samples)
        spec, start = self._model.spec, 0
        for frame in self.contents.frames:
            if frame.stop in self._ends:
                stop, size = frame.first + frame.samples, PictureSize.from_number(self._ends[frame.stop])
                if stop - start == size.patches(spec.shape[0]):
                    yield join(spec.shaped(self._filled(start, stop), False), size)
                else:
                    got = f"a picture of {size.width}×{size.height} has {stop - start} patches"
                    self.problems.append(f"{got}, must have {size.patches(spec.shape[0])}")
                start = stop
        if start < self.contents.samples:
            self.problems.append(f"the last {self.contents.samples - start} patches are of no picture")

    def _filled(self, start: int, stop: int) -> np.ndarray:
        """Samples start…stop − 1, [n, inputs]; those of damaged frames are 0."""
        filled = np.zeros((stop - start, self._model.spec.inputs), self._model.spec.dtype)
        for group in self._decoded(start, stop):
            for frame, part in group.items():
                filled[max(0, frame.first - start) :][: len(part)] = part
        return filled

    def samples(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Samples start…stop − 1, without those of damaged frames, in pieces [n, *shape] in the data's dtype, not scaled.

        Raises InputError for a range that the file does not have, CheckError for one of a file whose damage hides which samples
        are where.
        """
        found = self._decoded(start, self._require_range(start, stop))
        return (self._model.spec.shaped(np.concatenate([nothing(self._model), *group.values()]), False) for group in found)

    def time_steps(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """The time steps of windows start…stop − 1, one behind the other, in pieces [n] or [n, channels]; raises as `samples`.

        Where a record ends, the padding of its last window is left out. InputError for samples that are no windows.
        """
        if self._model.spec.kind != "record":
            got = f"holds samples of kind {self._model.spec.kind}"
            raise InputError(f"{self._source}: {got}, must be windows of a record to have time steps")
        step = self._model.spec.shape[1:]
        no_steps = np.empty((0, *step), self._model.spec.dtype)
        last = self._require_range(start, stop)

        def steps(frame: FrameSpan, part: np.ndarray) -> np.ndarray:
            values = part.reshape(-1, *step)
            return values[: len(values) - self._ends.get(frame.stop, 0)] if frame.first + frame.samples <= last else values

        return (np.concatenate([no_steps, *itertools.starmap(steps, group.items())]) for group in self._decoded(start, last))

    def require_whole(self) -> None:
        """Raise CheckError, with what is wrong, where frames were damaged or lost, or the file is cut off."""
        require_whole(self.problems, self._source)

    def _require_range(self, start: int, stop: int | None) -> int:
        """The end of a range of samples."""
        total, whole = self.contents.samples, (start, stop) == (0, None)
        stop = total if stop is None else stop
        if not whole:
            if not self.contents.placed:
                require_whole([*self.problems, "the numbers of the samples behind that are not known"], self._source)
            if not 0 <= start < stop <= total:
                raise InputError(f"{self._source}: samples {start}:{stop}: must be a range in 0:{total}")
        return stop

    def _decoded(self, start: int, stop: int) -> Iterator[dict[FrameSpan, np.ndarray]]:
        """Those of samples start…stop − 1, [n, inputs], that each whole frame holds, by group."""
        frames = [frame for frame in self.contents.frames if frame.first < stop and frame.first + frame.samples > start]
        number = self.contents.frames.index(frames[0])
        for group in groups(self.contents.header, frames):
            samples, problems = decode_frames(self._model, self.contents.header, self._data, group)
            for i, frame in enumerate(group, number):
                if frame in problems:
                    self.problems.append(f"{frame.text(i)}: {problems[frame]}")
            number += len(group)
            whole = [frame for frame in group if frame not in problems]
            pairs = zip(whole, samples, strict=True)
            yield {frame: part[max(0, start - frame.first) : stop - frame.first] for frame, part in pairs}


def require_whole(problems: Sequence[str], source: object) -> None:
    """Raise CheckError, which starts with `source`, where there are problems."""
    if problems:
        more = f"; {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise CheckError(f"{source}: {'; '.join(problems[:LISTED])}{more}")


def require_frames(data: Data, frames: Iterable[FrameSpan], header: Header, source: object) -> None:
    """Raise CheckError, which starts with `source`, where the checksum of a frame is not that of its bytes."""
    problems = []
    for i, frame in enumerate(frames):
        try:
            read_frame(data, frame, header)
        except FormatError as error:
            problems.append(f"{frame.text(i)}: {error}")
    require_whole(problems, source)


def together(header: Header) -> int:
    """Samples that are coded together, at most; a frame of more by itself."""
    return min(TOGETHER, header.samples_within(MOST_BYTES))


def groups(header: Header, frames: Sequence[FrameSpan]) -> Iterator[Sequence[FrameSpan]]:
    """Frames that are decoded together."""
    start = samples = 0
    for i, frame in enumerate(frames):
        if i > start and samples + frame.samples > together(header):
            yield frames[start:i]
            start, samples = i, 0
        samples += frame.samples
    if frames:
        yield frames[start:]


def nothing(model: FileModel) -> np.ndarray:
    return np.empty((0, model.spec.inputs), model.spec.dtype)
