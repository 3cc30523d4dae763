"""Processes of their own: answers as they come, and every way in which a child can end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tiedae.base.errors import UnavailableError
from tiedae.runtimes.child_process import Ended, lines_of

CHILD = """
import os, signal, sys, time
from pathlib import Path
from tiedae.runtimes.child_process import serve

def answer(plan):
    print("what a native library says")
    os.write(1, b"and past Python's own stream\\n")
    for index, pause in enumerate(plan["pauses"]):
        time.sleep(pause)
        yield index
    exec(plan.get("then", ""))
    Path(__file__).with_suffix(".over").touch()

if __name__ == "__main__":
    serve(answer)
"""


@pytest.fixture(autouse=True)
def over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the child leaves at its end."""
    (tmp_path / "a_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "a_child.over"


def test_answers_are_apart_from_what_is_printed(over: Path):
    assert list(lines_of("a_child", {"pauses": [0, 0, 0]})) == [0, 1, 2]
    assert over.exists()


def test_a_child_ends_with_the_iteration(over: Path):
    lines = lines_of("a_child", {"pauses": [0, 60]})
    assert next(lines) == 0
    begun = time.monotonic()
    lines.close()
    assert time.monotonic() - begun < 30 and not over.exists()


def test_the_time_is_that_of_one_answer():
    """Two answers that take more than the limit together, then one that takes more alone."""
    lines, found = lines_of("a_child", {"pauses": [0, 2, 2, 60]}, 3.0), []
    with pytest.raises(Ended, match="a_child: the process did not answer within 3 s"):
        found += lines  # `+=` keeps what came before the error
    assert found == [0, 1, 2]


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("sys.exit('not today')", "failed: not today"),
        ("os._exit(3)", "failed: and past Python's own stream"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "crashed (SIGSEGV)",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
        ),
    ],
)
def test_the_end_is_named(then: str, how: str):
    with pytest.raises(UnavailableError) as caught:
        list(lines_of("a_child", {"pauses": [], "then": then}))
    assert isinstance(caught.value, Ended) and caught.value.how.startswith(how)


def test_a_module_that_is_missing_is_named():
    with pytest.raises(UnavailableError, match="No module named"):
        list(lines_of("tiedae.no_such_module", {}))
