"""What a command is, and what several commands do. Every module that a command needs is imported when it runs."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ..console import Console

if TYPE_CHECKING:
    from tiedae.export.verify.results import Metrics

RUNS = Path("runs")
"""Where the folders of runs are by default."""
TRAINING = ("tensorflow", "tf_keras", "tensorflow_model_optimization")
"""What trains a model, or loads one."""
SHOWN = 5
"""How many warnings are listed."""


class Command(Protocol):
    """A module that is a command: its name, its help, its arguments, and what it does, which a TiedaeError ends."""

    __name__: str
    __doc__: str | None

    def add_arguments(self, parser: Parser, /) -> None: ...
    def run(self, call: Call, /) -> None: ...


class WrongCall(Exception):
    """The command line does not parse."""


class Parser(ArgumentParser):
    """Reports a wrong call as one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise WrongCall(f"{message}; see `{self.prog} --help`")

    def add_value(self, name: str, metavar: str, text: str | None = None, **options: Any) -> None:
        self.add_argument(name, metavar=metavar, help=text, **options)

    def add_path(self, name: str, metavar: str, text: str | None = None, **options: Any) -> None:
        self.add_value(name, metavar, text, type=Path, **options)

    def add_flag(self, name: str, text: str) -> None:
        self.add_argument(name, action="store_true", help=text)

    def add_run_folder(self, default: str, work: str, other: str) -> None:
        """The folder of a command that can go on with the `work` in it, or replace an `other` one."""
        self.add_path("--out", "DIR", f"where to (default: {RUNS}/{default})")
        existing = self.add_mutually_exclusive_group()
        existing.add_argument("--resume", action="store_true", help=f"go on with the {work} that DIR holds")
        existing.add_argument("--force", action="store_true", help=f"replace another {other} in DIR")


class Call(Namespace):
    """The arguments of a call, each by its name, and the console that it speaks on."""

    console: Console

    def write(self, value: Any, forms: Mapping[str, Callable[[Any], str | bytes]]) -> None:
        """Write a value to the FILE of every option that was given, in that option's form."""
        from tiedae.compress.files import write_atomic

        for option, form in forms.items():
            if path := getattr(self, option):
                written = form(value)
                write_atomic(path, written.encode() if isinstance(written, str) else written)


def as_json(value: object, *, ascii: bool = False) -> str:
    return json.dumps(value, indent=2, ensure_ascii=ascii)


def require_packages(*modules: str) -> None:
    """Raise UnavailableError, exit code 2, where a package is missing that no bare install has."""
    from tiedae.compress.packages import require_installed

    require_installed(*modules)


def require_for(bundle: Path, model: Path | None) -> None:
    """What runs a bundle's files, and the Keras model of its run where one is given."""
    require_packages(*(("onnxruntime",) if any(bundle.glob("*.onnx")) else ()), *(TRAINING if model else ()))


def require_checks(bundle: Path, metrics: Metrics) -> None:
    """Raise CheckError, exit code 1, naming the first check that failed."""
    from tiedae.compress.errors import CheckError

    if metrics.failed:
        raise CheckError(f"{bundle}: {len(metrics.failed)} of {len(metrics.checks)} checks failed: {metrics.failed[0].text}")


def say_quality(metrics: Metrics, console: Console) -> None:
    """What the quality is, in the user's unit, and a note for each of the worst columns that it warns of."""
    from tiedae.export.parity.fidelity import MEANINGS

    measure = next((row.fidelity.measure for row in metrics.quality if row.fidelity), None)
    if measure is not None:
        console.say(f"quality: {measure} = {MEANINGS[measure]}")
    for warning in metrics.warnings[:SHOWN]:
        console.note(f"warning: column {warning.text}")
    if len(metrics.warnings) > SHOWN:
        console.note(f"warning: {len(metrics.warnings) - SHOWN} more columns, see `warnings` in metrics.json")
