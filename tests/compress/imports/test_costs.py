"""Crafted models take no more of a process than docs/explanation/trust.md states, however they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from .costly_files import COSTLY, MOST
from .costs import COMMANDS, MEMORY, SECONDS, cost


@pytest.mark.ci
@pytest.mark.parametrize("name", COSTLY)
def test_a_crafted_model_takes_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    path = COSTLY[name](tmp_path / f"m.{name.rpartition('.')[2]}")
    size = path.stat().st_size
    assert size <= MOST
    for read in COMMANDS:
        found = cost(read, path)
        assert not found.ended
        assert found.seconds <= SECONDS and found.memory - 10 * size <= MEMORY
        assert "\n" not in found.text
