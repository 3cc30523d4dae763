"""Whether the structure of the product holds: exported bytes, the order of folders, a target from outside.

    python benchmarks/structure.py --json structure.json
    python benchmarks/structure.py --suite --json suite.json            # how long the tests take, alone

The gate is tests/gate/test_gate.py, the order of folders that of tests/test_layers.py, the target that of `wheel_target`.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from kind_steps import kind_row
from rows import Row, arguments_of, report
from shapes import shapes_row
from wheel_target import target_steps

from tiedae.pipeline.assemble import STAGES

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--suite", action="store_true", help="only how long `make test` and `.ci/run` take, on idle cores")
    arguments = parser.parse_args()
    if arguments.suite:
        return report("Structure", lambda _: suite_rows(), arguments.json)
    return report("Structure", lambda _: structure_rows(), arguments.json)


def suite_rows() -> list[Row]:
    subprocess.run(("make", "setup"), cwd=ROOT, check=True)
    limits = {"suite_seconds": ("make test", "<= 420", "<= 300"), "ci_seconds": (".ci/run", "<= 1200", "<= 900")}
    return [Row(name, seconds_of(command), "s", reach, stretch, command) for name, (command, reach, stretch) in limits.items()]


def seconds_of(command: str) -> float:
    start = time.monotonic()
    subprocess.run(command.split(), cwd=ROOT, check=True, stdout=sys.stderr)
    return time.monotonic() - start


def structure_rows() -> list[Row]:
    layers = vars(import_module("tests.test_layers"))
    upward = layers["upward_imports"]()
    graphs = {"modules": layers["IMPORTS"], **{folder: layers["inside"](folder) for folder in layers["FOLDERS"]}}
    circles = {name: found for name, graph in graphs.items() if (found := layers["circle"](graph))}
    changed, compared = changed_hashes()
    failed, steps = target_steps()
    carried = {stage.__name__: len(inspect.signature(stage).parameters) for stage in STAGES}
    clear = f"of {len(graphs)}: {circles or 'all modules, and the parts of each folder'}"
    stages = ", ".join(f"{name} {count}" for name, count in carried.items())
    return [
        Row("files_changed", changed, "hashes", "== 0", "", f"of {compared}, eight archives"),
        Row("upward_imports", len(upward), "imports", "== 0", "", ", ".join(upward) or "types included"),
        Row("import_circles", len(circles), "graphs", "== 0", "", clear),
        Row("target_failed", len(failed), "steps", "== 0", "", f"of {steps}, against the wheel: {', '.join(failed) or 'none'}"),
        Row("example_lines", example_lines(), "lines", "<= 4800", "<= 4000", "in `examples/`"),
        Row("assemble_carried", max(carried.values()), "parameters", "<= 5", "", stages),
        shapes_row(),
        kind_row(),
    ]


def example_lines() -> int:
    """Lines of the texts of examples/."""
    files = [path for path in (ROOT / "examples").rglob("*") if path.is_file() and path.suffix != ".zip"]
    return sum(path.read_bytes().count(b"\n") for path in files)


def changed_hashes() -> tuple[int, int]:
    """How many hashes of the gate differ, and how many there are. The test's own function, in a process with its imports."""
    program = (
        "import json\n"
        "from tests.gate.test_gate import HASHES, NAMES, differing\n"
        "stated = json.loads(HASHES.read_bytes())\n"
        "print(sum(len(differing(name)) for name in NAMES), sum(map(len, stated.values())))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    changed, compared = done.stdout.split()[-2:]
    return int(changed), int(compared)


if __name__ == "__main__":
    sys.exit(main())
