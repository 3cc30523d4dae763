"""Rows of `benchmarks/trust.py`: whether every check of `verify` was seen red."""

from __future__ import annotations

import re
import subprocess
import sys

from install import ROOT
from rows import Row

TESTS = "tests/verify/test_checks.py"


def check_rows() -> list[Row]:
    """`checks_without_damage`: checks and statements of verify that no damaged bundle turned red with its message; -1 where the
    tests fail otherwise."""
    sys.path.insert(0, str(ROOT))
    from tests.verify.damages import CASES
    from tiedae.verify.checks import CHECKS, STORAGE, row_of

    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "", "-rf", TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    broken = re.findall(r"^FAILED \S+\[(.+?)\]", done.stdout, re.MULTILINE)
    red = [red for what, case in CASES.items() if what not in broken for red in case.red]
    names = {row_of(each.kind, each.detail).name for each in red} | {each.statement for each in red}
    missing = [row.name for row in CHECKS if row.name not in names]
    missing += [f"storage {name}" for name in STORAGE if name not in names | {"order"}]
    detail = f"of {len(CHECKS)} checks and {len(STORAGE)} statements by {len(CASES)} damages: {'; '.join(missing) or 'none'}"
    value = len(missing) if missing or done.returncode == 0 else -1
    failed = f"; {TESTS} ended with {done.returncode}" * (done.returncode != 0)
    return [Row("checks_without_damage", value, "checks", "== 0", "", detail + failed)]
