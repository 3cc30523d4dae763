"""The values at the ports of a file: stored ones in the file's dtype, and the real ones that they stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...compress.errors import InputError
from ..formats.contents import Port, Signature

Values = Mapping[str, np.ndarray]


def name_inputs(signature: Signature, given: object) -> dict[str, np.ndarray]:
    """Arrays by the names of a signature's inputs, from a mapping, a sequence in the file's order, or the one array.

    Raises InputError where names, number or shapes are not those of the file.
    """
    ports = {port.name: port for port in signature.inputs}
    if isinstance(given, Mapping):
        named = {str(name): np.asarray(values) for name, values in given.items()}
    else:
        arrays = given if isinstance(given, list | tuple) and len(ports) > 1 else [given]
        if len(arrays) != len(ports):
            raise InputError(f"inputs: got {len(arrays)}, the file takes {len(ports)}: {', '.join(ports)}")
        named = {name: np.asarray(values) for name, values in zip(ports, arrays, strict=True)}
    if named.keys() != ports.keys():
        raise InputError(f"inputs: got {', '.join(named) or 'none'}, the file takes {', '.join(ports) or 'none'}")
    for name, values in named.items():
        _require_shape(ports[name], values)
    return {name: named[name] for name in ports}


def _require_shape(port: Port, values: np.ndarray) -> None:
    """Of the port's rank and sizes; the first axis, the batch, may have any size."""
    fits = len(values.shape) == len(port.shape) and all(
        want is None or got == want for got, want in zip(values.shape[1:], port.shape[1:], strict=True)
    )
    if port.shape and not fits:
        shape = ", ".join("any" if size is None else str(size) for size in port.shape)
        raise InputError(f"input {port.name}: got {list(values.shape)}, the file takes [{shape}]")


def to_stored(port: Port, values: np.ndarray) -> np.ndarray:
    """What the file takes: real values are quantized by the port's own scale, values in the port's dtype stay.

    Raises InputError for a dtype that the port cannot hold.
    """
    if values.dtype.name == port.dtype:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "f" and port.dtype.startswith("float"):
        return values.astype(port.dtype)
    if values.dtype.kind == "f" and port.scale is not None:
        return port.quantize(values)
    raise InputError(f"input {port.name}: got {values.dtype.name}, the file takes {port.dtype}")


def to_real(port: Port, values: np.ndarray) -> np.ndarray:
    """What stored values stand for, float32 where the port is quantized; real ones in the port's float dtype, else float32."""
    if values.dtype.kind == "f":
        return values.astype(port.dtype if port.dtype.startswith("float") else np.float32)
    return port.dequantize(values)
