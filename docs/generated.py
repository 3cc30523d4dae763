"""Pages that the code gives: options of commands, and keys of a recipe. `python docs/generated.py` writes them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from tiedae.cli.commands import COMMANDS
from tiedae.cli.entry import command_parser
from tiedae.config.combinations import FORBIDDEN
from tiedae.pipeline.recipe import recipe_text

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "`python docs/generated.py` writes this page from the code."
OPTIONS = f"""\
# Options

Every command with its arguments, as `tiedae COMMAND --help` prints them. {NOTE}
[command-line.md](command-line.md) has the rules that all commands follow and the other exit codes. Every command takes
`-h`, `-q` and `-v`; `tiedae --version` prints the version.
"""
KEYS = f"""\
# Keys of a recipe

Every key with its default, what it may be and what it means. `tiedae recipe` prints the same as a recipe file.
{NOTE} [recipe.md](recipe.md) explains how to write a recipe.

Only `data.source` and `model.layers` (or `model.source`) are required; their values here are examples. A table marked
*optional* is left out by default.
"""
COMBINATIONS = """
## What may not be combined

A recipe with one of these pairs is refused in one line, before any training. Every other combination is allowed.

| this | with this | must be |
|---|---|---|
"""


def cell(text: str) -> str:
    """Text of a cell of a table."""
    return text.replace("|", "\\|")


def code(text: str) -> str:
    return f"`{cell(text)}`"


def options_page() -> str:
    """The page of all commands and their arguments."""
    subparsers = next(action for action in command_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return OPTIONS + "".join(command_section(name, parser) for name, parser in subparsers.choices.items())


def command_section(name: str, parser: argparse.ArgumentParser) -> str:
    fails = getattr(COMMANDS[name], "FAILS", "")
    actions = [action for action in parser._actions if action.dest not in ("help", "quiet", "verbose")]
    positional = " ".join(f"{action.metavar}{' …' * (action.nargs == '+')}" for action in actions if not action.option_strings)
    required = [
        f"{action.option_strings[0]} {action.metavar}" for action in actions if action.option_strings and action.required
    ]
    usage = " ".join(filter(None, ("tiedae", name, positional, *required, "[options]" if actions else "")))
    text = f"\n## tiedae {name}\n\n{parser.description}\n\n    {usage}\n"
    if fails:
        text += f"\nExit code 1: {fails}.\n"
    rows = "".join(f"| {argument(action)} | {meaning(action, parser)} |\n" for action in actions)
    return text + f"\n| argument | meaning |\n|---|---|\n{rows}" * bool(actions)


def argument(action: argparse.Action) -> str:
    """An argument with the names of its values."""
    if not action.option_strings:
        return code(str(action.metavar))
    value = action.metavar or ("NAME" if action.choices else "")
    return ", ".join(code(f"{option} {value}".strip()) for option in action.option_strings)


def meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """The help of an argument, its choices, and the options that it excludes."""
    parts = [cell(parser._get_formatter()._expand_help(action)) if action.help else ""]
    if action.choices:
        parts.append("one of " + ", ".join(map(code, action.choices)))
    for group in parser._mutually_exclusive_groups:
        if action in group._group_actions:
            others = [other for other in group._group_actions if other is not action]
            parts.append("not with " + " or ".join(code(other.option_strings[-1]) for other in others))
    return "; ".join(filter(None, parts))


TABLE = re.compile(r"(#?)\[(\w+)\]")
MEANING = re.compile(r"(?:#    )?# (.+?) \| (.+)")
KEY = re.compile(r"#?(    )?(\w+) = (.+)")
HEADING = re.compile(r"(?:#    )?# (.+)")


def keys_page() -> str:
    """The page of all keys of a recipe, and of the pairs that it may not have."""
    rows = (f"| {pair.first} | {pair.second} | `{pair.key}`: {pair.right} |\n" for pair in FORBIDDEN)
    _, *sections = recipe_text().split("\n\n")
    return KEYS + "".join(map(keys_section, sections)) + COMBINATIONS + "".join(rows)


def keys_section(section: str) -> str:
    """A table of a recipe; the lines before its name say what it is."""
    lines = section.splitlines()
    head = "| key | default | may be | meaning |\n|---|---|---|---|\n"
    if (table := next((TABLE.fullmatch(line) for line in lines[:2] if TABLE.fullmatch(line)), None)) is None:
        return "\n" + head + "".join(key_rows(lines))
    optional = " *Optional.*" if table[1] else ""
    return f"\n## [{table[2]}]\n\n{lines[0].removeprefix('# ')}{optional}\n\n{head}" + "".join(key_rows(lines[2:]))


def key_rows(lines: list[str]) -> Iterator[str]:
    """A row for each key, of its meaning and its value, and for each kind of table. ValueError for another line."""
    outer, about, right = "", "", ""
    for line in lines:
        if match := MEANING.fullmatch(line):
            about, right = match.groups()
        elif match := KEY.fullmatch(line):
            nested, key, value = match.groups()
            name = f"{outer}.{key}" if nested and outer else key
            outer = outer if nested else "" if key == "kind" else key
            if right:
                yield f"| {code(name)} | {code(value)} | {cell(right)} | {cell(about)} |\n"
            else:
                yield f"| {code(f'{name} = {value}')} | | | **{cell(about)}** |\n"
            about, right = "", ""
        elif match := HEADING.fullmatch(line):
            if ": " in line and not line.startswith("#    "):
                kind, _, text = match[1].partition(": ")
                yield f"| {code(f'kind = {chr(34)}{kind}{chr(34)}')} | | | **{cell(text)}** |\n"
            else:
                about = match[1]
        else:
            raise ValueError(f"got {line!r}, must be a key of a recipe or what it means")


PAGES = {REFERENCE / "options.md": options_page, REFERENCE / "keys.md": keys_page}


if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
