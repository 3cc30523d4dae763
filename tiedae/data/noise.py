"""Noise for denoising: corrupted inputs, and the clean samples that the model shall give for them.

Vincent, Larochelle, Bengio, Manzagol, "Extracting and composing robust features with denoising autoencoders", ICML 2008.
Levels are in scaled values, (x − offset) / scale of the data's scaling: for bytes, fractions of 255.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tiedae.config.tasks import NoiseConfig, NoiseKind

from .samples import Samples


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise on model inputs. `low`, `high`: least and largest value of each input in scaled values, float32 [inputs] or [1].

    `clips`: bytes end there, and so do their noisy values.
    """

    config: NoiseConfig
    low: np.ndarray = field(repr=False)
    high: np.ndarray = field(repr=False)
    clips: bool

    @classmethod
    def of(cls, config: NoiseConfig, samples: Samples) -> Noise:
        """The noise for samples such as these, which are the training samples."""
        if samples.scaling.is_bytes(samples.dtype.name):
            return cls(config, np.zeros(1, np.float32), np.ones(1, np.float32), True)
        low, high = (samples.scaling.apply(each[None])[0] for each in samples.extent)
        return cls(config, low, high, False)

    def apply(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Noisy copies of model inputs, float32 [n, inputs]."""
        noisy = CORRUPTIONS[self.config.kind](x, self, rng)
        return np.clip(noisy, self.low, self.high) if self.clips else noisy


def noise_of(config: NoiseConfig | None, samples: Samples) -> Noise | None:
    """The noise for samples such as these; None without one."""
    return None if config is None else Noise.of(config, samples)


def _gaussian(x: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    return x + np.float32(noise.config.level) * rng.standard_normal(x.shape, np.float32)


def _salt_pepper(x: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    drawn, level = rng.random(x.shape, np.float32), noise.config.level
    return np.where(drawn < level / 2, noise.low, np.where(drawn < level, noise.high, x))


def _masking(x: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(x.shape, np.float32) < noise.config.level, np.float32(0), x)


def _speckle(x: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    return x * (1 + np.float32(noise.config.level) * rng.standard_normal(x.shape, np.float32))


CORRUPTIONS: Mapping[NoiseKind, Callable[[np.ndarray, Noise, np.random.Generator], np.ndarray]] = {
    "gaussian": _gaussian,
    "salt-pepper": _salt_pepper,
    "masking": _masking,
    "speckle": _speckle,
}
"""float32 [n, inputs] → float32 [n, inputs]; bytes are clipped to 0…1 afterwards."""


def pairs(
    samples: Samples, order: np.ndarray, batch_size: int, noise: Noise | None, seed: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(model input, what the model shall give for it), float32 [up to batch_size, inputs] each, in the order of indices.

    The same array twice without noise and without clean samples. The seed fixes the noise, with the order and the batch size.
    """
    rng = np.random.default_rng(seed)
    wanted = samples.wanted.batches(order, batch_size)
    inputs = wanted if samples.clean is None else samples.batches(order, batch_size)
    for x in inputs:
        if samples.clean is not None:
            yield x, next(wanted)
        else:
            yield (x, x) if noise is None else (noise.apply(x, rng), x)


def noisy_test(samples: Samples, noise: Noise, seed: int, limit: int) -> Samples:
    """The first `limit` test samples with noise drawn by the seed; with the clean ones beside them."""
    first = samples.select(np.arange(min(limit, len(samples))))
    clean = first.take(slice(None))
    values = noisy_samples(clean, samples, noise, [seed, *b"test"])
    shape = len(clean), *samples.shape
    return replace(first, values=values.reshape(shape), rows=None, clean=clean.reshape(shape))


def noisy_samples(x: np.ndarray, samples: Samples, noise: Noise | None, seed: Sequence[int]) -> np.ndarray:
    """Samples [n, inputs] in the data's unit of measure with noise, in their dtype, as a deployed model would be given them."""
    if noise is None:
        return x
    noisy = noise.apply(samples.scaling.apply(x), np.random.default_rng(seed))
    return samples.scaling.invert(noisy, x.dtype)
