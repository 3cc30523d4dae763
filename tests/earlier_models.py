"""Runs that train nothing: they begin with the models of an earlier run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tiedae.pipeline.runs import Stages


@contextmanager
def models_of(run: Path) -> Iterator[None]:
    """Runs take the models of `run`, whose recipe has the same stages, as a killed run that continues takes its own."""
    run_stages = Stages.run

    def resumed(stages: Stages) -> dict[str, Path]:
        shutil.copytree(run / "model", stages.folder("train"), dirs_exist_ok=True)
        return run_stages(stages)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stages, "run", resumed)
        yield
