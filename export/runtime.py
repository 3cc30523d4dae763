"""What every runtime offers to the parity engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Session(Protocol):
    """A loaded model file in one runtime."""

    runtime: str
    """Name of the row, such as `litert-xnnpack`."""
    provider: str
    """What really ran, as the runtime reports it."""

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Run one signature on a batch in the file's own input dtype; outputs by name, as the file gives them."""
        ...

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The program's tensors inside the file, by the program's names, for the same batch.

        Quantized ones are uint8 (int8 of a file + 128). Tensors that the runtime fused away are absent.
        """
        ...
