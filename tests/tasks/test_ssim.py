"""SSIM is scikit-image's, and has its limits."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.tasks.ssim import has_ssim, ssim


@pytest.mark.parametrize(
    ("shape", "peak", "dtype"), [((28, 28), 255, np.uint8), ((9, 16), 1.0, np.float64), ((12, 8, 3), 255, np.uint8)]
)
def test_it_is_that_of_scikit_image(shape: tuple[int, ...], peak: float, dtype: type) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, peak, (5, *shape))
    y = np.clip(x + rng.normal(0, peak / 5, x.shape), 0, peak)
    x, y = x.astype(dtype), y.astype(dtype)
    axis = -1 if len(shape) == 3 else None
    each = [metrics.structural_similarity(a, b, data_range=peak, channel_axis=axis) for a, b in zip(x, y, strict=True)]
    assert ssim(x, y, peak) == pytest.approx(np.mean(each), abs=1e-9)


def test_equal_images_are_one_and_unlike_ones_less() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 10, 10), dtype=np.uint8)
    assert ssim(x, x, 255) == pytest.approx(1) and ssim(x, 255 - x, 255) < 0


@pytest.mark.parametrize(
    ("shape", "has"), [((7, 7), True), ((6, 40), False), ((40,), False), ((8, 8, 3), True), ((3, 8, 8), False)]
)
def test_only_images_of_a_window_have_one(shape: tuple[int, ...], has: bool) -> None:
    assert has_ssim(shape) == has
