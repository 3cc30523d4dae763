"""What a library for phones is made of: a C file with its golden samples, and the values of its templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiedae.base.errors import ExportError
from tiedae.export.c.text import named
from tiedae.report.pages import render

from ..c.golden import golden_text
from ..c.layout import project_text
from ..calls import app_files, app_values
from ..model import AppModel

HERE = Path(__file__).parent
JAVA = """abstract assert boolean byte catch class extends final finally implements import instanceof interface native new null
package private protected public strictfp super synchronized this throw throws transient true false try"""
APPLE = "swift foundation dispatch darwin uikit xctest"
RESERVED = frozenset((*re.split(r"\s+", JAVA), *re.split(r"\s+", APPLE)))
"""What is no part of a package's name in Java, or is a module of Apple's. Words of C are no names of a C file."""


@dataclass(frozen=True)
class ValueType:
    """The type of a sample's value in Java and Swift; `letter` is Java's in signatures of methods."""

    java: str
    letter: str
    kotlin: str
    swift: str


VALUE_TYPES: Mapping[str, ValueType] = {
    "uint8": ValueType("byte", "B", "ByteArray", "UInt8"),
    "int16": ValueType("short", "S", "ShortArray", "Int16"),
    "uint16": ValueType("short", "S", "ShortArray", "UInt16"),
    "float32": ValueType("float", "F", "FloatArray", "Float"),
    "float64": ValueType("double", "D", "DoubleArray", "Double"),
}


@dataclass(frozen=True)
class NativeModel(AppModel):
    """A C file as a library. Without files in `golden` there is no codec.

    What makes files of it raises ExportError for data of float16.
    """

    @property
    def name(self) -> str:
        """What names begin with in C."""
        return self.source.name

    @property
    def word(self) -> str:
        """The name where Java and Swift take it."""
        return f"m_{self.name}" if self.name in RESERVED else self.name

    @property
    def value(self) -> ValueType:
        if self.spec.dtype not in VALUE_TYPES:
            raise ExportError(f"data: got {self.spec.dtype}, must be {', '.join(VALUE_TYPES)} in Java and Swift")
        return VALUE_TYPES[self.spec.dtype]

    @property
    def camel(self) -> str:
        """The name as a type: `ecg_5000` is Ecg5000."""
        return "".join(part.capitalize() for part in self.word.split("_"))

    @property
    def values(self) -> dict[str, Any]:
        """What templates take."""
        return app_values(self) | {
            "module": self.camel,
            "type": f"{self.camel}Model",
            "camel": self.camel,
            "package": f"tiedae.{self.word}",
            **vars(self.value),
        }


def rendered(template: Path, model: NativeModel, **more: Any) -> str:
    """The text of a template of `native/`, with the names of a model."""
    text = render(template, **model.values, **more).replace("NAMED", model.name)
    return named(text, model.name) if template.name.endswith((".c.j2", ".h.j2")) else text


def stream_files(model: NativeModel, folder: Path, path: str, suffix: str) -> dict[str, str]:
    """The texts of what comes and goes in pieces: each at `path`, its name and `suffix`, of a template in a folder."""
    values = model.values
    there = {
        "Format": values["compresses"] or values["decompresses"],
        "Stream": values["window"],
        "Writer": values["compresses"],
        "Reader": values["decompresses"],
    }
    return {f"{path}{name}{suffix}": rendered(folder / f"{name}{suffix}.j2", model) for name in there if there[name]}


def c_files(model: NativeModel) -> dict[str, str]:
    """The C texts by file name: the model, whole arrays and files around it, and the check of golden samples."""
    values, name = model.values, model.name
    check = golden_text(model.golden, model.source.signatures)
    included = f"{name}_float.h" if values["floats"] else f"{name}.h"
    texts = {
        f"{name}_check.c": project_text("check.c"),
        f"{name}_check.h": project_text("check.h"),
        f"{name}_golden.h": f'/* What Python computed. */\n#include "{included}"\n\n{check}',
    }
    texts = {path: named(text.replace("NAMED", name), name) for path, text in texts.items()}
    return dict(model.source.files) | app_files(values) | texts
