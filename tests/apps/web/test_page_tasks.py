"""The page of each task in Chromium: its words, the clean sample of denoising, the worst values of an anomaly, the pad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiedae.apps.web.package import web_package
from tiedae.apps.web.page import DESCRIPTIONS, Shown, web_page
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
    "spot": (CASES[0], "anomaly"),
    "given": (CASES[0], "denoising"),
    "large": (Case("large", 16, "uint8", "image", (2, 85), "mse", "dense", CASES[0].forms, widest=300), "compression"),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    models = {case: case.made() for case, _ in PAGES.values()}
    return {name: models[case] for name, (case, _) in PAGES.items()}


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
        given = Shown("x.npy", 1000, GIVEN[0], GIVEN[1], ", with gaussian noise") if name == "given" else None
        written(web_package(model, find_toolchain()) | web_page(model, shown=given), root / name)
    with browser(root) as opened:
        yield opened


GIVEN = np.random.default_rng(8).integers(0, 256, (2, 64, 25), np.uint8)
"""Samples of "given", and clean ones."""


def worst(page: Page) -> list[list[str]]:
    """The rows of the worst values: name, given, reconstructed, share."""
    return page.look("[...document.querySelectorAll('#worst tbody tr')].map(row => [...row.cells].map(e => e.textContent))")


def psnr(values: np.ndarray, clean: np.ndarray) -> str:
    return f"{10 * np.log10(255**2 / np.square(values.astype(float) - clean).mean()):.1f} dB against the clean sample"


def shown(page: Page, name: str) -> bool:
    return page.look(f"document.getElementById({name!r}).getBoundingClientRect().width > 0")


def captions(page: Page) -> list[str]:
    """Of what is seen in the result, in order."""
    seen = "[...document.querySelectorAll('#pictures figcaption, .key')].filter(each => each.getBoundingClientRect().width)"
    return page.look(f"{seen}.map(each => each.textContent.split(':')[0].trim())")


def test_a_denoising_page_compares_with_the_clean_sample(page: Page, made: dict[str, Made], tmp_path: Path) -> None:
    page.open("noisy", 1280, "light")
    golden, clean = made["noisy"].golden, clean_of(made["noisy"])
    for i in (0, 5):
        page.fill("#number", str(i + 1))
        facts = page.facts()
        assert facts["PSNR, noisy"] == psnr(golden.data[i], clean[i])
        assert facts["PSNR, denoised"] == psnr(golden.decoded[i], clean[i])
        values = [facts[f"PSNR, {what}"].removesuffix(" against the clean sample") for what in ("noisy", "denoised")]
        assert [page.text(name) for name in ("original-caption", "made-caption")] == [
            f"Noisy: {values[0]}",
            f"Denoised: {values[1]}",
        ]
        assert page.pixels("clean") == clean[i].tolist() and page.pixels("original") == golden.data[i].tolist()
    assert captions(page)[:4] == ["Noisy", "Denoised", "Clean", "Draw here"] and not shown(page, "difference")
    page.opened(save_npy(tmp_path / "x.npy", samples_of(made["noisy"].model.program.spec, 3)))
    assert captions(page)[:4] == ["Noisy", "Denoised", "Removed", "Draw here"] and not shown(page, "clean")
    assert "PSNR, noisy" not in page.facts() and page.facts()["Mean squared difference"] and page.troubles() == []


def test_a_denoising_page_of_records_draws_the_clean_line(page: Page, made: dict[str, Made]) -> None:
    page.open("hum", 1280, "light")
    golden, clean = made["hum"].golden, clean_of(made["hum"]).astype(float)
    assert page.look("document.querySelector('#plot svg').querySelectorAll('polyline').length") == 3
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
        right = [value for value in np.argsort(-errors, kind="stable")[:5].tolist() if errors[value]]
        rows = worst(page)
        assert [row[0] for row in rows] == [f"value {value}" for value in right]
        shares = [float(row[3].removesuffix(" %")) for row in rows]
        assert shares == pytest.approx([100 * errors[value] / errors.sum() for value in right], abs=0.51)
    tops = [
        page.look(f"document.getElementById('{name}').getBoundingClientRect().top") for name in ("verdict", "worst", "facts")
    ]
    assert tops == sorted(tops) and not shown(page, "lines")  # columns of different units are no line


def test_an_anomaly_page_names_the_worst_pixels(page: Page, made: dict[str, Made]) -> None:
    page.open("spot", 390, "light")
    golden = made["spot"].golden
    page.fill("#number", "6")
    errors = np.square(golden.data[5].astype(float) - golden.decoded[5])
    right = np.argsort(-errors, kind="stable")[:5].tolist()
    assert [row[0] for row in worst(page)] == [f"row {i // 5}, column {i % 5}" for i in right]


def test_an_anomaly_page_draws_every_score(page: Page, made: dict[str, Made]) -> None:
    page.open("fault", 1280, "light")
    flags = np.asarray(made["fault"].golden.anomalies)
    assert page.text("overview-caption") == f"Scores: {flags.sum()} of 9 above the threshold (dashed)" and 0 < flags.sum() < 9
    bars = page.look("[...document.querySelectorAll('#scores rect:not(.chosen)')].map(each => each.getAttribute('class'))")
    assert bars == [("normal", "anomaly")[flag] for flag in flags.tolist()]
    for i in (4, 8, 0):
        page.look(
            "(e => (b => e.dispatchEvent(new MouseEvent('click', { clientX: b.left + (b.width * "
            f"{i + 0.5}) / 40 }})))(e.getBoundingClientRect()))(document.getElementById('scores'))"
        )
        assert page.look("document.getElementById('number').value") == str(i + 1)
    assert page.troubles() == []


def test_a_device_without_a_microphone_is_one_sentence(page: Page) -> None:
    page.open("hum", 390, "light", {"permissions": ["microphone"]})
    page.click("#microphone")
    page.until("document.querySelector('#problems li')")
    assert page.problems() == ["Microphone: none was found; connect one, or open a file."] and page.troubles() == []


def test_samples_that_the_page_was_made_with(page: Page, made: dict[str, Made]) -> None:
    page.open("given", 390, "light")
    assert page.text("status") == "Shown: the first 64 of 1,000 in x.npy, with gaussian noise. The model's check passed."
    data, clean = GIVEN
    for i in (0, 63):
        page.fill("#number", str(i + 1))
        assert page.pixels("original") == data[i].tolist() and page.pixels("clean") == clean[i].tolist()
        assert page.facts()["PSNR, noisy"] == psnr(data[i], clean[i])
    pressed = "[...document.querySelectorAll('#thumbnails [aria-pressed=true]')].map(each => each.getAttribute('aria-label'))"
    assert page.look(pressed) == ["Sample 64"]
    page.look("document.getElementById('clear').click()")
    assert page.text("count") == "of 1"
    assert page.text("golden") == "Samples of x.npy"
    page.click("#golden")
    assert page.text("count") == "of 64" and page.troubles() == []


@pytest.mark.parametrize("name", list(PAGES))
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
