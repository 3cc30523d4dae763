"""Pages run as they are written: each step on what the step before made, and a page that is wrong fails with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PageError, agree, blocks_of, run_page

PAGE = """
Text, `code`, and the first file:

```toml
# settings.toml
count = 3
```

```python
import tomllib
count = tomllib.load(open("settings.toml", "rb"))["count"]
```

A sentence between blocks of one program.

```python
print("wrote", count * 1000, "bytes")
open("made", "w").write("x" * count)
print("done")
```

```text
wrote 2,950 bytes
done
```

```sh
cd . && wc -c < made
! grep y made
```

```text
3
```
"""


def ran(text: str, folder: Path) -> None:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    run_page(page, folder)


def test_a_page_runs_in_order(tmp_path: Path) -> None:
    ran(PAGE, tmp_path)
    assert (tmp_path / "made").read_text() == "xxx"


WRONG = {
    "a step fails": ("grep y made", "grep x made", "28: exit code 1"),
    "a step before the last fails": ("cd . &&", "false\n", "28: exit code 1"),
    "python fails": ("count * 1000", "number * 1000", "10: exit code 1\n.*NameError"),
    "a number has drifted": ("2,950", "2,500", "23: shows 'wrote 2,500 bytes', which was not printed"),
    "a word has changed": ("wrote 2", "written 2", "23: shows 'written 2,950 bytes'"),
    "the order has changed": ("wrote 2,950 bytes\ndone", "done\nwrote 2,950 bytes", "23: shows 'wrote 2,950 bytes'"),
    "another language": ("```toml\n#", "```toml\n#:", "line 5: a toml block that is neither run nor a named file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_page_that_is_wrong_fails_with_its_line(case: str, tmp_path: Path) -> None:
    good, bad, message = WRONG[case]
    assert PAGE.count(good) == 1
    with pytest.raises(PageError, match=f"(?s){message}"):
        ran(PAGE.replace(good, bad), tmp_path)


def test_a_step_that_hangs_ends_with_its_children(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\necho begun\nsleep 60 & echo $! >child\nwait\n```\n", encoding="utf-8")
    with pytest.raises(PageError, match=r"page\.md:2: not done after 1 s\nbegun"):
        run_page(page, tmp_path, seconds=1)
    command = Path("/proc", (tmp_path / "child").read_text().strip(), "cmdline")
    assert not command.is_file() or not command.read_bytes(), "that of an ended process is empty"


def test_output_without_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="line 2: shows what nothing printed"):
        ran("```text\nx\n```\n", tmp_path)


def test_lines_agree_to_a_tenth() -> None:
    assert agree("a  1,000 B, 0.5", "a 1,090 B, 0.46") and not agree("a 1,000 B", "a 1,200 B") and not agree("1 a", "1 b")


def test_blocks_have_their_language_and_line() -> None:
    assert [(block.language, block.line) for block in blocks_of(PAGE)] == [
        ("toml", 5), ("python", 10), ("python", 17), ("text", 23), ("sh", 28), ("text", 33),
    ]  # fmt: skip
    assert [block.file for block in blocks_of(PAGE)][:2] == ["settings.toml", None]
