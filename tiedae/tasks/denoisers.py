"""Denoisers without a network, the baselines: each a table row; parameters are chosen on validation samples.

median    of a window (Tukey, Exploratory Data Analysis, 1977), by scipy
wavelet   shrinkage (Chang, Yu, Vetterli, "Adaptive wavelet thresholding for image denoising and compression", IEEE Transactions
          on Image Processing 9, 2000), by scikit-image
nl-means  non-local means (Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005), by scikit-image
pca       projection of the noisy sample onto the principal components of clean training samples (Pearson, 1901)
mean      the mean of the clean training samples, whatever the sample is: what any model has to surpass
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.util import find_spec

import numpy as np

from tiedae.config.sample_spec import Kind, SampleSpec

from .neighbourhoods import Pca

EXTRA = 'pip install "tiedae[tasks]"'
COMPONENTS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
PCA_SAMPLES = 20_000
"""Maximum number of training samples that the components are fitted to."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What baselines are fitted and chosen on, float32 in scaled values: clean `train` [n, inputs], and `noisy` and `clean`
    validation samples [m, inputs]. `shape` of a sample.
    """

    train: np.ndarray = field(repr=False)
    noisy: np.ndarray = field(repr=False)
    clean: np.ndarray = field(repr=False)
    shape: tuple[int, ...]

    @cached_property
    def deviation(self) -> float:
        """The standard deviation of the noise."""
        return float(np.sqrt(np.mean(np.square(self.noisy - self.clean))))


Denoise = Callable[[np.ndarray], np.ndarray]
"""Noisy samples, float32 [n, inputs] in scaled values → denoised ones."""


@dataclass(frozen=True)
class Denoiser:
    """`candidates`: (setting in words, function) of each parameter. `packages` that it imports; `kinds` of data it is for."""

    candidates: Callable[[Selection], Iterator[tuple[str, Denoise]]]
    packages: tuple[str, ...]
    kinds: tuple[Kind, ...]

    @property
    def missing(self) -> list[str]:
        return [name for name in self.packages if find_spec(name) is None]

    def chosen(self, selection: Selection) -> tuple[str, Denoise] | None:
        """The candidate of the least squared error on the validation samples; None where samples are too small for any."""

        def error(candidate: tuple[str, Denoise]) -> float:
            return float(np.square(candidate[1](selection.noisy) - selection.clean).mean())

        return min(self.candidates(selection), key=error, default=None)


def _each(shape: Sequence[int], denoise: Callable[[np.ndarray], np.ndarray]) -> Denoise:
    """A function of one sample of `shape`, applied to each."""

    def run(x: np.ndarray) -> np.ndarray:
        return np.stack([denoise(sample.reshape(shape)).reshape(-1) for sample in x]).astype(np.float32)

    return run


def _median(selection: Selection) -> Iterator[tuple[str, Denoise]]:
    from scipy.ndimage import median_filter

    axes = min(len(selection.shape), 2)
    for size in (3, 5, 7):
        window = (*[size] * axes, *[1] * (len(selection.shape) - axes))
        yield "×".join([str(size)] * axes), _each(selection.shape, partial(median_filter, size=window, mode="nearest"))


def _wavelet(selection: Selection) -> Iterator[tuple[str, Denoise]]:
    from pywt import Wavelet, dwt_max_level  # pyright: ignore[reportAttributeAccessIssue] - of a C extension
    from skimage.restoration import denoise_wavelet

    axis = -1 if len(selection.shape) == 3 else None
    for wavelet in ("db1", "db2", "sym4"):
        levels = dwt_max_level(min(selection.shape[:2]), Wavelet(wavelet).dec_len)
        if levels == 0:  # longer than the samples
            continue
        for factor in (0.5, 0.75, 1.0, 1.5):
            options = {"sigma": factor * selection.deviation, "wavelet": wavelet, "wavelet_levels": levels}
            run = partial(denoise_wavelet, **options, channel_axis=axis)
            yield f"{wavelet}, σ {options['sigma']:.3g}", _each(selection.shape, run)


def _nl_means(selection: Selection) -> Iterator[tuple[str, Denoise]]:
    from skimage.restoration import denoise_nl_means

    axis = -1 if len(selection.shape) == 3 else None
    for patch in (3, 5, 7):
        for factor in (0.1, 0.2, 0.3, 0.4, 0.6):
            options = {"patch_size": patch, "patch_distance": 7, "h": factor * selection.deviation}
            run = partial(denoise_nl_means, **options, sigma=selection.deviation, fast_mode=True, channel_axis=axis)
            yield f"patches of {patch}, h {options['h']:.3g}", _each(selection.shape, run)


def _pca(selection: Selection) -> Iterator[tuple[str, Denoise]]:
    inputs = selection.train.shape[1]
    pca = Pca.fit(selection.train, inputs)
    for count in (each for each in COMPONENTS if each < inputs):
        first = pca.first(count)
        yield f"{count} components", lambda x, first=first: first.decode(first.encode(x)).astype(np.float32)


def _mean(selection: Selection) -> Iterator[tuple[str, Denoise]]:
    mean = selection.train.mean(axis=0, dtype=np.float64).astype(np.float32)
    yield "", lambda x: np.broadcast_to(mean, x.shape)


def denoisers_of(spec: SampleSpec) -> Mapping[str, Denoiser]:
    """Those for samples of this kind and shape.

    Bytes in one axis may be columns of a table, and nothing here filters more than two axes and channels.
    """
    kind = "table" if spec.kind == "image" and len(spec.shape) not in (2, 3) else spec.kind
    return {name: denoiser for name, denoiser in DENOISERS.items() if kind in denoiser.kinds}


DENOISERS: Mapping[str, Denoiser] = {
    "median": Denoiser(_median, ("scipy",), ("image", "record")),
    "wavelet": Denoiser(_wavelet, ("skimage", "pywt"), ("image", "record")),
    "nl-means": Denoiser(_nl_means, ("skimage",), ("image",)),
    "pca": Denoiser(_pca, (), ("image", "record", "table")),
    "mean": Denoiser(_mean, (), ("image", "record", "table")),
}
