"""One page around a package of `package`: `web_page`. docs/web.md describes it."""

from __future__ import annotations

from collections.abc import Mapping

from ..manifest import Manifest
from .package import WebModel

PAGE = "page"
"""The folder of the page's scripts and style, here and in what is written."""


def web_page(model: WebModel, manifest: Manifest) -> dict[str, bytes]:
    """The files by path."""
    del model, manifest
    return {}


def fetched(page: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a browser fetches of the page's files."""
    return dict(page)
