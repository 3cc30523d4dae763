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

from tiedae.export.runtimes.native_output import kept_back

from . import __version__, commands
from .console import Console

FULL = (errno.ENOSPC, errno.EDQUOT)
RESUME = "; the same command with --resume goes on"
FAILED, WRONG, INTERRUPTED, CLOSED_PIPE = 1, 2, 130, 141

RECIPE_HELP = """\
the smallest recipe; every other key has a default, and an error names the key and what would be right:

  [data]
  source = "samples.npy"    # .npy, .npz, .csv, idx(.gz), a folder of images, or a name from `tiedae data`
  [model]
  layers = [256, 16]        # relu where hidden, the code linear; or {units = 256, activation = "tanh"}

more tables: [train] [prune] [cluster] [quantize] [export] [verify] [search]
a run's bundle/manifest.json holds its recipe with every default

"""
SEARCH_HELP = """\
a table [search] in the recipe says what is looked over; these are its defaults, where an empty list is the recipe's own value:

  [search]
  code = []                 # sizes of the code; empty: ½, ¾, 1, 1¼ and 1½ of the recipe's
  hidden = [0.125, 0.25, 0.375, 0.5, 0.75, 1.0]     # factors on the units of hidden layers
  patterns = []             # as in [prune]
  sparsity = []             # of each pattern, 0 for no pruning
  bits = [4, 8]             # of all kernels
  granularity = []          # "tensor", "unit"
  size = "file"             # what counts as bytes: the file as it is, or after "gzip"

"""
EPILOG = "Exit codes: 0 fine; 1 a check failed, or nothing was found; 2 the input or the call is wrong; 130 interrupted."


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
    resumable = arguments.command in (commands.demo, commands.run, commands.search)
    with _terminated_as_interrupted(), kept_back(shown=verbose) as err, Console(verbose - quiet, err=err) as console:
        try:
            return arguments.command(arguments, console)
        except TiedaeError as error:
            console.error(str(error))
            return FAILED if isinstance(error, CheckError) else WRONG
        except ModuleNotFoundError as error:
            from tiedae.compress.packages import INSTALL, missing

            module = (error.name or "").partition(".")[0]
            if module not in INSTALL:
                raise
            console.error(str(missing(module)))
            return WRONG
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
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, function: Any, text: str, more: str = "") -> _Parser:
        added = subparsers.add_parser(
            name,
            help=text,
            description=text,
            parents=[common],
            epilog=more + EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(command=function)
        return added

    demo = command("demo", commands.demo, "Run the whole pipeline on data that ships with the package.")
    demo.add_argument("--data", choices=("fashion", "ecg"), default="fashion", help="which data (default: fashion)")
    run = command("run", commands.run, "Train, compress, export and check what a recipe describes.", RECIPE_HELP)
    run.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    for added in (demo, run):
        added.add_argument("--out", type=Path, metavar="DIR", help="where to (default: runs/NAME)")
        existing = added.add_mutually_exclusive_group()
        existing.add_argument("--resume", action="store_true", help="go on with the run that DIR holds")
        existing.add_argument("--force", action="store_true", help="replace another recipe's run in DIR")

    search = command("search", commands.search, "Look for sizes, sparsities and bits that keep within limits.", SEARCH_HELP)
    search.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    search.add_argument("--max-bytes", metavar="SIZE", help="the int8 .tflite file: 60000, 60k, 64Ki, 1.5M")
    search.add_argument("--max-error-increase", metavar="FRACTION", help="over the recipe's float model: 2%% or 0.02")
    search.add_argument("--max-latency-us", metavar="N", help="a call in XNNPACK, one thread, batch 1, median")
    search.add_argument("--trials", type=int, default=30, metavar="N", help="models to train at most (default: 30)")
    search.add_argument("--timeout", type=float, metavar="S", help="no trial begins after so many seconds")
    search.add_argument("--json", action="store_true", help="the front as JSON")
    search.add_argument("--out", type=Path, metavar="DIR", help="where to (default: runs/NAME-search)")
    existing = search.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the search that DIR holds")
    existing.add_argument("--force", action="store_true", help="replace another search in DIR")

    verify = command("verify", commands.verify, "Check a bundle: hashes, stored kernels, and what its files compute.")
    verify.add_argument("bundle", type=Path, metavar="BUNDLE")
    verify.add_argument("--model", type=Path, metavar="DIR", help="also against the Keras model, OUT/model")
    verify.add_argument("--data", metavar="SOURCE", help="also the quality on this source's test set")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write the metrics here")
    verify.add_argument("--junit", type=Path, metavar="FILE", help="write the checks as JUnit XML, for CI")
    verify.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary in Markdown, for a job's page")
    verify.add_argument("--baseline", type=Path, metavar="FILE", help="fail where these earlier metrics were better")
    verify.add_argument(
        "--allow", type=float, default=0.01, metavar="FRACTION", help="how much worse than the baseline is fine (default: 0.01)"
    )
    verify.add_argument(
        "--tolerance", action="append", default=[], metavar="KEY=VALUE", help="replace a tolerance of the recipe's [verify]"
    )

    bench = command("bench", commands.bench, "Measure latency, memory, start-up and bytes of a bundle's files.")
    bench.add_argument("bundle", type=Path, metavar="BUNDLE")
    bench.add_argument("--model", type=Path, metavar="DIR", help="also the Keras original, OUT/model")
    bench.add_argument("--data", metavar="SOURCE", help="samples to run on (default: the bundle's golden ones)")
    bench.add_argument("--quick", action="store_true", help="reconstruct at batch 1 only, in seconds; intervals are wider")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")

    sensitivity = command("sensitivity", commands.sensitivity, "Measure which kernels and activations bear coarsening.")
    sensitivity.add_argument("recipe", type=Path, metavar="RECIPE")
    sensitivity.add_argument(
        "--model", type=Path, metavar="DIR", help="OUT/model of the recipe's run (default: runs/NAME/model)"
    )
    sensitivity.add_argument("--samples", type=int, metavar="N", help="training samples (default: quantize.samples)")
    sensitivity.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    sensitivity.add_argument("--html", type=Path, metavar="FILE", help="write a page with curves here")

    calibrate = command("calibrate", commands.calibrate, "Take the ranges of a trained model from its recipe's training data.")
    calibrate.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    calibrate.add_argument("--model", type=Path, metavar="DIR", help="the folder OUT/model of a run (default: runs/NAME/model)")
    calibrate.add_argument(
        "--observer", metavar="NAME", help="minmax, moving-average, percentile, mse or kl (default: the recipe's)"
    )
    calibrate.add_argument("--samples", type=int, metavar="N", help="how many training samples (default: the recipe's)")
    calibrate.add_argument(
        "--max-clipping", type=float, default=0.01, metavar="FRACTION", help="report tensors clipped more (default: 0.01)"
    )
    calibrate.add_argument("--out", type=Path, metavar="FILE", help="where to (default: calibration.json beside DIR)")
    calibrate.add_argument("--html", type=Path, metavar="FILE", help="draw the histograms with the chosen ranges here")
    calibrate.add_argument("--json", action="store_true", help="the diagnosis as JSON")

    report = command("report", commands.report, "Render report.html and MODEL_CARD.md of a bundle from its metrics.")
    report.add_argument("bundle", type=Path, metavar="BUNDLE")

    inspect = command(
        "inspect", commands.inspect, "Show constants, duplicates, operations and bytes of a .tflite or .onnx file."
    )
    inspect.add_argument("files", type=Path, metavar="FILE", nargs="+")
    inspect.add_argument("--json", action="store_true", help="as JSON: one object, of several files a list")
    inspect.add_argument(
        "--fail-on-copies",
        action="store_true",
        help="exit 1 where a constant is stored more than once, near duplicates included",
    )

    share = command("share", commands.share, "Store equal and transposed-equal constants of a .tflite or .onnx file once.")
    share.add_argument("file", type=Path, metavar="FILE")
    share.add_argument("--out", type=Path, metavar="FILE", required=True, help="where to")
    share.add_argument("--force", action="store_true", help="replace FILE where it is there already")
    share.add_argument(
        "--tolerance", type=float, metavar="STEPS", help="also merge duplicates that are this close, in quantization steps"
    )
    share.add_argument("--json", action="store_true", help="as JSON")

    data = command("data", commands.data, "List the data sets known by name, and where they come from.")
    data.add_argument("--json", action="store_true", help="as JSON")
    return parser
