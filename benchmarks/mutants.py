"""Whether a test fails for every small change of a module: the changes of cosmic-ray's operators, each in a forked process.

    python benchmarks/mutants.py --json build/mutants.json        # all of mutation/; docs/trust.md says what was found
    python benchmarks/mutants.py kernel --sample 50 --seed 37 --resume

No file is changed: the process that runs the tests imports the changed source. `mutation/survivors.toml` explains changes that
no test can fail for. Outcomes are kept in build/mutants/, so that `--resume` continues where a run was interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import shlex
import sys
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutant_changes import Change, changes_of, files_of
from mutant_process import Outcome, Tests
from needs import require
from rows import Row, arguments_of, report
from tiedae.compress.errors import CheckError, DataError

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ("folders", "operators", "survivors")
"""Files of mutation/ that are no suites."""
EXAMPLES = 10
"""Of each property, against a change. A change that survives them is tried again with as many as the tests have."""


@dataclass(frozen=True)
class Suite:
    """Modules, the tests that have to fail for each change of them, as arguments of pytest, and their limit in seconds of
    processor time."""

    name: str
    root: Path
    files: tuple[Path, ...]
    tests: tuple[str, ...]
    seconds: int


@dataclass(frozen=True)
class Result:
    """The outcomes of a suite's changes by `Change.what`; `whole` unless they are a sample."""

    suite: Suite
    outcomes: Mapping[str, Outcome]
    whole: bool


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("suites", nargs="*", metavar="MODULE", help="files of mutation/ by their stems; all by default")
    parser.add_argument("--sample", type=int, metavar="N", help="N of the changes, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="keep the outcomes of the same change and the same tests")
    arguments = parser.parse_args()
    try:
        return report(
            "Mutation tests",
            lambda _: mutant_rows(arguments.suites, arguments.sample, arguments.seed, resume=arguments.resume),
            arguments.json,
        )
    except KeyboardInterrupt:
        print("interrupted: --resume continues", file=sys.stderr)
        return 130


def mutant_rows(names: Sequence[str] = (), sample: int | None = None, seed: int = 0, *, resume: bool = False) -> list[Row]:
    """`mutants_revived`, and a row for each module. Raises DataError for a name without a configuration."""
    require(packages=("cosmic_ray",))
    folder = ROOT / "mutation"
    excluded = excluded_operators(folder)
    results = []
    for name in names or sorted(path.stem for path in folder.glob("*.toml") if path.stem not in OTHERS):
        suite = read_suite(folder / f"{name}.toml", ROOT)
        changes = changes_of(suite.root, suite.files, excluded)
        if sample is not None:
            changes = random.Random(seed).sample(changes, min(sample, len(changes)))
        state = ROOT / "build" / "mutants" / f"{name}.jsonl"
        results.append(Result(suite, run_suite(suite, changes, state, resume=resume), sample is None))
    return rows_of(results, explained(folder / "survivors.toml", survivors_of(results)))


def excluded_operators(folder: Path) -> list[str]:
    """Expressions for the names of operators that make no change."""
    settings = tomllib.loads((folder / "operators.toml").read_text("utf-8"))["cosmic-ray"]
    return settings["filters"]["operators-filter"]["exclude-operators"]


def read_suite(path: Path, root: Path) -> Suite:
    """The suite of a configuration of cosmic-ray. Raises DataError if that or a path in it is not there."""
    if not path.is_file():
        raise DataError(f"{path.name}: not found in {path.parent.name}/")
    settings = tomllib.loads(path.read_text("utf-8"))["cosmic-ray"]
    given = settings["module-path"]
    files = files_of(root, [given] if isinstance(given, str) else given)
    words = shlex.split(settings["test-command"])
    tests = tuple(words[min(i for i, word in enumerate(words) if word.startswith("tests/")) :])
    for name in tests:
        if name.startswith("tests/") and not (root / name).exists():
            raise DataError(f"{path.name}: got {name} in test-command, must be a file or folder")
    return Suite(path.stem, root, files, tests, int(settings["timeout"]))


def explained(path: Path, survivors: Collection[str]) -> dict[str, str]:
    """{what survives: why no test can fail for it}: `changes`, and the survivors that an expression of `matching` matches
    whole, or itself where it matches none."""
    reasons = {}
    for group in tomllib.loads(path.read_text("utf-8"))["survivors"]:
        matches = [[what for what in survivors if re.fullmatch(each, what)] or [each] for each in group.get("matching", ())]
        reasons |= dict.fromkeys([*group.get("changes", ()), *itertools.chain(*matches)], group["reason"])
    return reasons


def survivors_of(results: Sequence[Result]) -> set[str]:
    return {what for result in results for what, outcome in result.outcomes.items() if outcome.name == "survived"}


def run_suite(suite: Suite, changes: Sequence[Change], state: Path, *, resume: bool) -> dict[str, Outcome]:
    """The outcome of each change, by `Change.what`; `state` keeps them, one line of JSON each.

    Raises CheckError if the tests fail without a change, or pass with a module that raises.
    """
    version = _tests_hash(suite)
    known: dict[str, Outcome] = {}
    if resume and state.exists():
        for line in map(json.loads, state.read_text("utf-8").splitlines()):
            if line["tests"] == version:
                known[line["key"]] = Outcome(line["outcome"], line["test"])
    state.parent.mkdir(parents=True, exist_ok=True)
    rest = [change for change in changes if change.key not in known]
    with state.open("a" if resume else "w", encoding="utf-8") as file:
        tests = Tests(suite.root, suite.tests, suite.seconds, state.parent / "tmp")
        if rest:
            _check(suite, tests)
        for number, change in enumerate(rest, 1):
            outcome = tests.run(change, EXAMPLES)
            if outcome.name == "survived":
                outcome = tests.run(change, None, properties=True)
            known[change.key] = outcome
            line = {"key": change.key, "tests": version, "outcome": outcome.name, "test": outcome.test, "what": change.what}
            print(json.dumps(line, ensure_ascii=False), file=file, flush=True)
            if outcome.name != "killed" or number % 20 == 0 or number == len(rest):
                print(f"{suite.name} {number}/{len(rest)} {outcome.name}: {change.what}", file=sys.stderr, flush=True)
        if rest and tests.run(None, EXAMPLES).name != "survived":
            raise CheckError(f"{suite.name}: its tests fail without a change, in the order that kills first")
    return {change.what: known[change.key] for change in changes}


def _check(suite: Suite, tests: Tests) -> None:
    """The tests pass as they are, and fail for each module that raises: they import the changed source."""
    if tests.run(None, None).name != "survived" or tests.run(None, EXAMPLES).name != "survived":
        raise CheckError(f"{suite.name}: its tests fail without a change, or take more than {suite.seconds} s")
    for path in suite.files:
        source = (suite.root / path).read_text("utf-8")
        if tests.run(Change(path, "", f"{source}\nraise AssertionError\n"), EXAMPLES).name != "killed":
            raise CheckError(f"{suite.name}: its tests do not import {path}")


def _tests_hash(suite: Suite) -> str:
    """Of the tests and of the fixtures that all share."""
    paths = [path for name in suite.tests for path in sorted((suite.root / name).rglob("*.py")) or [suite.root / name]]
    digest = hashlib.sha256(" ".join(suite.tests).encode())
    for path in (suite.root / "tests" / "conftest.py", *paths):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def rows_of(results: Sequence[Result], reasons: Mapping[str, str]) -> list[Row]:
    """`mutants_revived`, with the names of those that no entry of `reasons` explains and of entries that no survivor has."""
    survivors = survivors_of(results)
    files = {str(path) for result in results if result.whole for path in result.suite.files}
    revived = sorted(survivors - set(reasons))
    stale = sorted(what for what in set(reasons) - survivors if what.partition(" ")[0] in files)
    total = sum(len(result.outcomes) for result in results)
    detail = f"of {total:,} changes: {'; '.join(revived) or 'none'}" + (f"; stale: {'; '.join(stale)}" if stale else "")
    rows = [Row("mutants_revived", len(revived), "changes", "== 0", "", detail)]
    for result in results:
        counts = Counter(outcome.name for outcome in result.outcomes.values())
        known = sum(what in reasons for what, outcome in result.outcomes.items() if outcome.name == "survived")
        killed = f"{counts['killed']} killed, {counts['time']} by the time limit"
        detail = f"{killed}, {known} of {counts['survived']} survivors explained"
        rows.append(Row(f"mutants_{result.suite.name}", len(result.outcomes), "changes", "", "", detail))
    return rows


if __name__ == "__main__":
    sys.exit(main())
