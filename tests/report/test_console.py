import io
import math
import os
import re
import subprocess
import sys

import pytest

from tiedae.report.console import Console


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Seconds that pass with every look at it."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


def plain(verbosity=0, clock=None):
    """A console without a terminal, and what comes out on either side."""
    out, err = io.StringIO(), io.StringIO()
    return Console(verbosity, out, err, clock or Clock(1.0)), out, err


def train(console, epochs=3, steps=4, stage="train"):
    for epoch in range(1, epochs + 1):
        for step in range(1, steps + 1):
            console.progress(stage, epoch, epochs, step, steps, 1 / (epoch * steps + step))


def test_without_a_terminal_an_epoch_is_a_line_with_loss_and_time_left():
    console, out, err = plain(clock=Clock(30.0))
    train(console)
    lines = err.getvalue().splitlines()
    assert [line.split("  ")[-2:] for line in lines] == [
        ["loss 0.125", "4:00 left"],
        ["loss 0.08333", "2:00 left"],
        [" epoch 3/3", "loss 0.0625"],  # what is left then is not training, and takes a time that is not known
    ]
    assert [re.findall(r"epoch (\S+)", line) for line in lines] == [["1/3"], ["2/3"], ["3/3"]]
    assert all(line.startswith("train ") for line in lines)
    assert out.getvalue() == ""


def test_a_resumed_stage_judges_its_pace_by_what_it_watched():
    console, _, err = plain()
    for epoch in (9, 10):
        for step in (1, 2):
            console.progress("train", epoch, 20, step, 2, 1.0)
    assert [line.split("  ")[-1] for line in err.getvalue().splitlines()] == ["0:22 left", "0:20 left"]


def test_on_a_terminal_a_bar_shows_stage_epoch_loss_and_time_left(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    err = Terminal()
    with Console(out=Terminal(), err=err, clock=Clock(30.0)) as console:
        train(console)
        train(console, stage="prune")
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue())
    for text in ("train", "prune", "epoch 3/3", "loss 0.0625"):
        assert text in drawn
    assert "0:00 left" not in drawn


def test_work_without_epochs_or_loss_shows_neither():
    console, _, err = plain()
    console.progress("verify", 1, 1, 1, 1, math.nan)
    assert err.getvalue().split() == ["verify"]


@pytest.mark.parametrize(("verbosity", "seen"), [(-1, []), (0, ["note"]), (1, ["note", "detail"])])
def test_verbosity_decides_what_is_said_but_never_hides_results_or_errors(verbosity, seen):
    console, out, err = plain(verbosity)
    console.note("note")
    console.detail("detail")
    console.say("result")
    console.error("two\nlines")
    assert err.getvalue().splitlines() == [*seen, "tiedae: two lines"]
    assert out.getvalue() == "result\n"
    train(console)
    assert ("epoch" in err.getvalue()) == (verbosity >= 0)


def test_a_table_lines_numbers_up_at_the_right_and_takes_markup_as_text():
    console, out, _ = plain()
    console.table("Result", ("", "error", "bytes"), [("Keras [float]", 7.5, "1,080 kB"), ("ours", "10.25", "540 kB")])
    lines = out.getvalue().splitlines()
    assert lines[0].strip() == "Result"
    assert [line.split() for line in lines[-2:]] == [["Keras", "[float]", "7.5", "1,080", "kB"], ["ours", "10.25", "540", "kB"]]
    assert len(lines[-1]) == len(lines[-2])


CHATTER = """
import os, sys
from tiedae.runtimes.native_output import kept_back
with kept_back() as err:
    os.write(2, b"native\\n")
    print("python", file=sys.stderr)
    print("ours", file=err)
    {last}
os.write(2, b"after\\n")
"""


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("pass", ["ours", "after"]),
        ("raise ValueError('mine')", ["ours", "native", "python", "ValueError: mine"]),
        ("os.abort()", ["ours", "Fatal Python error: Aborted"]),
    ],
)
def test_native_chatter_is_kept_back_unless_it_explains_a_failure(last, expected):
    code = CHATTER.format(last=last)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    traces = ("Traceback", " ", "Current thread", "Extension modules")
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(traces)]
    assert sorted(lines) == sorted(expected)


def test_control_characters_never_reach_the_terminal():
    console, out, err = plain(1)
    text = "a\x1b[2J\x9b31m\r\x00\u202eb"
    console.say(text)
    console.note(text)
    console.detail(text)
    console.error(text)
    console.table(text, [text, text], [[text, text]])
    shown = r"a\x1b[2J\x9b31m"
    assert out.getvalue().count(shown) == 6 and err.getvalue().count(shown) == 3
    assert not {"\x1b", "\x9b", "\r", "\x00", "\u202e"} & {*out.getvalue(), *err.getvalue()}


@pytest.mark.parametrize(
    ("out", "drawn"), [(io.StringIO, "! worse than \\x1b[2J\n"), (Terminal, "\x1b[33m! worse than \\x1b[2J\x1b[0m\n")]
)
def test_a_warning_is_amber_on_a_terminal_alone(out, drawn):
    """Its colour reaches the terminal, control characters of its text do not."""
    stdout = out()
    Console(0, stdout, io.StringIO(), Clock(1.0)).warn("worse than \x1b[2J")
    assert stdout.getvalue() == drawn
