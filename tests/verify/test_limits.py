"""Limits that a bundle brings with it: looser ones do not count unasked, and any that is no default is said."""

from __future__ import annotations

import pytest
from msgspec.structs import asdict, replace

from tiedae.bundle.results import Metrics
from tiedae.config.config import VerifyConfig
from tiedae.report.result_writers import headline, to_junit, to_markdown
from tiedae.verify.limits import TOLERANCES, Limits, looser, no_looser

LOOSE = {
    "max_quality_loss": 0.5,
    "max_points_lost": 0.5,
    "max_alarms_added": 5.0,
    "max_decibels_lost": 9.0,
    "codes_equal_share": 0.0,
    "codes_max_lsb": 255,
    "operation_max_lsb": 255,
    "float_max_abs": 1.0,
}


def test_every_tolerance_has_a_looser_one() -> None:
    assert LOOSE.keys() == set(TOLERANCES)


@pytest.mark.parametrize("key", TOLERANCES)
def test_a_looser_limit_of_a_bundle_is_the_default(key: str) -> None:
    stated = replace(VerifyConfig(better_than=("pca",)), **{key: LOOSE[key]})
    assert looser(stated) == {key: LOOSE[key]}
    assert no_looser(stated) == VerifyConfig(better_than=("pca",))


def test_a_stricter_limit_stays() -> None:
    stated = VerifyConfig(max_quality_loss=0.01, codes_max_lsb=0, float_max_abs=1e-7)
    assert no_looser(stated) == stated and not looser(stated)


@pytest.mark.parametrize("key", TOLERANCES)
def test_loosened_unseen(key: str) -> None:
    """A limit that is not the default stands in the first line of every summary."""
    changed = Limits(replace(VerifyConfig(), **{key: LOOSE[key]})).changed
    metrics = Metrics("a", (), (), (), (), (), (), (), {}, limits=changed)
    line = f"limits that are not the defaults: {key} {LOOSE[key]:g} (default {asdict(VerifyConfig())[key]:g})"
    for text in (headline(metrics), to_junit(metrics), to_markdown(metrics).splitlines()[0]):
        assert line.replace("_", "") in text.replace("\\_", "_").replace("_", "")
    assert not Limits().changed
