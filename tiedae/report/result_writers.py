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

from tiedae.base.markdown import cells, markdown
from tiedae.bundle.fidelity import fit_text
from tiedae.bundle.results import Check, Metrics, to_json, warning_lines
from tiedae.export.kinds import Kind, Precision

from .key_figures import groups
from .parity_tables import FORMAT_HEADER, cell_text, format_rows, parity_tables
from .verdict import HEADER as VERDICT_HEADER
from .verdict import method_text, summary, texts, verdict_rows

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(metrics: Metrics) -> str:
    """JUnit XML: a suite per kind of check, one of skipped measurements with their reasons, and one of the findings of the
    verdict, which fail nothing.

    Characters that XML forbids are written as code points, such as `\\x1b`.
    """
    suites: dict[str, list[tuple[str, ElementTree.Element | None]]] = {
        kind: [(check.name, None if check.ok else _failure(check)) for check in checks]
        for kind, checks in groups(metrics.checks, lambda check: check.kind).items()
    }
    suites["skipped"] = [(row.what, _element("skipped", message=row.reason)) for row in metrics.skipped]
    suites["findings"] = [(text, _element("system-out", text)) for text in texts(metrics.verdict)]
    total = {"tests": len(metrics.checks), "failures": len(metrics.failed), "errors": 0}
    root = _element("testsuites", name=f"tiedae verify {headline(metrics)}", **total)
    for kind, cases in suites.items():
        tags = [outcome.tag for _, outcome in cases if outcome is not None]
        counts = {"tests": len(cases), "failures": tags.count("failure"), "errors": 0, "skipped": tags.count("skipped")}
        suite = _element("testsuite", name=kind, **counts)
        for name, outcome in cases:
            case = _element("testcase", classname=f"tiedae.{metrics.name}.{kind}", name=name)
            case.extend([] if outcome is None else [outcome])
            suite.append(case)
        root.extend([suite] if cases else [])
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _failure(check: Check) -> ElementTree.Element:
    text = f"{check.text}\ngot {check.value}, must be {check.limit}"
    return _element("failure", text, type=check.kind, message=check.text)


def _element(tag: str, text: str | None = None, /, **attributes: object) -> ElementTree.Element:
    element = ElementTree.Element(tag, {key: _xml(str(value)) for key, value in attributes.items()})
    element.text = None if text is None else _xml(text)
    return element


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def headline(metrics: Metrics) -> str:
    """The first line of every summary: what holds, and what was not compared with the baseline."""
    count, failed, baseline = len(metrics.checks), len(metrics.failed), metrics.baseline
    text = f"{metrics.name}: {failed} of {count} checks failed" if failed else f"{metrics.name}: all {count} checks hold"
    if metrics.limits:
        text += f"; limits that are not the defaults: {metrics.limits_text}"
    if baseline is None:
        return text
    left_out = f"not compared with {baseline.file}: {', '.join(baseline.uncompared)}"
    return f"{text}; {left_out if baseline.uncompared else f'all figures of {baseline.file} compared'}"


def to_markdown(metrics: Metrics) -> str:
    """A summary in GitHub's Markdown: verdict, failed checks, baseline, files, parity, quality, skipped rows, versions."""
    amber = metrics.verdict is not None and metrics.verdict.findings
    failed = [(check.name, check.text, _number(check.value), check.limit) for check in metrics.failed]
    files = [(file.file, f"{file.bytes:,}", str(file.kernel_copies or "")) for file in metrics.files]
    sections = [
        f"## {'❌' if metrics.failed else '⚠️' if amber else '✅'} {markdown(headline(metrics))}",
        _table("Failed checks", ("check", "what is wrong", "got", "must be"), failed),
        _verdict_section(metrics),
        _baseline_section(metrics),
        _table("Files", ("file", "bytes", "times a kernel is stored"), files, "lrr"),
        *(_table(*table) for table in _parity_tables(metrics)),
        _quality_section(metrics),
        _table("Skipped", ("what", "why"), [(row.what, row.reason) for row in metrics.skipped]),
        _versions_section(metrics),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _baseline_section(metrics: Metrics) -> str:
    baseline = metrics.baseline
    if baseline is None:
        return ""
    worse = sum(check.kind is Kind.BASELINE for check in metrics.failed)
    counts = f"{baseline.compared} figures compared, {worse} checks worse by more than {markdown(baseline.allowed)}"
    better = "\n".join(f"- {markdown(text)}" for text in baseline.improved)
    end = ", and better by more than that:" if better else "."
    return "\n\n".join(filter(None, ("### Baseline", f"Against {markdown(baseline.file)}: {counts}{end}", better)))


def _verdict_section(metrics: Metrics) -> str:
    verdict = metrics.verdict
    if verdict is None:
        return ""
    sign, text = ("⚠️", "**{}**") if verdict.findings else ("", "{}")
    lines = "\n".join(f"- {markdown(each)}" for each in texts(verdict))
    table = _table("Baselines", VERDICT_HEADER, verdict_rows(verdict), "llrrrrl")
    line = f"{sign} {text.format(markdown(summary(verdict)))}".strip()
    parts = ("### Verdict", line, lines, table, str(markdown(method_text(verdict))))
    return "\n\n".join(filter(None, parts))


def _parity_tables(metrics: Metrics) -> list[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """(title, header, rows) of the parity tables, and of the comparisons between formats."""
    tables = []
    for table in parity_tables(metrics):
        rows = []
        for (format_, runtime, _), compared in table.rows.items():
            problem = next((row.problem for row in compared if row and row.problem), "")
            rows.append((format_, runtime, *map(cell_text, compared), problem))
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
    warnings = "\n".join(f"- {markdown(line)}" for line in warning_lines(metrics.warnings))
    return "\n\n".join(filter(None, (_table("Quality", header, rows, "llrl"), warnings)))


def _versions_section(metrics: Metrics) -> str:
    keras = metrics.keras
    device = f"\n\nKeras ran on {markdown(keras.name)} ({markdown(keras.device)})." if keras else ""
    return "Versions: " + ", ".join(f"{markdown(k)} {markdown(v)}" for k, v in metrics.versions.items()) + device


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
    lines = [header, rule, *rows]
    return "\n".join([f"### {markdown(title)}", "", *(f"| {cells(line)} |" for line in lines)])


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


OUTCOMES: Mapping[str, Callable[[Metrics], str]] = {"json": to_json, "junit": to_junit, "markdown": to_markdown}
"""Writers by option of `tiedae verify`."""
