"""`baits_run`: no command runs a file that lies in the working folder, above it, in OUT or in a bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tiedae.cli.commands import COMMANDS

from .test_packages import CALLS

MODULES = (
    "ai_edge_litert",
    "conftest",
    "flatbuffers",
    "json",
    "keras",
    "msgspec",
    "numpy",
    "onnx",
    "onnxruntime",
    "sitecustomize",
    "tensorflow",
    "tf_keras",
    "tiedae",
    "usercustomize",
)
PROGRAMS = ("cc", "clang", "gcc", "node", "nvidia-smi", "size", "wasm-ld")
SECONDS = {"demo": 20.0, "search": 40.0, "bench": 40.0}
"""These take minutes, and are ended: `demo` and `search` while they train, `bench` while its children run."""
OF_A_RUN = ("sensitivity", "calibrate")
"""Commands that want the models of a run."""


def put_baits(folder: Path, marker: Path) -> None:
    """Files that write their path to `marker` where something runs them."""
    folder.mkdir(exist_ok=True)
    for name in MODULES:
        path = folder / f"{name}.py"
        path.write_text(f"with open({str(marker)!r}, 'a') as file:\n    print({str(path)!r}, file=file)\nraise SystemExit(3)\n")
    path = folder / "bait.pth"
    path.write_text(f"import pathlib; pathlib.Path({str(marker)!r}).write_text({str(path)!r})\n")
    for name in PROGRAMS:
        path = folder / name
        path.write_text(f"#!/bin/sh\necho {path} >> {marker}\nexit 3\n")
        path.chmod(0o755)
    package = folder / "node_modules" / "onnxruntime-node"
    package.mkdir(parents=True, exist_ok=True)
    (package / "package.json").write_text('{"name": "onnxruntime-node", "main": "index.js"}')
    (package / "index.js").write_text(f'require("fs").appendFileSync({str(marker)!r}, "{package}\\n")\n')


def run_among_baits(command: Sequence[str], folder: Path, seconds: float | None) -> tuple[int, str]:
    """The exit code of a command that ran in `folder`, 0 where it was ended, and the baits that ran."""
    marker = folder.parent.parent / "marker"
    for place in (folder, folder.parent, folder / "bundle", folder / "earlier"):
        put_baits(place, marker)
    environment = {name: value for name, value in os.environ.items() if name != "TIEDAE_NODE_MODULES"}
    code = 0
    with suppress(subprocess.TimeoutExpired):
        code = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, check=False, timeout=seconds
        ).returncode
    return code, marker.read_text(encoding="utf-8") if marker.exists() else ""


@pytest.mark.night
@pytest.mark.parametrize("name", COMMANDS)
def test_no_bait_runs(small_runs: Path, name: str) -> None:
    tiedae, folder = str(Path(sys.executable).with_name("tiedae")), small_runs / "table"
    for call in (*([CALLS["run"]] if name in OF_A_RUN else []), CALLS[name]):
        code, ran = run_among_baits([tiedae, *call, "-q"], folder, SECONDS.get(name))
        assert (code in (0, 1), ran) == (True, "")


def test_a_bait_that_runs_is_seen(small_runs: Path) -> None:
    """Python without `-P` takes modules of the folder."""
    _, ran = run_among_baits([sys.executable, "-m", "json.tool", "/dev/null"], small_runs / "table", 60)
    assert ran.strip().endswith("json.py")
