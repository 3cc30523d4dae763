"""Names in a message."""

from __future__ import annotations

import pytest

from tiedae.base.errors import listed


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), ""),
        (("a", 2), "a, 2"),
        (range(12), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        (range(13), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (13)"),
    ],
)
def test_many_names_are_counted(names: range | tuple[object, ...], text: str) -> None:
    assert listed(names) == text
