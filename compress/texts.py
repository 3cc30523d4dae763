"""Types of texts: names that become paths, keys or code, and lines that a terminal and a model card show.

A record states them, so that they are checked once, where a stranger's file is decoded.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

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
