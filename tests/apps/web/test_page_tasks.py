"""The page of each task in Chromium: its words, the clean sample of denoising, the worst values of an anomaly, the pad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiedae.apps.web.package import web_package
from tiedae.apps.web.page import DESCRIPTIONS, web_page
from tiedae.apps.web.wasm import find_toolchain

from ...export.c.compiled import tool
from ...export.c.models import CASES, Case, Made, samples_of
from ...report.test_browser import LOOK
from .browser import Page, browser, module_folder
from .node import web_model, written
from .test_page import STUMBLES, save_npy

pytestmark = pytest.mark.ci

PAGES = {
    "noisy": (CASES[0], "denoising"),
    "hum": (CASES[1], "denoising"),
    "fault": (CASES[2], "anomaly"),
    "large": (Case("large", 16, "uint8", "images", (2, 85), "mse", "dense", CASES[0].forms, widest=300), "compression"),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {name: PAGES[name][0].made() for name in ("noisy", "hum", "fault", "large")}


def clean_of(made: Made) -> np.ndarray:
    """Samples in the place of the clean ones behind the golden samples."""
    return samples_of(made.model.program.spec, len(made.golden.code))[::-1]


@pytest.fixture(scope="module")
def page(made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    module_folder()
    for name in ("clang", "wasm-ld", "chromium"):
        tool(name)
    root = tmp_path_factory.mktemp("pages")
    for name, of in made.items():
        task = PAGES[name][1]
        model = replace(web_model(of), task=task, clean=clean_of(of) if task == "denoising" else None)
        written(web_package(model, find_toolchain()) | web_page(model), root / name)
    with browser(root) as opened:
        yield opened


def psnr(values: np.ndarray, clean: np.ndarray) -> str:
    return f"{10 * np.log10(255**2 / np.square(values.astype(float) - clean).mean()):.1f} dB against the clean sample"


def shown(page: Page, name: str) -> bool:
    return page.look(f"document.getElementById({name!r}).getBoundingClientRect().width > 0")


def captions(page: Page) -> list[str]:
    """Of what is seen, in order."""
    seen = "[...document.querySelectorAll('figcaption, .key')].filter(each => each.getBoundingClientRect().width)"
    return page.look(f"{seen}.map(each => each.textContent.split(':')[0].trim())")


def test_a_denoising_page_compares_with_the_clean_sample(page: Page, made: dict[str, Made], tmp_path: Path) -> None:
    page.open("noisy", 1280, "light")
    golden, clean = made["noisy"].golden, clean_of(made["noisy"])
    for i in (0, 5):
        page.fill("#number", str(i + 1))
        facts = page.facts()
        assert facts["PSNR, noisy"] == psnr(golden.data[i], clean[i])
        assert facts["PSNR, denoised"] == psnr(golden.decoded[i], clean[i])
        assert page.pixels("clean") == clean[i].tolist() and page.pixels("original") == golden.data[i].tolist()
    assert captions(page)[:4] == ["Noisy", "Denoised", "Clean", "Draw here"] and not shown(page, "difference")
    page.opened(save_npy(tmp_path / "x.npy", samples_of(made["noisy"].model.program.spec, 3)))
    assert captions(page)[:4] == ["Noisy", "Denoised", "Removed", "Draw here"] and not shown(page, "clean")
    assert "PSNR, noisy" not in page.facts() and page.facts()["Mean squared difference"] and page.troubles() == []


def test_a_denoising_page_of_records_draws_the_clean_line(page: Page, made: dict[str, Made]) -> None:
    page.open("hum", 1280, "light")
    golden, clean = made["hum"].golden, clean_of(made["hum"]).astype(float)
    assert page.look("document.querySelectorAll('#plot polyline').length") == 3
    for what, values in (("noisy", golden.data), ("denoised", golden.decoded)):
        error = np.sqrt(np.square(values[0] - clean[0]).mean())
        text = page.facts()[f"Root mean squared error, {what}"].split()[0].replace(",", "")
        assert float(text) == pytest.approx(error, rel=1e-3)


def test_an_anomaly_page_names_the_worst_values(page: Page, made: dict[str, Made]) -> None:
    page.open("fault", 1280, "light")
    golden, scale = made["fault"].golden, np.array(made["fault"].model.program.spec.scaling.scale)
    for i in range(len(golden.code)):
        page.fill("#number", str(i + 1))
        errors = np.square((golden.floats["data"][i].astype(float) - golden.floats["decoded"][i]) / scale)
        if not np.any(errors):
            continue
        names = [part.split(":")[0] for part in page.facts()["Worst values"].split(", value")]
        assert [int(name.removeprefix("value ")) for name in names] == np.argsort(-errors, kind="stable")[:3].tolist()
    assert page.look("document.getElementById('verdict').getBoundingClientRect().top") < page.look(
        "document.getElementById('plot').getBoundingClientRect().top"
    )


@pytest.mark.parametrize("name", ["noisy", "hum", "fault", "large"])
def test_the_page_says_what_it_is_for(page: Page, name: str) -> None:
    page.open(name, 390, "light")
    start = DESCRIPTIONS[PAGES[name][1]].partition("{values}")[0]
    assert page.look("document.querySelector('.lead').textContent").startswith(start)
    found = page.look(LOOK)
    assert {key: found[key] for key in STUMBLES if found[key]} == {} and found["overflow"] <= 0


def test_the_pad_is_for_small_gray_pictures_and_no_larger_than_the_result(page: Page) -> None:
    for width in (390, 1280):
        page.open("noisy", width, "light")
        boxes = page.look(
            "['pad', 'original', 'reconstruction'].map(name => document.getElementById(name).getBoundingClientRect())"
            ".map(box => [box.width, box.top])"
        )
        (pad, place), *results = boxes
        assert all(pad <= size + 1 and place >= top for size, top in results)
    page.open("large", 390, "light")
    assert not shown(page, "pad") and shown(page, "reconstruction")
