"""`tiedae inspect`: the contents of any .tflite or .onnx file."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..compress.records import plain
from .formats.duplicates import Duplicate, copies, searched
from .formats.model_file import Constant, TensorInfo, columns, printable
from .targets import read_model

SHOWN = 24
"""Maximum number of constants listed; the others are summarized."""
NAME = 64
"""Maximum length of a constant's name in the list, in characters."""
METADATA = 100
"""Maximum length of a text of the file's metadata, in characters; `--json` has it whole."""


def inspect_file(path: Path) -> dict[str, Any]:
    """Describe a file as JSON: constants and their storage, duplicates, operations, inputs, outputs, sizes in bytes.

    Constants with the same `storage` are views of the same bytes, which count once. Small constants are not searched for
    duplicates (`duplicates.copies`). `bytes_if_shared` estimates the file size with exact duplicates stored once,
    `bytes_if_merged` with near ones merged too. Raises FormatError if the file is missing, damaged or of an unknown format.
    """
    contents = read_model(path)
    found = copies(contents)
    stored = {constant.storage: constant.nbytes for constant in contents.constants}
    views = Counter(constant.storage for constant in contents.constants)
    exact = sum(duplicate.size for duplicate in found if duplicate.relation != "near")
    return {
        "file": path.name,
        "format": contents.format,
        "bytes": contents.size,
        "constant_bytes": sum(stored.values()),
        "bytes_if_shared": contents.size - exact,
        "bytes_if_merged": contents.size - sum(duplicate.size for duplicate in found),
        "details": dict(contents.details),
        "metadata": dict(contents.metadata),
        "signatures": [
            {
                "name": signature.name,
                "inputs": [_described(tensor) for tensor in signature.inputs],
                "outputs": [_described(tensor) for tensor in signature.outputs],
                "operations": dict(signature.operations),
            }
            for signature in contents.signatures
        ],
        "constants": [
            _constant(constant, views[constant.storage])
            for constant in sorted(contents.constants, key=lambda constant: -constant.nbytes)
        ],
        "copies": [_copy(duplicate) for duplicate in found],
    }


def _copy(duplicate: Duplicate) -> dict[str, Any]:
    values = plain(duplicate)
    return values | {"bytes": values.pop("size"), "text": duplicate.text}


def _described(tensor: TensorInfo) -> dict[str, Any]:
    return {key: value for key, value in asdict(tensor).items() if key != "symbols"} | {
        "shape": [*tensor.dimensions],
        "scale": _number(tensor.scale),
    }


def _number(scale: float | None) -> float | None:
    """None for NaN and infinity, which JSON lacks."""
    return scale if scale is not None and math.isfinite(scale) else None


def _constant(constant: Constant, views: int) -> dict[str, Any]:
    dtype, shape = constant.encoded or (constant.values.dtype.name, constant.values.shape)
    return {
        "name": constant.name,
        "dtype": dtype,
        "shape": list(shape),
        "bytes": constant.nbytes,
        "storage": constant.storage,
        "views": views,
        "scales": len(constant.scales),
        "scale": _number(constant.scales[0]) if len(constant.scales) == 1 else None,
        "zero_point": constant.zero_points[0] if len(set(constant.zero_points)) == 1 else None,
        "axis": constant.axis if len(constant.scales) > 1 else None,
    }


def render(found: dict[str, Any]) -> str:
    """Format the result of `inspect_file` for a terminal."""
    lines = [
        f"{found['file']}: {found['format']}, {found['bytes']:,} bytes, of which constants {found['constant_bytes']:,}",
        ", ".join(f"{key} {value}" for key, value in found["details"].items() if value),
    ]
    lines += [f"{key}: {_cut(text)}" for key, text in found["metadata"].items()]
    for signature in found["signatures"]:
        tensors = " → ".join(", ".join(_tensor_text(tensor) for tensor in signature[side]) for side in ("inputs", "outputs"))
        operations = ", ".join(f"{count} {name}" for name, count in signature["operations"].items())
        lines += ["", f"{signature['name']}: {tensors}", f"  {operations}"]
    lines += ["", "constants (views of one storage count once)"]
    rows = [
        (
            _tail(each["name"]),
            each["dtype"],
            "×".join(map(str, each["shape"])) or "scalar",
            f"{each['bytes']:,}",
            _storage_text(each),
            _scale_text(each),
        )
        for each in found["constants"][:SHOWN]
    ]
    lines += [f"  {line}" for line in columns(rows, "<<<><<")]
    rest = found["constants"][SHOWN:]
    if rest:
        lines.append(f"  and {len(rest)} smaller ones, {sum(each['bytes'] for each in rest):,} bytes")
    lines.append("")
    if found["copies"]:
        lines += ["duplicates", *(f"  {duplicate['text']}" for duplicate in found["copies"])]
        lines += _estimates(found)
    else:
        lines.append(f"no constant is stored twice ({searched()})")
    return "\n".join(map(printable, lines))


def _storage_text(constant: dict[str, Any]) -> str:
    """Where a constant is stored, unless that is its name."""
    storage = "" if constant["storage"] == constant["name"] else constant["storage"]
    return f"{storage} (one of {constant['views']} views)".lstrip() if constant["views"] > 1 else storage


def _tail(name: str) -> str:
    """The end of a long name, which tells a file's constants apart."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _cut(text: str) -> str:
    """The first line of a text, shortened."""
    line = text.strip().partition("\n")[0]
    return line if line == text and len(line) <= METADATA else f"{line[:METADATA].rstrip()} … ({len(text):,} characters)"


def _estimates(found: dict[str, Any]) -> list[str]:
    relations = {duplicate["relation"] == "near" for duplicate in found["copies"]}
    shared = f"stored once, the file would have about {found['bytes_if_shared']:,} bytes"
    merged = f"with near duplicates made equal and stored once, about {found['bytes_if_merged']:,} bytes"
    return [text for text, wanted in ((shared, False in relations), (merged, True in relations)) if wanted]


def _tensor_text(tensor: dict[str, Any]) -> str:
    scale = "" if tensor["scale"] is None else f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    return f"{tensor['name']} {tensor['dtype']} [{', '.join(map(str, tensor['shape']))}]{scale}"


def _scale_text(constant: dict[str, Any]) -> str:
    zero_point = f", zero point {constant['zero_point']}" if constant["zero_point"] else ""
    if constant["scales"] > 1:
        return f"{constant['scales']} scales along axis {constant['axis']}{zero_point}"
    return "" if constant["scale"] is None else f"scale {constant['scale']:.6g}{zero_point}"
