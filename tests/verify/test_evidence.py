"""What samples a verification measures on, and the manifest's maps of integers, without any runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import Check
from tiedae.compress import VerifyConfig
from tiedae.data.samples import Samples
from tiedae.program.integer_maps import IntegerMaps, LinearMap
from tiedae.verify import collecting
from tiedae.verify.collecting import BundleFiles, BundleModel, MeasuredSamples, _evidence
from tiedae.verify.findings import Findings
from tiedae.verify.limits import Limits
from tiedae.verify.verify import _judge_manifest


@pytest.fixture
def bundle(small_runs: Path) -> Bundle:
    return Bundle.open(small_runs / "bytes" / "bundle")


def model_of(bundle: Bundle, files: BundleFiles) -> BundleModel:
    return BundleModel.of(bundle, files.contents, Limits())


@pytest.mark.parametrize("noisy", [False, True])
def test_noisy_samples_are_measured_against_the_clean_ones(bundle: Bundle, noisy: bool) -> None:
    model, inputs = model_of(bundle, BundleFiles.of(bundle)), bundle.manifest.data.inputs
    x, clean = np.random.default_rng(0).integers(0, 256, (2, 12, inputs)).astype(np.uint8)
    samples = Samples(x, clean=clean if noisy else None)
    evidence = _evidence(bundle.manifest, model, Original(), MeasuredSamples.of(samples))
    assert np.array_equal(evidence.x, x) and evidence.measures_quality and evidence.left_out == 0
    if noisy:
        assert evidence.clean is not None and np.array_equal(evidence.clean, clean)
    else:
        assert evidence.clean is None and evidence.exact is not None
    wanted = (clean if noisy else x) / np.float32(255)
    np.testing.assert_allclose(evidence.wanted_scaled, wanted, atol=1e-7)
    assert evidence.error(wanted) == pytest.approx(0, abs=1e-9)
    assert evidence.floats is not None and len(evidence.floats.y) == 12 and evidence.floats.reference == "float program"


def test_without_samples_the_golden_ones_stand_for_them(bundle: Bundle) -> None:
    evidence = _evidence(bundle.manifest, model_of(bundle, BundleFiles.of(bundle)), Original(), None)
    golden = bundle.golden()
    assert np.array_equal(evidence.x, golden["x"]) and evidence.clean is None and not evidence.measures_quality
    assert evidence.floats is not None and evidence.floats.reference == "keras"
    assert np.array_equal(evidence.floats.y, golden["y.f32"])


@pytest.mark.parametrize(("more", "left_out"), [(0, 0), (1, 1)])
def test_ten_thousand_samples_are_measured_at_most(
    bundle: Bundle, more: int, left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "best_floats", lambda *_arguments: None)
    x = np.zeros((10_000 + more, bundle.manifest.data.inputs), np.uint8)
    samples = MeasuredSamples.of(Samples(x))
    evidence = _evidence(bundle.manifest, model_of(bundle, BundleFiles.of(bundle)), Original(), samples)
    assert (len(evidence.x), evidence.left_out) == (10_000, left_out)


SAME = LinearMap((1,), (0,), (0,))
LAST_DOWN = LinearMap((255,), (254,), (8,))
"""The same byte, but 254 for 255."""


@pytest.mark.parametrize(
    ("x", "y", "wrong"), [(SAME, SAME, 0), (LAST_DOWN, SAME, 1), (SAME, LAST_DOWN, 1), (LAST_DOWN, LAST_DOWN, 2)]
)
def test_a_single_value_of_the_maps_of_integers_that_differs_fails(
    bundle: Bundle, x: LinearMap, y: LinearMap, wrong: int
) -> None:
    files = BundleFiles.of(bundle)
    findings = Findings()
    manifest = replace(bundle.manifest, integer_maps=IntegerMaps(x, y))
    _judge_manifest(manifest, files, model_of(bundle, files), findings)
    (check,) = [each for each in findings.judged(VerifyConfig()) if each.detail == "integer_maps"]
    text = f"integer maps: {wrong} values of uint8 or y differ from the files' operations, expected 0"
    assert (check.ok, check.value, check.text) == (not wrong, wrong, text)
    others: list[Check] = [each for each in findings.judged(VerifyConfig()) if each.detail != "integer_maps"]
    assert others and all(each.ok for each in others)
