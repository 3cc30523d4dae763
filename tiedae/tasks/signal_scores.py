"""Scores of windows of a record that no net is needed for: what condition monitoring uses, as baselines of anomaly detection.

rms              root mean square of a window about its own mean, of each channel
rms-differences  root mean square of its second differences, which weigh high frequencies
log-spectra      squared error of the logarithm of its power spectrum behind principal components of training spectra
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tiedae.bundle.task_results import Scorer

from .neighbourhoods import Pca

RMS, DIFFERENCES, SPECTRA = "rms", "rms-differences", "log-spectra"
LEAST_STEPS = 3
"""Time steps of a window that second differences need."""
FLOOR = 1e-6
"""Of a power in a spectrum, as a fraction of the mean power of training: the logarithm of nothing."""
Score = Callable[[np.ndarray], np.ndarray]
"""Windows, float [n, time steps, channels] in scaled values → scores, float64 [n]."""


def signal_scores(train: np.ndarray, units: int) -> dict[Scorer, Score]:
    """The scores by name; `train`: windows that the components of spectra are fitted to, as many as `units` at most."""
    return {RMS: rms, DIFFERENCES: rms_of_differences, SPECTRA: spectral_score(train, units)}


def rms(x: np.ndarray) -> np.ndarray:
    return _root_mean_square(_centred(x))


def rms_of_differences(x: np.ndarray) -> np.ndarray:
    return _root_mean_square(np.diff(x.astype(np.float64), n=2, axis=1))


def spectral_score(train: np.ndarray, units: int) -> Score:
    """The score by log spectra; half of their values have a component at most, or nothing would be left."""
    floor = FLOOR * max(float(_power(train).mean()), np.finfo(np.float64).tiny)

    def spectra(x: np.ndarray) -> np.ndarray:
        return np.log(_power(x) + floor).reshape(len(x), -1)

    fitted = spectra(train)
    pca = Pca.fit(fitted, max(1, min(units, fitted.shape[1] // 2)))

    def score(x: np.ndarray) -> np.ndarray:
        own = spectra(x)
        return np.square(pca.decode(pca.encode(own)) - own).mean(axis=1)

    return score


def _power(x: np.ndarray) -> np.ndarray:
    """Power at each frequency above 0, float64 [n, frequencies, channels]."""
    return np.square(np.abs(np.fft.rfft(_centred(x), axis=1)[:, 1:]))


def _centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=1, keepdims=True, dtype=np.float64)


def _root_mean_square(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(x).mean(axis=(1, 2)))
