"""Console output: results on standard output, progress and notes on standard error."""

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
"""Width of a table without a terminal."""
NUMBER = re.compile(r"[-+−]?[0-9][0-9.,]*(e[-+]?[0-9]+)?( ?[%×A-Za-z]{1,3})?")
"""A right-aligned cell: a number, optionally with a unit."""


def shown(text: str) -> str:
    """Text for a terminal: characters that nobody sees, such as controls in a stranger's file, as escapes."""
    from tiedae.base.unseen import visible

    return visible(text)


class Progress(Protocol):
    """Callback for the progress of long work.

    `stage`: name of the work; `epoch` of `epochs` and `step` of `steps`: from 1; `loss`: mean of the epoch so far, or NaN.
    """

    def __call__(self, stage: str, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None: ...


@dataclass
class Console:
    """Console output of a command; a context manager that stops the progress bar on exit.

    `verbosity`: −1 (results and errors only), 0 or 1 (with details). Progress is a bar per stage on a terminal, otherwise one
    flushed line per epoch.
    """

    verbosity: int = 0
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _stage: str = field(default="", init=False)
    _start: tuple[int, float] = field(default=(0, 0.0), init=False)
    _bars: Bars | None = field(default=None, init=False)
    _task: TaskID | None = field(default=None, init=False)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    @property
    def live(self) -> bool:
        """Whether progress bars are drawn."""
        return self.verbosity >= 0 and self.err.isatty()

    def say(self, text: str) -> None:
        """Print a result on standard output at any verbosity."""
        self._say(shown(text))

    def warn(self, text: str) -> None:
        """Print a result that needs attention and is no error, like `say`; in amber on a terminal."""
        text = f"! {shown(text)}"
        self._say(f"\x1b[33m{text}\x1b[0m" if self.out.isatty() else text)

    def note(self, text: str) -> None:
        """Print a note on standard error, unless -q."""
        if self.verbosity >= 0:
            self._write(text)

    def detail(self, text: str) -> None:
        """Print a detail on standard error, with -v."""
        if self.verbosity > 0:
            self._write(text)

    def error(self, text: str) -> None:
        """Print an error as one line at any verbosity."""
        self._write(f"tiedae: {' '.join(text.split())}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a result as a table; columns of numbers, except the first, are right-aligned."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console as Screen
        from rich.table import Table
        from rich.text import Text

        screen = Screen(file=self.out, highlight=False, width=None if self.out.isatty() else PLAIN_WIDTH)
        table = Table(title=Text(shown(title), style="bold"), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for i, column in enumerate(columns):
            right = i > 0 and all(NUMBER.fullmatch(str(row[i])) for row in rows)
            table.add_column(Text(shown(column)), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(str(cell))) for cell in row))
        with screen.capture() as drawn:
            screen.print(table)
        self._say("\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines()))

    def progress(self, stage: str, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Show the progress of work (see `Progress`)."""
        if self.verbosity < 0:
            return
        done, total, now = (epoch - 1) * steps + step, epochs * steps, self.clock()
        if stage != self._stage:
            self.finish()
            self._stage, self._start = stage, (done, now)
        first, begun = self._start
        left = _duration((now - begun) / (done - first) * (total - done)) if first < done < total else ""
        if self.err.isatty():
            self._draw(stage, done, total, _place(epoch, epochs, loss), left)
        elif step == steps:
            parts = (f"{stage:<12}", _place(epoch, epochs, loss), left)
            print("  ".join(part for part in parts if part), file=self.err, flush=True)

    def finish(self) -> None:
        """Stop the progress bar of the last stage."""
        if self._bars is not None:
            self._bars.stop()
        self._stage, self._bars, self._task = "", None, None

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

    def _say(self, text: str) -> None:
        self.finish()
        print(text, file=self.out, flush=True)

    def _write(self, text: str) -> None:
        self.finish()
        print(shown(text), file=self.err, flush=True)


def _place(epoch: int, epochs: int, loss: float) -> str:
    parts = [f"epoch {epoch}/{epochs}"] if epochs > 1 else []
    return "  ".join([*parts, *([] if math.isnan(loss) else [f"loss {loss:.4g}"])])


def _duration(seconds: float) -> str:
    """Remaining time as text, such as `1:05 left`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{clock} left"
