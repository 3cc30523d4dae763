"""The trials of a search: proposed by Optuna, stored in SQLite.

The sampler works on an in-memory copy; each finished trial is stored in one transaction. A killed search loses its running
trial and proposes the same one again, since the number of stored trials seeds each proposal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.base.packages import require_installed
from tiedae.base.records import decode, plain

from .space import Point, Space, key_of
from .trial import Outcome

if TYPE_CHECKING:
    import optuna

NAME = "tiedae"
KEY = "outcome"
"""User attribute of a stored trial that holds its outcome."""
STARTUP = 8
"""Random trials before the sampler uses their results."""
MAX_ATTEMPTS = 20
"""Proposals in a row that may be known or impossible before drawing from all remaining points."""
_REFUSED = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
"""What SQLite says where the system refuses, https://www.sqlite.org/rescode.html: the low 8 bits."""


def require_optuna() -> None:
    """Raise UnavailableError, with the install command, without Optuna."""
    require_installed("optuna")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Proposal:
    """A point to try and its Optuna trial; `fits` is False if its kernels alone exceed the byte limit."""

    trial: optuna.Trial
    point: Point
    fits: bool = True


class Trials:
    """The stored trials and the next proposal, with error and bytes as objectives, and bits if `rated`.

    `excess`: outcome → relative excess over each limit. Raises FormatError for a damaged file.
    """

    def __init__(
        self, path: Path, space: Space, excess: Callable[[Outcome], Mapping[str, float]], *, rated: bool = False
    ) -> None:
        import optuna
        from sqlalchemy.pool import NullPool

        assert space.recipe.search is not None
        self.path, self.excess, self.rated = path, excess, rated
        self.space, self.counted, self.seed = space, space.recipe.search.size, space.recipe.search.seed
        directions = (optuna.study.StudyDirection.MINIMIZE,) * (3 if rated else 2)
        with _readable(path):
            # NullPool closes each connection after its transaction.
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool})
            self.stored = optuna.create_study(storage=storage, study_name=NAME, directions=directions, load_if_exists=True)
            trials = self.stored.trials
            self.outcomes = [decode(Outcome, trial.user_attrs[KEY], path) for trial in trials]
        self.memory = optuna.create_study(directions=directions)
        self.memory.add_trials(trials)

    @property
    def finished(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == "complete"]

    @property
    def trained(self) -> int:
        """The number of trials that trained a model."""
        return sum(outcome.state != "impossible" for outcome in self.outcomes)

    def propose(self, max_bytes: float) -> Proposal | None:
        """An untried point; None if none is left whose kernels fit into `max_bytes`.

        The recipe's own point comes first. If no point fits at all, the smallest one is proposed, so that the search reports
        a result.
        """
        import optuna

        known = {key_of(outcome.point) for outcome in self.outcomes}
        sizes = self.space.min_bytes
        left = [key for key, size in sizes.items() if size <= max_bytes and key not in known]
        if not left:
            return None if self.trained else self._enqueued(dict(min(sizes, key=sizes.__getitem__)))
        if self.space.own is not None and key_of(self.space.own) in left:
            return self._enqueued(self.space.own)
        recent = self.outcomes[-MAX_ATTEMPTS:]
        if len(recent) < MAX_ATTEMPTS or any(outcome.state != "impossible" for outcome in recent):
            for attempt in range(MAX_ATTEMPTS):
                trial, point = self._ask(attempt)
                if key_of(point) not in known:
                    return Proposal(trial, point, sizes[key_of(point)] <= max_bytes)
                self.memory.tell(trial, state=optuna.trial.TrialState.FAIL)
        return self._enqueued(dict(left[np.random.default_rng([self.seed, len(self.outcomes)]).integers(len(left))]))

    def _enqueued(self, point: Point) -> Proposal:
        point = {axis.name: point[axis.name] for axis in self.space.axes}
        values = {axis: point[axis.name] for axis in self.space.axes}
        parameters = {axis.name: axis.values.index(value) if axis.ordered else value for axis, value in values.items()}
        self.memory.enqueue_trial(parameters)
        return Proposal(self.memory.ask(self._distributions()), point)

    def _ask(self, attempt: int) -> tuple[optuna.Trial, Point]:
        import optuna

        self.memory.sampler = optuna.samplers.TPESampler(
            seed=int(np.random.default_rng([self.seed, len(self.outcomes), attempt]).integers(2**31)),
            n_startup_trials=STARTUP,
        )
        trial = self.memory.ask(self._distributions())
        given = {axis: trial.params[axis.name] for axis in self.space.axes}
        return trial, {axis.name: axis.values[value] if axis.ordered else value for axis, value in given.items()}

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        import optuna

        integer, categorical = optuna.distributions.IntDistribution, optuna.distributions.CategoricalDistribution
        axes = self.space.axes
        return {axis.name: integer(0, len(axis.values) - 1) if axis.ordered else categorical(axis.values) for axis in axes}

    def record(self, proposal: Proposal, outcome: Outcome) -> None:
        """Store the outcome of a proposal."""
        import optuna

        proposal.trial.set_user_attr(KEY, plain(outcome))
        for limit, excess in self.excess(outcome).items():
            proposal.trial.set_constraint(limit, excess)
        size = outcome.size(self.counted)
        if outcome.error is not None and size is not None:
            bits = (outcome.bits or 0.0,) if self.rated else ()
            self.memory.tell(proposal.trial, (outcome.error, size, *bits))
        else:
            self.memory.tell(proposal.trial, state=optuna.trial.TrialState.PRUNED)
        with _readable(self.path):
            self.stored.add_trial(self.memory.trials[-1])
        self.outcomes.append(outcome)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise FormatError for the exceptions of Optuna and SQLite on a damaged file, OSError where the system refuses."""
    import optuna
    import sqlalchemy.exc

    damaged = (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError, KeyError, TypeError, RuntimeError)
    try:
        yield
    except damaged as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__
        if code := _REFUSED.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF):
            raise OSError(code, os.strerror(code), str(path)) from error
        raise FormatError(f"{path}: damaged ({type(error).__name__}); --force starts a new search") from error
