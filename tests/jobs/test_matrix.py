"""Pairs of features as whole jobs: each allowed pair is in a case, which ends in verified files that give equal samples.

`make test-night` runs all cases, trained. `make test` runs the last of every sixth, with random weights, post-training
quantization and without UMAP, which numba compiles for half a minute.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tiedae.config.combinations import FEATURES, FORBIDDEN
from tiedae.tasks import reduction

from ..export.c.compiled import tool
from .matrix import FACTORS, PLAIN, Case, Job, allowed, beside_stock, cases, covered, pairs

CASES = cases()


def named(number: int) -> str:
    """The features of a case."""
    return "-".join(level.replace(" ", "_") for level in CASES[number].values() if level not in PLAIN)


def run(case: Case, number: int, folder: Path, *, trained: bool) -> None:
    tool("gcc")
    Job(case, number, folder, trained).run()


@pytest.mark.parametrize("number", range(1, len(CASES), 6)[-1:], ids=named)
def test_a_case_with_random_weights(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "find_spec", lambda _: None)
    run(CASES[number], number, tmp_path, trained=False)


@pytest.mark.night
@pytest.mark.parametrize("number", range(len(CASES)), ids=named)
def test_a_case_trained(number: int, tmp_path: Path) -> None:
    run(CASES[number], number, tmp_path, trained=True)


def test_every_allowed_pair_is_in_a_case_and_no_other() -> None:
    found = set().union(*map(covered, CASES))
    assert found == {pair for pair in pairs() if allowed(*pair)}
    assert cases() == CASES
    assert len(CASES) <= 22


def test_every_level_is_in_a_case_with_the_files_of_the_stock_converters() -> None:
    with_stock = {level for number, case in enumerate(CASES) if beside_stock(number) for level in case.values()}
    assert with_stock == {level for levels in FACTORS.values() for level in levels}


def test_the_levels_are_features_of_the_product() -> None:
    levels = {level for each in FACTORS.values() for level in each}
    assert levels - PLAIN <= set(FEATURES)
    features = [pair for pair in pairs() if not pair & PLAIN]
    assert sum(not allowed(*pair) for pair in features) / len(features) <= 0.1
    assert any({row.first, row.second} <= levels for row in FORBIDDEN)
