"""What a verification holds a bundle to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec import structs

from tiedae.bundle.fidelity import FRACTION, ErrorLimit
from tiedae.config.config import Recipe, VerifyConfig


@dataclass(frozen=True)
class Limits:
    """`stated`: tolerances, by default those of the recipe. `error`: how the int8 files' error is held to the float model's;
    None: it is not, where the task has figures of its own. `run_source`: run the code of .c files that are not what this
    version writes of the program.
    """

    stated: VerifyConfig | None = None
    error: ErrorLimit | None = FRACTION
    run_source: bool = False

    def of(self, recipe: Recipe) -> Limits:
        """With the recipe's tolerances where none are stated."""
        return self if self.stated is not None else replace(self, stated=recipe.verify)

    @property
    def tolerances(self) -> VerifyConfig:
        return self.stated or VerifyConfig()

    @property
    def changed(self) -> dict[str, float]:
        """The tolerances that are not the defaults, by key."""
        stated, usual = structs.asdict(self.tolerances), structs.asdict(VerifyConfig())
        return {key: value for key, value in stated.items() if key in TOLERANCES and value != usual[key]}


TOLERANCES = tuple(key for key, value in structs.asdict(VerifyConfig()).items() if isinstance(value, int | float))
LEAST = ("codes_equal_share",)
"""Tolerances that are looser where they are smaller."""


def looser(stated: VerifyConfig) -> dict[str, float]:
    """The tolerances of a bundle's recipe that are looser than the defaults, by key: its author chose them."""
    values, usual = structs.asdict(stated), structs.asdict(VerifyConfig())
    return {key: values[key] for key in TOLERANCES if (values[key] < usual[key] if key in LEAST else values[key] > usual[key])}


def no_looser(stated: VerifyConfig) -> VerifyConfig:
    """The limits with the default in place of each looser one."""
    usual = structs.asdict(VerifyConfig())
    return structs.replace(stated, **{key: usual[key] for key in looser(stated)})
