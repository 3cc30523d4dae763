"""The same training samples give the same tables, to the byte: a change of how tables are fitted is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from tiedae.config.sample_spec import Kind
from tiedae.entropy.class_fitting import fit_classes
from tiedae.entropy.contexts import grow
from tiedae.entropy.residuals import fit_residuals
from tiedae.entropy.tables import fit


def channels(steps: int) -> np.ndarray:
    """Integers [steps, 4]: a walk, two that follow it some steps later, and one of its own."""
    rng = np.random.default_rng(5)
    walk, own = rng.integers(-90, 91, (2, steps + 8)).cumsum(axis=1)
    mixed = [walk[8:], walk[5:-3] * 3 // 4 + own[8:] // 5, own[8:], own[:-8] - walk[6:-2] // 2]
    return np.stack([each[:steps] for each in mixed], axis=1) + rng.integers(-9, 10, (steps, 4))


def windows() -> np.ndarray:
    return channels(9600)[:, 1].reshape(300, 32)


def residuals(kind: Kind, shape: tuple[int, ...], samples: np.ndarray, *, with_y: bool = False) -> bytes:
    """Tables, and frames that are coded with them within two bounds."""
    samples = np.clip(samples, -32768, 32767).astype(np.int16)
    y = (samples // 24 * 24).astype(np.int16) if with_y else None
    made = fit_residuals(kind, shape, samples[:-40], 20, y if y is None else y[:-40])
    frames = [samples[-40:-10], samples[-10:]]
    others = None if y is None else [y[-40:-10], y[-10:]]
    payloads = [payload for bound in (0, 7) for payload in made.encode(frames, bound, others)]
    return made.part.to_bytes() + b"".join(payloads)


def image() -> bytes:
    rows, columns = np.mgrid[:9, :7]
    rng = np.random.default_rng(6)
    slopes = rng.integers(-30, 31, (3, 300, 1, 1))
    ramps = slopes[0] * rows + slopes[1] * columns + slopes[2] * rows * columns // 4
    return residuals("image", (9, 7), (ramps + rng.integers(-6, 7, ramps.shape)).reshape(300, 63))


def colors() -> bytes:
    """Images of three channels, [5, 4, 3], next to values of 64 levels."""
    rng = np.random.default_rng(8)
    light = rng.integers(-40, 41, (400, 5, 4, 1)).cumsum(axis=1).cumsum(axis=2)
    return residuals(
        "image", (5, 4, 3), (light * [1, 2, -1] + rng.integers(-4, 5, (400, 5, 4, 3))).reshape(400, 60), with_y=True
    )


def codes(bits: int, units: int) -> np.ndarray:
    """Codes of three kinds of samples, each with its own middle and spread, and some that go around the end."""
    rng = np.random.default_rng(bits)
    kinds = rng.integers(0, 3, 900)
    middle, spread = rng.integers(0, 1 << bits, (3, units)), rng.integers(1, 5, (3, units))
    noise = rng.integers(-2, 3, (900, units)) * rng.integers(0, 2, (900, units))
    return ((middle[kinds] + noise * spread[kinds]) % (1 << bits)).astype(np.uint8)


def contexts() -> bytes:
    rng = np.random.default_rng(7)
    features = rng.integers(-5, 6, (4, 6000)).astype(np.int8)
    width = 1 + 6 * (features[1] > 2) + 30 * (features[3] > -1) * (features[0] < 1)
    return grow(features, rng.integers(-3, 4, 6000) * width).to_bytes()


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a record": (lambda: residuals("record", (32,), windows()), "363513ab4abeb3a8"),
    "a record beside y": (
        lambda: residuals("record", (32,), windows(), with_y=True),
        "f09ee1c85e89c0c6",
    ),
    "channels": (lambda: residuals("record", (16, 4), channels(4800).reshape(300, 64)), "3eeebaff13ba9e30"),
    "an image": (image, "12e7aa92c52c2405"),
    "an image of colors beside y": (colors, "a5303c836ec7b281"),
    "contexts": (contexts, "6f5ec170c692b219"),
    "codes of 8 bits": (lambda: fit(codes(8, 6)).to_bytes(), "201b4c43cc05a99c"),
    "codes of 4 bits": (lambda: fit(codes(4, 6), 4).to_bytes(), "bfd6ae2f59f17d15"),
    "classes of 8 bits": (lambda: fit_classes(codes(8, 6), 3, 8).to_bytes(), "8ccc14c9e5ffba88"),
    "classes of 4 bits": (lambda: fit_classes(codes(4, 6), 5, 4, seed=1).to_bytes(), "0c3937aca1c3ae56"),
}
"""What is fitted, and the sha256 of its bytes."""


@pytest.mark.parametrize("name", CASES)
def test_the_same_samples_give_the_same_bytes(name: str) -> None:
    made, digest = CASES[name]
    assert hashlib.sha256(made()).hexdigest()[:16] == digest


def test_tables_do_not_depend_on_how_many_values_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made, digest = CASES["a record"]
    monkeypatch.setattr("tiedae.entropy.residuals._AT_ONCE", 1)
    assert hashlib.sha256(made()).hexdigest()[:16] == digest
