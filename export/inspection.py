"""`tiedae inspect`: the contents of any .tflite or .onnx file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..compress.errors import ExportError, InputError
from ..compress.records import plain
from .deduplicate.equivalence import Kept, Merged, Shared
from .deduplicate.rewriters import REWRITERS, rewrite
from .formats.duplicates import MINIMUM, Duplicate, copies, searched
from .formats.model_file import Constant, Contents, TensorInfo, columns, printable
from .targets import read_model

SHOWN = 24
"""Maximum number of constants listed; the others are summarized."""
NAME = 64
"""Maximum length of a constant's name in the list, in characters."""
METADATA = 100
"""Maximum length of a text of the file's metadata, in characters; `--json` has it whole."""


def inspect_file(path: Path, *, minimum: int = MINIMUM) -> dict[str, Any]:
    """Describe a file as JSON: constants and their storage, duplicates, operations, inputs, outputs, sizes in bytes.

    Constants with the same `storage` are views of the same bytes, which count once. Duplicates are those of `duplicates.copies`
    from `minimum` bytes on; each says what `tiedae dedupe` would do with it, which is tried without running a model.
    `bytes_if_shared` is the size of the file that it would write, `bytes_if_merged` with near duplicates merged too, which
    needs a tolerance of `near_steps` (None if there are none). Raises FormatError if the file is missing, damaged or of an
    unknown format.
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
    }


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
    for wanted, given in ((_pair, _pair), (_name, _name), (_original, _name)):
        by_key = defaultdict(list)
        for each in reversed(left):
            by_key[given(each)].append(each)
        for i, duplicate in enumerate(found):
            if i not in outcomes and by_key[wanted(duplicate)]:
                outcomes[i] = by_key[wanted(duplicate)].pop()
        left = [each for fitting in by_key.values() for each in reversed(fitting)]
    unlisted = "dedupe does not list it"
    return [(each, outcomes.get(i) or Kept(each.name, each.original, unlisted)) for i, each in enumerate(found)]


def _name(each: Duplicate | Merged | Kept) -> str:
    return each.name


def _original(each: Duplicate | Merged | Kept) -> str:
    return each.original


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


def render(found: dict[str, Any]) -> str:
    """Format the result of `inspect_file` for a terminal."""
    lines = [
        f"{found['file']}: {found['format']}, {found['bytes']:,} bytes, of which constants {found['constant_bytes']:,}",
        ", ".join(f"{key} {value}" for key, value in found["details"].items() if value),
    ]
    lines += [f"{key}: {_cut(text)}" for key, text in found["metadata"].items()]
    for signature in found["signatures"]:
        tensors = " → ".join(", ".join(_tensor_text(tensor) for tensor in signature[side]) for side in ("inputs", "outputs"))
        operations = ", ".join(f"{count} {name}" for name, count in signature["operations"].items())
        lines += ["", f"{signature['name']}: {tensors}", f"  {operations}"]
    lines += ["", "constants (views of one storage count once)"]
    rows = [
        (
            _tail(each["name"]),
            each["dtype"],
            "×".join(map(str, each["shape"])) or "scalar",
            f"{each['bytes']:,}",
            _storage_text(each),
            _scale_text(each),
        )
        for each in found["constants"][:SHOWN]
    ]
    lines += [f"  {line}" for line in columns(rows, "<<<><<")]
    rest = found["constants"][SHOWN:]
    if rest:
        lines.append(f"  and {len(rest)} smaller ones, {sum(each['bytes'] for each in rest):,} bytes")
    lines.append("")
    if found["copies"]:
        lines += ["duplicates", *_duplicate_lines(found["copies"])]
        lines += _estimates(found)
    else:
        lines.append(f"no constant is stored twice ({searched(found['minimum'])})")
    return "\n".join(map(printable, lines))


def _storage_text(constant: dict[str, Any]) -> str:
    """Where a constant is stored, unless that is its name."""
    storage = "" if constant["storage"] == constant["name"] else constant["storage"]
    return f"{storage} (one of {constant['views']} views)".lstrip() if constant["views"] > 1 else storage


def _tail(name: str) -> str:
    """The end of a long name, which tells a file's constants apart."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _cut(text: str) -> str:
    """The first line of a text, shortened."""
    line = text.strip().partition("\n")[0]
    return line if line == text and len(line) <= METADATA else f"{line[:METADATA].rstrip()} … ({len(text):,} characters)"


def _duplicate_lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """Up to SHOWN duplicates, by what would become of them."""
    lines: dict[str, list[str]] = {}
    for duplicate in found[:SHOWN]:
        lines.setdefault(duplicate["dedupe"], []).append(f"    {duplicate['text']}")
    rest = found[SHOWN:]
    more = [f"  and {len(rest)} more, {sum(each['bytes'] for each in rest):,} bytes"] if rest else []
    return [line for outcome, texts in lines.items() for line in (f"  {outcome}", *texts)] + more


def _estimates(found: dict[str, Any]) -> list[str]:
    sizes = {found["bytes_if_shared"]: "tiedae dedupe"}
    if found["near_steps"] is not None:
        sizes.setdefault(found["bytes_if_merged"], f"tiedae dedupe --near {found['near_steps']:g}")
    smaller = [(size, command) for size, command in sizes.items() if size < found["bytes"]]
    lines = [f"{command} would write {size:,} bytes, {size / found['bytes']:.3f} of the file" for size, command in smaller]
    return lines or ["tiedae dedupe would leave the file as it is"]


def _tensor_text(tensor: dict[str, Any]) -> str:
    scale = "" if tensor["scale"] is None else f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    return f"{tensor['name']} {tensor['dtype']} [{', '.join(map(str, tensor['shape']))}]{scale}"


def _scale_text(constant: dict[str, Any]) -> str:
    zero_point = f", zero point {constant['zero_point']}" if constant["zero_point"] else ""
    if constant["scales"] > 1:
        return f"{constant['scales']} scales along axis {constant['axis']}{zero_point}"
    return "" if constant["scale"] is None else f"scale {constant['scale']:.6g}{zero_point}"
