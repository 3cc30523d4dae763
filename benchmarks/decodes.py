"""The same .tae files, decoded elsewhere: in a fresh process, by the installed wheel, with other threads, on another processor.

As a script it is what runs there: `decodes.py BUNDLE FILE…` writes the samples of each FILE to FILE.npy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
LOSSY, RESIDUALS = 2000, 64
"""Samples of the lossy file, and of each other one, which are slow to decode where the processor is emulated."""


def decode_row(bundle: Path, x: np.ndarray, folder: Path, *, emulate: bool = True):
    """Samples of a lossy, a lossless and a bounded file that other environments decode differently, all together."""
    from rows import Row

    from tiedae.codec.opening import load

    codec = load(bundle, runtime="program")
    options: dict[str, dict[str, Any]] = {"lossy": {}, "lossless": {"lossless": True}, "bounded": {"max_error": 3}}
    right = {}
    for name, promise in options.items():
        data = codec.compress(x[: LOSSY if name == "lossy" else RESIDUALS], **promise)
        (folder / f"{name}.tae").write_bytes(data)
        right[name] = codec.decompress(data)
    places, differing, compared = environments(folder, emulate), 0, 0
    for command, environment in places.values():
        for name, found in _decoded(command, environment, bundle, [folder / f"{name}.tae" for name in options]).items():
            differing += _differing(found, right[name])
            compared += len(right[name])
    detail = f"of {compared:,}: {', '.join(places)}; {_codes(bundle, x[:LOSSY])}"
    return Row("decode_differs", differing, "samples", "== 0", "== 0", detail)


def environments(folder: Path, emulate: bool) -> Mapping[str, tuple[Sequence[str], Mapping[str, str]]]:
    """Where files are decoded: the interpreter to start, and what its environment has beyond the usual."""
    from emulated import EMULATOR, PROCESSOR, emulator
    from install import install

    packages = install(folder / "wheel", "")
    wheel = {"PYTHONPATH": str(packages)}
    python = os.path.realpath(sys.executable)
    found: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {"a fresh process": ([sys.executable], {})}
    for threads in (1, 2):
        text = f"{threads} thread{'s' * (threads > 1)}"
        found[text] = ([sys.executable], dict.fromkeys(THREADS, str(threads)))
    found["the wheel"] = ([python], wheel)
    if emulate:
        found[f"{EMULATOR} -cpu {PROCESSOR}"] = (
            [emulator(), "-cpu", PROCESSOR, python],
            wheel | dict.fromkeys(THREADS, "1"),
        )
    return found


def _decoded(
    command: Sequence[str], environment: Mapping[str, str], bundle: Path, files: Sequence[Path]
) -> dict[str, np.ndarray]:
    for file in files:
        file.with_suffix(".npy").unlink(missing_ok=True)
    usual = {name: value for name, value in os.environ.items() if name not in (*THREADS, "OPENBLAS_CORETYPE")}
    script = [*command, os.path.realpath(__file__), str(bundle), *map(str, files)]
    subprocess.run(script, check=True, env=usual | dict(environment), timeout=1800, cwd=files[0].parent)
    return {file.stem: np.load(file.with_suffix(".npy")) for file in files}


def _differing(found: np.ndarray, right: np.ndarray) -> int:
    """Samples that are not those of `right`, bit for bit; all of them where shape or dtype is another."""
    if (found.shape, found.dtype) != (right.shape, right.dtype):
        return len(right)
    return int(sum(a.tobytes() != b.tobytes() for a, b in zip(found, right, strict=True)))


def _codes(bundle: Path, x: np.ndarray) -> str:
    """How many samples have other codes in the runtimes that encode than in the program."""
    from tiedae.base.errors import UnavailableError
    from tiedae.codec.opening import load

    right, found = load(bundle, runtime="program").encode(x), []
    for runtime in ("litert-xnnpack", "litert-reference", "ort-cpu"):
        try:
            codes = load(bundle, runtime=runtime).encode(x)
            found.append(f"{runtime} {np.count_nonzero((codes != right).any(axis=1))}")
        except UnavailableError:
            found.append(f"{runtime} is not here")
    return f"samples with other codes than the program's, of {len(x):,}: {', '.join(found)}"


def main(bundle: Path, files: Sequence[Path]) -> None:
    from tiedae.codec.opening import load

    codec = load(bundle, runtime="program")
    for file in files:
        np.save(file.with_suffix(".npy"), codec.decompress(file.read_bytes()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
