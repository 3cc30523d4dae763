"""A net that Keras 3 trained, from its file and from its arrays: `tied_import_bits_different`.

python benchmarks/imports_bits.py --json bits.json
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rows import Row, arguments_of, report

import tiedae as ta
from tiedae.base.errors import CheckError
from tiedae.program.interpreter import execute, program_input
from tiedae.program.lowering import lower
from tiedae.program.program import Program
from tiedae.report.console import Console

SAMPLES = 256
"""Test samples whose codes and reconstructions are compared."""


def bits_row() -> Row:
    """`tied_import_bits_different`: bits of kernels, biases, scales, codes and reconstructions that differ."""
    data = ta.load_data("fashion")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", data.train.take(slice(None)))
        in_keras_3("imports_train.py", folder)
        imported = ta.from_keras(folder / "model.keras", data, assume=["DenseTied"])
        with np.load(folder / "weights.npz") as weights:
            kernels = [weights[f"kernel_{i}"] for i in range(2)]
            biases = [weights[f"bias_{i}"] for i in range(4)]
    twin = ta.TiedAutoencoder.from_weights(kernels, biases[:2], biases[2:], activations=("relu", "linear"))
    found, expected = (
        parts(lower(ta.quantize(model, data, epochs=0, verbose=0), "p", layout="split"), data) for model in (imported, twin)
    )
    if found.keys() != expected.keys():
        raise CheckError(f"programs of other parts: {sorted(found.keys() ^ expected.keys())}")
    different = sum(bits_different(found[name], expected[name]) for name in found)
    count = sum(8 * len(part) for part in expected.values())
    origin = imported.lineage.origin
    assert origin is not None
    return Row("tied_import_bits_different", different, "bits", "== 0", "", f"of {count:,}; {origin.format}; tie {origin.tie}")


def in_keras_3(script: str, *arguments: object) -> None:
    """Run a script of this folder in a process of Keras 3."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    call = [sys.executable, Path(__file__).with_name(script), *map(str, arguments)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckError(f"{script}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")


def parts(program: Program, data: ta.Dataset) -> dict[str, bytes]:
    """The bytes of all that a program is, and of what it computes, by name."""
    x = program_input(program, data.scaling.apply(data.test.take(slice(SAMPLES))))
    values = execute(program, "reconstruct", x)
    outputs = {name: values[name].tobytes() for name in ("code", "y")}
    scales = {f"{name}.quantization": repr(tensor.quantization).encode() for name, tensor in program.tensors.items()}
    kernels = {f"{name}.scales": repr(kernel.scales).encode() for name, kernel in program.kernels.items()}
    return outputs | scales | kernels | {name: values.tobytes() for name, values in program.constants.items()}


def bits_different(a: bytes, b: bytes) -> int:
    """The bits that differ; of other lengths all of the longer one."""
    if len(a) != len(b):
        return 8 * max(len(a), len(b))
    return int(np.bitwise_count(np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)).sum())


def measure(_: Console) -> list[Row]:
    return [bits_row()]


if __name__ == "__main__":
    arguments = arguments_of(__doc__ or "").parse_args()
    sys.exit(report("Imports: bits", measure, arguments.json))
