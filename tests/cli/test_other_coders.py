"""Other coders beside a search: their points are those of coding the validation samples, and what is left out has a reason."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.data.dataset import Dataset
from tiedae.pipeline.searching.other_coders import OtherCoders
from tiedae.tasks import coders
from tiedae.tasks.coders import IMAGE_CODERS

from ..tasks.test_denoising import blobs


@pytest.fixture(scope="module")
def images() -> OtherCoders:
    splits = Dataset.from_array(blobs(), test=0.2, validation=0.2)
    assert splits.validation is not None
    return OtherCoders(splits, splits.validation.take(slice(None)), 0)


def test_points_of_images(images: OtherCoders) -> None:
    found = images.measure([40.0, 60.0], 1.0, noisy=False)
    assert found.skipped == ()
    for coder in ("pca", "jpeg", "webp", "avif"):
        points = [point for point in found.points if point.coder == coder]
        assert len(points) > 1 and points == sorted(points, key=lambda point: point.bits), coder
        assert points[-1].error == min(point.error for point in points)
    pca = [point.bits for point in found.points if point.coder == "pca"]
    assert 0.6 * 40 < pca[0] < 40 and 60 < pca[-1] < 1.5 * 60, "heads of a file of 60 samples included"
    point = next(point for point in found.points if point.coder == "avif")
    x = images.samples.reshape(-1, 12, 12)
    size, back = IMAGE_CODERS["avif"].thorough.code_images(x, 0)
    assert (point.bits, point.setting) == (8 * size / 60, "quality 0")
    assert point.error == pytest.approx(np.square((back - x.astype(float)) / 255).sum(axis=(1, 2)).mean(), rel=1e-5)


def test_what_is_left_out_has_a_reason(images: OtherCoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coders, "find_spec", lambda name: None)
    found = images.measure([1e5], 1.0, noisy=False)
    assert found.points == () and found.skipped == (
        "PCA: no number of components and step costs 7e+04 to 1.4e+05 bits per sample",
        "JPEG: Pillow is not installed",
        "WebP: Pillow is not installed",
        "AVIF: Pillow is not installed",
    )
    noisy = images.measure([40.0], 1.0, noisy=True)
    assert noisy.points == () and noisy.skipped == ("other coders: the model gives clean samples for noisy ones",)
