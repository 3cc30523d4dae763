"""Chromium, driven by playwright-core of TIEDAE_NODE_MODULES over lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiedae.runtimes.node import VARIABLE

from ...export.c.compiled import EXPECTED, tool

SCRIPT = Path(__file__).with_name("browse.mjs")
PACKAGE = "playwright-core"
SECONDS = 30


class Page:
    """One page of folders that are served; each operation of browse.mjs is a method."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def __getattr__(self, operation: str) -> Any:
        return lambda *values: self._ask(operation, *values)

    def until(self, expression: str) -> Any:
        """What an expression gives as soon as that is true."""
        deadline = time.monotonic() + SECONDS
        while not (found := self.look(expression)):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.text('status')}; {self.problems()}"
            time.sleep(0.02)
        return found

    def text(self, name: str) -> str:
        return self.look(f"document.getElementById({name!r}).textContent")

    def problems(self) -> list[str]:
        return self.look("[...document.querySelectorAll('#problems li')].map(each => each.textContent)")

    def facts(self) -> dict[str, str]:
        """What is stated of the sample, by name."""
        return self.look(
            "Object.fromEntries([...document.querySelectorAll('#facts div')]"
            ".map(e => [e.children[0].textContent, e.children[1].textContent]))"
        )

    def pixels(self, name: str) -> list[int]:
        """Red of each pixel of a canvas."""
        return self.look(
            f"(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0))"
            f"(document.getElementById({name!r}))"
        )

    def opened(self, *paths: Path) -> str:
        """Open files; the status line after that."""
        self.look("document.getElementById('status').textContent = ''")
        self.files(*map(str, paths))
        return self.until("document.getElementById('status').textContent")

    def _ask(self, operation: str, *values: Any) -> Any:
        sink, source = self._child.stdin, self._child.stdout
        assert sink and source
        sink.write(json.dumps([operation, *values]) + "\n")
        sink.flush()
        answer = json.loads(source.readline() or '{"error": "Node.js has ended"}')
        assert "error" not in answer, f"{operation} {values}: {answer['error']}"
        return answer["value"]


def module_folder() -> Path:
    """The folder of playwright-core's modules; the test is skipped where it is missing, and fails where it is expected."""
    folder = os.environ.get(VARIABLE)
    if folder and (Path(folder) / PACKAGE / "package.json").is_file():
        return Path(folder)
    if PACKAGE in EXPECTED:
        pytest.fail(f"{PACKAGE} was to be installed in {VARIABLE}")
    pytest.skip(f"no {PACKAGE} in {VARIABLE}: npm install --ignore-scripts {PACKAGE}")


@contextlib.contextmanager
def browser(root: Path, sound: Path | None = None) -> Iterator[Page]:
    """A page of the folders in `root`; `sound`: a .wav file that the microphone hears, which is not there otherwise."""
    command = [tool("node"), str(SCRIPT), str(root), str(module_folder()), tool("chromium"), *([str(sound)] if sound else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            yield Page(child)
        finally:
            assert child.stdin
            child.stdin.close()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
