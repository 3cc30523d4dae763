"""Merges one constant into another: their relation, obstacles, and the edit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tiedae.export.duplicates import Order
from tiedae.export.onnx.scopes import kind
from tiedae.export.reals import MAX_AXES, same_bits

from .equivalence import Kept, Merged
from .onnx_graph import OnnxGraph, Scope, Stored
from .transpose_rules import View, plan

MOVABLE = frozenset(
    ("float16", "float32", "float64", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
"""Types that every version of `Transpose` and `Reshape` supports."""


def find_view(original: np.ndarray, duplicate: np.ndarray) -> View | None:
    """The view of the original that equals the duplicate byte for byte; None if there is none."""
    for view in views(original.shape, duplicate.shape):
        if same_bits(original.transpose(view.perm).reshape(duplicate.shape), duplicate):
            return view
    return None


def views(original: tuple[int, ...], duplicate: tuple[int, ...]) -> list[View]:
    """All views of one shape that have the other shape, simplest first."""
    identity = tuple(range(len(original)))
    found = [View(identity, None if original == duplicate else duplicate)]
    axes = [axis for axis in identity if original[axis] != 1]
    lengths = tuple(length for length in duplicate if length != 1)
    if len(axes) > MAX_AXES or len(axes) != len(lengths):
        return found
    units = [axis for axis in identity if original[axis] == 1]
    for order in itertools.permutations(axes):
        if list(order) == axes or tuple(original[axis] for axis in order) != lengths:
            continue
        if len(original) == len(duplicate):
            wide, narrow = iter(order), iter(units)
            found.append(View(tuple(next(narrow) if length == 1 else next(wide) for length in duplicate)))
        else:
            found.append(View((*order, *units), duplicate))
    return found


def relation(view: View) -> Order:
    if view.same:
        return "equal"
    return "reshaped" if view.in_order else "transposed"


def detours(graph: OnnxGraph, duplicate: Stored, view: View) -> int:
    """Number of uses of a duplicate that need a `Transpose` or `Reshape` of the original."""
    given = duplicate.name in duplicate.scope.outputs and not view.same
    return given + sum(plan(graph, use, view) is None for use in graph.uses(duplicate.scope, duplicate.name))


def merge(graph: OnnxGraph, original: Stored, duplicate: Stored, view: View) -> Merged | Kept:
    """Let all readers of `duplicate` read `original` through `view`, and remove the duplicate; or return why not.

    The original must be visible to the duplicate's readers (`promote`).
    """
    if reason := obstacle(graph, original, duplicate, view):
        return Kept(duplicate.label, original.label, reason)
    hows: dict[str, None] = {}
    for use in graph.uses(duplicate.scope, duplicate.name):
        switch = plan(graph, use, view)
        if switch is None:
            operation = "Reshape" if view.in_order else "Transpose"
            hows[f"{operation} of the original, folded at load (from ORT_ENABLE_BASIC on): in memory twice"] = None
            graph.connect(use, _derived(graph, original, view))
        else:
            hows[switch.how] = None
            switch.apply(original.name)
    graph.discard(duplicate)
    graph.moved[duplicate.label] = original.label
    if view.same:
        duplicate.scope.renamed[duplicate.name] = original.name
    if duplicate.name in duplicate.scope.outputs:
        hows["an output of the graph: Identity of the original"] = None
        graph.insert(duplicate.scope, "Identity", [_derived(graph, original, view)], duplicate.name)
        duplicate.scope.stale.discard(duplicate.name)
    return Merged(
        duplicate.label, original.label, relation(view), "; ".join(hows) or "nothing reads it", duplicate.values.nbytes
    )


def obstacle(graph: OnnxGraph, original: Stored, duplicate: Stored, view: View) -> str:
    """Reason why a duplicate must stay; empty if none."""
    uses = graph.uses(duplicate.scope, duplicate.name)
    if any(use.node.device_configurations for use in uses):
        return "a device configuration refers to it by name"
    needs_node = duplicate.name in duplicate.scope.outputs or any(plan(graph, use, view) is None for use in uses)
    if needs_node and _added(graph, original, view) >= duplicate.values.nbytes + len(duplicate.name):
        return "a Transpose or Reshape of the original would take as many bytes"
    if needs_node and not duplicate.scope.opset:
        return "the file imports no ONNX operators that could transpose it"
    if needs_node and not view.same and duplicate.values.dtype.name not in MOVABLE:
        return f"Transpose and Reshape do not support {duplicate.values.dtype.name} in every version"
    if needs_node and view.shape is not None and duplicate.scope.opset < 5:
        return f"Reshape to a constant shape needs opset 5, the file has {duplicate.scope.opset}"
    return ""


def _added(graph: OnnxGraph, original: Stored, view: View) -> int:
    """About how many bytes the nodes of `_derived` add to the file."""
    if view.same or (original.label, view.perm, view.shape) in graph.derived:
        return 0
    name = len(original.name)
    transpose = 0 if view.in_order else 3 * name + 60
    return transpose + (0 if view.shape is None else 5 * name + 80 + 8 * len(view.shape))


def reach(graph: OnnxGraph, stored: Stored) -> Scope:
    """The outermost scope that a constant can move to: its graph or function, or its own scope where it must stay."""
    return stored.scope if _is_dequantized_inside(graph, stored.scope, stored.name) else stored.scope.line[-1]


def apart(graph: OnnxGraph, one: Stored, other: Stored) -> str:
    """Reason why two constants cannot be one: no scope would see it; empty if one does."""
    scopes = reach(graph, one), reach(graph, other)
    if scopes[0] is scopes[1]:
        return ""
    if any(scope.parent for scope in scopes):
        return "ONNX Runtime does not load a DequantizeLinear of a nested graph whose constants lie outside"
    return "a local function reads no constant from outside"


def _is_dequantized_inside(graph: OnnxGraph, owner: Scope, name: str) -> bool:
    """Whether a `DequantizeLinear` of a nested graph reads a value, itself or through `Identity`."""
    waiting, seen = [(owner, name)], {(owner, name)}
    while waiting:
        for use in graph.uses(*waiting.pop()):
            if kind(use.node) == "DequantizeLinear" and use.scope.parent is not None:
                return True
            made = {(use.scope, each) for each in use.node.output if kind(use.node) == "Identity"}
            waiting += made - seen
            seen |= made
    return False


def promote(graph: OnnxGraph, stored: Stored, readers: Sequence[Scope]) -> Stored:
    """Move a constant to a scope that all readers see, as an initializer or a node before the others."""
    scope = next(each for each in stored.scope.line if all(each in reader.line for reader in readers))
    hidden = any(stored.name in each.defined for each in graph.scopes if each is not stored.scope and scope in each.line)
    if stored.scope is scope and stored.node is None and not hidden:
        return stored
    uses = graph.uses(stored.scope, stored.name)
    output = stored.name in stored.scope.outputs
    stays = stored.scope is scope and not hidden and not output
    graph.discard(stored)
    name = stored.name if stays else graph.fresh(stored.name)
    new = graph.add(scope, name, stored.values)
    new.tensor.doc_string = stored.tensor.doc_string
    new.tensor.metadata_props.extend(stored.tensor.metadata_props)
    for use in uses:
        graph.connect(use, name)
    if stays:
        stored.scope.stale.discard(name)
    else:
        stored.scope.renamed[stored.name] = name
        graph.moved[stored.label] = new.label
    if output:
        graph.insert(stored.scope, "Identity", [name], stored.name)
        stored.scope.stale.discard(stored.name)
    return new


def _derived(graph: OnnxGraph, original: Stored, view: View) -> str:
    """Name of the original's values in a view, computed once at the start of its graph."""
    if view.same:
        return original.name
    key = original.label, view.perm, view.shape
    if key not in graph.derived:
        name = graph.fresh(f"{original.name}.{'reshaped' if view.in_order else 'transposed'}")
        if view.shape is None:
            graph.insert(original.scope, "Transpose", [original.name], name, perm=view.perm)
        else:
            source = original.name if view.in_order else _derived(graph, original, View(view.perm))
            shape = graph.add(original.scope, graph.fresh(f"{name}.shape"), np.array(view.shape, np.int64))
            graph.insert(original.scope, "Reshape", [source, shape.name], name)
        graph.derived[key] = name
    return graph.derived[key]
