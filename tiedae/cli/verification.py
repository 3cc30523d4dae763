"""Verification and benchmark of a bundle beside what it was made from: the models of a run and a source's test set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from msgspec import structs

from tiedae.base.errors import FormatError, InputError
from tiedae.base.records import checked, require, within
from tiedae.bundle.bench_results import Bench
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import Device, Metrics, Model, limit_text, read_metrics
from tiedae.config.config import VerifyConfig
from tiedae.config.tasks import task_kind
from tiedae.pipeline.run_artifacts import find_archives, load_measured, load_test, tested
from tiedae.tasks.from_files import with_task
from tiedae.tasks.judging import better_than, with_verdict
from tiedae.tasks.losses import beside_kept, by_source, kept_original, own_metrics, with_losses
from tiedae.tasks.table import TASKS
from tiedae.verify.allowance import DEFAULT, Allowance
from tiedae.verify.baseline import require_comparable, with_baseline
from tiedae.verify.bench.benchmark import Plan, bench_bundle
from tiedae.verify.collecting import MeasuredSamples
from tiedae.verify.float_files import OWN_WORD, float_files
from tiedae.verify.limits import Limits, looser, no_looser
from tiedae.verify.parity.keras_device import keras_device, skipped
from tiedae.verify.stated_figures import stated_figures
from tiedae.verify.verify import source_of, verify_bundle

from .recording import record


def verify(
    path: Path,
    *,
    model: Path | None,
    data: str | None,
    limits: Sequence[str] = (),
    bundle_limits: bool = False,
    baseline: Path | None = None,
    allow: str | float = DEFAULT,
    allow_unmeasured: bool = False,
    run_source: bool = False,
    announce: Callable[[str], None],
) -> Metrics:
    """The metrics of a bundle, as `verify_bundle` gives them; its golden vectors stand in for a model or data not given.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says: on its test
    samples quality is measured, and through the files every figure of the task. `limits` are KEY=VALUE and replace those of the
    recipe's [verify], of which looser ones than the defaults count with `bundle_limits` alone. With `baseline`, a file of
    earlier metrics, what got worse by more than `allow`, a fraction or a text such as `bytes=0.06,error=0.01`, is a failed
    check as well, and what could not be measured now unless `allow_unmeasured`. `run_source`: as `verify_bundle`. Raises
    InputError where one of them is wrong.
    """
    allowed = Allowance.parse(allow)
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    own = manifest.recipe.verify
    held = parse_limits(limits, own if bundle_limits else no_looser(own))
    if loose := {key: value for key, value in looser(own).items() if getattr(held, key) != value}:
        texts = ", ".join(limit_text(key, value) for key, value in loose.items())
        announce(f"the bundle's own limits are looser and are not applied: {texts}; --bundle-limits applies them")
    before = None if baseline is None else _read_baseline(baseline, manifest.name, manifest.model)
    splits = None if data is None else load_measured(path, manifest, data)
    test = None if splits is None else tested(manifest, splits)
    samples = None if splits is None or test is None else MeasuredSamples(test, len(splits.test))
    task, source = manifest.recipe.task, None
    if splits is not None and test is not None:
        source = source_of(splits.config.test_source or splits.config.source, test, task)
    held_to = Limits(held, TASKS[task_kind(task)].error_limit(task, test), run_source)
    if model is None:
        known = None if test is None else float_files(bundle, held_to.of(manifest.recipe))
        original, device = known or dataclasses.replace(kept_original(bundle, source), source=OWN_WORD), None
    else:
        original, device = _original(model, manifest.model.widths)
    metrics = verify_bundle(path, samples, original=original, limits=held_to, announce=announce)
    metrics = structs.replace(metrics, model=manifest.model, samples=source)
    if device is not None:
        metrics = structs.replace(metrics, keras=device, skipped=metrics.skipped + skipped(device))
    measured = None
    if splits is not None:
        announce("task, through the files")
        metrics, measured = with_task(metrics, bundle, splits, original.uncompressed)
    if measured is not None:
        measured = beside_kept(by_source(measured, original.source), bundle, source)
    metrics = with_losses(metrics, manifest, measured, held)
    metrics = with_verdict(metrics, bundle, test, None if splits is None else splits.test, measured)
    own = () if (kept := own_metrics(bundle)) is None else stated_figures(metrics, kept)
    metrics = structs.replace(metrics, checks=(*metrics.checks, *better_than(metrics.verdict, held.better_than), *own))
    if before is None:
        return metrics
    return with_baseline(metrics, before, name=str(baseline), allow=allowed, allow_unmeasured=allow_unmeasured)


def parse_limits(texts: Sequence[str], stated: VerifyConfig) -> VerifyConfig:
    """The stated limits with those of KEY=VALUE texts in their place, the last one of a key.

    Raises RecipeError for what is no KEY=VALUE, an unknown key, or a value of the wrong type or out of range.
    """
    given = {}
    for text in texts:
        key, equals, given[key] = text.partition("=")
        require(bool(equals), "--limit", text, "KEY=VALUE, such as max_quality_loss=0.02")
    with within("--limit "):
        return checked(VerifyConfig, structs.asdict(stated) | given, strict=False)


def _read_baseline(path: Path, name: str, model: Model) -> Metrics:
    before = read_metrics(path)
    try:
        require_comparable(name, model, before)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return before


def _original(folder: Path, widths: Sequence[int]) -> tuple[Original, Device]:
    """The float models of a run, after training and, where there was pruning, after that; and the device that they run on."""
    archives = find_archives(folder, widths)
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.verify.parity.keras_device import coding_function, keras_function, keras_layers

    models = [TiedAutoencoder.load(archive) for archive in archives]
    device = keras_device()
    last, first = models[-1], models[0]
    return Original(keras_function(last, device), keras_layers(last, device), coding_function(first, device)), device


SAMPLES = 256
"""How many test samples are used: they are repeated where a batch is larger."""


def bench(
    path: Path, *, model: Path | None, data: str | None, announce: Callable[[str], None], plan: Plan | None = None
) -> Bench:
    """Measure a bundle and record the rows in its metrics.json under `bench`; returns them.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says; the golden
    samples stand in for it. The stock files are those of the run, in `stock` beside the bundle. Where the bundle is damaged or
    cannot be written to, that is announced and the bundle stays as it is.
    """
    bundle = Bundle.open(path)
    manifest, golden = bundle.manifest, bundle.golden()
    test = None if data is None else load_test(path, manifest, data)[0]
    x = golden["x"] if test is None else test.take(np.arange(min(len(test), SAMPLES)))
    real = {"x": manifest.data.scaling.apply(x), "code": golden["code.f32"]}
    archive = None if model is None else find_archives(model, manifest.model.widths)[-1]
    measured = bench_bundle(bundle, real, stock=path.resolve().parent / "stock", keras=archive, plan=plan, announce=announce)
    try:
        record(path, measured)
    except (FormatError, InputError, OSError) as error:
        announce(f"not recorded in the bundle: {error}")
    return measured
