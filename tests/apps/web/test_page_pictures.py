"""The page of a model of patches: a picture is cut into them, put together again, and saved as a .tae file of a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiedae.apps.web.page import web_page
from tiedae.data.patches import PictureSize, cut, join

from ...data.test_windows import MadeCodec, codec_of
from ...export.c.compiled import tool
from ...export.c.models import CASES
from .browser import Page, browser, module_folder
from .node import web_model, write_package, written

pytestmark = pytest.mark.ci
PATCH = 5


@pytest.fixture(scope="module")
def codec() -> MadeCodec:
    return codec_of(next(case for case in CASES if case.name == "image").made())


@pytest.fixture(scope="module")
def page(codec: MadeCodec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    module_folder()
    tool("chromium")
    root = tmp_path_factory.mktemp("pages")
    written(web_page(web_model(codec.made), tiled=True), write_package(codec.made, root / "tiled"))
    with browser(root) as opened:
        yield opened


def test_a_picture_is_tiled_measured_and_saved(page: Page, codec: MadeCodec, tmp_path: Path) -> None:
    """The values and the file are those of Python."""
    right = np.random.default_rng(0).integers(0, 256, (23, 41), dtype=np.uint8)
    Image.fromarray(right).save(tmp_path / "photo.png")
    page.open("tiled", 1000, "light")
    assert page.look("document.getElementById('photo').hidden") is True
    assert page.opened(tmp_path / "photo.png") == "45 samples from photo.png: 41×23, made gray, cut into 45 patches."
    made = join(codec.reconstruct(cut(right, PATCH)), PictureSize(23, 41))
    assert page.pixels("photo-original") == right.ravel().tolist()
    assert page.pixels("photo-made") == made.ravel().tolist()
    data = codec.compress_picture(right)
    found = re.fullmatch(
        r"PSNR ([\d.]+) dB, ([\d.]+) bits per pixel: ([\d,]+) bytes in a \.tae file", page.text("photo-caption")
    )
    assert found and int(found[3].replace(",", "")) == len(data)
    assert float(found[2]) == pytest.approx(8 * len(data) / right.size, rel=5e-3)
    assert float(found[1]) == pytest.approx(10 * np.log10(255**2 / np.square(made - right.astype(float)).mean()), abs=0.06)
    page.save("#save", str(tmp_path / "saved.tae"))
    assert (tmp_path / "saved.tae").read_bytes() == data
    page.click("#golden")
    assert page.look("document.getElementById('photo').hidden") is True and page.troubles() == []
