"""Of how many training samples the tables of residuals are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tiedae.codec.backends import ProgramBackend
from tiedae.codec.training_codes import fit_codec
from tiedae.data.dataset import Dataset
from tiedae.program.interpreter import execute
from tiedae.program.program import Program

from ..conftest import build_program


@dataclass
class Recording:
    """The interpreter, and how many samples it reconstructed at each call."""

    program: Program
    runtime: str = "recording"
    provider: str = "interpreter"
    counts: list[int] = field(default_factory=list)

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        if signature == "reconstruct":
            self.counts.append(len(x))
        return execute(self.program, signature, x)


@pytest.mark.parametrize(("inputs", "samples"), [(128, 4_096), (100, 5_120)])
def test_tables_of_residuals_are_of_half_a_million_values_or_5120_samples(inputs: int, samples: int) -> None:
    """Of more training samples, which all have a score: the tables of residuals come last."""
    values = np.random.default_rng(0).random((5_500, inputs)).astype(np.float32)
    data = Dataset.from_array(values, test=0.01)
    program = build_program((inputs, 4), ("linear",))
    session = Recording(program)
    fit_codec(ProgramBackend(program, data.spec, session=session), data.train, 0)
    *scored, tables = session.counts
    assert (sum(scored), tables) == (len(data.train), samples)
