"""What `tiedae inspect` found, for a terminal."""

from __future__ import annotations

from typing import Any

from tiedae.base.errors import printable
from tiedae.export.duplicates import searched
from tiedae.export.model_file import columns

from .sharing import grouped

SHOWN = 24
"""Maximum number of constants listed; the others are summarized."""
NAME = 64
"""Maximum length of a constant's name in the list, in characters."""
BAR = 40
"""Length of a bar that stands for the whole file, in characters."""
METADATA = 100
"""Maximum length of a text of the file's metadata, in characters; `--json` has it whole."""


def render(found: dict[str, Any]) -> str:
    """Format the result of `inspect_file` for a terminal."""
    lines = [
        f"{found['file']}: {found['format']}, {found['bytes']:,} bytes, of which constants {found['constant_bytes']:,}",
        ", ".join(f"{key} {value}" for key, value in found["details"].items() if value),
    ]
    lines += [f"{key}: {_cut(text)}" for key, text in found["metadata"].items()]
    for signature in found["signatures"]:
        tensors = " → ".join(", ".join(_tensor_text(tensor) for tensor in signature[side]) for side in ("inputs", "outputs"))
        operations = ", ".join(f"{count} {name}" for name, count in signature["operations"].items())
        lines += ["", f"{signature['name']}: {tensors}", f"  {operations}"]
    lines += ["", "constants (views of one storage count once)"]
    rows = [
        (
            _tail(each["name"]),
            each["dtype"],
            "×".join(map(str, each["shape"])) or "scalar",
            f"{each['bytes']:,}",
            _storage_text(each),
            _scale_text(each),
        )
        for each in found["constants"][:SHOWN]
    ]
    lines += [f"  {line}" for line in columns(rows, "<<<><<")]
    rest = found["constants"][SHOWN:]
    if rest:
        lines.append(f"  and {len(rest)} smaller ones, {sum(each['bytes'] for each in rest):,} bytes")
    lines += ["", *_account(found["account"]), ""]
    if found["copies"]:
        texts = grouped([(each["dedupe"], each["text"]) for each in found["copies"]])
        lines += ["duplicates", *(f"  {text}" for text in texts), *_estimates(found)]
    else:
        lines.append(f"no constant is stored twice ({searched(found['minimum'])})")
    return "\n".join(map(printable, lines))


def _account(found: dict[str, Any] | None) -> list[str]:
    """Every byte of the file: a row for each kind with a bar, and what is left over."""
    if found is None:
        return []
    shares = [(row["kind"], row["bytes"], row["bytes"] / max(1, found["bytes"])) for row in found["rows"]]
    rows = [(_tail(what), f"{size:,}", f"{share:.2%}", "█" * round(BAR * share)) for what, size, share in shares]
    lines = [f"account of {found['bytes']:,} bytes", *(f"  {line}" for line in columns(rows, "<>><"))]
    return lines + [f"  left over: {run['bytes']:,} bytes, {run['where']}" for run in found["runs"]]


def _storage_text(constant: dict[str, Any]) -> str:
    """Where a constant is stored, unless that is its name."""
    storage = "" if constant["storage"] == constant["name"] else constant["storage"]
    return f"{storage} (one of {constant['views']} views)".lstrip() if constant["views"] > 1 else storage


def _tail(name: str) -> str:
    """The end of a long name, which tells a file's constants apart."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def _cut(text: str) -> str:
    """The first line of a text, shortened."""
    line = text.strip().partition("\n")[0]
    return line if line == text and len(line) <= METADATA else f"{line[:METADATA].rstrip()} … ({len(text):,} characters)"


def _estimates(found: dict[str, Any]) -> list[str]:
    sizes = {found["bytes_if_shared"]: "tiedae dedupe"}
    if found["near_steps"] is not None:
        sizes.setdefault(found["bytes_if_merged"], f"tiedae dedupe --near {found['near_steps']:g}")
    smaller = [(size, command) for size, command in sizes.items() if size < found["bytes"]]
    lines = [f"{command} would write {size:,} bytes, {size / found['bytes']:.3f} of the file" for size, command in smaller]
    return lines or ["tiedae dedupe would leave the file as it is"]


def _tensor_text(tensor: dict[str, Any]) -> str:
    scale = "" if tensor["scale"] is None else f", scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
    return f"{tensor['name']} {tensor['dtype']} [{', '.join(map(str, tensor['shape']))}]{scale}"


def _scale_text(constant: dict[str, Any]) -> str:
    zero_point = f", zero point {constant['zero_point']}" if constant["zero_point"] else ""
    if constant["scales"] > 1:
        return f"{constant['scales']} scales along axis {constant['axis']}{zero_point}"
    return "" if constant["scale"] is None else f"scale {constant['scale']:.6g}{zero_point}"
