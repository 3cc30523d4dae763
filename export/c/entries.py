"""The public functions of a C file's network: encode, decode, reconstruct, and score, with the plan of their memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tiedae.base.errors import InputError
from tiedae.program.integer_maps import IntegerMaps
from tiedae.program.program import SIGNATURES, Program
from tiedae.program.score_graph import SCORE
from tiedae.program.scoring import Detector

from .codec_source import DIRECTIONS, Direction
from .memory import PlacedStep, aligned
from .samples import FLOOR, DataUnit, conversion_text, score_text
from .streams import stream_definitions
from .text import indented

C_SIGNATURES = (*SIGNATURES, SCORE)
"""What a C file may hold."""


def signatures_of(asked: Collection[str] | None, detector: Detector | None) -> tuple[str, ...]:
    """What a C file holds for what was asked for, by default all, in the order of `C_SIGNATURES`.

    `reconstruct` is both halves, and both are `reconstruct`. Raises InputError for an unknown one, and for `score` without a
    detector.
    """
    held = set(SIGNATURES if detector is None else C_SIGNATURES) if asked is None else set(asked)
    for signature in sorted(held - set(C_SIGNATURES)):
        raise InputError(f"signature: got {signature!r}, must be one of {', '.join(C_SIGNATURES)}")
    if SCORE in held and detector is None:
        raise InputError("signature: got 'score', must be one of " + ", ".join(SIGNATURES) + ": the model has no detector")
    both = "reconstruct" in held or held >= set(DIRECTIONS)
    return tuple(each for each in C_SIGNATURES if each in held or (both and each != SCORE))


def halves_of(signatures: Collection[str]) -> list[Direction]:
    """The halves that these signatures take: `score` calls both."""
    return [half for half in DIRECTIONS if half in signatures or SCORE in signatures]


@dataclass(frozen=True)
class Half:
    """The encoder or the decoder: its signature, input and output, the `calls` that run it, and the bytes of the arena that
    they take."""

    signature: Direction
    source: str
    output: str
    calls: Sequence[PlacedStep]
    memory: int


@dataclass(frozen=True)
class Network:
    """What a C file computes: `signatures` of `C_SIGNATURES`, the halves of a program that they take, the data's unit of
    measure, a detector.

    `sample` and `code`: the bytes of the arena where a sample's `x`, later its `y`, and its code lie while it is converted or
    scored; `arena` is the size of all.
    """

    program: Program
    signatures: Collection[str]
    halves: Sequence[Half]
    unit: DataUnit | None
    detector: Detector | None

    @property
    def encodes(self) -> bool:
        return any(half.signature == "encode" for half in self.halves)

    @property
    def decodes(self) -> bool:
        return any(half.signature == "decode" for half in self.halves)

    @property
    def restores(self) -> bool:
        """Whether `y` is given as data: `score` alone does not."""
        return "decode" in self.signatures

    @property
    def scores(self) -> bool:
        return SCORE in self.signatures

    @property
    def streamed(self) -> DataUnit | None:
        """The data's unit of measure, where they are windows of a record and the file encodes them."""
        return self.unit if self.encodes and self.unit is not None and self.unit.spec.kind == "record" else None

    @property
    def maps(self) -> IntegerMaps | None:
        return None if self.unit is None else self.unit.maps

    @property
    def inputs(self) -> int:
        return self.program.tensors["x"].size

    @property
    def units(self) -> int:
        return self.program.tensors["code"].size

    @property
    def sample(self) -> int:
        return max(half.memory for half in self.halves)

    @property
    def code(self) -> int:
        converts = self.encodes and self.maps is not None
        return self.sample + (aligned(self.inputs) if converts or self.scores else 0)

    @property
    def arena(self) -> int:
        return aligned(self.code + (self.units if self.scores else 0))


def network_text(network: Network) -> str:
    """The functions."""
    unit, detector, parts = network.unit, network.detector if network.scores else None, [_ARENA]
    if network.maps is not None or (detector is not None and detector.scoring.multiplier):
        parts.append(FLOOR)
    if unit is not None and unit.maps is not None:
        parts.append(conversion_text(unit, unit.maps, encodes=network.encodes, decodes=network.restores))
    parts += [_half(half, network) for half in network.halves]
    if "reconstruct" in network.signatures:
        parts.append(_RECONSTRUCT)
    if network.maps is not None and network.encodes:
        parts.append(_ENCODE_DATA.replace("SAMPLE", str(network.sample)))
    if network.maps is not None and network.restores:
        parts.append(_DECODE_DATA)
    if detector is not None:
        parts.append(score_text(detector, unit))
        if unit is not None and detector.scoring.multiplier:
            parts.append(_SCORE.replace("SAMPLE", str(network.sample)).replace("CODE", str(network.code)))
    if network.streamed is not None and network.streamed.integers:
        parts.append(stream_definitions())
    return "\n".join(parts)


_ARENA = """#ifdef TAE_STATIC_ARENA
static tae_arena tae_static;
#define TAE_ARENA_OF(given) ((given) == NULL ? &tae_static : (given))
#else
#define TAE_ARENA_OF(given) (given)
#endif
"""

_RECONSTRUCT = """int tae_reconstruct(tae_arena *arena, const uint8_t *x, uint8_t *code, uint8_t *y)
{
  const int status = tae_encode(arena, x, code);
  return status == TAE_OK ? tae_decode(arena, code, y) : status;
}
"""

_ENCODE_DATA = """int tae_encode_data(tae_arena *arena, const tae_value *data, uint8_t *code)
{
  uint8_t *x;
  arena = TAE_ARENA_OF(arena);
  if (arena == NULL || data == NULL) return TAE_ARGUMENT;
  x = (uint8_t *)arena->words + SAMPLE;
  tae_to_x(data, x);
  return tae_encode(arena, x, code);
}
"""

_DECODE_DATA = """int tae_decode_data(tae_arena *arena, const uint8_t *code, tae_value *data)
{
  uint8_t *y;
  int status;
  if (data == NULL) return TAE_ARGUMENT;
  y = (uint8_t *)data + (sizeof(tae_value) - 1) * TAE_INPUTS;
  status = tae_decode(arena, code, y);
  if (status == TAE_OK) tae_from_y(y, data);
  return status;
}
"""

_SCORE = """int tae_score(tae_arena *arena, const tae_value *data, uint64_t *score, uint8_t *anomaly)
{
  uint64_t total = 0;
  uint8_t *y, *code;
  size_t i;
  int status;
  arena = TAE_ARENA_OF(arena);
  if (arena == NULL || data == NULL || score == NULL || anomaly == NULL) return TAE_ARGUMENT;
  y = (uint8_t *)arena->words + SAMPLE;
  code = (uint8_t *)arena->words + CODE;
  status = tae_encode_data(arena, data, code);
  if (status == TAE_OK) status = tae_decode(arena, code, y);
  if (status != TAE_OK) return status;
  for (i = 0; i < TAE_INPUTS; i++) total = tae_score_add(total, i, tae_units(i, data[i]), y[i]);
  *score = total;
  *anomaly = tae_is_anomaly(total);
  return TAE_OK;
}
"""


def _half(half: Half, network: Network) -> str:
    quantization = network.program.quantization("code")
    check = []
    if half.source == "code" and quantization.bits < 8:
        check = ["for (i = 0; i < TAE_UNITS; i++)", f"  if (code[i] > {quantization.top}) return TAE_CODE;"]
    body = [
        *(["size_t i;"] if check else []),
        "uint8_t *memory;",
        "arena = TAE_ARENA_OF(arena);",
        f"if (arena == NULL || {half.source} == NULL || {half.output} == NULL) return TAE_ARGUMENT;",
        *check,
        "memory = (uint8_t *)arena->words;",
        "(void)memory;",
        *(call.text for call in half.calls),
        "return TAE_OK;",
    ]
    parameters = f"tae_arena *arena, const uint8_t *{half.source}, uint8_t *{half.output}"
    return f"int tae_{half.signature}({parameters})\n{{\n{indented(body)}\n}}\n"
