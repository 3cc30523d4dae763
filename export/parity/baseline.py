"""Today's metrics against earlier ones: what got worse by more than an allowed share is a check that failed.

Compared are the bytes of each file, its test error in each runtime, the quantization error of `y`, and the parity rows. Parity
has floors, since a share of almost nothing is noise: the share of values that differ may grow by `allow` itself, float
differences by `allow` and by `FLOAT_FLOOR` of the full scale. Largest LSB and the quantization error are compared where both
were taken over as many values. Latency never is.

What was checked and no longer is, counts as worse, except where a skipped row says what is `absent`: a runtime is not installed
here, or this call gave no model or samples. Those are skipped, with the reason. The stock converters' files, which only a run
has, are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...compress.errors import FormatError, InputError
from .findings import SCHEMA, Check

Metrics = Mapping[str, Any]
Row = Mapping[str, Any]
Key = tuple[str, ...]

FLOAT_FLOOR = 1e-6
"""How much float outputs of magnitude 1 may drift without being worse: engines differ by as much (8e-7 were measured)."""
PREFIX = "baseline "
READ = ("name", "checks", "files", "parity", "quality", "skipped")
"""What metrics have."""


@dataclass(frozen=True)
class Comparison:
    """`compared` figures gave `checks` that hold or not, `skipped` rows {what, reason}, and texts of what `improved`."""

    compared: int
    checks: tuple[Check, ...]
    skipped: tuple[Mapping[str, str], ...]
    improved: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One number of some metrics, the smaller the better.

    An allowed share a lets `value` grow to value · (1 + a) + `whole` · a + `floor`. `over` says over how many values a figure
    was taken that compares only with one over as many; 0 where that is no matter.
    """

    value: float
    text: str
    whole: float = 0.0
    floor: float = 0.0
    over: int = 0

    def bound(self, allow: float) -> float:
        """The largest value that is no worse."""
        return self.value * (1 + allow) + self.whole * allow + self.floor


def read_baseline(path: Path) -> Metrics:
    """Earlier metrics: metrics.json of a bundle, or what `tiedae verify --json` wrote.

    Raises InputError where the file is missing, FormatError where it is damaged, something else or of another schema.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, must be metrics of an earlier verification")
    try:
        found = json.loads(path.read_bytes().decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: damaged: not JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(found, dict) or "schema" not in found:
        raise FormatError(f"{path}: not metrics of tiedae: it has no schema")
    if found["schema"] != SCHEMA:
        raise FormatError(f"{path}: metrics of schema {found['schema']!r}, this tiedae reads schema {SCHEMA}")
    lacking = [key for key in READ if key not in found]
    if lacking:
        raise FormatError(f"{path}: not metrics of tiedae: lacks {', '.join(lacking)}")
    try:
        _model(found)
        compare_metrics(found, found, allow=0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: damaged: {error!r}") from None
    return found


def with_baseline(metrics: Metrics, before: Metrics, *, name: str, allow: float) -> dict[str, Any]:
    """The metrics with the rows of their comparison, and under `baseline` what they were compared with, by its `name`.

    Raises InputError as `compare_metrics` does.
    """
    found = compare_metrics(metrics, before, allow=allow)
    return {
        **metrics,
        "checks": [*metrics["checks"], *map(asdict, found.checks)],
        "skipped": [*metrics["skipped"], *found.skipped],
        "baseline": {"file": name, "allow": allow, "compared": found.compared, "improved": list(found.improved)},
    }


def compare_metrics(now: Metrics, before: Metrics, *, allow: float) -> Comparison:
    """Hold every figure of `before` against `now`: one check per file and runtime, and one per runtime that is gone.

    Raises InputError where the two are of different models, or `allow` is not a finite share of 0 or more.
    """
    require_share(allow)
    require_comparable(now, before)
    earlier, current = _figures(before), _figures(now)
    skips = [(_first_word(row["what"]), row) for row in now["skipped"]]
    excuses = [(what, row["reason"]) for what, row in skips if row.get("absent")]
    gone = {name: _why_gone(now, name) for name in sorted(_runtimes(before) - _runtimes(now))}
    excused = {name for name in gone if _excuse([name], excuses)}
    checks = [
        Check(f"{PREFIX}runtime {name}", False, "gone", "runs", f"{name} ran in the baseline and does not now: {why}")
        for name, why in gone.items()
        if name not in excused
    ]
    skipped = [{"what": f"{PREFIX}{name}", "reason": why} for name, why in gone.items() if name in excused]
    other = _other_samples(now, before)
    skipped += [{"what": f"{PREFIX}quality", "reason": other}] if other else []
    verdicts = [
        _compare_group(group, figures, current.get(group, {}), allow, excuses)
        for group, figures in earlier.items()
        if not gone.keys() & set(group) and not (other and group[0] == "quality")
    ]
    for verdict in verdicts:
        checks += verdict.checks()
        skipped += [{"what": f"{PREFIX}{' '.join(verdict.group)}", "reason": reason} for reason in sorted(verdict.excused)]
    unlike = sum(verdict.unlike for verdict in verdicts)
    if unlike:
        reason = f"{unlike} were taken over another number of values than in the baseline"
        skipped.append({"what": f"{PREFIX}figures", "reason": reason})
    lost = [name for name in _held(before) if name not in _names(now) and not gone.keys() & set(name.split(" "))]
    lost = [name for name in lost if not _excuse(name.split(" "), excuses)]
    text = (
        f"held in the baseline, not checked now: {', '.join(lost[:3])}{', …' * (len(lost) > 3)}"
        if lost
        else "every check of the baseline is still made"
    )
    checks.append(Check(f"{PREFIX}checks", not lost, len(lost), "== 0", text))
    improved = tuple(text for verdict in verdicts for text in verdict.improved)
    return Comparison(sum(verdict.compared for verdict in verdicts), tuple(checks), tuple(skipped), improved)


@dataclass(frozen=True)
class _Verdict:
    """A group of figures: how many were compared, and how many are `unlike`, taken over another number of values; texts of
    those that are worse or better; the reasons of those that this call could not measure."""

    group: Key
    compared: int
    unlike: int
    worse: tuple[str, ...]
    improved: tuple[str, ...]
    excused: frozenset[str]

    def checks(self) -> list[Check]:
        if not (self.compared or self.worse):
            return []
        name, more = " ".join(self.group), f"; and {len(self.worse) - 1} more" * (len(self.worse) > 1)
        text = f"{self.worse[0]}{more}" if self.worse else f"{name}: no worse than in the baseline"
        return [Check(f"{PREFIX}{name}", not self.worse, len(self.worse), "== 0", text)]


def _compare_group(
    group: Key, earlier: Mapping[Key, Figure], current: Mapping[Key, Figure], allow: float, excuses: Sequence[tuple[str, str]]
) -> _Verdict:
    worse, improved, excused, compared, unlike = [], [], set(), 0, 0
    for key, old in earlier.items():
        new, label = current.get(key), " ".join((*group, *key))
        if new is None:
            excuse = _excuse(label.split(" "), excuses)
            if excuse:
                excused.add(excuse)
            else:
                worse.append(f"{label}: {old.text} in the baseline, not measured now")
        elif new.over != old.over:
            unlike += 1
        else:
            compared += 1
            text = f"{label}: {new.text}, in the baseline {old.text}"
            if new.value > old.bound(allow):
                worse.append(text)
            elif old.value > new.bound(allow):
                improved.append(text)
    return _Verdict(group, compared, unlike, tuple(worse), tuple(improved), frozenset(excused))


def _excuse(words: Sequence[str], excuses: Sequence[tuple[str, str]]) -> str:
    """The reason by which something of these words may be absent, or nothing."""
    return next((reason for what, reason in excuses if what in words), "")


def _first_word(text: str) -> str:
    return text.split(" ")[0].removesuffix(":")


def _why_gone(metrics: Metrics, runtime: str) -> str:
    reasons = [row["reason"] for row in metrics["skipped"] if _first_word(row["what"]) == runtime]
    return reasons[0] if reasons else "it is not among the runtimes"


def _runtimes(metrics: Metrics) -> set[str]:
    return {row["runtime"] for row in _rows(metrics, "parity")}


def _names(metrics: Metrics) -> set[str]:
    return {check["name"] for check in metrics["checks"]}


def _held(metrics: Metrics) -> list[str]:
    """The checks that held, but for those of an earlier comparison."""
    return [check["name"] for check in metrics["checks"] if check["ok"] and not check["name"].startswith(PREFIX)]


def _model(metrics: Metrics) -> str:
    """The name and the widths, where those are known. Raises TypeError where they are no string and list."""
    return metrics["name"] + (" " + "-".join(map(str, metrics["model"]["widths"])) if "model" in metrics else "")


def require_share(allow: float) -> None:
    """Raise InputError where `allow` is not a finite share of 0 or more."""
    if not 0 <= allow < math.inf:
        raise InputError(f"allow: got {allow:g}, must be a share of 0 or more, such as 0.01")


def require_comparable(now: Metrics, before: Metrics) -> None:
    """Raise InputError where two metrics are of different models.

    Of `now` only `name` and `model` are read, which are known before anything is measured.
    """
    same = now["name"] == before["name"]
    if same and "model" in now and "model" in before:
        same = now["model"]["widths"] == before["model"]["widths"]
    if not same:
        raise InputError(f"the baseline is of another model: {_model(before)}, must be {_model(now)}")


def _other_samples(now: Metrics, before: Metrics) -> str:
    """Why errors do not compare, or nothing."""
    if "samples" not in now or "samples" not in before or now["samples"]["sha256"] == before["samples"]["sha256"]:
        return ""
    return f"measured on {now['samples']['source']}, in the baseline on other samples ({before['samples']['source']})"


def _figures(metrics: Metrics) -> dict[Key, dict[Key, Figure]]:
    """Every comparable number of our files by group (kind, file, runtime) and by what it is within that group."""
    found: dict[Key, dict[Key, Figure]] = {}
    for table, figures_of in _TABLES.items():
        for row in _rows(metrics, table):
            for group, key, figure in figures_of(row):
                found.setdefault(group, {})[key] = figure
    return found


def _rows(metrics: Metrics, table: str) -> list[Row]:
    """The rows of a table that are of a file of ours, or of the program."""
    stock = {row["file"] for row in metrics["files"] if row.get("maker") == "stock"}
    rows = metrics.get(table, []) if table == "errors" else metrics[table]
    return [row for row in rows if row.get("file") not in stock]


def _file_figures(row: Row) -> Iterator[tuple[Key, Key, Figure]]:
    size = _amount(row, "bytes")
    yield ("bytes", row["file"]), (), Figure(size, f"{size:,.0f} bytes")


def _quality_figures(row: Row) -> Iterator[tuple[Key, Key, Figure]]:
    if "file" in row:
        error = _amount(row, "error")
        yield ("quality", row["file"], row["runtime"]), (), Figure(error, f"error {error:.6g}")


def _error_figures(row: Row) -> Iterator[tuple[Key, Key, Figure]]:
    if row["error"] == "quantization" and row["layer"] == "y":
        rms = _amount(row, "rms")
        yield ("quantization", row["form"]), ("y",), Figure(rms, f"{rms:.6g} RMS", over=int(_amount(row, "count")))


def _parity_figures(row: Row) -> Iterator[tuple[Key, Key, Figure]]:
    if row.get("problem"):
        return
    group, what = ("parity", row["file"], row["runtime"]), row["what"]
    if row["kind"] == "int8":
        share, largest = _amount(row, "share"), _amount(row, "max_lsb")
        yield group, (what, "share that differs"), Figure(share, f"{100 * share:.3g}%", whole=1.0)
        yield group, (what, "largest difference"), Figure(largest, f"{largest:g} LSB", over=int(_amount(row, "count")))
    if row["kind"] == "float":
        largest, scale = _amount(row, "max_abs"), max(1.0, _amount(row, "full_scale"))
        yield group, (what, "largest difference"), Figure(largest, f"{largest:.3g}", floor=FLOAT_FLOOR * scale)


_TABLES: Mapping[str, Callable[[Row], Iterator[tuple[Key, Key, Figure]]]] = {
    "files": _file_figures,
    "quality": _quality_figures,
    "parity": _parity_figures,
    "errors": _error_figures,
}


def _amount(row: Row, key: str) -> float:
    value = row[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{key} is {value!r:.60}, not a number of 0 or more")
    return value
