"""The tree of the repository: three folders of the package lie at its top, and the package has links to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINKED = ("compress", "calibration", "export")
"""Folders at the top to which `tiedae/` has links."""
PRODUCT = ("tiedae", *LINKED)
"""The real folders of the package."""


def product_files(root: Path = ROOT, pattern: str = "*.py") -> Iterator[Path]:
    """Each file of the package once: no link is followed."""
    for folder in PRODUCT:
        yield from sorted(path for path in (root / folder).rglob(pattern) if path.is_file())


def module_name(path: Path, root: Path = ROOT) -> str:
    """The name by which a file of the package is imported."""
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    return f"tiedae.{name}" if name.partition(".")[0] in LINKED else name
