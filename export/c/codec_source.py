"""The .tae codec as C99: the tables of a model, and the parts of `parts/` that its files need. docs/format.md is what they follow.

Names begin with `tae_` and `TAE_`. The network's part of the text states the rest: the types, the statuses, `TAE_INPUTS`,
`TAE_UNITS`, `TAE_CODE_BITS`, `tae_encode_data` and `tae_decode_data`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.resources import files
from textwrap import wrap
from typing import Literal

import numpy as np

from ...compress.sample_spec import INTEGERS, SampleSpec
from ..codec.classes import ClassTables, CodeTables, costs_of
from ..codec.rans import RAW_BITS, SUM
from ..codec.residual_tables import ResidualTables
from ..codec.tables import FrequencyTables

Direction = Literal["encode", "decode"]
DIRECTIONS: tuple[Direction, ...] = ("encode", "decode")
Promise = Literal["lossy", "bounded", "lossless"]
PROMISES: tuple[Promise, ...] = ("lossy", "bounded", "lossless")
"""Kinds of files, in the order of the header's flags."""
_BUCKET_BITS = range(4, 8)
"""First bits of a slot, which say where the search for its symbol begins: more are faster and take more memory."""
_BUCKET_BYTES = 2048
"""What the places where searches begin take at most, unless the fewest bits take more."""
_LARGEST_PLACE = 255
_CLASSED = 4
"""The flag of files whose samples have classes."""


@dataclass(frozen=True)
class SampleCodec:
    """What a model's files are coded with: the tables of its codes, the 8 bytes of its identity, the tables of residuals."""

    tables: CodeTables
    identity: bytes
    residuals: ResidualTables | None = None


@dataclass(frozen=True)
class CodecText:
    """The codec's text for a model: that of NAME.h and that of NAME.c, which begins behind the tables of the network."""

    header: str
    source: str


def codec_text(
    spec: SampleSpec,
    codec: SampleCodec,
    *,
    directions: Collection[Direction] = DIRECTIONS,
    promises: Collection[Promise] = PROMISES,
) -> CodecText:
    """The codec of a model's files, in the directions and for the kinds of files that are wanted.

    Lossy files are always among them. Others need tables of residuals and integer data: a kind without them is left out.
    """
    kinds = [each for each in promises if each != "lossy" and codec.residuals and spec.dtype in INTEGERS]
    coding = "classes" if isinstance(codec.tables, ClassTables) else "codes"
    header = _constants(spec, codec, kinds)
    header += "" if spec.dtype in INTEGERS else part("floats.h")
    source = array("uint8_t tae_identity", list(codec.identity)) + code_tables(codec.tables, directions) + part("entropy.c")
    header += part("file.h")
    if "decode" in directions:
        header += part("payload_decode.h") + part("file_read.h") + part("lossy_decode.h")
        source += part("entropy_decode.c") + part(f"{coding}_decode.c")
    if "encode" in directions:
        header += part("payload_encode.h") + part("file_write.h") + part("lossy_encode.h")
        source += part("entropy_encode.c") + part(f"{coding}_encode.c")
    source += part("file.c")
    if "decode" in directions:
        source += part("file_read.c") + part("lossy_decode.c")
    if "encode" in directions:
        source += part("file_write.c") + part("lossy_encode.c")
    return CodecText(header, source)


def _constants(spec: SampleSpec, codec: SampleCodec, kinds: Collection[Promise]) -> str:
    """What the parts know of a model beside its tables."""
    numbers = {
        "SAMPLE_BYTES": spec.inputs * np.dtype(spec.dtype).itemsize,
        "SAMPLE_PAYLOAD": codec.tables.longest,
        "KINDS": sum(1 << PROMISES.index(kind) for kind in ("lossy", *kinds)),
        "FLAGS": _CLASSED if codec.tables.classes > 1 else 0,
    }
    return "".join(f"#define TAE_{name} {value}u\n" for name, value in numbers.items())


def part(name: str) -> str:
    """The text of a file of `parts/`."""
    return (files(__package__) / "parts" / name).read_text(encoding="ascii")


def array(declaration: str, numbers: Iterable[int]) -> str:
    """A constant array; `declaration`: its type and name."""
    lines = wrap(", ".join(map(str, np.asarray(numbers).ravel().tolist())), 120)
    return f"static const {declaration}[] = {{\n" + "".join(f"    {line}\n" for line in lines) + "};\n"


def _family(tables: CodeTables) -> FrequencyTables:
    return tables.family if isinstance(tables, ClassTables) else tables


def _listed(frequencies: np.ndarray) -> tuple[int, np.ndarray]:
    """The first code of a table that has a frequency, and the frequencies up to the last one, then the escape's."""
    used = np.flatnonzero(frequencies[:-1])
    first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    return first, np.append(frequencies[first:end], frequencies[-1]).astype(np.int64)


def code_tables(tables: CodeTables, directions: Iterable[Direction]) -> str:
    """The tables of codes as constants."""
    rows = [_listed(row) for row in _family(tables).frequencies]
    slots = [np.cumsum([0, *listed]) for _, listed in rows]
    places = np.cumsum([0, *map(len, slots)])
    text = array("uint8_t tae_first", [first for first, _ in rows])
    text += array(f"uint{16 if places[-1] <= 0xFFFF else 32}_t tae_places", places)
    text += array("uint16_t tae_slots", np.concatenate(slots))
    if "decode" in directions:
        bits = max([_BUCKET_BITS[0], *(bits for bits in _BUCKET_BITS if len(rows) << bits <= _BUCKET_BYTES)])
        begins = np.arange(0, SUM, SUM >> bits)
        buckets = [np.minimum(np.searchsorted(each, begins, side="right") - 1, _LARGEST_PLACE) for each in slots]
        text += f"#define TAE_BUCKET_BITS {bits}\n" + array("uint8_t tae_buckets", np.concatenate(buckets))
    if isinstance(tables, ClassTables):
        text += f"#define TAE_CLASSES {tables.classes}u\n"
        text += array("uint16_t tae_class_slots", np.cumsum([0, *tables.frequencies], dtype=np.int64))
        text += array("uint8_t tae_means", tables.means) + array("uint8_t tae_tables_of", tables.scales)
        if "encode" in directions:
            text += array("uint16_t tae_class_costs", costs_of(tables.frequencies))
            text += array("uint16_t tae_costs", np.concatenate([_costs(listed) for _, listed in rows]))
    return text


def _costs(listed: np.ndarray) -> np.ndarray:
    """The costs of the symbols of a table, a code without frequency as an escape; one more, for the end of its slots."""
    costs = costs_of(np.maximum(listed, 1))
    costs[-1] += RAW_BITS << 8
    return np.append(np.where(listed > 0, costs, costs[-1]), 0)
