"""Whether the structure of the product holds: exported bytes, a target from outside, prose that code reads, names, lines.

The gate is tests/gate/test_gate.py, the target that of `wheel_target`. tests/test_sentences.py finds
where code reads prose, tests/test_names.py the names that several classes have.
"""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

from rows import Row
from tiedae.assemble import STAGES
from wheel_target import target_steps

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"].values()
SUFFIXES = {".py", ".j2", ".pyi", ".mjs"}
BEFORE = 50_172
"""Lines of the product in commit 2704762, before formats owned their operations."""
TAGS = (
    "p|div|span|table|t[drh]|thead|tbody|ul|li|h[1-6]|b|i|br|small|code|svg|rect|line|text|g|path|circle|a|img|figure|section"
)
MARKUP = re.compile(rf"</?(?:{TAGS})[ >/]")
"""An HTML or SVG tag in a line of Python."""


def example_files() -> list[Path]:
    """The texts of examples/."""
    return [path for path in (ROOT / "examples").rglob("*") if path.is_file() and path.suffix != ".zip"]


def structure_rows() -> list[Row]:
    files = [path for folder in PRODUCT for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files}
    sentences = runpy.run_path(str(ROOT / "tests" / "test_sentences.py"))
    prose = sentences["places"]()
    found = ", ".join(prose) or "nowhere"
    names = runpy.run_path(str(ROOT / "tests" / "test_names.py"))["duplicate_names"]()
    lines = sum(text.count("\n") for text in texts.values())
    changed, compared = changed_hashes()
    failed, steps = target_steps()
    python = ((path, text.splitlines()) for path, text in texts.items() if path.suffix == ".py")
    markup = [f"{path}:{i}" for path, each in python for i, line in enumerate(each, 1) if MARKUP.search(line)]
    ratio = lines / BEFORE
    examples = sum(path.read_bytes().count(b"\n") for path in example_files())
    carried = {stage.__name__: len(inspect.signature(stage).parameters) for stage in STAGES}
    return [
        Row("files_changed", changed, "hashes", "== 0", "", f"of {compared}, eight archives"),
        Row("target_failed", len(failed), "steps", "== 0", "", f"of {steps}, against the wheel: {', '.join(failed) or 'none'}"),
        Row("prose_parsed", len(prose), "places", "== 0", "", f"PROSE of tests/test_sentences.py: {found}"),
        Row("duplicate_class_names", len(names), "names", "== 0", "", ", ".join(sorted(names)) or "each class has its own"),
        Row("html_in_python_lines", len(markup), "lines", "<= 50", "== 0", ", ".join(markup) or f"none of {TAGS}"),
        Row(
            "assemble_carried",
            max(carried.values()),
            "parameters",
            "<= 5",
            "",
            ", ".join(f"{name} {count}" for name, count in carried.items()),
        ),
        Row("product_lines_ratio", ratio, "x", "<= 0.99", "<= 0.95", f"{lines:,} lines against {BEFORE:,}"),
        Row("example_lines", examples, "lines", "<= 4,800", "<= 4,000", "in `examples/`"),
    ]


def changed_hashes() -> tuple[int, int]:
    """How many hashes of the gate differ, and how many there are. The test's own function, in a process with its imports."""
    program = (
        "import json\n"
        "from tests.export.test_gate import HASHES, NAMES, differing\n"
        "stated = json.loads(HASHES.read_bytes())\n"
        "print(sum(len(differing(name)) for name in NAMES), sum(map(len, stated.values())))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    changed, compared = done.stdout.split()[-2:]
    return int(changed), int(compared)
