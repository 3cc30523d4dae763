"""Types of the keys of a recipe and a manifest: bounds of numbers, texts, and what a key means.

Texts are names that become paths, keys or code, and lines that a terminal and a model card show. A record states them, so that
they are checked once, where a stranger's file is decoded.
"""

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


_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff"
_PART = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"

Line = Annotated[str, Meta(pattern=rf"^(?![\s\S]*[{_CONTROLS}])", title="one line without control characters")]
"""Free text: a source, a licence, a column."""
Name = Annotated[
    str, Meta(pattern=r"^(?=.*[A-Za-z0-9])[A-Za-z0-9_-]+$(?!\n)", title="ASCII letters, digits, - and _", max_length=200)
]
"""A model's name, by which its files begin."""
FileName = Annotated[str, Meta(pattern=rf"^{_PART}(/{_PART})*$(?!\n)", title="the relative path of a file of the bundle")]
Identifier = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]*$(?!\n)", title="ASCII letters, digits, and _ . : / - between them")
]
"""The name of a tensor, a kernel, a constant, a signature or a dtype."""
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", title="64 hexadecimal digits")]
Sha256OrNone = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)", title="64 hexadecimal digits, or empty")]
