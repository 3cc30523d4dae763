"""C text that runs many samples at once, behind a model's own in one file: for machines with memory to spare.

A microcontroller reads a kernel in place. AVX512-VNNI adds four products to each of 16 sums, and is fastest with a copy of the
kernel in the order of these products, which four samples, a tile, read together. All else is the model's own text: roundings,
activations, and the samples behind the last tile. Without the instruction there are no tiles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .builder import CBuilder, CProduct
from .entries import Half, Network
from .memory import PlacedStep, aligned
from .rounding_text import loop, unit_exceptions
from .text import indented

TILE = 4
"""Samples of a tile."""
LANES, QUAD = 16, 4
"""Sums of a vector, and products that are added to each at once."""
VECTOR = LANES * QUAD
"""Bytes of a vector."""
WIDE = 4
"""Vectors of a sample's sums that registers hold at once."""
HALVES = {"encode": ("encode",), "decode": ("decode",), "reconstruct": ("encode", "decode")}
"""The halves that a signature runs, in their order."""
_BEGIN = """
#if defined(__GNUC__) && defined(__AVX512VNNI__) && defined(__AVX512F__)
#define TAE_TILES
#include <immintrin.h>
#include <string.h>

static inline __m512i tae_quad(const uint8_t *x)
{
  int32_t quad;
  memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

/* As _mm512_dpbusd_epi32, for which gcc copies every sum */
#define TAE_ADD(sums, quad, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(quad), "v"(w))
"""


def run_text(signatures: Collection[str]) -> str:
    """Functions `tae_run_SIGNATURE` on many samples, one behind the other, with `tae_run_memory` bytes of memory."""
    return "".join(_run(signature, []) for signature in signatures) + _memory([], 0)


def tiles_text(network: Network, graph: CBuilder) -> str:
    """The same functions, in tiles where the compiler may use the instruction."""
    stride = -(-max(each.shape[0] for each in network.program.tensors.values()) // VECTOR) * VECTOR
    calls = [call for half in network.halves for call in half.calls]
    products = {
        call.step.function: graph.products[call.step.function] for call in calls if call.step.function in graph.products
    }
    parts = [_BEGIN, *(_dots(width, stride) for width in (WIDE, 1))]
    for call in calls:
        product = products.get(call.step.function)
        parts.append(_step(call, stride) if product is None else _packed(call, product) + _product(call, product, stride))
    parts += [_half(half, network, stride) for half in network.halves]
    parts.append("#endif\n")
    names = {half.signature for half in network.halves}
    parts += [_run(each, _tiles(each, network)) for each, halves in HALVES.items() if {*halves} <= names]
    sums = max([4 * TILE * LANES * _blocks(each) for each in products.values()] + [call.step.scratch for call in calls])
    return "".join(parts) + _memory(
        [f"{_name('pack', function)}();" for function in products], 2 * TILE * stride + aligned(sums)
    )


def _run(signature: str, tiles: Sequence[str]) -> str:
    places = {"x": "x + i * TAE_INPUTS", "code": "code + i * TAE_UNITS", "y": "y + i * TAE_INPUTS"}
    names = {"encode": ("x", "code"), "decode": ("code", "y"), "reconstruct": tuple(places)}[signature]
    arguments = ", ".join(["(tae_arena *)(void *)memory", *(places[name] for name in names)])
    return f"""
int tae_run_{signature}(size_t count, uint8_t *memory, const uint8_t *x, uint8_t *code, uint8_t *y)
{{
  int status = TAE_OK;
  size_t i = 0;
  (void)x;
  (void)y;
{_where_tiled(tiles)}  for (; i < count && status == TAE_OK; i++) status = tae_{signature}({arguments});
  return status;
}}
"""


def _memory(packs: Sequence[str], size: int) -> str:
    """Bytes of memory; call it first, once: it packs the kernels."""
    once = ["static int packed;", "if (!packed) {", *(f"  {call}" for call in packs), "  packed = 1;", "}"] if packs else []
    return f"""
size_t tae_run_memory(void)
{{
{_where_tiled(once)}  return sizeof(tae_arena) > {size} ? sizeof(tae_arena) : {size};
}}
"""


def _where_tiled(lines: Sequence[str]) -> str:
    return f"#ifdef TAE_TILES\n{indented(lines)}\n#endif\n" if lines else ""


def _tiles(signature: str, network: Network) -> list[str]:
    """Lines that run whole tiles, and leave the index of the next sample."""
    ends = {"encode": "x + i * TAE_INPUTS, code + i * TAE_UNITS", "decode": "code + i * TAE_UNITS, y + i * TAE_INPUTS"}
    code, check = network.program.quantization("code"), []
    if signature == "decode" and code.bits < 8:
        check = ["for (i = 0; i < count * TAE_UNITS; i++)", f"  if (code[i] > {code.top}) return TAE_CODE;"]
    calls = [f"  tae_tiles_{half}({ends[half]}, memory);" for half in HALVES[signature]]
    return [*check, f"for (i = 0; i + {TILE} <= count; i += {TILE}) {{", *calls, "}"]


def _half(half: Half, network: Network, stride: int) -> str:
    sizes = {name: each.shape[0] for name, each in network.program.tensors.items()}
    inputs, outputs = sizes[half.source], sizes[half.output]
    calls = [
        f"{_name('tile', call.step.function)}({'ba'[i % 2 == 0]}, {'ba'[i % 2]}, sums);" for i, call in enumerate(half.calls)
    ]
    last = "ab"[len(calls) % 2]
    return f"""
static void tae_tiles_{half.signature}(const uint8_t *x, uint8_t *y, uint8_t *memory)
{{
  uint8_t *const a = memory, *const b = memory + {TILE * stride};
  int32_t *const sums = (int32_t *)(void *)(memory + {2 * TILE * stride});
  size_t i;
  for (i = 0; i < {TILE}; i++) memcpy(a + i * {stride}, x + i * {inputs}, {inputs});
{indented(calls)}
  for (i = 0; i < {TILE}; i++) memcpy(y + i * {outputs}, {last} + i * {stride}, {outputs});
}}
"""


def _step(call: PlacedStep, stride: int) -> str:
    """A step of the model's own text on each sample of a tile."""
    sums = ", sums" if call.step.scratch else ""
    return f"""
static void {_name("tile", call.step.function)}(const uint8_t *x, uint8_t *y, int32_t *sums)
{{
  size_t i;
  (void)sums;
  for (i = 0; i < {TILE}; i++) {call.step.function}(x + i * {stride}, y + i * {stride}{sums});
}}
"""


def _packed(call: PlacedStep, product: CProduct) -> str:
    """A kernel in the order of the instruction: of 16 outputs each, of 4 inputs each, these 64 values."""
    kernel, name = product.kernel, call.step.function
    quads, packed, begin = _quads(product), _name("packed", name), _name("begin", name)
    row = f"const int8_t *const row = {kernel.name} + i * {kernel.kernel.units};"
    if kernel.layout == "packed":
        row = f"int8_t row[{kernel.scratch}]; {kernel.name}_row(i, row);"
    source, target = ("j", "i") if product.transposed else ("i", "j")
    place = f"({target} / {LANES} * {quads} + {source} / {QUAD}) * {VECTOR} + {target} % {LANES} * {QUAD} + {source} % {QUAD}"
    biases = f"for (j = 0; j < {product.shape[1]}; j++) {begin}[j] = {product.biases}[j];" if product.biases else ""
    return f"""
static int8_t {packed}[{_blocks(product) * quads * VECTOR}] __attribute__((aligned({VECTOR})));
static int32_t {begin}[{_blocks(product) * LANES}] __attribute__((aligned({VECTOR})));

static void {_name("pack", name)}(void)
{{
  size_t i, j;
  {biases}
  for (i = 0; i < {kernel.kernel.inputs}; i++) {{
    {row}
    for (j = 0; j < {kernel.kernel.units}; j++) {packed}[{place}] = row[j];
  }}
}}
"""


def _product(call: PlacedStep, product: CProduct, stride: int) -> str:
    name, quads, blocks = call.step.function, _quads(product), _blocks(product)
    dots, wide = [], blocks - blocks % WIDE
    for first, last, width in ((0, wide, WIDE), (wide, blocks, 1)):
        if first < last:
            places = f"{_name('packed', name)} + i * {quads * VECTOR}, {_name('begin', name)} + i * {LANES}"
            arguments = f"x, {quads}, {places}, sums + i * {LANES}, {blocks * LANES}"
            dots.append(f"for (i = {first}; i < {last}; i += {width}) tae_dots_{width}({arguments});")
    rounded = [*loop(product.name, product.rounding, product.shape[1]), *unit_exceptions(product.rounding)]
    return f"""
static void {_name("tile", name)}(const uint8_t *restrict x, uint8_t *restrict y, int32_t *restrict sums)
{{
  size_t i, j;
{indented(dots)}
  for (i = 0; i < {TILE}; i++, sums += {blocks * LANES}, y += {stride}) {{
{indented(rounded, 4)}
  }}
}}
"""


def _dots(width: int, stride: int) -> str:
    """The sums of a tile for `width` vectors of outputs; `sums` of the next sample are `step` further."""
    samples, vectors = range(TILE), range(width)
    held = [f"a{n}{v} = _mm512_load_si512(begin + {LANES * v})" for n in samples for v in vectors]
    read = [f"w{v} = _mm512_load_si512(w + {v} * quads * {VECTOR})" for v in vectors]
    added = [" ".join(f"TAE_ADD(a{n}{v}, q{n}, w{v});" for v in vectors) for n in samples]
    quads = ", ".join(f"q{n} = tae_quad(x + {n * stride})" for n in samples)
    stored = [f"_mm512_storeu_si512(sums + {n} * step + {LANES * v}, a{n}{v});" for n in samples for v in vectors]
    return f"""
static void tae_dots_{width}(
  const uint8_t *restrict x, size_t quads, const int8_t *restrict w, const int32_t *begin, int32_t *restrict sums, size_t step)
{{
  size_t k;
  __m512i {", ".join(held)};
  for (k = 0; k < quads; k++, x += {QUAD}, w += {VECTOR}) {{
    const __m512i {", ".join(read)};
    const __m512i {quads};
{indented(added, 4)}
  }}
{indented(stored)}
}}
"""


def _name(part: str, function: str) -> str:
    return function.replace("tae_step_", f"tae_{part}_")


def _quads(product: CProduct) -> int:
    return -(-product.shape[0] // QUAD)


def _blocks(product: CProduct) -> int:
    return -(-product.shape[1] // LANES)
