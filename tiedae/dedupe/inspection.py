"""`tiedae inspect`: the contents of any .tflite or .onnx file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from tiedae.base.errors import ExportError, InputError
from tiedae.base.records import plain
from tiedae.export.duplicates import MINIMUM, Duplicate, copies
from tiedae.export.extents import LEFT_OVER, Account, Extent, Part, account
from tiedae.export.model_file import Constant, Contents, TensorInfo
from tiedae.export.targets import read_extents, read_model

from .equivalence import Kept, Merged, Shared
from .rewriters import REWRITERS, rewrite

LARGEST = 8
"""Constants that have a row of their own in the account of a file."""
CONSTANT, OTHERS, COPIES = "constant", "other constants", "stored again"
"""Rows of the account: a constant, followed by its name, the smaller ones, and duplicates."""
NESTED = ("graph.", "functions.")
"""Places of tensors in nodes, nested graphs and functions of an .onnx file."""
RUNS = 3
"""Runs of bytes left over that are named."""


def inspect_file(path: Path, *, minimum: int = MINIMUM) -> dict[str, Any]:
    """Describe a file as JSON: constants and their storage, duplicates, operations, inputs, outputs, sizes in bytes.

    Constants with the same `storage` are views of the same bytes, which count once. Duplicates are those of `duplicates.copies`
    from `minimum` bytes on; each says what `tiedae dedupe` would do with it, which is tried without running a model.
    `bytes_if_shared` is the size of the file that it would write, `bytes_if_merged` with near duplicates merged too, which
    needs a tolerance of `near_steps` (None if there are none). `account` has every byte of the file in one row. Raises
    FormatError if the file is missing, damaged or of an unknown format.
    """
    if minimum < 1:
        raise InputError(f"--min-bytes: got {minimum}, must be 1 or more")
    contents = read_model(path)
    found = copies(contents, minimum)
    near_steps = max((math.ceil(100 * each.largest) / 100 for each in found if each.by == "values"), default=None)
    shared = _rewritten(path, contents, found, None, minimum)
    merged = shared if near_steps is None else _rewritten(path, contents, found, near_steps, minimum)
    stored = {constant.storage: constant.nbytes for constant in contents.constants}
    views = Counter(constant.storage for constant in contents.constants)
    return {
        "file": path.name,
        "format": contents.format,
        "bytes": contents.size,
        "constant_bytes": sum(stored.values()),
        "minimum": minimum,
        "bytes_if_shared": shared.size if shared.merged else contents.size,
        "bytes_if_merged": merged.size if merged.merged else contents.size,
        "near_steps": near_steps,
        "details": dict(contents.details),
        "metadata": dict(contents.metadata),
        "signatures": [
            {
                "name": signature.name,
                "inputs": [_described(tensor) for tensor in signature.inputs],
                "outputs": [_described(tensor) for tensor in signature.outputs],
                "operations": dict(signature.operations),
            }
            for signature in contents.signatures
        ],
        "constants": [
            _constant(constant, views[constant.storage])
            for constant in sorted(contents.constants, key=lambda constant: -constant.nbytes)
        ],
        "copies": [_copy(*each) for each in _outcomes(found, shared)],
        "account": _described_account(_account(path, contents, found)),
    }


def _account(path: Path, contents: Contents, found: Sequence[Duplicate]) -> Account | None:
    """Every byte of a file in one row: its largest constants, the others, duplicates, and what is none of these; None where the
    format does not say what its bytes are."""
    parsed = read_extents(path)
    names = {constant.storage: constant.name for constant in reversed(contents.constants)}
    sizes = {constant.storage: constant.nbytes for constant in contents.constants}
    storages = {constant.name: constant.storage for constant in contents.constants}
    again = {storages[each.name] for each in found if each.name in storages}
    largest = {each for each in sorted(sizes, key=lambda each: -sizes[each])[:LARGEST] if sizes[each]}

    def row_of(extent: Extent, _data: memoryview) -> str:
        if extent.part is not Part.VALUES:
            return extent.part
        if extent.name not in names:
            return OTHERS if extent.name.startswith(NESTED) else LEFT_OVER
        if extent.name in again:
            return COPIES
        return f"{CONSTANT} {names[extent.name]}" if extent.name in largest else OTHERS

    return None if parsed is None else account(parsed, row_of)


def _described_account(found: Account | None) -> dict[str, Any] | None:
    if found is None:
        return None
    runs = [{"bytes": size, "where": where} for size, where in found.runs[:RUNS]]
    return {"bytes": found.size, "rows": [plain(row) for row in found.rows], "left_over": found.left_over, "runs": runs}


def _rewritten(path: Path, contents: Contents, found: Sequence[Duplicate], steps: float | None, minimum: int) -> Shared:
    """What `tiedae dedupe` would make of a file."""
    reason = "dedupe rewrites .tflite and .onnx files only"
    if found and contents.format in REWRITERS:
        try:
            return rewrite(path, contents, path.name, tolerance=steps, minimum=minimum)
        except ExportError as error:
            reason = str(error).removeprefix("dedupe: ")
    return Shared(b"", (), tuple(Kept(duplicate.name, duplicate.original, reason) for duplicate in found))


def _outcomes(found: Sequence[Duplicate], shared: Shared) -> list[tuple[Duplicate, Merged | Kept]]:
    """What becomes of each duplicate. A rewriter may name the two the other way round, or another original."""
    left: list[Merged | Kept] = [*shared.merged, *shared.kept]
    outcomes: dict[int, Merged | Kept] = {}
    name = attrgetter("name")
    for wanted, given in ((_pair, _pair), (name, name), (attrgetter("original"), name)):
        by_key = defaultdict(list)
        for each in reversed(left):
            by_key[given(each)].append(each)
        for i, duplicate in enumerate(found):
            if i not in outcomes and by_key[wanted(duplicate)]:
                outcomes[i] = by_key[wanted(duplicate)].pop()
        left = [each for fitting in by_key.values() for each in reversed(fitting)]
    unlisted = "dedupe does not list it"
    return [(each, outcomes.get(i) or Kept(each.name, each.original, unlisted)) for i, each in enumerate(found)]


def _pair(each: Duplicate | Merged | Kept) -> frozenset[str]:
    return frozenset((each.name, each.original))


def _copy(duplicate: Duplicate, outcome: Merged | Kept) -> dict[str, Any]:
    values, merged = plain(duplicate), isinstance(outcome, Merged)
    how = f"dedupe: {outcome.how}" if isinstance(outcome, Merged) else f"dedupe leaves it: {outcome.reason}"
    return values | {"bytes": values.pop("size"), "merged": merged, "dedupe": how, "text": duplicate.text}


def _described(tensor: TensorInfo) -> dict[str, Any]:
    return {key: value for key, value in asdict(tensor).items() if key != "symbols"} | {
        "shape": [*tensor.dimensions],
        "scale": _number(tensor.scale),
    }


def _number(scale: float | None) -> float | None:
    """None for NaN and infinity, which JSON lacks."""
    return scale if scale is not None and math.isfinite(scale) else None


def _constant(constant: Constant, views: int) -> dict[str, Any]:
    dtype, shape = constant.encoded or (constant.values.dtype.name, constant.values.shape)
    return {
        "name": constant.name,
        "dtype": dtype,
        "shape": list(shape),
        "bytes": constant.nbytes,
        "storage": constant.storage,
        "views": views,
        "scales": len(constant.scales),
        "scale": _number(constant.scales[0]) if len(constant.scales) == 1 else None,
        "zero_point": constant.zero_points[0] if len(set(constant.zero_points)) == 1 else None,
        "axis": constant.axis if len(constant.scales) > 1 else None,
    }
