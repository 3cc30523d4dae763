"""The codec on Fashion-MNIST: bytes of real files beyond the entropy of their codes, and the time of one frame.

    TIEDAE_DATA=... python benchmarks/codec.py --json codec.json [--run OUT]

Net and tables are fitted on the 60,000 training images, in three epochs. The files hold the 10,000 test images in frames
of 64. The entropy is that of their codes under the tables of the bundle. The lossless file holds `--images` of them, spread
evenly, as do those that it is compared with. The ECG rows are of the shipped recipe, trained on the first 80 % of the record;
FLAC is libsndfile's at level 8, if soundfile is installed. Bounds are checked on adversarial data of every dtype.
Some files are decoded elsewhere too: by the installed wheel, with 1 and 2 threads, and on a Haswell that qemu-x86_64 emulates
(Debian's qemu-user).
Speeds are the best of some turns, in time of the processor, which other processes disturb less than time of the clock.
"""

from __future__ import annotations

import dataclasses
import io
import lzma
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from decodes import decode_row
from emulated import emulator
from entropy_speed import best
from msgspec.structs import replace
from needs import require
from PIL import Image
from program_speed import program_row
from proof import train
from rows import Row, arguments_of, report

from tiedae.bundle.bundle import Bundle
from tiedae.codec.codec import Codec
from tiedae.codec.container import read, read_frame
from tiedae.codec.frames import FileModel
from tiedae.codec.header import FileKind
from tiedae.codec.opening import load
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder
from tiedae.compress import CheckError, DataConfig
from tiedae.data.data_sets import ASSETS
from tiedae.entropy import rans
from tiedae.entropy.residual_tables import fit_tables
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.runs import run_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.program import integer_maps
from tiedae.report.console import Console
from tiedae.tasks.coders import LOSSLESS_CODERS

SOURCE = "fashion-mnist"
IMAGES = 10_000
BOUNDS = (0, 1, 3, 16, 200)
FLOAT_BOUNDS = (1, 16.3, 200)


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument(
        "--run", type=Path, metavar="OUT", help="measure this finished run of all of Fashion-MNIST (default: train)"
    )
    parser.add_argument("--ecg", type=Path, metavar="OUT", help="measure this finished run of the ECG recipe (default: train)")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="images of the lossless file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:

        def measure(console: Console) -> Sequence[Row]:
            require(data=(SOURCE,), packages=("ai_edge_litert", "onnxruntime", "PIL", "soundfile"))
            emulator()
            run = arguments.run or train(Path(temporary) / "run", console)
            ecg = arguments.ecg or train_ecg(Path(temporary) / "ecg", console)
            return rows(run / "bundle", ecg / "bundle", arguments.images, Path(temporary))

        return report("Codec", measure, arguments.json)


def train_ecg(out: Path, console: Console) -> Path:
    path = ASSETS / "ecg.toml"
    run_recipe(load_recipe(path), base=path.parent, out=out, resume=True, force=False, console=console)
    return out


def rows(bundle: Path, ecg: Path, images: int, folder: Path) -> Sequence[Row]:
    source = Bundle.open(bundle).manifest.data.source
    if source != SOURCE:
        raise CheckError(f"{bundle}: was trained on {source}, must be {SOURCE}, whose training images are not measured")
    test = load_dataset(DataConfig(SOURCE), "sigmoid").test
    codec, x = load(bundle), test.take(np.arange(IMAGES))
    some = x[np.linspace(0, IMAGES - 1, images).astype(np.int64)]
    return [
        *size_rows(codec, x),
        lossless_row(codec, some),
        *ecg_rows(load(ecg)),
        violations_row([codec.file_model, *of_every_dtype(load(ecg))]),
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


def ecg_rows(codec: Codec) -> list[Row]:
    """Bytes of lossless files of the record's last windows / other coders', and the ratio of a bounded file."""
    test = load_dataset(DataConfig("ecg", test=0.2), "linear").test
    x = test.take(np.arange(len(test)))
    data, bounded = codec.compress(x, lossless=True), codec.compress(x, max_error=16)
    for each, bound in ((data, 0), (bounded, 16)):
        if np.abs(codec.decompress(each).astype(int) - x).max() > bound:
            raise AssertionError(f"a file of bound {bound} gives other samples")
    detail = f"{len(data):,} bytes, {8 * len(data) / x.size:.3f} bit a value, of {len(x)} windows; the other {{:,}}"
    found = []
    for name, coder, reach, stretch in zip(("lzma", "flac"), LOSSLESS_CODERS, ("0.83", "0.95"), ("0.80", "0.91"), strict=True):
        if not coder.missing(str(x.dtype)):
            size = coder.size(x.reshape(-1, 1))
            row = Row(f"ecg_lossless_vs_{name}", len(data) / size, "", f"<= {reach}", f"<= {stretch}", detail.format(size))
            found.append(row)
    detail = f"{len(bounded):,} bytes, every value within 16 counts"
    return [*found, Row("ecg_bounded16_ratio", x.nbytes / len(bounded), "x", ">= 11.5", ">= 13.5", detail)]


def violations_row(models: Sequence[FileModel]) -> Row:
    """Values beyond their bound in files of each model: random, constant, alternating and impulsive values."""
    wrong = values = 0
    for model in models:
        dtype = np.dtype(model.spec.dtype)
        for content in adversarial(dtype, (64, model.spec.inputs)):
            for bound in FLOAT_BOUNDS if dtype.kind == "f" else BOUNDS:
                kind = FileKind.BOUNDED if bound else FileKind.LOSSLESS
                data = StreamEncoder(model, model.program, kind=kind, bound=float(bound)).whole(content)
                back = np.concatenate(list(Reader(model, data, "file").samples())).reshape(content.shape)
                errors = np.abs(back.astype(np.float64) - content.astype(np.float64))
                wrong, values = wrong + np.count_nonzero(errors > bound), values + errors.size
    bounds = f"bounds {', '.join(map(str, BOUNDS))} of integers, {', '.join(map(str, FLOAT_BOUNDS))} of floats"
    dtypes = ", ".join(model.spec.dtype for model in models)
    return Row("bound_violations", int(wrong), "", "== 0", "== 0", f"of {values:,} values of {dtypes}; {bounds}")


def adversarial(dtype: np.dtype, shape: tuple[int, int]) -> list[np.ndarray]:
    """Random, constant, alternating and impulsive values over the whole dtype, or of floats in −30,000…30,000."""
    rng = np.random.default_rng(0)
    low, high = (-30_000, 30_000) if dtype.kind == "f" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    uniform = rng.uniform(low, high, shape)
    return [
        (uniform if dtype.kind == "f" else np.rint(uniform)).astype(dtype),
        np.full(shape, (low + 3 * high) // 4).astype(dtype),
        np.resize(np.array([low, high]), shape).astype(dtype),
        np.where(rng.random(shape) < 0.05, high, low).astype(dtype),
    ]


def of_every_dtype(codec: Codec) -> list[FileModel]:
    """The model of int16 samples, and its network with samples of other dtypes: their own maps, and tables of a random walk."""
    assert codec.bundle is not None
    model, tensors, found = codec.file_model, codec.bundle.manifest.tensors, [codec.file_model]
    for dtype in ("uint16", "float16", "float32", "float64"):
        spec = replace(model.spec, dtype=dtype)
        maps, scaling = integer_maps.fit(spec, tensors.x, tensors.y)
        program = dataclasses.replace(model.program, spec=replace(spec, scaling=scaling), maps=maps)
        walk = (np.random.default_rng(1).normal(0, 20, (128, spec.inputs)).cumsum(1) + 1000).astype(dtype)
        y = program.reconstruct(walk)[1]
        residuals = fit_tables(program.spec, walk, program.bases(y), 64)
        found.append(dataclasses.replace(model, program=program, residuals=residuals))
    return found


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
