"""Rewriter of each format, and what it makes of a file. Nothing is run."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from pathlib import Path

from tiedae.export.model_file import Contents

from .equivalence import Kept, Shared


def _tflite(path: Path, _name: str, tolerance: float | None, minimum: int) -> Shared:
    from .share_tflite import share_tflite

    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return share_tflite(data, tolerance=tolerance, minimum=minimum)


def _onnx(path: Path, name: str, tolerance: float | None, minimum: int) -> Shared:
    from .share_onnx import share_onnx

    return share_onnx(path, name=name, tolerance=tolerance, minimum=minimum)


REWRITERS: Mapping[str, Callable[[Path, str, float | None, int], Shared]] = {"tflite": _tflite, "onnx": _onnx}
"""Rewriter by target: (file, name of the result, tolerance, minimum size) → rewritten file."""


def rewrite(path: Path, contents: Contents, name: str, *, tolerance: float | None, minimum: int) -> Shared:
    """Rewrite a file, or keep it as it is where the result would have no fewer bytes.

    `name`: file name of the result. Raises FormatError for a damaged file, ExportError for one that cannot be rewritten without
    loss.
    """
    shared = REWRITERS[contents.format](path, name, tolerance, minimum)
    if not shared.merged or shared.external or shared.size < contents.size:
        return shared
    reason = f"with it stored once, the file would have {shared.size:,} bytes, not fewer"
    kept = (Kept(merged.name, merged.original, reason) for merged in shared.merged)
    return Shared(path.read_bytes(), (), (*kept, *shared.kept))
