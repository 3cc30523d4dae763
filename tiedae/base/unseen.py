"""Characters that nobody sees: controls, lone surrogates, and Unicode's formats, some of which turn text around.

Pages, cards and terminals show them as escapes, so that a name of a stranger's file is what it looks like (UAX 9; "Trojan
Source", CVE-2021-42574).
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
"""General categories Cc but ends of lines and tabs, Cs, Zl, Zp, and Cf but the signs of some scripts that are seen."""


def visible(text: str) -> str:
    """The text with such characters as escapes, `\\x1b` or `\\u202e`; ends of lines and tabs stay."""
    return _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], text)
