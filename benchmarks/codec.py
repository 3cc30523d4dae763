"""The codec on Fashion-MNIST: bytes of real files beyond the entropy of their codes, and the time of one frame.

    tiedae demo --out demo
    TIEDAE_DATA=... python benchmarks/codec.py --bundle demo --json codec.json

The files hold the 10,000 test images in frames of 64. The entropy is that of their codes under the tables of the bundle.
Speeds are the best of some turns, in time of the processor, which other processes disturb less than time of the clock.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from entropy import best
from program_speed import program_row
from rows import Row, arguments_of, report
from tiedae.compress.config import DataConfig
from tiedae.export.codec import rans
from tiedae.export.codec.codec import Codec, load
from tiedae.export.codec.container import read, read_frame
from tiedae.sources import load_dataset

IMAGES = 10_000


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="what `tiedae demo --out DIR` wrote")
    arguments = parser.parse_args()
    return report("Codec", lambda _console: rows(arguments.bundle), arguments.json)


def rows(bundle: Path) -> Sequence[Row]:
    test = load_dataset(DataConfig(source="fashion-mnist"), "sigmoid").test
    codec, x = load(bundle), test.take(np.arange(IMAGES))
    return [*size_rows(codec, x), *speed_rows(codec, x), program_row(bundle)]


def size_rows(codec: Codec, x: np.ndarray) -> list[Row]:
    """Bytes of a file of all samples, of its frames, and of a file of one sample."""
    codes, tables = codec.encode(x), codec.file_model.tables
    data = codec.compress(x)
    entropy, frames = tables.cross_entropy(codes) / 8, read(data, "file").frames
    one = len(codec.compress(x[:1])) - tables.cross_entropy(codes[:1]) / 8
    over = (sum(frame.size for frame in frames) - entropy) / len(frames)
    detail = f"{len(data):,} bytes, {8 * entropy / len(x):.1f} bit a sample, {x.nbytes / len(data):.1f} x smaller"
    return [
        Row("file_vs_entropy", len(data) / entropy, "", "<= 1.025", "<= 1.018", detail),
        Row("frame_overhead", over, "bytes", "<= 16", "<= 12", f"{len(frames)} frames"),
        Row("one_sample_overhead", one, "bytes", "<= 72", "<= 56", "beyond the entropy of its codes"),
    ]


def speed_rows(codec: Codec, x: np.ndarray) -> list[Row]:
    """The entropy stage of all frames, and a file of one frame to its samples."""
    model, data, one = codec.file_model, codec.compress(x), codec.compress(x[:64])
    contents = read(data, "file")
    payloads = [read_frame(data, frame, contents.header).data for frame in contents.frames]
    samples = [frame.samples for frame in contents.frames]
    values = len(x) * model.tables.units
    speed = values / best(lambda: rans.decode(model.tables, payloads, samples)) / 1e6
    frame = 1e3 * best(lambda: codec.decompress(one))
    return [
        Row("entropy_mcodes_s", speed, "M/s", ">= 5", ">= 12", f"{len(payloads)} frames, {model.tables.units} units"),
        Row("one_frame_ms", frame, "ms", "<= 50", "<= 25", "64 samples, from the file's bytes"),
    ]


if __name__ == "__main__":
    sys.exit(main())
