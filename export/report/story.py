"""The top of the report: what goes in and what comes out, how good, how large and how fast, and whether the checks hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..parity.fidelity import fidelity_value
from .figures import duration, escape, human_size, number, size, three_digits
from .headline import (
    Comparison,
    Row,
    codes_text,
    compare_sizes,
    keras_float,
    promised_codes,
    stored_once,
    worst_exported,
)
from .sections import Report, change_text, kind_text
from .speed import leading_case

WARNINGS = 4
"""How many warnings the top of the page shows."""


@dataclass(frozen=True)
class Fact:
    """A figure in large, a text below it, and the phrase that the first sentence has of it; `kind` is a CSS class."""

    figure: str
    text: str
    phrase: str
    kind: str = ""


def render_story(report: Report) -> str:
    """A sentence, what is wrong, and a card per fact."""
    facts = [fact for make in FACTS for fact in make(report)]
    *first, last = (fact.phrase for fact in facts if fact.phrase)
    sentence = f"{report.metrics['name']} {', '.join(first)}, and {last}."
    cards = "".join(
        f'<div class="card"><b class="{fact.kind}">{escape(fact.figure)}</b><span>{escape(fact.text)}</span></div>\n'
        for fact in facts
    )
    return f'<p class="lead">{escape(sentence)}</p>\n{_alarm(report)}<div class="cards">\n{cards}</div>'


def _alarm(report: Report) -> str:
    checks, warnings = report.rows("checks"), report.rows("warnings")
    failed = [check["text"] for check in checks if not check["ok"]]
    parts = [(f"{len(failed)} of {len(checks)} checks failed", failed, len(failed))] if failed else []
    parts += [("Warnings", [warning["text"] for warning in warnings], WARNINGS)] if warnings else []
    boxes = []
    for title, texts, shown in parts:
        left = [f"and {len(texts) - shown} more, in metrics.json"] if len(texts) > shown else []
        items = "".join(f"<li>{escape(text)}</li>" for text in [*texts[:shown], *left])
        boxes.append(f'<div class="alarm"><p class="failed">{title}</p><ul>{items}</ul></div>')
    return "".join(boxes)


def _compression(report: Report) -> Iterator[Fact]:
    """The ratio counts a sample in the dtype of the data, and a byte for each value of the code, as the files give it."""
    data = report.described("data")
    inputs, units = report.manifest["kernels"][0]["shape"][0], report.manifest["kernels"][-1]["shape"][1]
    given = inputs * np.dtype(data["dtype"]).itemsize
    bits = report.manifest["tensors"]["code"].get("bits", 8)
    few = f" of {bits} bits" if bits < 8 else ""
    ratio = f"{three_digits(given / units)} to 1"
    text = f"values of a sample ({data['dtype']}, {size(given)}) to bytes of its code{few}: {ratio}"
    phrase = f"turns {inputs:,} {data['dtype']} values into a code of {units:,} bytes ({ratio})"
    yield Fact(f"{inputs:,} → {units:,}", text, phrase)


def _quality(report: Report) -> Iterator[Fact]:
    metrics, reference = report.metrics, keras_float(report.metrics)
    name, row = "int8", worst_exported(metrics, "int8")
    if row is None:
        name, row = "float", worst_exported(metrics, "f32")
    floating = next((each for each in metrics["quality"] if each["stage"] == "train"), None)
    keras = f"Keras float {number(reference)}" if reference is not None else "Keras float was not measured"
    if row is None:
        yield Fact("—", f"the error of the exported files was not measured; {keras}", "")
        return
    error = f"error {number(row['error'])} per sample in model units"
    change = change_text(row["error"], reference)
    error += f", {change} against {keras}" if change else f", {keras}"
    fidelity = fidelity_value(row.get("fidelity"))
    if not fidelity:
        phrase = f"gives them back with an error of {number(row['error'])} in {name} ({keras})"
        yield Fact(f"error {number(row['error'])}", f"{name}, the worst file and runtime: {error}", phrase)
        return
    of_keras = "" if floating is None else fidelity_value(floating.get("fidelity"))
    beside = f" ({of_keras} in Keras float)" if of_keras else ""
    columns = [each for each in row["fidelity"].get("columns") or () if each.get("r2") is not None]
    lowest = min(columns, key=lambda each: each["r2"], default=None)
    least = f"; the worst column, {lowest['name']}, has R² {number(lowest['r2'])}" if lowest else ""
    yield Fact(
        fidelity,
        f"{name}, the worst file and runtime{beside}; {error}{least}",
        f"gives them back with {fidelity} in {name}{beside}{least.replace(';', ',')}",
    )


def _size(report: Report) -> Iterator[Fact]:
    """The largest of the int8 files, else of all of ours, and the ratio of each to stock."""
    compared = compare_sizes(report.metrics)
    leading = [each for each in compared if each.ours["precision"] == "int8"] or compared
    if not leading:
        return
    largest = human_size(max(each.ours["bytes"] for each in leading))
    text = "; ".join(map(_beside_stock, leading))
    ratios = [f"{three_digits(each.ratio)} × ({kind_text(each.ours)})" for each in leading if each.ratio]
    stock = f", {' and '.join(ratios)} the stock converters' bytes" if ratios else ""
    yield Fact(largest, text, f"takes {largest}{stock}")


def _beside_stock(each: Comparison) -> str:
    size_text = f"{kind_text(each.ours)} {human_size(each.ours['bytes'])}"
    if not each.ratio or each.stock is None:
        return f"{size_text}, no stock file to compare with"
    return f"{size_text}, {three_digits(each.ratio)} × the {human_size(each.stock['bytes'])} of the stock converter"


def _latency(report: Report) -> Iterator[Fact]:
    """The first int8 file of each format in the case that leads; the slowest in large. Nothing before `tiedae bench` ran."""
    latency = (report.metrics.get("bench") or {}).get("latency") or ()
    title, rows = leading_case(latency) if latency else ("", [])
    ours: dict[str, Row] = {}
    for row in rows:
        if row.get("maker") == "tiedae" and row.get("precision") == "int8":
            ours.setdefault(row.get("format", ""), row)
    if ours:
        slowest = duration(max(row["median_us"] for row in ours.values()))
        each = "; ".join(f"{kind_text(row)} {duration(row['median_us'])} in {row['runtime']}" for row in ours.values())
        yield Fact(slowest, f"{title}: {each}", f"needs {slowest} for a sample")


def _tie(report: Report) -> Iterator[Fact]:
    metrics, kernels = report.metrics, len(report.manifest["kernels"])
    once, rows = stored_once(metrics), promised_codes(metrics)
    proofs = sum(row["ok"] for row in metrics["storage"])
    codes = codes_text(rows) if rows else "codes were not compared"
    files = len({row["file"] for row in metrics["storage"]})
    text = f"of each of {kernels} kernels in each of {files} files" if once else "storage proofs hold"
    phrase = f"holds each of its {kernels} kernels once" if once else "is not shown to hold every kernel once"
    figure = "1 copy" if once else f"{proofs} of {len(metrics['storage'])}"
    yield Fact(figure, f"{text}; {codes}", phrase, "" if once else "failed")


def _verdict(report: Report) -> Iterator[Fact]:
    checks = report.rows("checks")
    failed = sum(not check["ok"] for check in checks)
    if failed:
        yield Fact(f"✗ {failed} failed", f"of {len(checks)} checks", f"fails {failed} of {len(checks)} checks", "failed")
    elif checks:
        yield Fact(f"✓ {len(checks)}", "checks hold, none failed", f"passes all {len(checks)} checks", "ok")


FACTS = (_compression, _quality, _size, _latency, _tie, _verdict)
"""The story in its order: from the user's samples to the proof."""
