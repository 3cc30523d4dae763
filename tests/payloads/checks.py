"""What is wrong with a text that shows a stranger's: found by parsing it, next to one that shows a harmless text instead.

A surface is named by what it is called on disk, and its suffix says how it is read.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import tomllib
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from html.parser import HTMLParser

from markdown_it import MarkdownIt

Parts = Counter[Hashable]
ADDRESSES = frozenset(
    [
        *("href", "xlink:href", "src", "srcset", "srcdoc", "data", "action", "formaction", "poster", "background", "style"),
        *("class", "id", "name", "http-equiv", "content", "rel", "target"),
    ]
)
"""Attributes whose values act, or which a style sheet knows; those of others are text."""
RAW = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
ACTIVE = ("html_block", "html_inline", "link_open", "image")
VISIBLE = frozenset("\n\t")
HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


class _Page(HTMLParser):
    """Counts elements with the attributes that act, comments, and texts inside scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: Parts = Counter()
        self.raw = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.raw = tag if tag in ("script", "style") else ""
        named = {name for name, _ in attrs} if tag == "meta" else set()
        known = ADDRESSES - {"content"} if "name" in named else ADDRESSES  # a description is text
        acting = tuple((name, value if name in known else "") for name, value in sorted(attrs, key=lambda each: each[0]))
        self.parts["element", tag, acting] += 1

    def handle_endtag(self, tag: str) -> None:
        self.raw = ""
        self.parts["end", tag] += 1

    def handle_data(self, data: str) -> None:
        if self.raw:
            self.parts["raw", self.raw, data] += 1
        if hidden := hidden_in(data):
            self.parts["hidden", hidden] += 1

    def handle_comment(self, data: str) -> None:
        self.parts["comment", data] += 1

    def handle_decl(self, decl: str) -> None:
        self.parts["declaration", decl] += 1

    def handle_pi(self, data: str) -> None:
        self.parts["instruction", data] += 1

    def unknown_decl(self, data: str) -> None:
        self.parts["unknown", data] += 1


def hidden_in(text: str) -> str:
    """Characters that nobody sees or that turn text around, as code points; an end of a line and a tab are none."""
    wrong = sorted(set(_hidden().findall(text)))
    return " ".join(f"U+{ord(each):04X}" for each in wrong)


@functools.cache
def _hidden() -> re.Pattern[str]:
    wrong = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in HIDDEN)
    return re.compile(f"[{''.join(re.escape(each) for each in wrong if each not in VISIBLE)}]")


def html_parts(text: str) -> Parts:
    page = _Page()
    page.feed(text)
    page.close()
    return page.parts


def markdown_parts(text: str) -> Parts:
    """Counts what is more than a text: blocks, links, images, HTML, emphasis. Code in backticks is text."""
    parts: Parts = Counter()
    for block in RAW.parse(text):
        for token in (block, *(block.children or ())):
            if token.type in ("inline", "text", "softbreak", "code_inline"):
                continue
            parts[token.type, token.tag, token.info, *sorted((k, str(v)) for k, v in token.attrs.items())] += 1
            if token.type in ACTIVE:
                parts[token.type, token.content] += 1
            if token.type in ("fence", "code_block"):
                parts["code", token.content] += 1
    if hidden := hidden_in(text):
        parts["hidden", hidden] += 1
    return parts


def terminal_parts(text: str) -> Parts:
    hidden = hidden_in(text)
    return Counter({("hidden", hidden): 1} if hidden else {})


def xml_parts(text: str) -> Parts:
    return Counter((each.tag, tuple(sorted(each.attrib))) for each in ElementTree.fromstring(text).iter())


def json_parts(text: str) -> Parts:
    """It is read back, in ASCII or as text that a terminal shows."""
    json.loads(text)
    return Counter()


def toml_parts(text: str) -> Parts:
    """It is read back."""
    tomllib.loads(text)
    return Counter()


PARTS: Mapping[str, Callable[[str], Parts]] = {
    "html": html_parts,
    "md": markdown_parts,
    "terminal": terminal_parts,
    "xml": xml_parts,
    "json": json_parts,
    "toml": toml_parts,
}
"""How a surface is read, by its suffix."""


@functools.lru_cache(maxsize=1024)
def _known_parts(kind: str, text: str) -> Parts:
    return PARTS[kind](text)


def beyond(surface: str, text: str, harmless: str) -> list[str]:
    """What the text has beyond the one that shows a harmless text in the same place; empty where it is nothing."""
    if text == harmless:
        return []
    kind = surface.rpartition(".")[2]
    try:
        more = PARTS[kind](text) - _known_parts(kind, harmless)
    except (ValueError, ElementTree.ParseError) as error:
        return [f"cannot be read: {error}"]
    return [f"{part!r:.200}" for part in more]
