"""How much worse than a baseline figures may be: one fraction for all, others for some (`bytes=0.06,error=0.01`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tiedae.base.errors import InputError

from .figures import MEASURES

DEFAULT = 0.01
GROUPS = tuple(dict.fromkeys(measure.group for measure in MEASURES.values()))
"""Names of several figures each, see the rows of `MEASURES`."""


@dataclass(frozen=True)
class Allowance:
    """`rest`: the fraction for figures that `by` names neither itself nor by their group."""

    rest: float = DEFAULT
    by: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | float) -> Allowance:
        """`0.02`, `bytes=0.06,error=0.01` or both; InputError for an unknown name, and a fraction below 0 or not finite."""
        given: dict[str, float] = {}
        for part in str(text).split(","):
            name, equals, value = part.rpartition("=")
            if equals and name.strip() not in (*GROUPS, *MEASURES):
                right = f"one of {', '.join(GROUPS)}, or the name of a figure such as PSNR"
                raise InputError(f"allow: got {name.strip()!r}, must be {right}")
            given[name.strip()] = _fraction(value.strip())
        return cls(given.pop("", DEFAULT), given)

    def of(self, measure: str) -> float:
        """The fraction for a row of `MEASURES`."""
        return self.by.get(measure, self.by.get(MEASURES[measure].group, self.rest))


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"allow: got {text}, must be a fraction of 0 or more, such as 0.01, or bytes=0.06,error=0.01")
    return value
