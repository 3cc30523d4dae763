"""The quality of samples that a file gives back, of patches that of their pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiedae.bundle.fidelity import Fidelity
from tiedae.bundle.results import Fit
from tiedae.config.scaling import Scaling
from tiedae.data.patches import Places
from tiedae.data.windows import PicturePatches, Windows


def quality_of(fidelity: Fidelity, samples: Windows, chosen: np.ndarray, clean: np.ndarray, y: np.ndarray) -> Fit:
    """The quality of samples `chosen`; of patches that of the pixels within their pictures alone."""
    if not isinstance(samples, PicturePatches):
        return fidelity.measure(clean, y)
    patch = samples.whole.shape[1]
    inside = Places.of(samples.sizes, patch)[chosen].inside(samples.sizes, patch)
    made = fidelity.scaling.invert(y, np.float64).reshape(len(chosen), patch, patch, -1)[inside]
    unscaled = replace(fidelity, scaling=Scaling())
    return unscaled.measure(clean.reshape(len(chosen), patch, patch, -1)[inside], made)
