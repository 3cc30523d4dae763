"""manifest.json: everything about a bundle that can be written as text, the program's operations included."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..compress.affine import Quantization
from ..compress.errors import FormatError
from ..compress.records import checked, decode, load_json
from .operations import OPERATIONS, Operation
from .program import Kernel, Program, Tensor
from .targets import is_model

SCHEMA = 1
FILE = "manifest.json"


def sha256_of(values: np.ndarray) -> str:
    """The digest of an array's values, little-endian, in C order; a kernel is [inputs, units]."""
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def describe_kernels(program: Program, masks: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """What the integer files must hold: shape, scales and sha256 of each kernel, and how many positions are pruned."""
    return [
        {
            "name": kernel.name,
            "shape": [kernel.inputs, kernel.units],
            "bits": kernel.bits,
            "scale": list(kernel.scales),
            "sha256": sha256_of(program.constants[kernel.name]),
            "pruned": int(np.count_nonzero(~masks[kernel.name])),
        }
        for kernel in program.kernels.values()
    ]


def program_to_json(program: Program) -> dict[str, Any]:
    """A program without its arrays: of those the name, dtype, shape and sha256."""
    return {
        "tensors": {name: _tensor(tensor) for name, tensor in program.tensors.items()},
        "kernels": {name: dataclasses.asdict(kernel) for name, kernel in program.kernels.items()},
        "encoder": [_operation(operation) for operation in program.encoder],
        "decoder": [_operation(operation) for operation in program.decoder],
        "constants": {
            name: {"dtype": values.dtype.name, "shape": list(values.shape), "sha256": sha256_of(values)}
            for name, values in program.constants.items()
        },
    }


def program_from_json(name: str, written: Mapping[str, Any], constants: Mapping[str, np.ndarray]) -> Program:
    """The program of `program_to_json`, with arrays found elsewhere by name.

    Raises KeyError, TypeError or ValueError where the text is not such a program: `read` turns them into a FormatError.
    """
    return Program(
        name,
        {
            key: Tensor(key, (value["size"],), checked(Quantization | None, value["quantization"]))
            for key, value in written["tensors"].items()
        },
        {key: Kernel(**{**value, "scales": tuple(value["scales"])}) for key, value in written["kernels"].items()},
        tuple(_parse_operation(operation) for operation in written["encoder"]),
        tuple(_parse_operation(operation) for operation in written["decoder"]),
        {key: constants[key] for key in written["constants"]},
    )


def _tensor(tensor: Tensor) -> dict[str, Any]:
    quantization = tensor.quantization
    return {"size": math.prod(tensor.shape), "quantization": None if quantization is None else dataclasses.asdict(quantization)}


def _operation(operation: Operation) -> dict[str, Any]:
    return {"op": type(operation).__name__, **dataclasses.asdict(operation)}


def _parse_operation(written: Mapping[str, Any]) -> Operation:
    fields = {key: value for key, value in written.items() if key != "op"}
    if "quantization" in fields:
        fields["quantization"] = checked(Quantization | None, fields["quantization"])
    return OPERATIONS[written["op"]](**fields)


def dump(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle; FormatError where there is none, or it is damaged or of a later schema."""
    path = bundle / FILE
    try:
        manifest = load_json(path.read_bytes(), path)
    except (FileNotFoundError, NotADirectoryError):
        raise FormatError(f"{bundle}: not a bundle, it has no {FILE}") from None
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise FormatError(f"{path}: not a tiedae manifest")
    if manifest["schema"] != SCHEMA:
        raise FormatError(f"{path}: schema {manifest['schema']}, this tiedae reads schema {SCHEMA}")
    decode(_Manifest, manifest, path)
    for name, stated in manifest["files"].items():
        decode(_ModelFile if is_model(name) else _File, stated, f"{path}: {name}")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise FormatError(f"{path}: names a file outside of the bundle: {name}")
    return manifest


_File = msgspec.defstruct("_File", [("sha256", str), ("bytes", int)])
_ModelFile = msgspec.defstruct("_ModelFile", [("format", str), ("precision", str), ("signatures", dict)], bases=(_File,))
"""What a manifest says of every file, and of a model file; there may be more."""
_Manifest = msgspec.defstruct(
    "_Manifest",
    [
        *((key, str) for key in ("name", "created_by")),
        ("seed", int),
        *((key, dict) for key in ("recipe", "tensors", "files", "operations", "versions")),
        ("kernels", list[dict]),
        ("data", msgspec.defstruct("_Data", [("inputs", int)])),
        ("model", msgspec.defstruct("_Model", [("widths", list[int])])),
    ],
)
"""What every manifest of this schema has."""
