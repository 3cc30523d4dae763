"""Stores equal and transposed-equal constants of an .onnx file once, whoever wrote it.

Equal constants become one initializer that all read. A transposed one goes where its operation can read the original: `Gemm`
and its relatives have a flag for it, a `MatMul` of matrices becomes a `Gemm`, a dequantized kernel keeps a `DequantizeLinear`
of its own over the same integers, so that ONNX Runtime fuses it as before. Whatever else reads a duplicate gets it through a
`Transpose` or `Reshape` of the original, which ONNX Runtime folds when it loads the file (from ORT_ENABLE_BASIC on): the file
shrinks, the memory does not.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..formats.duplicates import CANDIDATES, Duplicate, copies, tells
from ..formats.onnx_reader import open_onnx
from ..formats.reals import as_bits
from .equivalence import Kept, Merged, Shared
from .onnx_graph import OnnxGraph, Stored
from .onnx_merge import detours, find_view, merge, promote
from .share_onnx_near import merge_near
from .transpose_rules import View


def share_onnx(path: Path, *, name: str, tolerance: float | None = None) -> Shared:
    """Rewrite an .onnx file so that what it stores twice is stored once.

    `name` is the file name that the result will have: external data, which it has where the source has some, lies beside it as
    NAME.data. With `tolerance`, in quantization steps, kernels that are dequantized from nearly equal integers are merged too,
    if none of their values moves further (`share_onnx_near`).

    Only constants of some size are merged (`duplicates.SEARCHED`). Raises FormatError for a file that `open_onnx` refuses,
    ExportError for external data of what is not a constant.
    """
    opened = open_onnx(path)
    found = copies(opened.contents)
    graph = OnnxGraph(opened)
    outcomes: list[Merged | Kept] = []
    if not graph.model.training_info:
        for group in _groups(graph):
            outcomes += _merge_group(graph, group)
        if tolerance is not None:
            outcomes += merge_near(graph, [duplicate for duplicate in found if duplicate.relation == "near"], tolerance)
    merged = tuple(each for each in outcomes if isinstance(each, Merged))
    kept = [each for each in outcomes if isinstance(each, Kept)]
    reported = {each.name for each in outcomes}
    for duplicate in found:
        if not reported & {duplicate.name, duplicate.original}:
            kept.append(Kept(duplicate.name, duplicate.original, _reason(graph, duplicate, tolerance)))
    if not merged and not graph.external:
        return Shared(path.read_bytes(), merged, tuple(kept))
    data, external = graph.to_bytes(name)
    return Shared(data, merged, tuple(kept), external)


def _groups(graph: OnnxGraph) -> Iterator[list[Stored]]:
    """Constants that may be duplicates: of one graph or function, of equal type, with equal bits in some order."""
    groups: dict[tuple[int, int, int, int], list[Stored]] = defaultdict(list)
    for stored in graph.constants:
        if not stored.overridable and tells(stored.values) and stored.values.dtype.itemsize <= 8:
            total = int(as_bits(stored.values).sum(dtype=np.uint64))
            key = id(stored.scope.line[-1]), stored.tensor.data_type, stored.values.size, total
            groups[key].append(stored)
    for alike in groups.values():
        layouts: dict[bytes, list[Stored]] = defaultdict(list)
        for stored in alike if len(alike) > 1 else ():
            layouts[hashlib.blake2b(np.ascontiguousarray(as_bits(stored.values)).data).digest()].append(stored)
        left = list(layouts.values())[:CANDIDATES]
        while left:
            turned = [find_view(left[0][0].values, each[0].values) is not None for each in left]
            group = [stored for each, same in zip(left, turned, strict=True) if same for stored in each]
            left = [each for each, same in zip(left, turned, strict=True) if not same]
            if len(group) > 1:
                yield group


def _merge_group(graph: OnnxGraph, group: Sequence[Stored]) -> Iterator[Merged | Kept]:
    """Merge constants of equal values, up to the order of axes, into the one that the fewest uses would need turned."""
    originals = sorted(group, key=lambda stored: (stored.node is not None, len(stored.scope.line)))
    candidates: list[Stored] = []
    for stored in originals:
        if not any(_view(each, stored).same for each in candidates):
            candidates.append(stored)
    original = min(
        candidates,
        key=lambda stored: sum(
            detours(graph, duplicate, _view(stored, duplicate)) for duplicate in group if duplicate is not stored
        ),
    )
    copied = [stored for stored in group if stored is not original]
    original = promote(graph, original, [stored.scope for stored in copied])
    for stored in copied:
        yield merge(graph, original, stored, _view(original, stored))


def _view(original: Stored, duplicate: Stored) -> View:
    view = find_view(original.values, duplicate.values)
    assert view is not None, f"{duplicate.name} is a duplicate of {original.name}"
    return view


def _reason(graph: OnnxGraph, duplicate: Duplicate, tolerance: float | None) -> str:
    """Why a duplicate that the search finds was not merged."""
    pair = [stored for stored in map(graph.resolve, (duplicate.name, duplicate.original)) if stored]
    if graph.model.training_info:
        return "the file holds training information, which names its constants"
    for stored in pair:
        if stored.overridable:
            return f"{stored.label} is an input of the graph too: the caller may give another value"
    if len({id(stored.scope.line[-1]) for stored in pair}) > 1:
        return "a local function reads no constant from outside"
    if len(pair) < 2:
        return "it is no dense initializer or Constant tensor"
    if duplicate.relation == "near" and tolerance is None:
        return "near, not equal: --near STEPS would merge it"
    if duplicate.by == "values":
        return "equal in value, stored as other bytes"
    return "its values are in no order that Transpose or Reshape gives"
