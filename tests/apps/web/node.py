"""Packages of `web_package` in folders, and calls of them in Node.js."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.apps.web.package import WebModel, web_package
from tiedae.apps.web.wasm import find_toolchain

from ...export.c.compiled import tool
from ...export.c.models import Made

SCRIPT = Path(__file__).with_name("drive.mjs")
ARRAYS = {
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int64": "BigInt64Array",
    "uint32": "Uint32Array",
}
DTYPES = {array: dtype for dtype, array in ARRAYS.items()}


def web_model(made: Made) -> WebModel:
    return WebModel(made.program, made.source, made.golden, made.model.program.spec, made.detector)


def write_package(made: Made, folder: Path) -> Path:
    """The package of a model in a folder, which it returns; skipped, or failed, where a tool is missing, see `tool`."""
    for name in ("clang", "wasm-ld", "node"):
        tool(name)
    return written(web_package(web_model(made), find_toolchain()), folder)


def written(files: Mapping[str, bytes], folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def call(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Results of (folder, load options, method, arguments…), or "Kind: message" of the error, as str."""
    text = json.dumps(calls, default=_plain)
    done = subprocess.run([tool("node"), SCRIPT], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert not done.returncode, done.stderr
    return [_revived(each["value"]) if "value" in each else each["error"] for each in json.loads(done.stdout)]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = np.frombuffer(value, np.uint8)
    if isinstance(value, np.ndarray):
        return {"array": ARRAYS[value.dtype.name], "bytes": base64.b64encode(value.tobytes()).decode()}
    return str(value)


def _revived(value: Any) -> Any:
    if isinstance(value, dict) and "bytes" in value:
        return np.frombuffer(base64.b64decode(value["bytes"]), DTYPES[value["array"]])
    return {key: _revived(each) for key, each in value.items()} if isinstance(value, dict) else value
