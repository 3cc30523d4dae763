"""Runs .onnx files in ONNX Runtime on an emulated processor without VNNI: `qemu-x86_64 -cpu Haswell`, Debian's qemu-user.

As a script it is what runs inside: `emulated.py FOLDER` runs each NAME.onnx of the folder on NAME.x.npy and writes its outputs
to NAME.OUTPUT.npy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

EMULATOR = "qemu-x86_64"
PROCESSOR = "Haswell"


def emulator() -> str:
    """The emulator's path; UnavailableError where it is not installed, or this is no x86-64 machine, whose programs it runs."""
    from tiedae.compress.packages import missing

    path = shutil.which(EMULATOR) if os.uname().machine == "x86_64" else None
    if path is None:
        raise missing(EMULATOR)
    return path


def run_emulated(folder: Path, files: dict[str, tuple[bytes, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """The outputs of each file, name → (model, its input x), by name; `folder` takes what is exchanged."""
    for name, (model, x) in files.items():
        (folder / f"{name}.onnx").write_bytes(model)
        np.save(folder / f"{name}.x.npy", x)
    command = [emulator(), "-cpu", PROCESSOR, os.path.realpath(sys.executable), __file__, str(folder)]
    path = os.pathsep.join(each for each in sys.path if "site-packages" in each)
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, timeout=900)
    names = {name: [path.name.split(".")[-2] for path in folder.glob(f"{name}.*.npy")] for name in files}
    return {
        name: {output: np.load(folder / f"{name}.{output}.npy") for output in outputs if output != "x"}
        for name, outputs in names.items()
    }


def main(folder: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for path in sorted(folder.glob("*.onnx")):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        x = np.load(path.with_suffix(".x.npy"))
        outputs = [output.name for output in session.get_outputs()]
        for output, values in zip(outputs, session.run(outputs, {session.get_inputs()[0].name: x}), strict=True):
            np.save(path.with_suffix(f".{output}.npy"), np.asarray(values))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
