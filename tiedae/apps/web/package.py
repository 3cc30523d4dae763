"""An npm package that Node.js and browsers run as it is: `web_package`. docs/guides/web.md describes it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.export.c.text import named

from ..calls import MESSAGES, REASONS, Refusal, app_files, app_values
from ..model import AppModel
from .wasm import FEATURES, Build, Toolchain, compile_wasm

ARRAYS = {
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "float64": "Float64Array",
}
"""What JavaScript calls an array of a dtype; that of others is Float32Array."""
SCALAR = "scalar"
SCRIPTS = ("index.mjs", "streams.mjs")
"""The package's own modules."""


@dataclass(frozen=True)
class WebModel(AppModel):
    """What a package is made of, with all signatures: also the `peak` of pictures, the kind of the task, and of a denoising one
    the `clean` samples behind the golden ones, [samples, inputs], in the data's dtype."""

    peak: float | None = None
    task: str = "compression"
    clean: np.ndarray | None = None


def module_name(name: str, features: str) -> str:
    """The file name of a module."""
    return f"{name}.{SCALAR}.wasm" if features == SCALAR else f"{name}.wasm"


def web_package(model: WebModel, tools: Toolchain) -> dict[str, bytes]:
    """The files by path. Raises ExportError where clang or wasm-ld fails."""
    name = model.source.name
    calls = app_files(app_values(model))
    sources = {**model.source.files, **calls, f"{name}_web.c": named(_text("glue.c").replace("NAMED", name), name)}
    widest = max(tensor.size for tensor in model.program.tensors.values())
    build = Build(sources, [], widest)
    modules = {features: module_name(name, features) for features in FEATURES}
    made = {module: compile_wasm(tools, build, features) for features, module in modules.items()}
    made |= {f"src/{path}": text.encode() for path, text in sources.items()}
    commands = [" ".join(command) for each in modules.items() for command in build.commands(*each)]
    texts = {
        "model.mjs": f"export default {json.dumps(_facts(model), allow_nan=False)};\n",
        "build.json": json.dumps({"compiler": tools.version, "commands": commands}, indent=2) + "\n",
        **{path: _filled(path, model) for path in ("package.json", *SCRIPTS, "index.d.ts", "README.md")},
    }
    return made | {path: text.encode() for path, text in texts.items()}


def _facts(model: WebModel) -> dict[str, object]:
    spec, golden, detector, code = model.spec, model.golden, model.detector, model.program.quantization("code")
    arrays = {"data": golden.floats.get("data", golden.data), "code": golden.code}
    arrays["decoded"] = golden.floats.get("decoded", golden.decoded)
    if golden.scores is not None and golden.anomalies is not None:
        arrays |= {"scores": golden.scores, "anomalies": golden.anomalies}
    if model.clean is not None:
        arrays["clean"] = np.ascontiguousarray(model.clean, arrays["data"].dtype)
    encoded = {name: base64.b64encode(each.tobytes()).decode() for name, each in arrays.items()}
    score = None if detector is None else {"factor": detector.scoring.factor, "threshold": detector.threshold("fused")}
    return {
        "name": model.source.name,
        "kind": spec.kind,
        "shape": spec.shape,
        "inputs": spec.inputs,
        "units": golden.code.shape[1],
        "window": spec.window if spec.kind == "record" else 0,
        "step": spec.inputs // spec.window if spec.kind == "record" else spec.inputs,
        "bits": code.bits,
        "zero": code.zero_point,
        "dtype": spec.dtype,
        "columns": spec.columns,
        "files": list(model.promises),
        "score": score,
        "peak": model.peak,
        "task": model.task,
        "weights": _weights(model),
        "golden": encoded,
        "perFrame": model.per_frame,
        "mostPerFrame": model.most_per_frame,
        "messages": MESSAGES,
        "reasons": {reason.status: _reason(reason, model.source.name) for reason in REASONS},
    }


def _reason(reason: Refusal, name: str) -> str:
    """What an error says. Java and Swift have `recover`; here `decompress` gives what is whole."""
    return reason.message.replace("recover", "decompress").replace("{name}", name)


def _weights(model: WebModel) -> list[float] | float | None:
    """What the squared error of each value counts in the score, in the data's unit, or one of all; None without a detector."""
    if model.detector is None:
        return None
    scale = np.asarray(model.spec.scaling.scale, np.float64)
    weights = np.asarray(model.detector.scoring.weights or 1.0) / np.square(scale)
    return weights.tolist()


def _filled(path: str, model: WebModel) -> str:
    spec, array = model.spec, ARRAYS.get(model.spec.dtype, "Float32Array")
    values = {
        "SAMPLES": f"{array} | Uint8ClampedArray" if spec.dtype == "uint8" else array,
        "INPUT": array,
        "NAME": model.source.name,
        "SHAPE": "×".join(map(str, spec.shape)),
        "DTYPE": spec.dtype,
        "UNITS": str(model.golden.code.shape[1]),
    }
    text = _text(f"package/{path}")
    if path in SCRIPTS:
        return text
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def _text(path: str) -> str:
    return (Path(__file__).parent / path).read_text(encoding="utf-8")
