"""The verdict in words and tables, for the terminal, the report, the card and summaries."""

from __future__ import annotations

from collections.abc import Sequence

from tiedae.base.numbers import number
from tiedae.bundle.verdict import Verdict, sentences

HEADER = ("baseline", "figure", "ours", "its", "gain", "95 % interval", "")
NO_GOOD = "no good, although every file is right"
Row = tuple[str, ...]


def verdict_rows(verdict: Verdict | None) -> list[Row]:
    """A row per baseline and criterion that the program was compared by, and one per baseline that it was not compared with."""
    rows = []
    for row in verdict.comparisons if verdict else ():
        interval = f"{number(row.gain.low)} … {number(row.gain.high)}"
        judged = "better" if row.better else "worse" if row.worse else "equal" if row.perfect else "within noise"
        rows.append((row.title, row.criterion, *map(number, (row.ours, row.theirs, row.gain.value)), interval, judged))
    return rows + [(each.text, "", "", "", "", "", "not compared") for each in (verdict.uncompared if verdict else ())]


def summary(verdict: Verdict) -> str:
    """One line: how many findings, or what the program is better than."""
    where = ", as the run found" if verdict.kept else ""
    if verdict.findings:
        count = f"{len(verdict.findings)} finding{'s' * (len(verdict.findings) > 1)}"
        return f"{NO_GOOD} ({count}{where})"
    names = list(dict.fromkeys(row.title for row in verdict.comparisons))
    if not names:
        return f"outputs vary and no unit is dead; there is no baseline to compare with{where}"
    copies = "" if verdict.different is None else f", on {verdict.samples_text}"
    return f"better than {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))} beyond noise{copies}{where}"


def texts(verdict: Verdict | None) -> Sequence[str]:
    """The findings, one sentence each."""
    return sentences(verdict) if verdict else ()


def uncompared_text(verdict: Verdict) -> str:
    """What the program was not compared with, each with the reason; empty if there is nothing."""
    return "; ".join(each.text for each in verdict.uncompared)


def shown(verdict: Verdict) -> dict[str, object]:
    """What a page shows: a line, the findings, the table of comparisons and what it rests on."""
    text = summary(verdict)
    return {
        "line": f"{text[0].upper()}{text[1:]}.",
        "findings": texts(verdict),
        "header": HEADER,
        "rows": verdict_rows(verdict),
        "method": method_text(verdict),
    }


def method_text(verdict: Verdict) -> str:
    """What the table of comparisons rests on."""
    if not verdict.comparisons:
        return ""
    return (
        f"On the same {verdict.samples_text}. The gain is how much better the int8 program is; its interval is that "
        f"of the paired bootstrap, {verdict.resamples:,} resamples, seed {verdict.seed}. Baselines were fitted in the run."
    )
