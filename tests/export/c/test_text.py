"""Pieces of C text."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from tiedae.export.c.source import CSource
from tiedae.export.c.text import ConstantTable

from .compiled import shared

TABLES = {
    "none": [7, 7, 7],
    "none below": [-(1 << 31), -(1 << 31)],
    "uint8": [0, 255],
    "uint8 from 128": [128, 383],
    "uint8 for small numbers": [-1, 1],
    "int16": [-32768, 0, 32767],
    "uint16": [0, 65535],
    "uint16 from -300000": [-300_000, -300_000 + 65535],
    "int32": [-1, 65535],
    "int32 and the ends": [-(1 << 31), (1 << 31) - 1],
    "uint8 from far below": [-(1 << 40), 255 - (1 << 40)],
    "int64": [-(1 << 61), 1 << 61],
}
"""Values whose type is the first word of their name."""


def test_a_table_takes_the_smallest_type_and_gives_its_values(tmp_path: Path) -> None:
    tables = {
        what: ConstantTable(f"tae_table_{i}", np.array(values, np.int64)) for i, (what, values) in enumerate(TABLES.items())
    }
    functions, text = [], []
    for table in tables.values():
        functions.append(f"int64_t {table.name}_at(size_t i)")
        text += [table.definition, functions[-1], f"{{ (void)i; return {table.at('i', 64)}; }}"]
    header = "\n".join(["#include <stddef.h>", "#include <stdint.h>", *(f"{each};" for each in functions), ""])
    library = shared(CSource("tae", '#include "tae.h"\n' + "\n".join(text) + "\n", header, "", 4, {}), tmp_path)
    for what, table in tables.items():
        at = getattr(library, f"{table.name}_at")
        at.restype, at.argtypes = ctypes.c_int64, [ctypes.c_size_t]
        assert [at(i) for i in range(len(table.values))] == table.values.tolist(), what
        kind = what.split()[0]
        assert table.definition.startswith(f"static const {kind}_t ") if kind != "none" else not table.definition, what
