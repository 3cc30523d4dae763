"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13, 2004), in numpy.

As scikit-image's default: windows of 7×7 with equal weights, sample covariances, K₁ 0.01 and K₂ 0.03, the mean over windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiedae.config.sample_spec import SampleSpec

SIDE = 7
K1, K2 = 0.01, 0.03


def has_ssim(shape: Sequence[int]) -> bool:
    """Whether samples of a shape are images, (h, w) or (h, w, channels), of at least one window."""
    return len(shape) in (2, 3) and min(shape[:2]) >= SIDE


def ssim_of(spec: SampleSpec, peak: float | None, x: np.ndarray, y: np.ndarray) -> float | None:
    """The mean SSIM of samples [n, inputs]; None for those that have none."""
    if spec.kind != "image" or not peak or not has_ssim(spec.shape):
        return None
    return ssim(spec.shaped(x, False), spec.shaped(y, False), peak)


def ssim(x: np.ndarray, y: np.ndarray, peak: float) -> float:
    """The mean SSIM of images, [n, h, w] or [n, h, w, channels] each, any real dtype; `peak`: the range of their values."""
    count = SIDE * SIDE
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    total = 0.0
    for a, b in zip(x, y, strict=True):
        a, b = a.astype(np.float64), b.astype(np.float64)
        mean_a, mean_b, aa, bb, ab = (_window_means(each) for each in (a, b, a * a, b * b, a * b))
        unbiased = count / (count - 1)
        var_a, var_b = unbiased * (aa - mean_a**2), unbiased * (bb - mean_b**2)
        covariance = unbiased * (ab - mean_a * mean_b)
        likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        total += float(np.mean(likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))
    return total / len(x)


def _window_means(image: np.ndarray) -> np.ndarray:
    """The mean of each window inside an image, [h − 6, w − 6, …]."""
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1, *image.shape[2:]))
    sums[1:, 1:] = image.cumsum(axis=0).cumsum(axis=1)
    s = SIDE
    return (sums[s:, s:] - sums[:-s, s:] - sums[s:, :-s] + sums[:-s, :-s]) / (s * s)
