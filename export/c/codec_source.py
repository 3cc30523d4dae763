"""The .tae codec as C99, after docs/reference/format.md: the tables of a model, and the parts of `parts/` that its files need.

Names begin with `tae_` and `TAE_`. The network's text states the rest: the types, the statuses, `TAE_INPUTS`, `TAE_UNITS`,
`TAE_CODE_BITS`, `tae_encode_data` and `tae_decode_data`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

import numpy as np

from tiedae.config.sample_spec import INTEGERS, SampleSpec, channels_of
from tiedae.entropy.channels import COUNT
from tiedae.entropy.classes import COST_BITS, ClassTables, CodeTables, costs_of
from tiedae.entropy.contexts import LEAF
from tiedae.entropy.rans import RAW_BITS, SUM, SUM_BITS
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.tables import FrequencyTables, pack_table

from .text import WIDTH, array, literal, part

Direction = Literal["encode", "decode"]
DIRECTIONS: tuple[Direction, ...] = ("encode", "decode")
Promise = Literal["lossy", "bounded", "lossless"]
PROMISES: tuple[Promise, ...] = ("lossy", "bounded", "lossless")
"""Kinds of files, in the order of the header's flags."""
_CLASSED = 4
"""The flag of files whose samples have classes."""
_BUCKET_BITS = range(4, 8)
"""First bits of a slot, which say where the search for its symbol begins: more are faster and take more memory."""
_BUCKET_BYTES = 2048
"""What the places where searches begin take at most, unless the fewest bits take more; half of it beside classes."""
_LARGEST_PLACE = 255
SMALL = 1 << 8
"""Frequencies below it are the difference of the low 8 bits of two slots."""
_ALWAYS_LEAF_0 = (0, -128, LEAF, LEAF)
"""The node of a tree that has none."""
_PAIRED_TABLES = 16
"""Tables of a family whose numbers lie two in a byte."""


@dataclass(frozen=True)
class SampleCodec:
    """What a model's files are coded with: the tables of its codes, the 8 bytes of its identity, the tables of residuals."""

    tables: CodeTables
    identity: bytes
    residuals: ResidualTables | None = None


@dataclass(frozen=True)
class CodecText:
    """The codec's text for a model: `header` goes into NAME.h, `source` behind the network in NAME.c."""

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

    Lossy files are always among them. Bounded and lossless ones need tables of residuals and integer data, and are left out
    without. To encode these takes both halves of the network.
    """
    others: tuple[Promise, ...] = ("bounded", "lossless")
    kinds: list[Promise] = [
        each for each in others if each in promises and codec.residuals is not None and spec.dtype in INTEGERS
    ]
    header, source = ("".join(map(part, names)) for names in _parts(spec, codec.tables, bool(kinds), directions))
    tables = array("tae_identity", np.frombuffer(codec.identity, np.uint8)) + code_tables(codec.tables, directions)
    if codec.residuals is not None and kinds:
        tables += residual_tables(codec.residuals)
    return CodecText(_constants(spec, codec, kinds) + header, tables + source)


def _parts(
    spec: SampleSpec, tables: CodeTables, residuals: bool, directions: Collection[Direction]
) -> tuple[list[str], list[str]]:
    """Declarations and definitions, in their order; `residuals`: whether there are bounded or lossless files."""
    images, encodes = spec.kind == "image", "encode" in directions
    coding = "classes" if isinstance(tables, ClassTables) else "codes"
    slots, predictor = "small" if _small(tables) else "wide", "images" if images else "signals"
    header = ["file.h"] if spec.dtype in INTEGERS else ["floats.h", "file.h"]
    source = ["entropy.c", f"slots_{slots}.c", "symbols.c", "file.c"]
    if residuals:
        header += [f"predict_{predictor}.h"]
        source += ["residuals.c", *(["quanta.c", "waves.c"] if encodes or not images else []), f"predict_{predictor}.c"]
    if "decode" in directions:
        header += ["payload_decode.h", "file_read.h"]
        source += [f"find_{slots}.c", "entropy_decode.c", f"{coding}_decode.c", "frame_read.c", "file_read.c"]
        source += ["residuals_decode.c"] if residuals else []
        last = ["signals_decode"]
        if images or not residuals:
            last = ["lossy_decode", "images_decode" if residuals else "lossy_decode_frame"]
        header += [f"{name}.h" for name in last]
        source += [f"{name}.c" for name in last]
    if encodes:
        last = "residuals_encode" if residuals else "lossy_encode_frame"
        header += ["payload_encode.h", "file_write.h", f"{last}.h"]
        source += [f"span_{slots}.c", "entropy_encode.c", f"{coding}_encode.c", "file_write.c", "lossy_encode.c", f"{last}.c"]
    return header, source


LARGEST_NUMBER = (1 << 32) - 1
"""The numbers that the end of a picture states are below it; see `patches.PictureSize.number`."""


def _constants(spec: SampleSpec, codec: SampleCodec, kinds: Collection[Promise]) -> str:
    """What the parts know of a model beside its tables."""
    numbers = {
        "SAMPLE_BYTES": spec.inputs * np.dtype(spec.dtype).itemsize,
        "SAMPLE_PAYLOAD": codec.tables.longest,
        "KINDS": sum(1 << PROMISES.index(kind) for kind in ("lossy", *kinds)),
        "FLAGS": _CLASSED if codec.tables.classes > 1 else 0,
        "STEPS": LARGEST_NUMBER if spec.is_patch else spec.window,
    }
    more = ""
    if kinds:
        limits, width = np.iinfo(spec.dtype), 8 * np.dtype(spec.dtype).itemsize
        streams = spec.inputs if spec.kind == "table" else channels_of(spec.kind, spec.shape)
        numbers |= {"SPAN": int(limits.max) - int(limits.min), "STREAMS": streams} | _links(codec)
        if spec.kind == "image":
            channels = math.prod(spec.shape[2:])
            row = spec.shape[:2][-1] * channels
            numbers |= {"ROW": row, "CHANNELS": channels, "RING": min(spec.inputs, row + channels)}
        signed = {"LOWEST": f"({limits.min + 1} - 1)", "HIGHEST": limits.max, "IMAGES": int(spec.kind == "image")}
        more = "".join(f"#define TAE_{name} {value}\n" for name, value in signed.items())
        more += f"typedef uint{width}_t tae_magnitude;\ntypedef uint{2 * width}_t tae_cell;\n"
    return "".join(f"#define TAE_{name} {value}u\n" for name, value in numbers.items()) + more


def _links(codec: SampleCodec) -> dict[str, int]:
    """Links of a channel, and its last changes that are kept: a power of two."""
    assert codec.residuals is not None
    parts = codec.residuals.prediction.part, codec.residuals.corrections.part
    depths = [part.links.depth for part in parts if part.links is not None]
    return {"LINKED": int(bool(depths))} | ({"LINKS": COUNT, "DEPTH": 1 << (max(depths) - 1).bit_length()} if depths else {})


def code_tables(tables: CodeTables, directions: Collection[Direction]) -> str:
    """The tables of codes as constants."""
    classed = isinstance(tables, ClassTables)
    rows = [_listed(row) for row in (tables.family if classed else tables).frequencies]
    slots = _slots(tables.family if classed else tables)
    places = np.cumsum([0, *map(len, slots)])
    text = array("tae_first", np.array([first for first, _ in rows], np.uint8))
    text += array("tae_places", places.astype(np.uint16 if places[-1] <= 0xFFFF else np.uint32))
    if _small(tables):
        low = np.concatenate(slots).astype(np.uint8)  # modulo 2⁸
        text += array("tae_slots", low) + array("tae_buckets", _first_places(slots).astype(np.uint8))
        text += f"#define TAE_BUCKET_BITS {SUM_BITS - 8}\n"
    else:
        text += array("tae_slots", np.concatenate(slots).astype(np.uint16))
    if "decode" in directions and not _small(tables):
        text += _buckets(slots, _BUCKET_BYTES // 2 if classed else _BUCKET_BYTES)
    if not classed:
        return text
    text += f"#define TAE_CLASSES {tables.classes}u\n"
    text += array("tae_class_slots", np.cumsum([0, *tables.frequencies], dtype=np.int64).astype(np.uint16))
    text += array("tae_means", tables.means) + _scales(tables)
    if "encode" in directions:
        text += array("tae_class_costs", costs_of(tables.frequencies).astype(np.uint16))
        text += array("tae_costs", np.concatenate([_costs(listed) for _, listed in rows]).astype(np.uint16))
    return text


def _small(tables: CodeTables) -> bool:
    """Whether the low 8 bits of each slot are enough: no frequency is above 255, and the first places fit in 8 bits."""
    family = tables.family if isinstance(tables, ClassTables) else tables
    return bool(family.frequencies.max() < SMALL and _first_places(_slots(family)).max() < SMALL)


def _slots(tables: FrequencyTables) -> list[np.ndarray]:
    """The first slot of each place of each table, and the end."""
    return [np.cumsum([0, *_listed(row)[1]]) for row in tables.frequencies]


def _first_places(slots: Collection[np.ndarray]) -> np.ndarray:
    """By table and high bits of a slot, the first place whose slots begin there or above."""
    return np.concatenate([np.searchsorted(each, np.arange(0, SUM, SMALL)) for each in slots])


def _listed(frequencies: np.ndarray) -> tuple[int, np.ndarray]:
    """The first code of a table that has a frequency, and the frequencies up to the last one, then the escape's."""
    used = np.flatnonzero(frequencies[:-1])
    first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    return first, np.append(frequencies[first:end], frequencies[-1]).astype(np.int64)


def _buckets(slots: Collection[np.ndarray], most: int) -> str:
    """By table and first bits of a slot, a place in the table at or below that of the slot's symbol."""
    bits = max([_BUCKET_BITS[0], *(bits for bits in _BUCKET_BITS if len(slots) << bits <= most)])
    begins = np.arange(0, SUM, SUM >> bits)
    places = [np.searchsorted(each, begins, side="right") - 1 for each in slots]
    found = np.minimum(np.concatenate(places), _LARGEST_PLACE).astype(np.uint8)
    return f"#define TAE_BUCKET_BITS {bits}\n" + array("tae_buckets", found)


def _scales(tables: ClassTables) -> str:
    """The tables of units in classes; two in a byte where the family is small."""
    numbers, found = tables.scales.ravel(), "((uint32_t)tae_tables_of[place])"
    if tables.family.units <= _PAIRED_TABLES:
        pairs = np.append(numbers, np.uint8(0))[: (len(numbers) + 1) // 2 * 2].reshape(-1, 2)
        numbers, found = pairs[:, 0] | pairs[:, 1] << 4, "((uint32_t)tae_tables_of[(place) / 2u] >> (place) % 2u * 4u & 15u)"
    return array("tae_tables_of", numbers) + f"#define tae_table_at(place) {found}\n"


def _costs(listed: np.ndarray) -> np.ndarray:
    """The costs of the symbols of a table, a code without frequency as an escape; one more, for the end of its slots."""
    costs = costs_of(np.maximum(listed, 1))
    costs[-1] += RAW_BITS << COST_BITS
    return np.append(np.where(listed > 0, costs, costs[-1]), 0)


def residual_tables(residuals: ResidualTables) -> str:
    """The tables of residuals, of mode 1, then of mode 2, with the trees of their contexts."""
    images = residuals.prediction.kind == "image"
    text = (
        "typedef struct tae_node {\n  uint8_t feature;\n  int8_t threshold;\n  uint8_t below;\n  uint8_t above;\n} tae_node;\n"
    )
    linked = residuals.prediction.part.links is not None
    if linked:
        text += "typedef struct tae_link {\n  int32_t weight;\n  int8_t distance;\n  uint8_t lag;\n} tae_link;\n"
    more = ({} if images else {"weights": "int16_t"}) | ({"links": "tae_link"} if linked else {})
    rows: list[str] = []
    for i, block in enumerate((residuals.prediction.part, residuals.corrections.part)):
        tables = [pack_table(row[:-1]) for row in block.tables.frequencies]
        nodes = block.tree.nodes.tolist() or [_ALWAYS_LEAF_0]
        listed = wrap(", ".join(f"{{{', '.join(map(str, node))}}}" for node in nodes), WIDTH)
        text += f"static const tae_node tae_nodes{i}[{len(nodes)}] = {{\n" + "\n".join(listed) + "\n};\n"
        text += array(f"tae_token_places{i}", np.cumsum([0, *map(len, tables)])[:-1].astype(np.uint16))
        text += array(f"tae_tokens{i}", np.frombuffer(b"".join(tables), np.uint8))
        names = [f"tae_{name}{i}" for name in ("nodes", "token_places", "tokens", *more)]
        rows.append(f"  {{{', '.join(names)}}},\n")
        text += "" if images else array(f"tae_weights{i}", block.weights.ravel())
        if block.links is not None:
            each = (block.links.weights, block.links.distances, block.links.lags)
            listed = wrap(
                ", ".join(f"{{{literal(a, 32)}, {b}, {c}}}" for a, b, c in zip(*(part.ravel() for part in each), strict=True)),
                WIDTH,
            )
            text += f"static const tae_link tae_links{i}[{block.links.weights.size}] = {{\n" + "\n".join(listed) + "\n};\n"
    fields = ["const tae_node *nodes", "const uint16_t *places", "const uint8_t *tables"]
    fields += [f"const {kind} *{name}" for name, kind in more.items()]
    text += "typedef struct tae_block {\n" + "".join(f"  {field};\n" for field in fields) + "} tae_block;\n"
    text += "static const tae_block tae_blocks[] = {\n" + "".join(rows) + "};\n"
    return text + "#define tae_block_of(mode) (&tae_blocks[(mode) - 1u])\n"
