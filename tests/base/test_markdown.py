"""Text in Markdown: what it shows is the text, whatever that holds."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from tiedae.base.markdown import cells, markdown

TEXTS = {
    "plain, 3 × 4 (mini.int8.tflite)": "plain, 3 × 4 (mini.int8.tflite)",
    "`kernel_0` of `a.onnx`": "`kernel_0` of `a.onnx`",
    "one\n# two\x1b": "one # two\\\\x1b",
    "# heading": "\\# heading",
    "- item": "\\- item",
    "-3.5": "-3.5",
    "<b> [x](y) a|b": "\\<b> \\[x](y) a\\|b",
    "an open ` tick": "an open \\` tick",
    "```python": "\\`\\`\\`python",
    "`a|b` `c\\|d`": "`a\\|b` `c\\|d`",
    "back\\[slash": "back\\\\\\[slash",
    "1. item": "1\\. item",
    "1.5 of 2. x": "1.5 of 2. x",
    "*a* _b_ c_d ~e~": "\\*a\\* \\_b\\_ c_d \\~e\\~",
    "&lt;b> & c": "\\&lt;b> & c",
    "a\u200bb\u202e": "a\\\\u200bb\\\\u202e",
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_active_is_escaped_but_for_code(text: str) -> None:
    assert markdown(text) == TEXTS[text]


def test_markdown_stays_and_rows_have_as_many_cells_as_values() -> None:
    assert markdown(Markup("# ours")) == "# ours"
    assert cells(["a|b", 3, "---"]) == "a\\|b | 3 | ---"
