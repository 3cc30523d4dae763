"""The factor on the scale of the codes for a wanted fidelity: fewest bits, with a margin for later samples.

The validation samples are cut into `PARTS` parts in their order, in time for a record, and the worst of them has to keep the
limit. Where parts of a record differ, the next part may break a limit that their mean keeps. Of parts in random order, the next
one is worse than all these in 1 of `PARTS` + 1 cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tiedae.base.errors import InputError
from tiedae.base.records import Record
from tiedae.bundle.fidelity import LOWER_IS_BETTER, MEASURES, Fidelity
from tiedae.codec.backends import BATCH
from tiedae.data.samples import Samples
from tiedae.export.code_scale import require_free_scale
from tiedae.export.targets import Programs

from .assemble import Announce
from .derive import EarlierBundle

PARTS = 4
LEAST = 2 * PARTS
"""Validation samples, at least."""
PER_OCTAVE, STRIDE = 16, 4
"""Factors are 2^(i / PER_OCTAVE). Each STRIDE-th is tried, then those before the first that keeps the limit."""
COARSEST, FINEST = 48, -32


class FactorChoice(Record, frozen=True):
    """A `factor`, and `values` of a fidelity `measure` in `unit` of each part of the validation samples at it.

    `worst` of them, which is as good as `wanted`. `samples` of a part.
    """

    factor: float
    measure: str
    unit: str
    wanted: float
    worst: float
    values: tuple[float, ...]
    samples: int

    @property
    def text(self) -> str:
        values = ", ".join(f"{value:.4g}" for value in self.values)
        fits = f"{self.measure} {values} {self.unit}".rstrip()
        return f"factor {self.factor:.4g}: {fits} of {len(self.values)} parts of the validation samples"


def choose_factor(origin: EarlierBundle, wanted: float, announce: Announce) -> FactorChoice:
    """The coarsest factor that keeps a wanted PRDN in %, PSNR in dB or R², by the kind of the bundle's data.

    Raises InputError for a value that cannot be one, a bundle without validation samples or with noisy ones, codes without a
    free scale, and a limit that no factor keeps.
    """
    measure, _ = MEASURES[origin.bundle.manifest.data.kind]
    if not math.isfinite(wanted) or (measure in LOWER_IS_BETTER and wanted <= 0):
        raise InputError(f"fidelity: got {wanted:g}, must be a {measure}{' above 0' if measure in LOWER_IS_BETTER else ''}")
    parts = _parts(origin)
    programs = origin.earlier
    require_free_scale(programs.reference)
    announce(f"{measure} of {len(parts)} parts of the validation samples")
    tried: list[FactorChoice] = []

    def keeps(step: int) -> FactorChoice | None:
        """The choice of a factor that keeps the limit."""
        try:
            scaled = origin.scaled(2 ** (step / PER_OCTAVE))
        except InputError:  # too coarse or too fine for the program
            return None
        choice = _choice(origin, scaled, 2 ** (step / PER_OCTAVE), wanted, parts)
        tried.append(choice)
        return choice if _is_within(choice.worst, wanted, measure) else None

    for step in range(COARSEST, FINEST - 1, -STRIDE):
        if (found := keeps(step)) is not None:
            break
    else:
        if not tried:
            raise InputError("fidelity: the program allows no other factor on the scale of its codes")
        closest = (min if measure in LOWER_IS_BETTER else max)(tried, key=lambda choice: choice.worst)
        got = f"{wanted:g}, which no factor keeps; closest is {closest.text}"
        raise InputError(f"fidelity: got {got}; must be what the model can give, or train it at a lower rate")
    low, high = step, min(step + STRIDE, COARSEST)
    while high - low > 1:
        middle = (low + high) // 2
        better = keeps(middle)
        low, high, found = (middle, high, better) if better is not None else (low, middle, found)
    return found


def _parts(origin: EarlierBundle) -> list[np.ndarray]:
    """At most `BATCH` samples of each part, in the data's unit of measure."""
    validation: Samples | None = origin.data.validation
    if validation is None or len(validation) < LEAST:
        got = "no" if validation is None else str(len(validation))
        right = f"must be {LEAST} or more: train with `validation = 0.2` in [data]"
        raise InputError(f"fidelity: got {got} validation samples of the bundle's recipe, {right}")
    if origin.recipe.train.noise is not None or validation.clean is not None:
        raise InputError("fidelity: is chosen of samples as they are; this model's are noisy, use --factor")
    return [validation.take(rows[:BATCH]) for rows in np.array_split(np.arange(len(validation)), PARTS)]


def _choice(
    origin: EarlierBundle, programs: Programs, factor: float, wanted: float, parts: Sequence[np.ndarray]
) -> FactorChoice:
    backend, fidelity = origin.backend_of(programs.reference), Fidelity.of_data(origin.bundle.manifest.data)
    fits = [fidelity.measure(x, backend.scaled_values(backend.reconstruct(x)[1])) for x in parts]
    values = tuple(fit.value for fit in fits if fit.value is not None)
    measure, unit = fits[0].measure, fits[0].unit
    if len(values) < len(parts):
        raise InputError(f"fidelity: {measure} is not defined in each part of the validation samples; use --factor")
    worst = (max if measure in LOWER_IS_BETTER else min)(values)
    return FactorChoice(factor, measure, unit, wanted, worst, values, len(parts[0]))


def _is_within(value: float, wanted: float, measure: str) -> bool:
    return value <= wanted if measure in LOWER_IS_BETTER else value >= wanted
