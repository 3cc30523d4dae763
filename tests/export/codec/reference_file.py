"""A decoder of .tae files, all but the operations of the program, written from docs/format.md alone."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from . import reference


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
    decisive = {key: manifest["data"][key] for key in ("dtype", "scaling", "shape")} | {
        "program": manifest["operations"]["fused"]
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, separators=(",", ":")).encode("ascii") + tables).digest()[:8]


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def frequencies(data: bytes) -> list[list[int]]:
    """The tables of NAME.codec."""
    if data[:5] != b"TAEC\1" or zlib.crc32(data[:-4]) != u32(data, len(data) - 4):
        raise Damaged("tables")
    codes, at, tables = 1 << data[5], 8, []
    for _ in range(data[6] | data[7] << 8):
        table, (first, last), at = [0] * codes, data[at : at + 2], at + 2
        for code in range(first, last + 1):
            table[code] = data[at] if data[at] < 128 else data[at] & 127 | data[at + 1] << 7
            at += 1 if data[at] < 128 else 2
        tables.append([*table, 2**14 - sum(table)])
    return tables


def decode(data: bytes, own_identity: bytes, tables: Sequence[reference.Table]) -> list[list[int]]:
    """The codes of all samples; Damaged, IndexError or ValueError for anything but a whole lossy file."""
    if data[:6] != b"\x89TAE\1\0" or data[12:20] != own_identity or zlib.crc32(data[:20]) != u32(data, 20):
        raise Damaged("header")
    most, header = data[6] | data[7] << 8, data[:20]
    begin, end = len(data) - u32(data, len(data) - 8), len(data) - 8
    if data[begin : begin + 2] != b"\xa7\xef" or zlib.crc32(header + data[begin:-4]) != u32(data, len(data) - 4):
        raise Damaged("index")
    codes, at, offset = [], begin + 2, 24
    while at < end:
        samples, at = number(data, at)
        size, at = number(data, at)
        if samples:
            codes += frame(data[offset : offset + size], samples, header, most, tables)
        offset += size
    if offset != begin or at != end:
        raise Damaged("frames")
    return codes


def frame(data: bytes, listed: int, header: bytes, most: int, tables: Sequence[reference.Table]) -> list[list[int]]:
    samples, at = (most, 2) if data[1] == 208 else number(data, 2)
    size, at = number(data, at)
    payload = data[at + 4 :]
    if data[:2] not in (b"\xa7\xd0", b"\xa7\xe0") or samples != listed or size != len(payload):
        raise Damaged("frame")
    if not 0 < samples < most + (data[1] == 208) or zlib.crc32(header + data[:at] + payload) != u32(data, at):
        raise Damaged("checksum")
    return reference.decode(tables, payload, samples)


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
