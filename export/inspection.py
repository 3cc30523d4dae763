"""What `tiedae inspect` shows of any .tflite or .onnx file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from .bundle import read_model
from .contents import Constant, Contents, Port
from .copies import SEARCHED, copies

SHOWN = 24
"""How many constants are listed; the rest is summed up."""


def inspect_file(path: Path) -> dict[str, Any]:
    """Everything about a file as JSON: constants with their storage, copies, operations, ports, bytes.

    Several constants over one `storage` are views of the same bytes: those count once. Small constants are not searched for
    copies (`copies.copies`). Raises FormatError for a file that is
    missing, damaged or of another kind.
    """
    contents = read_model(path)
    found = copies(contents)
    stored = {constant.storage: constant.values.nbytes for constant in contents.constants}
    return {
        "file": path.name,
        "format": contents.format,
        "bytes": contents.size,
        "constant_bytes": sum(stored.values()),
        "bytes_if_shared": contents.size - sum(copy.size for copy in found),
        "details": dict(contents.details),
        "signatures": [
            {
                "name": signature.name,
                "inputs": [_port(port) for port in signature.inputs],
                "outputs": [_port(port) for port in signature.outputs],
                "operations": dict(signature.operations),
            }
            for signature in contents.signatures
        ],
        "constants": [_constant(constant, contents) for constant in _by_size(contents)],
        "copies": [
            {"name": c.name, "original": c.original, "relation": c.relation, "by": c.by, "bytes": c.size, "text": c.text}
            for c in found
        ],
    }


def _by_size(contents: Contents) -> list[Constant]:
    return sorted(contents.constants, key=lambda constant: -constant.values.nbytes)


def _port(port: Port) -> dict[str, Any]:
    shape = ["batch" if size is None else size for size in port.shape]
    return {"name": port.name, "dtype": port.dtype, "shape": shape, "scale": port.scale, "zero_point": port.zero_point}


def _constant(constant: Constant, contents: Contents) -> dict[str, Any]:
    views = Counter(each.storage for each in contents.constants)[constant.storage]
    return {
        "name": constant.name,
        "dtype": constant.values.dtype.name,
        "shape": list(constant.values.shape),
        "bytes": constant.values.nbytes,
        "storage": constant.storage,
        "views": views,
        "scales": len(constant.scales),
        "scale": constant.scales[0] if len(constant.scales) == 1 else None,
    }


def render(found: dict[str, Any]) -> str:
    """The same as text for a terminal."""
    lines = [
        f"{found['file']}: {found['format']}, {found['bytes']:,} bytes, of which constants {found['constant_bytes']:,}",
        ", ".join(f"{key} {value}" for key, value in found["details"].items()),
    ]
    for signature in found["signatures"]:
        ports = " → ".join(", ".join(_port_text(port) for port in signature[side]) for side in ("inputs", "outputs"))
        operations = ", ".join(f"{count} {name}" for name, count in signature["operations"].items())
        lines += ["", f"{signature['name']}: {ports}", f"  {operations}"]
    lines += ["", "constants (views of one storage count once)"]
    rows = [
        (
            each["name"],
            each["dtype"],
            "×".join(map(str, each["shape"])) or "scalar",
            f"{each['bytes']:,}",
            each["storage"] + (f" (one of {each['views']} views)" if each["views"] > 1 else ""),
            _scale_text(each),
        )
        for each in found["constants"][:SHOWN]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)] if rows else []
    for name, dtype, shape, size, storage, scale in rows:
        n, d, s, b, t = widths
        lines.append(f"  {name:<{n}}  {dtype:<{d}}  {shape:<{s}}  {size:>{b}}  {storage:<{t}}  {scale}".rstrip())
    rest = found["constants"][SHOWN:]
    if rest:
        lines.append(f"  and {len(rest)} smaller ones, {sum(each['bytes'] for each in rest):,} bytes")
    lines.append("")
    if found["copies"]:
        lines += ["copies", *(f"  {copy['text']}" for copy in found["copies"])]
        lines.append(f"stored once, the file would have about {found['bytes_if_shared']:,} bytes")
    else:
        lines.append(f"no constant is stored twice ({SEARCHED})")
    return "\n".join(lines)


def _port_text(port: dict[str, Any]) -> str:
    scale = "" if port["scale"] is None else f", scale {port['scale']:.6g}, zero point {port['zero_point']}"
    return f"{port['name']} {port['dtype']} [{', '.join(map(str, port['shape']))}]{scale}"


def _scale_text(constant: dict[str, Any]) -> str:
    if constant["scales"] > 1:
        return f"{constant['scales']} scales"
    return "" if constant["scale"] is None else f"scale {constant['scale']:.6g}"
