"""Stores equal and transposed constants of any .onnx file once.

Equal constants become one initializer. A transposed duplicate is removed if its operation can read the original: `Gemm` and its
variants have a flag, a `MatMul` of matrices becomes a `Gemm`, a dequantized kernel keeps its own `DequantizeLinear` over the
shared integers, so that ONNX Runtime fuses it as before. Other readers get a `Transpose` or `Reshape` of the original, which
ONNX Runtime folds at load (from ORT_ENABLE_BASIC on): the file shrinks, the memory does not.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tiedae.base.errors import ExportError
from tiedae.export.duplicates import MINIMUM, Duplicate, copies
from tiedae.export.model_file import Contents
from tiedae.export.onnx.reader import open_onnx

from .equivalence import Kept, Merged, Shared
from .onnx_graph import OnnxGraph, Stored
from .onnx_merge import apart, detours, find_view, merge, promote, reach
from .share_onnx_near import merge_near
from .transpose_rules import View

MOST = 2
"""Maximum size of the result, as a multiple of the file's: alignment of external data adds far less."""


def share_onnx(path: Path, *, name: str, tolerance: float | None = None, minimum: int = MINIMUM) -> Shared:
    """Rewrite an .onnx file so that each constant is stored once.

    Each duplicate of `copies(contents, minimum)` is merged or kept with a reason; nothing else is merged. `name`: file name of
    the result; external data, if the source has some, is NAME.data. `tolerance`, in quantization steps, also merges kernels
    whose dequantized values differ by no more (`share_onnx_near`). Raises FormatError as `open_onnx` does, ExportError for
    external data of a tensor that is no constant, and for constants that overlap there.
    """
    opened = open_onnx(path)
    contents = opened.contents
    found = copies(contents, minimum)
    graph = OnnxGraph(opened)
    if graph.model.training_info:
        reason = "the file has training information, which refers to its constants by name"
        outcomes: list[Merged | Kept] = [Kept(duplicate.name, duplicate.original, reason) for duplicate in found]
    else:
        outcomes = [*_merge_equal(graph, contents, [each for each in found if _same_bytes(each)])]
        outcomes += merge_near(graph, [each for each in found if not _same_bytes(each)], tolerance)
    merged = tuple(each for each in outcomes if isinstance(each, Merged))
    kept = tuple(each for each in outcomes if isinstance(each, Kept))
    if not merged and not graph.external:
        return Shared(path.read_bytes(), merged, kept)
    data, external = graph.to_bytes(name)
    shared = Shared(data, merged, kept, external)
    if external and shared.size > MOST * opened.size:
        raise ExportError(f"{path}: its constants overlap in external data; apart they would have {shared.size:,} bytes")
    return shared


def _same_bytes(duplicate: Duplicate) -> bool:
    return duplicate.relation != "near" and duplicate.by == "bytes"


def _merge_equal(graph: OnnxGraph, contents: Contents, found: Sequence[Duplicate]) -> Iterator[Merged | Kept]:
    """Merge duplicates of equal bytes: an outcome for each.

    Other views of a duplicate's storage, which `copies` does not list, are merged too, so that nothing reads it any more.
    """
    views: dict[str, dict[str, None]] = defaultdict(dict)
    for constant in contents.constants:
        views[constant.storage][constant.name] = None
    duplicates: dict[str, list[Duplicate]] = defaultdict(list)
    for duplicate in found:
        duplicates[duplicate.original].append(duplicate)
    for original, copied in duplicates.items():
        names = {original: None} | {duplicate.name: None for duplicate in copied}
        fixed = {name: _fixed(graph, name) for name in names}
        yield from (Kept(name, original, reason) for name, reason in fixed.items() if reason and name != original)
        more = {name: None for duplicate in copied for name in views[duplicate.storage] if name not in names}
        first = graph.resolve(original)
        for group in _by_reach(graph, [name for name in (*names, *more) if not (fixed.get(name) or _fixed(graph, name))]):
            label = group[0].label
            if label != original and label in names:
                yield Kept(label, original, fixed[original] or (apart(graph, first, group[0]) if first else ""))
            yield from (each for each in _merge_group(graph, group) if each.name not in more)


def _fixed(graph: OnnxGraph, name: str) -> str:
    """Reason why a constant can be no original and no duplicate; empty if none."""
    stored = graph.resolve(name)
    if stored is None:
        return f"{name} is no dense initializer or Constant tensor"
    return f"{name} is also a graph input: the caller may pass another value" if stored.overridable else ""


def _by_reach(graph: OnnxGraph, names: Sequence[str]) -> Iterator[list[Stored]]:
    """Constants by the scope where one of them can replace the others."""
    groups: dict[int, list[Stored]] = defaultdict(list)
    for stored in map(graph.resolve, names):
        if stored:
            groups[id(reach(graph, stored))].append(stored)
    yield from groups.values()


def _merge_group(graph: OnnxGraph, group: Sequence[Stored]) -> Iterator[Merged | Kept]:
    """Merge constants into the one that needs the fewest `Transpose` and `Reshape` nodes."""
    originals = sorted(group, key=lambda stored: (stored.node is not None, len(stored.scope.line)))
    candidates: dict[tuple[int, ...], list[tuple[Stored, dict[str, View]]]] = defaultdict(list)
    for stored in originals:
        held = candidates[stored.values.shape]
        if not any((view := views.get(stored.label)) and view.same for _, views in held):
            held.append((stored, _views_of(stored, group)))

    def cost(candidate: tuple[Stored, dict[str, View]]) -> tuple[int, int]:
        """(duplicates that would stay, operations added)."""
        views = candidate[1]
        return len(group) - len(views), sum(detours(graph, graph.labels[label], view) for label, view in views.items())

    original, views = min((each for held in candidates.values() for each in held), key=cost)
    copied = [stored for stored in group if stored is not original]
    label = original.label
    original = promote(graph, original, [stored.scope for stored in copied if stored.label in views])
    for stored in copied:
        if stored.label in views:
            yield dataclasses.replace(merge(graph, original, stored, views[stored.label]), original=label)
        else:
            yield Kept(stored.label, label, "no Transpose or Reshape gives the order of its values")


def _views_of(original: Stored, group: Sequence[Stored]) -> dict[str, View]:
    """The views of the original that equal the others, by label."""
    found = ((each.label, find_view(original.values, each.values)) for each in group if each is not original)
    return {label: view for label, view in found if view is not None}
