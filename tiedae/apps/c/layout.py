"""A folder around a C file that people build at once: `c_project`. docs/guides/c.md describes it."""

from __future__ import annotations

import re
from pathlib import Path

from tiedae.export.c.source import CSource
from tiedae.export.c.text import named

from .core import CoreBytes
from .golden import GoldenSamples, golden_text

PROJECT = {
    "README.md": "README.md",
    "CMakeLists.txt": "CMakeLists.txt",
    "library.properties": "library.properties",
    "main.c": "main.c",
    "check.ino": "examples/check/check.ino",
    "check.c": "examples/check/NAMED_check.c",
    "check.h": "examples/check/NAMED_check.h",
    "module.yml": "zephyr/module.yml",
    "zephyr.cmake": "zephyr/CMakeLists.txt",
}
"""The files of `project/`, and their places in the folder."""
_MACRO = re.compile(r"/\* ((?:(?!\*/).)+?)\.? \*/\n#define (\w+\(\w+\)) ", re.DOTALL)
_TAKEN = "\n| memory of the core | size |\n|---|---|\n"


def size_macros(source: CSource) -> dict[str, str]:
    """The macros of NAME.h that say how large a buffer must be, in their order: its meaning by the call."""
    return {call: " ".join(text.split()) for text, call in _MACRO.findall(source.header)}


def c_project(source: CSource, golden: GoldenSamples, taken: CoreBytes | None = None) -> dict[str, bytes]:
    """The files by path: the sources of a C file, a check of golden data, and what builds them.

    CMake, Arduino and Zephyr know the folder; README.md has its memory map, with what is `taken` of a core's memory.
    """
    macros = "".join(f"| caller | {meaning} | `{call}` |\n" for call, meaning in size_macros(source).items())
    values = {
        "SAMPLES": f"{len(golden.data)}",
        "ARENA": f"{source.arena:,}",
        "VALUES": f"{golden.data.shape[1]:,}",
        "UNITS": f"{golden.code.shape[1]:,}",
    }
    texts = {place: project_text(name) for name, place in PROJECT.items()}
    texts["README.md"] = re.sub(r"\b[A-Z]{5,7}\b", lambda found: values.get(found[0], found[0]), texts["README.md"]) + macros
    if taken is not None:
        texts["README.md"] += _TAKEN + "".join(f"| {what} | {size} |\n" for what, size in taken.rows)
    included = "NAMED_float.h" if golden.floats else "NAMED.h"
    data = golden_text(golden, source.signatures)
    texts["examples/check/NAMED_golden.h"] = f'/* What Python computed. */\n#include "{included}"\n\n{data}'
    texts = {
        path.replace("NAMED", source.name): named(text.replace("NAMED", source.name), source.name)
        for path, text in texts.items()
    }
    sources = {f"src/{name}": text for name, text in source.files.items()}
    return {path: text.encode() for path, text in (sources | texts).items()}


def project_text(name: str) -> str:
    """The text of a file of `project/`, before it has the names of a model."""
    return (Path(__file__).parent / "project" / name).read_text(encoding="utf-8")
