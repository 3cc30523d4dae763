"""Tests against the wheel: the target of docs/explanation/architecture.md through every step of tests/export/test_targets.py.

The wheel is built from a copy of the files that Git knows, and unpacked into a folder, which is on Python's path
in place of the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from install import ROOT, wheel

TESTS = "tests/export/test_targets.py"


def target_steps() -> tuple[list[str], int]:
    """The steps of the target that fail, and how many there are."""
    return wheel_steps(TESTS)


def wheel_steps(tests: str) -> tuple[list[str], int]:
    """The tests that fail, and how many ran. Raises RuntimeError where they would not run, or not with the wheel."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        package = unpacked_wheel(folder)
        environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}  # not the checkout's, where this runs
        where = [sys.executable, "-c", "import tiedae.export.targets as found; print(found.__file__)"]
        imported = subprocess.run(where, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        if not Path(imported).is_relative_to(package):
            raise RuntimeError(f"got {imported}, must be in the wheel's folder {package}")
        report = folder / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            tests,
        ]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if not report.is_file():
            raise RuntimeError(f"{tests}: {(done.stdout + done.stderr)[-2000:]}")
        return failed(report.read_text(encoding="utf-8"))


def unpacked_wheel(folder: Path) -> Path:
    """The folder of an unpacked wheel of this checkout, in `folder`."""
    package = folder / "package"
    with zipfile.ZipFile(wheel(folder)) as archive:
        archive.extractall(package)
    return package


def failed(report: str) -> tuple[list[str], int]:
    """The names of the tests of a JUnit report that did not pass, and how many it has; RuntimeError for none."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    if not cases:
        raise RuntimeError("no test ran")
    wrong = [case for case in cases if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))]
    return sorted({case.get("name", "") for case in wrong}), len(cases)
