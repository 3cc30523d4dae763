"""`tiedae rescale`: a bundle with fresh tables, and codes of another scale, from an earlier one and its training data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tiedae.base.records import Record
from tiedae.bundle.bundle import Bundle, tables_name
from tiedae.bundle.results import Metrics
from tiedae.codec.opening import bundle_of, open_bundle
from tiedae.data.samples import Samples
from tiedae.verify.collecting import MAX_SAMPLES

from .assemble import assemble
from .derive import EarlierBundle
from .factor_choice import FactorChoice, choose_factor
from .run_artifacts import load_training
from .run_directory import new_folder, require_new


class Derived(Record, frozen=True):
    """A bundle that was written: `bits` of a test sample's codes under its tables, and `bits_before` under the source's, None
    where it has none; the metrics. `classes`: of its tables, 1 for none. `same_data`: whether its tables are of the samples
    that the model was trained on. `choice`: of the factor, None where the call states it.
    """

    factor: float
    classes: int
    same_data: bool
    samples: int
    bits_before: float | None
    bits: float
    metrics: Metrics
    choice: FactorChoice | None


def rescale(
    path: Path,
    source: str,
    out: Path,
    *,
    factor: float,
    fidelity: float | None,
    classes: int | None,
    replace: bool,
    announce: Callable[[str], None],
) -> Derived:
    """Write a bundle of the same model into the folder `out`: see `EarlierBundle`.

    `path`: a bundle, or OUT of a run. `source`: the training data, as in a recipe, which are split as the bundle's recipe says.
    `fidelity`: in place of a factor, see `choose_factor`.

    Raises InputError also where `out` exists, unless `replace`, or holds the source or lies in it.
    """
    bundle = bundle_of(path)
    require_new(out, replace=replace, option="--force", apart=bundle.path)
    data = load_training(bundle.path, bundle.manifest, source)
    same = data.train.sha256 == bundle.manifest.data.sha256
    if not same:
        announce(f"{source}: is not the training data of {bundle.path} (another sha256): its tables fit {source} instead")
    origin = EarlierBundle.of(bundle, data, source, factor=factor, classes=classes)
    choice = None if fidelity is None else choose_factor(origin, fidelity, announce)
    if choice is not None:
        announce(choice.text)
        origin = dataclasses.replace(origin, factor=choice.factor)
    metrics = derived(origin, out, replace=replace, announce=announce)
    some = min(len(data.test), MAX_SAMPLES)
    made = Bundle.open(out)
    before, after = (_bits(each, data.test, some) for each in (bundle, made))
    assert after is not None
    return Derived(origin.factor, made.tables().classes, same, some, before, after, metrics, choice)


def derived(origin: EarlierBundle, out: Path, *, replace: bool, announce: Callable[[str], None]) -> Metrics:
    """Write the bundle that an earlier one gives into the folder `out`, which appears whole."""
    require_new(out, replace=replace, option="overwrite=True", apart=origin.bundle.path)
    with new_folder(out) as partial:
        return assemble(origin, partial, announce)


def _bits(bundle: Bundle, test: Samples, count: int) -> float | None:
    """Bits per sample of the codes of the first test samples under a bundle's tables; None where it has none."""
    if tables_name(bundle.manifest.name) not in bundle.manifest.files:
        return None
    codes = open_bundle(bundle, "program").backend.encode(test.take(np.arange(count)))
    return bundle.tables().cross_entropy(codes) / count
