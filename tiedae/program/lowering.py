"""Lowering: from a trained model to its program, one row of `LOWERINGS` per kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tiedae.base.errors import ExportError

from .construction import Lowering
from .lowering_convolution import decode_convolution, encode_convolution
from .lowering_dense import decode_dense, encode_dense
from .operations import Interleave, Operation, Requantize
from .program import Program

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.quantizers import DecoderLayout


def lower(model: TiedAutoencoder, name: str, *, layout: DecoderLayout) -> Program:
    """The program of a model: an integer program if it has quantizers, else a float program.

    `layout` is that of the decoder (see `program`). Kernels, encoder and code are the same in both layouts.
    Raises ExportError if an int32 accumulator could overflow, a kernel breaks its pair limit, kernels are quantized but
    activations are not, or a kind of layer has no row in `LOWERINGS`.
    """
    if model.quantized and model.quantizers is None:
        raise ExportError("the model has quantized kernels but float activations, must have both quantized or both float")
    lowering = Lowering(model, layout)
    program = Program(name, lowering.tensors, lowering.kernels, *operations_of(lowering), lowering.constants)
    config = model.config
    return program if config.interleave in (1, config.size) else interleave(program, config.interleave)


def operations_of(lowering: Lowering) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """The operations of the encoder and of the decoder."""
    model = lowering.model
    kinds = [layer.kind for layer in model.config.layers]
    for kind in kinds:
        if kind not in LOWERINGS:
            raise ExportError(f"layers of kind {kind} have no lowering, must be one of {', '.join(LOWERINGS)}")
    encoder, decoder, source = [], [], lowering.tensor("x", model.config.shape)
    for kind, layer in zip(kinds, model.encoder.stack, strict=True):
        encoder += LOWERINGS[kind].encode(lowering, layer, source)
        source = layer.tensor_name
    for kind, layer in zip(reversed(kinds), model.decoder.stack, strict=True):
        decoder += LOWERINGS[kind].decode(lowering, layer, source)
        source = layer.tensor_name
    return tuple(encoder), tuple(decoder)


@dataclass(frozen=True)
class LayerLowering:
    """Both directions of a kind of layer: (lowering, layer, input tensor) → operations.

    The last operation writes the layer's output, named `layer.tensor_name`.
    """

    encode: Callable[[Lowering, Any, str], list[Operation]]
    decode: Callable[[Lowering, Any, str], list[Operation]]


CONVOLUTION = LayerLowering(encode_convolution, decode_convolution)
LOWERINGS: dict[str, LayerLowering] = {
    "dense": LayerLowering(encode_dense, decode_dense),
    "conv1d": CONVOLUTION,
    "conv2d": CONVOLUTION,
}
"""One row per row of `tiedae.config.layer_kinds.LAYER_KINDS`."""


def interleaved_parts(program: Program) -> int:
    """The groups of the first kernel's interleaving; 1 if its rows are in the order of x."""
    first = program.encoder[0]
    return first.ways if isinstance(first, Interleave) else 1


def interleave(program: Program, groups: int) -> Program:
    """A program for interleaved samples as a program for samples in their own order.

    The output's order is restored before a final `Requantize`, which a file can merge with the conversion of its output.
    """
    ahead = -1 if isinstance(program.decoder[-1], Requantize) else len(program.decoder)
    body, tail = program.decoder[:ahead], program.decoder[ahead:]
    renamed = {name: f"{name}.interleaved" for name in ("x", body[-1].y)}
    encoder = (replace(program.encoder[0], x=renamed["x"]), *program.encoder[1:])
    body = (*body[:-1], replace(body[-1], y=renamed[body[-1].y]))
    back = Interleave(body[-1].y, tail[0].x if tail else "y", program.tensors["x"].size // groups)
    return replace(
        program,
        tensors={**program.tensors, **{new: replace(program.tensors[old], name=new) for old, new in renamed.items()}},
        encoder=(Interleave("x", renamed["x"], groups), *encoder),
        decoder=(*body, back, *tail),
    )
