"""The commands of `tiedae`: a file for each, whose docstring is its help, and a row in COMMANDS, in the order of `--help`."""

from . import bench, calibrate, data, demo, inspect, report, run, search, sensitivity, share, verify
from .command import Command

COMMANDS: tuple[Command, ...] = (demo, run, search, verify, bench, sensitivity, calibrate, report, inspect, share, data)
