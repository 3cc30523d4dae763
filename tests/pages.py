"""Pages of documentation, run as a reader runs them: their fenced blocks in order, in one folder.

A block whose first line is a comment with a file's name, such as `# recipe.toml`, is that file. Bash runs an `sh` block.
Successive `python` blocks are one program. A `text` block shows lines of what the block before it printed. They follow in this
order, other lines may lie between them. Their words are equal, and their numbers differ by a tenth at most. The variable TIEDAE
is the repository's folder.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"(?:#|//) ([\w.-]+\.\w+)\n")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
NUMBERS_DIFFER = 0.1
"""How far a number that a page shows may be from the one that was printed, as a fraction."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that the text begins at."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is."""
        name = FILE_NAME.match(self.text)
        return name and name[1]


@dataclass(frozen=True)
class Step:
    """What one process runs, and the blocks that show what it printed."""

    language: str
    text: str
    line: int
    shown: tuple[Block, ...] = ()


class PageError(AssertionError):
    """A step of a page fails, or prints something else than the page shows."""


def blocks_of(page: Path | str, *languages: str) -> list[Block]:
    """The fenced blocks of a page, a path or its text: those of these languages, or all."""
    text = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    blocks = [Block(match[1], match[2], text[: match.start(2)].count("\n") + 1) for match in FENCED.finditer(text)]
    return [block for block in blocks if not languages or block.language in languages]


def program_of(page: Path | str, language: str = "python") -> str:
    """All blocks of one language as one text."""
    return "\n".join(block.text for block in blocks_of(page, language))


def steps_of(blocks: Sequence[Block]) -> Iterator[Block | Step]:
    """Files to write and steps to run, in order."""
    step: Step | None = None
    for block in blocks:
        if block.language == "text":
            if step is None:
                raise PageError(f"line {block.line}: shows what nothing printed")
            step = Step(step.language, step.text, step.line, (*step.shown, block))
            continue
        if not block.file and block.language not in RUN:
            raise PageError(f"line {block.line}: a {block.language} block that is neither run nor a named file")
        if step and step.language == block.language == "python" and not block.file:
            step = Step("python", f"{step.text}\n{block.text}", step.line, step.shown)
            continue
        if step:
            yield step
        step = None if block.file else Step(block.language, block.text, block.line)
        if block.file:
            yield block
    if step:
        yield step


RUN = {"sh": ("bash", "-euo", "pipefail", "-c"), "python": (sys.executable, "-c")}
"""What runs the text of a block, by its language."""


def run_page(page: Path, folder: Path, *, seconds: int = 900) -> None:
    """Run every step of a page in `folder`; PageError, with the line of the page, for the first that fails or takes longer."""
    name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "128", "TIEDAE": str(ROOT)}
    for step in steps_of(blocks_of(page)):
        if isinstance(step, Block):
            (folder / str(step.file)).write_text(step.text, encoding="utf-8")
            continue
        code, printed = run_step(step, folder, environment, seconds)
        if code:
            raise PageError(f"{name}:{step.line}: {code}\n{printed[-4000:]}")
        for block in step.shown:
            if missing := not_printed(block.text, printed):
                raise PageError(f"{name}:{block.line}: shows {missing!r}, which was not printed\n{printed[-4000:]}")


def run_step(step: Step, folder: Path, environment: dict[str, str], seconds: int) -> tuple[str, str]:
    """(what went wrong, or nothing; what it printed) of one step, whose processes end with it."""
    with subprocess.Popen(
        [*RUN[step.language], step.text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"not done after {seconds} s", process.communicate()[0]
    return f"exit code {process.returncode}" if process.returncode else "", printed


def not_printed(shown: str, printed: str) -> str:
    """The first line of `shown` that `printed` does not have after the lines before it; empty where it has all."""
    lines = iter(printed.splitlines())
    for line in filter(str.strip, shown.splitlines()):
        if not any(agree(line, other) for other in lines):
            return line
    return ""


def agree(shown: str, printed: str) -> bool:
    """Whether two lines have equal words, and numbers that differ by `NUMBERS_DIFFER` at most."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(
        *([float(number.replace(",", "")) for number in NUMBER.findall(line)] for line in (shown, printed)), strict=True
    )
    return all(abs(left - right) <= NUMBERS_DIFFER * max(left, right) for left, right in pairs)
