"""A real session whose answer is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tiedae.runtimes.session import Session

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class ChangedSession:
    """A real session whose plain run of one signature gives something else: `change` edits its outputs. A trace stays right."""

    session: Session
    signature: str
    change: Callable[[np.ndarray, Outputs], None]

    @property
    def runtime(self) -> str:
        return self.session.runtime

    @property
    def provider(self) -> str:
        return self.session.provider

    def run(self, signature: str, x: np.ndarray) -> Outputs:
        outputs = {name: values.copy() for name, values in self.session.run(signature, x).items()}
        if signature == self.signature:
            self.change(x, outputs)
        return outputs

    def trace(self, signature: str, x: np.ndarray) -> Outputs:
        return self.session.trace(signature, x)
