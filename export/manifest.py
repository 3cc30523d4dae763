"""manifest.json: everything about a bundle that can be written as text, the program's operations included."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..compress.affine import Quantization
from ..compress.errors import FormatError
from ..compress.records import load_json
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
        {key: Tensor(key, (value["size"],), _quantization(value["quantization"])) for key, value in written["tensors"].items()},
        {key: Kernel(**{**value, "scales": tuple(value["scales"])}) for key, value in written["kernels"].items()},
        tuple(_parse_operation(operation) for operation in written["encoder"]),
        tuple(_parse_operation(operation) for operation in written["decoder"]),
        {key: constants[key] for key in written["constants"]},
    )


def _tensor(tensor: Tensor) -> dict[str, Any]:
    quantization = tensor.quantization
    return {"size": math.prod(tensor.shape), "quantization": None if quantization is None else dataclasses.asdict(quantization)}


def _quantization(written: Mapping[str, Any] | None) -> Quantization | None:
    return None if written is None else Quantization(written["scale"], written["zero_point"], written.get("bits", 8))


def _operation(operation: Operation) -> dict[str, Any]:
    return {"op": type(operation).__name__, **dataclasses.asdict(operation)}


def _parse_operation(written: Mapping[str, Any]) -> Operation:
    fields = {key: value for key, value in written.items() if key != "op"}
    if "quantization" in fields:
        fields["quantization"] = _quantization(fields["quantization"])
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
    missing = [key for key in REQUIRED if key not in manifest]
    if missing:
        raise FormatError(f"{path}: lacks {', '.join(missing)}")
    for key in ("files", "operations"):
        if not isinstance(manifest[key], dict):
            raise FormatError(f"{path}: damaged: {key} is {manifest[key]!r:.60}")
    for name, stated in manifest["files"].items():
        lacking = _lacking(name, stated)
        if lacking:
            raise FormatError(f"{path}: damaged: {name} has no {' and '.join(lacking)}")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise FormatError(f"{path}: names a file outside of the bundle: {name}")
    return manifest


def _lacking(name: str, stated: object) -> list[str]:
    """What is not said of a file, or is of the wrong kind."""
    kinds = {**OF_FILE, **(OF_MODEL if is_model(name) else {})}
    return [key for key, kind in kinds.items() if not (isinstance(stated, dict) and isinstance(stated.get(key), kind))]


OF_FILE: Mapping[str, type] = {"sha256": str, "bytes": int}
OF_MODEL: Mapping[str, type] = {"format": str, "precision": str, "signatures": dict}
"""What a manifest says of every file, and of a model file."""
REQUIRED = ("name", "created_by", "seed", "recipe", "data", "model", "kernels", "tensors", "files", "operations", "versions")
"""The keys that every manifest of this schema has."""
