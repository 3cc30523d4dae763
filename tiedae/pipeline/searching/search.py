"""A search: runs trials one by one, stores each finished one, and writes the Pareto front.

DIR/search.json        recipe, data digest, space and limits of the search
DIR/study.db           the trials, an Optuna study in SQLite
DIR/models/            cache of trained stages; may be deleted after the search
DIR/front.json, .html  the front and all trials
DIR/point-NN.*         the recipe and the int8 .tflite file of each point of the front
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from tiedae.base.errors import CheckError, DataError, ExportError, FormatError, InputError, RecipeError, UnavailableError
from tiedae.base.files import expanded, write_atomic
from tiedae.base.records import plain
from tiedae.bundle.fidelity import fit_text
from tiedae.config.config import Recipe
from tiedae.export.targets import TARGETS
from tiedae.report.console import Console, Progress
from tiedae.report.search.front import COUNTED, point_text
from tiedae.report.search.page import render

from ..importing import start_of
from ..recipe import check_inputs, recipe_digest, recipe_to_toml
from ..run_directory import alone_in, claim, take_place, write_json
from ..runs import data_digest, resources
from ..sources import data_text, recipe_data, with_absolute_paths
from .constraints import SearchLimits
from .early_stopping import EarlyStopping
from .front import FloatBaseline, bits_count, describe, pareto
from .other_coders import CodersMeasured, OtherCoders
from .space import Point, Space, key_of, space_of, with_validation
from .study import Trials, require_optuna
from .trial import TARGET, Outcome, TrialBuilder, TrialFile, kept_losses, latencies, losses

MARKER = "search.json"
OURS = ("study.db", "models", "front.json", "front.html", "point-*.*")
"""What --force replaces in DIR, with the marker."""


def search(
    recipe: Recipe,
    *,
    base: Path,
    out: Path,
    limits: SearchLimits,
    trials: int,
    timeout: float | None,
    resume: bool,
    force: bool,
    console: Console,
) -> dict[str, Any]:
    """Search into `out`; returns the front (see `front.describe`).

    `trials` models are trained at most, and none begins after `timeout` seconds. `resume` continues this search in `out`, or
    answers from it where it is over; `force` replaces what search `out` holds. Raises InputError where `out` holds one that
    neither allows, UnavailableError without Optuna. Limits that nothing meets are no error here.
    """
    if trials < 1:
        raise InputError(f"--trials: got {trials}, must be 1 or more")
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout: got {timeout:g}, must be seconds above 0")
    require_optuna()
    if TARGET not in recipe.export.targets:
        raise RecipeError(f'export.targets: got {list(recipe.export.targets)}, must include "{TARGET}", which it measures')
    if recipe.quantize.calibration is not None:
        raise RecipeError("quantize.calibration: must be left out: each model of a search needs its own calibration")
    recipe = with_validation(recipe)
    splits, start = recipe_data(recipe, base), start_of(recipe, base)
    space = space_of(check_inputs(recipe, splits.train.shape, splits.spec.dtype))
    data_sha256 = data_digest(splits)
    with alone_in(out), resources():
        mine = {"data_sha256": data_sha256, "source_sha256": None if start is None else start.sha256}
        work = _claim(out, space, limits, mine, resume=resume, force=force, console=console)
        console.note(data_text(recipe.data, splits))
        builder = TrialBuilder(splits, work / "models", data_sha256, start)
        archive = builder.stages(space.recipe, _live_progress(console, "float")).floating()
        float_file, quality = builder.build(space.recipe, archive)
        reference = FloatBaseline(quality.error, len(float_file.data), fidelity=quality.fidelity)
        float_losses = losses({"train": archive})["train"]
        run = _Search(space, builder, limits, reference, float_file, float_losses, out.name, work, base, console)
        front = run.finish(run.trials(trials, timeout))
        take_place(out, work, MARKER, OURS)
        return front


def _claim(
    out: Path,
    space: Space,
    limits: SearchLimits,
    digests: Mapping[str, str | None],
    *,
    resume: bool,
    force: bool,
    console: Console,
) -> Path:
    """The folder to work in, which is now this search's; InputError as `claim`."""
    mine: dict[str, Any] = {"recipe_sha256": recipe_digest(space.recipe), **digests}
    mine |= {"space": space.values, "limits": limits.to_json(), "recipe": plain(space.recipe)}
    words = {
        "recipe_sha256": "a search of another recipe",
        "data_sha256": "a search on other data",
        "source_sha256": "a search from another model",
        "space": "a search over another space",
        "limits": "a search for other limits",
    }
    work, continued = claim(out, MARKER, mine, words, OURS, resume=resume, force=force)
    if resume and not continued:
        console.note(f"{out}: nothing to resume, starting")
    return work


def _live_progress(console: Console, title: str) -> Progress:
    """Progress of one training, on terminals only: elsewhere each trial prints one line."""

    def show(stage: str, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        if console.live:
            console.progress(f"{title} {stage}", epoch, epochs, step, steps, loss)

    return show


class _TrialStopped(Exception):
    """A trial was stopped early; the text is the reason."""


@dataclass(frozen=True)
class _Search:
    space: Space
    builder: TrialBuilder
    limits: SearchLimits
    reference: FloatBaseline
    float_file: TrialFile
    float_losses: Sequence[float]
    name: str
    out: Path
    base: Path
    console: Console

    @property
    def counted(self) -> str:
        assert self.space.recipe.search is not None
        return self.space.recipe.search.size

    @property
    def rated(self) -> bool:
        return bits_count(self.space, self.limits)

    def trials(self, count: int, timeout: float | None) -> Trials:
        """Run trials until there are `count`, `timeout` seconds have passed or the space is exhausted."""
        trials = Trials(self.out / "study.db", self.space, self.excess, rated=self.rated)
        begun = time.monotonic()
        in_user_units = "" if self.reference.fidelity is None else f", {fit_text(self.reference.fidelity)}"
        self.console.note(f"float model of the recipe: error {self.reference.error:.4g}{in_user_units}")
        while trials.trained < count and (timeout is None or time.monotonic() - begun < timeout):
            proposal = trials.propose(self.limits.bytes)
            if proposal is None:
                self.console.note("no untried point of the space fits the limits")
                break
            number, min_bytes = trials.trained + 1, self.space.min_bytes[key_of(proposal.point)]
            if not proposal.fits:
                trials.record(proposal, Outcome(None, proposal.point, "impossible", f"its kernels take {min_bytes:,} B"))
                continue
            reference = self.reference.error, self.float_losses
            stopping = EarlyStopping(trials.finished, min_bytes, self.counted, self.limits, *reference)
            outcome = self.trial(number, proposal.point, stopping, f"trial {number}/{count}")
            trials.record(proposal, outcome)
            self.console.note(f"trial {number}/{count}  {point_text(outcome.point)}: {self.text(outcome)}")
        return trials

    def excess(self, outcome: Outcome) -> dict[str, float]:
        """The relative excess of an outcome over each limit; only those that are known."""
        size = outcome.size(self.counted)
        if outcome.error is not None and size is not None:
            return self.limits.excess(size, outcome.error / self.reference.error - 1, outcome.latency_us, outcome.bits)
        if outcome.state == "impossible":
            return {"bytes": self.space.min_bytes[key_of(outcome.point)] / self.limits.bytes - 1}
        return {}

    def trial(self, number: int, point: Point, stopping: EarlyStopping, title: str) -> Outcome:
        recipe = self.space.recipe_of(point)
        by_error = not (self.rated or recipe.train.for_rate)

        def check(epoch: int, loss: float) -> None:
            reason = stopping.stop_reason(epoch, recipe.train.epochs, loss) if by_error else ""
            if reason:
                raise _TrialStopped(reason)

        records: list[Mapping[str, Any]] = []

        def after_epoch(record: Mapping[str, Any]) -> None:
            if record["stage"] == "train":
                records.append(record)
                check(record["epoch"], kept_losses(records)[-1])

        try:
            check_inputs(recipe, recipe.model.shape)
            known = self.builder.float_losses(recipe)
            if known:
                check(len(known), known[-1])
            archives = self.builder.stages(recipe, _live_progress(self.console, title), after_epoch).run()
            file, quality = self.builder.build(recipe, archives["quantize"])
        except _TrialStopped as stopped:
            return Outcome(number, point, "stopped", str(stopped))
        except (InputError, ExportError) as error:
            if isinstance(error, DataError | FormatError):
                raise
            return Outcome(number, point, "refused", str(error))
        latency = None if self.limits.latency_us == math.inf else latencies({"float": self.float_file, "trial": file})["trial"]
        measured = quality.error, len(file.data), file.gzip_bytes, latency, losses(archives), quality.fidelity, quality.bits
        return Outcome(number, point, "complete", "", *measured)

    def text(self, outcome: Outcome) -> str:
        if outcome.error is None:
            return f"{outcome.state}: {outcome.note}"
        change = 100 * (outcome.error / self.reference.error - 1)
        latency = "" if outcome.latency_us is None else f", {outcome.latency_us:.3g} µs"
        quality = "" if outcome.fidelity is None else f", {fit_text(outcome.fidelity)}"
        sizes = f"{outcome.bytes:,} B, {outcome.gzip_bytes:,} B gzip"
        sizes += "" if outcome.bits is None else f", {outcome.bits:.4g} bits per sample"
        return f"error {outcome.error:.4g} ({change:+.1f} %){quality}, {sizes}{latency}"

    def finish(self, trials: Trials) -> dict[str, Any]:
        """Write the front: recipes and files of its points, timed together, then front.json and front.html."""
        timed = self.limits.latency_us < math.inf
        points = pareto(trials.outcomes, self.counted, timed=timed, rated=self.rated)
        files = {point.number: self.rebuild(point) for point in points}
        try:
            times = latencies({"float": self.float_file} | {str(number): each for number, each in files.items()})
        except UnavailableError as error:
            if timed:
                raise
            self.console.note(f"latency: not measured, {error}")
            times = {}
        latency = {number: times.get(str(number)) for number in files}
        reference = structs.replace(self.reference, latency_us=times.get("float"))
        others = self.others(trials.finished) if self.rated and trials.finished else None
        front = describe(points, trials.outcomes, latency, self.limits, reference, self.space, others)
        for point, row in zip(points, front["front"], strict=True):
            recipe, name = self.space.recipe_of(point.point), f"{self.space.recipe.name}-{row['name']}"
            model = recipe.model
            if model.source:
                model = structs.replace(model, source=str((self.base / expanded(model.source)).resolve()))
            data = with_absolute_paths(recipe.data, self.base)
            recipe = structs.replace(recipe, name=name, data=data, model=model, search=None)
            text = f"Point {row['name']} of the search {self.name}: {self.text(point)}\nError on validation samples."
            write_atomic(self.out / f"{row['name']}.toml", recipe_to_toml(recipe, text).encode(), follow=False)
            write_atomic(self.out / f"{row['name']}{TARGETS[TARGET].suffix}", files[point.number].data, follow=False)
        write_json(self.out / "front.json", front)
        for old in self.out.glob("point-*.*"):
            if old.stem not in {row["name"] for row in front["front"]}:
                old.unlink()
        page = render(front, f"Search: {self.space.recipe.name}", TARGETS[TARGET].suffix)
        write_atomic(self.out / "front.html", page.encode(), follow=False)
        return front

    def others(self, finished: Sequence[Outcome]) -> CodersMeasured:
        """What other coders need at the bits and errors of the finished trials."""
        recipe, bits = self.space.recipe, [outcome.bits for outcome in finished if outcome.bits]
        errors = [outcome.error for outcome in finished if outcome.error is not None]
        self.console.note("other coders: PCA, and JPEG, WebP and AVIF of images")
        coders = OtherCoders(self.builder.splits, self.builder.samples(recipe.train)[1], recipe.data.seed)
        return coders.measure(bits, min(errors), noisy=recipe.is_noisy)

    def rebuild(self, outcome: Outcome) -> TrialFile:
        """The file of a finished outcome, from its cached model."""
        recipe = self.space.recipe_of(outcome.point)
        archives = self.builder.stages(recipe, _live_progress(self.console, "front")).run()
        return self.builder.build(recipe, archives["quantize"])[0]


def require_found(front: Mapping[str, Any], limits: SearchLimits, out: Path) -> None:
    """Raise CheckError (exit code 1), with the closest point, if no point is within the limits."""
    if front["chosen"] is not None:
        return
    asked = " and ".join(limits.texts())
    closest = next((row for row in front["front"] if row["name"] == front["closest"]), None)
    if closest is None:
        raise CheckError(f"{out}: none of {len(front['trials'])} trials gave a file; {asked} cannot be judged")
    latency = "" if limits.latency_us == math.inf else f", {closest['latency_us']:.3g} µs"
    bits = "" if limits.bits == math.inf else f", {closest['bits']:.4g} bits per sample"
    got = f"error {100 * closest['error_increase']:+.1f} % at {closest[COUNTED[front['size']]]:,} bytes{bits}{latency}"
    raise CheckError(f"{out}: nothing found within {asked}; the closest is {closest['name']}: {got}")
