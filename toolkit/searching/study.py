"""The trials of a search: Optuna proposes, a file in SQLite keeps.

The sampler reads a copy of the trials in memory; the file gets a trial once it is over, in one transaction. A search that is
killed loses the trial that was running, and proposes it again: the seed of a proposal is its place in the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tiedae.compress.errors import FormatError
from tiedae.compress.packages import require_installed
from tiedae.compress.records import decode, plain

from .space import Point, SearchAxis, Space, Value, key_of
from .trial import Outcome

if TYPE_CHECKING:
    import optuna

NAME = "tiedae"
KEY = "outcome"
"""The attribute of a kept trial that holds what became of it."""
STARTUP = 8
"""Trials drawn at random before the sampler learns from them."""
ASKS = 20
"""Proposals in a row that may be known or impossible; then the next one is drawn from all that are left."""


def require_optuna() -> None:
    """Raise UnavailableError, with the command that brings it, where Optuna is not installed."""
    require_installed("optuna")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Proposal:
    """A point to try, as Optuna's trial; `fits` is False where its kernels alone are too large."""

    trial: optuna.Trial
    point: Point
    fits: bool = True


class Trials:
    """The trials so far, by number, and the next point to try.

    Objectives are the error and the bytes; `excess` of an outcome is how far it is beyond the limits. Raises FormatError where
    the file is damaged.
    """

    def __init__(self, path: Path, space: Space, excess: Callable[[Outcome], Mapping[str, float]]) -> None:
        import optuna
        from sqlalchemy.pool import NullPool

        assert space.recipe.search is not None
        self.path, self.excess = path, excess
        self.space, self.counted, self.seed = space, space.recipe.search.size, space.recipe.search.seed
        directions = (optuna.study.StudyDirection.MINIMIZE,) * 2
        with _readable(path):
            # Without a pool each connection is closed once its transaction is over.
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool})
            self.kept = optuna.create_study(storage=storage, study_name=NAME, directions=directions, load_if_exists=True)
            trials = self.kept.trials
            self.outcomes = [decode(Outcome, trial.user_attrs[KEY], path) for trial in trials]
        self.memory = optuna.create_study(directions=directions)
        self.memory.add_trials(trials)

    @property
    def finished(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == "complete"]

    @property
    def spent(self) -> int:
        """Trials that count: those that trained a model."""
        return sum(outcome.state != "impossible" for outcome in self.outcomes)

    def propose(self, most_bytes: float) -> Proposal | None:
        """A point that was not tried yet; None where none is left whose kernels fit into `most_bytes`.

        The recipe as it is comes first. Where nothing fits at all the smallest point is proposed, so that there is something
        to report.
        """
        known = {key_of(outcome.point) for outcome in self.outcomes}
        left = [key for key, least in self.space.least.items() if least <= most_bytes and key not in known]
        if not left:
            smallest = dict(min(self.space.least, key=self.space.least.__getitem__))
            return None if self.spent else self._enqueued(smallest)
        if self.space.own is not None and key_of(self.space.own) in left:
            return self._enqueued(self.space.own)
        if not all(outcome.state == "impossible" for outcome in self.outcomes[-ASKS:]) or len(self.outcomes) < ASKS:
            for attempt in range(ASKS):
                trial, point = self._ask(attempt)
                if key_of(point) not in known:
                    return Proposal(trial, point, self.space.least[key_of(point)] <= most_bytes)
                self.memory.tell(trial, state=_states().FAIL)
        return self._enqueued(dict(left[np.random.default_rng([self.seed, len(self.outcomes)]).integers(len(left))]))

    def _enqueued(self, point: Point) -> Proposal:
        point = {axis.name: point[axis.name] for axis in self.space.axes}
        parameters = {axis.name: _parameter(axis, point[axis.name]) for axis in self.space.axes}
        self.memory.enqueue_trial(parameters)
        return Proposal(self.memory.ask(self._distributions()), point)

    def _ask(self, attempt: int) -> tuple[optuna.Trial, Point]:
        import optuna

        self.memory.sampler = optuna.samplers.TPESampler(
            seed=int(np.random.default_rng([self.seed, len(self.outcomes), attempt]).integers(2**31)),
            n_startup_trials=STARTUP,
        )
        trial = self.memory.ask(self._distributions())
        return trial, {axis.name: _value(axis, trial.params[axis.name]) for axis in self.space.axes}

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        import optuna

        def one(axis: SearchAxis) -> optuna.distributions.BaseDistribution:
            if axis.ordered:
                return optuna.distributions.IntDistribution(0, len(axis.values) - 1)
            return optuna.distributions.CategoricalDistribution(axis.values)

        return {axis.name: one(axis) for axis in self.space.axes}

    def record(self, proposal: Proposal, outcome: Outcome) -> None:
        """Keep what became of a proposal."""
        proposal.trial.set_user_attr(KEY, plain(outcome))
        for limit, excess in self.excess(outcome).items():
            proposal.trial.set_constraint(limit, excess)
        size = outcome.size(self.counted)
        if outcome.error is not None and size is not None:
            self.memory.tell(proposal.trial, (outcome.error, size))
        else:
            self.memory.tell(proposal.trial, state=_states().PRUNED)
        with _readable(self.path):
            self.kept.add_trial(self.memory.trials[-1])
        self.outcomes.append(outcome)


def _states() -> Any:
    import optuna

    return optuna.trial.TrialState


def _parameter(axis: SearchAxis, value: Value) -> Value:
    return axis.values.index(value) if axis.ordered else value


def _value(axis: SearchAxis, parameter: Any) -> Value:
    return axis.values[parameter] if axis.ordered else parameter


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What Optuna and SQLite raise over a damaged file, as an error of ours."""
    import optuna
    import sqlalchemy.exc

    damaged = (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError, KeyError, TypeError, RuntimeError)
    try:
        yield
    except damaged as error:
        raise FormatError(f"{path}: damaged ({type(error).__name__}); --force starts afresh") from error
