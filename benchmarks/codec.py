"""The codec on Fashion-MNIST: bytes of real files beyond the entropy of their codes, and the time of one frame.

    TIEDAE_DATA=... python benchmarks/codec.py --json codec.json [--run OUT]

Net and tables are fitted on the 60,000 training images, in three epochs. The files hold the 10,000 test images in frames
of 64. The entropy is that of their codes under the tables of the bundle. The lossless file holds `--images` of them, spread
evenly, as do those that it is compared with. Bounds are checked on adversarial bytes too.
Some files are decoded elsewhere too: by the installed wheel, with 1 and 2 threads, and on a Haswell that qemu-x86_64 emulates
(Debian's qemu-user).
Speeds are the best of some turns, in time of the processor, which other processes disturb less than time of the clock.
"""

from __future__ import annotations

import io
import lzma
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from decodes import decode_row
from entropy import best
from PIL import Image
from program_speed import program_row
from proof import train
from rows import Row, arguments_of, report
from tiedae.compress import CheckError, DataConfig
from tiedae.console import Console
from tiedae.export.bundle import Bundle
from tiedae.export.codec import rans
from tiedae.export.codec.codec import Codec, load
from tiedae.export.codec.container import read, read_frame
from tiedae.sources import load_dataset

SOURCE = "fashion-mnist"
IMAGES = 10_000
BOUNDS = (0, 1, 3, 16, 200)


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument(
        "--run", type=Path, metavar="OUT", help="measure this finished run of all of Fashion-MNIST (default: train)"
    )
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="images of the lossless file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:

        def measure(console: Console) -> Sequence[Row]:
            run = arguments.run or train(Path(temporary) / "run", console)
            return rows(run / "bundle", arguments.images, Path(temporary))

        return report("Codec", measure, arguments.json)


def rows(bundle: Path, images: int, folder: Path) -> Sequence[Row]:
    source = Bundle.open(bundle).manifest.data.source
    if source != SOURCE:
        raise CheckError(f"{bundle}: was trained on {source}, must be {SOURCE}, whose training images are not measured")
    test = load_dataset(DataConfig(SOURCE), "sigmoid").test
    codec, x = load(bundle), test.take(np.arange(IMAGES))
    some = x[np.linspace(0, IMAGES - 1, images).astype(np.int64)]
    return [
        *size_rows(codec, x),
        lossless_row(codec, some),
        violations_row(codec, x),
        decode_row(bundle, x, folder),
        *speed_rows(codec, x),
        program_row(bundle),
    ]


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


def lossless_row(codec: Codec, x: np.ndarray) -> Row:
    """Bytes of a lossless file / the smallest of other lossless coders' for the same images."""
    shape = codec.spec.shape
    pictures, tall = x.reshape(-1, *shape), x.reshape(-1, shape[1])
    cut = range(0, len(tall), 16_000 // shape[0] * shape[0])
    others = {
        "PNG": sum(_picture(each, "PNG", optimize=True) for each in pictures),
        "WebP": sum(_picture(tall[i : i + cut.step], "WEBP", lossless=True, quality=100, method=6) for i in cut),
        "LZMA": len(lzma.compress(x.tobytes(), preset=9 | lzma.PRESET_EXTREME)),
    }
    data = codec.compress(x, lossless=True)
    if (codec.decompress(data).reshape(x.shape) != x).any():
        raise AssertionError("a lossless file gives other images")
    text = ", ".join(f"{name} {size / len(x):.1f}" for name, size in others.items())
    detail = f"{len(x):,} images, bytes each: {len(data) / len(x):.1f}; {text}"
    return Row("fashion_lossless_vs_best", len(data) / min(others.values()), "", "<= 0.95", "<= 0.91", detail)


def _picture(values: np.ndarray, form: str, **options: Any) -> int:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, form, **options)
    return len(buffer.getvalue())


def violations_row(codec: Codec, x: np.ndarray) -> Row:
    """Values beyond their bound in files of bytes: images, random, constant and extreme ones."""
    rng, shape = np.random.default_rng(0), (64, x.shape[1])
    contents = {
        "images": x[:64],
        "random": rng.integers(0, 256, shape, np.uint8),
        "constant": np.full(shape, 200, np.uint8),
        "extremes": np.resize(np.array([0, 255], np.uint8), shape),
        "impulses": np.where(rng.random(shape) < 0.05, 255, 0).astype(np.uint8),
    }
    wrong = values = 0
    for content in contents.values():
        for bound in BOUNDS:
            data = codec.compress(content, lossless=True) if bound == 0 else codec.compress(content, max_error=bound)
            errors = np.abs(codec.decompress(data).reshape(shape).astype(int) - content)
            wrong, values = wrong + np.count_nonzero(errors > bound), values + errors.size
    bounds = ", ".join(map(str, BOUNDS))
    detail = f"of {values:,} uint8 values: {', '.join(contents)}; bounds {bounds}; float data have no bounds yet"
    return Row("bound_violations", int(wrong), "", "== 0", "== 0", detail)


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
