"""Files behind which frames are appended: what of them is whole."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from .container import Data, FileContents, FrameSpan, Gap, is_index, listed_frames, scan


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
