"""Cases of a parametrized test, of which `make test` runs some and `.ci/run` all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def every(step: int, cases: Iterable[Any]) -> list[Any]:
    """The cases; all but the first of each `step` have the marker `ci`. A tuple is the arguments of one case."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[pytest.mark.ci] if i % step else [])
        for i, case in enumerate(cases)
    ]


def in_part(cases: Sequence[T], part: str) -> Sequence[T]:
    """Part k of n, "k/n": every n-th case, so that the cases of one test are in different parts."""
    number, parts = map(int, part.split("/"))
    return cases[number % parts :: parts]
