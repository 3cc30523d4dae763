"""The table of readers that are fuzzed: a new reader is a row."""

from __future__ import annotations

import gzip
import io
import math
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from PIL import Image

from tiedae.base import limits
from tiedae.base.archive import FORMAT, unpack, unpack_npz
from tiedae.bundle import manifest
from tiedae.bundle.bundle import PROGRAM_KIND
from tiedae.bundle.results import read_metrics
from tiedae.calibration.calibration_file import read_calibration
from tiedae.cli.tae_files import inspect
from tiedae.compress.imports import onnx_chain  # noqa: F401 (which readers import late)
from tiedae.compress.imports.formats import read_model
from tiedae.config.config import DataConfig
from tiedae.data.interval_files import read_intervals
from tiedae.data.readers import keys_of, read
from tiedae.dedupe.inputs import read_data
from tiedae.dedupe.inspection import inspect_file
from tiedae.dedupe.models import inspect_model
from tiedae.export.c.reader import read_c, read_interface
from tiedae.export.model_file import Contents, Signature, TensorInfo
from tiedae.pipeline.importing import Start
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.run_directory import read_json
from tiedae.report.inspection import render
from tiedae.report.models import render as render_model

from . import codec, containers, messages, seeds
from .codec import golden, reads
from .mutations import Mutation, blind, tokens, values

CORPUS = Path(__file__).parent / "corpus"
"""Inputs of each target in a folder of its name: what broke a law once, and what guided runs found, made small."""


@dataclass(frozen=True)
class Target:
    """A reader, the name of its file, whole files to start from, and what changes them.

    `beside`: other files of its folder. `declared`: the decoded size in bytes that an input states, up to the reader's limit,
    where that may be more than the input. `longest`: bytes of an input at most. `anywhere`: it may open files outside
    the folder, by names of the user's. `resident`: its memory is measured where it is touched, not where it is reserved.
    """

    read: Callable[[Path], object]
    file: str
    whole: Callable[[], Sequence[bytes]]
    mutations: Sequence[Mutation]
    beside: Callable[[], Mapping[str, bytes]] = dict
    declared: Callable[[bytes], int] = len
    longest: int = 1 << 16
    anywhere: bool = False
    resident: bool = False

    def corpus(self, name: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def _inspect(path: Path) -> None:
    render(inspect_file(path))


def _import(path: Path) -> None:
    render_model(inspect_model(path))
    chain = read_model(path)
    Start.read(path, tie=None, assume=chain.custom).mirror.weights()


def _samples(path: Path) -> None:
    """As they are, and then with the keys of [data] that such a file may have."""
    read(path)
    config = DataConfig(str(path), label="label", time="time", groups="groups" if path.suffix == ".npz" else "group")
    read(path, keys_of(config, path))


def _record(path: Path) -> None:
    read(path.parent, DataConfig(str(path.parent), kind="record"))


def _inputs(path: Path) -> None:
    signature = Signature("main", (TensorInfo("x", "float32", (None, 4)),), (), {})
    read_data(path, Contents("onnx", 0, (), (signature,)))


def _images(path: Path) -> None:
    read(path.parent)


def _resized(path: Path) -> None:
    read(path.parent, replace(DataConfig(str(path.parent)), resize=(4, 4), convert="gray"))
    read(path.parent, replace(DataConfig(str(path.parent)), patch=4, convert="rgb"))


def _c(path: Path) -> None:
    read_interface(path)
    read_c(path)


def _c_header(path: Path) -> None:
    _c(path.with_suffix(".c"))


def _inspect_beside(path: Path) -> None:
    _inspect(path.with_name("x.onnx"))


def _unpacked(data: bytes) -> int:
    """What the members of a ZIP archive unpack to."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return min(sum(info.file_size for info in archive.infolist()), limits.UNPACKED)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return len(data)


def _unzipped(data: bytes) -> int:
    """What the header of a packed idx file states."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            head = file.read(4)
            sizes = file.read(4 * head[3]) if len(head) == 4 else b""
    except (OSError, EOFError, ValueError, zlib.error):
        return len(data)
    return min(8 * math.prod(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist()), limits.UNPACKED)


def _pixels(data: bytes) -> int:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:  # of damage, as the product
            return image.width * image.height * 4
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return len(data)


JSON = (values, values, values, blind)
TOML_WORDS = (b"[model]", b"layers = [8, 4]", b"units", b"kind", b'"anomaly"', b"[[x]]", b"= {", b'"""', b"false")
CSV_WORDS = (b",", b";", b"\t", b"label", b"time", b"start", b"end", b"kind", b"group", b'""', b"\r", b"\xef\xbb\xbf", b"1_0")
C_WORDS = (b"/*", b"*/", b"{", b"};", b"static const ", b"int8_t", b"#if 0\n", b"#endif\n", b"[", b"\\\n", b"0x7f")
TOML, TABLE, C_TEXT = ((tokens(*words),) * 3 + (blind,) for words in (TOML_WORDS, CSV_WORDS, C_WORDS))
ZIP_NPY = (containers.zipped({".npy": containers.npy, "json": values}),) * 3 + (blind,)
ZIP_KERAS = (containers.zipped({".json": values, ".h5": blind}),) * 3 + (blind,)
PROTOBUF = (messages.protobuf,) * 3 + (blind,)
FLATBUFFER = (messages.fields,) * 7 + (messages.tables, blind, blind)
BLIND = (blind,)
_CHOICES = [bytes([choice]) for choice in range(4)]
_FILES = [bytes([choice]) for choice in (0, 2, 3, 6, 7, 130, 134)]
_PAYLOADS = [bytes([choice, 8, 0]) for choice in range(5)]
_RESIDUALS = [bytes([choice, 1, 3, 0]) for choice in (0, 1, 2, 3, 128)]


def _kernels() -> dict[str, bytes]:
    return {"kernels.bin": seeds.external()[2]}


def _encoder() -> dict[str, bytes]:
    return {"x.onnx": seeds.external()[0]}


def _coded(read: Callable[[Path], object], whole: Callable[[], Sequence[bytes]], file: str = "x.bin") -> Target:
    return Target(read, file, whole, BLIND, longest=4096)


def _json(read: Callable[[Path], object], file: str, whole: Callable[[], Sequence[bytes]]) -> Target:
    return Target(read, file, whole, JSON)


TARGETS: Mapping[str, Target] = {
    "tflite": Target(_inspect, "x.tflite", seeds.tflite, FLATBUFFER),
    "onnx": Target(_inspect, "x.onnx", seeds.onnx_files, PROTOBUF, _kernels),
    "onnx-import": Target(_import, "x.onnx", seeds.onnx_nets, PROTOBUF, _kernels),
    "onnx-data": Target(_inspect_beside, "kernels.bin", lambda: seeds.external()[2:], BLIND, _encoder),
    "keras": Target(_import, "x.keras", seeds.keras, ZIP_KERAS, declared=_unpacked, resident=True),
    "h5": Target(_import, "x.h5", seeds.h5, (containers.hdf5, containers.hdf5, blind), resident=True),
    "npz": Target(_samples, "x.npz", seeds.arrays_npz, ZIP_NPY, declared=_unpacked),
    "npz-inputs": Target(_inputs, "x.npz", seeds.arrays_npz, ZIP_NPY, declared=_unpacked),
    "npz-program": Target(lambda path: unpack_npz(path, PROGRAM_KIND), "program.npz", seeds.programs, ZIP_NPY),
    "npy": Target(read, "x.npy", seeds.arrays_npy, (containers.npy,)),
    "safetensors": Target(lambda path: unpack(path, FORMAT), "x.safetensors", seeds.archives, (containers.archive,)),
    "csv": Target(_samples, "x.csv", seeds.csv, TABLE),
    "intervals": Target(read_intervals, "x.csv", seeds.csv, TABLE),
    "record": Target(_record, "record/x.csv", seeds.csv, TABLE, lambda: {"record/y.csv": seeds.csv()[0]}),
    "idx": Target(_samples, "x.idx", seeds.idx, BLIND),
    "idx-gz": Target(_samples, "x.idx.gz", seeds.idx_gz, (containers.gzipped,), declared=_unzipped),
    "wav": Target(_samples, "x.wav", seeds.wav, BLIND),
    "images": Target(_images, "pictures/x.png", seeds.images, (containers.png,), declared=_pixels),
    "images-resized": Target(_resized, "pictures/x.png", seeds.images, (containers.png,), declared=_pixels),
    "manifest": _json(lambda path: manifest.read(path.parent), "manifest.json", lambda: seeds.bundle_texts("manifest.json")),
    "metrics": _json(read_metrics, "metrics.json", lambda: seeds.bundle_texts("metrics.json")),
    "calibration": _json(read_calibration, "calibration.json", seeds.calibrations),
    "run-state": _json(read_json, "run.json", seeds.calibrations),
    "recipe": Target(load_recipe, "recipe.toml", seeds.recipes, TOML, anywhere=True),
    "c": Target(_c, "net.c", lambda: seeds.c_sources()[0], C_TEXT, lambda: {"net.h": seeds.c_sources()[1][0]}),
    "c-header": Target(_c_header, "net.h", lambda: seeds.c_sources()[1], C_TEXT, lambda: {"net.c": seeds.c_sources()[0][0]}),
    "contents": _coded(reads(codec.fuzz_contents), lambda: golden("*.tae", _CHOICES[:2])),
    "tae": _coded(reads(codec.fuzz_file), lambda: golden("*.tae", _FILES)),
    "tae-info": _coded(inspect, lambda: golden("*.tae", [b""]), "x.tae"),
    "tables": _coded(reads(codec.fuzz_tables), lambda: golden("*.codec", _CHOICES)),
    "residual-tables": _coded(reads(codec.fuzz_residual_tables), lambda: golden("*.residuals", _CHOICES)),
    "payload": _coded(reads(codec.fuzz_payload, 3), lambda: [*codec.payloads(), *golden("*.tae", _PAYLOADS)]),
    "residuals": _coded(reads(codec.fuzz_residuals, 4), lambda: [*codec.residual_payloads(), *golden("*.tae", _RESIDUALS)]),
}
