"""What a verification holds a bundle to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiedae.bundle.fidelity import FRACTION, ErrorLimit
from tiedae.compress.config import Recipe, VerifyConfig


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
