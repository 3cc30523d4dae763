"""The integer program against ONNX Runtime on the int8 .onnx, one thread each.

As a script it is what runs inside a process of one BLAS thread: `program_speed.py BUNDLE` prints what it measured as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from subprocess import PIPE, run
from typing import Any

import numpy as np
from rows import Row

from tiedae.bundle.bundle import Bundle
from tiedae.codec.codec import ProgramBackend
from tiedae.codec.opening import load
from tiedae.program.interpreter import execute
from tiedae.runtimes.ort import OrtSession

BATCH, TURNS = 256, 200
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
"""For the BLAS of any NumPy: OpenBLAS, Intel's or Apple's."""


def program_row(bundle: Path) -> Row:
    """Reconstructions a second of the program, over those of ONNX Runtime, in a process of its own."""
    command = [sys.executable, __file__, str(bundle)]
    found = json.loads(run(command, env={**os.environ, **ONE_THREAD}, stdout=PIPE, check=True, timeout=600).stdout)
    times = f"{found['program']:.2f} against {found['ort']:.2f} ms for {BATCH} samples, processor time, best of {TURNS} turns"
    equal = f"{found['differing']:,} of {found['values']:,} values differ"
    detail = f"{times}; {equal}; a processor with {instructions()}"
    return Row("program_rows_ratio", found["ort"] / found["program"], "x", ">= 0.18", ">= 0.4", detail)


def measure(path: Path) -> dict[str, Any]:
    """Milliseconds of each in turns, on the golden samples repeated, and how many values of code and y differ."""
    bundle, codec = Bundle.open(path), load(path, runtime="program")
    assert isinstance(codec.backend, ProgramBackend)
    program, io = codec.backend.program, bundle.file_io("onnx", "int8").dtype
    golden = bundle.golden()["x"].reshape(-1, codec.spec.inputs)
    x = np.resize(codec.backend.input(golden), (BATCH, golden.shape[1]))
    given = program.quantization("x").to_io(x, io)
    session = OrtSession("ort-cpu", {"reconstruct": path / bundle.files_of("onnx", "int8")["reconstruct"]}, threads=1)
    calls = {
        "program": lambda: execute(program, "reconstruct", x),
        "ort": lambda: session.run("reconstruct", given),
    }
    ours, theirs = (call() for call in calls.values())
    theirs = {name: program.quantization(name).from_io(values) for name, values in theirs.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(1e3 * (time.process_time() - start))
    return {
        **{name: min(found) for name, found in times.items()},
        "differing": sum(int(np.count_nonzero(ours[name] != values)) for name, values in theirs.items()),
        "values": sum(values.size for values in theirs.values()),
    }


def instructions() -> str:
    """The widest integer products of this processor, which ONNX Runtime uses."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "unknown instructions"
    return "AMX" if "amx_int8" in flags else "VNNI" if {"avx512_vnni", "avx_vnni"} & flags else "neither AMX nor VNNI"


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
