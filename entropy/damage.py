"""Damaged frames of a call, all of them in one error: the others are decoded again without them."""

from __future__ import annotations

from collections.abc import Mapping

from tiedae.compress.errors import FormatError


class DamagedFrames(FormatError):
    """What is wrong with frames, by their place in the call that raises it."""

    def __init__(self, problems: Mapping[int, str]) -> None:
        first = min(problems)
        super().__init__(f"frame {first}: damaged: {problems[first]}")
        self.problems = problems


def refuse(problems: Mapping[int, str]) -> None:
    """Raise DamagedFrames where there are problems."""
    if problems:
        raise DamagedFrames(problems)
