"""Golden data of a C file: samples, and what the program makes of them, as C arrays for the check in `project/`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np

from tiedae.base.errors import InputError
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import integer_errors
from tiedae.codec.frames import FileModel
from tiedae.codec.header import SAMPLES_PER_FRAME, FileKind
from tiedae.codec.streams import StreamDecoder, StreamEncoder
from tiedae.config.sample_spec import INTEGERS
from tiedae.export.c.codec_source import PROMISES, Promise
from tiedae.export.c.samples import number
from tiedae.export.c.text import WIDTH, array
from tiedae.program.score_graph import SCORE
from tiedae.program.scoring import Detector
from tiedae.program.tensors import flat

BOUND = 3
"""The largest error of the golden file that is bounded, in the data's unit of measure."""


@dataclass(frozen=True)
class GoldenFile:
    """A .tae file of the samples, and what it decodes to, [samples, inputs] in the dtype of `GoldenSamples.data`."""

    kind: Promise
    bound: int
    content: bytes
    decoded: np.ndarray


@dataclass(frozen=True)
class GoldenSamples:
    """Samples and results of a program.

    `data`, `decoded`: uint8, int16 or uint16 [samples, inputs], in the data's unit of measure; of float data, the program's
    `x` and `y`.
    `code`: uint8 [samples, units]. `scores`, `anomalies`: int64 and uint8 [samples], None without a detector. `floats`: float
    data by name, `data` and `decoded`, in their dtype. `files` have `samples_per_frame` samples in a frame.
    """

    data: np.ndarray
    code: np.ndarray
    decoded: np.ndarray
    scores: np.ndarray | None
    anomalies: np.ndarray | None
    floats: Mapping[str, np.ndarray]
    files: tuple[GoldenFile, ...]
    samples_per_frame: int

    @property
    def frames(self) -> int:
        """Frames of a file."""
        return -(-len(self.data) // self.samples_per_frame)


def golden_samples(
    backend: ProgramBackend,
    samples: np.ndarray,
    *,
    detector: Detector | None = None,
    files: FileModel | None = None,
    promises: Collection[Promise] = PROMISES,
    samples_per_frame: int = SAMPLES_PER_FRAME,
) -> GoldenSamples:
    """What a program makes of samples [n, inputs] in the data's dtype, not scaled; with `files`, also .tae files of `promises`.

    Bounded and lossless files are those of integer data, as in C. Raises InputError for no samples.
    """
    if not len(samples):
        raise InputError("golden samples: got none, must be 1 or more")
    code, y = backend.reconstruct(samples)
    restored = backend.samples(y)
    floats = {} if backend.spec.dtype in INTEGERS else {"data": samples, "decoded": restored}
    data, decoded = (flat(backend.input(samples)), y) if floats else (samples, restored)
    scores = anomalies = None
    if detector is not None:
        totals = detector.scoring.totals(integer_errors(detector.scoring, backend, samples)[0])
        scores, anomalies = totals, (totals > detector.thresholds.fused).astype(np.uint8)
    made: list[GoldenFile] = []
    if files is not None:
        exact = not floats and files.residuals is not None
        kinds: list[Promise] = [kind for kind in promises if kind == "lossy" or exact]
        made = [_file(files, kind, samples, decoded, samples_per_frame) for kind in kinds]
    return GoldenSamples(data, code, decoded, scores, anomalies, floats, tuple(made), samples_per_frame)


def _file(model: FileModel, kind: Promise, samples: np.ndarray, decoded: np.ndarray, per_frame: int) -> GoldenFile:
    bound = BOUND if kind == "bounded" else 0
    options = {"samples_per_frame": per_frame, "kind": FileKind[kind.upper()], "bound": float(bound)}
    content = StreamEncoder(model, model.program, **options).whole(samples)
    if kind == "lossy":
        return GoldenFile(kind, bound, content, decoded)
    return GoldenFile(kind, bound, content, StreamDecoder(model).push(content).reshape(samples.shape))


def golden_text(golden: GoldenSamples, signatures: Collection[str]) -> str:
    """The text of NAME_golden.h: what the check of a C file of these signatures needs."""
    encodes, decodes, scores = (each in signatures for each in ("encode", "decode", SCORE))
    files = [file for file in golden.files if decodes or (encodes and file.kind == "lossy")]
    sizes = {"SAMPLES": len(golden.data), "PER_FRAME": golden.samples_per_frame, "FRAMES": golden.frames}
    text = "".join(f"#define GOLDEN_{name} {value}u\n" for name, value in sizes.items())
    arrays = {"code": golden.code} if encodes or decodes else {}
    if encodes or (scores and not golden.floats) or any(file.kind == "lossless" for file in files):
        arrays["data"] = golden.data
    if decodes:
        arrays["decoded"] = golden.decoded
    if scores and golden.scores is not None and golden.anomalies is not None:
        arrays |= {"scores": golden.scores, "anomalies": golden.anomalies}
    given = {"ENCODES": encodes, "DECODES": decodes, "SCORES": "scores" in arrays, "FLOATS": golden.floats, "FILES": files}
    text += "".join(f"#define GOLDEN_{name}\n" for name, there in given.items() if there)
    text += "".join(array(f"golden_{name}", values) for name, values in arrays.items())
    if golden.floats:
        text += f"typedef {_real(golden.floats['data'])} golden_float;\n"
    for name, there in {"data": encodes or scores, "decoded": decodes}.items():
        text += _reals(f"golden_float_{name}", golden.floats[name]) if golden.floats and there else ""
    return text + (_files_text(files, decodes) if files else "")


def _reals(name: str, values: np.ndarray) -> str:
    kind = _real(values)
    listed = wrap(", ".join(number(each, kind) for each in values.ravel().tolist()), WIDTH)
    return f"static const golden_float {name}[{values.size}] = {{\n" + "\n".join(listed) + "\n};\n"


def _real(values: np.ndarray) -> str:
    """The C type of floats."""
    return "double" if values.dtype == np.float64 else "float"


def _files_text(files: Sequence[GoldenFile], decodes: bool) -> str:
    text, rows = "", []
    members = "  const char *decoder;\n  const tae_value *decoded;\n" if decodes else ""
    for file in files:
        text += array(f"golden_{file.kind}", np.frombuffer(file.content, np.uint8))
        decoded = {"lossy": "golden_decoded", "lossless": "golden_data"}.get(file.kind, f"golden_{file.kind}_decoded")
        text += array(decoded, file.decoded) if decodes and file.kind == "bounded" else ""
        row = [f'"{file.kind} file"', f"TAE_{file.kind.upper()}", f"{file.bound}u"]
        row += [f"golden_{file.kind}", f"{len(file.content)}u"]
        row += [f'"decoded {file.kind} file"', decoded] if decodes else []
        rows.append(f"  {{{', '.join(row)}}},\n")
    return f"""{text}
typedef struct {{
  const char *name;
  int kind;
  uint32_t bound;
  const uint8_t *bytes;
  size_t size;
{members}}} golden_file;

static const golden_file golden_files[] = {{
{"".join(rows)}}};
"""
