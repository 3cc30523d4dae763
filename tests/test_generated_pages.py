"""docs/reference/options.md and keys.md are what the code gives, and miss no option and no key."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pytest
from msgspec import structs

from tiedae.cli.entry import command_parser
from tiedae.config.config import Recipe
from tiedae.pipeline.recipe import recipe_text

from .pages import ROOT

sys.path.append(str(ROOT / "docs"))
import generated  # pyright: ignore[reportMissingImports]


@pytest.mark.parametrize("page", generated.PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_code_gives(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == generated.PAGES[page](), "python docs/generated.py writes it"


def sections(page: str) -> dict[str, str]:
    """The text below each heading of a page."""
    _, *parts = re.split(r"^## (.+)$", (generated.REFERENCE / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_option_of_every_command_is_on_the_page() -> None:
    shown = sections("options.md")
    (commands,) = [action for action in command_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert list(shown) == [f"tiedae {name}" for name in commands.choices]
    for name, parser in commands.choices.items():
        stated = set(re.findall(r"`(-[\w-]+)[ `]", shown[f"tiedae {name}"])) | {
            "-h",
            "--help",
            "-q",
            "--quiet",
            "-v",
            "--verbose",
        }
        assert stated == {option for action in parser._actions for option in action.option_strings}, name


def test_every_key_of_every_table_is_on_the_page() -> None:
    shown = sections("keys.md")
    tables = [field.name for field in structs.fields(Recipe) if field.name != "name"]
    assert list(shown) == [*(f"[{table}]" for table in tables), "What may not be combined"]
    keys = re.findall(r"^#?(?:    )?(\w+) = ", recipe_text(), re.MULTILINE)
    rows = re.findall(
        r"^\| `(?:\w+\.)?(\w+)(?: = \S+)?` \| ", (generated.REFERENCE / "keys.md").read_text("utf-8"), re.MULTILINE
    )
    assert [row for row in rows if row != "kind"] == [key for key in keys if key != "kind"] and len(rows) > 100


def test_a_line_that_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'level: 3', must be a key of a recipe or what it means"):
        generated.keys_section("# Noise.\n[noise]\nlevel: 3")
