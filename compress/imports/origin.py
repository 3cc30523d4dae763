"""Where the weights of a model are from that somebody else trained, as manifest, report and card state it."""

from __future__ import annotations

from collections.abc import Mapping

from tiedae.base.keys import Line, NonNegative, Sha256OrNone
from tiedae.base.numbers import number
from tiedae.base.records import Record

from .chain import Tie

ORIGINAL, REPLACED, TUNED = "original", "activations replaced", "trained on"
"""The models whose errors show what `replace` costs."""


class ImportOrigin(Record, frozen=True, kw_only=True):
    """`source`, `format`, `sha256`: of the file ("" for a live model). `tie`: assumed where the file does not store a kernel.

    `witness`: what ran the original, such as keras 3.15.1, and `difference`: the largest of the import's outputs to it, as a
    fraction of full scale; None: `reason` says why it was not compared. `replaced`: activations by the layers that had others,
    and `errors`: the squared error of a held-out sample, in scaled values, of the models before and after. `notes`: lines.
    """

    source: Line
    format: Line
    sha256: Sha256OrNone = ""
    tie: Tie = "stored"
    witness: Line = ""
    difference: NonNegative | None = None
    reason: Line = ""
    replaced: Mapping[Line, Line] = {}
    errors: Mapping[Line, NonNegative] = {}
    notes: tuple[Line, ...] = ()

    @property
    def compared(self) -> str:
        """How the import compares with the original, in words."""
        if self.difference is None:
            return f"not compared with the original: {self.reason}"
        return f"as {self.witness} computes it within {self.difference:.2g} of full scale"

    @property
    def cost(self) -> str:
        """What replaced activations cost; empty without any."""
        if not self.replaced:
            return ""
        layers = ", ".join(f"{layer}: {function}" for layer, function in self.replaced.items())
        errors = ", ".join(f"{name} {number(error)}" for name, error in self.errors.items())
        return f"replaced activations ({layers}); error of a held-out sample: {errors}"

    @property
    def facts(self) -> dict[str, str]:
        """The rows of a table."""
        file = f", sha256 {self.sha256}" if self.sha256 else ""
        return {
            "weights from": f"{self.source} ({self.format}{file}), {self.compared}",
            "tie": self.tie,
            "activations": self.cost,
            "import": "; ".join(self.notes),
        }
