"""The .tae codec as C99, after docs/format.md: the tables of a model, and the parts of `parts/` that its files need.

Names begin with `tae_` and `TAE_`. The network's part of the text states the rest: the types, the statuses, `TAE_INPUTS`,
`TAE_UNITS`, `TAE_CODE_BITS`, `tae_encode_data` and `tae_decode_data`.
"""

from __future__ import annotations

import math
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
from ..codec.tables import FrequencyTables, pack_table

Direction = Literal["encode", "decode"]
DIRECTIONS: tuple[Direction, ...] = ("encode", "decode")
Promise = Literal["lossy", "bounded", "lossless"]
PROMISES: tuple[Promise, ...] = ("lossy", "bounded", "lossless")
"""Kinds of files, in the order of the header's flags."""
_BUCKET_BITS = range(4, 8)
"""First bits of a slot, which say where the search for its symbol begins: more are faster and take more memory."""
_BUCKET_BYTES = 2048
"""What the places where searches begin take at most, unless the fewest bits take more; half of it beside classes."""
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
    header, source = _parts(spec, codec, bool(kinds), directions)
    tables = array("uint8_t tae_identity", list(codec.identity)) + code_tables(codec.tables, directions)
    if kinds:
        tables += _blocks(codec.residuals, kinds)
    floats = () if spec.dtype in INTEGERS else ("floats.h",)
    return CodecText(
        _constants(spec, codec, kinds) + "".join(map(part, (*floats, *header))), tables + "".join(map(part, source))
    )


def _parts(
    spec: SampleSpec, codec: SampleCodec, residuals: bool, directions: Collection[Direction]
) -> tuple[list[str], list[str]]:
    """The parts of header and source, in their order; `residuals`: whether there are bounded or lossless files."""
    coding = "classes" if isinstance(codec.tables, ClassTables) else "codes"
    kind = "images" if spec.kind == "images" else "signals"
    header, source = ["file.h"], ["entropy.c", "file.c"]
    if residuals:
        header.append(f"predict_{kind}.h")
        source += ["residuals.c", f"predict_{kind}.c"]
    if "decode" in directions:
        header += ["payload_decode.h", "file_read.h"]
        source += ["entropy_decode.c", f"{coding}_decode.c", "file_read.c"]
        if not residuals:
            header += ["lossy_decode.h", "lossy_decode_frame.h"]
            source += ["lossy_decode.c", "lossy_decode_frame.c"]
        elif kind == "images":
            header += ["lossy_decode.h", "images_decode.h"]
            source += ["residuals_decode.c", "lossy_decode.c", "images_decode.c"]
        else:
            header += ["signals_decode.h"]
            source += ["residuals_decode.c", "signals_decode.c"]
    if "encode" in directions:
        frame = "residuals_encode" if residuals else "lossy_encode_frame"
        header += ["payload_encode.h", "file_write.h", f"{frame}.h"]
        source += ["entropy_encode.c", f"{coding}_encode.c", "file_write.c", "lossy_encode.c", f"{frame}.c"]
    return header, source


def _constants(spec: SampleSpec, codec: SampleCodec, kinds: Collection[Promise]) -> str:
    """What the parts know of a model beside its tables."""
    numbers = {
        "SAMPLE_BYTES": spec.inputs * np.dtype(spec.dtype).itemsize,
        "SAMPLE_PAYLOAD": codec.tables.longest,
        "KINDS": sum(1 << PROMISES.index(kind) for kind in ("lossy", *kinds)),
        "FLAGS": _CLASSED if codec.tables.classes > 1 else 0,
    }
    types = ""
    if kinds:
        limits, width = np.iinfo(spec.dtype), 8 * np.dtype(spec.dtype).itemsize
        numbers |= {"SPAN": int(limits.max) - int(limits.min), "STREAMS": spec.inputs if spec.kind == "table" else 1}
        if spec.kind == "images":
            channels = math.prod(spec.shape[2:])
            row = spec.shape[:2][-1] * channels
            numbers |= {"ROW": row, "CHANNELS": channels, "RING": min(spec.inputs, row + channels)}
        signed = {"LOWEST": f"({limits.min + 1} - 1)", "HIGHEST": limits.max, "IMAGES": int(spec.kind == "images")}
        types = "".join(f"#define TAE_{name} {value}\n" for name, value in signed.items())
        types += f"typedef uint{width}_t tae_magnitude;\ntypedef uint{2 * width}_t tae_cell;\n"
    return "".join(f"#define TAE_{name} {value}u\n" for name, value in numbers.items()) + types


def _blocks(residuals: ResidualTables, kinds: Collection[Promise]) -> str:
    """The tables of residuals: of mode 1, then mode 2; in each those of lossless files, then of bounded ones, where wanted."""
    blocks = [
        coder.lossless if kind == "lossless" else coder.bounded
        for coder in (residuals.prediction, residuals.corrections)
        for kind in ("lossless", "bounded")
        if kind in kinds
    ]
    images = residuals.prediction.kind == "images"
    text, rows = "", []
    for i, block in enumerate(blocks):
        tables = [pack_table(row[:-1]) for row in block.tables.frequencies]
        text += array(f"uint8_t tae_contexts{i}", block.places)
        text += array(f"uint16_t tae_tokens_at{i}", np.cumsum([0, *map(len, tables)])[:-1])
        text += array(f"uint8_t tae_tokens{i}", list(b"".join(tables)))
        weights = "" if images else f", {{{', '.join(map(str, block.weights.tolist()))}}}"
        rows.append(f"    {{tae_contexts{i}, tae_tokens_at{i}, tae_tokens{i}{weights}}},\n")
    fields = ("const uint8_t *contexts", "const uint16_t *places", "const uint8_t *tables")
    members = "".join(f"    {field};\n" for field in (*fields, *(() if images else ("int16_t weights[16]",))))
    text += f"typedef struct tae_block {{\n{members}}} tae_block;\n"
    text += f"static const tae_block tae_blocks[] = {{\n{''.join(rows)}}};\n"
    place = "2u * ((mode) - 1u) + ((bound) > 0)" if len(kinds) > 1 else "(mode) - 1u"
    return text + f"#define tae_block_of(mode, bound) (&tae_blocks[{place}])\n"


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
        most = _BUCKET_BYTES // (2 if isinstance(tables, ClassTables) else 1)
        bits = max([_BUCKET_BITS[0], *(bits for bits in _BUCKET_BITS if len(rows) << bits <= most)])
        begins = np.arange(0, SUM, SUM >> bits)
        buckets = [np.minimum(np.searchsorted(each, begins, side="right") - 1, _LARGEST_PLACE) for each in slots]
        text += f"#define TAE_BUCKET_BITS {bits}\n" + array("uint8_t tae_buckets", np.concatenate(buckets))
    if isinstance(tables, ClassTables):
        text += f"#define TAE_CLASSES {tables.classes}u\n"
        text += array("uint16_t tae_class_slots", np.cumsum([0, *tables.frequencies], dtype=np.int64))
        text += array("uint8_t tae_means", tables.means) + _scales(tables)
        if "encode" in directions:
            text += array("uint16_t tae_class_costs", costs_of(tables.frequencies))
            text += array("uint16_t tae_costs", np.concatenate([_costs(listed) for _, listed in rows]))
    return text


def _scales(tables: ClassTables) -> str:
    """The tables of units in classes; two in a byte where the family is small."""
    numbers = tables.scales.ravel()
    if tables.family.units > 16:
        return array("uint8_t tae_tables_of", numbers) + "#define tae_table_at(place) ((uint32_t)tae_tables_of[place])\n"
    pairs = np.append(numbers, 0)[: (len(numbers) + 1) // 2 * 2].reshape(-1, 2)
    found = "((uint32_t)tae_tables_of[(place) / 2u] >> (place) % 2u * 4u & 15u)"
    return array("uint8_t tae_tables_of", pairs[:, 0] | pairs[:, 1] << 4) + f"#define tae_table_at(place) {found}\n"


def _costs(listed: np.ndarray) -> np.ndarray:
    """The costs of the symbols of a table, a code without frequency as an escape; one more, for the end of its slots."""
    costs = costs_of(np.maximum(listed, 1))
    costs[-1] += RAW_BITS << 8
    return np.append(np.where(listed > 0, costs, costs[-1]), 0)
