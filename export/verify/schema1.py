"""Converts metrics.json of schema 1 to schema 2.

Rows of schema 1 identify themselves by sentences; only this module parses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...compress.errors import FormatError

SCHEMA = 1
TABLES = ("checks", "storage", "parity", "quality", "files", "skipped")

Row = dict[str, Any]

_COMPARED: Sequence[tuple[str, str]] = (
    (r"codes \((?P<signature>\w+)\)", "codes"),
    (r"y \((?P<signature>\w+)\)", "output"),
    (r"x \((?P<signature>\w+)\)", "inputs"),
    (r"operation (?P<tensor>.+)", "operations"),
    (r"layer (?P<tensor>.+)", "layers"),
    (r"float (?P<tensor>code|y)(?: \((?P<signature>\w+)\))?", "float"),
    (r"formats: (?P<tensor>.+)", "formats"),
    (r"y of (?P<encoder>.+)'s codes(?: \(decode\))?", "crossing"),
    (r"codes against (?P<reference>.+)", "witness"),
)
"""(pattern of `what`, kind) of comparisons."""
_TENSORS = {"codes": "code", "output": "y", "inputs": "x", "crossing": "y", "witness": "code"}
_SKIPPED: Sequence[tuple[str, str]] = (
    (r"quality\b.*", "quality"),
    (r"(?P<runtime>[\w-]+) on (?:int8|f32)", "opens"),
    (r"(?P<runtime>[\w-]+): .*", "traces"),
    (r"[\d,]+ test samples", "samples"),
    (r"Keras on a GPU", "device"),
    (r"baseline .*", "baseline"),
    (r"(?:int8|f32) formats .*|formats .*", "formats"),
    (r"(?:int8|f32) codes of .*", "crossing"),
    (r"float .*", "float"),
    (r"running .*", "sha256"),
)
_ABSENT = {"samples": "no samples", "Keras model": "no Keras model"}


def upgraded(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Metrics of schema 1 as schema 2, both without `schema`; FormatError if they are damaged."""
    lacking = [key for key in ("name", *TABLES) if key not in found]
    if lacking:
        raise FormatError(f"{path}: not metrics of tiedae: lacks {', '.join(lacking)}")
    try:
        runtimes = {row["runtime"] for key in ("parity", "quality") for row in found[key] if "runtime" in row}
        tables: Mapping[str, Callable[[Any], Row]] = {
            "checks": lambda row: _check(row, {each["file"] for each in found["files"]}, runtimes),
            "storage": _proof,
            "parity": _parity,
            "errors": lambda row: _renamed(row, {"form": "layout"}),
            "quality": _quality,
            "files": _file,
            "skipped": _skipped,
            "warnings": _warning,
        }
        converted = {key: [convert(row) for row in found.get(key, ())] for key, convert in tables.items()}
        bench = {"bench": _bench(found["bench"])} if found.get("bench") else {}
        return {**found, "versions": found.get("versions", {}), **converted, **bench}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"{path}: damaged: {error!r}") from None


def _renamed(row: Row, names: Mapping[str, str], *gone: str) -> Row:
    """The row with renamed keys, without the keys of `gone` and without None."""
    return {names.get(key, key): value for key, value in row.items() if key not in gone and value is not None}


def _check(row: Row, files: set[str], runtimes: set[str]) -> Row:
    """Parse the name of a check: a kind, then words in any order: a file, a signature, runtimes and the rest."""
    kind, *words = row["name"].split(" ")
    of = {"detail": [], "file": [], "signature": [], "runtime": [], "peer": []}
    for word in words:
        places = {"file": word in files, "signature": word in ("reconstruct", "encode", "decode"), "runtime": word in runtimes}
        place = next((key for key, fits in places.items() if fits and not of[key]), "peer" if word in runtimes else "detail")
        of[place].append(word)
    return {
        **{key: row[key] for key in ("ok", "value", "limit", "text")},
        "kind": kind,
        **{key: " ".join(each) for key, each in of.items()},
    }


def _proof(row: Row) -> Row:
    kernel, _, statement = row["name"].rpartition(".")
    return {**_renamed(row, {}, "name"), "kernel": kernel, "statement": statement}


def _matched(patterns: Sequence[tuple[str, str]], text: str, otherwise: str) -> Row:
    for pattern, kind in patterns:
        match = re.fullmatch(pattern, text)
        if match:
            return {"kind": kind, **{key: value for key, value in match.groupdict().items() if value}}
    return {"kind": otherwise}


def _parity(row: Row) -> Row:
    gone = ("what", "kind", "operation", "layer", "share", "against")
    found = _matched(_COMPARED, row["what"], "output")
    kept = _renamed(row, {}, *gone)
    if found["kind"] in ("float", "witness"):
        kept.setdefault("signature", "reconstruct")
    if row["kind"] == "float" and row.get("reference", "program") == "program":
        kept["reference"] = "keras"
    tensor = row.get("operation") or _TENSORS.get(found["kind"], "")
    return {"tensor": tensor, **kept, **found, "precision": {"int8": "int8", "float": "f32"}[row["kind"]]}


def _quality(row: Row) -> Row:
    kept = _renamed(row, {"row": "title"})
    return {"precision": "int8" if "int8." in row["row"] else None, **kept}


def _file(row: Row) -> Row:
    percent = re.search(r"([\d.]+)%", row.get("note", ""))
    agreement = float(percent[1]) / 100 if percent else None
    return {"maker": "tiedae", "kernel_copies": None, **_renamed(row, {}, "note"), "agreement": agreement}


def _skipped(row: Row) -> Row:
    absent = row.get("absent", "")
    why = _ABSENT.get(absent, "not installed") if absent else "unavailable"
    return {"what": row["what"], "reason": row["reason"], "why": why, **_matched(_SKIPPED, row["what"], "bench")}


def _warning(row: Row) -> Row:
    found = re.search(r": R² is (\S+) in (.+?): ", row["text"])
    return {"column": row["column"], "r2": float(found[1]) if found else None, "where": found[2] if found else ""}


def _bench(bench: Row) -> Row:
    machine = dict(bench["machine"])
    versions = machine.pop("versions", {})
    latency = []
    for row in bench["latency"]:
        kept = _renamed(row, {"ports": "dtypes"}, "ratio", "ratio_low", "ratio_high")
        ratio = {"value": row["ratio"], "low": row["ratio_low"], "high": row["ratio_high"]} if row.get("ratio") else None
        latency.append({**kept, "ratio": ratio})
    startup = [{**_renamed(row, {}, "signatures"), "signature": row["signatures"][0]} for row in bench["startup"]]
    skipped = [{**row, "kind": "bench", "why": "unavailable"} for row in bench["skipped"]]
    return {**bench, "latency": latency, "startup": startup, "machine": machine, "versions": versions, "skipped": skipped}
