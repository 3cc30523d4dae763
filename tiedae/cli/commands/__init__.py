"""The commands of `tiedae`: a file for each, whose docstring is its help, and a row in COMMANDS, in the order of `--help`."""

from . import (
    bench,
    calibrate,
    data,
    decode,
    dedupe,
    demo,
    encode,
    info,
    inspect,
    package,
    recipe,
    report,
    rescale,
    run,
    score,
    search,
    sensitivity,
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
    "rescale": rescale,
    "package": package,
    "bench": bench,
    "sensitivity": sensitivity,
    "calibrate": calibrate,
    "report": report,
    "inspect": inspect,
    "dedupe": dedupe,
    "data": data,
}
