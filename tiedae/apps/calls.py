"""The calls into C, the reasons and the messages that Java, Swift and JavaScript have in common: one table of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tiedae.config.sample_spec import INTEGERS
from tiedae.export.c.codec_source import DIRECTIONS
from tiedae.export.c.text import named
from tiedae.program.score_graph import SCORE
from tiedae.report.pages import render

from .model import AppModel

HERE = Path(__file__).parent
Holds = Literal["samples", "bytes", "numbers", "totals"]
C_TYPES: Mapping[Holds, str] = {"samples": "tae_sample", "bytes": "uint8_t", "numbers": "uint32_t", "totals": "uint64_t"}
FORMAT = ("kind", "bound", "most")
"""Numbers that say how a file is made: 0 lossy, 1 with an error of `bound` at most, 2 lossless; the most samples of a frame."""


@dataclass(frozen=True)
class Values:
    """An array of a call, `each` values an element (a macro of C); `out`: the call writes it."""

    name: str
    holds: Holds
    each: str = ""
    out: bool = False


@dataclass(frozen=True)
class AppCall:
    """A function NAME_app_… of arrays, each followed by its number of values, and of numbers; `where`: the value of templates
    that says whether it is there. It returns how many values each array `out` has, or minus a status."""

    name: str
    where: str
    text: str
    takes: Sequence[Values | str]

    @property
    def arrays(self) -> Sequence[Values]:
        return [each for each in self.takes if isinstance(each, Values)]

    @property
    def is_map(self) -> bool:
        """Whether it turns an array of samples or codes into another."""
        return len(self.takes) == 2 and all(each.each for each in self.arrays)

    @property
    def c_parameters(self) -> str:
        """Those of the C function."""
        texts = []
        for each in self.takes:
            if isinstance(each, Values):
                texts.append(f"{'' if each.out else 'const '}{C_TYPES[each.holds]} *{each.name}, size_t {each.name}_size")
            else:
                texts.append(f"uint32_t {each}")
        return ", ".join(texts) or "void"

    @property
    def camel(self) -> str:
        """Its name in Java."""
        first, *more = self.name.split("_")
        return first + "".join(word.capitalize() for word in more)


SAMPLES, CODES = Values("samples", "samples", "INPUTS"), Values("codes", "bytes", "UNITS")
CALLS = (
    AppCall("encode", "encodes", "Codes of samples.", (SAMPLES, Values("codes", "bytes", "UNITS", out=True))),
    AppCall("decode", "decodes", "Samples that codes decode to.", (CODES, Values("samples", "samples", "INPUTS", out=True))),
    AppCall(
        "reconstruct",
        "reconstructs",
        "What samples become through their codes.",
        (SAMPLES, Values("reconstructed", "samples", "INPUTS", out=True)),
    ),
    AppCall(
        "score",
        "scores",
        "The integer score of each sample, all bits set where a value is not finite; 1 for an anomaly, else 0.",
        (SAMPLES, Values("totals", "totals", out=True), Values("anomalies", "bytes", out=True)),
    ),
    AppCall("frame_bytes", "compresses", "No array: returns the bytes that a frame takes at most, per sample.", ()),
    AppCall(
        "write_header", "compresses", "The header of a file, 32 bytes at most.", (*FORMAT, Values("out", "bytes", out=True))
    ),
    AppCall("write_frame", "compresses", "The frame of samples.", (*FORMAT, SAMPLES, Values("out", "bytes", out=True))),
    AppCall(
        "write_end",
        "compresses",
        "The end of a record, whose last `padding` time steps are not its own; 11 bytes at most.",
        (*FORMAT, "padding", Values("out", "bytes", out=True)),
    ),
    AppCall(
        "write_index",
        "compresses",
        "The index of `entries`, samples and bytes of each frame; 0 samples for bytes to skip.",
        (*FORMAT, Values("entries", "numbers"), Values("out", "bytes", out=True)),
    ),
    AppCall(
        "read_header",
        "decompresses",
        "Of the bytes that a file begins with: kind, bound, most samples of a frame, bytes of the header.",
        (Values("bytes", "bytes"), Values("out", "numbers", out=True)),
    ),
    AppCall(
        "read_index",
        "decompresses",
        "The entries of an index, which is all of `bytes`. Without `out` their number.",
        (*FORMAT, Values("bytes", "bytes"), Values("out", "numbers", out=True)),
    ),
    AppCall(
        "read_parts",
        "decompresses",
        "The parts that lie one behind the other, the first one `behind` a frame (1) or not (0): 1 frame, 2 end, 3 index;\n"
        "   its bytes; samples; padding. The last one may be 0, no part, or 4, cut off, with the bytes that it takes at least.",
        (*FORMAT, "behind", Values("bytes", "bytes"), Values("out", "numbers", out=True)),
    ),
    AppCall(
        "read_frame",
        "decompresses",
        "The samples of a frame, which is all of `bytes`.",
        (*FORMAT, Values("bytes", "bytes"), Values("samples", "samples", "INPUTS", out=True)),
    ),
    AppCall(
        "read_file",
        "decompresses",
        "Of a whole file, which may be damaged: kind, bound, most, 1 with an index, 1 where no damage hides sample\n"
        "   numbers; then of each frame or damage: status, samples, the first one's number, the first byte, the one behind.\n"
        "   The number of values is that of all, whatever fits.",
        (Values("bytes", "bytes"), Values("out", "numbers", out=True)),
    ),
)
"""What C does for an application. Nothing is kept between calls."""


@dataclass(frozen=True)
class Refusal:
    """Why a file is refused: its name, C's status, what it means, and what an error says."""

    name: str
    status: int
    text: str
    message: str

    @property
    def camel(self) -> str:
        """Its name in Swift."""
        first, *more = self.name.lower().split("_")
        return first + "".join(word.capitalize() for word in more)


REASONS = (
    Refusal(
        "DAMAGED",
        5,
        "Bytes are changed or missing.",
        "file: is damaged or cut off; recover gives the samples of its whole frames",
    ),
    Refusal("OTHER_MODEL", 6, "The file is another model's.", "file: is of another model, must be of {name}"),
    Refusal(
        "UNSUPPORTED",
        7,
        "A version or kind of file that this model does not decode.",
        "file: is of a version or kind that {name} does not decode",
    ),
    Refusal("TOO_LARGE", 3, "More samples than an array holds.", "file: holds more samples than an array"),
)
MESSAGES = {
    "multiple": "{what}: got {got} values, must be a multiple of {each}",
    "range": "{what}: got {got}, must be {least} to {most}",
    "none": "samples: got none, must be one or more",
    "finite": "{what}: got a value that is not finite",
    "code": "codes: got one above {top}",
    "samples": "samples {start}:{stop}: must be a range in 0:{total}",
    "shrunk": "file: got {got} bytes at {at}, must be {size}: it became shorter while it was read",
    "record": "record: got none of its time steps, must be one or more",
    "closed": "writer: is closed",
    "failed": "writer: an earlier write failed; append continues behind the whole frames of the file",
}
"""What errors say; a word in braces is a value."""


def java_text(key: str, **values: str) -> str:
    """A message as an expression of Java, of the expressions of its values."""
    pieces = re.split(r"\{(\w+)\}", MESSAGES[key])
    return " + ".join(values[piece] if i % 2 else f'"{piece}"' for i, piece in enumerate(pieces) if piece)


def swift_text(key: str, **values: str) -> str:
    """A message as a literal of Swift."""
    return '"' + re.sub(r"\{(\w+)\}", lambda found: f"\\({values[found[1]]})", MESSAGES[key]) + '"'


def app_values(model: AppModel) -> dict[str, Any]:
    """What templates take: of the model, and the calls that are there."""
    encodes, decodes = (each in model.source.signatures for each in DIRECTIONS)
    both, files, spec, detector = encodes and decodes, bool(model.golden.files), model.spec, model.detector
    kinds = model.promises
    exact = not set(kinds) <= {"lossy"}
    values = {
        "name": model.source.name,
        "inputs": spec.inputs,
        "units": model.golden.code.shape[1],
        "code_top": (1 << model.program.quantization("code").bits) - 1,
        "shape": " × ".join(map(str, spec.shape)),
        "window": spec.window if spec.kind == "record" else 0,
        "step": spec.inputs // spec.window if spec.kind == "record" else spec.inputs,
        "dtype": spec.dtype,
        "c_type": f"{spec.dtype}_t" if spec.dtype in INTEGERS else "double" if spec.dtype == "float64" else "float",
        "floats": bool(model.golden.floats),
        "encodes": encodes,
        "decodes": decodes,
        "reconstructs": both,
        "scores": SCORE in model.source.signatures,
        "compresses": encodes and files,
        "decompresses": decodes and files,
        "kinds": kinds,
        "exact": both and exact,
        "exact_frames": exact,
        "per_frame": model.per_frame,
        "most_per_frame": model.most_per_frame,
        "factor": repr(detector.scoring.factor) if detector is not None else "1.0",
        "threshold": repr(detector.threshold("fused")) if detector is not None else "0.0",
    }
    calls = [call for call in CALLS if values[call.where]]
    return values | {"calls": calls, "reasons": REASONS, "c_types": C_TYPES, "java_text": java_text, "swift_text": swift_text}


def app_files(values: Mapping[str, Any]) -> dict[str, str]:
    """The C texts of the calls by file name."""
    name, parameters = values["name"], {call.name: call.c_parameters for call in CALLS}
    texts = {kind: render(HERE / f"app.{kind}.j2", **values, parameters=parameters) for kind in ("c", "h")}
    return {f"{name}_app.{kind}": named(text.replace("NAMED", name), name) for kind, text in texts.items()}
