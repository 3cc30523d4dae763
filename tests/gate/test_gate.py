"""Changes of structure leave what is exported as it is, to the byte.

The models of tests/gate (`make.py` there) are lowered, written, and bundled with samples that are made here; no model is
trained. The sha256 of all that comes of it is that of hashes.json, which `python -m tests.gate.test_gate` writes:

split, fused                 what a program holds
auto/, int8/, c-dense/, …    the files of a program, by `CONFIGS`
bundle/                      model files with the data's unit, codec and detector; NAME.codec, NAME.residuals, golden/
tae/                         .tae files of each kind that the data have
c/, web/, npm/, …            folders of `tiedae package`

What depends on the machine has no hash: golden/*.f32.npy, which Keras computes; WebAssembly modules and the name of their
compiler. benchmarks/run_compare.py compares manifest, metrics and pages of runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from msgspec import structs

from tiedae.base.archive import FORMAT, unpack
from tiedae.bundle.bundle import Programs, model_files
from tiedae.calibration.calibration_file import Calibration, CalibrationData, Fingerprint
from tiedae.cli.app_folders import APPS, AppOptions, package_app
from tiedae.codec.codec import Codec
from tiedae.codec.opening import load
from tiedae.compress import ExportConfig, ModelConfig, Recipe, TiedAutoencoder
from tiedae.compress.affine import Quantization
from tiedae.config.config import CodecConfig
from tiedae.config.sample_spec import INTEGERS, Kind
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import Anomaly, Compression, Task
from tiedae.data.dataset import Dataset
from tiedae.export import lower
from tiedae.pipeline.assemble import write_bundle
from tiedae.pipeline.trained import Trained, TrainedModels
from tiedae.program.program import Program

from ..export.c.compiled import tool

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
HASHES = FOLDER / "hashes.json"
CONFIGS = {
    "auto": (ExportConfig(), "float32"),
    "bytes": (ExportConfig(int4="bytes", signatures=("reconstruct",)), "uint8"),
    "int8": (ExportConfig(opset=21, signatures=("encode", "decode")), "int8"),
    "c-dense": (ExportConfig(("c",)), "uint8"),
    "c-sparse": (ExportConfig(("c",), c_storage="sparse"), "uint8"),
    "c-encode": (ExportConfig(("c",), signatures=("encode",)), "uint8"),
    "c-decode": (ExportConfig(("c",), signatures=("decode",), c_storage="sparse"), "uint8"),
}
"""Export settings, and the dtype of x and y."""
ATTRIBUTES = ("x", "y", "kernel", "transposed", "bias", "factors", "activation", "function", "quantization", "ways")
WEB = {"web", "npm"}
"""Folders that clang and wasm-ld are needed for."""
COUNT, FRAME = 48, 4
"""Samples of a bundle, and of a frame of .tae files."""


EVERY = ExportConfig(("tflite", "onnx", "c"))

X_SCALE = 0.02601538971066475
"""That of `x` in most models of the gate. In half of its inverse as unit, samples lie between two integers, and LiteRT, which
multiplies by the inverse, rounds some of them otherwise."""


@dataclass(frozen=True)
class Job:
    """What a model of the gate is bundled for. `folders`: those of `tiedae package` are made too."""

    dtype: str
    kind: Kind
    task: Task = Compression()
    codec: CodecConfig = CodecConfig()
    export: ExportConfig = EVERY
    folders: bool = False


JOBS = {
    "plain": Job("int16", "record", Anomaly(0.9, score="standardized"), folders=True),
    "ptq": Job("uint8", "image", Anomaly(0.9)),
    "bits4": Job("uint16", "table"),
    "unit": Job("float32", "table", Anomaly(0.9, score="max"), folders=True),
    "nm24": Job("int16", "image", codec=CodecConfig(3), export=structs.replace(EVERY, c_storage="sparse")),
    "clusters": Job("float64", "record", Anomaly(0.9, score="mae")),
    "code4": Job("float16", "image", export=ExportConfig(scaled=True)),
}
"""By model; a float one has none. C has no float16."""


def affine(quantization: Quantization | None) -> list[str]:
    return [] if quantization is None else [quantization.scale.hex(), str(quantization.zero_point), str(quantization.bits)]


def described(program: Program) -> Iterator[str]:
    """What a program holds, in its order: operations, tensors, kernels, arrays."""
    for part in (program.encoder, program.decoder):
        yield "part"
        for operation in part:
            values = [getattr(operation, each) for each in ATTRIBUTES if hasattr(operation, each)]
            texts = (affine(each) if isinstance(each, Quantization) else [str(each)] for each in values)
            yield " ".join([type(operation).__name__, *(text for each in texts for text in each)])
    for name in sorted(program.tensors):
        tensor = program.tensors[name]
        yield " ".join([name, str(math.prod(tensor.shape)), *affine(tensor.quantization)])
    for name in sorted(program.kernels):
        kernel = program.kernels[name]
        yield " ".join([name, str(kernel.inputs), str(kernel.units), str(kernel.bits), *(s.hex() for s in kernel.scales)])
    for name in sorted(program.constants):
        values = np.ascontiguousarray(program.constants[name])
        yield f"{name} {values.dtype} {values.shape} {sha256(values.tobytes())}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashes_of(folder: str, files: Mapping[str, bytes]) -> dict[str, str]:
    return {f"{folder}/{name}": sha256(data) for name, data in sorted(files.items())}


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def walk(count: int, inputs: int) -> np.ndarray:
    """Samples in −1000…1000, int64 [count, inputs], each of which goes on where the one before ends, with some jumps.

    From integers alone, so that every machine has the same.
    """
    rng = np.random.default_rng(7)
    steps = rng.integers(-12, 13, count * inputs)
    steps += rng.integers(-300, 301, steps.size) * (rng.integers(0, 60, steps.size) == 0)
    return 1000 - np.abs(steps.cumsum() % 4000 - 2000).reshape(count, inputs)


def samples_of(job: Job) -> Dataset:
    """Its samples, in a unit of measure that a model of the gate has seen."""
    x, unit, middle = walk(COUNT, 256), 300.0, 0
    if job.dtype == "uint8":
        x, unit, middle = x // 8, 300 / 8, 125
    elif job.dtype == "uint16":
        middle = 3000
    elif job.dtype not in INTEGERS:
        x, unit = x / 16, 0.5 / X_SCALE
    x = (x + middle).astype(job.dtype).reshape(-1, *((16, 16) if job.kind == "image" else (256,)))
    numbers: tuple = (float(middle), unit)
    if job.kind == "table":
        numbers = tuple(tuple(number + i % 9 * unit / 32 for i in range(256)) for number in numbers)
    data = Dataset.from_array(x, test=0.25, validation=0.25).with_scaling(Scaling("standard", *numbers))
    return replace(data, windows=job.kind == "record")


def write_of(name: str, model: TiedAutoencoder, folder: Path) -> Codec:
    """The bundle of a job in a folder, and its codec, which runs as the program."""
    job, (header, arrays) = JOBS[name], unpack(FOLDER / f"{name}.safetensors", FORMAT)
    floating = TiedAutoencoder.rebuild({**header, "quantization": None}, arrays)
    data = samples_of(job)
    model_config = ModelConfig(model.config.layers, model.config.output_activation)
    recipe = Recipe(name, data.config, model_config, export=job.export, codec=job.codec, task=job.task)
    calibration = Calibration(
        observer="minmax",
        settings={},
        samples=1,
        seed=0,
        data=CalibrationData(data.train.sha256, data.scaling),
        model=Fingerprint.of(model),
        tensors={},
    )

    models = TrainedModels({"train": floating, "quantize": model}, calibration)
    write_bundle(Trained(models, data, recipe, folder / "stock"), folder, lambda _text: None)
    return load(folder, runtime="program")


def tae_files(codec: Codec, job: Job) -> dict[str, bytes]:
    """A file of each kind: a frame of samples, then a frame and a rest of what the model gives, which is coded beside codes."""
    bits = 4 if codec.name == "code4" else 8
    codes = np.random.default_rng(8).integers(0, 1 << bits, (FRAME + 1, *codec.code.shape), np.uint8)
    x = np.concatenate([samples_of(job).test.values[:FRAME], codec.decode(codes)])
    kinds: dict[str, dict] = {"lossy": {}, "bounded": {"max_error": 3.0}}
    if job.dtype in INTEGERS:
        kinds["lossless"] = {"lossless": True}
    return {kind: codec.compress(x, samples_per_frame=FRAME, **options) for kind, options in kinds.items()}


def packaged(bundle: Path, kind: str, out: Path) -> dict[str, bytes]:
    """The files of a folder of `tiedae package`, without what a compiler makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", "none")  # the size of the object, which no file holds, would take half of the time
        package_app(bundle, out, kind, AppOptions(), replace=False)
    files = {name: data for name, data in read_files(out).items() if not name.endswith(".wasm")}
    if "build.json" in files:
        files["build.json"] = json.dumps({**json.loads(files["build.json"]), "compiler": None}).encode()
    return files


def bundle_hashes(name: str, model: TiedAutoencoder, kinds: Sequence[str]) -> dict[str, str]:
    """Of a bundle, its .tae files and its folders of these kinds."""
    job = JOBS[name]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        path.mkdir()
        codec = write_of(name, model, path)
        files = {file: data for file, data in read_files(path).items() if file != "manifest.json" and ".f32.npy" not in file}
        found = hashes_of("bundle", files) | hashes_of("tae", tae_files(codec, job))
        for kind in kinds if job.folders else ():
            found |= hashes_of(kind, packaged(path, kind, Path(folder) / kind))
    return found


def hashes(name: str, kinds: Sequence[str] = tuple(APPS)) -> dict[str, str]:
    """Of the programs of a model, of every file that the writers make of them, and of its bundle and its `kinds` of folders."""
    model = TiedAutoencoder.load(FOLDER / f"{name}.safetensors")
    programs = Programs(lower(model, name, layout="split"), lower(model, name, layout="fused"))
    layouts = {"split": programs.split, "fused": programs.fused}
    found = {layout: sha256("\n".join(described(program)).encode()) for layout, program in layouts.items()}
    precision = "int8" if model.quantized else "f32"
    for config, (export, io) in CONFIGS.items():
        found |= hashes_of(config, model_files({precision: programs}, export, io))
    return found | (bundle_hashes(name, model, kinds) if name in JOBS else {})


def differing(name: str, kinds: Sequence[str] = tuple(APPS)) -> list[str]:
    """What has another hash than the stated one, is missing or new; of folders, those of `kinds`."""
    left_out = {f"{kind}/" for kind in APPS if kind not in kinds}
    stated = json.loads(HASHES.read_bytes())[name]
    stated = {key: value for key, value in stated.items() if f"{key.partition('/')[0]}/" not in left_out}
    found = hashes(name, kinds)
    return sorted(key for key in stated | found if stated.get(key) != found.get(key))


@pytest.mark.parametrize("name", [name if name == "ptq" else pytest.param(name, marks=pytest.mark.ci) for name in NAMES])
def test_programs_files_and_folders_are_the_same_to_the_byte(name: str) -> None:
    missing = [each for each in ("clang", "wasm-ld") if shutil.which(each) is None and name in JOBS and JOBS[name].folders]
    assert differing(name, [kind for kind in APPS if not missing or kind not in WEB]) == []
    for each in missing:
        tool(each)


def main() -> None:
    HASHES.write_text(json.dumps({name: hashes(name) for name in NAMES}, indent=1) + "\n")


if __name__ == "__main__":
    main()
