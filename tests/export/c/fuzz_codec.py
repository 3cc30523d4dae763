"""What `fuzz_frame.c` fuzzes: the codec of a small model, and inputs to begin with.

python -m tests.export.c.fuzz_codec FOLDER [--kind images] [--classes]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from tiedae.codec.container import pack_end, pack_index, read
from tiedae.codec.frames import FileModel
from tiedae.config.sample_spec import Kind, SampleSpec
from tiedae.export.c.codec_source import codec_text

from ...fuzz.mutations import blind
from .codec_library import Copying
from .codec_models import SHAPES, coarse, file_of, header_of, model_of, walk
from .compiled import write

LONGEST = 4096
"""Bytes of an input at most."""
SOURCE = Path(__file__).parent / "fuzz_frame.c"


def fuzzed(kind: Kind, *, classed: bool) -> FileModel:
    """A model of the kind; of records one of several channels."""
    return model_of(SampleSpec(SHAPES[kind][kind == "record"], "int16", kind=kind), 4, 6, classed=classed)


def write_codec(model: FileModel, folder: Path) -> Path:
    """The C files of a codec, whose names begin with `tae`."""
    network = model.program
    assert isinstance(network, Copying)
    return write(network.text(codec_text(model.spec, model.coding), "tae"), folder)


def inputs(model: FileModel) -> Iterator[bytes]:
    """Files, payloads of each mode, samples: each behind the five bytes that say which."""
    network = model.program
    assert isinstance(network, Copying)
    x = np.concatenate([walk(model.spec, 6, 4), coarse(network, 6, 5)])
    frames = [x[:5], x[5:10], x[10:]]
    for kind, bound in enumerate((None, 7, 0)):
        data = file_of(model, header_of(model, bound, 5), frames, [network.codes(frame) for frame in frames])
        yield bytes(5) + data
        yield bytes(5) + _with_ends(data)
        at = data.index(b"\xa7\xd0" if bound is None else b"\xa7")
        for payload in (data[at + 7 :], data[at + 7 :][:60]):
            yield bytes((1, 5, 0, 0, 0)) + payload
            yield from (bytes((2, 4, mode, kind, 6)) + payload for mode in range(3))
            yield bytes((3, 0, 0, 0, 0, kind, 6, 4, len(payload) % 256, kind, 4)) + payload
        yield from (bytes((4, 0, 0, 0, 0, kind, 1, size, 0)) + x.tobytes() for size in (20, 255))


def _with_ends(data: bytes) -> bytes:
    """The same file, where a record ends behind each frame."""
    found = read(data, "")
    ends = [pack_end(found.header, padding) for padding in range(len(found.frames))]
    parts = [data[frame.offset : frame.stop] + end for frame, end in zip(found.frames, ends, strict=True)]
    entries = [
        each for frame, end in zip(found.frames, ends, strict=True) for each in ((frame.samples, frame.size), (0, len(end)))
    ]
    return b"".join([data[: found.header.size], *parts, pack_index(found.header, entries)])


def mutated(model: FileModel, count: int, seed: int = 0) -> Iterator[bytes]:
    """The inputs, then changed ones."""
    seeds = list(inputs(model))
    rng = random.Random(seed)
    yield from seeds
    for _ in range(count):
        data = rng.choice(seeds)
        for _ in range(1 << rng.randrange(4)):
            data = blind(data, rng, seeds)
        data = data[:LONGEST]
        yield bytes((rng.randrange(5), *data[1:])) if data and rng.random() < 0.2 else data


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=get_args(Kind), default="image")
    parser.add_argument("--classes", action="store_true")
    arguments = parser.parse_args()
    model, begin = fuzzed(arguments.kind, classed=arguments.classes), arguments.folder / "inputs"
    begin.mkdir(parents=True, exist_ok=True)
    write_codec(model, arguments.folder)
    for i, data in enumerate(inputs(model)):
        (begin / f"seed-{i}").write_bytes(data)


if __name__ == "__main__":
    main()
