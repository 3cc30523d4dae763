"""Whether a test fails for small changes of whole folders, drawn by a seed: `mutation/folders.toml` states how many.

    python benchmarks/mutant_folders.py                              # all folders, hours of one core
    nice python benchmarks/mutant_folders.py entropy --resume        # continues; what other tests cannot change is kept
    python benchmarks/mutant_folders.py --report                     # what is known, and runs nothing

The changes are those of `mutants.py`. The tests of a change are those that run the changed function, which is recorded once. Of
a change outside of functions, or of a function that runs when modules are imported, they are those that run anything in its
file, and those that run nothing of the folder. A change is in the sample for its own sake: others leave it there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mutant_changes import Change, changes_of, files_of
from mutant_process import Outcome, Tests
from mutant_reach import Reach, reach_of
from mutant_session import TIMES, PatchError, Session, run_session
from mutants import ROOT, excluded_operators, explained
from needs import require
from rows import Row, arguments_of, report
from tiedae.compress.errors import CheckError, DataError
from tiedae.compress.files import write_atomic

LEAST = 30
"""The limit of a change in seconds of processor time: this, and `TIMES` what its tests take without it."""
WHOLE = (0, 1)
"""The part of a sample that is all of it."""
MOST = 20.0
"""Seconds that the tests which are tried first took when they were recorded, at most."""
UNKNOWN = 0.1
"""How many changes of a file a test counts as having killed that has killed none."""


@dataclass(frozen=True)
class Folder:
    """Modules, files of tests, and the sample: `size` changes by `seed`, of which the fraction `explained` may survive.

    `same`: expressions for the names of changes that do not change what is computed, wherever they are. `without`: tests that
    cannot run within the limits of a process, as pytest's option -k names them.
    """

    name: str
    root: Path
    files: tuple[Path, ...]
    tests: tuple[Path, ...]
    seed: int
    size: int
    explained: float
    same: tuple[str, ...] = ()
    without: str = ""

    @property
    def options(self) -> str:
        """Of pytest: tests that CI alone runs are among those of a folder."""
        return "-m ''" + (f" -k 'not ({self.without})'" if self.without else "")

    @property
    def state(self) -> Path:
        return self.root / "build" / "mutants" / f"folder-{self.name}"

    @property
    def outcomes(self) -> Path:
        """A line of JSON for each change that was run; committed, so that a run tries only what has changed since."""
        return self.root / "mutation" / "outcomes" / f"{self.name}.jsonl"

    def digest(self, *names: Path) -> str:
        """Of files, by default of the tests, and of the fixtures that all share."""
        digest = hashlib.sha256((self.root / "tests" / "conftest.py").read_bytes())
        for name in names or self.tests:
            digest.update((self.root / name).read_bytes() if (self.root / name).is_file() else b"")
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Sampled:
    """The changes of a folder's sample, none where it was never drawn, and the outcomes that are known, by `Change.what`."""

    folder: Folder
    changes: tuple[str, ...]
    outcomes: Mapping[str, Outcome]

    @property
    def size(self) -> int:
        return len(self.changes) or self.folder.size


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="of mutation/folders.toml; all by default")
    parser.add_argument("--resume", action="store_true", help="keep the outcomes of the same change and the same tests")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="run every Nth change from the Kth on")
    parser.add_argument("--report", action="store_true", help="run nothing: the rows of what is known")
    arguments = parser.parse_args()

    def rows(_console: object) -> list[Row]:
        part = None if arguments.report else tuple(map(int, arguments.part.split("/")))
        return folder_rows(arguments.folders, part, resume=arguments.resume)

    try:
        return report("Mutation tests of folders", rows, arguments.json)
    except KeyboardInterrupt:
        print("interrupted: --resume continues", file=sys.stderr)
        return 130


def folder_rows(names: Sequence[str] = (), part: tuple[int, ...] | None = None, *, resume: bool = True) -> list[Row]:
    """`mutants_unexplained` and a row for each folder. `part`: which changes run, (k, n); without, none: what was run before.

    Raises DataError for a name that mutation/folders.toml has not.
    """
    require(packages=("cosmic_ray",))
    folders = read_folders(ROOT)
    if unknown := [name for name in names if name not in folders]:
        raise DataError(f"{unknown[0]}: must be a folder of mutation/folders.toml: {', '.join(folders)}")
    sampled = []
    for name in names or folders:
        folder = folders[name]
        if part is None and not folder.outcomes.exists():
            sampled.append(Sampled(folder, (), {}))
            continue
        changes = sample_of(folder)
        outcomes = known_outcomes(folder, changes) if part is None else run_folder(folder, changes, part, resume=resume)
        sampled.append(Sampled(folder, tuple(change.what for change in changes), outcomes))
    survivors = {what for each in sampled for what, outcome in each.outcomes.items() if outcome.name == "survived"}
    return rows_of(sampled, explained(ROOT / "mutation" / "survivors.toml", survivors))


def read_folders(root: Path) -> dict[str, Folder]:
    """The folders of mutation/folders.toml by name. Raises DataError where a path is not there."""
    settings = tomllib.loads((root / "mutation" / "folders.toml").read_text("utf-8"))
    sample = (settings["seed"], settings["changes"], settings["explained"], tuple(settings["same"]))
    folders = {}
    for name, entry in settings["folders"].items():
        tests = [path for path in files_of(root, entry["tests"]) if path.name.startswith("test_")]
        files, without = files_of(root, entry["modules"]), entry.get("without", "")
        folders[name] = Folder(name, root, files, tuple(dict.fromkeys(tests)), *sample, without)
    return folders


def sample_of(folder: Folder) -> list[Change]:
    """The changes whose names have the least hashes with the seed."""
    operators = excluded_operators(folder.root / "mutation")
    version = hashlib.sha256(
        json.dumps([folder.seed, folder.size, operators, folder.same, folder.digest(*folder.files)]).encode()
    ).hexdigest()
    kept = folder.state.with_suffix(".sample.json")
    if kept.exists() and (known := json.loads(kept.read_text("utf-8")))["version"] == version:
        return [Change(Path(file), what, source) for file, what, source in known["changes"]]
    print(f"{folder.name}: making the changes of {len(folder.files)} files", file=sys.stderr, flush=True)

    def rank(change: Change) -> str:
        return hashlib.sha256(f"{folder.seed} {change.what}".encode()).hexdigest()

    every = changes_of(folder.root, folder.files, operators)
    sample = sorted((each for each in every if not any(re.match(same, each.what) for same in folder.same)), key=rank)
    sample = sample[: folder.size]
    kept.parent.mkdir(parents=True, exist_ok=True)
    changes = [(str(change.file), change.what, change.source) for change in sample]
    write_atomic(kept, json.dumps({"version": version, "changes": changes}).encode())
    return sample


def known_outcomes(folder: Folder, changes: Sequence[Change]) -> dict[str, Outcome]:
    """Outcomes of an earlier run, by `Change.what`: of the same change, and of tests that are as they were. A change that was
    killed needs only the file of the test that failed."""
    known = {}
    for line in _lines(folder):
        if line["tests"] == _version(folder, Outcome(line["outcome"], line["test"])):
            known[line["key"]] = Outcome(line["outcome"], line["test"])
    return {change.what: known[change.key] for change in changes if change.key in known}


def _lines(folder: Folder) -> list[dict[str, str]]:
    return [json.loads(line) for line in folder.outcomes.read_text("utf-8").splitlines()] if folder.outcomes.exists() else []


def _tidy(folder: Folder, changes: Sequence[Change]) -> None:
    """Keep the last outcome of each change of the sample, in the order of their names."""
    last = {line["what"]: line for line in _lines(folder)}
    kept = [last[what] for what in sorted({change.what for change in changes} & last.keys())]
    write_atomic(folder.outcomes, "".join(f"{_text(line)}\n" for line in kept).encode())


def _text(line: Mapping[str, str]) -> str:
    return json.dumps(line, ensure_ascii=False)


def _version(folder: Folder, outcome: Outcome) -> str:
    """A digest of the tests that an outcome depends on."""
    file = outcome.test.partition("::")[0]
    return folder.digest(Path(file)) if outcome.name == "killed" and file else folder.digest()


def run_folder(folder: Folder, changes: Sequence[Change], part: tuple[int, ...], *, resume: bool) -> dict[str, Outcome]:
    """The outcome of each change, by `Change.what`; `Folder.outcomes` keeps them.

    A whole run ends with the tests that failed, without a change. Raises CheckError if one fails.
    """
    os.environ |= {"PYTEST_ADDOPTS": folder.options, "PYTEST_XDIST_WORKER": "mutants"}  # make_once shares what it fills
    known = known_outcomes(folder, changes) if resume else {}
    rest = [change for change in changes if change.what not in known][part[0] :: part[1]]
    if not rest and part != WHOLE:
        return known
    temporary = folder.state.parent / f"tmp-{folder.name}-{part[0]}" / "forked"
    shutil.rmtree(temporary.parent, ignore_errors=True)
    temporary.parent.mkdir(parents=True)
    reach = reach_of(folder.root, folder.files, folder.tests, folder.state.with_suffix(".reach.json"), temporary)
    tests = Tests(folder.root, tuple(map(str, folder.tests)), LEAST, temporary)
    tests.durations |= reach.durations
    folder.outcomes.parent.mkdir(exist_ok=True)
    with folder.outcomes.open("a" if resume else "w", encoding="utf-8") as file:
        log = _Log(folder, len(rest), file, known)
        later = [change for change in rest if reach.on_import(folder.root, change)]
        of_functions = [change for change in rest if change not in later]

        def in_session(session: Session) -> None:
            session.fill()
            for change in of_functions:
                try:
                    log.add(change, _outcome(session.run, reach, folder.root, change, known))
                except PatchError:
                    later.append(change)
            if part == WHOLE:
                _check(folder, session, reach, known)

        run_session(tests, in_session)
        tests.warm(list(reach.modules))
        _require_green(folder, tests, reach)
        for change in later:
            log.add(change, _outcome(tests.run, reach, folder.root, change, known))
    if len(known_outcomes(folder, changes)) == len(changes):
        _tidy(folder, changes)
    return known


@dataclass(eq=False)
class _Log:
    """Outcomes as they come: one line of JSON each, kept in `known` by `Change.what`."""

    folder: Folder
    count: int
    file: TextIO
    known: dict[str, Outcome]
    number: int = 0

    def add(self, change: Change, outcome: Outcome) -> None:
        self.known[change.what] = outcome
        self.number += 1
        version = _version(self.folder, outcome)
        line = {"key": change.key, "tests": version, "outcome": outcome.name, "test": outcome.test, "what": change.what}
        print(_text(line), file=self.file, flush=True)
        if outcome.name != "killed" or self.number % 20 == 0 or self.number == self.count:
            text = f"{self.folder.name} {self.number}/{self.count} {outcome.name}: {change.what}"
            print(text, file=sys.__stderr__, flush=True)


Run = Callable[..., Outcome]


def _check(folder: Folder, session: Session, reach: Reach, known: Mapping[str, Outcome]) -> None:
    """The tests that failed for a change hold without one."""
    killers = sorted({outcome.test for outcome in known.values()} & reach.durations.keys())
    if killers and (outcome := session.run(None, None, only=killers, seconds=_limit(reach, killers))).name != "survived":
        raise CheckError(f"{folder.name}: {outcome.test or 'a test'} fails without a change, in the order that kills first")


def _require_green(folder: Folder, tests: Tests, reach: Reach) -> None:
    """A test holds without a change where changes are imported. Raises CheckError if not."""
    shortest = min(reach.durations, key=lambda name: reach.durations[name])
    outcome = tests.run(None, None, only=[shortest], seconds=_limit(reach, [shortest]))
    if outcome.name != "survived":
        raise CheckError(f"{folder.name}: {outcome.test or 'the import of tests'} fails without a change")


def _outcome(run: Run, reach: Reach, root: Path, change: Change, known: Mapping[str, Outcome]) -> Outcome:
    """Of the tests that can see a change, with as many examples as each property has: first those of `MOST`."""
    names = _ordered(reach, root, change, known)
    times = itertools.accumulate(reach.durations.get(name, 0) for name in names)
    first = [name for number, (name, time) in enumerate(zip(names, times, strict=True)) if time <= MOST or not number]
    for only in filter(None, (first, names[len(first) :])):
        outcome = run(change, None, only=only, seconds=_limit(reach, only))
        if outcome.name != "survived":
            return outcome
    return Outcome("survived")


def _ordered(reach: Reach, root: Path, change: Change, known: Mapping[str, Outcome]) -> list[str]:
    """The tests that can see a change: first those that killed most changes of its file in the least time."""
    kills = Counter(outcome.test for what, outcome in known.items() if what.startswith(f"{change.file} "))
    return sorted(reach.of(root, change), key=lambda name: reach.durations.get(name, 0) / (kills[name] + UNKNOWN))


def _limit(reach: Reach, only: Sequence[str]) -> int:
    return LEAST + int(TIMES * sum(reach.durations.get(name, 0) for name in only))


def rows_of(sampled: Sequence[Sampled], reasons: Mapping[str, str]) -> list[Row]:
    """`mutants_unexplained`: changes that survived without a reason, or were not run; and how many a folder has of each."""
    survived = {what: each for each in sampled for what, o in each.outcomes.items() if o.name == "survived"}
    unexplained = sorted(set(survived) - set(reasons))
    missing = {each.folder.name: each.size - len(each.outcomes) for each in sampled}
    total = sum(each.size for each in sampled)
    gaps = "; ".join(f"{name}: {count} not run" for name, count in missing.items() if count)
    detail = f"of {total:,} changes: {'; '.join(unexplained) or 'none'}{f'; {gaps}' if gaps else ''}"
    rows = [Row("mutants_unexplained", len(unexplained) + sum(missing.values()), "changes", "== 0", "", detail)]
    for each in sampled:
        counts = Counter(outcome.name for outcome in each.outcomes.values())
        known = sum(what in reasons for what, outcome in each.outcomes.items() if outcome.name == "survived")
        detail = f"{len(each.outcomes)} of {each.size} run: {counts['killed']} killed, {counts['time']} by the time limit, "
        detail += f"{known} of {counts['survived']} survivors explained"
        share = 100 * known / each.size
        limit = f"<= {100 * each.folder.explained:g}"
        rows.append(Row(f"mutants_explained_{each.folder.name}", share, "% of the sample", limit, "", detail))
    return rows


if __name__ == "__main__":
    sys.exit(main())
