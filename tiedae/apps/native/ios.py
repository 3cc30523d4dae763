"""A Swift package around a model's C file: `swift_package`."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np

from .model import HERE, NativeModel, c_files, rendered, stream_files

WIDTH = 120


def swift_package(model: NativeModel) -> dict[str, bytes]:
    """The files by path: a C target, Swift functions around it, and tests of golden samples."""
    folder, module = HERE / "ios", model.camel
    texts = {f"Sources/C{module}/{name}": text for name, text in c_files(model).items()}
    public = f"{model.name}_app.h"  # alone: SwiftPM makes a module of all headers of include/
    texts[f"Sources/C{module}/include/{public}"] = texts.pop(f"Sources/C{module}/{public}")
    texts |= {
        "Package.swift": rendered(folder / "Package.swift.j2", model),
        "README.md": rendered(folder / "README.md.j2", model),
        f"Sources/{module}/{module}.swift": rendered(folder / "Model.swift.j2", model),
        **stream_files(model, folder, f"Sources/{module}/{module}", ".swift"),
        f"Tests/{module}Tests/{module}Tests.swift": rendered(folder / "Tests.swift.j2", model, arrays=_arrays(model)),
    }
    return {path: text.encode() for path, text in texts.items()}


def _arrays(model: NativeModel) -> list[tuple[str, str, list[str]]]:
    """Golden data for Swift: name, type of a value, lines of literals."""
    golden, values, kind = model.golden, model.values, model.value.swift
    data, decoded = golden.floats.get("data", golden.data), golden.floats.get("decoded", golden.decoded)
    found: list[tuple[str, str, np.ndarray]] = [("samples", kind, data), ("codes", "UInt8", golden.code)]
    if values["decodes"]:
        found.append(("decoded", kind, decoded))
    if values["scores"] and golden.scores is not None and golden.anomalies is not None and model.detector is not None:
        found.append(("scores", "Double", golden.scores * model.detector.scoring.factor))
        found.append(("anomalies", "Bool", golden.anomalies.astype(bool)))
    for file in golden.files if values["decompresses"] else ():
        found.append((file.kind, "UInt8", np.frombuffer(file.content, np.uint8)))
        if file.kind == "bounded":
            found.append(("boundedDecoded", kind, file.decoded))
    return [(name, each, wrap(", ".join(map(_literal, array.ravel().tolist())), WIDTH - 8)) for name, each, array in found]


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
