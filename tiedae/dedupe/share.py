"""`tiedae dedupe`: rewrites a model file so that each constant is stored once, and compares both before it is written."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiedae.base.errors import CheckError, FormatError, InputError
from tiedae.base.files import beside, new_file, place, require_replaceable
from tiedae.base.records import plain
from tiedae.export.duplicates import MINIMUM, copies
from tiedae.export.model_file import Contents
from tiedae.export.reals import Chunk, pieces
from tiedae.export.targets import TARGETS, format_of, read_model

from .equivalence import Shared
from .inputs import Given, read_data, require_fits
from .rewriters import REWRITERS, rewrite
from .trial import Trial, try_both


def share_file(
    path: Path,
    out: Path,
    *,
    tolerance: float | None = None,
    minimum: int = MINIMUM,
    shapes: Mapping[str, Sequence[int]] | None = None,
    data: Path | None = None,
    max_change: float | None = None,
    force: bool = False,
    seed: int = 0,
    announce: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Rewrite a .tflite or .onnx file with equal and transposed constants stored once.

    `tolerance`, in quantization steps, also merges near-duplicate kernels; `max_change` refuses a larger change of an output,
    as a fraction of its full scale (largest expected magnitude, 255 for 8-bit integers). `minimum`: size in bytes of
    the smallest constant that is merged. `shapes`, by input, and `data`, an .npz file by input or an .npy file: the inputs that
    both files run on; others are random, of sizes that the original runs with.

    Both files run on the same inputs in a separate process; nothing is written unless all outputs are within
    `equivalence.BOUNDS`. A merge of equal bytes is proven by the bytes of both files: it is also written where no runtime here
    runs the file. A second runtime that rejects the file or times out is only reported. If there is nothing to merge, `out` is
    a copy, and nothing runs. `force` replaces an existing file.

    Returns merged and kept constants, sizes in bytes and the fields of the `Trial`, as JSON. Raises InputError for a wrong
    argument, FormatError for a file that is damaged or rejected by the runtime, ExportError for one that cannot be rewritten
    without loss, CheckError if an output would differ.
    """
    _check_call(path, out, force=force)
    _check_numbers(tolerance, minimum, max_change)
    announce(f"reading {path}")
    contents = read_model(path)
    given = Given({name: tuple(shape) for name, shape in (shapes or {}).items()}, read_data(data, contents) if data else {})
    require_fits(contents, given)
    after, trial = contents, Trial()
    with beside(Path(os.path.realpath(out))) as folder:
        shared = rewrite(path, contents, out.name, tolerance=tolerance, minimum=minimum)
        _require_free(path, out, contents, shared, force=force)
        new = folder / out.name
        for name, parts in {**shared.external, out.name: [shared.data]}.items():
            _write(new.parent / name, parts)
        if shared.merged or shared.external:
            after = read_model(new)
            announce("comparing both files")
            _require_gone(path, after, shared, minimum)
            trial = try_both(path, new, contents, after, shared, given, seed=seed, max_change=max_change)
        _move(new.parent, out, [*shared.external, out.name], force=force)
    return {
        "file": path.name,
        "out": str(out),
        "format": contents.format,
        "tolerance": tolerance,
        "minimum": minimum,
        "max_change": max_change,
        "data": None if data is None else str(data),
        "bytes_before": contents.size,
        "bytes_after": after.size,
        "ratio": after.size / contents.size,
        "merged": [*plain(shared.merged)],
        "kept": [*plain(shared.kept)],
        "external": sorted(shared.external),
    } | trial.to_json()


def _write(path: Path, parts: Sequence[Chunk]) -> None:
    with new_file(path) as stream:
        stream.writelines(pieces(parts))
        stream.flush()
        os.fsync(stream.fileno())


def _move(folder: Path, out: Path, names: Sequence[str], *, force: bool) -> None:
    """Move the files that were compared to their places; where one is there already and not to be replaced, none."""
    moved: list[Path] = []
    for name in names:
        try:
            target = Path(os.path.realpath(out.parent / name))
            require_replaceable(out.parent / name)
            place(folder / name, target, replace=force)
        except FileExistsError:
            for path in moved:
                path.unlink(missing_ok=True)
            raise InputError(f"--out {out}: {name} is there already; --force replaces it") from None
        moved.append(out.parent / name)


def _check_call(path: Path, out: Path, *, force: bool) -> None:
    if path.is_file() and format_of(path.name) not in REWRITERS:
        suffixes = (suffix for target in REWRITERS for suffix in (TARGETS[target].suffix, *TARGETS[target].others))
        raise FormatError(f"{path}: must end in {' or '.join(suffixes)}: no other file is rewritten")
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder, must be a file")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")
    if format_of(out.name) != format_of(path.name):
        raise InputError(f"--out {out}: must end in {path.suffix} as the file does")
    if out.exists() and out.samefile(path):
        raise InputError(f"--out {out}: is the file itself, must be another")
    require_replaceable(out)
    if out.exists() and not force:
        raise InputError(f"--out {out}: is there already, must be a new file; --force replaces it")


def _check_numbers(tolerance: float | None, minimum: int, max_change: float | None) -> None:
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--near: got {tolerance:g}, must be a number of steps, 0 or more")
    if minimum < 1:
        raise InputError(f"--min-bytes: got {minimum}, must be 1 or more")
    if max_change is not None and not 0 <= max_change <= 1:
        raise InputError(f"--max-change: got {max_change:g}, must be a fraction from 0 to 1")


def _require_free(path: Path, out: Path, contents: Contents, shared: Shared, *, force: bool) -> None:
    """The file must not replace its source's data, nor its data that or, without `force`, any other file."""
    own = {(path.parent / constant.storage.rpartition(":")[0]).resolve() for constant in contents.constants}
    if out.resolve() in own:
        raise InputError(f"--out {out}: is the data of {path.name}, must be another file")
    for name in shared.external:
        if (out.parent / name).resolve() in own:
            raise InputError(f"--out {out}: its data {name} would replace that of {path.name}, must have another name")
        if (out.parent / name).exists() and not force:
            raise InputError(f"--out {out}: its data {name} are there already; --force replaces them")


def _require_gone(path: Path, after: Contents, shared: Shared, minimum: int) -> None:
    """Check the written bytes: merged constants are no longer duplicates."""
    kept = {(each.name, each.original) for each in shared.kept}
    merged = {(each.name, each.original) for each in shared.merged} - kept
    for duplicate in copies(after, minimum):
        if merged & {(duplicate.name, duplicate.original), (duplicate.original, duplicate.name)}:
            raise CheckError(f"{path}: nothing is written: in the rewritten file {duplicate.text}")
