"""`tiedae share`: a model file of anyone, rewritten so that each constant is stored once, and compared before it is written."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...compress.errors import CheckError, FormatError, InputError
from ...compress.files import write_atomic
from ..formats.contents import Contents
from ..formats.copies import SEARCHED, copies
from ..formats.reading import read_model
from .merging import Shared
from .sandbox import Answer, Job, run_apart
from .trial import BOUNDS, Change, Comparison, Ranges, compare_outputs, random_inputs

SHOWN = 24
"""How many rows of a kind the text lists; the rest is summed up."""


@dataclass(frozen=True)
class _Format:
    """How files of one kind are rewritten, what their graphs say of their inputs, and the runtimes that compare them."""

    write: Callable[[Path, str, float | None], Shared]
    ranges: Callable[[Path, Contents], Ranges]
    runtimes: tuple[str, ...]


def _write_tflite(path: Path, _name: str, tolerance: float | None) -> Shared:
    from .share_tflite import share_tflite

    return share_tflite(path.read_bytes(), tolerance=tolerance)


def _write_onnx(path: Path, name: str, tolerance: float | None) -> Shared:
    from .share_onnx import share_onnx

    return share_onnx(path, name=name, tolerance=tolerance)


def _tflite_ranges(path: Path, _contents: Contents) -> Ranges:
    from .input_ranges import tflite_ranges

    return tflite_ranges(path.read_bytes())


def _onnx_ranges(path: Path, contents: Contents) -> Ranges:
    from .input_ranges import onnx_ranges

    return onnx_ranges(path, contents)


_FORMATS: Mapping[str, _Format] = {
    "tflite": _Format(_write_tflite, _tflite_ranges, ("litert-xnnpack", "litert-reference")),
    "onnx": _Format(_write_onnx, _onnx_ranges, ("ort-cpu",)),
}


def share_file(
    path: Path,
    out: Path,
    *,
    tolerance: float | None = None,
    seed: int = 0,
    announce: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Write `path`, a .tflite or .onnx file, to `out` with its equal and transposed-equal constants stored once.

    `tolerance`, in quantization steps, also merges near copies of a kernel. Both files run on random inputs of `seed` in a
    process of their own, and nothing is written unless the outputs are within the bounds of `trial.BOUNDS`. Where nothing can
    be stored once, `out` is a copy of the file.

    Returns what was merged and kept, bytes before and after, and the comparison per output, as JSON. Raises InputError for a
    call that is wrong, FormatError for a damaged file or one that a runtime refuses, ExportError for one that cannot be
    rewritten without a loss, CheckError where an output would differ.
    """
    _check_call(path, out, tolerance)
    announce(f"reading {path}")
    contents = read_model(path)
    kind = _FORMATS[contents.format]
    shared = kind.write(path, out.name, tolerance)
    _require_own_files(path, out, shared)
    found = {
        "file": path.name,
        "out": str(out),
        "format": contents.format,
        "tolerance": tolerance,
        "bytes_before": contents.size,
        "bytes_after": contents.size,
        "ratio": 1.0,
        "merged": [asdict(merged) for merged in shared.merged],
        "kept": [asdict(kept) for kept in shared.kept],
        "compared": [],
        "providers": {},
    }
    if not shared.merged:
        write_atomic(out, shared.data)
        for name, data in shared.external.items():
            write_atomic(out.parent / name, data)
        return found
    announce("comparing both files on random inputs")
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / out.name
        for name, data in {**shared.external, out.name: shared.data}.items():
            (Path(folder) / name).write_bytes(data)
        after = read_model(new)
        _require_fewer_copies(path, contents, after)
        compared, providers = _compare(path, new, contents, shared, kind, seed)
    failed = [comparison for comparison in compared if comparison.problem]
    if failed:
        raise CheckError(f"{path}: nothing is written: {failed[0].text}")
    for name, data in shared.external.items():
        write_atomic(out.parent / name, data)
    write_atomic(out, shared.data)
    return found | {
        "bytes_after": after.size,
        "ratio": after.size / contents.size,
        "compared": [comparison.to_json() for comparison in compared],
        "providers": providers,
    }


def _check_call(path: Path, out: Path, tolerance: float | None) -> None:
    if path.is_file() and path.suffix not in (".tflite", ".onnx"):
        raise FormatError(f"{path}: must end in .tflite or .onnx")
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
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--tolerance: got {tolerance:g}, must be a number of steps, 0 or more")


def _require_own_files(path: Path, out: Path, shared: Shared) -> None:
    """External data must not be written over a file of the input's folder that another model may read."""
    for name in shared.external:
        if Path(name).name != name or not name.startswith(out.stem):
            raise InputError(f"--out {out}: its data would be {name!r}, which does not belong to it")
        if out.parent.samefile(path.parent) and name.startswith(f"{path.name}.") and (out.parent / name).exists():
            raise InputError(f"--out {out}: its data {name} would replace that of {path.name}")


def _require_fewer_copies(path: Path, before: Contents, after: Contents) -> None:
    """The proof on the written bytes: what was merged is not stored twice any more, and nothing new is."""
    counts = [len(copies(contents)) for contents in (before, after)]
    if counts[1] > counts[0] or after.size > before.size:
        raise CheckError(
            f"{path}: nothing is written: the rewritten file has {counts[1]} copies in {after.size:,} bytes, "
            f"the file has {counts[0]} in {before.size:,}"
        )


def _compare(
    path: Path, new: Path, contents: Contents, shared: Shared, kind: _Format, seed: int
) -> tuple[list[Comparison], dict[str, str]]:
    """Every output of both files in every runtime, and what ran the new one."""
    runs = random_inputs(contents, kind.ranges(path, contents), seed)
    jobs = [Job(file, runtime, runs) for runtime in kind.runtimes for file in (path, new)]
    answers = run_apart(jobs)
    bound = BOUNDS[_change(shared), _is_quantized(contents)]
    compared: list[Comparison] = []
    providers = {}
    for index, runtime in enumerate(kind.runtimes):
        before, after = answers[2 * index : 2 * index + 2]
        _require_answer(path, runtime, before, after)
        compared += compare_outputs(runtime, runs, before.runs, after.runs, bound)
        providers[runtime] = after.provider
    return compared, providers


def _require_answer(path: Path, runtime: str, before: Answer, after: Answer) -> None:
    if before.problem:
        raise FormatError(f"{path}: {before.problem}")
    if before.runs and all(isinstance(run, str) for run in before.runs):
        raise FormatError(f"{path}: {before.runs[0]}")
    if after.problem:
        raise CheckError(f"{path}: nothing is written: {runtime} runs the file but not the rewritten one: {after.problem}")


def _change(shared: Shared) -> Change:
    relations = {merged.relation for merged in shared.merged}
    if "near" in relations:
        return "near"
    return "operators" if "transposed" in relations else "views"


def _is_quantized(contents: Contents) -> bool:
    return any(constant.scales for constant in contents.constants)


def render(found: dict[str, Any]) -> str:
    """The same as text for a terminal."""
    if not found["merged"]:
        lines = [f"nothing to store once ({SEARCHED}); {found['out']} is a copy of {found['file']}"]
    else:
        lines = [
            f"{found['out']}: {found['bytes_after']:,} bytes, {found['ratio']:.3f} of the {found['bytes_before']:,} "
            f"of {found['file']}",
            "",
            "stored once",
            *_listed([_merged_text(merged) for merged in found["merged"]]),
        ]
    if found["kept"]:
        kept = [f"{kept['name']}, a copy of {kept['original']}: {kept['reason']}" for kept in found["kept"]]
        lines += ["", "left as it is", *_listed(kept)]
    if found["compared"]:
        rows = [_comparison_text(compared) for compared in found["compared"]]
        lines += ["", "both files on the same random inputs", *_listed(rows)]
        lines += [f"  {runtime}: {provider}" for runtime, provider in found["providers"].items()]
    return "\n".join(lines)


def _listed(texts: list[str]) -> list[str]:
    rest = [f"  and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return [*(f"  {text}" for text in texts[:SHOWN]), *rest]


def _merged_text(merged: Mapping[str, Any]) -> str:
    moved = f", values moved by up to {merged['steps']:.2f} of a step" if merged["steps"] else ""
    text = f"{merged['name']} is {merged['relation']} to {merged['original']}: {merged['how']}"
    return f"{text}{moved}, {merged['saved']:,} bytes"


def _comparison_text(compared: Mapping[str, Any]) -> str:
    unit = "" if compared["dtype"].startswith("float") else " LSB"
    text = f"{compared['signature']} {compared['output']} in {compared['runtime']}"
    if not compared["differing"]:
        return f"{text}: equal in all {compared['count']:,} values"
    return (
        f"{text}: {compared['share']:.2%} of {compared['count']:,} values differ, by at most {compared['largest']:.3g}{unit}, "
        f"{compared['mean']:.3g}{unit} on average"
    )
