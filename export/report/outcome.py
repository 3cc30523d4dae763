"""The metrics of a verification in the forms that other programs read.

JSON         metrics.json, the rows as they are
JUnit XML    a test suite per kind of check; the elements and attributes that GitHub actions, GitLab and Jenkins read, as in
             junit-10.xsd of Jenkins' xunit plugin
Markdown     a summary for the page of a CI job, verdict first (https://github.github.com/gfm/)
"""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..parity.fidelity import fidelity_text
from .parity_tables import FORMAT_HEADER, cell_text, format_rows, parity_tables

Metrics = Mapping[str, Any]
Row = Mapping[str, Any]

_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#&])")


def to_json(metrics: Metrics) -> str:
    """metrics.json. A number that JSON does not have (NaN, infinity) is written as its name, a string."""
    text = json.dumps(_finite(metrics), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return _SURROGATES.sub("\ufffd", text)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_junit(metrics: Metrics) -> str:
    """JUnit XML: a suite per kind of check (the first word of its name), and one of what was skipped, with the reasons.

    Characters that XML does not have are written as their code point, such as `\\x1b`.
    """
    root = ElementTree.Element("testsuites", _counts(f"tiedae verify {metrics['name']}", metrics["checks"]))
    for kind, checks in _by_kind(metrics["checks"]).items():
        suite = ElementTree.SubElement(root, "testsuite", _counts(kind, checks) | {"skipped": "0"})
        for check in checks:
            case = _case(suite, metrics, kind, check["name"])
            if not check["ok"]:
                limit = f"got {check['value']}, must be {check['limit']}"
                failure = ElementTree.SubElement(case, "failure", {"type": kind, "message": _xml(check["text"])})
                failure.text = _xml(f"{check['text']}\n{limit}")
    if metrics["skipped"]:
        total = str(len(metrics["skipped"]))
        counts = {"name": "skipped", "tests": total, "failures": "0", "errors": "0", "skipped": total}
        suite = ElementTree.SubElement(root, "testsuite", counts)
        for row in metrics["skipped"]:
            case = _case(suite, metrics, "skipped", row["what"])
            ElementTree.SubElement(case, "skipped", {"message": _xml(row["reason"])})
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _by_kind(checks: Iterable[Row]) -> dict[str, list[Row]]:
    kinds: dict[str, list[Row]] = {}
    for check in checks:
        kinds.setdefault(check["name"].split(" ")[0], []).append(check)
    return kinds


def _counts(name: str, checks: Sequence[Row]) -> dict[str, str]:
    failures = sum(not check["ok"] for check in checks)
    return {"name": _xml(name), "tests": str(len(checks)), "failures": str(failures), "errors": "0"}


def _case(suite: ElementTree.Element, metrics: Metrics, kind: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", {"classname": _xml(f"tiedae.{metrics['name']}.{kind}"), "name": _xml(name)}
    )


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def to_markdown(metrics: Metrics) -> str:
    """A summary in GitHub's Markdown: verdict, failed checks, baseline, sizes, parity, quality, what was skipped, versions."""
    checks, name = metrics["checks"], _escape(metrics["name"])
    failed = [check for check in checks if not check["ok"]]
    verdict = (
        f"❌ {name}: {len(failed)} of {len(checks)} checks failed" if failed else f"✅ {name}: all {len(checks)} checks hold"
    )
    sections = [f"## {verdict}", *(section(metrics) for section in _SECTIONS)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _failed_section(metrics: Metrics) -> str:
    rows = [(c["name"], c["text"], _number(c["value"]), c["limit"]) for c in metrics["checks"] if not c["ok"]]
    return _table("Failed checks", ("check", "what is wrong", "got", "must be"), rows)


def _baseline_section(metrics: Metrics) -> str:
    baseline = metrics.get("baseline")
    if baseline is None:
        return ""
    worse = sum(not check["ok"] for check in metrics["checks"] if check["name"].startswith("baseline "))
    counts = f"{baseline['compared']} figures compared, {worse} checks worse by more than {baseline['allow']:.2%}"
    better = [f"- {_escape(text)}" for text in baseline["improved"]]
    told = f"Against {_escape(baseline['file'])}: {counts}" + (", and better by more than that:" if better else ".")
    return "\n\n".join(["### Baseline", told, *["\n".join(better)] * bool(better)])


def _files_section(metrics: Metrics) -> str:
    rows = [(f["file"], f"{f['bytes']:,}", str(f.get("kernel_copies", ""))) for f in metrics["files"]]
    return _table("Files", ("file", "bytes", "times a kernel is stored"), rows, "lrr")


def _parity_section(metrics: Metrics) -> str:
    return "\n\n".join(_table(*table) for table in _parity_tables(metrics))


def _parity_tables(metrics: Metrics) -> list[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """(title, header, rows): a row per format and runtime, a column per comparison, and the formats against each other."""
    tables = []
    for table in parity_tables(metrics):
        rows = []
        for (format_, runtime, _), cells in table.rows.items():
            problem = next((str(row["problem"]) for row in cells if row and row.get("problem")), "")
            rows.append((format_, runtime, *map(cell_text, cells), problem))
        header = ("files", "runtime", *table.columns, "problem")
        if not any(row[-1] for row in rows):
            header, rows = header[:-1], [row[:-1] for row in rows]
        unit = "values that differ, and by how much" if table.kind == "int8" else "largest difference over full scale"
        tables.append((f"Parity: {table.title}, {unit}", header, rows))
    formats = format_rows(metrics["parity"])
    return [*tables, ("Parity: formats against each other", FORMAT_HEADER, formats)] if formats else tables


def _quality_section(metrics: Metrics) -> str:
    rows = [
        (str(q.get("row", q.get("file", ""))), str(q.get("runtime", "")), _number(q["error"]), fidelity_text(q.get("fidelity")))
        for q in metrics["quality"]
    ]
    header = ("model", "runtime", "test error", "quality")
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    told = [f"- {_escape('column ' + warning['text'])}" for warning in metrics.get("warnings") or ()]
    return "\n\n".join(filter(None, (_table("Quality", header, rows, "llrl"), "\n".join(told))))


def _skipped_section(metrics: Metrics) -> str:
    return _table("Skipped", ("what", "why"), [(row["what"], row["reason"]) for row in metrics["skipped"]])


def _versions_section(metrics: Metrics) -> str:
    keras = metrics.get("keras")
    device = f"\n\nKeras ran on {_escape(keras['name'])} ({_escape(keras['device'])})." if keras else ""
    return "Versions: " + ", ".join(f"{_escape(k)} {_escape(v)}" for k, v in metrics["versions"].items()) + device


_SECTIONS: Sequence[Callable[[Metrics], str]] = (
    _failed_section,
    _baseline_section,
    _files_section,
    _parity_section,
    _quality_section,
    _skipped_section,
    _versions_section,
)


def overview(metrics: Metrics) -> list[tuple[str, Sequence[str], list[tuple[str, ...]]]]:
    """What a person reads of a verification, as (title, header, rows): checks by kind, parity, and one row per reason of what
    was skipped."""
    kinds = [(kind, f"{sum(c['ok'] for c in each)} of {len(each)}") for kind, each in _by_kind(metrics["checks"]).items()]
    reasons: dict[str, list[str]] = {}
    for row in metrics["skipped"]:
        reasons.setdefault(row["reason"], []).append(row["what"])
    tables = [
        *_parity_tables(metrics),
        ("Skipped", ("what", "why"), [(", ".join(whats), reason) for reason, whats in reasons.items()]),
        ("Checks", ("kind", "hold"), kinds),
        ("Failed", ("check", "what is wrong"), [(c["name"], c["text"]) for c in metrics["checks"] if not c["ok"]]),
    ]
    return [table for table in tables if table[2]]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A section with a table; nothing where there are no rows. `align`: l or r for each column."""
    if not rows:
        return ""
    rule = ["---:" if side == "r" else "---" for side in align.ljust(len(header), "l")][: len(header)]
    lines = [header, rule, *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join([f"### {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(_xml(str(text)).split()))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


OUTCOMES: Mapping[str, Callable[[Metrics], str]] = {"json": to_json, "junit": to_junit, "markdown": to_markdown}
"""Every form by the option of `tiedae verify` that asks for it."""
