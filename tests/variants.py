"""Cases of a parametrized test, of which `make test` runs some and `make test-night` the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def every(step: int, cases: Iterable[Any]) -> list[Any]:
    """The cases; all but the first of each `step` have the marker `night`. A tuple is the arguments of one case."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[pytest.mark.night] if i % step else [])
        for i, case in enumerate(cases)
    ]
