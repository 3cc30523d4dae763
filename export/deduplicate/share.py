"""`tiedae share`: rewrites a model file so that each constant is stored once, and compares both before it is written."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...compress.errors import CheckError, FormatError, InputError
from ...compress.files import atomic
from ...compress.records import plain
from ..formats.duplicates import copies, searched
from ..formats.model_file import Contents, columns, printable
from ..formats.random_inputs import random_inputs, ranges_of
from ..formats.reals import release
from ..runtimes.sandbox import MEMORY, Answer, Job, run_apart
from ..runtimes.session import Values
from ..runtimes.table import of_role
from ..targets import TARGETS, label_of, read_model
from .equivalence import BOUNDS, Change, Kept, OutputComparison, Shared, compare_outputs

COPIES = 8
"""Copies of a file that a runtime may hold in memory: as read, packed for its kernels, folded."""
PIECE = 1 << 24
"""Bytes written at a time."""
SHOWN = 24
"""Maximum number of rows listed per section; the others are counted."""


def _share_tflite(path: Path, _name: str, tolerance: float | None) -> Shared:
    from .share_tflite import share_tflite

    return share_tflite(path.read_bytes(), tolerance=tolerance)


def _share_onnx(path: Path, name: str, tolerance: float | None) -> Shared:
    from .share_onnx import share_onnx

    return share_onnx(path, name=name, tolerance=tolerance)


REWRITERS: Mapping[str, Callable[[Path, str, float | None], Shared]] = {"tflite": _share_tflite, "onnx": _share_onnx}
"""Rewriter by target: (file, name of the result, tolerance) → rewritten file."""


def share_file(
    path: Path,
    out: Path,
    *,
    tolerance: float | None = None,
    force: bool = False,
    seed: int = 0,
    announce: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Rewrite a .tflite or .onnx file with equal and transposed constants stored once.

    `tolerance`, in quantization steps, also merges near-duplicate kernels. Both files run on random inputs in a separate
    process; nothing is written unless all outputs are within `equivalence.BOUNDS`. A second runtime that rejects the file or
    times out is only reported. If there is nothing to merge, `out` is a copy. `force` replaces an existing file.

    Returns merged and kept constants, sizes in bytes and the comparison per output, as JSON. Raises InputError for a wrong
    argument, FormatError for a file that is damaged or rejected by the runtime, ExportError for one that cannot be rewritten
    without loss, CheckError if an output would differ.
    """
    _check_call(path, out, tolerance, force=force)
    announce(f"reading {path}")
    contents = read_model(path)
    shared = REWRITERS[contents.format](path, out.name, tolerance)
    _require_free(path, out, contents, shared, force=force)
    compared, providers = [], {}
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / out.name
        _write(new, shared, force=False)
        after = read_model(new)
        if shared.merged and not shared.external and after.size >= contents.size:
            reason = f"with it stored once, the file would have {after.size:,} bytes, not fewer"
            kept = (Kept(merged.name, merged.original, reason) for merged in shared.merged)
            shared, after = Shared(path.read_bytes(), (), (*kept, *shared.kept)), contents
        if shared.merged or shared.external:
            announce("comparing both files on random inputs")
            _require_gone(path, after, shared)
            compared, providers = _compare(path, new, contents, shared, seed)
    _write(out, shared, force=force)
    return {
        "file": path.name,
        "out": str(out),
        "format": contents.format,
        "tolerance": tolerance,
        "bytes_before": contents.size,
        "bytes_after": after.size,
        "ratio": after.size / contents.size,
        "merged": [*plain(shared.merged)],
        "kept": [*plain(shared.kept)],
        "external": sorted(shared.external),
        "compared": [comparison.to_json() for comparison in compared],
        "providers": providers,
    }


def _write(out: Path, shared: Shared, *, force: bool) -> None:
    for name, parts in {**shared.external, out.name: [shared.data]}.items():
        try:
            _write_parts(out.parent / name, parts, force=force)
        except FileExistsError:
            raise InputError(f"--out {out}: {name} is there already; --force replaces it") from None


def _write_parts(path: Path, parts: Sequence[bytes | memoryview], *, force: bool) -> None:
    """Write a file piece by piece, so that parts that are memory maps do not stay in memory."""
    with atomic(path, replace=force) as temporary, temporary.open("wb") as stream:
        for part in map(memoryview, parts):
            for start in range(0, len(part), PIECE):
                stream.write(part[start : start + PIECE])
                release(part)


def _check_call(path: Path, out: Path, tolerance: float | None, *, force: bool) -> None:
    rows = [TARGETS[target] for target in REWRITERS]
    if path.is_file() and path.suffix not in [row.suffix for row in rows]:
        if label := label_of(path.name):
            right = " or ".join(row.label for row in rows)
            raise FormatError(f"{path}: a {label} file, must be a {right} file: no other is rewritten")
        raise FormatError(f"{path}: must end in {' or '.join(row.suffix for row in rows)}")
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder, must be a file")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")
    if out.suffix != path.suffix:
        raise InputError(f"--out {out}: must end in {path.suffix} as the file does")
    if out.exists() and out.samefile(path):
        raise InputError(f"--out {out}: is the file itself, must be another")
    if out.exists() and not force:
        raise InputError(f"--out {out}: is there already, must be a new file; --force replaces it")
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--near: got {tolerance:g}, must be a number of steps, 0 or more")


def _require_free(path: Path, out: Path, contents: Contents, shared: Shared, *, force: bool) -> None:
    """New external data must not replace the file's own, nor any other file without `force`."""
    own = {(path.parent / constant.storage.rpartition(":")[0]).resolve() for constant in contents.constants}
    for name in shared.external:
        if (out.parent / name).resolve() in own:
            raise InputError(f"--out {out}: its data {name} would replace that of {path.name}, must have another name")
        if (out.parent / name).exists() and not force:
            raise InputError(f"--out {out}: its data {name} are there already; --force replaces them")


def _require_gone(path: Path, after: Contents, shared: Shared) -> None:
    """Check the written bytes: merged constants are no longer duplicates."""
    kept = {(each.name, each.original) for each in shared.kept}
    merged = {(each.name, each.original) for each in shared.merged} - kept
    for duplicate in copies(after):
        if merged & {(duplicate.name, duplicate.original), (duplicate.original, duplicate.name)}:
            raise CheckError(f"{path}: nothing is written: in the rewritten file {duplicate.text}")


def _compare(
    path: Path, new: Path, contents: Contents, shared: Shared, seed: int
) -> tuple[list[OutputComparison], dict[str, str]]:
    """Compare all outputs in all runtimes; also returns their providers. Raises CheckError if a bound is exceeded."""
    runs = random_inputs(contents, ranges_of(path, contents), seed)
    runtimes = of_role(contents.format, "usual", "witness")
    jobs = [Job(file, runtime, runs) for runtime in runtimes for file in (path, new)]
    answers = run_apart(jobs, memory=MEMORY + COPIES * contents.size)
    relations = {merged.relation for merged in shared.merged}
    change: Change = "near" if "near" in relations else "operators" if "transposed" in relations else "views"
    bound = BOUNDS[change, any(constant.scales for constant in contents.constants)]
    compared: list[OutputComparison] = []
    providers = {}
    for index, runtime in enumerate(runtimes):
        before, after = answers[2 * index : 2 * index + 2]
        if before.problem and compared:
            providers[runtime] = f"not compared: {before.problem}"
            continue
        _require_answer(path, runtime, runs, before, after)
        compared += compare_outputs(runtime, runs, before.runs, after.runs, bound)
        providers[runtime] = after.provider
    for comparison in compared:
        if comparison.problem:
            raise CheckError(f"{path}: nothing is written: {printable(comparison.text)}")
    return compared, providers


def _require_answer(path: Path, runtime: str, runs: Sequence[tuple[str, Values]], before: Answer, after: Answer) -> None:
    """Raise unless every signature of the original ran and the rewritten file opens."""
    if before.problem:
        raise FormatError(f"{path}: {before.problem}")
    ran = {signature for (signature, _), got in zip(runs, before.runs, strict=True) if not isinstance(got, str)}
    for (signature, _), got in zip(runs, before.runs, strict=True):
        if signature not in ran:
            raise FormatError(f"{path}: {printable(signature)}: {got}")
    if after.problem:
        raise CheckError(f"{path}: nothing is written: {runtime} runs the file but not the rewritten one: {after.problem}")


def render(found: dict[str, Any]) -> str:
    """Format the result of `share_file` for a terminal."""
    sizes = f"{found['bytes_before']:,} → {found['bytes_after']:,} bytes, {found['ratio']:.3f}"
    outcome = sizes if found["merged"] or found["external"] else "unchanged"
    lines = [f"{found['file']} → {found['out']}: {outcome}"]
    if not (found["merged"] or found["kept"]):
        lines.append(f"no constant is stored twice ({searched()})")
    for title, texts in (
        ("stored once", _grouped([(each["how"], _merged_text(each)) for each in found["merged"]])),
        (
            "left as it is",
            _grouped([(each["reason"], f"{each['name']}, a duplicate of {each['original']}") for each in found["kept"]]),
        ),
        ("both files on the same random inputs", _comparison_texts(found)),
    ):
        if texts:
            lines += ["", title, *(f"  {text}" for text in texts)]
    return "\n".join(map(printable, lines))


def _merged_text(merged: Mapping[str, Any]) -> str:
    moved = f", {merged['changed']:.1%} of the integers changed, values moved by up to {merged['steps']:.2f} of a step"
    text = f"{merged['name']} is {merged['relation']} to {merged['original']}: {merged['saved']:,} bytes"
    return text + (moved if merged["relation"] == "near" else "")


def _grouped(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Up to SHOWN texts, grouped under their common heading."""
    groups: dict[str, list[str]] = {}
    for common, text in rows[:SHOWN]:
        groups.setdefault(common, []).append(f"  {text}")
    rest = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return [line for common, texts in groups.items() for line in (common, *texts)] + rest


def _comparison_texts(found: Mapping[str, Any]) -> list[str]:
    if not found["compared"]:
        return []
    header = ("output", "runtime", "values", "differ", "at most", "on average", "allowed")
    rows = [header, *map(_comparison_row, found["compared"][:SHOWN])]
    rest = [f"and {len(found['compared']) - SHOWN} more"] if len(found["compared"]) > SHOWN else []
    return [*columns(rows, "<<>>>><"), *rest, *(f"{runtime}: {name}" for runtime, name in found["providers"].items())]


def _comparison_row(compared: Mapping[str, Any]) -> tuple[str, ...]:
    output, count = f"{compared['signature']} {compared['output']}", f"{compared['count']:,}"
    if not compared["differing"]:
        return output, compared["runtime"], count, "none", "", "", compared["allowed"]
    unit = " LSB" if compared["histogram"] else ""
    sizes = (f"{compared[key]:.3g}{unit}" for key in ("largest", "mean"))
    return output, compared["runtime"], count, f"{compared['share']:.2%}", *sizes, compared["allowed"]
