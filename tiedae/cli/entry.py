"""The command line. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tiedae.report.console import Console
from tiedae.runtimes.native_output import kept_back

from . import commands
from .commands.command import Call, Parser, WrongCall

FULL = (errno.ENOSPC, errno.EDQUOT)
RESUME = "; the same command with --resume continues"
RESUME_FORCED = "; the same command with --resume in place of --force continues"
FINE, FAILED, WRONG, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141
NO_TEXT = "is no text in {}, the encoding of the locale; set PYTHONUTF8=1 or LC_ALL=C.UTF-8, or use another name"
FAILS = "a check failed, data are damaged, or nothing was found"
"""What exit code 1 means for all commands together; each has words of its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on standard error."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # before the command begins, behind its end, or once more while it ends
        Console().error("interrupted")
        return INTERRUPTED


def _main(argv: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for text in (str(Path.cwd()), *(sys.argv[1:] if argv is None else argv)):
        if any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes that the locale cannot read; libraries take none
            Console().error(f"{ascii(text)[1:-1]}: {NO_TEXT.format(sys.getfilesystemencoding())}")
            return WRONG
    try:
        arguments = command_parser().parse_args(argv)
    except WrongCall as error:
        Console().error(str(error))
        return WRONG
    from tiedae.base.errors import CheckError, TiedaeError

    verbose, quiet = getattr(arguments, "verbose", False), getattr(arguments, "quiet", False)
    call = Call(**vars(arguments), stdout=sys.stdout)
    aside = contextlib.redirect_stdout(sys.stderr) if call.to_stdout else contextlib.nullcontext()
    with _terminated_as_interrupted(), kept_back() as err, aside, Console(verbose - quiet, err=err) as console:
        try:
            call.console = console
            console.out = err if call.to_stdout else console.out
            call.check_outputs()
            call.command.run(call)
            return FINE
        except TiedaeError as error:
            said, code = str(error), FAILED if isinstance(error, CheckError) else WRONG
            call.write_failure(said, code)
        except ModuleNotFoundError as error:
            from tiedae.base.packages import INSTALL, missing

            module = (error.name or "").partition(".")[0]
            if module not in INSTALL:
                raise
            said, code = str(missing(module)), WRONG
            call.write_failure(said, code)
        except MemoryError:
            said, code = "not enough memory" + _resume(call), WRONG
        except UnicodeEncodeError as error:
            if error.encoding == "utf-8":
                raise
            said, code = f"{ascii(error.object)[1:-1]}: {NO_TEXT.format(error.encoding)}", WRONG
        except BrokenPipeError:
            return CLOSED_PIPE
        except OSError as error:
            said, code = _system_error(error) + (_resume(call) if error.errno in FULL else ""), WRONG
        except KeyboardInterrupt:
            said, code = "interrupted" + _resume(call), INTERRUPTED
        console.error(said)
        return code


def _resume(call: Call) -> str:
    if getattr(call, "resume", None) is None:
        return ""
    return RESUME_FORCED if call.force and call.parser.folders else RESUME


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


class _Version(argparse.Action):
    """Prints the version, whose module is imported for it alone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, nargs=0)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from tiedae.compress.version import __version__

        print(f"tiedae {__version__}")
        parser.exit()


def command_parser() -> Parser:
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    volume = common.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="results and errors only")
    volume.add_argument("-v", "--verbose", action="store_true", help="details, such as every check")
    parser = Parser(
        "tiedae",
        description="Trains tied autoencoders, compresses them without breaking the tie, exports them, and proves the export.",
        epilog=_exit_codes(FAILS),
        parents=[common],
    )
    parser.add_argument("--version", action=_Version, help="show program's version number and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in commands.COMMANDS.items():
        added = subparsers.add_parser(
            name,
            help=command.__doc__,
            description=command.__doc__,
            parents=[common],
            epilog=_exit_codes(getattr(command, "FAILS", "")),
        )
        command.add_arguments(added)
        added.set_defaults(command=command, parser=added)
    return parser


def _exit_codes(fails: str) -> str:
    return f"Exit codes: 0 fine; {f'1 {fails}; ' if fails else ''}2 the input or the call is wrong; 130 interrupted."
