"""A decoder of .tae files, all but the operations of the program, written from docs/reference/format.md alone."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..entropy import class_reference, reference, residual_reference
from ..entropy.class_reference import Classes


class Damaged(ValueError):
    pass


def number(data: bytes, at: int) -> tuple[int, int]:
    found, shift = 0, 0
    while True:
        found |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            break
    if found >= 2**32 or (data[at - 1] == 0 and shift > 7):
        raise Damaged("number")
    return found, at


def identity(manifest: dict[str, Any], tables: bytes) -> bytes:
    """`tables`: NAME.codec, followed by NAME.residuals where there is one."""
    decisive = {key: manifest["data"][key] for key in ("dtype", "scaling", "shape")} | {
        "program": manifest["operations"]["fused"]
    }
    if manifest.get("integer_maps"):
        decisive["integer_maps"] = manifest["integer_maps"]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, separators=(",", ":")).encode("ascii") + tables).digest()[:8]


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def frequencies(data: bytes) -> list[list[int]]:
    """The tables of NAME.codec of version 1."""
    if data[:5] != b"TAEC\1" or zlib.crc32(data[:-4]) != u32(data, len(data) - 4):
        raise Damaged("tables")
    return unpacked(data, 8, data[6] | data[7] << 8)[0]


def classes(data: bytes) -> Classes:
    """The tables of NAME.codec of version 2."""
    if data[:5] != b"TAEC\2" or zlib.crc32(data[:-4]) != u32(data, len(data) - 4):
        raise Damaged("tables")
    units, count = data[6] | data[7] << 8, data[8] + 1
    family, at = unpacked(data, 10, data[9])
    chances = []
    for _ in range(count):
        chance, at = short(data, at)
        chances.append(chance)
    rows = [list(data[start : start + units]) for start in range(at, at + 2 * count * units, units)]
    if sum(chances) != 2**14 or at + 2 * count * units != len(data) - 4:
        raise Damaged("classes")
    return Classes(family, chances, rows[:count], rows[count:])


def unpacked(data: bytes, at: int, count: int) -> tuple[list[list[int]], int]:
    """Tables at a place, and where they end."""
    codes, tables = 1 << data[5], []
    for _ in range(count):
        table, (first, last), at = [0] * codes, data[at : at + 2], at + 2
        for code in range(first, last + 1):
            table[code], at = short(data, at)
        tables.append([*table, 2**14 - sum(table)])
    return tables, at


def short(data: bytes, at: int) -> tuple[int, int]:
    return (data[at], at + 1) if data[at] < 128 else (data[at] & 127 | data[at + 1] << 7, at + 2)


def coders(data: bytes) -> list[Any]:
    """The tables of NAME.residuals: of mode 1 and mode 2."""
    if data[:5] != b"TAEP\2" or zlib.crc32(data[:-4]) != u32(data, len(data) - 4):
        raise Damaged("residuals")
    cut = 9 + u32(data, 5)
    return [block(data[9:cut]), block(data[cut:-4])]


def block(data: bytes) -> Any:
    magic, *weights = struct.unpack_from("<4s16h", data)
    if magic != b"TAER":
        raise Damaged("block")
    end = 37 + 4 * data[36]
    nodes = np.array([struct.unpack_from("<BbBB", data, at) for at in range(37, end, 4)], int).reshape(-1, 4)
    tables = SimpleNamespace(frequencies=np.array(frequencies(data[end:])))
    return SimpleNamespace(weights=np.array(weights), tree=SimpleNamespace(nodes=nodes), tables=tables)


def decode(data: bytes, own_identity: bytes, tables: Sequence[reference.Table] | Classes) -> list[list[int]]:
    """The codes of all samples; Damaged, IndexError or ValueError for anything but a whole lossy file."""
    if isinstance(tables, Classes):
        _, frames = contents(data, own_identity, 4)
        return [code for _, payload, samples in frames for code in class_reference.decode(tables, payload, samples)]
    _, frames = contents(data, own_identity, 0)
    return [code for _, payload, samples in frames for code in reference.decode(tables, payload, samples)]


def decode_integers(
    data: bytes,
    own_identity: bytes,
    tables: Sequence[reference.Table],
    residuals: bytes,
    manifest: dict[str, Any],
    reconstruct: Callable[[list[list[int]]], list[list[int]]],
) -> list[list[int]]:
    """The samples of a whole bounded or lossless file of bytes; `reconstruct`: codes to y, by the program."""
    error, frames = contents(data, own_identity, data[5])
    bound = int(error)
    shape, kind = manifest["data"]["shape"], manifest["data"].get("kind") or "image"
    inputs = int(np.prod(shape))
    found = []
    for mode, payload, samples in frames:
        part = coders(residuals)[mode - 1]
        y = [[0] * inputs] * samples
        if mode == 2:
            size = u32(payload, 0)
            y = reconstruct(reference.decode(tables, payload[4 : 4 + size], samples))
            payload = payload[4 + size :]
        found += residual_reference.decode(kind, shape, (0, 255), part, payload, samples, bound, y)
    return found


def decode_floats(
    data: bytes,
    own_identity: bytes,
    tables: Sequence[reference.Table],
    residuals: bytes,
    manifest: dict[str, Any],
    reconstruct: Callable[[list[list[int]]], list[list[float]]],
) -> list[list[float]]:
    """The samples of a whole bounded file of floats, before they are rounded to the dtype.

    `reconstruct`: codes to values in the data's unit of measure, binary64.
    """
    bound, frames = contents(data, own_identity, 1)
    shape, kind, scaling = manifest["data"]["shape"], manifest["data"].get("kind") or "image", manifest["data"]["scaling"]
    offsets = np.broadcast_to(np.array(scaling["offset"], float), int(np.prod(shape))).tolist()
    found: list[list[float]] = []
    for mode, payload, samples in frames:
        base = [offsets] * samples
        if mode == 4:
            size = u32(payload, 0)
            base = reconstruct(reference.decode(tables, payload[4 : 4 + size], samples))
            payload = payload[4 + size :]
        if payload[0] > 32:
            raise Damaged("halvings")
        step, part, zeros = 2.0 * bound * 2.0 ** -payload[0], coders(residuals)[mode - 3], [[0] * len(offsets)] * samples
        steps = residual_reference.decode(kind, shape, (-32768, 32767), part, payload[1:], samples, 0, zeros)
        found += [[b + k * step for b, k in zip(*each, strict=True)] for each in zip(base, steps, strict=True)]
    return found


def contents(data: bytes, own_identity: bytes, flags: int) -> tuple[float, list[tuple[int, bytes, int]]]:
    """The bound, and mode, payload and number of samples of each frame."""
    kind = flags & 3
    end = 28 if kind == 1 else 20
    if data[:6] != b"\x89TAE\1" + bytes([flags]) or data[12:20] != own_identity or zlib.crc32(data[:end]) != u32(data, end):
        raise Damaged("header")
    bound = struct.unpack_from("<d", data, 20)[0] if kind == 1 else 0
    most, header = data[6] | data[7] << 8, data[:end]
    begin, end = len(data) - u32(data, len(data) - 8), len(data) - 8
    if data[begin : begin + 2] != b"\xa7\xef" or zlib.crc32(header + data[begin:-4]) != u32(data, len(data) - 4):
        raise Damaged("index")
    frames, at, offset = [], begin + 2, len(header) + 4
    while at < end:
        samples, at = number(data, at)
        size, at = number(data, at)
        if samples:
            frames.append(frame(data[offset : offset + size], samples, header, most))
            if (frames[-1][0] == 0) != (kind == 0) or frames[-1][0] > 4:
                raise Damaged("mode")
        offset += size
    if offset != begin or at != end:
        raise Damaged("frames")
    return bound, frames


def frame(data: bytes, listed: int, header: bytes, most: int) -> tuple[int, bytes, int]:
    full = data[1] < 224
    mode = data[1] - (208 if full else 224)
    samples, at = (most, 2) if full else number(data, 2)
    size, at = number(data, at)
    payload = data[at + 4 :]
    if data[0] != 167 or not 0 <= mode < 15 or samples != listed or size != len(payload):
        raise Damaged("frame")
    if not 0 < samples < most + full or zlib.crc32(header + data[:at] + payload) != u32(data, at):
        raise Damaged("checksum")
    return mode, payload, samples


def values(y: Sequence[int], manifest: dict[str, Any]) -> list[float]:
    """A sample's y as its values; rounded to the dtype float32 or float64, or for bytes as they are."""
    data, quantization = manifest["data"], manifest["operations"]["fused"]["tensors"]["y"]["quantization"]
    rule, scale, offset = (data["scaling"][key] for key in ("rule", "scale", "offset"))
    if data["dtype"] == "uint8" and rule == "byte" and quantization["scale"] == binary32(1 / 255):
        return [float(each) for each in y]
    real = [binary32((each - quantization["zero_point"]) * quantization["scale"]) for each in y]
    if rule != "none":
        scales, offsets = (each if isinstance(each, list) else [each] * len(real) for each in (scale, offset))
        real = [a * b + c for a, b, c in zip(real, scales, offsets, strict=True)]
    return [binary32(each) for each in real] if data["dtype"] == "float32" else real


def binary32(real: float) -> float:
    return struct.unpack("<f", struct.pack("<f", real))[0]
