"""The command line. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .chatter import kept_back
from .console import Console

FULL = (errno.ENOSPC, errno.EDQUOT)
RESUME = "; the same command with --resume goes on"
FINE, FAILED, WRONG, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141

RECIPE_HELP = """\
the smallest recipe; every other key has a default, and an error names the key and what would be right:

  [data]
  source = "samples.npy"    # .npy, .npz, .csv, idx(.gz), a folder of images, or a name from `tiedae data`
  [model]
  layers = [ {units = 256, activation = "relu"}, {units = 16} ]

more tables: [train] [prune] [quantize] [export] [verify]; see README.md

"""
EPILOG = "Exit codes: 0 fine; 1 a check failed; 2 the input or the call is wrong; 130 interrupted."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        arguments = _parser().parse_args(argv)
    except _WrongCall as error:
        Console().error(str(error))
        return WRONG
    from tiedae.compress.errors import CheckError, TiedaeError

    verbose, quiet = getattr(arguments, "verbose", False), getattr(arguments, "quiet", False)
    resumable = arguments.command in (_demo, _run)
    with _terminated_as_interrupted(), kept_back(shown=verbose) as err, Console(verbose - quiet, err=err) as console:
        try:
            return arguments.command(arguments, console)
        except TiedaeError as error:
            console.error(str(error))
            return FAILED if isinstance(error, CheckError) else WRONG
        except BrokenPipeError:
            return CLOSED_PIPE
        except OSError as error:
            console.error(_system_error(error) + (RESUME if error.errno in FULL and resumable else ""))
            return WRONG
        except KeyboardInterrupt:
            console.error("interrupted" + (RESUME if resumable else ""))
            return INTERRUPTED


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does; only the main thread may say so."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _system_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return where + ("no space left on the disk" if error.errno in FULL else error.strerror or str(error))


class _WrongCall(Exception):
    """The command line does not parse."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call as one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise _WrongCall(f"{message}; see `{self.prog} --help`")


def _parser() -> _Parser:
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    volume = common.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="results and errors only")
    volume.add_argument("-v", "--verbose", action="store_true", help="details, and what the libraries have to say")
    parser = _Parser(
        "tiedae",
        description="Trains tied autoencoders, compresses them without breaking the tie, exports them, and proves the export.",
        epilog=EPILOG,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"tiedae {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, function: Any, text: str, more: str = "") -> _Parser:
        added = commands.add_parser(
            name,
            help=text,
            description=text,
            parents=[common],
            epilog=more + EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(command=function)
        return added

    demo = command("demo", _demo, "Run the whole pipeline on data that ships with the package.")
    demo.add_argument("--data", choices=("fashion", "ecg"), default="fashion", help="which data (default: fashion)")
    run = command("run", _run, "Train, compress, export and check what a recipe describes.", RECIPE_HELP)
    run.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    for added in (demo, run):
        added.add_argument("--out", type=Path, metavar="DIR", help="where to (default: runs/NAME)")
        existing = added.add_mutually_exclusive_group()
        existing.add_argument("--resume", action="store_true", help="go on with the run that DIR holds")
        existing.add_argument("--force", action="store_true", help="replace another recipe's run in DIR")

    verify = command("verify", _verify, "Check a bundle: hashes, stored kernels, and what its files compute.")
    verify.add_argument("bundle", type=Path, metavar="BUNDLE")
    verify.add_argument("--model", type=Path, metavar="DIR", help="also against the Keras model, OUT/model")
    verify.add_argument("--data", metavar="SOURCE", help="also the quality on this source's test set")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write the metrics here")

    inspect = command("inspect", _inspect, "Show constants, copies, operations and bytes of a .tflite or .onnx file.")
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="as JSON")
    inspect.add_argument("--fail-on-copies", action="store_true", help="exit 1 where a constant is stored more than once")

    data = command("data", _data, "List the data sets known by name, and where they come from.")
    data.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _demo(arguments: argparse.Namespace, console: Console) -> int:
    from .sources import ASSETS

    return _execute(ASSETS / f"{arguments.data}.toml", arguments, console)


def _run(arguments: argparse.Namespace, console: Console) -> int:
    return _execute(arguments.recipe, arguments, console)


def _execute(path: Path, arguments: argparse.Namespace, console: Console) -> int:
    from .recipe import load_recipe

    recipe = load_recipe(path)
    from .pipeline import run_recipe

    out = arguments.out or Path("runs") / recipe.name
    result = run_recipe(recipe, base=path.parent, out=out, resume=arguments.resume, force=arguments.force, console=console)
    console.table(recipe.name, ("", "error", "bytes", "parity"), result.table_rows)
    console.say("error: squared, summed over the values of a test sample, averaged over samples; in model units")
    for skipped in result.metrics["skipped"]:
        if skipped["what"].startswith("quality"):
            console.say(f"{skipped['what']}: not measured, {skipped['reason']}")
    console.say(f"bundle: {result.bundle}")
    _require_checks(result.bundle, result.metrics)
    return FINE


def _require_checks(bundle: Path, metrics: Mapping[str, Any]) -> None:
    """Raise CheckError, exit code 1, naming the first check that failed."""
    from tiedae.compress.errors import CheckError

    failed = [check["text"] for check in metrics["checks"] if not check["ok"]]
    if failed:
        raise CheckError(f"{bundle}: {len(failed)} of {len(metrics['checks'])} checks failed: {failed[0]}")


def _verify(arguments: argparse.Namespace, console: Console) -> int:
    from .verification import verify

    metrics = verify(arguments.bundle, model=arguments.model, data=arguments.data, announce=console.note)
    if arguments.json:
        from tiedae.compress.files import write_atomic

        write_atomic(arguments.json, (json.dumps(metrics, indent=1, ensure_ascii=False) + "\n").encode())
    checks: list[Mapping[str, Any]] = metrics["checks"]
    rows = [("ok" if check["ok"] else "FAILED", check["text"]) for check in checks]
    rows += [("skipped", f"{skipped['what']}: {skipped['reason']}") for skipped in metrics["skipped"]]
    console.table(str(arguments.bundle), ("check", ""), rows)
    _require_checks(arguments.bundle, metrics)
    return FINE


def _inspect(arguments: argparse.Namespace, console: Console) -> int:
    from tiedae.compress.errors import CheckError
    from tiedae.export.inspection import inspect_file, render

    found = inspect_file(arguments.file)
    console.say(json.dumps(found, indent=2) if arguments.json else render(found))
    if arguments.fail_on_copies and found["copies"]:
        raise CheckError(f"{arguments.file}: {len(found['copies'])} of its constants are copies of others")
    return FINE


def _data(arguments: argparse.Namespace, console: Console) -> int:
    from .sources import DATA_SETS, VARIABLE

    places = {name: known.find() for name, known in DATA_SETS.items()}
    if arguments.json:
        keys = ("name", "description", "shape", "licence", "origin", "files")
        rows = [
            {key: getattr(known, key) for key in keys} | {"found": None if places[name] is None else str(places[name])}
            for name, known in DATA_SETS.items()
        ]
        console.say(json.dumps(rows, indent=2, ensure_ascii=False))
        return FINE

    def found(name: str) -> str:
        return "ships with tiedae" if DATA_SETS[name].ships else str(places[name] or f"not found; set {VARIABLE}")

    rows = [(k.name, k.description, k.shape, k.licence, k.origin, found(k.name)) for k in DATA_SETS.values()]
    console.table("Data sets", ("name", "what", "shape", "licence", "from", "found"), rows)
    return FINE
