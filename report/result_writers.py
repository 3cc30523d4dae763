"""Writers of metrics for other programs.

JSON         metrics.json
JUnit XML    a test suite per kind of check, readable by GitHub actions, GitLab and Jenkins (junit-10.xsd of Jenkins' xunit
             plugin)
Markdown     a summary for a CI job (https://github.github.com/gfm/)
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence

from tiedae.bundle.fidelity import fit_text
from tiedae.bundle.results import Check, Metrics, to_json
from tiedae.export.kinds import Kind, Precision

from .key_figures import groups
from .parity_tables import FORMAT_HEADER, cell_text, format_rows, parity_tables
from .verdict import HEADER as VERDICT_HEADER
from .verdict import method_text, summary, texts, verdict_rows

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#&])")


def to_junit(metrics: Metrics) -> str:
    """JUnit XML: a suite per kind of check, one of skipped measurements with their reasons, and one of the findings of the
    verdict, which fail nothing.

    Characters that XML forbids are written as code points, such as `\\x1b`.
    """
    root = ElementTree.Element("testsuites", _counts(f"tiedae verify {headline(metrics)}", metrics.checks))
    for kind, checks in groups(metrics.checks, lambda check: check.kind).items():
        suite = ElementTree.SubElement(root, "testsuite", _counts(kind, checks) | {"skipped": "0"})
        for check in checks:
            case = _case(suite, metrics, kind, check.name)
            if not check.ok:
                limit = f"got {check.value}, must be {check.limit}"
                failure = ElementTree.SubElement(case, "failure", {"type": kind, "message": _xml(check.text)})
                failure.text = _xml(f"{check.text}\n{limit}")
    if metrics.skipped:
        total = str(len(metrics.skipped))
        counts = {"name": "skipped", "tests": total, "failures": "0", "errors": "0", "skipped": total}
        suite = ElementTree.SubElement(root, "testsuite", counts)
        for row in metrics.skipped:
            case = _case(suite, metrics, "skipped", row.what)
            ElementTree.SubElement(case, "skipped", {"message": _xml(row.reason)})
    findings = texts(metrics.verdict)
    if findings:
        suite = ElementTree.SubElement(
            root, "testsuite", _counts("findings", ()) | {"tests": str(len(findings)), "skipped": "0"}
        )
        for text in findings:
            case = _case(suite, metrics, "findings", text)
            ElementTree.SubElement(case, "system-out").text = _xml(text)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _counts(name: str, checks: Sequence[Check]) -> dict[str, str]:
    failures = sum(not check.ok for check in checks)
    return {"name": _xml(name), "tests": str(len(checks)), "failures": str(failures), "errors": "0"}


def _case(suite: ElementTree.Element, metrics: Metrics, kind: str, name: str) -> ElementTree.Element:
    of = {"classname": _xml(f"tiedae.{metrics.name}.{kind}"), "name": _xml(name)}
    return ElementTree.SubElement(suite, "testcase", of)


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def headline(metrics: Metrics) -> str:
    """The first line of every summary: what holds, and what was not compared with the baseline."""
    count, failed, baseline = len(metrics.checks), len(metrics.failed), metrics.baseline
    text = f"{metrics.name}: {failed} of {count} checks failed" if failed else f"{metrics.name}: all {count} checks hold"
    if baseline is None:
        return text
    left_out = f"not compared with {baseline.file}: {', '.join(baseline.uncompared)}"
    return f"{text}; {left_out if baseline.uncompared else f'all figures of {baseline.file} compared'}"


def to_markdown(metrics: Metrics) -> str:
    """A summary in GitHub's Markdown: verdict, failed checks, baseline, files, parity, quality, skipped rows, versions."""
    amber = metrics.verdict is not None and metrics.verdict.findings
    sections = [
        f"## {'❌' if metrics.failed else '⚠️' if amber else '✅'} {_escape(headline(metrics))}",
        *(section(metrics) for section in _SECTIONS),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _failed_section(metrics: Metrics) -> str:
    rows = [(check.name, check.text, _number(check.value), check.limit) for check in metrics.failed]
    return _table("Failed checks", ("check", "what is wrong", "got", "must be"), rows)


def _baseline_section(metrics: Metrics) -> str:
    baseline = metrics.baseline
    if baseline is None:
        return ""
    worse = sum(check.kind is Kind.BASELINE for check in metrics.failed)
    counts = f"{baseline.compared} figures compared, {worse} checks worse by more than {baseline.allow:.2%}"
    better = "\n".join(f"- {_escape(text)}" for text in baseline.improved)
    end = ", and better by more than that:" if better else "."
    return "\n\n".join(filter(None, ("### Baseline", f"Against {_escape(baseline.file)}: {counts}{end}", better)))


def _verdict_section(metrics: Metrics) -> str:
    verdict = metrics.verdict
    if verdict is None:
        return ""
    sign, text = ("⚠️", "**{}**") if verdict.findings else ("", "{}")
    lines = "\n".join(f"- {_escape(each)}" for each in texts(verdict))
    table = _table("Baselines", VERDICT_HEADER, verdict_rows(verdict), "llrrrrl")
    line = f"{sign} {text.format(_escape(summary(verdict)))}".strip()
    return "\n\n".join(filter(None, ("### Verdict", line, lines, table, _escape(method_text(verdict)))))


def _files_section(metrics: Metrics) -> str:
    rows = [(file.file, f"{file.bytes:,}", str(file.kernel_copies or "")) for file in metrics.files]
    return _table("Files", ("file", "bytes", "times a kernel is stored"), rows, "lrr")


def _parity_section(metrics: Metrics) -> str:
    return "\n\n".join(_table(*table) for table in _parity_tables(metrics))


def _parity_tables(metrics: Metrics) -> list[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """(title, header, rows) of the parity tables, and of the comparisons between formats."""
    tables = []
    for table in parity_tables(metrics):
        rows = []
        for (format_, runtime, _), cells in table.rows.items():
            problem = next((row.problem for row in cells if row and row.problem), "")
            rows.append((format_, runtime, *map(cell_text, cells), problem))
        header = ("files", "runtime", *table.columns, "problem")
        if not any(row[-1] for row in rows):
            header, rows = header[:-1], [row[:-1] for row in rows]
        unit = (
            "values that differ, and by how much" if table.precision is Precision.INT8 else "largest difference over full scale"
        )
        tables.append((f"Parity: {table.title}, {unit}", header, rows))
    formats = format_rows(metrics.parity)
    return [*tables, ("Parity: formats against each other", FORMAT_HEADER, formats)] if formats else tables


def _quality_section(metrics: Metrics) -> str:
    rows = [(row.title, row.runtime, _number(row.error), fit_text(row.fidelity)) for row in metrics.quality]
    header = ("model", "runtime", "test error", "quality")
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    warnings = "\n".join(f"- {_escape('column ' + warning.text)}" for warning in metrics.warnings)
    return "\n\n".join(filter(None, (_table("Quality", header, rows, "llrl"), warnings)))


def _skipped_section(metrics: Metrics) -> str:
    return _table("Skipped", ("what", "why"), [(row.what, row.reason) for row in metrics.skipped])


def _versions_section(metrics: Metrics) -> str:
    keras = metrics.keras
    device = f"\n\nKeras ran on {_escape(keras.name)} ({_escape(keras.device)})." if keras else ""
    return "Versions: " + ", ".join(f"{_escape(k)} {_escape(v)}" for k, v in metrics.versions.items()) + device


_SECTIONS: Sequence[Callable[[Metrics], str]] = (
    _failed_section,
    _verdict_section,
    _baseline_section,
    _files_section,
    _parity_section,
    _quality_section,
    _skipped_section,
    _versions_section,
)


def overview(metrics: Metrics) -> list[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """Tables (title, header, rows) for the terminal: parity, skipped measurements by reason, checks by kind, failed checks."""
    kinds = groups(metrics.checks, lambda check: check.kind)
    reasons = groups(metrics.skipped, lambda row: row.reason)
    tables = [
        *_parity_tables(metrics),
        ("Skipped", ("what", "why"), [(", ".join(row.what for row in rows), reason) for reason, rows in reasons.items()]),
        ("Checks", ("kind", "hold"), [(kind, f"{sum(c.ok for c in each)} of {len(each)}") for kind, each in kinds.items()]),
        ("Baselines", VERDICT_HEADER, verdict_rows(metrics.verdict)),
        ("Failed", ("check", "what is wrong"), [(check.name, check.text) for check in metrics.failed]),
    ]
    return [table for table in tables if table[2]]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A section with a table; '' without rows. `align`: l or r for each column."""
    if not rows:
        return ""
    rule = ["---:" if side == "r" else "---" for side in align.ljust(len(header), "l")][: len(header)]
    lines = [header, rule, *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join([f"### {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _escape(text: str) -> str:
    """One line of text with Markdown's special characters escaped."""
    return _MARKUP.sub(r"\\\1", " ".join(_xml(str(text)).split()))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


OUTCOMES: Mapping[str, Callable[[Metrics], str]] = {"json": to_json, "junit": to_junit, "markdown": to_markdown}
"""Writers by option of `tiedae verify`."""
