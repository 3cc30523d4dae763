"""What PCA reaches on training samples that it is not fitted to, at the size of a plan's code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tiedae.bundle.fidelity import Fidelity, fit_value
from tiedae.data.dataset import Dataset, choose
from tiedae.tasks.coders import PcaChoice
from tiedae.tasks.compression import no_pca
from tiedae.tasks.neighbourhoods import Pca

from .facts import Facts
from .plan import RecipePlan

FITTED, HELD = 4_000, 1_000
"""Training samples that the baseline is fitted to, and others that it is measured on, at most."""


@dataclass(frozen=True, eq=False)
class HeldPca:
    """Training samples that PCA is fitted to, and `held` ones, [n, inputs] in the data's unit of measure.

    `problem`: why PCA is not fitted, empty if it is. `splits`: with the scaling of the recipe.
    """

    splits: Dataset = field(repr=False)
    fitted: np.ndarray = field(repr=False)
    held: np.ndarray = field(repr=False)
    problem: str

    @classmethod
    def of(cls, splits: Dataset, facts: Facts) -> HeldPca:
        """The baseline of a data set, whose samples the seed of its split draws."""
        train, seed = splits.train.disjoint.wanted, splits.config.seed
        held = choose(train, min(HELD, max(1, len(train) // 5)), seed)
        rest = np.setdiff1d(np.arange(len(train)), held)
        rest = np.sort(np.random.default_rng(seed).permutation(rest)[:FITTED])
        scaled = splits.with_scaling(facts.scaling_of(splits))
        return cls(scaled, train.take(rest), train.take(held), no_pca(splits.inputs, len(rest)))

    @cached_property
    def _scaled(self) -> np.ndarray:
        """The held-out samples in scaled values, float32 [n, inputs]."""
        return self.splits.scaling.apply(self.held)

    @cached_property
    def _choice(self) -> PcaChoice:
        return PcaChoice(self.splits.scaling.apply(self.fitted), self._scaled)

    @cached_property
    def _pca(self) -> Pca:
        x = self._choice.train
        return Pca.fit(x, min(x.shape))

    def _decoded(self, plan: RecipePlan) -> tuple[np.ndarray, str] | None:
        """PCA's reconstructions of them, scaled, float64 [n, inputs], and by which PCA; None where none has these bits."""
        if not plan.for_rate:
            pca = self._pca.first(min(plan.units, self._pca.components.shape[1]))
            return pca.decode(pca.encode(self._scaled)), f"PCA with {pca.components.shape[1]} components"
        coder = self._choice.at(plan.bits)
        if coder is None:
            return None
        return coder.decode(coder.encode(self._scaled)), f"PCA with {coder.setting}, {plan.bits:.3g} bits a sample"

    def sized(self, plan: RecipePlan) -> RecipePlan:
        """The plan of a linear net for rate with the components that PCA codes at its bits: where few samples have most of a
        component's variance, more are worth their bits than the variances say. Other plans are as they were."""
        if self.problem or not (plan.linear and plan.for_rate):
            return plan
        coder = self._choice.at(plan.bits)
        return replace(plan, coded=0 if coder is None else coder.pca.components.shape[1])

    def error(self, plan: RecipePlan) -> float | None:
        """The squared error as a fraction of the variance: for a code in bits at the bits that the plan expects, else with as
        many components as its code has units; None where there is no such PCA."""
        decoded = None if self.problem else self._decoded(plan)
        total = float(np.square(self._scaled - self._choice.train.mean(axis=0, dtype=np.float64)).sum())
        return None if decoded is None or total == 0 else float(np.square(self._scaled - decoded[0]).sum()) / total

    def text(self, plan: RecipePlan) -> str:
        """The same in a sentence, in the measure of the data's kind."""
        if self.problem:
            return f"No baseline: {self.problem}."
        decoded = self._decoded(plan)
        if decoded is None:
            return f"No baseline: no PCA costs {plan.bits:.3g} bits a sample."
        y, how = decoded
        fit = Fidelity.of_splits(self.splits).measure(self.held, y.astype(np.float32))
        return f"{how}, reaches {fit_value(fit)} on {len(self.held):,} training samples that it was not fitted to."
