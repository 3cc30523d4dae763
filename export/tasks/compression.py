"""Compression: codes are stored or sent, and decoded later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from ..manifest import Manifest
from .results import CompressionResult
from .row import Exported, TableRow, TaskMeasurement, TaskRow


def measure(exported: Exported) -> TaskMeasurement:
    spec, code = exported.data.spec, exported.program.tensors["code"]
    bits = int(np.prod(code.shape)) * exported.program.quantization("code").bits
    return TaskMeasurement(CompressionResult(spec.inputs * np.dtype(spec.dtype).itemsize, -(-bits // 8)))


def section(manifest: Manifest, result: CompressionResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    return Markup()


def card(result: CompressionResult) -> str:
    return ""


def rows(result: CompressionResult) -> Sequence[TableRow]:
    return ()


ROW = TaskRow("Compression", measure, section, card, rows)
