"""The protocol of runtime sessions, and helpers shared by the runtimes."""

from __future__ import annotations

import importlib
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np

from tiedae.base.errors import DataError, FormatError, InputError, UnavailableError
from tiedae.base.packages import INSTALL, missing

from .native_output import quiet

BROKEN = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
"""Errors on import of a package whose native library or dependency is missing or of a wrong version."""

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Bound:
    """Two calls that repeat a signature on one input; both are complete when they return.

    `invoke`: the runtime alone, with its input set and its outputs not fetched (except for Keras).
    `call`: as in user code, from a numpy array to numpy arrays.
    """

    invoke: Callable[[], object]
    call: Callable[[], object]


class Session(Protocol):
    """A loaded model file in one runtime."""

    runtime: str
    """Name of the row, such as `litert-xnnpack`."""
    provider: str
    """What actually ran, as reported by the runtime."""

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, [batch, *shape] in the file's dtypes, for `x` [batch, *shape] in the file's dtype, batch ≥ 1.

        Raises InputError for an unknown signature, DataError for samples of a wrong dtype or shape.
        """
        ...

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Inner tensors by name, the program's among them, [batch, *shape], uint8 (int8 of a file + 128) or float32.

        Tensors that the runtime fused away are absent; a runtime without access to any returns an empty dictionary.
        """
        return {}

    def scores(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Integer scores, uint64 [n], and flags, bool [n], of samples [n, inputs] in the data's dtype and unit of measure; None
        where the runtime or its file has none."""
        return None

    def call(self, signature: str, inputs: Values) -> Values:
        """Run a file once: inputs and outputs by name, of any number and shape unless the runtime's role is `ours`.

        Raises FormatError if the runtime rejects the inputs, InputError for an unknown signature.
        """
        (x,) = inputs.values()
        return self.run(signature, x)

    def bind(self, signature: str, x: np.ndarray) -> Bound:
        """Set the input of a signature, in the file's dtype, for timed calls."""
        call = partial(self.run, signature, x)
        call()
        return Bound(call, call)


class Called(Protocol):
    """The part of a `Session` that runs any file once."""

    @property
    def provider(self) -> str: ...
    def call(self, signature: str, inputs: Values) -> Values: ...


class HeldFile:
    """An open file: `path` keeps leading to it when the original path is replaced or removed."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        self.path = Path(f"/dev/fd/{descriptor}")


def load(module: str) -> ModuleType:
    """Import a runtime's Python module, without its output.

    Raises UnavailableError with the reason and the install command if it is missing or does not import.
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
    """The first nonempty line of an error's text, else its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def require_files(runtime: str, files: Mapping[str, Path]) -> None:
    """Raise InputError without files, FormatError for a missing one."""
    if not files:
        raise InputError(f"{runtime}: no file to open")
    for path in files.values():
        if not path.is_file():
            raise FormatError(f"{path}: no such file")


T = TypeVar("T")


def served(runtime: str, signature: str, by_signature: Mapping[str, T]) -> T:
    """The item of a signature. Raises InputError if there is none."""
    if signature not in by_signature:
        raise InputError(f"{runtime}: no file for the signature {signature!r}, only for {', '.join(by_signature)}")
    return by_signature[signature]


def one_file(runtime: str, files: Mapping[str, Path]) -> Path:
    """The one file of all signatures. Raises InputError for several files, FormatError for a missing one."""
    if len(set(files.values())) > 1:
        raise InputError(f"{runtime}: got {len(set(files.values()))} files, must be one file with every signature")
    require_files(runtime, files)
    return next(iter(files.values()))


Sample = tuple[np.dtype, tuple[int, ...]]
"""dtype and shape of one sample of a signature's input."""


def in_batches(
    call: Callable[[np.ndarray], dict[str, np.ndarray]], signature: str, x: np.ndarray, sample: Sample, most: int
) -> dict[str, np.ndarray]:
    """Call a function on contiguous chunks of `x` of at most `most` samples; returns the concatenated outputs.

    Raises DataError unless `x` is [batch, *shape] of the sample's dtype with batch ≥ 1.
    """
    dtype, shape = sample
    if x.dtype != dtype or x.shape[1:] != shape or len(x) == 0:
        right = f"{dtype} [batch, {', '.join(map(str, shape))}], batch at least 1"
        raise DataError(f"{signature}: got {x.dtype} {list(x.shape)}, the file takes {right}")
    return batched(call, x, most)


def batched(call: Callable[[np.ndarray], dict[str, np.ndarray]], x: np.ndarray, most: int) -> dict[str, np.ndarray]:
    """`in_batches` of samples that nothing is known of."""
    if len(x) <= most:
        return call(np.ascontiguousarray(x))
    parts = [call(np.ascontiguousarray(x[start : start + most])) for start in range(0, len(x), most)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
