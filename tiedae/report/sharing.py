"""The result of `tiedae dedupe` for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tiedae.base.errors import printable
from tiedae.export.duplicates import searched
from tiedae.export.model_file import columns

SHOWN = 24
"""Maximum number of rows listed per section; the others are counted."""
SHOWN_RUNS = 4
"""Maximum number of runs whose inputs are listed."""


def render(found: dict[str, Any]) -> str:
    """Format the result of `share_file` for a terminal."""
    sizes = f"{found['bytes_before']:,} → {found['bytes_after']:,} bytes, {found['ratio']:.3f}"
    outcome = sizes if found["merged"] or found["external"] else "unchanged"
    lines = [f"{found['file']} → {found['out']}: {outcome}"]
    if not (found["merged"] or found["kept"]):
        lines.append(f"no constant is stored twice ({searched(found['minimum'])})")
    for title, texts in (
        ("stored once", grouped([(each["how"], _merged_text(each)) for each in found["merged"]])),
        (
            "left as it is",
            grouped([(each["reason"], f"{each['name']}, a duplicate of {each['original']}") for each in found["kept"]]),
        ),
        ("proof", list(_proof_texts(found))),
        (f"both files on {_inputs_text(found)}", _comparison_texts(found)),
        ("latency, one thread, median of calls", list(map(_latency_text, found["latency"]))),
        ("branches of control flow", list(_branch_texts(found))),
    ):
        if texts:
            lines += ["", title, *(f"  {text}" for text in texts)]
    return "\n".join(map(printable, lines))


def _merged_text(merged: Mapping[str, Any]) -> str:
    moved = f", {merged['changed']:.1%} of the integers changed, values moved by up to {merged['steps']:.2f} of a step"
    text = f"{merged['name']} is {merged['relation']} to {merged['original']}: {merged['saved']:,} bytes"
    return text + (moved if merged["relation"] == "near" else "")


def grouped(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Up to SHOWN texts, grouped under their common heading."""
    groups: dict[str, list[str]] = {}
    for common, text in rows[:SHOWN]:
        groups.setdefault(common, []).append(f"  {text}")
    rest = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return [line for common, texts in groups.items() for line in (common, *texts)] + rest


def _comparison_texts(found: Mapping[str, Any]) -> list[str]:
    if not found["compared"]:
        return []
    header = ("output", "runtime", "values", "differ", "at most", "on average", "allowed")
    rows = [header, *map(_comparison_row, found["compared"][:SHOWN])]
    rest = [f"and {len(found['compared']) - SHOWN} more"] if len(found["compared"]) > SHOWN else []
    return [*columns(rows, "<<>>>><"), *rest, *(f"{runtime}: {name}" for runtime, name in found["providers"].items())]


def _comparison_row(compared: Mapping[str, Any]) -> tuple[str, ...]:
    output, count = f"{compared['signature']} {compared['output']}", f"{compared['count']:,}"
    nonfinite = f", {compared['nonfinite']:,} not finite in both" if compared["nonfinite"] else ""
    allowed = compared["allowed"] + (nonfinite if compared["nonfinite"] < compared["count"] else "")
    if not compared["differing"]:
        return output, compared["runtime"], count, "none", "", "", allowed
    unit = " LSB" if compared["histogram"] else ""
    sizes = (f"{compared[key]:.3g}{unit}" for key in ("largest", "mean"))
    return output, compared["runtime"], count, f"{compared['share']:.2%}", *sizes, allowed


def _proof_texts(found: Mapping[str, Any]) -> Iterator[str]:
    """The proof, and how far near duplicates change the outputs."""
    if found["proof"] == "bytes":
        witness = f"not run: {found['not_run']}" if found["not_run"] else "runs are a witness only"
        yield f"by bytes: both files are the same but for the place of constants with equal bytes; {witness}"
    elif found["proof"] == "runs":
        yield "by runs of both files"
    if any(merged["relation"] == "near" for merged in found["merged"]) and found["compared"]:
        worst = max(found["compared"], key=lambda row: row["change"][0])
        largest, mean = worst["change"]
        limit = "" if found["max_change"] is None else f" (--max-change {found['max_change']:g})"
        yield (
            f"near duplicates change {worst['signature']} {worst['output']} by up to {largest:.3%}{limit} of its full scale, "
            f"{mean:.3%} on average, on {'--data' if found['data'] else 'random inputs'}"
        )


def _inputs_text(found: Mapping[str, Any]) -> str:
    """The inputs of the runs, as a title."""
    texts = []
    for used in found["used"][:SHOWN_RUNS]:
        shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in used["shapes"].items() if shape)
        texts.append(shapes + (f" with {used['case']}" if used["case"] else ""))
    rest = [f"{len(found['used']) - SHOWN_RUNS} more"] if len(found["used"]) > SHOWN_RUNS else []
    given = any(used["given"] for used in found["used"])
    return f"the same {'given' if given else 'random'} inputs: {'; '.join([*dict.fromkeys(texts), *rest])}"


def _latency_text(latency: Mapping[str, Any]) -> str:
    level = "" if latency["optimized"] else ", graph optimizations off"
    if latency["problem"]:
        return f"{latency['signature']}{level}: not timed: {latency['problem']}"
    before, after = latency["before"], latency["after"]
    turns = "in turns" if latency["in_turns"] else "one file after the other"
    text = f"{latency['signature']}{level}: {_time(before)} → {_time(after)} ({latency['runs']} calls each, {turns})"
    folded = ": the new Transpose costs nothing only where the runtime folds it (ONNX Runtime from ORT_ENABLE_BASIC on)"
    return text if latency["optimized"] else text + folded


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def _branch_texts(found: Mapping[str, Any]) -> Iterator[str]:
    """How many bodies ran, and those that did not."""
    if found["branches_problem"]:
        yield f"not known: {found['branches_problem']}"
    if found["branches"]:
        idle = [branch["name"] for branch in found["branches"] if not branch["ran"]]
        yield f"{len(found['branches']) - len(idle)} of {len(found['branches'])} ran"
        yield from (f"not run: {name}" for name in idle[:SHOWN])
        if len(idle) > SHOWN:
            yield f"and {len(idle) - SHOWN} more"
