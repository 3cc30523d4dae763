"""Measurements in processes of their own, which start with nothing loaded and end with the measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from typing import Any

from ...compress.errors import UnavailableError


def lines_of(module: str, plan: object) -> Generator[Any, None, None]:
    """Run `python -m module` with `plan` as JSON on its standard input; yields what each line of its output says, parsed.

    The child ends with the iteration, however that ends. Raises UnavailableError with the child's last words where it fails.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile() as words:
        json.dump(plan, told)
        told.seek(0)
        command = [sys.executable, "-m", module]
        with subprocess.Popen(command, stdin=told, stdout=subprocess.PIPE, stderr=words, env=environment, text=True) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    yield json.loads(line)
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            words.seek(0)
            said = words.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UnavailableError(f"{module}: the measuring process ended with {child.returncode}: {said[-1]}")
