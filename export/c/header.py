"""NAME.h: what a caller of a C file needs."""

from __future__ import annotations

from tiedae.compress.affine import Quantization
from tiedae.program.program import Tensor

from .builder import CBuilder
from .entries import Network
from .rounding import FORMS
from .streams import stream_declarations
from .text import quoted

_STATUS = """/* What every function returns. */
enum {
  TAE_OK = 0,
  TAE_END = 1,         /* there is nothing more */
  TAE_ARGUMENT = 2,    /* a pointer is NULL, or a number is out of range */
  TAE_SPACE = 3,       /* the output or the workspace is too small */
  TAE_CODE = 4,        /* a code has more bits than the model's */
  TAE_DAMAGED = 5,     /* bytes that no encoder writes, or a wrong checksum */
  TAE_OTHER_MODEL = 6, /* a file of another model, or of other tables */
  TAE_UNSUPPORTED = 7  /* a version or mode that this file does not decode */
};
"""


def header_text(network: Network, graph: CBuilder, more: str = "") -> str:
    """The text; `more`: the declarations of the codec."""
    program = network.program
    arena = [f"{half.signature} {half.memory}" for half in network.halves]
    forms = {form: sum(each.form == form for each in graph.roundings.values()) for form in FORMS}
    rounding = ", ".join(f"{count} by {form}" for form, count in forms.items() if count) or "none"
    names = [name for name, there in (("x", network.encodes), ("code", True), ("y", network.decodes)) if there]
    tensors = "\n".join(f" *   {_tensor(program.tensors[name], program.quantization(name))}" for name in names)
    name = quoted(program.name)
    return f"""/* {name}: a tied autoencoder in integers. Each kernel is stored once and read in both directions.
 *
 * Tensors: real value = (integer - zero point) * scale
{tensors}
 * Requantizations: {rounding}; each is exact.
 *
 * Pointers must not overlap. A function changes nothing beside what it is given: threads may call it, each with its arena.
 * With TAE_STATIC_ARENA defined for NAME.c, NULL is an arena that all calls without one use.
 */
#ifndef TAE_H
#define TAE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define TAE_INPUTS {network.inputs}
#define TAE_UNITS {network.units}
#define TAE_CODE_BITS {program.quantization("code").bits}

/* Memory for one call, in bytes: {", ".join(arena)}. Its content need not be kept between calls. */
#define TAE_ARENA_BYTES {network.arena}
typedef struct {{
  int32_t words[TAE_ARENA_BYTES / 4];
}} tae_arena;

/* A value of the data{_value_note(network)} */
typedef {"uint8_t" if network.unit is None else network.unit.value} tae_value;

{_STATUS}
{_declarations(network)}{more}
#ifdef __cplusplus
}}
#endif

#endif
""".replace("NAME.c", "this model's C file")


def _tensor(tensor: Tensor, quantization: Quantization) -> str:
    shape = f", [{', '.join(map(str, tensor.shape))}]" if len(tensor.shape) > 1 else ""
    return f"{tensor.name}: 0 to {quantization.top}, scale {quantization.scale!r}, zero point {quantization.zero_point}{shape}"


def _value_note(network: Network) -> str:
    if network.unit is None:
        return ": the integers of x and y."
    if network.maps is not None:
        return " in its own unit of measure."
    return (
        " in its own unit of measure: those of x and y."
        if network.unit.spec.dtype == "uint8"
        else ", which are floats: the integers of x and y."
    )


def _declarations(network: Network) -> str:
    inputs, units, parts = "TAE_INPUTS", "TAE_UNITS", []
    if network.encodes:
        parts.append(f"/* x[{inputs}] to code[{units}] */\nint tae_encode(tae_arena *arena, const uint8_t *x, uint8_t *code);")
    if network.decodes:
        parts.append(f"/* code[{units}] to y[{inputs}] */\nint tae_decode(tae_arena *arena, const uint8_t *code, uint8_t *y);")
    if "reconstruct" in network.signatures:
        parts.append("/* both */\nint tae_reconstruct(tae_arena *arena, const uint8_t *x, uint8_t *code, uint8_t *y);")
    for there, function, parameters, plain in (
        (network.encodes, "tae_encode_data", "const tae_value *data, uint8_t *code", "tae_encode"),
        (network.restores, "tae_decode_data", "const uint8_t *code, tae_value *data", "tae_decode"),
    ):
        if there and network.maps is not None:
            parts.append(f"/* the same of data[{inputs}] */\nint {function}(tae_arena *arena, {parameters});")
        elif there:
            parts.append(f"/* the same of data[{inputs}], which are the integers of x and y */\n#define {function} {plain}")
    if network.scores and network.detector is not None:
        parts += _score_declarations(network, network.detector.scoring.factor)
    if network.streamed is not None and network.streamed.integers:
        parts.append(stream_declarations(network.streamed))
    return "\n\n".join(parts) + "\n"


def _score_declarations(network: Network, factor: float) -> list[str]:
    assert network.detector is not None
    parts = []
    if network.detector.scoring.multiplier:
        parts.append(
            "/* The score of data[TAE_INPUTS], an integer, and 1 in *anomaly where it is above the threshold, else 0.\n"
            f" * The score in scaled values is *score * {factor!r}. */\n"
            "int tae_score(tae_arena *arena, const tae_value *data, uint64_t *score, uint8_t *anomaly);"
        )
    parts.append(
        "/* The score of a sample, value by value, from total = 0: value i is `units`, in 2^-16 steps of y,\n"
        " * before it is quantized.\n"
        f" * The score in scaled values is the last total * {factor!r}. */\n"
        "uint64_t tae_score_add(uint64_t total, size_t i, int64_t units, uint8_t y);\n\n"
        "/* 1 where a score is above the threshold, else 0 */\n"
        "uint8_t tae_is_anomaly(uint64_t score);"
    )
    return parts
