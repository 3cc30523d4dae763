"""Fuzzing of every reader: see `laws`, `targets` and docs/explanation/trust.md.

python -m tests.fuzz --cases 50000 --seed 0 --json FILE          # each target
python -m tests.fuzz --target npz --seconds 60 --seed 1
python -m tests.fuzz --target npz --seed 1 --case 1234 --keep DIR    # writes an input
python -m tests.fuzz --target npz --atheris DIR -max_total_time=600  # guided by coverage
python -m tests.fuzz --target npz --harvest DIR                  # adds what that found to the corpus
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import multiprocessing
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tiedae.base.files import write_atomic

from .harness import Inputs, Tally, run
from .targets import CORPUS, TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=TARGETS, action="append", help="this one alone (can be repeated)")
    parser.add_argument("--cases", type=int, default=1 << 40, help="inputs of each target")
    parser.add_argument("--seconds", type=float, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this input alone")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write inputs that break a law here, or the one of --case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write how the inputs ended here")
    parser.add_argument("--atheris", type=Path, metavar="DIR", help="guided by coverage; its corpus, and what it adds")
    parser.add_argument("--harvest", type=Path, metavar="DIR", help="keep the inputs of DIR that are refused at new places")
    arguments, options = parser.parse_known_args()
    names = arguments.target or list(TARGETS)
    if arguments.atheris:
        from .guided import guided

        guided(names[0], TARGETS[names[0]], arguments.atheris, options)
    if arguments.harvest:
        return harvest(names[0], arguments.harvest)
    if options:
        parser.error(f"unknown: {shlex.join(options)}")
    if arguments.seconds is None and arguments.cases == 1 << 40 and arguments.case is None:
        parser.error("state --cases or --seconds")
    numbers = range(arguments.cases) if arguments.case is None else range(arguments.case, arguments.case + 1)
    tallies = {}
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("fork")) as pool:
        running = {pool.submit(_run, name, arguments.seed, numbers, arguments.seconds): name for name in names}
        for done in as_completed(running):
            tallies[running[done]] = done.result()
            _show(running[done], done.result())
    for name in names if arguments.keep else ():
        inputs = Inputs.of(name, TARGETS[name], arguments.seed)
        for case in {breach.case for breach in tallies[name].breaches} | ({arguments.case} - {None}):
            arguments.keep.mkdir(parents=True, exist_ok=True)
            (arguments.keep / f"{name}-{arguments.seed}-{case}").write_bytes(inputs[case])
    if arguments.json:
        write_atomic(arguments.json, json.dumps(record(tallies, arguments.seed), indent=1).encode() + b"\n")
    return 1 if any(tally.broken for tally in tallies.values()) else 0


def harvest(name: str, folder: Path) -> int:
    """Add to the corpus the smallest input of a folder for each place that refuses it and none of the corpus; 1 for a broken
    law."""
    target, known = TARGETS[name], Inputs.of(name, TARGETS[name])
    found = Inputs(target, sorted((path.read_bytes() for path in folder.iterdir()), key=len))
    before, tally = (run(inputs, range(len(inputs.starts))) for inputs in (known, found))
    _show(name, tally)
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for place in tally.places.keys() - before.places:
        data = found[tally.places[place]]
        (CORPUS / name / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    return 1 if tally.broken else 0


def _run(name: str, seed: int, numbers: range, seconds: float | None) -> Tally:
    return run(Inputs.of(name, TARGETS[name], seed), numbers, seconds=seconds)


def _show(name: str, tally: Tally) -> None:
    ends = f"{tally.values:>9,} values {tally.refused:>9,} refused at {len(tally.places):>3} places {tally.broken:>5,} broken"
    print(f"{name:<16}{tally.cases:>9,} inputs {ends}; {tally.seconds:.0f} s, slowest {tally.slowest:.2f} s", flush=True)
    for breach in tally.breaches:
        which = f"input {breach.case} ({breach.size} bytes; {breach.count} inputs)"
        print(f"    {which} {breach.place}: {breach.law}", flush=True)


def record(tallies: dict[str, Tally], seed: int) -> dict[str, object]:
    """What a run found, as JSON."""
    command = f"python -m tests.fuzz {shlex.join(sys.argv[1:])}"
    targets = {
        name: {key: value for key, value in asdict(tally).items() if key not in ("breaches", "places")}
        | {"places": len(tally.places), "breaches": [asdict(each) for each in tally.breaches]}
        for name, tally in sorted(tallies.items())
    }
    return {"command": command, "date": str(datetime.date.today()), "seed": seed, "targets": targets}


if __name__ == "__main__":
    sys.exit(main())
