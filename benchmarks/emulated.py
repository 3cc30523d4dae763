"""Runs model files on other processors, emulated by Debian's qemu-user: x86-64 without VNNI, and aarch64 (`aarch64.py`).

As a script it is what runs inside: `emulated.py FOLDER` runs each NAME.onnx and NAME.tflite of the folder on NAME.x.npy and
writes its outputs to NAME.OUTPUT.npy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EMULATOR = "qemu-x86_64"
PROCESSOR = "Haswell"


@dataclass(frozen=True)
class Processor:
    """A Python that runs on it: the command before a script, and the value of PYTHONPATH."""

    name: str
    command: tuple[str, ...]
    packages: str


def emulator(name: str = EMULATOR) -> str:
    """The emulator's path; UnavailableError where it is not installed; the default also where this is no x86-64 machine."""
    from tiedae.base.packages import missing

    path = shutil.which(name) if name != EMULATOR or os.uname().machine == "x86_64" else None
    if path is None:
        raise missing(name)
    return path


def this_processor() -> Processor:
    """The one of this machine, with the packages of this process."""
    packages = os.pathsep.join(each for each in sys.path if "site-packages" in each)
    return Processor("this processor", (os.path.realpath(sys.executable),), packages)


def haswell() -> Processor:
    here = this_processor()
    return Processor(f"{EMULATOR} -cpu {PROCESSOR}", (emulator(), "-cpu", PROCESSOR, *here.command), here.packages)


def run_emulated(
    folder: Path, files: Mapping[str, tuple[bytes, np.ndarray]], processor: Processor | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The outputs of each .onnx or .tflite file, name → (model, its input x), by name; `folder` takes what is exchanged.

    They run on Haswell unless another processor is given.
    """
    for old in [each for each in folder.iterdir() if each.suffix in (*RUN, ".npy")]:
        old.unlink()
    for name, (model, x) in files.items():
        (folder / f"{name}{'.tflite' if model[4:8] == b'TFL3' else '.onnx'}").write_bytes(model)
        np.save(folder / f"{name}.x.npy", x)
    processor = processor or haswell()
    environment = {**os.environ, "PYTHONPATH": processor.packages, "OMP_NUM_THREADS": "1"}
    subprocess.run([*processor.command, __file__, str(folder)], check=True, env=environment, timeout=1800)
    names = {name: [path.name.split(".")[-2] for path in folder.glob(f"{name}.*.npy")] for name in files}
    return {
        name: {output: np.load(folder / f"{name}.{output}.npy") for output in outputs if output != "x"}
        for name, outputs in names.items()
    }


def _onnx(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, map(np.asarray, session.run(outputs, {session.get_inputs()[0].name: x})), strict=True))


def _tflite(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path), num_threads=1).get_signature_runner("reconstruct")(x=x)


RUN = {".onnx": _onnx, ".tflite": _tflite}


def main(folder: Path) -> None:
    for path in sorted(each for each in folder.iterdir() if each.suffix in RUN):
        for output, values in RUN[path.suffix](path, np.load(path.with_suffix(".x.npy"))).items():
            np.save(path.with_suffix(f".{output}.npy"), values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
