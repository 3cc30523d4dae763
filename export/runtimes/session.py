"""What every runtime offers, and what its rows have in common."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np

from ...compress.errors import DataError, FormatError, InputError, UnavailableError
from ...compress.packages import INSTALL, missing
from .native_output import quiet

BROKEN = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
"""What the import of a package raises whose library, or a package under it, is missing or of another version."""


Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Bound:
    """A signature with its input, run once: two calls that repeat it, both complete when they return.

    `invoke`: the runtime alone, its input already set and its outputs left where they are (fetched, where Keras ran).
    `call`: what a user writes in Python, from a numpy array to numpy arrays.
    """

    invoke: Callable[[], object]
    call: Callable[[], object]


class Session(Protocol):
    """A loaded model file in one runtime."""

    runtime: str
    """Name of the row, such as `litert-xnnpack`."""
    provider: str
    """What really ran, as the runtime reports it."""

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, [batch, size] in the file's dtypes, for `x` [batch, size] in the file's input dtype, batch ≥ 1.

        Raises InputError for a signature without a file, DataError for samples of another dtype or size.
        """
        ...

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The program's tensors inside the file, by the program's names, for the same batch.

        Quantized ones are uint8 (int8 of a file + 128). Tensors that the runtime fused away are absent; a runtime that shows
        none gives an empty dictionary.
        """
        return {}

    def call(self, signature: str, inputs: Values) -> Values:
        """One call of any file: inputs by name, of any number and shape where the row is `foreign`; outputs by name.

        Raises FormatError where the runtime refuses them, InputError for a signature without a file.
        """
        (x,) = inputs.values()
        return self.run(signature, x)

    def bind(self, signature: str, x: np.ndarray) -> Bound:
        """Set the one input of a signature, in the file's own dtype, for calls that are timed."""
        call = partial(self.run, signature, x)
        call()
        return Bound(call, call)


def load(module: str) -> ModuleType:
    """Import a runtime's Python module; what it prints is kept back.

    Raises UnavailableError where it is not installed, or where it does not import, with the reason and the command that brings
    it.
    """
    package = module.partition(".")[0]
    install = INSTALL.get(package, f"pip install {package}")
    try:
        with quiet():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise missing(package) from None
        raise UnavailableError(f"{package} is installed but does not import: {error}; {install}") from error
    except BROKEN as error:
        raise UnavailableError(f"{package} is installed but does not import: {first_line(error)}; {install}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, else its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def require_files(runtime: str, files: Mapping[str, Path]) -> None:
    """Raise InputError for no file at all, FormatError for one that is missing."""
    if not files:
        raise InputError(f"{runtime}: no file to open")
    for path in files.values():
        if not path.is_file():
            raise FormatError(f"{path}: no such file")


T = TypeVar("T")


def served(runtime: str, signature: str, by_signature: Mapping[str, T]) -> T:
    """What serves a signature. Raises InputError where nothing does."""
    if signature not in by_signature:
        raise InputError(f"{runtime}: no file for the signature {signature!r}, only for {', '.join(by_signature)}")
    return by_signature[signature]


def one_file(runtime: str, files: Mapping[str, Path]) -> Path:
    """The one file that serves every signature. Raises InputError for several, FormatError where it is missing."""
    if len(set(files.values())) > 1:
        raise InputError(f"{runtime}: got {len(set(files.values()))} files, must be one .tflite file with every signature")
    require_files(runtime, files)
    return next(iter(files.values()))


Sample = tuple[np.dtype, tuple[int, ...]]
"""dtype and size of one sample of a signature's input."""


def in_batches(
    call: Callable[[np.ndarray], dict[str, np.ndarray]], signature: str, x: np.ndarray, sample: Sample, most: int
) -> dict[str, np.ndarray]:
    """The outputs of `call` for contiguous pieces of `x` of at most `most` samples, as one batch.

    Raises DataError where `x` is not [batch, *size] of the sample's dtype with a sample or more.
    """
    dtype, size = sample
    if x.dtype != dtype or x.shape[1:] != size or len(x) == 0:
        right = f"{dtype} [batch, {', '.join(map(str, size))}], batch at least 1"
        raise DataError(f"{signature}: got {x.dtype} {list(x.shape)}, the file takes {right}")
    if len(x) <= most:
        return call(np.ascontiguousarray(x))
    parts = [call(np.ascontiguousarray(x[start : start + most])) for start in range(0, len(x), most)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
