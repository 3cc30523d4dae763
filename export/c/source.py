"""A program as one C file: `to_c`.

The kernel lies once in read-only memory, as in the program, [inputs, units], and both directions read its rows in place. C99
with stdint.h and stddef.h alone: no floats, no allocation, no right shift of a negative value. docs/guides/c.md has the files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tiedae.base.errors import ExportError, InputError
from tiedae.program.program import SIGNATURES, Program
from tiedae.program.scoring import Detector

from .builder import CBuilder
from .codec_source import DIRECTIONS, PROMISES, CodecText, Direction, Promise, SampleCodec, codec_text
from .entries import Half, Network, halves_of, network_text, signatures_of
from .floats import float_text
from .header import header_text
from .kernels import STORAGES, Storage
from .memory import aligned, plan
from .operations import C_OPERATIONS
from .rounding import FORMS, Form
from .samples import DataUnit
from .text import identifier, named, part


@dataclass(frozen=True)
class CSource:
    """NAME.c, NAME.h and NAME_float.h, texts; `name` is the C identifier that their names begin with.

    `signatures`: what they hold of `C_SIGNATURES`.
    `arena`: bytes; `kernel_bytes`: those of the stored kernels. `forms`: that of each rounding, by the tensor that it writes.
    """

    name: str
    source: str
    header: str
    floats: str
    arena: int
    forms: Mapping[str, Form]
    kernel_bytes: int = 0
    signatures: tuple[str, ...] = SIGNATURES

    @property
    def files(self) -> dict[str, str]:
        """The texts by file name."""
        return {f"{self.name}.c": self.source, f"{self.name}.h": self.header, f"{self.name}_float.h": self.floats}


def to_c(
    program: Program,
    *,
    storage: Storage = "dense",
    signatures: Collection[str] | None = None,
    unit: DataUnit | None = None,
    detector: Detector | None = None,
    codec: SampleCodec | None = None,
    promises: Collection[Promise] = PROMISES,
    forms: Sequence[Form] = FORMS,
) -> CSource:
    """An integer program as C; it computes the program's integers, all of them.

    `storage`: how kernels are stored, see `kernels`. `signatures` of `C_SIGNATURES`, by default all, `score` with a detector:
    a file of `encode` or `decode` alone has that half, one of `score` alone gives no samples and has no codec. `unit`: the
    data's, for functions that take and give integer samples; `detector`, which needs it: for `score`; `codec`, which needs it
    too: for .tae files of the kinds `promises`, see `codec_source`; without the decoder, lossy ones alone. `forms`: the forms
    of rounding that it may have, see `rounding`.

    Raises InputError for a signature that is unknown or needs a detector, ExportError for a float program, another storage,
    sums that 32 bits do not hold.
    """
    held = signatures_of(signatures, detector)
    if not program.quantized:
        raise ExportError(f"program {program.name}: C holds integer programs, got a float one")
    if storage not in STORAGES:
        raise ExportError(f"storage: got {storage!r}, must be one of {', '.join(STORAGES)}")
    if unit is not None and unit.spec.dtype == "float16":
        raise ExportError("data of float16: C has no such type; convert them to float32 and train again")
    if unit is None and (codec is not None or detector is not None):
        raise InputError("unit: got none, a codec and a detector need that of the data")
    graph, halves = CBuilder(program, storage, forms), []
    sizes = {name: each.size for name, each in program.tensors.items()}
    for half in halves_of(held):
        start, (operations, source, (output,)) = len(graph.steps), program.part(half)
        for operation in operations:
            C_OPERATIONS.write(graph, operation)
        calls, memory = plan(graph.steps[start:], sizes, source, output)
        halves.append(Half(half, source, output, calls, aligned(memory)))
    network = Network(program, held, halves, unit, detector)
    name, files = identifier(program.name), CodecText("", "")
    directions: list[Direction] = [each for each in DIRECTIONS if each in held]
    if codec is not None and unit is not None and directions:
        wanted: Collection[Promise] = (
            promises if network.restores else ("lossy",)
        )  # residuals are coded against decoded samples
        files = codec_text(unit.spec, codec, directions=directions, promises=wanted)
    vectors = [part("x86.c"), part("wasm.c")] if any("TAE_LANES" in text for text in graph.text) else []
    source = "\n".join([f'#include "{name}.h"\n', *vectors, *graph.text, network_text(network), files.source])
    header, floats = header_text(network, graph, files.header), float_text(network)
    kinds: Mapping[str, Form] = {tensor: rounding.form for tensor, rounding in graph.roundings.items()}
    source, header, floats = named(source, name), named(header, name), named(floats, name)
    return CSource(name, source, header, floats, network.arena, kinds, graph.kernel_bytes, held)
