"""`tiedae inspect` of a model that somebody else trained: its layers, constants and pairs, and what an import would refuse."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiedae.base.errors import InputError, listed
from tiedae.compress.imports.chain import (
    Affine,
    BatchNorm,
    Chain,
    ChainArray,
    ChainFunction,
    ChainLayer,
    ChainProduct,
    ChainReshape,
    Refused,
)
from tiedae.compress.imports.convolutions import ChainConvolution, ChainPool, ChainTranspose, ChainUpsample
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.compress.imports.pairs import TIES, Pair, pairs
from tiedae.compress.imports.places import with_shapes
from tiedae.compress.imports.refusals import refusals


def inspect_model(path: Path) -> dict[str, Any]:
    """Describe a model as JSON: layers, constants with bytes, pairs of kernels, what an import refuses. No code of it runs.

    Constants that are one variable are listed once. Raises FormatError for a damaged file, and NotInstalledError where the
    package that reads it is missing.
    """
    chain = read_model(path)
    constants = {array.variable: array for layer in chain.layers for array in _arrays(layer)}
    return {
        "file": path.name,
        "format": chain.format,
        "bytes": _size(path),
        "constant_bytes": sum(map(_bytes, constants.values())),
        "sample": list(chain.shape),
        "layers": [_layer(layer) for layer in chain.layers],
        "left_out": list(chain.left_out),
        "constants": [_constant(array) for array in sorted(constants.values(), key=_bytes, reverse=True)],
        **_findings(chain),
    }


def graph_pairs(path: Path) -> dict[str, Any]:
    """Pairs, refusals and warnings of an .onnx file that `inspect_file` describes; no pairs, and why, where it is no chain."""
    from tiedae.compress.imports.onnx_chain import chain_of_proto
    from tiedae.export.onnx.reader import open_onnx

    opened = open_onnx(path)
    try:
        return _findings(chain_of_proto(path, opened.model, lambda tensor: opened.data.load(tensor, tensor.name)[0]))
    except InputError as error:
        return {"pairs": [], "refused": [str(error)], "warnings": []}


def _findings(chain: Chain) -> dict[str, Any]:
    found = pairs(chain)
    return {
        "pairs": [asdict(pair) | {"text": pair.text} for pair in found],
        "refused": _refused(chain, [pair for pair in found if pair.status not in TIES]),
        "warnings": _warnings(chain),
    }


def untied(row: dict[str, Any]) -> str | None:
    """Why `--fail-on-untied` fails for what `inspect` found of a file; None where it does not.

    An assumed tie passes, an unknown one fails. Raises InputError for an exported file, whose constants are no variables.
    """
    if "pairs" not in row:
        raise InputError(
            f"--fail-on-untied {row['file']}: got a {row['format']} file, must be a trained model; "
            "--fail-on-copies finds what this one stores twice"
        )
    if not row["pairs"]:
        return "; ".join(["no kernel mirrors another", *row["refused"]])
    return "; ".join(pair["text"] for pair in row["pairs"] if pair["status"] not in TIES) or None


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _arrays(layer: ChainLayer) -> list[ChainArray]:
    """The arrays of a layer."""
    if isinstance(layer, Refused):
        return list(layer.weights.values())
    return [value for value in vars(layer).values() if isinstance(value, ChainArray)]


def _bytes(array: ChainArray) -> int:
    import numpy as np

    return array.size * np.dtype(array.dtype).itemsize


def _constant(array: ChainArray) -> dict[str, Any]:
    return {"name": array.variable, "dtype": array.dtype, "shape": list(array.shape), "bytes": _bytes(array)}


def _layer(layer: ChainLayer) -> dict[str, Any]:
    refused = layer.reason if isinstance(layer, Refused) else None
    return {"name": layer.name, "class": layer.class_name, "computes": _computes(layer), "refused": refused}


def _computes(layer: ChainLayer) -> str:
    """What a layer computes, in some words."""
    match layer:
        case ChainProduct():
            inputs, units = layer.widths
            kind = "product" if not isinstance(layer, ChainConvolution) else "convolution, as a product"
            extras = {"bias": layer.bias, "mask": layer.mask, "subtracts a vector first": layer.before}
            parts = [f"{kind} {inputs} → {units}", *(name for name, array in extras.items() if array is not None)]
            return ", ".join([*parts, f"the transposed kernel {layer.kernel.variable}"] if layer.transposed else parts)
        case ChainFunction():
            return layer.function
        case Affine():
            return "scale and offset"
        case BatchNorm():
            return "batch normalization"
        case ChainReshape():
            return f"reshape to {list(layer.shape)}"
        case ChainPool():
            return f"max pooling by {list(layer.window.sizes)}"
        case ChainUpsample():
            return f"upsampling by {list(layer.sizes)}"
        case ChainTranspose():
            return f"axes in the order {list(layer.order)}"
    return ""


def _refused(chain: Chain, untied: Sequence[Pair]) -> list[str]:
    """Every reason for which an import refuses, layers of one class and reason together."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for layer in chain.layers:
        if isinstance(layer, Refused):
            names[layer.class_name, layer.reason].append(layer.name)
    texts = [f"{listed(list(dict.fromkeys(group)))} ({kind}): {reason}" for (kind, reason), group in names.items()]
    return [*texts, *refusals(chain), *([f"{len(untied)} of its pairs, which are not tied{_way(chain)}"] if untied else [])]


def _way(chain: Chain) -> str:
    """How a chain whose pairs are not tied becomes a tied one; empty where it does not."""
    try:
        found = mirror(chain, tie=None)
    except InputError:
        return ""
    do = "makes one kernel of each pair, without training" if found.merged else "would tie it"
    return f"; `[model] tie = true` {do}"


def _warnings(chain: Chain) -> list[str]:
    """What a user should know of a model that can be read."""
    size = math.prod(chain.shape)
    warnings = [
        *chain.notes,
        *([f"left out, without effect outside training: {', '.join(chain.left_out)}"] if chain.left_out else []),
    ]
    sizes = [math.prod(layer.output(shape)) for layer, shape in with_shapes(chain.layers, chain.shape)]
    products = [size for size, layer in zip(sizes, chain.layers, strict=True) if isinstance(layer, ChainProduct)]
    if products and chain.shape and (code := products[(len(products) - 1) // 2]) >= size:
        warnings.append(f"its code of {code} values is no smaller than a sample of {size}")
    return warnings
