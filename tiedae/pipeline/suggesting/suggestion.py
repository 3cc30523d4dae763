"""A recipe that fits some data, as TOML with a reason above each key, and what a simple baseline reaches."""

from __future__ import annotations

import os
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_plan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import DataError, DivergedError, RecipeError, listed
from tiedae.base.files import expanded
from tiedae.base.keys import Line
from tiedae.base.records import Record, checked, require, within
from tiedae.config.config import DataConfig, Recipe
from tiedae.config.layer_kinds import Activation
from tiedae.data.data_sets import DATA_SETS
from tiedae.data.dataset import Dataset
from tiedae.data.labels import label_text
from tiedae.data.normal import require_detectable
from tiedae.tasks.compression import LEAST_SAMPLES

from ..importing import TIED, Start
from ..recipe import check_inputs, parse_recipe, slug, toml_value, with_source
from ..sources import load_dataset, source_size
from .choices import (
    CHOICES,
    EARLY,
    OF_TRAINING,
    WINDOWS,
    Chosen,
    SourceSize,
    as_label,
    default_normal,
    label_counts,
    one_scale,
    window_of,
)
from .facts import Facts, measure
from .held_pca import HeldPca
from .plan import KEPT, HiddenTrial, RecipePlan, kept_by_default
from .proposals import proposed
from .sizes import SIZED, CodeSize, notes_of, proposals_of, table_lines
from .trial import trials_of, unjudged, untried

if TYPE_CHECKING:
    from tiedae.report.console import Progress

WIDTH = 118
"""Characters of a comment line at most."""
STATED = "stated by --set"
TABLES = tuple(name for name in Recipe.__struct_fields__ if name not in ("name", "search"))
"""Tables of a recipe, in its order."""
TIE = "one kernel per pair: float training ties them ([train] epochs is {})"
MERGE = "one kernel per pair: their two are equal, nothing is trained for it"
DECIDED = {"data.source": "--data", "task.kind": "--task"}
"""Keys that another option states."""


@dataclass(frozen=True)
class Wish:
    """What a user says: the source, the kind of task, the fraction of the variance that the code keeps (None: by task and kind
    of data), keys of the recipe (`data.window`) with values that are fixed, and the trained model to start from, if any."""

    source: str
    task: str
    kept: float | None
    stated: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""

    @classmethod
    def of(
        cls,
        source: str,
        task: str = "compression",
        kept: float | None = None,
        settings: Sequence[str] = (),
        model: str = "",
    ) -> Wish:
        """The wish of a command line; `settings`: KEY=VALUE each. RecipeError for what is not known."""
        require(task in KEPT, "--task", task, f"one of {', '.join(KEPT)}")
        require(kept is None or 0 < kept < 1, "--keep", kept, "a fraction of the variance, in (0, 1)")
        stated = dict(map(_setting, settings))
        wrong = [key for key in OF_TRAINING if model and key.startswith("model.") and key in stated]
        require(not wrong, "--set", wrong[:1], "left out beside --from, which has it")
        return cls(source, task, kept, stated, model)

    def table(self, name: str) -> dict[str, Any]:
        """The stated keys of a table."""
        return {key.removeprefix(f"{name}."): value for key, value in self.stated.items() if key.startswith(f"{name}.")}


def _setting(text: str) -> tuple[str, Any]:
    """`data.window=128` as a key and a value of TOML; a value that is no TOML is text."""
    key, equals, value = text.partition("=")
    table, _, name = key.strip().partition(".")
    if not equals or table not in TABLES or not name:
        right = f"KEY=VALUE with a key such as data.window, of the tables {', '.join(TABLES)}"
        raise RecipeError(f"--set: got {text!r}, must be {right}")
    if key.strip() in DECIDED:
        raise RecipeError(f"--set: got {text!r}; {DECIDED[key.strip()]} states it")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


class KeyChoice(Record, frozen=True):
    """The value of a key of the recipe, and why."""

    key: str
    value: Any
    reason: str


class Suggestion(Record, frozen=True):
    """A recipe as TOML `text`, the facts and choices that it comes from, and what a baseline reaches.

    `trials`: of nets with a hidden layer, of which the last one decided; none where nothing was trained. `proposals`: three
    sizes of the code, of which the recipe has the middle one; none where the code is stated or a trained model's.
    """

    facts: Facts
    choices: tuple[KeyChoice, ...]
    trials: tuple[HiddenTrial, ...]
    proposals: tuple[CodeSize, ...]
    baseline: str
    text: str


def suggest(wish: Wish, *, base: Path = Path(), to: Path = Path(), progress: Progress | None = None) -> Suggestion:
    """The recipe for a source. Of its samples only those are looked at that the recipe's run trains on.

    `base`: folder of a relative source; `to`: folder of the recipe, from which it names a relative source. `progress`: of the
    trial of a hidden layer.
    Raises DataError or FormatError for a source that cannot be used, RecipeError for a stated key that is wrong.
    """
    replaced = checked(Mapping[str, Activation], wish.stated.get("model.replace", {}), "model.replace")
    assume = checked(tuple[Line, ...], wish.stated.get("model.assume", ()), "model.assume")
    start = Start.read(base / wish.model, replaced, tie=None, assume=assume) if wish.model else None
    inputs = 0 if start is None else start.mirror.widths[0]
    seen = proposed(wish.table("data"), wish.source, wish.task, base, inputs)
    config, chosen = _data(wish, base, start, {key: choice for key, choice in seen.items() if key not in wish.stated})
    normal = _normal(wish, config, base)
    splits = load_dataset(config, "linear", base=base, normal=normal)
    _require_enough(splits)
    fixed = dict(wish.stated) if start is None else _of_model(start, splits, wish.stated)
    facts = measure(splits, fixed)
    if start is None and one_scale(wish.task, facts):
        fixed = {"data.per_feature": False} | fixed
        facts = measure(splits, fixed)
    given = 0 if start is None else start.mirror.widths[-1]
    plan = RecipePlan(wish.task, config, normal, wish.kept or kept_by_default(wish.task, facts), facts, given)
    plan = plan if start is not None else _tried(plan, splits, fixed, progress)
    facts = plan.facts
    pca = HeldPca.of(splits, facts)
    plan = pca.sized(plan)
    rows = {key: row for key, row in CHOICES.items() if start is None or key not in OF_TRAINING}
    chosen |= {key: choice for key, choose_value in rows.items() if (choice := choose_value(plan)) is not None}
    if start is not None:
        epochs = wish.stated.get("train.epochs")
        chosen["model.source"] = Chosen(_named_from(wish.model, base, to), model_text(start, epochs))
        if start.mirror.untied or start.mirror.merged:
            tie = TIE.format(TIED["epochs"] if epochs is None else epochs)
            chosen["model.tie"] = Chosen(True, tie if start.mirror.untied else MERGE)
        if start.mirror.scaling is None:
            chosen["data.scaling"] = Chosen(facts.scaling, f"{wish.model} states none: the scale of these values as they are")
    chosen |= {key: Chosen(value, STATED) for key, value in wish.stated.items()}
    if wish.stated.get("train.rate") == 0:
        chosen = {key: choice for key, choice in chosen.items() if key in wish.stated or key != "quantize.rate_fraction"}
    chosen["data.source"] = Chosen(wish.source, _about(facts))
    for key in ("data.source", "data.test", "data.clean"):
        if key in chosen and isinstance(chosen[key].value, str):
            chosen[key] = Chosen(_named_from(chosen[key].value, base, to), chosen[key].reason)
    name = slug(Path(wish.source).stem)
    tables = with_source(tables_of(chosen), to)
    recipe = check_inputs(parse_recipe(tables, name), facts.shape, facts.dtype)
    require_detectable(splits, recipe.task, wish.source)
    baseline = pca.text(plan)
    sized = start is not None or any(key in wish.stated for key in SIZED)
    proposals = () if sized else proposals_of(plan, pca)
    text = recipe_with_reasons(wish, chosen, baseline, proposals, plan)
    if parse_recipe(with_source(tomllib.loads(text), to), name) != parse_recipe(tables, name):
        raise RecipeError(f"{wish.source}: the recipe reads back as another, which is a defect of tiedae")
    choices = tuple(KeyChoice(key, choice.value, choice.reason) for key, choice in ordered(chosen).items())
    return Suggestion(facts, choices, plan.trials, proposals, baseline, text)


def _tried(plan: RecipePlan, splits: Dataset, stated: Mapping[str, Any], progress: Progress | None) -> RecipePlan:
    """The plan with its trials, and the facts for the output activation of the last one."""
    if reason := untried(plan, splits, stated):
        return replace_plan(plan, untried=reason)
    if reason := unjudged(splits):
        plan, output = replace_plan(plan, unjudged=reason), "linear"
    else:
        try:
            trials = trials_of(plan, splits, progress)
        except DivergedError as error:
            return replace_plan(plan, untried=str(error))
        plan, output = replace_plan(plan, trials=trials), trials[-1].output
    if output == plan.facts.output:
        return plan
    return replace_plan(plan, facts=measure(splits, {**stated, "model.output_activation": output}))


def _of_model(start: Start, splits: Dataset, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Stated keys with what the facts depend on where a trained model is given; DataError for samples that it does not take."""
    rule = start.scaled(splits).scaling.rule
    known = {"data.scaling": rule} if rule in ("none", "byte") else {}
    return known | {"model.output_activation": start.mirror.config.output_activation} | dict(stated)


def model_text(start: Start, epochs: int | None = None) -> str:
    """A trained model in a sentence, with its notes; `epochs` of [train], where they are stated."""
    found = start.mirror
    kind = f"{found.chain.format}: {'-'.join(map(str, found.widths))} and back"
    if layers := [str(i) for i, normalized in enumerate(found.batch_norm, start=1) if normalized]:
        kind += f", batch_norm = true of the units of layers {', '.join(layers)}"
    still = "tied; no float training ([train] epochs is 0)" if not epochs else f"tied; fine-tuned ([train] epochs is {epochs})"
    how = "tied; fine-tuned" if found.replaced else still
    return ". ".join([f"{kind}, {'not tied' if found.untied else how}", *found.notes])


def model_recipe(wish: Wish, *, base: Path = Path(), to: Path = Path()) -> str:
    """A recipe that starts from the wish's trained model, for data that are to be named; raises as `Start.read`, and
    RecipeError for a stated key other than model.assume."""
    wrong = [key for key in wish.stated if key != "model.assume"]
    require(not wrong, "--set", wrong[:1], "model.assume, or beside --data SOURCE, which is missing")
    assume, model = checked(tuple[Line, ...], wish.stated.get("model.assume", ()), "model.assume"), wish.model
    start = Start.read(base / model, tie=None, assume=assume)
    shape, scaling = " × ".join(map(str, start.mirror.chain.shape)), start.mirror.scaling
    of = "as its own scaling takes them" if scaling is not None else "of the scale that it was trained on"
    parts = [
        _comment(f"A recipe for {model}, by `tiedae recipe --from`; with --data SOURCE the rest of it fits the data."),
        f"\n[data]\n{_comment(f'your samples: {shape} values each, {of}')}source = {toml_value('samples.npy')}\n",
        f"\n[model]\n{_comment(model_text(start))}source = {toml_value(_named_from(model, base, to))}\n",
        f"{_comment(TIE.format(TIED['epochs']))}tie = true\n" if start.mirror.untied else "",
        f"{_comment(MERGE)}tie = true\n" if start.mirror.merged else "",
        f"assume = {toml_value(assume)}\n" if assume else "",
    ]
    return "".join(parts)


def tables_of(chosen: Mapping[str, Chosen]) -> dict[str, Any]:
    """Values by `table.key` as tables."""
    tables: dict[str, Any] = {}
    for key, choice in ordered(chosen).items():
        table, _, name = key.partition(".")
        tables.setdefault(table, {})[name] = choice.value
    return tables


def ordered(chosen: Mapping[str, Chosen]) -> dict[str, Chosen]:
    """The choices in the order of a recipe's tables; those of a table as they were chosen, `source` and `kind` first."""

    def place(key: str) -> tuple[int, bool]:
        return TABLES.index(key.partition(".")[0]), key not in DECIDED

    return {key: chosen[key] for key in sorted(chosen, key=place)}


def _data(wish: Wish, base: Path, start: Start | None, chosen: Mapping[str, Chosen]) -> tuple[DataConfig, dict[str, Chosen]]:
    """The keys of `[data]` that decide which samples are trained on, and why: those chosen, and more."""
    chosen = dict(chosen)
    config = _config(wish, chosen)
    rows, shortest, window, own_test = source_size(config, base=base)
    if shortest and not (config.window or window):
        _require_windows(wish.source, rows)
        inputs = 0 if start is None else start.mirror.widths[0]
        chosen["data.window"] = Chosen(inputs, "values that the model takes") if inputs else window_of(rows, shortest)
        config = replace(config, window=chosen["data.window"].value)
    window = (config.window or window) if shortest else 0
    source = SourceSize(rows // window if window else rows, window, own_test)
    chosen |= {key: choice for key, choose_value in EARLY.items() if (choice := choose_value(source, wish.task)) is not None}
    chosen = {key: choice for key, choice in chosen.items() if key not in wish.stated}
    return _config(wish, chosen), chosen


def _config(wish: Wish, chosen: Mapping[str, Chosen]) -> DataConfig:
    """`[data]` with what is chosen, and what is stated."""
    keys = {key.removeprefix("data."): choice.value for key, choice in chosen.items()}
    with within("data."):
        return checked(DataConfig, {"source": wish.source, **keys, **wish.table("data")})


def _require_windows(source: str, values: int) -> None:
    """Raise DataError for a record that is too short for `LEAST_SAMPLES` windows."""
    least = LEAST_SAMPLES * WINDOWS[0]
    if values < least:
        right = f"{least:,} or more for {LEAST_SAMPLES} windows of {WINDOWS[0]}; or state a window by --set data.window=N"
        raise DataError(f"{source}: is a record of {values:,} values, must be {right}")


def _require_enough(splits: Dataset) -> None:
    """Raise DataError where the training samples that share no value are fewer than `LEAST_SAMPLES`."""
    count = len(splits.train.disjoint)
    if count < LEAST_SAMPLES:
        got = f"has {count} training samples beside {len(splits.test)} test samples"
        raise DataError(f"{splits.config.source}: {got}, must be {LEAST_SAMPLES} or more for a recipe by them")


def _normal(wish: Wish, config: DataConfig, base: Path) -> tuple[int | str, ...]:
    """The labels of normal samples: as stated, or those of a convention; none where the task or the data have none."""
    if wish.task != "anomaly":
        return ()
    if "task.normal" in wish.stated:
        return checked(tuple[int | str, ...], wish.stated["task.normal"], "task.normal")
    labels = load_dataset(config, "linear", base=base).train.labels
    if labels is None:
        return ()
    normal = default_normal(labels)
    if not normal:
        names = [label_text(label) for label in np.unique(labels).tolist()]
        example = toml_value(as_label(next(iter(label_counts(labels))), labels))
        right = f"State them, such as --set 'task.normal=[{example}]', the most frequent of {listed(names)}"
        raise DataError(f"{wish.source}: which of its labels are normal? {right}")
    return normal


def _named_from(source: str, base: Path, to: Path) -> str:
    """The source as a recipe in the folder `to` names it."""
    if source in DATA_SETS or expanded(source).is_absolute():
        return source
    return Path(os.path.relpath(base / source, to)).as_posix()


def _about(facts: Facts) -> str:
    """The samples in a sentence."""
    shape = " × ".join(map(str, facts.shape))
    extremes = f"{facts.dtype} from {facts.low:.6g} to {facts.high:.6g}"
    notes = [
        f"{facts.constants:,} constant columns" if facts.constants else "",
        f"{facts.duplicates:,} duplicates" if facts.duplicates else "",
        f"values {facts.tail:.3g} standard deviations from their mean" if facts.heavy else "",
    ]
    parts = (f"{facts.samples:,} samples of {shape} values", extremes, f"taken as {facts.kind}", *filter(None, notes))
    return ", ".join(parts)


def recipe_with_reasons(
    wish: Wish, chosen: Mapping[str, Chosen], baseline: str, proposals: Sequence[CodeSize], plan: RecipePlan
) -> str:
    """The TOML of the choices, each below its reason, and above them the proposals as a table."""
    lines = [
        f"A recipe for {wish.source}, by `tiedae recipe --data`. The training samples decided, no test sample was looked at.",
        baseline,
    ]
    parts = ["".join(map(_comment, lines))]
    if proposals:
        parts += ["#\n", *(f"# {line}\n" for line in table_lines(proposals)), *map(_comment, notes_of(plan))]
    table = ""
    for key, choice in ordered(chosen).items():
        name, _, field_name = key.partition(".")
        parts.append(f"\n[{name}]\n" if name != table else "")
        parts.append(f"{_comment(choice.reason)}{_comment(choice.other)}{field_name} = {toml_value(choice.value)}\n")
        table = name
    return "".join(parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH, break_long_words=False))
