"""What a command is, and what several commands do. Every module that a command needs is imported when it runs."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO

from tiedae.report.console import Console

if TYPE_CHECKING:
    from tiedae.bundle.results import Metrics

RUNS = Path("runs")
"""Where the folders of runs are by default."""
STDOUT = Path("-")
"""An output file of this name is standard output."""
TRAINING = ("tensorflow", "tf_keras", "tensorflow_model_optimization")
"""What trains a model, or loads one."""


class Command(Protocol):
    """A module that is a command: its help, its arguments, and what it does. A TiedaeError ends it.

    `FAILS` says what exit code 1 means, where it is used.
    """

    __doc__: str | None

    def add_arguments(self, parser: Parser, /) -> None: ...
    def run(self, call: Call, /) -> None: ...


class WrongCall(Exception):
    """The command line does not parse."""


class Parser(ArgumentParser):
    """Reports a wrong call as one line, like every other error. Knows which arguments are inputs, and which are outputs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.inputs: list[str] = []
        self.files: list[str] = []
        self.folders: list[str] = []

    def error(self, message: str) -> NoReturn:
        message = message.replace("argument --json: expected one argument", "--json: needs a FILE, or - for standard output")
        raise WrongCall(f"{message}; see `{self.prog} --help`")

    def add_value(self, name: str, metavar: str, text: str | None = None, **options: Any) -> None:
        self.add_argument(name, metavar=metavar, help=text, **options)

    def add_flag(self, name: str, text: str) -> None:
        self.add_argument(name, action="store_true", help=text)

    def add_path(self, name: str, metavar: str, text: str | None = None, **options: Any) -> None:
        """A file or folder that the command reads."""
        options.setdefault("type", Path)
        self.inputs.append(self.add_argument(name, metavar=metavar, help=text, **options).dest)

    def add_bundle(self) -> None:
        """The bundle that the command reads; `Call.locate_bundle` and `bundle_of` find it in OUT of a run."""
        self.add_path("bundle", "BUNDLE", "a bundle, or OUT of a run")

    def add_file(self, *names: str, text: str, **options: Any) -> None:
        """A file that the command writes."""
        if not self.files and not self.folders:
            self.add_flag("--force", "replace files that are there already")
        self.files.append(self.add_argument(*names, metavar="FILE", help=text, type=Path, **options).dest)

    def add_json(self, what: str) -> None:
        self.add_file(
            "--json", text=f"write {what} as JSON; - for standard output, everything else then goes to standard error"
        )

    def add_new_folder(self, what: str) -> None:
        """A folder that the command writes as a whole."""
        text = f"where to: {what}"
        self.folders.append(self.add_argument("-o", "--out", metavar="DIR", help=text, type=Path, required=True).dest)

    def add_run_folder(self, default: str, work: str, other: str) -> None:
        """The folder of a command that can continue the `work` in it, or replace an `other` one."""
        text = f"where to (default: {RUNS}/{default})"
        self.folders.append(self.add_argument("-o", "--out", metavar="DIR", help=text, type=Path).dest)
        existing = self.add_mutually_exclusive_group()
        existing.add_argument("--resume", action="store_true", help=f"continue the {work} that DIR holds")
        existing.add_argument(
            "--force", action="store_true", help=f"replace the {work}, or another {other}, that DIR holds, and FILE"
        )


class Call(Namespace):
    """The arguments of a call, each by its name, and the console that it speaks on."""

    console: Console
    parser: Parser
    stdout: TextIO
    written: bool = False

    def given(self, names: list[str]) -> dict[str, Path]:
        """The paths among some arguments, by option; none where an argument was left out."""
        return {f"--{name}": path for name in names if (path := getattr(self, name)) is not None}

    @property
    def to_stdout(self) -> bool:
        """Whether an output is standard output, so that nothing else may be written there."""
        return STDOUT in self.given(self.parser.files).values()

    def locate_bundle(self) -> Path:
        """The bundle that the argument BUNDLE is, or holds as OUT of a run; InputError where it is neither."""
        from tiedae.codec.opening import bundle_of

        self.bundle = bundle_of(self.bundle).path
        return self.bundle

    def require_suffix(self, *suffixes: str) -> None:
        """Raise InputError unless --out ends in one of these, before any work."""
        from tiedae.base.errors import InputError

        if self.out != STDOUT and self.out.suffix.lower() not in suffixes:
            raise InputError(f"--out {self.out}: must end in {' or '.join(suffixes)}")

    def check_outputs(self, *read: Path) -> None:
        """Raise InputError where an output is read too (`read`: what the arguments do not name), is another output as well, or
        is there already and not to be replaced."""
        from tiedae.base.errors import InputError

        files, inputs = self.given(self.parser.files), list(read)
        for value in self.given(self.parser.inputs).values():
            inputs += map(Path, value if isinstance(value, list) else [value])
        options: dict[Path, str] = {}
        for option, path in (self.given(self.parser.folders) | files).items():
            other = options.setdefault(path if path == STDOUT else Path(os.path.realpath(path)), option)
            if other != option:
                raise InputError(f"{option} {path}: is {other} too, must be another")
            if option not in files or path == STDOUT:
                continue
            for source in inputs:
                if _holds(source, path):
                    raise InputError(
                        f"{option} {path}: is {'in ' if source.is_dir() else ''}the input {source}, must be another"
                    )
            if path.is_dir():
                raise InputError(f"{option} {path}: is a folder, must be a file")
            if path.is_file() and not self.force and not (option == "--out" and getattr(self, "append", False)):
                raise InputError(f"{option} {path}: {self.there}")

    @property
    def there(self) -> str:
        """What is said of an output file that is there already; where --force replaces a whole run, that is not advised."""
        return "is there already, must be a new file" + ("" if self.parser.folders else "; --force replaces it")

    def write(self, value: Any, forms: Mapping[str, Callable[[Any], str | bytes]] | None = None) -> None:
        """Write a value to the FILE of --json, and of every other option of `forms`, that was given, in that option's form."""
        from tiedae.base.errors import InputError
        from tiedae.base.files import write_atomic

        for option, form in ({"json": as_json} | dict(forms or {})).items():
            if (path := getattr(self, option, None)) is None:
                continue
            written = form(value)
            text = written.encode() if isinstance(written, str) else written
            if path == STDOUT:
                print(text.decode(), end="", file=self.stdout, flush=True)
                self.written = True
                continue
            try:
                write_atomic(path, text, replace=self.force)
            except FileExistsError:
                if not path.exists():
                    raise
                raise InputError(f"--{option} {path}: {self.there}") from None

    def write_failure(self, error: str, code: int) -> None:
        """Write the error where --json is standard output and nothing was written there: a script that listens gets JSON."""
        if getattr(self, "json", None) == STDOUT and not self.written:
            print(as_json({"error": error, "exit": code}), end="", file=self.stdout, flush=True)


def _holds(source: Path, path: Path) -> bool:
    """Whether a path is the source, also by another name, or lies in it."""
    same = source.exists() and path.exists() and source.samefile(path)
    return same or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(source))


def as_json(value: object) -> str:
    """A record or plain value as JSON; in ASCII, since names in files of other tools may be no text."""
    from tiedae.base.records import plain

    return json.dumps(plain(value), indent=1, allow_nan=False) + "\n"


def require_packages(*modules: str) -> None:
    """Raise UnavailableError, exit code 2, where a package is missing that no bare install has."""
    from tiedae.base.packages import require_installed

    require_installed(*modules)


def require_for(bundle: Path, model: Path | None) -> None:
    """What runs a bundle's files, and the Keras model of its run where one is given."""
    require_packages(*(("onnxruntime",) if any(bundle.glob("*.onnx")) else ()), *(TRAINING if model else ()))


def require_checks(bundle: Path, metrics: Metrics) -> None:
    """Raise CheckError, exit code 1, naming the first check that failed."""
    from tiedae.base.errors import CheckError

    if metrics.failed:
        raise CheckError(f"{bundle}: {len(metrics.failed)} of {len(metrics.checks)} checks failed: {metrics.failed[0].text}")


def say_verdict(metrics: Metrics, console: Console) -> None:
    """The verdict in one line, its findings, and what was not compared."""
    from tiedae.report.verdict import summary, texts, uncompared_text

    if metrics.verdict is None:
        return
    say = console.warn if metrics.verdict.findings else console.say
    for text in (f"verdict: {summary(metrics.verdict)}", *texts(metrics.verdict)):
        say(text)
    if text := uncompared_text(metrics.verdict):
        console.say(f"not compared with {text}")


def say_checks(metrics: Metrics, console: Console) -> None:
    """The quality of unscaled samples, a note for each kind of warning, and every check with -v."""
    from tiedae.bundle.fidelity import meaning
    from tiedae.bundle.results import warning_lines

    for check in metrics.checks:
        console.detail(f"{'ok' if check.ok else 'FAILED'}  {check.text}")
    measure = next((row.fidelity.measure for row in metrics.quality if row.fidelity), None)
    if measure is not None:
        console.say(f"quality: {measure} = {meaning(measure, metrics.samples)}")
    for line in warning_lines(metrics.warnings):
        console.note(f"warning: {line}")
