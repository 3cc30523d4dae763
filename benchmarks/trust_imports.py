"""Rows of imports: what crafted models of at most 1 MB take of processor time and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rows import Row

from tests.compress.imports.costly_files import COSTLY
from tests.compress.imports.costs import COMMANDS, MEMORY, SECONDS, cost
from tiedae.report.console import Console


def import_rows(console: Console) -> Sequence[Row]:
    """The longest and the largest of inspecting and importing each file, and whichever ended without a value or a line."""
    seconds, memory, ended = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, write) in enumerate(COSTLY.items()):
            console.note(f"imports: {name}, file {number + 1} of {len(COSTLY)}")
            path = write(Path(folder) / f"{number}.{name.rpartition('.')[2]}")
            found = [cost(read, path) for read in COMMANDS]
            seconds[name] = max(each.seconds for each in found)
            memory[name] = max(each.memory for each in found) - 10 * path.stat().st_size
            ended += [f"{name}: {each.ended}" for each in found if each.ended]
    slowest, largest = (max(values, key=lambda name, values=values: values[name]) for values in (seconds, memory))
    of = f"of {len(COSTLY)} files; {'; '.join(ended) or 'each is read, or one line'}"
    return [
        Row("import_seconds", seconds[slowest], "s", f"<= {SECONDS:g}", "", f"{slowest}, {of}"),
        Row("import_mb", memory[largest] / 1e6, "MB beyond 10 × the file", f"<= {MEMORY >> 20}", "", f"{largest}, {of}"),
    ]
