"""A row of the table of tasks: what a kind of task measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec

import numpy as np

from tiedae.base.errors import NotInstalledError
from tiedae.base.packages import missing
from tiedae.bundle.fidelity import FRACTION, ErrorLimit, Fidelity
from tiedae.bundle.reference_outputs import KERAS_FLOAT, Keras
from tiedae.bundle.task_results import TaskResult
from tiedae.bundle.verdict import Criterion
from tiedae.codec.backends import Backend, ProgramBackend
from tiedae.config.config import Recipe, VerifyConfig
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.tasks import Task
from tiedae.data.dataset import Dataset, choose
from tiedae.data.samples import Samples
from tiedae.entropy.classes import CodeTables
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.program.scoring import Detector

MEAN_SAMPLES = 10_000
"""Training samples whose mean is a baseline, at most."""
Statistic = Callable[[np.ndarray | None], float]
"""A figure of samples that count `weights` times, float64 [n]; None: once each."""


@dataclass(frozen=True)
class Exported:
    """What a task is measured on: the exported int8 program, the samples, and where there are any, the float model, the codec's
    tables of codes, and the detector of an anomaly task.

    `files`: the exported files in a runtime; None: the program computes in their place. `others`: whether other methods and
    baselines are fitted and measured too.
    """

    backend: ProgramBackend
    data: Dataset
    recipe: Recipe
    keras: Keras | None
    tables: CodeTables | None = None
    detector: Detector | None = None
    files: Backend | None = None
    others: bool = True

    @property
    def model(self) -> Backend:
        """What computes codes and outputs: the files, or the program."""
        return self.files or self.backend

    @cached_property
    def fidelity(self) -> Fidelity:
        return Fidelity.of_splits(self.data)

    def held_apart(self, held: int, part: int, train: int) -> tuple[np.ndarray, Samples, np.ndarray]:
        """At most `train` training samples by index, and at most `held` of others to choose settings on: (samples, indices).

        Those are of the validation set, else 1 / `part` of the training samples at most, which are then left out of the first.
        """
        data, seed, rest = self.data, self.recipe.data.seed, np.arange(len(self.data.train))
        samples = data.validation or data.train
        chosen = choose(samples, held if data.validation else min(held, len(samples) // part), seed)
        rest = rest if data.validation else np.setdiff1d(rest, chosen)
        return np.sort(np.random.default_rng(seed).permutation(rest)[:train]), samples, chosen

    @cached_property
    def mean(self) -> np.ndarray:
        """The mean of the training samples, what the model shall give, float64 [inputs], scaled: the least baseline."""
        train = self.data.train.wanted
        chosen = choose(train, MEAN_SAMPLES, self.data.config.seed)
        return self.data.scaling.apply(train.take(chosen)).mean(axis=0, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Contest:
    """What each of the test samples `rows` adds to a figure: an error, a score or a trustworthiness, float32 [n] each.

    `own`: by the program; `keras`: by the float model of `float_source`, None where there is none; `baselines` by name, with a
    `settings` text where there is one. `anomalous`: bool [n], which samples are anomalies, where the figure is an area under a
    curve.
    `alarms`, `keras_alarms`: of a detector, what each sample adds to the alarm rate, flagged / expected, by both.
    `uncompared`: baselines that were not compared, with the reason.
    """

    criterion: Criterion
    rows: np.ndarray
    own: np.ndarray
    baselines: Mapping[str, np.ndarray]
    settings: Mapping[str, str] = field(default_factory=dict)
    anomalous: np.ndarray | None = None
    keras: np.ndarray | None = None
    alarms: np.ndarray | None = None
    keras_alarms: np.ndarray | None = None
    uncompared: Mapping[str, str] = field(default_factory=dict)
    float_source: str = KERAS_FLOAT

    @property
    def groups(self) -> np.ndarray:
        """Bool [n], by which the samples of a bootstrap are drawn apart."""
        return np.zeros(len(self.own), bool) if self.anomalous is None else self.anomalous

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What a bundle keeps of it."""
        values = np.stack([self.own, *self.baselines.values()]).astype(np.float32)
        of_keras = {"keras": self.keras, "keras_alarms": self.keras_alarms}
        kept = {name: each.astype(np.float32) for name, each in of_keras.items() if each is not None}
        return {"compared": self.rows, "figures": values, **kept} | (
            {} if self.anomalous is None else {"anomalous": self.anomalous}
        )


@dataclass(frozen=True)
class HeldFigure:
    """A figure of a task that the int8 files may lose little of, against Keras float.

    `pair`: of a contest the samples' values by the program and by the float model, None where it has none; `statistic`: what
    computes the figure of such values. `sign`: 1 where larger is better, −1 where smaller is. `most`: the limit of [verify].
    """

    title: str
    pair: Callable[[Contest], tuple[np.ndarray, np.ndarray] | None]
    statistic: Callable[[Contest, np.ndarray], Statistic]
    most: Callable[[VerifyConfig], float]
    sign: int = 1


@dataclass(frozen=True)
class TaskMeasurement:
    """A task's result, the arrays that its section draws (`task/arrays.npz` of the bundle), what was not measured, and what
    compares the program with baselines.
    """

    result: TaskResult | None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    contest: Contest | None = None

    @property
    def kept(self) -> dict[str, np.ndarray]:
        """The arrays of `task/` in a bundle: those of the section, and those of the contest."""
        return {**self.arrays, **({} if self.contest is None else self.contest.arrays)}


@dataclass(frozen=True)
class TaskRow:
    """One kind of task.

    `measure`: the result on the exported program. `needs`: of each other method that samples are measured by, the optional
    packages. `held`: the figures whose loss by quantization is limited. `error_limit`: how the error of the int8 files on these
    test samples is limited beside them; None: it is not. `report.tasks.TASK_VIEWS` says how a result is shown.
    """

    measure: Callable[[Exported], TaskMeasurement]
    needs: Callable[[SampleSpec], Mapping[str, tuple[str, ...]]] = lambda _: {}
    held: Sequence[HeldFigure] = ()
    error_limit: Callable[[Task, Samples | None], ErrorLimit | None] = lambda _task, _test: FRACTION

    def missing(self, spec: SampleSpec) -> Mapping[str, NotInstalledError]:
        """The methods that cannot be measured here, each with the error that says how to install what it needs."""
        absent = {
            name: next((package for package in packages if find_spec(package) is None), None)
            for name, packages in self.needs(spec).items()
        }
        return {name: missing(package) for name, package in absent.items() if package}


def not_measured(what: str, reason: str, why: Why = Why.UNAVAILABLE) -> TaskMeasurement:
    """No result, for a reason."""
    return TaskMeasurement(None, skipped=(Skipped(Kind.TASK, why, what, reason),))
