"""Whole files of each kind that mutations start from: small ones, written here, without TensorFlow."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tempfile
import wave
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tiedae.base.archive import pack, pack_npz
from tiedae.calibration.calibration_file import CalibratedTensor, Calibration, CalibrationData, Fingerprint
from tiedae.calibration.histogram import Histogram
from tiedae.config.scaling import Scaling
from tiedae.export.c.kernels import Storage
from tiedae.export.c.source import to_c
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.export.tflite.writer import to_tflite
from tiedae.pipeline.recipe import recipe_text
from tiedae.program.program import Program

from ..codec.conftest import extract_runs
from ..compress.imports import conv_graphs, model_files, onnx_graphs
from ..compress.imports.layer_files import LAYERS
from ..conftest import build_program, smallest_recipe
from ..export.onnx.test_reader import nested_model
from ..program.convolutions import random_program

WIDTHS = (12, 6, 3)
C_NAME = "net"
STOCK = Path(__file__).parent / "stock"
"""The small model of tests/export/test_duplicates.py as the stock tools convert it, which stores each kernel twice."""


def saved(**arrays: np.ndarray) -> bytes:
    return written(lambda file: np.savez(file, allow_pickle=False, **arrays))


def packed(**arrays: np.ndarray) -> bytes:
    return written(lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def npy(values: np.ndarray) -> bytes:
    return written(lambda file: np.save(file, values, allow_pickle=False))


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def of_path(write: Callable[[Path], object], name: str) -> bytes:
    """The bytes of a file that `write` makes."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LABELS = np.array(["a", "b", "a", "b", "a", "a"])
BYTES = np.arange(48, dtype=np.uint8).reshape(4, 3, 4)


def stock(suffix: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(STOCK.glob(f"*{suffix}"))]


def tflite() -> list[bytes]:
    program = build_program(WIDTHS, form="split", granularity="unit")
    convolved, _ = random_program(1)
    files = [to_tflite(program), to_tflite(build_program(WIDTHS, form="split", quantized=False)), to_tflite(convolved)]
    program = build_program((40, 24, 6), form="split")
    sparse = {name: np.where(program.constants[name] % 7 == 0, program.constants[name], 0) for name in program.kernels}
    return [*files, *stock(".tflite"), to_tflite(replace(program, constants={**program.constants, **sparse}))]


@cache
def external() -> tuple[bytes, bytes, bytes]:
    """Encoder, decoder, and the kernels beside them in kernels.bin."""
    return to_onnx_pair(build_program(WIDTHS), kernels_file="kernels.bin")


def onnx_files() -> list[bytes]:
    encoder, decoder, _ = external()
    return [to_onnx(build_program(WIDTHS)), to_onnx(random_program(1)[0]), encoder, decoder, nested_model(), *stock(".onnx")]


def onnx_nets() -> list[bytes]:
    """What other libraries write."""
    nets = [onnx_graphs.random_net(seed).model().SerializeToString() for seed in range(6)]
    tied, apart = onnx_graphs.Graph(seed=0), onnx_graphs.Graph(seed=1)
    onnx_graphs.tied_by_transposing(tied, tied.floats(3, 8))
    for width, units in itertools.pairwise((8, 6, 3, 6, 8)):
        onnx_graphs.linear(apart, width, units)
        apart.add("Relu")
    nets += [conv_graphs.torch_image().model().SerializeToString()]
    return [*nets, tied.model().SerializeToString(), apart.model().SerializeToString(), external()[0]]


def h5() -> list[bytes]:
    arrays = model_files.kernels()
    weights = model_files.dense_weights(arrays)
    layers = model_files.dense_layers()
    configs = [model_files.sequential(layers), model_files.functional(layers, model_files.WIDTHS[0])]
    configs += [model_files.sequential(layers) for layers, _ in LAYERS.values()]
    return [of_path(lambda path, config=config: model_files.write_h5(path, config, weights), "x.h5") for config in configs]


def keras() -> list[bytes]:
    weights = model_files.hdf5_bytes(model_files.dense_arrays(model_files.kernels()))
    layers = model_files.dense_layers()
    configs = [model_files.sequential(layers), model_files.functional(layers, model_files.WIDTHS[0])]
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    pairs = [
        of_path(lambda path, c=config, k=kind: model_files.write_archive(path, c, weights, compression=k), "x.keras")
        for config in configs
        for kind in kinds
    ]
    every = [(model_files.sequential(layers), model_files.hdf5_bytes(arrays)) for layers, arrays in LAYERS.values()]
    return [*pairs, *(of_path(lambda path, m=model: model_files.write_archive(path, *m), "x.keras") for model in every)]


def arrays_npz() -> list[bytes]:
    groups = np.array([1, 1, 2, 2, 3, 3])
    return [
        saved(x=X, labels=LABELS, groups=groups),
        packed(x_train=X, y_train=groups[:, None], x_test=X[:2], y_test=groups[:2, None]),
        packed(values=BYTES),
    ]


def arrays_npy() -> list[bytes]:
    return [npy(X), npy(BYTES), npy(LABELS), npy(np.asfortranarray(X.astype(">f8"))), npy(np.float32(1))]


def programs() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        runs = extract_runs(Path(folder))
        files = [(runs / name / "bundle" / "golden" / "program.npz").read_bytes() for name in ("bytes", "table")]
    return [*files, pack_npz({"format": "tiedae-program", "version": 1}, {"a": np.arange(6, dtype=np.int32)})]


def archives() -> list[bytes]:
    kernels = {f"kernel_{i}": values for i, values in enumerate(model_files.kernels()[:4])}
    header = {"format": "tiedae-model", "version": 1, "config": {"layers": [6, 3], "inputs": 12}, "quantization": None}
    return [pack(header, kernels), pack(header, {"mask": np.ones((3, 4), bool), "n": np.array(3, np.int64)})]


CSV = (
    "a,b,label,time\n" + "".join(f"{i},{i / 3:.4f},{'ok' if i % 2 else 'bad'},{i / 10}\n" for i in range(8)),
    "1;2;3\n4;5;6\n7;8;9\n",
    '"x"\ty\tgroup\n1\t2e-3\tA\n-4\t5\t"B"\n',
    "\ufeffstart,end,kind,file\n0.5,1.5,noise,a.csv\n3,4,gap,a.csv\n",
)


def csv() -> list[bytes]:
    return [text.encode() for text in CSV]


def idx_of(values: np.ndarray, code: int) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes((0, 0, code, values.ndim)) + sizes + values.tobytes()


def idx() -> list[bytes]:
    return [idx_of(BYTES, 8), idx_of(X.astype(">f4"), 0x0D), idx_of(np.arange(4, dtype=np.uint8), 8)]


def idx_gz() -> list[bytes]:
    return [gzip.compress(data, 1) for data in idx()]


def wav() -> list[bytes]:
    def write(width: int, channels: int) -> Callable[[Any], None]:
        def to(file: Any) -> None:
            with wave.open(file, "wb") as sound:
                sound.setnchannels(channels)
                sound.setsampwidth(width)
                sound.setframerate(16_000)
                sound.writeframes(bytes(range(24 * width)) * channels)

        return to

    return [written(write(width, channels)) for width in (1, 2, 3, 4) for channels in (1, 2)]


KINDS: Sequence[tuple[str, str, dict[str, Any]]] = (
    ("PNG", "L", {}), ("PNG", "RGB", {}), ("PNG", "P", {}), ("PNG", "RGBA", {}), ("PNG", "I;16", {}), ("PNG", "1", {}),
    ("JPEG", "L", {}), ("JPEG", "RGB", {"progressive": True}), ("BMP", "RGB", {}), ("GIF", "P", {}),
    ("WEBP", "RGB", {"lossless": True}), ("WEBP", "RGB", {}), ("TIFF", "L", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "F", {"compression": "tiff_deflate"}), ("TIFF", "I;16", {}), ("PPM", "RGB", {}), ("PPM", "L", {}),
)  # fmt: skip


TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
"""EXIF data of an image that is turned by 90°."""


def images() -> list[bytes]:
    gray = Image.fromarray((np.arange(64, dtype=np.uint8) * 3).reshape(8, 8))
    found = []
    for kind, mode, options in KINDS:
        image = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900) if mode == "I;16" else gray.convert(mode)
        more = options | ({"exif": TURNED} if kind in ("JPEG", "PNG", "WEBP") else {})
        found.append(written(lambda file, i=image, k=kind, o=more: i.save(file, k, **o)))
    return found


def bundle_texts(name: str) -> list[bytes]:
    """A JSON file of two bundles, with its longer lists cut short."""
    with tempfile.TemporaryDirectory() as folder:
        runs = extract_runs(Path(folder))
        texts = [json.loads((runs / run / "bundle" / name).read_bytes()) for run in ("bytes", "table")]
    return [json.dumps(_shortened(text)).encode() for text in texts]


def _shortened(value: Any) -> Any:
    """At most two tables of each list."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in (value[:2] if all(isinstance(each, dict) for each in value) else value)]
    return value


def recipes() -> list[bytes]:
    short = smallest_recipe("x.npy", data='scaling = "standard"\n', more='[quantize]\nbits = 4\n[export]\ntargets = ["onnx"]\n')
    return [recipe_text().encode(), smallest_recipe().encode(), short.encode(), _RECIPE.encode()]


_RECIPE = """
name = "x"
[data]
source = "x.csv"
kind = "record"
window = 16
label = "kind"
[model]
layers = [{ units = 32, activation = "tanh" }, { kind = "conv1d", units = 4, kernel = 3 }, 8]
output_activation = "linear"
[train]
epochs = 3
optimizer = "adam"
[prune]
pattern = "2:4"
[task]
kind = "anomaly"
"""


def calibrations() -> list[bytes]:
    histogram = Histogram.of(X, 64)
    tensor = CalibratedTensor((-1.0, 2.0), X.size, 0.01, 8, None, (1, 3), histogram.pack())
    bounded = CalibratedTensor((0.0, 1.0), X.size, 0.0, 4, (0.0, 1.0), (), histogram.pack())
    model = Fingerprint((4, 2), ("relu",), "sigmoid", "tensor", (8,), {"kernel_0": "ab" * 32}, {"bias_0": "cd" * 32})
    data = CalibrationData("ef" * 32, Scaling("standard", (0.0, 1.0, 2.0, 3.0), (1.0, 1.0, 1.0, 2.0)))
    options: dict[str, Any] = {"settings": {"percentile": 99.9}, "samples": 6, "seed": 0, "data": data, "model": model}
    made = Calibration(observer="minmax", tensors={"x": tensor, "code": bounded}, versions={"numpy": "2"}, **options)
    return [made.to_json().encode()]


@cache
def c_sources() -> tuple[list[bytes], list[bytes]]:
    """NAME.c and NAME.h of a network in each storage."""
    narrow = build_program(WIDTHS, bits=4, granularity="unit")
    programs: list[tuple[Program, Storage]] = [(build_program(WIDTHS), "dense"), (narrow, "dense"), (build_program(), "sparse")]
    files = [to_c(replace(program, name=C_NAME), storage=storage).files for program, storage in programs]
    sources, headers = ([each[f"{C_NAME}.{suffix}"].encode() for each in files] for suffix in "ch")
    return sources, headers
