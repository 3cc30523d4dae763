"""What differs between two runs of one recipe, such as before and after a change of structure: files and their fields.

    python benchmarks/run_compare.py BEFORE AFTER [--allow PATTERN …]

BEFORE, AFTER: OUT of `tiedae run`, `demo` or `rescale`. JSON is compared by its fields, `[]` for every item of a list; report
and card by tags and the text between them; other files by their bytes. Versions, dates and the paths of the two folders do not
count, nor does the folder `stock`: tf2onnx numbers its constants anew in each process. Its files have other sizes in a run that
was resumed, so compare whole ones. Exit code 1 where something differs that no `--allow` names. Imports nothing of tiedae, so
that any commit's copy compares runs of any other.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = (".html", ".md")
STOCK = "stock"
_UNCOUNTED = ((re.compile(r"\b\d+\.\d+\.\d+\b"), "VERSION"), (re.compile(r"\b20\d\d-\d\d-\d\d([T ][\d:.]+)?"), "DATE"))
_PIECE = re.compile(r"<[^>]*>|[^<\n]+")
_ABSENT = "nothing"
_WIDTH = 60


@dataclass(frozen=True)
class Difference:
    """A field of a file, such as `bundle/metrics.json: parity[].max_lsb`: how often it differs, and the first time, as text."""

    place: str
    count: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.place} ({self.count}): {self.before} → {self.after}"


def run_differences(before: Path, after: Path) -> list[Difference]:
    """What differs between two folders of runs, sorted by place; a file of one folder alone has no field."""
    names = sorted(name for name in _names(before) | _names(after) if not name.startswith(f"{STOCK}/"))
    pairs: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        for field, old, new in _of_file(before, after, name):
            pairs.setdefault(f"{name}: {field}" if field else name, []).append((old, new))
    return [Difference(place, len(found), *found[0]) for place, found in sorted(pairs.items())]


def _names(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}


def _of_file(before: Path, after: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """(field, before, after) of what differs in a file."""
    if not (before / name).is_file() or not (after / name).is_file():
        yield "", _size(before / name), _size(after / name)
    elif name.endswith((".json", *PAGES)):
        old, new = (_normal((run / name).read_text(encoding="utf-8"), run) for run in (before, after))
        yield from _of_values(json.loads(old), json.loads(new), "") if name.endswith(".json") else _of_pieces(old, new)
    elif (before / name).read_bytes() != (after / name).read_bytes():
        yield "", _size(before / name), _size(after / name)


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes" if path.is_file() else _ABSENT


def _normal(text: str, run: Path) -> str:
    """A text without versions, dates and the whole path of its run: a short one may be any word."""
    text = text.replace(str(run.resolve()), "RUN")
    for pattern, name in _UNCOUNTED:
        text = pattern.sub(name, text)
    return text


def _of_values(old: Any, new: Any, field: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{field}.{key}".lstrip(".")
            if key in old and key in new:
                yield from _of_values(old[key], new[key], inner)
            else:
                before, after = (_shown(each[key]) if key in each else _ABSENT for each in (old, new))
                yield inner, before, after
    elif isinstance(old, list) and isinstance(new, list):
        yield from _of_lists(old, new, f"{field}[]")
    elif old != new or type(old) is not type(new):
        yield field, _shown(old), _shown(new)


def _of_lists(old: list, new: list, field: str) -> Iterator[tuple[str, str, str]]:
    """Item by item; where one has more, those that it has more are found first."""
    lines = [[json.dumps(each, sort_keys=True) for each in items] for items in (old, new)]
    matcher = difflib.SequenceMatcher(None, *lines, autojunk=False)
    for _, i, i_end, j, j_end in (each for each in matcher.get_opcodes() if each[0] != "equal"):
        if i_end - i == j_end - j:
            for a, b in zip(old[i:i_end], new[j:j_end], strict=True):
                yield from _of_values(a, b, field)
        else:
            yield from ((field, _shown(each), _ABSENT) for each in old[i:i_end])
            yield from ((field, _ABSENT, _shown(each)) for each in new[j:j_end])


def _of_pieces(old: str, new: str) -> Iterator[tuple[str, str, str]]:
    pieces = [_PIECE.findall(text) for text in (old, new)]
    for kind, i, i_end, j, j_end in difflib.SequenceMatcher(None, *pieces, autojunk=False).get_opcodes():
        if kind != "equal":
            before, after = ("".join(part) or _ABSENT for part in (pieces[0][i:i_end], pieces[1][j:j_end]))
            yield "text", _cut(before), _cut(after)


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    parser.add_argument("--allow", nargs="*", default=[], metavar="PATTERN", help="places that may differ; * is any text")
    given = parser.parse_args(arguments)
    for run in (given.before, given.after):
        if not any((run / name).is_file() for name in ("manifest.json", "bundle/manifest.json")):
            parser.error(f"{run}: holds no manifest.json and no bundle/manifest.json, must be a bundle or OUT of a run")
    found = run_differences(given.before, given.after)
    patterns = [re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL) for pattern in given.allow]
    allowed = [each for each in found if any(pattern.fullmatch(each.place) for pattern in patterns)]
    for each in found:
        print(f"{'allowed ' if each in allowed else ''}{each}")
    print(f"{len(found)} places differ, {len(allowed)} of them allowed")
    return int(len(found) > len(allowed))


if __name__ == "__main__":
    sys.exit(main())
