"""The bundle: the files that a user ships, hands to CI, or verifies years later.

NAME.{int8,f32}.tflite                  every signature over one buffer
NAME.{int8,f32}.onnx                    x → code, y
NAME.{encoder,decoder}.{int8,f32}.onnx  over one NAME.{int8,f32}.kernels.bin
manifest.json                           hashes, kernels, inputs, outputs, operations, versions, recipe
golden/                                 what the files must give, see `golden`; program (biases and masks)
metrics.json, report.html, MODEL_CARD.md
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compress.archive import pack_npz, unpack
from ..compress.config import ExportConfig
from ..compress.data import Dataset, Samples
from ..compress.errors import ExportError, FormatError
from ..compress.files import write_atomic
from . import golden
from . import manifest as manifests
from .formats.model_file import Contents, TensorInfo, oriented
from .targets import TARGETS, Programs, is_model, read_model, require_targets

if TYPE_CHECKING:
    from .verify.results import Metrics

PRECISIONS = ("int8", "f32")
PROGRAM_FILE = "golden/program.npz"
PROGRAM_KIND = "tiedae-program"


def model_files(programs: Mapping[str, Programs], config: ExportConfig, io: str) -> dict[str, bytes]:
    """The model files by name; `programs` by precision, `int8` and `f32`. `io` is the dtype of x and y in the int8 files."""
    require_targets(config.targets)
    files: dict[str, bytes] = {}
    for precision, pair in programs.items():
        for target in config.targets:
            program = pair.of(target)
            stem = f"{program.name}.{precision}"
            files |= TARGETS[target].write(program, stem, config, io if precision == "int8" else "auto")
    return files


def model_names(name: str, config: ExportConfig) -> set[str]:
    """The names of the files that `model_files` writes."""
    stems = [f"{name}.{precision}" for precision in PRECISIONS]
    return {file for stem in stems for target in config.targets for file in TARGETS[target].file_names(stem, config.signatures)}


def program_file(programs: Programs, masks: Mapping[str, np.ndarray]) -> bytes:
    """golden/program.npz: the constants that are no kernels, and the bits of the masks."""
    constants = dict(programs.fused.constants) | dict(programs.split.constants)
    kept = {name: values for name, values in constants.items() if name not in programs.fused.kernels}
    bits = {f"mask.{name}": np.packbits(mask) for name, mask in masks.items()}
    return pack_npz({"format": PROGRAM_KIND, "version": 1}, kept | bits)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def describe_files(directory: Path, names: list[str], read: Mapping[str, Contents] | None = None) -> dict[str, Any]:
    """sha256 and bytes of each file, and for a model file its format, precision, signatures and details.

    `read` holds what was read of model files before.
    """
    described: dict[str, Any] = {}
    for name in sorted(names):
        data = (directory / name).read_bytes()
        described[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        if is_model(name):
            contents = read[name] if read is not None and name in read else read_model(directory / name)
            described[name] |= {
                "format": contents.format,
                "precision": Path(name).suffixes[-2].removeprefix("."),
                "signatures": {
                    signature.name: {
                        "inputs": [_described(tensor) for tensor in signature.inputs],
                        "outputs": [_described(tensor) for tensor in signature.outputs],
                        "operations": dict(signature.operations),
                    }
                    for signature in contents.signatures
                },
                "details": dict(contents.details),
            }
    return described


def _described(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": ["batch" if size is None else size for size in tensor.shape],
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its text parsed."""

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Bundle:
        return cls(path, manifests.read(path))

    @property
    def models(self) -> list[str]:
        return [name for name in self.manifest["files"] if is_model(name)]

    def files_of(self, target: str, precision: str) -> dict[str, str]:
        """The model file that serves each signature, of one target and precision."""
        stated = {name: self.manifest["files"][name] for name in self.models}
        mine = {n: each for n, each in stated.items() if (each["format"], each["precision"]) == (target, precision)}
        return {signature: name for name, each in mine.items() for signature in each["signatures"]}

    def companions(self, target: str, precision: str) -> set[str]:
        """The files that those of `files_of` need beside them."""
        stem = f"{self.manifest['name']}.{precision}"
        needed = TARGETS[target].companions(stem, self.files_of(target, precision))
        return needed & set(self.manifest["files"])

    def io_dtype(self, target: str, precision: str) -> str:
        """The dtype of `x` and `y` in those files."""
        for signature, name in self.files_of(target, precision).items():
            written = self.manifest["files"][name]["signatures"][signature]
            for each in (*written["inputs"], *written["outputs"]):
                if each["name"] in ("x", "y"):
                    return each["dtype"]
        raise FormatError(f"{self.path}: no {precision} file of {target} has x or y")

    def require_intact(self, names: Iterable[str] | None = None) -> None:
        """Raise FormatError unless these files (all of them by default) are as the manifest says."""
        for name in self.manifest["files"] if names is None else names:
            path = self.path / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != self.manifest["files"][name]["sha256"]:
                raise FormatError(f"{path}: missing or changed, its sha256 is not the manifest's")

    def golden(self) -> dict[str, np.ndarray]:
        """The golden arrays by name, as they are stored; FormatError where one is missing, damaged or of another shape."""
        return golden.read(self.path, self.manifest)

    def programs(self, contents: Mapping[str, Contents]) -> Programs:
        """The integer programs: operations from the manifest, biases from golden/, kernels from whichever file holds them.

        Raises FormatError where a constant is nowhere to be found with the sha256 that the manifest states.
        """
        _, arrays = unpack(self.path / PROGRAM_FILE, PROGRAM_KIND)
        try:
            constants = self._constants(arrays, contents)
            forms = {
                form: manifests.program_from_json(self.manifest["name"], written, constants)
                for form, written in self.manifest["operations"].items()
            }
            return Programs(**forms)
        except ExportError as error:
            raise FormatError(f"{self.path / manifests.FILE}: operations are damaged: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{self.path / manifests.FILE}: operations are damaged: {error!r}") from error

    def _constants(self, arrays: Mapping[str, np.ndarray], contents: Mapping[str, Contents]) -> dict[str, np.ndarray]:
        """Every constant of the manifest's operations by name, from `arrays` or a model file."""
        stated = {k: v for form in self.manifest["operations"].values() for k, v in form["constants"].items()}
        constants = {}
        for name, description in stated.items():
            candidates = [arrays[name]] if name in arrays else _stored(contents, description["shape"])
            match = [each for each in candidates if manifests.sha256_of(each) == description["sha256"]]
            if not match:
                raise FormatError(f"{self.path}: no file holds {name} with the sha256 that the manifest states")
            constants[name] = match[0]
        return constants

    def verify(self, data: Dataset | Samples | None = None, *, announce: Callable[[str], None] = lambda _text: None) -> Metrics:
        """Check the bundle, on these samples (the test samples of a Dataset) or on its golden vectors alone.

        `raise_for_failures` of what it returns raises CheckError. Raises DataError where the samples are not the bundle's.
        """
        from .verify.verify import verify_bundle

        test = data.test if isinstance(data, Dataset) else data
        return verify_bundle(self.path, test=test, announce=announce)

    def masks(self) -> dict[str, np.ndarray]:
        """bool [inputs, units] by kernel name, from golden/."""
        _, arrays = unpack(self.path / PROGRAM_FILE, PROGRAM_KIND)
        masks = {}
        for kernel in self.manifest["kernels"]:
            name, shape = kernel["name"], kernel["shape"]
            packed = arrays.get(f"mask.{name}")
            if packed is None or packed.dtype != np.uint8 or packed.size != -(-shape[0] * shape[1] // 8):
                raise FormatError(f"{self.path / PROGRAM_FILE}: holds no mask of {name} [{shape[0]}, {shape[1]}]")
            masks[name] = np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)
        return masks


def _stored(contents: Mapping[str, Contents], shape: list[int]) -> list[np.ndarray]:
    """What every stored int8 or int4 array of this many values holds in the program's orientation, int8."""
    stored = (constant.integers for each in contents.values() for constant in each.constants)
    return [np.ascontiguousarray(view) for values in stored if values.dtype == np.int8 for view in oriented(values, shape)]


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        write_atomic(directory / name, data)
