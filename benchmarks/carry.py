"""Defaults on data that nobody tuned to: `tiedae recipe --data` and `tiedae run` on the sets of carry_sets.py, no other change.

    TIEDAE_DATA=... python benchmarks/carry.py --json carry.json --table carry.md

Every set, each task that it allows, three seeds (of training and of the split). Packages of the sets and results are kept in
the folder --work, so that an interrupted benchmark continues; take another folder after a change of the code.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from carry_runs import TIEDAE, Job, Outcome, call, last_line
from carry_sets import CACHE, HALVES, SETS, write
from rows import Row, arguments_of, report

from tiedae.base.errors import CheckError
from tiedae.base.files import write_atomic
from tiedae.report.console import Console

SEEDS = (0, 1, 2)
LARGE = 1_000
"""Samples from which on a set counts in pca_gain_median."""
LARGEST = next(row for row in SETS if row.name == "fashion")
"""60,000 × 784 bytes, for recipe_seconds."""
REACH = {"loss": 1.10, "qat": 1.005}
NOTHING = float("inf")
"""The value of a row that no run has a figure for: it must not look fine."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this part (can be repeated)")
    parser.add_argument("--half", choices=(*HALVES, "all"), default="all", help="of the sets")
    parser.add_argument("--sets", nargs="*", choices=[row.name for row in SETS], metavar="NAME", help="only these")
    parser.add_argument("--seeds", type=int, choices=range(1, 4), default=3, help="of each run, fewer for a trial")
    parser.add_argument("--workers", type=int, default=2, help="runs side by side, of one thread each")
    parser.add_argument("--work", type=Path, default=CACHE, metavar="DIR", help="where sets, packages and results are kept")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after these")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a row of each set and task here, as Markdown")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()

    def measure(console: Console) -> Sequence[Row]:
        return [row for name in arguments.only or PARTS for row in PARTS[name](console, arguments)]

    return report("strangers' data", measure, arguments.json)


def recipe_rows(console: Console, arguments: argparse.Namespace) -> Sequence[Row]:
    """`recipe_seconds`: the median of three calls, the Python process included."""
    source, seconds = write(LARGEST, arguments.work / "sets", arguments.work / "packages"), []
    for _ in range(3):
        started = time.monotonic()
        done = call([TIEDAE, "recipe", "--data", str(source)])
        seconds.append(time.monotonic() - started)
        if done.returncode:
            raise CheckError(f"tiedae recipe: exit code {done.returncode}: {last_line(done.stderr)}")
    console.note(f"tiedae recipe: {', '.join(f'{value:.1f}' for value in seconds)} s")
    return [Row("recipe_seconds", statistics.median(seconds), "s", "<= 10", "<= 4", "60,000 × 784 bytes, with one thread")]


def bounded_rows(console: Console, _: argparse.Namespace) -> Sequence[Row]:
    return import_module("carry_bounded").rows(console)


def run_rows(console: Console, arguments: argparse.Namespace) -> Sequence[Row]:
    """The rows of the runs; writes the table."""
    chosen = jobs(arguments)
    outcomes = made(chosen, arguments.workers, arguments.minutes, console)
    if arguments.table:
        write_atomic(arguments.table, table_of(outcomes).encode())
    return rows_of(outcomes, len(chosen) - len(outcomes))


PARTS: Mapping[str, Callable[[Console, argparse.Namespace], Sequence[Row]]] = {
    "recipe": recipe_rows,
    "bounded": bounded_rows,
    "runs": run_rows,
}


def jobs(arguments: argparse.Namespace) -> list[Job]:
    """The runs that the arguments choose, those of the first seed first."""
    chosen = [
        row for row in SETS if arguments.half in (row.half, "all") and (arguments.sets is None or row.name in arguments.sets)
    ]
    files = {row.name: write(row, arguments.work / "sets", arguments.work / "packages") for row in chosen}
    runs = arguments.work / "runs"
    return [
        Job(row, task, seed, files[row.name], runs / f"{row.name}-{task}-{seed}")
        for seed in SEEDS[: arguments.seeds]
        for row in chosen
        for task in row.tasks
    ]


def made(jobs: Sequence[Job], workers: int, minutes: float, console: Console) -> list[Outcome]:
    """What came of each run, in their order; of those that could start within `minutes`, or were made before."""
    last = time.monotonic() + 60 * minutes

    def outcome(job: Job) -> Outcome | None:
        if not job.done and time.monotonic() > last:
            return None
        made = job.outcome()
        console.note(text_of(made))
        return made

    with ThreadPoolExecutor(workers) as pool:
        return [each for each in pool.map(outcome, jobs) if each is not None]


def text_of(outcome: Outcome) -> str:
    figures = {"int8 / float": outcome.loss, "QAT / PTQ": outcome.qat_vs_ptq, "ours / PCA": outcome.pca and outcome.pca.ratio}
    parts = [f"{name} {value:.3f}" for name, value in figures.items() if value is not None]
    exits = f"exit {outcome.recipe_exit or outcome.run_exit}"
    return f"{name_of(outcome)}: {', '.join([exits, *parts, *outcome.findings])} {outcome.message}".rstrip()


def name_of(outcome: Outcome) -> str:
    return f"{outcome.name} {outcome.task} {outcome.seed}"


def rows_of(outcomes: Sequence[Outcome], left_out: int = 0) -> list[Row]:
    """The rows of these runs, and of how many that were not made; a row without any figure is infinite."""
    failed = [name_of(outcome) for outcome in outcomes if outcome.failed]
    lenient = [f"{name_of(outcome)} passed by {outcome.lenient}" for outcome in outcomes if outcome.lenient]
    losses = {name_of(outcome): loss for outcome in outcomes if (loss := outcome.loss) is not None}
    methods = {name_of(outcome): ratio for outcome in outcomes if (ratio := outcome.qat_vs_ptq) is not None}
    lost = sorted({outcome.name for outcome in outcomes if outcome.pca_lost})
    gains = pca_gains(outcomes)
    compared = f"{len(gains)} sets of {LARGE:,} samples or more" + "".join(f"; {k} {v:.3f}" for k, v in gains.items())
    of = f"of {len(outcomes)}" + (f", {left_out} more were not made" if left_out else "")
    return [
        Row("runs_failed", len(failed), "runs", "== 0", "", "; ".join([of, *failed, *lenient])),
        Row("int8_loss_worst", max(losses.values(), default=NOTHING), "x", "<= 1.10", "<= 1.05", worst(losses)),
        Row("int8_loss_median", median(losses.values()), "x", "<= 1.02", "<= 1.00", f"{len(losses)} runs"),
        Row("qat_vs_ptq_worst", max(methods.values(), default=NOTHING), "x", "<= 1.005", "<= 1.00", worst(methods)),
        Row("pca_lost", len(lost), "sets", "== 0", "", "; ".join(lost)),
        Row("pca_gain_median", median(gains.values()), "x", "<= 0.95", "<= 0.85", compared),
    ]


def median(values: Iterable[float]) -> float:
    return statistics.median([*values] or [NOTHING])


def worst(figures: Mapping[str, float], shown: int = 5) -> str:
    ranked = sorted(figures.items(), key=lambda item: -item[1])[:shown]
    return "; ".join(f"{name} {value:.3f}" for name, value in ranked)


def pca_gains(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Our error / PCA's at equal bits, the median of the seeds, of each set that is large enough."""
    found: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.pca is not None and outcome.methods is not None and outcome.methods.samples >= LARGE:
            found.setdefault(outcome.name, []).append(outcome.pca.ratio)
    return {name: statistics.median(ratios) for name, ratios in found.items()}


COLUMNS = ("set, task", "half", "samples", "method", "exit codes", "int8 / float", "QAT / PTQ", "ours / PCA", "verdict")


def table_of(outcomes: Sequence[Outcome]) -> str:
    """A row of each set and task, a figure of each seed, bad ones in bold; then why runs failed. Markdown."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.name, outcome.task), []).append(outcome)
    rows = [cells_of(group) for group in groups.values()]
    lines = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    failures = [f"- {name_of(outcome)}: {outcome.message}" for outcome in outcomes if outcome.failed or outcome.message]
    return "\n".join([*lines, "", *failures, ""])


def cells_of(group: Sequence[Outcome]) -> list[str]:
    """The cells of one set and task."""
    first = group[0]
    measured = next((outcome.methods for outcome in group if outcome.methods is not None), None)
    findings = list(dict.fromkeys(finding.rstrip(": ") for outcome in group for finding in outcome.findings))
    return [
        f"{first.name}, {first.task}",
        next(row.half for row in SETS if row.name == first.name),
        f"{measured.samples:,}" if measured else "",
        measured.method if measured else "",
        ", ".join(exit_text(outcome) for outcome in group),
        ", ".join(ratio(outcome.loss, REACH["loss"]) for outcome in group),
        ", ".join(ratio(outcome.qat_vs_ptq, REACH["qat"]) for outcome in group),
        ", ".join(bold(f"{outcome.pca.ratio:.3f}", outcome.pca.low <= 0) for outcome in group if outcome.pca is not None),
        "; ".join(findings) or ("" if first.failed else "good"),
    ]


def exit_text(outcome: Outcome) -> str:
    lenient = f" ({outcome.lenient})" if outcome.lenient else ""
    return bold(f"{outcome.recipe_exit or outcome.run_exit}{lenient}", outcome.failed or bool(lenient))


def ratio(value: float | None, reach: float) -> str:
    return "**none**" if value is None else bold(f"{value:.3f}", value > reach)


def bold(text: str, bad: bool) -> str:
    return f"**{text}**" if bad else text


if __name__ == "__main__":
    sys.exit(main())
