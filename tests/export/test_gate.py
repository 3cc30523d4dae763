"""Changes of structure leave what is exported as it is, to the byte.

The archives of tests/gate (`make.py` there) are lowered and written; the sha256 of every file and of what every program holds
is that of hashes.json, written by `python tests/export/test_gate.py` before the structure changed. The
test lives until the structure has settled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiedae.compress import ExportConfig, TiedAutoencoder
from tiedae.compress.affine import Quantization
from tiedae.export import lower
from tiedae.export.bundle import Programs, model_files
from tiedae.export.program import Program

FOLDER = Path(__file__).parents[1] / "gate"
NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
HASHES = FOLDER / "hashes.json"
CONFIGS = {
    "auto": (ExportConfig(), "float32"),
    "bytes": (ExportConfig(int4="bytes", signatures=("reconstruct",)), "uint8"),
    "int8": (ExportConfig(opset=21, signatures=("encode", "decode")), "int8"),
}
"""Export settings, and the dtype of x and y."""
ATTRIBUTES = ("x", "y", "kernel", "transposed", "bias", "factors", "activation", "function", "quantization", "ways")


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
        yield f"{name} {values.dtype} {values.shape} {hashlib.sha256(values.tobytes()).hexdigest()}"


def sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def hashes(name: str) -> dict[str, str]:
    """The sha256 of the programs of an archive, and of every file that the writers make of them."""
    model = TiedAutoencoder.load(FOLDER / f"{name}.safetensors")
    programs = Programs(lower(model, name, layout="split"), lower(model, name, layout="fused"))
    found = {form: sha256(described(program)) for form, program in vars(programs).items()}
    precision = "int8" if model.quantized else "f32"
    for config, (export, io) in CONFIGS.items():
        files = model_files({precision: programs}, export, io)
        found |= {f"{config}/{file}": hashlib.sha256(data).hexdigest() for file, data in files.items()}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_programs_and_files_are_the_same_to_the_byte(name: str):
    assert hashes(name) == json.loads(HASHES.read_bytes())[name]


def main() -> None:
    HASHES.write_text(json.dumps({name: hashes(name) for name in NAMES}, indent=1) + "\n")


if __name__ == "__main__":
    main()
