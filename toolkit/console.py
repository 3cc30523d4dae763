"""What the user sees: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PLAIN_WIDTH = 128
"""Columns of a table where there is no terminal to ask."""


NUMBER = re.compile(r"[-+−]?[0-9][0-9.,]*(e[-+]?[0-9]+)?( ?[%×A-Za-z]{1,3})?")
"""A cell that belongs to the right: a number, perhaps with a unit."""


class Progress(Protocol):
    """How long work reports where it stands; a plain function will do.

    `stage` names the work; `epoch` of `epochs` and `step` of `steps` count what is done, from 1; `loss` is that of the epoch so
    far, NaN where there is none.
    """

    def __call__(self, stage: str, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None: ...


@dataclass
class Pace:
    """The time that the rest of one stage takes, judged by the part of it that was watched."""

    total: int
    first: int
    begun: float

    def left(self, done: int, now: float) -> float | None:
        """Seconds left after `done` of `total` steps; None before there is anything to judge by."""
        if done <= self.first:
            return None
        return (now - self.begun) / (done - self.first) * (self.total - done)


@dataclass
class Console:
    """A person's view of a command: use it as a context manager, so that a progress bar never outlives the work.

    `verbosity` is −1 (results and errors only), 0 or 1 (details as well). On a terminal progress is a bar per stage, elsewhere
    one line per epoch, each written out at once.
    """

    verbosity: int = 0
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _stage: str = field(default="", init=False)
    _pace: Pace | None = field(default=None, init=False)
    _bars: Bars | None = field(default=None, init=False)
    _task: TaskID | None = field(default=None, init=False)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    @property
    def live(self) -> bool:
        """Whether there is a screen to draw progress on."""
        return self.verbosity >= 0 and self.err.isatty()

    def say(self, text: str) -> None:
        """A result, on standard output, whatever the verbosity."""
        self.finish()
        print(text, file=self.out, flush=True)

    def note(self, text: str) -> None:
        """What a person may like to know while waiting, unless -q was given."""
        if self.verbosity >= 0:
            self._write(text)

    def detail(self, text: str) -> None:
        """What helps to find out why, with -v."""
        if self.verbosity > 0:
            self._write(text)

    def error(self, text: str) -> None:
        """One line about what went wrong, whatever the verbosity."""
        self._write(f"tiedae: {' '.join(text.split())}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A result as a table: the first column to the left, numbers to the right."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console as Screen
        from rich.table import Table
        from rich.text import Text

        screen = Screen(file=self.out, highlight=False, width=None if self.out.isatty() else PLAIN_WIDTH)
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for i, column in enumerate(columns):
            right = i > 0 and all(NUMBER.fullmatch(str(row[i])) for row in rows)
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        with screen.capture() as drawn:
            screen.print(table)
        self.say("\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines()))

    def progress(self, stage: str, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Show where the work stands (see `Progress`)."""
        if self.verbosity < 0:
            return
        done, now = (epoch - 1) * steps + step, self.clock()
        if stage != self._stage or self._pace is None:
            self.finish()
            self._stage, self._pace = stage, Pace(epochs * steps, done, now)
        left = _duration(self._pace.left(done, now))
        if self.err.isatty():
            self._draw(stage, done, epochs * steps, _place(epoch, epochs, loss), left)
        elif step == steps:
            parts = (f"{stage:<12}", _place(epoch, epochs, loss), left)
            print("  ".join(part for part in parts if part), file=self.err, flush=True)

    def finish(self) -> None:
        """Leave the bar of the stage that ran last as it stands."""
        if self._bars is not None:
            self._bars.stop()
        self._stage, self._pace, self._bars, self._task = "", None, None, None

    def _draw(self, stage: str, done: int, total: int, place: str, left: str) -> None:
        if self._bars is None or self._task is None:
            from rich.console import Console as Screen
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bars

            columns: list[Any] = [TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.fields[place]}")]
            self._bars = Bars(*columns, TextColumn("{task.fields[left]}"), console=Screen(file=self.err, highlight=False))
            self._task = self._bars.add_task(stage, total=total, place=place, left=left)
            self._bars.start()
        self._bars.update(self._task, completed=done, place=place, left=left)

    def _write(self, text: str) -> None:
        self.finish()
        print(text, file=self.err, flush=True)


def _place(epoch: int, epochs: int, loss: float) -> str:
    parts = [f"epoch {epoch}/{epochs}"] if epochs > 1 else []
    return "  ".join([*parts, *([] if math.isnan(loss) else [f"loss {loss:.4g}"])])


def _duration(seconds: float | None) -> str:
    """Time left as a person reads it, such as `1:05 left`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{clock} left"
