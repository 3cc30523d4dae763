"""PCA as an opponent: files of its rounded components, in the scaling of the least error, at the bytes of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from tiedae.bundle.fidelity import column_power
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling

from .coders import PcaChoice, PcaCoder, file_bytes
from .equal_bytes import MOST_APART, Around, CodedFile, around
from .sample_errors import SampleError

UNSCALED = Scaling()
PER_OCTAVE, OCTAVES = 256, 4
"""Steps tried around the chosen one: steps per octave (a factor of 2), and the largest distance in octaves."""
ROUNDS = 6
"""Rates that are tried until a file has nearly our bytes."""


@dataclass(frozen=True, eq=False)
class PcaFiles:
    """Components of samples in a `scaling`, and files of them. Samples are [n, inputs] in the data's unit of measure.

    `error`: by which files are compared; `fitted`: by which settings are chosen, that of the samples that were fitted to.
    """

    spec: SampleSpec
    scaling: Scaling
    choice: PcaChoice
    held: np.ndarray
    error: SampleError
    fitted: SampleError
    scaled_as: str = ""

    @classmethod
    def fit(
        cls,
        spec: SampleSpec,
        scaling: Scaling,
        train: np.ndarray,
        held: np.ndarray,
        error: SampleError,
        scaled_as: str = "",
    ) -> PcaFiles:
        return cls(
            spec,
            scaling,
            PcaChoice(scaled(train, scaling), scaled(held, scaling)),
            held,
            error,
            SampleError.of(spec.kind, train),
            scaled_as,
        )

    def file(self, coder: PcaCoder, x: np.ndarray) -> CodedFile:
        codes = coder.encode(scaled(x, self.scaling))
        size = file_bytes(coder.tables, codes, self.spec.inputs * np.dtype(self.spec.dtype).itemsize)
        decoded = self.scaling.invert(coder.decode(codes), self.spec.dtype)
        return CodedFile(size, decoded, self.error(x, decoded), coder.setting + self.scaled_as)

    def held_error(self, bits: float) -> float:
        """The error of the held samples at these bits each, by `fitted`."""
        coder = self.coder(bits)
        return np.inf if coder is None else float(self.fitted(self.held, self.file(coder, self.held).decoded).mean())

    def coder(self, bits: float) -> PcaCoder | None:
        """That of the least error at these bits per held sample, or at less where none has nearly as many."""
        return self.choice.at(bits) or self.choice.at(bits, slack=1.0)

    def around(self, x: np.ndarray, bits: float, size: int) -> Around | None:
        """Files of x around `size` bytes; None where no coder costs as few as `bits` per held sample.

        Held samples choose the number of components, at the rate at which a file of x has nearly `size` bytes. Steps of the
        same components then lie around it.
        """
        coder = self._matched(x, bits, size)
        if coder is None:
            return None
        units, step, reach = coder.pca.components.shape[1], coder.rounding.step, PER_OCTAVE * OCTAVES

        @cache
        def code(finer: int) -> CodedFile:
            return self.file(self.choice.coder(units, step * 2 ** (-finer / PER_OCTAVE)), x)

        return around(code, size, start=0, least=-reach, most=reach)

    def _matched(self, x: np.ndarray, bits: float, size: int) -> PcaCoder | None:
        coder = None
        for _ in range(ROUNDS):
            coder = self.coder(bits) or coder
            if coder is None:
                break
            own = self.file(coder, x).size
            if abs(own / size - 1) <= MOST_APART:
                break
            bits *= size / own
        return coder


def scaled(x: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Samples in a scaling, float [n, inputs]; those that are not scaled as float64, which holds every value."""
    return x.astype(np.float64) if scaling == UNSCALED else scaling.apply(x)


def fair_pca(spec: SampleSpec, train: np.ndarray, held: np.ndarray, bits: float, error: SampleError) -> PcaFiles:
    """PCA of the values in the scaling of the least error on `held` samples at these bits each.

    Tried are scaled values, samples as they are, and the columns of a table standardized, where each is something else.
    """
    scalings = {spec.scaling: ""}
    if isinstance(spec.scaling.scale, tuple):
        scalings[UNSCALED] = ", values not scaled"
    if spec.kind == "table":
        scalings.setdefault(standardized(train), ", columns standardized")
    files = [PcaFiles.fit(spec, scaling, train, held, error, text) for scaling, text in scalings.items()]
    return min(files, key=lambda each: each.held_error(bits))


def standardized(x: np.ndarray) -> Scaling:
    """The scaling by which each column of these samples, [n, inputs], that changes has mean 0 and variance 1."""
    variances = column_power(x) / len(x)
    scales = np.sqrt(np.where(variances > 0, variances, 1.0))
    return Scaling("standard", tuple(x.mean(axis=0, dtype=np.float64).tolist()), tuple(scales.tolist()))
