"""The page of a signal in Chromium: a waveform of each channel, from .wav and .csv files and from a microphone."""

from __future__ import annotations

import re
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tiedae.apps.web.package import web_package
from tiedae.apps.web.page import web_page
from tiedae.apps.web.wasm import find_toolchain
from tiedae.config.sample_spec import Signal
from tiedae.data.wav_files import read_wav

from ...export.c.compiled import tool
from ...export.c.models import CASES, Case, Made, samples_of
from ...report.test_browser import LOOK
from .browser import Page, browser, module_folder
from .node import web_model, written
from .test_page import STUMBLES, encoded, save_npy
from .test_page_tasks import shown, worst

pytestmark = pytest.mark.ci

AXES = Case("axes", 16, "int16", "record", (85, 2), "mse", "dense", CASES[0].forms, widest=300)
PAGES = {
    "tone": (CASES[1], Signal((), 1000.0, "mg")),
    "axes": (AXES, Signal(("ax", "ay"), 100.0, "g")),
    "unknown": (CASES[1], Signal()),
    "fast": (CASES[1], Signal((), 2e6)),
    "picture": (CASES[0], Signal()),
}
HUM = 50.0
"""Hz of what the microphone hears."""
HEAR = {"permissions": ["microphone"]}


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    models = {case: case.made() for case, _ in PAGES.values()}
    return {name: models[case] for name, (case, _) in PAGES.items()}


@pytest.fixture(scope="module")
def page(made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    module_folder()
    for name in ("clang", "wasm-ld", "chromium"):
        tool(name)
    root = tmp_path_factory.mktemp("pages")
    for name, of in made.items():
        model = web_model(of)
        model = replace(model, task="anomaly", spec=structs.replace(model.spec, signal=PAGES[name][1]))
        written(web_package(model, find_toolchain()) | web_page(model, time="t"), root / name)
    hum = 16000 * np.sin(2 * np.pi * HUM * np.arange(96_000) / 48_000)
    with browser(root, save_wav(root / "hum.wav", np.rint(hum).astype(np.int16), 48_000)) as opened:
        yield opened


def save_wav(path: Path, values: np.ndarray, rate: int = 1000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, len(values), "NONE", ""))
        file.writeframes(values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes())
    return path


def saved(page: Page, folder: Path) -> bytes:
    page.save("#save", str(folder / "saved.tae"))
    return (folder / "saved.tae").read_bytes()


def points(page: Page) -> list[list[int]]:
    """How many points each line of each plot has."""
    lines = "[...each.querySelectorAll('polyline')].map(line => line.getAttribute('points').split(' ').length)"
    return page.look(f"[...document.querySelectorAll('#plot svg')].map(each => {lines})")


def ends(page: Page) -> list[str]:
    """What the axis of the first plot says."""
    return page.look("[...document.querySelector('#plot svg').querySelectorAll('text')].slice(2).map(e => e.textContent)")


def test_each_channel_has_a_waveform(page: Page, made: dict[str, Made]) -> None:
    page.open("axes", 390, "light")
    assert points(page) == [[85, 85], [85, 85]] and ends(page) == ["0 s", "0.84 s"]
    captions = "[...document.querySelectorAll('#plot figcaption')].map(each => each.textContent)"
    assert page.look(captions) == ["ax, g", "ay, g"]
    golden = made["axes"].golden
    page.fill("#number", "6")
    both = np.stack([golden.data[5], golden.decoded[5]]).reshape(-1, 2)
    of = "[...e.querySelectorAll('text')].slice(0, 2).map(e => e.textContent)"
    sides = page.look(f"[...document.querySelectorAll('#plot svg')].map(e => {of})")
    assert sides == [[f"{float(f'{side:.3g}'):,.0f}" for side in (channel.min(), channel.max())] for channel in both.T]
    errors = np.square(golden.data[5].astype(float) - golden.decoded[5])
    right = np.argsort(-errors, kind="stable")[:5].tolist()
    assert [row[0] for row in worst(page)] == [f"{i // 2 / 100:.4g} s, {('ax', 'ay')[i % 2]}" for i in right]
    marks = page.look("[...document.querySelectorAll('#plot svg')].map(each => each.querySelectorAll('.mark').length)")
    assert marks == [sum(i % 2 == channel for i in right) for channel in (0, 1)]


def test_a_single_channel_has_a_difference_too(page: Page) -> None:
    page.open("tone", 1280, "light")
    assert points(page) == [[33, 33], [33]] and ends(page) == ["0 s", "0.032 s"] and page.text("unit") == "mg"
    page.open("unknown", 1280, "light")
    assert ends(page) == ["0", "32"] and page.text("unit") == ""


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_wav_file_is_read_as_in_python(page: Page, made: dict[str, Made], width: int, tmp_path: Path) -> None:
    page.open("tone", 390, "light")
    x = samples_of(made["tone"].model.program.spec, 3).ravel()
    path = save_wav(tmp_path / "x.wav", np.append(x, [3, 4]), width=width)
    note = "3 samples from x.wav: cut into 3 windows of 33 time steps; the last 2 are left out."
    assert page.opened(path) == note and page.problems() == []
    read = read_wav(path).values[:99].reshape(3, 33).astype(np.int16)
    assert saved(page, tmp_path) == encoded(made["tone"], read, 64)


def test_a_wav_file_of_two_channels(page: Page, made: dict[str, Made], tmp_path: Path) -> None:
    page.open("axes", 390, "light")
    x = samples_of(made["axes"].model.program.spec, 2)
    page.opened(save_wav(tmp_path / "x.wav", x.ravel(), rate=100, channels=2))
    assert page.problems() == [] and saved(page, tmp_path) == encoded(made["axes"], x, 64)


def test_a_csv_file_is_read_by_its_channels_and_times(page: Page, made: dict[str, Made], tmp_path: Path) -> None:
    page.open("axes", 390, "light")
    x = samples_of(made["axes"].model.program.spec, 2)
    rows = [f"{b},{i / 100:.2f},{a}" for i, (a, b) in enumerate(x.reshape(-1, 2).tolist())]
    (tmp_path / "x.csv").write_text("\n".join(["ay,t,ax", *rows]))
    page.opened(tmp_path / "x.csv")
    assert page.problems() == [] and saved(page, tmp_path) == encoded(made["axes"], x, 64)
    page.opened(save_npy(tmp_path / "x.npy", x.reshape(-1, 2)))
    assert page.problems() == [] and saved(page, tmp_path) == encoded(made["axes"], x, 64)


def test_other_recordings_are_one_sentence_and_break_nothing(page: Page, tmp_path: Path) -> None:
    page.open("axes", 390, "light")
    before, x = page.look("document.getElementById('plot').innerHTML"), np.zeros(170, np.int16)
    cut = save_wav(tmp_path / "whole.wav", x, 100, 2).read_bytes()[:-9]
    (tmp_path / "cut.wav").write_bytes(cut)
    (tmp_path / "text.wav").write_bytes(b"RIFF" + bytes(60))
    floats = bytearray((tmp_path / "whole.wav").read_bytes())
    floats[20] = 3
    (tmp_path / "floats.wav").write_bytes(floats)
    whole = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "late.wav").write_bytes(whole[:12] + whole[36:] + whole[12:28])
    (tmp_path / "thin.wav").write_bytes(whole[:16] + bytes((14, 0, 0, 0)) + whole[20:34] + whole[36:])
    (tmp_path / "silent.wav").write_bytes(whole[:22] + bytes(2) + whole[24:])
    texts = {"columns": "ax,az\n1,2\n", "times": "t,ax,ay\n0,1,2\n1,3,4\n", "short": "1,2\n3,4\n", "three": "1,2,3\n4,5,6\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    right = {
        save_wav(tmp_path / "rate.wav", x, 8000, 2): "got a rate of 8,000 Hz, must be 100 Hz; resample it",
        save_wav(tmp_path / "mono.wav", x, 100, 1): "got 1 channel, must be 2",
        save_wav(tmp_path / "brief.wav", x[:100], 100, 2): "got 50 time steps, must be 85 or more: a window",
        tmp_path / "cut.wav": "ends early: got 331 bytes of values, must be 340",
        tmp_path / "text.wav": "is damaged, or no .wav file",
        tmp_path / "late.wav": "is damaged, or no .wav file",
        tmp_path / "thin.wav": "is damaged, or no .wav file",
        tmp_path / "silent.wav": "must hold plain PCM of 8, 16, 24 or 32 bits; convert it",
        tmp_path / "floats.wav": "must hold plain PCM of 8, 16, 24 or 32 bits; convert it",
        tmp_path / "columns.csv": "no column ay; the columns must be ax, ay",
        tmp_path / "times.csv": "got a rate of 1 Hz, must be 100 Hz; resample it",
        tmp_path / "short.csv": "got 2 time steps, must be 85 or more: a window",
        tmp_path / "three.csv": "got 3 columns, must be 2",
        save_npy(tmp_path / "x.npy", np.zeros((90, 3), np.int16)): "got the shape [90, 3], must be time steps [n, 2], or "
        "windows [n, 85, 2]",
    }
    for path, text in right.items():
        page.opened(path)
        assert page.problems() == [f"{path.name}: {text}"]
    assert page.look("document.getElementById('plot').innerHTML") == before and page.troubles() == []


def test_a_wav_file_is_for_records(page: Page, tmp_path: Path) -> None:
    page.open("picture", 390, "light")
    page.opened(save_wav(tmp_path / "x.wav", np.zeros(40, np.int16)))
    assert page.problems() == ["x.wav: is no picture that this browser opens, and no .npy, .csv or .tae file"]
    assert not shown(page, "microphone") and shown(page, "pad")
    page.open("tone", 390, "light")
    assert shown(page, "microphone") and not shown(page, "pad")


def heard(page: Page, number: int) -> np.ndarray:
    page.fill("#number", str(number))
    given = "[...document.querySelectorAll('#values tbody tr')].map(row => row.cells[1].textContent.replace(',', ''))"
    return np.array(page.look(given), float)


@pytest.mark.parametrize(
    ("name", "text"), [("tone", "at 1,000 Hz"), ("axes", "at 100 Hz"), ("unknown", "the model states no rate")]
)
def test_a_microphone_is_heard_in_the_models_rate(page: Page, name: str, text: str) -> None:
    page.open(name, 390, "light", HEAR)
    page.click("#microphone")
    page.until("document.getElementById('status').textContent.startsWith('Recording at')")
    started = time.monotonic()
    page.until("document.getElementById('count').textContent === 'of 1'")
    time.sleep(1.5)
    page.click("#microphone")
    took = time.monotonic() - started
    found = re.fullmatch(r"([\d,]+) windows? from the microphone (.*)\.", page.text("status"))
    assert found and text in found[2] and page.problems() == [] and page.troubles() == []
    rate, count = PAGES[name][1].rate, int(found[1].replace(",", ""))
    assert page.text("microphone") == "Microphone" and page.text("count") == f"of {found[1]}"
    if rate:
        assert count == pytest.approx(took * rate / PAGES[name][0].shape[0], rel=0.3, abs=2)
    if name == "tone":
        windows = [heard(page, number) for number in range(count // 2, count)]
        period = round(rate / HUM)
        errors = [np.abs(values[period:] - values[:-period]).max() for values in windows]
        assert (
            min(errors) < 600 and 14_000 < np.abs(windows[np.argmin(errors)]).max() < 17_000
        )  # others may lack sound: a busy machine


def test_a_microphone_that_is_not_there_is_one_sentence(page: Page) -> None:
    for name, more, text in (
        ("tone", {}, "it was refused; allow it for this page, or open a file"),
        ("fast", HEAR, "this browser cannot record at 2000000 Hz"),
    ):
        page.open(name, 390, "light", more)
        before = page.look("document.getElementById('plot').innerHTML")
        page.click("#microphone")
        page.until("document.querySelector('#problems li')")
        assert page.problems() == [f"Microphone: {text}."]
        assert page.look("document.getElementById('plot').innerHTML") == before
        page.click("#next")
        assert page.look("document.getElementById('number').value") == "2" and page.text("microphone") == "Microphone"
    page.open("tone", 390, "light", HEAR)
    page.look("Object.defineProperty(navigator, 'mediaDevices', { value: undefined }) && null")  # as over http
    page.click("#microphone")
    page.until("document.querySelector('#problems li')")
    assert page.problems() == ["Microphone: it needs a page over https, or from localhost."] and page.troubles() == []


ASK = """(() => {
  const { mediaDevices } = navigator;
  const start = mediaDevices.getUserMedia.bind(mediaDevices);
  window.asked = [];
  mediaDevices.getUserMedia = (options) => new Promise((yes, no) => {
    window.asked.push({ allow: () => start(options).then(yes), refuse: () => no(new DOMException('', 'NotAllowedError')) });
  });
})() ?? null"""


def test_a_refusal_that_comes_late_does_not_end_the_next_recording(page: Page) -> None:
    """The browser asks; the person clicks twice more, and refuses the first question after that."""
    page.open("tone", 390, "light", HEAR)
    page.look(ASK)
    for asked in (1, 1, 2):
        page.click("#microphone")
        page.until(f"window.asked.length === {asked}")
    page.look("window.asked[0].refuse() ?? null")
    page.look("window.asked[1].allow().then(() => null)")
    page.until("document.getElementById('status').textContent.startsWith('Recording at')")
    assert page.problems() == [] and page.text("microphone") == "Stop"
    page.until("document.getElementById('count').textContent === 'of 1'")
    page.click("#microphone")
    assert page.text("microphone") == "Microphone" and page.troubles() == []


def test_a_file_ends_the_recording(page: Page, tmp_path: Path) -> None:
    page.open("tone", 390, "light", HEAR)
    page.click("#microphone")
    page.until("document.getElementById('count').textContent === 'of 1'")
    page.files(str(save_wav(tmp_path / "x.wav", np.zeros(66, np.int16))))
    page.until("document.getElementById('status').textContent.startsWith('2 samples from x.wav')")
    time.sleep(0.3)
    assert page.text("count") == "of 2" and page.text("microphone") == "Microphone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["tone", "axes"])
def test_it_reads_well_on_a_phone(page: Page, name: str, scheme: str) -> None:
    page.open(name, 390, scheme)
    found = page.look(LOOK)
    assert {key: found[key] for key in STUMBLES if found[key]} == {} and found["overflow"] <= 0
