"""Types of the keys of a recipe: bounds of numbers, and what a key means."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .records import FINITE, LARGEST

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Bits = Annotated[int, Meta(ge=2, le=8)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
ProperFraction = Annotated[float, Meta(ge=0, lt=1)]
NonNegative = Annotated[float, Meta(ge=0, le=FINITE)]
AboveZero = Annotated[float, Meta(gt=0, le=FINITE)]


def means(text: str, *examples: object) -> Meta:
    """What a key of a recipe means, for `tiedae recipe` and editors; and an example of one that has no default."""
    return Meta(description=text, examples=list(examples) or None)
