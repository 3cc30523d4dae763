"""What `tiedae inspect` found of a model that somebody else trained, for a terminal."""

from __future__ import annotations

from typing import Any

from tiedae.base.errors import printable
from tiedae.export.model_file import columns

SHOWN = 24
"""Maximum number of constants listed; the others are summarized."""


def render(found: dict[str, Any]) -> str:
    """Format the result of `inspect_model` for a terminal."""
    sample = "×".join(map(str, found["sample"])) or "unknown"
    lines = [
        f"{found['file']}: {found['format']}, {found['bytes']:,} bytes, of which constants {found['constant_bytes']:,}",
        f"sample {sample}",
        "",
        "layers",
        *_table([(f"{each['name']} ({each['class']})", each["computes"] or "refused") for each in found["layers"]], "<<"),
        "",
        "constants (one that several layers use counts once)",
        *_constants(found["constants"]),
        "",
        *findings(found),
    ]
    return "\n".join(map(printable, lines))


def findings(found: dict[str, Any]) -> list[str]:
    """Pairs, refusals and warnings, for the end of any file's description."""
    lines = ["pairs of kernels that mirror each other", *(f"  {pair['text']}" for pair in found["pairs"])]
    if not found["pairs"]:
        lines = ["no kernel mirrors another, of those that can be read"]
    if found["refused"]:
        lines += ["", "an import refuses", *(f"  {text}" for text in found["refused"])]
    return [*lines, *(["", *found["warnings"]] if found["warnings"] else [])]


def _constants(constants: list[dict[str, Any]]) -> list[str]:
    rest = sum(each["bytes"] for each in constants[SHOWN:])
    rows = [
        (each["name"], each["dtype"], "×".join(map(str, each["shape"])) or "scalar", f"{each['bytes']:,}")
        for each in constants[:SHOWN]
    ]
    more = [f"  and {len(constants) - SHOWN} smaller ones, {rest:,} bytes"] if rest else []
    return [*_table(rows, "<<<>"), *more]


def _table(rows: list[tuple[str, ...]], sides: str) -> list[str]:
    return [f"  {line}" for line in columns(rows, sides)]
