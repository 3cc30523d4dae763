"""The readme for a package registry: its links are relative in the repository, and absolute on a page elsewhere."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def absolute(link: re.Match[str]) -> str:
    """A Markdown link to a file of the repository, or picture of it, with the repository's address."""
    picture, text, target = link.groups()
    return f"{picture}[{text}]({PROJECT['urls']['Repository']}/{'raw' if picture else 'blob'}/main/{target})"


readme = (HERE / "README.md").read_text(encoding="utf-8")
setup(
    long_description=re.sub(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)]+)\)", absolute, readme),
    long_description_content_type="text/markdown",
)
