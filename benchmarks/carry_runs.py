"""The runs of carry.py: `tiedae recipe`, then `tiedae run`, as a user calls them, and what came of it.

Each is made in a folder of its own, which keeps `outcome.json`: an interrupted benchmark continues, and what is there is not
made again. Take another folder after a change of the code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carry_methods import Methods
from carry_sets import StrangersSet
from msgspec.structs import replace

from tiedae.base.errors import CheckError, InputError
from tiedae.base.files import write_atomic
from tiedae.base.records import Record, decode, encode, load_json
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics, read_metrics
from tiedae.bundle.task_results import AnomalyResult, DenoisingResult, ReductionResult, TaskResult
from tiedae.bundle.verdict import Reason, Verdict
from tiedae.config.config import VerifyConfig
from tiedae.export.kinds import Precision, Stage
from tiedae.pipeline.recipe import load_recipe

METHODS = Path(__file__).with_name("carry_methods.py")
TIEDAE = str(Path(sys.executable).with_name("tiedae"))
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
ENVIRONMENT = {**os.environ, **dict.fromkeys(THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}
"""One thread for each run, since two run side by side."""


class PcaGain(Record, frozen=True):
    """The mean squared errors of a compression and of PCA at the same bits, and the 95 % interval of theirs − ours."""

    ours: float
    theirs: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


class Outcome(Record, frozen=True):
    """What came of a run. `recipe_exit` and `run_exit`: exit codes, None where it was not started; `message`: why it failed.

    `measure` of the task, with its figure for the `floating` model and the worst `int8` file; None where there is none.
    `findings` of the verdict. `limit`: what a compression may lose, by its recipe.
    """

    name: str
    task: str
    seed: int
    recipe_exit: int
    run_exit: int | None = None
    message: str = ""
    seconds: float = 0.0
    measure: str = ""
    floating: float | None = None
    int8: float | None = None
    methods: Methods | None = None
    pca: PcaGain | None = None
    findings: tuple[str, ...] = ()
    limit: float = VerifyConfig().max_quality_loss

    @property
    def failed(self) -> bool:
        return self.recipe_exit != 0 or self.run_exit != 0

    @property
    def lenient(self) -> str:
        """Why the run passed although it lost more than the default limit on quality; "" where it did not."""
        if self.failed or self.task != "compression" or self.loss is None or self.loss <= 1 + VerifyConfig().max_quality_loss:
            return ""
        return "wider limit" if self.loss <= 1 + self.limit else "noise"

    @property
    def loss(self) -> float | None:
        """int8 error / float error; of an area or a trustworthiness 1 + what is lost of it."""
        if self.floating is None or self.int8 is None:
            return None
        if self.measure == ERROR:
            return self.int8 / self.floating if self.floating else float("inf") if self.int8 else 1.0
        return 1 + self.floating - self.int8

    @property
    def qat_vs_ptq(self) -> float | None:
        return None if self.methods is None or not self.methods.ptq else self.methods.qat / self.methods.ptq

    @property
    def pca_lost(self) -> bool:
        """Whether PCA has the smaller error beyond noise, and the verdict does not say so."""
        return self.pca is not None and self.pca.high < 0 and f"{Reason.WORSE}: pca" not in self.findings


INTERRUPTED = 130
ERROR, AREA, TRUST = "error", "ROC-AUC", "trustworthiness"


@dataclass(frozen=True)
class Job:
    """A run that is to be made in `folder`, of the file of a set."""

    strangers: StrangersSet
    task: str
    seed: int
    source: Path
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.strangers.name} {self.task} {self.seed}"

    @property
    def file(self) -> Path:
        return self.folder / "outcome.json"

    @property
    def done(self) -> bool:
        return self.file.exists()

    def outcome(self) -> Outcome:
        """What came of it; made now if the folder does not hold it."""
        if not self.done:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.file, encode(self._made()))
        outcome = decode(Outcome, load_json(self.file.read_bytes(), self.file), self.file)
        if not outcome.lenient:
            return outcome
        return replace(outcome, limit=load_recipe(self.folder / "recipe.toml").verify.max_quality_loss)

    @property
    def recipe_command(self) -> list[str]:
        """`tiedae recipe` of this set and task; of an anomaly task the label of normal samples is the user's to state."""
        normal = [f'task.normal=["{self.strangers.normal}"]'] if self.task == "anomaly" else []
        settings = [f"train.seed={self.seed}", f"data.seed={self.seed}", *normal]
        options = [part for setting in settings for part in ("--set", setting)]
        return [TIEDAE, "recipe", "--data", str(self.source), "--task", self.task, *options]

    def _made(self) -> Outcome:
        recipe, run = self.folder / "recipe.toml", self.folder / "run"
        started = time.monotonic()
        outcome = Outcome(self.strangers.name, self.task, self.seed, 0)
        done = call([*self.recipe_command, "-o", str(recipe), "--force"])
        if done.returncode:
            return replace(outcome, recipe_exit=done.returncode, message=last_line(done.stderr))
        done = call([TIEDAE, "run", str(recipe), "--out", str(run), "--resume"])
        write_atomic(self.folder / "log.txt", (done.stdout + done.stderr).encode())
        outcome = replace(outcome, run_exit=done.returncode, seconds=time.monotonic() - started)
        try:
            metrics = read_metrics(run / "bundle" / METRICS)
        except InputError:
            return replace(outcome, message=last_line(done.stderr))
        outcome, methods = measured(outcome, metrics), self.folder / "methods.json"
        done = call([sys.executable, str(METHODS), str(recipe), str(run), str(self.folder / "other"), "--json", str(methods)])
        if done.returncode:
            return replace(outcome, message=outcome.message or f"{METHODS.name}: {last_line(done.stderr)}")
        return replace(outcome, methods=decode(Methods, load_json(methods.read_bytes(), methods), methods))


def call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What a command did; CheckError where it was interrupted, so that no outcome is kept."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode < 0 or done.returncode == INTERRUPTED:
        raise CheckError(f"{' '.join(command[1:3])}: was interrupted; call the benchmark again")
    return done


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was printed"])[-1]


def measured(outcome: Outcome, metrics: Metrics) -> Outcome:
    """With what a run measured."""
    measure, floating, int8 = figures(metrics)
    findings = () if metrics.verdict is None else tuple(f"{row.reason}: {row.subject}" for row in metrics.verdict.findings)
    failures = "; ".join(check.text for check in metrics.failed[:3])
    pca = pca_gain(metrics.verdict) if outcome.task == "compression" else None
    return replace(
        outcome, measure=measure, floating=floating, int8=int8, findings=findings, pca=pca, message=outcome.message or failures
    )


def figures(metrics: Metrics) -> tuple[str, float | None, float | None]:
    """The measure of a run's task, and its figure for the float model and for the worst int8 file."""
    return of_task(metrics.task) or of_quality(metrics)


def of_task(result: TaskResult | None) -> tuple[str, float | None, float | None] | None:
    if isinstance(result, DenoisingResult):
        return ERROR, result.row("float").mse, result.row("int8").mse
    if isinstance(result, AnomalyResult):
        areas = [None if (row := result.method(name)) is None else row.roc_auc.value for name in ("float", "int8")]
        return AREA, areas[0], areas[1]
    if isinstance(result, ReductionResult):
        values = {row.method: row.trustworthiness for row in result.methods}
        return TRUST, values.get("float"), values.get("int8")
    return None


def of_quality(metrics: Metrics) -> tuple[str, float | None, float | None]:
    floating = [row.error for row in metrics.quality if row.stage in (Stage.TRAIN, Stage.PRUNE, Stage.CLUSTER)]
    int8 = [row.error for row in metrics.quality if (row.stage, row.precision) == (Stage.EXPORT, Precision.INT8)]
    return ERROR, floating[-1] if floating else None, max(int8, default=None)


def pca_gain(verdict: Verdict | None) -> PcaGain | None:
    row = None if verdict is None else verdict.against("pca")
    return None if row is None else PcaGain(row.ours, row.theirs, row.gain.low, row.gain.high)
