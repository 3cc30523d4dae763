"""A run: from a recipe to a verified bundle, stage by stage, each left on disk so that the next call continues from there.

OUT/run.json                 the recipe and the data's sha256: who this folder belongs to
OUT/model/STAGE.safetensors       the model after a stage (train, prune, cluster, quantize), STAGE.json its history
OUT/model/import.json             where the weights are from, of a recipe with model.source
OUT/model/calibration.json        what the ranges of quantization start from
OUT/model/checkpoint.safetensors  the stage that is being trained
OUT/stock/                        what the stock converters make of the same model
OUT/bundle/                       the result; it appears whole
OUT/.next/                        all of these, of a run with --force, which takes the place of an earlier one at its end
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from tiedae.base.archive import archive_path
from tiedae.base.errors import FormatError, InputError
from tiedae.base.records import checked, decode, plain, require
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Epoch, Metrics, read_metrics
from tiedae.calibration.calibration_file import Calibration, read_calibration, write_calibration
from tiedae.calibration.representative import representative
from tiedae.codec.header import most_per_frame
from tiedae.compress.imports.origin import ImportOrigin
from tiedae.config.config import Recipe
from tiedae.config.tasks import task_kind
from tiedae.data.dataset import Dataset
from tiedae.export.targets import decoder_layout, require_targets
from tiedae.report.console import Console, Progress
from tiedae.tasks.table import TASKS

from .importing import Start, start_of
from .recipe import check_inputs, recipe_digest
from .run_directory import alone_in, claim, new_folder, read_json, take_place, write_json
from .sources import data_text, provenance, recipe_data, split_text
from .stages import pruned
from .suggesting.facts import looks_like_signal

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.train import AfterEpoch, History, Training

CALIBRATION = "calibration.json"
IMPORT = "import.json"
MARKER = "run.json"
OURS = ("bundle", "model", "stock")
"""What --force replaces in OUT, with the marker."""
OWNERS = {
    "recipe_sha256": "another recipe's run",
    "data_sha256": "a run on other data",
    "calibration_sha256": "a run with another calibration",
    "source_sha256": "a run from another model",
}
"""What distinguishes runs in OUT/run.json, and what a run is that differs in it."""


def run_recipe(recipe: Recipe, *, base: Path, out: Path, resume: bool, force: bool, console: Console) -> Metrics:
    """Run a recipe into `out`; returns the metrics of its `bundle`.

    `base` is the folder that a relative path in the recipe starts from. `resume` continues this recipe's run in `out`, or
    answers from it where it is done; `force` replaces what run `out` holds. Raises InputError where `out` holds a run that
    neither allows, RecipeError for an unknown target. A failed check is no error here: the metrics report it.
    """
    require_targets(recipe.export.targets)
    splits = recipe_data(recipe, base)
    recipe = replace(check_inputs(recipe, splits.train.shape, splits.spec.dtype), search=None)
    right = f"{len(splits.train):,} at most, the number of training samples"
    require(recipe.codec.classes <= len(splits.train), "codec.classes", recipe.codec.classes, right)
    most = most_per_frame(splits.spec)
    require(recipe.codec.frame <= most, "codec.frame", recipe.codec.frame, f"{most:,} at most: a frame holds 64 MiB of samples")
    for method, error in TASKS[task_kind(recipe.task)].missing(splits.spec).items():
        if method in recipe.verify.better_than:
            raise error
        console.note(f"{method} will not be measured beside the model: {error}")
    run = _PipelineRun(recipe, splits, out, console, _calibration(recipe, splits, base), start_of(recipe, base))
    bundle = out / "bundle"
    with alone_in(out):
        work = run.claim(force=force, resume=resume)
        console.note(data_text(recipe.data, splits))
        console.note(split_text(recipe.data, splits))
        for text in run.import_notes:
            console.note(text)
        if looks_like_signal(splits):
            text = 'neighbouring values are similar, as time steps of a signal are; `kind = "record"` in [data]'
            console.note(f'{recipe.data.source}: {text} takes them for that, `kind = "table"` leaves this note out')
        if (work / "bundle").exists():
            _require_intact(work / "bundle")
            console.note(f"{bundle}: done earlier with this recipe")
        else:
            with resources():
                run.build(work)
        take_place(out, work, MARKER, OURS)
    return read_metrics(bundle / METRICS)


def _calibration(recipe: Recipe, splits: Dataset, base: Path) -> Calibration | None:
    """The calibration that a recipe names; raises InputError early where it, or the data for one, cannot be used."""
    config = recipe.quantize
    if config.calibration is None:
        representative(splits.train, config.samples, seed=recipe.data.seed, noise=recipe.train.noise).require_usable(
            splits.inputs
        )
        return None
    path = base / config.calibration
    calibration = read_calibration(path)
    calibration.require_scaling(splits.scaling, source=str(path))
    return calibration


def data_digest(splits: Dataset) -> str:
    """One sha256 over all splits and their labels; of labels that are text, over their places in sorted order."""
    digest = hashlib.sha256()
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    texts = [part.labels for part in parts if part.labels is not None and part.labels.dtype.kind == "U"]
    names = np.unique(np.concatenate(texts)) if texts else None
    for part in parts:
        digest.update(part.sha256.encode())
        digest.update(b"" if part.clean is None else part.wanted.sha256.encode())
        if part.labels is not None:
            labels = part.labels if names is None else np.searchsorted(names, part.labels)
            digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def _require_intact(bundle: Path) -> None:
    """Raise FormatError unless every file of a finished bundle is as its manifest says."""
    from tiedae.bundle.bundle import Bundle

    try:
        Bundle.open(bundle).require_intact()
    except FormatError as error:
        raise FormatError(f"{error}; delete {bundle} and run again to write it anew") from None


@contextlib.contextmanager
def resources() -> Iterator[None]:
    """TensorFlow's word for a full disk or too little memory, as an error of ours."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if "No space left" in error.message:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir()) from error
        raise InputError("the model does not fit in memory; make its layers or train.batch_size smaller") from error
    except MemoryError as error:
        raise InputError("the model does not fit in memory; make its layers or train.batch_size smaller") from error


@dataclass(frozen=True)
class _PipelineRun:
    recipe: Recipe
    splits: Dataset
    out: Path
    console: Console
    calibration: Calibration | None
    start: Start | None

    @property
    def import_notes(self) -> list[str]:
        """What a user has to know of the model that the run starts from."""
        if (start := self.start) is None:
            return []
        notes = [f"{start.source}: {note}" for note in start.mirror.notes]
        return [*filter(None, (start.scaling_text(self.recipe.data, self.splits), *notes))]

    def claim(self, *, force: bool, resume: bool) -> Path:
        """The folder to work in, which is now this recipe's; InputError as `claim`."""
        mine = {
            "recipe_sha256": recipe_digest(self.recipe),
            "data_sha256": data_digest(self.splits),
            "calibration_sha256": None if self.calibration is None else self.calibration.sha256,
            "source_sha256": None if self.start is None else self.start.sha256,
            "recipe": plain(self.recipe),
        }
        work, continued = claim(self.out, MARKER, mine, OWNERS, OURS, resume=resume, force=force)
        if resume and not continued:
            self.console.note(f"{self.out}: nothing to resume, starting")
        return work

    def build(self, work: Path) -> None:
        from .assemble import assemble
        from .trained import Trained, TrainedModels

        folder = work / "model"
        imported = self.compared(folder / IMPORT)
        progress = self.console.progress
        stages = Stages(self.recipe, self.splits, lambda _: folder, progress, calibration=self.calibration, start=self.start)
        models = stages.run()
        history = [record for path in models.values() for record in read_json(path.with_suffix(".json"))]
        for record in (checked(Epoch, record) for record in history):
            if record.kept is not None:
                self.console.note(f"quantize: {record.kept.text}")
            if record.start:
                self.console.note(f"train: {record.start}")
        loaded = {name: load_model(path) for name, path in models.items()}
        if self.start is not None and imported is not None:
            imported = self.start.with_cost(imported, loaded["train"], self.splits)
            for text in filter(None, (imported.cost, *imported.notes[len(self.start.mirror.notes) :])):
                self.console.note(f"{self.start.source}: {text}")
        if self.recipe.train.for_rate:
            code, float_model = self.recipe.model.layers[-1], loaded["train"]
            left = f"{float_model.config.layers[-1].units} of {code.units} units of the code are worth their bits"
            self.console.note(f"{left}, at a scale of {float_model.code_scale:.4g}")
        trained = TrainedModels(loaded, read_calibration(folder / CALIBRATION), history)
        source = provenance(self.recipe.data.source)
        untied = None if self.start is None else self.start.untied(self.recipe.train.seed)
        origin = Trained(trained, self.splits, self.recipe, work / "stock", source, imported, untied)
        with new_folder(work / "bundle") as partial:
            assemble(origin, partial, self.console.note)

    def compared(self, path: Path) -> ImportOrigin | None:
        """Where the weights are from, compared with the original once in a run."""
        if self.start is None:
            return None
        if not path.exists():
            self.console.note(f"{self.start.source}: is compared with the original")
            model = self.start.model(self.recipe.train.seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self.start.compared(model, self.splits))
        origin = decode(ImportOrigin, read_json(path), path)
        self.console.note(f"{self.start.source}: {origin.compared}")
        return origin


@dataclass(frozen=True)
class Stages:
    """The training of a recipe, stage by stage; `folder` of a stage is where its model and its checkpoint are left.

    `calibration` is where quantization starts, where the recipe names one; else it is made, and left beside the model.
    `start`: the model that training starts from, where the recipe names one.
    """

    recipe: Recipe
    splits: Dataset
    folder: Callable[[str], Path]
    progress: Progress
    after_epoch: AfterEpoch | None = None
    calibration: Calibration | None = None
    start: Start | None = None

    def run(self) -> dict[str, Path]:
        """The archive of the model after each stage that the recipe has, by its name and in their order."""
        models: dict[str, Path] = {}
        path = None
        for name, train in STAGES.items():
            if getattr(self.recipe, name) is not None:
                path = models[name] = self.stage(name, path, train)
        for path in models.values():  # of a process that was killed before it could remove its own
            archive_path(path.parent, "checkpoint").unlink(missing_ok=True)
        return models

    def floating(self) -> Path:
        """The archive of the float model."""
        return self.stage("train", None, STAGES["train"])

    def stage(self, name: str, source: Path | None, train: Stage) -> Path:
        """The archive of the model after a stage; trained here unless it is there already."""
        from tiedae.compress.train import Training

        path = archive_path(self.folder(name), name)
        if not path.exists():
            checkpoint = archive_path(self.folder(name), "checkpoint")
            model, teacher = None, None
            if source is not None:
                model, teacher = load_model(source), load_model(archive_path(self.folder("train"), "train"))
            training = Training(
                self.recipe.train,
                teacher,
                code_scale=self.recipe.quantize.code_scale or None,
                checkpoint=checkpoint,
                progress=self.progress,
                after_epoch=self.after_epoch,
            )
            model, history = train(self, model, training)
            write_json(path.with_suffix(".json"), history)
            model.save(path)
            checkpoint.unlink(missing_ok=True)
        return path


def load_model(path: Path) -> TiedAutoencoder:
    from tiedae.compress.autoencoder import TiedAutoencoder

    return TiedAutoencoder.load(path)


def _train(run: Stages, _: TiedAutoencoder | None, training: Training) -> tuple[TiedAutoencoder, History]:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.float_training import train_float
    from tiedae.compress.train import fit
    from tiedae.compress.tying import tie

    if run.start is None:
        model = TiedAutoencoder(run.recipe.model, seed=training.config.seed)
        return model, train_float(model, run.splits, training)
    if (untied := run.start.untied(training.config.seed)) is not None:
        return tie(untied, run.splits, training)
    model = run.start.tied(training.config.seed)
    if not training.config.epochs:  # its codes stay what they are, too
        return model, []
    masked = any(kernel.mask is not None for kernel in model.kernels)
    return model, (fit if masked else train_float)(model, run.splits, training)


def _prune(run: Stages, model: TiedAutoencoder | None, training: Training) -> tuple[TiedAutoencoder, History]:
    assert model is not None and run.recipe.prune is not None
    return pruned(model, run.splits, run.recipe.prune, training)


def _cluster(run: Stages, model: TiedAutoencoder | None, training: Training) -> tuple[TiedAutoencoder, History]:
    from tiedae.compress.clustering import cluster

    assert model is not None and run.recipe.cluster is not None
    return model, cluster(model, run.splits, run.recipe.cluster, training)


def _quantize(run: Stages, model: TiedAutoencoder | None, training: Training) -> tuple[TiedAutoencoder, History]:
    from tiedae.calibration.post_training import quantize_post_training
    from tiedae.compress.quantized_training import train_quantized

    assert model is not None
    config = run.recipe.quantize
    noise = run.recipe.train.noise
    data = representative(run.splits.train, config.samples, seed=run.recipe.data.seed, noise=noise)
    layout = decoder_layout(run.recipe.export.targets, run.recipe.export.decoder)
    calibration = quantize_post_training(
        model, data, config, layout=layout, calibration=run.calibration, progress=training.progress
    )
    write_calibration(run.folder("quantize") / CALIBRATION, calibration)
    if config.method == "ptq":
        return model, []
    return model, train_quantized(model, run.splits, config, training)


Stage = Callable[["Stages", "TiedAutoencoder | None", "Training"], tuple["TiedAutoencoder", "History"]]
"""stage(run, the model before, what it is trained with) → the model after, and the history."""

STAGES: Mapping[str, Stage] = {"train": _train, "prune": _prune, "cluster": _cluster, "quantize": _quantize}
"""The stages in order, by their table of the recipe; one that a recipe leaves out is passed over."""
