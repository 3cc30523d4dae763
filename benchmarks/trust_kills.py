"""Commands are stopped at changes of the file system: what was there stays whole, and `--resume` ends in the same bytes.

    python benchmarks/trust_kills.py [--job NAME] [--points N] [--seed S] [--json FILE]

Each job is a command with what its folder holds before. It runs once to its end, and then once for each chosen change and way
to stop it (`Way`): the first change of each place in our code, and others by a seed. After each stop:

- whatever was there before has its bytes, or those of the uninterrupted command; a bundle or folder as a whole;
- whatever is new and not hidden has the bytes of the uninterrupted command, or is unfinished work that `--resume` continues;
- an error is one line; exit code 2, or 130 for Ctrl-C, and nothing hidden is left but what `--resume` continues;
- the command with `--resume`, or once more, ends in the bytes of the uninterrupted one, and leaves nothing else.

Of two processes that run the same command, the second gets one line and exit code 2, and the first ends as if it were alone.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rows import Row, report
from trust_jobs import JOBS, Job, prepare, require_inputs
from trust_stops import Ended, Place, Stop, Way, place, run, warm

from tiedae.codec.frames import FileModel
from tiedae.codec.opening import bundle_of
from tiedae.codec.reader import Reader
from tiedae.compress import CheckError
from tiedae.report.console import Console

Tree = Mapping[str, str]
"""sha256 of files by their path; an empty text for a folder."""
SIZES = (0, 1, 300, 4096)
"""Bytes that a file may grow to, or that a full disk has left."""
LATENCY = "latency_us"
RESUMED = re.compile(r"/\.(next|ready)(/|$)")
"""What `--force` works in, below OUT."""
POINTS = 14
"""Stops of a command: each way twice."""
HELD = {".lock"}
"""Stays in a folder that a command worked in."""


def tree(where: Place) -> dict[str, str]:
    """What `in` and `out` hold."""
    paths = (path for part in ("in", "out") for path in sorted((where.root / part).rglob("*")))
    return {path.relative_to(where.root).as_posix(): "" if path.is_dir() else _digest(path) for path in paths}


def _digest(path: Path) -> str:
    """sha256 of a file; of a search's files without what is another measurement each time: latency and hours."""
    data = path.read_bytes()
    if path.name == "front.json":
        front = json.loads(data)
        for row in [*front["front"], *front["trials"], front["reference"]]:
            row.pop(LATENCY)
        data = json.dumps(front).encode()
    timed = path.name == "study.db" or (path.name == "front.html" and data.startswith(b"<!"))
    return "timed" if timed else hashlib.sha256(data).hexdigest()


@dataclass
class Found:
    """What the stops of a job gave: how many of each way, and what broke a law."""

    stops: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def check_job(name: str, where: Place, choose: Chooser, console: Console) -> Found:
    """Stop a job at the chosen points, each in the chosen ways."""
    job, found = JOBS[name], Found()
    require_inputs(job, where)
    before = _begin(job, where)
    ended = run(job.call, where)
    if ended.code or ended.lines:
        raise CheckError(f"{name}: exit code {ended.code}: {ended.lines}")
    right = tree(where)
    stops = choose(job, ended.sites, where)
    for i, stop in enumerate(stops):
        console.note(f"{name}: {i + 1} of {len(stops)}, change {stop.point} of {len(ended.sites)}, {stop.way}")
        found.stops[stop.way] += 1
        _begin(job, where)
        if texts := [*_broken(job, stop, where, before, right)]:
            found.broken.append(f"{name}, {stop.way}, change {stop.point}, {ended.sites[stop.point - 1]}: {'; '.join(texts)}")
            console.warn(found.broken[-1])
    return found


def _begin(job: Job, where: Place) -> dict[str, str]:
    for folder in (where.out, where.root / "tmp"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    (where.out / "other.txt").write_text("somebody's\n")
    job.before(where.out)
    return tree(where)


def _broken(job: Job, stop: Stop, where: Place, before: Tree, right: Tree) -> Iterator[str]:
    """The laws that a stop breaks."""
    beside: list[Ended] = []
    ended = run(job.call, where, stop, lambda: beside.append(run(job.call, where)))
    where.writable()
    if not ended.reached:
        yield "the change was not reached"
    after = tree(where)
    if stop.way is Way.BESIDE:
        yield from _beside(ended, beside[0])
        if "--append" in job.call and not ended.code + beside[0].code:
            return  # one behind the other
    else:
        done = _visible(after) == _visible(right)
        yield from _code(ended, stop, done=done if stop.way is Way.READ_ONLY else after == right)
        yield from _not_whole(job, before, after, right)
        if "--append" in job.call:
            yield from _not_decoded(where)
        kept = [path for path in after.keys() - before if _hidden(path) and Path(path).name not in HELD]
        if (
            ended.code > 0
            and stop.way is not Way.READ_ONLY
            and not done
            and (left := [p for p in kept if not RESUMED.search(p)])
        ):
            yield f"left {left}"
        if after != right:
            yield from _goes_on(job, where, (("--force",), *job.again) if done else job.again)
    after = tree(where)
    if different := sorted(path for path in after.keys() | right if after.get(path) != right.get(path)):
        yield f"the end differs in {different}"


def _goes_on(job: Job, where: Place, again: Sequence[Sequence[str]]) -> Iterator[str]:
    """Why none of the options that are tried ends the work."""
    tried = list[str]()
    for options in again:
        ended = run([*(word for word in job.call if word not in job.drops), *options], where)
        if not (ended.code or ended.lines):
            return
        tried.append(f"with {options} exit code {ended.code}: {ended.lines}")
    yield f"once more: {'; '.join(tried)}"


def _code(ended: Ended, stop: Stop, *, done: bool) -> Iterator[str]:
    """A wrong exit code, or other than one line."""
    code, lines = ended.code, ended.lines
    killed = {Way.KILL: -9, Way.TORN: -25}.get(stop.way)
    if killed is not None:
        if code != killed and not (stop.way is Way.TORN and (done or code == 2)):
            yield f"exit code {code}, not {killed}: {lines}"
        return
    if code == 0 and done and not lines:
        return
    right = {Way.INTERRUPT: 130, Way.LATER: 130}.get(stop.way, 2)
    if code != right or len(lines) != 1 or not lines[0].startswith("tiedae: "):
        yield f"exit code {code}, must be {right} with one line: {lines}"


def _beside(first: Ended, second: Ended) -> Iterator[str]:
    """Neither is the one that works alone."""
    refused = first if first.code else second
    if {first.code, second.code} not in ({0, 2}, {0}) or (refused.code and len(refused.lines) != 1):
        yield f"two processes: {first.code} {first.lines}, {second.code} {second.lines}"


def _not_whole(job: Job, before: Tree, after: Tree, right: Tree) -> Iterator[str]:
    """What is neither as before nor as at the end."""
    for path in before.keys() | after:
        was, now, end = (each.get(path) for each in (before, after, right))
        unfinished = any(Path(path).match(f"out/{pattern}") for pattern in job.unfinished)
        if now not in (was, end) and not (_hidden(path) or unfinished):
            yield f"{path} is neither as before nor as at the end"
    for folder in job.folders:
        was, now, end = (_below(each, folder) for each in (before, after, right))
        if now not in (was, end):
            yield f"{folder} is neither as before nor as at the end"


def _not_decoded(where: Place) -> Iterator[str]:
    """Whether a file that is appended to lacks samples that it held before, or holds others."""
    model = FileModel.of(bundle_of(where.root / "in" / "run"))
    was, now = (
        np.concatenate([*Reader(model, path.read_bytes(), path).samples()])
        for path in (where.root / "in" / "x.tae", where.out / "x.tae")
    )
    both = np.concatenate([was, was])
    if len(now) < len(was) or not np.array_equal(now, both[: len(now)]):
        yield f"x.tae decodes to {len(now)} samples, which are not those of before and new ones"


def _below(files: Tree, folder: str) -> dict[str, str]:
    return {path: digest for path, digest in files.items() if path.startswith(f"out/{folder}/")}


def _visible(files: Tree) -> dict[str, str]:
    return {path: digest for path, digest in files.items() if not _hidden(path)}


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in Path(path).parts)


Chooser = Callable[[Job, Sequence[str], Place], list[Stop]]
"""chooser(job, the place of each change in our code, where) → the stops."""


def chooser(seed: int, points: int, ways: Sequence[Way]) -> Chooser:
    """`points` changes, each in one of the ways, in turn, spread over the command from its beginning to its end.

    Each is the first of its place in our code while there are such, then any, and then one of these once more in another way.
    """

    def choose(job: Job, sites: Sequence[str], where: Place) -> list[Stop]:
        rng = random.Random(f"{seed} {' '.join(job.call)}")
        usable = [way for way in ways if way is not (Way.LIMIT if where.mounted else Way.FULL)]
        known = [(site, i) for i, site in enumerate(sites, 1) if job.only in site and not (job.but and job.but in site)]
        first = dict(reversed(known))
        chosen = _spread(sorted(first.values()), points, rng)
        chosen += _spread([i for site, i in known if first[site] != i], points - len(chosen), rng)
        turn = rng.randrange(len(usable))
        again = itertools.islice(itertools.cycle(chosen), points)
        return [Stop(point, usable[(turn + i) % len(usable)], rng.choice(SIZES)) for i, point in enumerate(again)]

    return choose


def _spread(changes: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """Of `count` equal parts of the changes one each; all, where there are fewer."""
    count = min(count, len(changes))
    bounds = [len(changes) * i // count for i in range(count + 1)] if count else []
    return [changes[rng.randrange(begin, end)] for begin, end in itertools.pairwise(bounds)]


def kill_rows(
    console: Console,
    *,
    seed: int = 0,
    points: int = POINTS,
    jobs: Sequence[str] = tuple(JOBS),
    ways: Sequence[Way] = tuple(Way),
    finished: Path | None = None,
) -> list[Row]:
    """The row `stages_lost`: stops after which an earlier state or the resumed bytes differ, or the error is not one line.

    `finished`: a run to begin with, see `prepare`.
    """
    warm(trains=finished is None)
    begun, stops, broken = time.monotonic(), Counter[str](), list[str]()
    with place() as where:
        prepare(where, finished)
        for name in jobs:
            found = check_job(name, where, chooser(seed, points, ways), console)
            took = f"{time.monotonic() - begun:.0f} s"
            console.note(f"{name}: {found.stops.total()} stops, {len(found.broken)} broke a law, {took}")
            stops.update(found.stops)
            broken += found.broken
    counts = ", ".join(f"{way} {count}" for way, count in sorted(stops.items()))
    detail = f"{stops.total()} stops of {len(jobs)} commands in {time.monotonic() - begun:.0f} s: {counts}"
    return [Row("stages_lost", len(broken), "", "== 0", "", detail)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--job", choices=JOBS, action="append", help="this command alone (can be repeated)")
    parser.add_argument("--way", type=Way, choices=list(Way), action="append", help="to stop it (can be repeated)")
    parser.add_argument("--points", type=int, default=POINTS, help="stops of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, metavar="DIR", help="OUT of a finished run beside its samples.npy; none is trained")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    jobs = given.job or tuple(JOBS)
    if given.run and (needing := [name for name in jobs if "in/mini.toml" in JOBS[name].call or "earlier" in JOBS[name].needs]):
        parser.error(f"--run {given.run}: has no recipe that {needing[0]} needs, must be left out")
    options = {"seed": given.seed, "points": given.points, "ways": given.way or tuple(Way), "finished": given.run}
    return report("Kills", lambda console: kill_rows(console, jobs=jobs, **options), given.json)


if __name__ == "__main__":
    sys.exit(main())
