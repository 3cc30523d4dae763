"""Mutations of what lies in a container, which is then made whole: ZIP archives, PNG, gzip and safetensors.

Blind bytes fail at a checksum or a length nearly always; these reach what lies behind it.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import h5py
import safetensors

from tiedae.base import archive as archives
from tiedae.base.npy import DAMAGE

from .mutations import TEXT, Mutation, blind, values


def npy(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The header of a .npy file: its dtype, order or shape, and its own length."""
    if data[:6] != b"\x93NUMPY" or rng.randrange(3) == 0:
        return blind(data, rng, others)
    size = 2 if data[6:7] == b"\1" else 4
    start = 8 + size
    stop = start + int.from_bytes(data[8:start], "little")
    text = data[start:stop].rstrip()
    text = _header(text, rng) if rng.randrange(4) else TEXT(text, rng, [text])
    return data[:8] + min(len(text) + 1, 256**size - 1).to_bytes(size, "little") + text + b"\n" + data[stop:]


DTYPES = ("|u1", "<f4", "<f8", ">i4", "|b1", "|O", "<U4", "|S3", "<c16", "<f2", "|V7", "<M8[s]", "|u0", "<U0", "<i8")
DTYPES += ("|V2147483647", "<U536870911")
SIZES = (0, 1, 2, 3, 5, 12, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, 1 << 70, -1)


def _header(text: bytes, rng: random.Random) -> bytes:
    shape = [rng.choice(SIZES[:6] if rng.randrange(2) else SIZES) for _ in range(rng.choice((0, 1, 2, 3, 40)))]
    descr = repr(rng.choice(DTYPES)) if rng.randrange(8) else "[('a', '<f4'), ('b', '|O')]"
    fields = {b"'descr':": descr, b"'fortran_order':": rng.choice(("True", "False", "1")), b"'shape':": repr(tuple(shape))}
    key = rng.choice(list(fields))
    start = text.find(key) + len(key)
    ends = [text.find(other, start) for other in (b", '", b"}") if text.find(other, start) >= 0]
    return text[:start] + fields[key].encode() + text[min(ends, default=len(text)) :]


def zipped(inner: Mapping[str, Mutation]) -> Mutation:
    """A mutation of a member by the end of its name, or of the archive: members removed, twice, renamed, compressed."""

    def change(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError, EOFError, OSError):
            return blind(data, rng, others)
        if not members:
            return blind(data, rng, others)
        at = rng.randrange(len(members))
        name, content = members[at]
        match rng.randrange(16):
            case 0:
                members.pop(at)
            case 1:
                members.append((name, content))
            case 2:
                members[at] = (rng.choice(NAMES), content)
            case 3:
                members[at] = (name, rng.choice(members)[1])
            case 4:
                members[at] = (name, bytes(1 << rng.randrange(8, 22)))
            case _:
                mutation = next((each for end, each in inner.items() if name.endswith(end)), blind)
                members[at] = (name, mutation(content, rng, [each for _, each in members]))
        return archived(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))

    return change


NAMES = ("../x", "/x", "x.npy", "labels.npy", "x_train.npy", "y.npy", "groups.npy", "x", "config.json", "a\\..\\..\\x")
NAMES += ("é.npy", "data.pkl", "")


def archived(members: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP archive; a name may be there twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            archive.NameToInfo.pop(name, None)  # of which zipfile warns
            archive.writestr(info, content, compresslevel=1)
    return buffer.getvalue()


def gzipped(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """What a gzip file holds; other bytes as they are. One input in 16 is packed, or unpacked."""
    packed = data[:2] == b"\x1f\x8b"
    if not packed or rng.randrange(4) == 0:
        changed = blind(data, rng, others)
        return gzip.compress(changed, 1) if rng.randrange(16) == 0 else changed
    try:
        content = gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return blind(data, rng, others)
    changed = blind(content, rng, others)
    return gzip.compress(changed, 1) if rng.randrange(16) else changed


def hdf5(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The configuration that a whole .h5 file of Keras holds as JSON; other bytes blindly."""
    if data not in others or not data.startswith(HDF5):
        return blind(data, rng, others)
    buffer = io.BytesIO(data)
    try:
        with h5py.File(buffer, "r+") as file:
            text = str(file.attrs["model_config"])
            file.attrs["model_config"] = values(text.encode(), rng, others).decode(errors="replace").replace("\0", "")
    except (OSError, KeyError, ValueError, RuntimeError):
        return blind(data, rng, others)
    return buffer.getvalue()


HDF5 = b"\x89HDF"


def png(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A chunk of a PNG with its checksum and length made right; other images blindly."""
    if not data.startswith(PNG) or rng.randrange(4) == 0:
        return blind(data, rng, others)
    chunks, at = [], len(PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return blind(data, rng, others)
    place = rng.randrange(len(chunks))
    kind, content = chunks[place]
    match rng.randrange(8):
        case 0:
            chunks.pop(place)
        case 1:
            chunks.insert(place, chunks[place])
        case 2:
            chunks.insert(rng.randrange(len(chunks)), (rng.choice(KINDS), content))
        case 3 if kind == b"IDAT":
            chunks[place] = (kind, zlib.compress(blind(_inflated(content), rng, others), 1))
        case _:
            chunks[place] = (kind, blind(content, rng, others))
    return PNG + b"".join(chunk(*each) for each in chunks)


PNG = b"\x89PNG\r\n\x1a\n"
KINDS = (b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"pHYs")


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, 1 << 20)
    except zlib.error:
        return content


def archive(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The header of a .safetensors file with its length, or its values; the digest of ours is made right mostly."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        if not isinstance(header, dict) or rng.randrange(8) == 0:
            return blind(data, rng, others)
        ours = header.get("__metadata__")
        if rng.randrange(3) == 0 and isinstance(ours, dict) and isinstance(ours.get("tiedae"), str):
            ours["tiedae"] = values(ours["tiedae"].encode(), rng, others).decode(errors="replace")
            text = json.dumps(header).encode()
        else:
            text = values(json.dumps(header).encode(), rng, others)
    except (ValueError, RecursionError):
        return blind(data, rng, others)
    changed = len(text).to_bytes(8, "little") + text + data[8 + size :]
    return sealed_archive(changed) if rng.randrange(4) else changed


def sealed_archive(data: bytes) -> bytes:
    """Bytes of a .safetensors file with the right digest, where they look like one of ours."""
    try:
        header, arrays = archives._safetensors(data)
        header.pop("sha256", None)
        stated = json.dumps(header | {"sha256": archives._sha256(header, arrays)})
        size = int.from_bytes(data[:8], "little")
        whole = json.loads(data[8 : 8 + size])
        whole["__metadata__"]["tiedae"] = stated
    except (ValueError, KeyError, AttributeError, RecursionError, safetensors.SafetensorError, *DAMAGE):
        return data
    text = json.dumps(whole).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
