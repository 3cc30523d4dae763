"""Three sizes of the code, of which a recipe has the middle one: what each costs, and what error it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tiedae.base.keys import Fraction, NonNegative, Positive
from tiedae.base.numbers import three_digits
from tiedae.base.records import Checked

from .held_pca import HeldPca
from .plan import RecipePlan

COLUMNS = ("--keep", "units", "bytes, about", "error, about", "PCA's error")
SIZED = ("model.layers", "train.rate")
"""Keys that fix the size of a code: where they are stated there is no choice of three."""


class CodeSize(Checked, frozen=True):
    """A size of the code: the fraction of the variance to `keep`, and the least `units` whose PCA keeps it.

    `bytes` of a sample: estimated by the bits of Gaussian components in a .tae file, where the code is trained for rate, else
    those of an int8 code. `pca_error`: of PCA at these bytes, measured on training samples that it was not fitted to; `error`:
    of the recipe's net, estimated as that times what the trial found. Both as fractions of the variance; None: not known.
    """

    keep: Fraction
    units: Positive
    bytes: NonNegative
    error: NonNegative | None
    pca_error: NonNegative | None

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of `COLUMNS`."""
        return (f"{self.keep:g}", f"{self.units:,}", three_digits(self.bytes), _percent(self.error), _percent(self.pca_error))


def proposals_of(plan: RecipePlan, baseline: HeldPca) -> tuple[CodeSize, ...]:
    """Those with twice the error that the plan asks for, this error, and half of it."""
    asked = 1 - plan.kept
    fractions = round(max(1 - 2 * asked, plan.kept / 2), 9), plan.kept, round(1 - asked / 2, 9)
    return tuple(_proposal(baseline.sized(replace(plan, kept=kept)), baseline) for kept in fractions)


def _proposal(plan: RecipePlan, baseline: HeldPca) -> CodeSize:
    pca, gain = baseline.error(plan), plan.gain
    size = plan.bits / 8 if plan.for_rate else plan.units
    return CodeSize(plan.kept, plan.units, size, None if pca is None or gain is None else gain * pca, pca)


def table_lines(proposals: Sequence[CodeSize]) -> list[str]:
    """The table in lines of text, the middle row behind `>`."""
    rows = [COLUMNS, *(proposal.cells for proposal in proposals)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    middle = 1 + len(proposals) // 2
    return [
        ("> " if i == middle else "  ") + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for i, row in enumerate(rows)
    ]


def notes_of(plan: RecipePlan) -> tuple[str, ...]:
    """What the columns are, and how they are known: a sentence each."""
    size = "estimated bytes of a sample in a .tae file" if plan.for_rate else "bytes of an int8 code"
    errors = "fractions of the variance, PCA's measured" + (" at these bytes" if plan.for_rate else " with as many components")
    if plan.gain is None:
        ours = "the net's is not known without a trial"
    elif plan.linear:
        ours = "the linear net's, an estimate, is the same"
    else:
        ours = f"the net's estimated as {plan.gain:.2g} of it, by the trial of {plan.trials[-1].steps:,} steps"
    return f"Bytes: {size}. Errors: {errors}; {ours}.", "Another row: --keep FRACTION."


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"
