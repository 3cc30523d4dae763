"""The commands of `tiedae`: a file for each, whose docstring is its help, and a row in COMMANDS, in the order of `--help`."""

from . import (
    bench,
    bundle,
    calibrate,
    data,
    decode,
    demo,
    encode,
    info,
    inspect,
    recipe,
    report,
    run,
    score,
    search,
    sensitivity,
    share,
    tables,
    verify,
)
from .command import Command

COMMANDS: dict[str, Command] = {
    "demo": demo,
    "recipe": recipe,
    "run": run,
    "search": search,
    "verify": verify,
    "encode": encode,
    "decode": decode,
    "info": info,
    "score": score,
    "tables": tables,
    "bundle": bundle,
    "bench": bench,
    "sensitivity": sensitivity,
    "calibrate": calibrate,
    "report": report,
    "inspect": inspect,
    "share": share,
    "data": data,
}
