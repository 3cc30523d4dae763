"""The page in Chromium, by clicks and keys: golden codes, drawing, files, damage, every width and light."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiedae.apps.web.page import web_page
from tiedae.codec.header import FileKind
from tiedae.codec.streams import StreamDecoder, StreamEncoder

from ...export.c.compiled import tool
from ...export.c.models import CASES, Made, samples_of
from ...report.test_browser import LOOK
from .browser import Page, browser, module_folder
from .node import web_model, write_package, written

pytestmark = pytest.mark.ci

VIEWS = [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")]
STUMBLES = ("unnamed", "outside", "faint", "silent")


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {case.name: case.made() for case in CASES}


@pytest.fixture(scope="module")
def pages(made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each model."""
    module_folder()
    tool("chromium")
    root = tmp_path_factory.mktemp("pages")
    for name, model in made.items():
        written(web_page(web_model(model)), write_package(model, root / name))
    return root


@pytest.fixture(scope="module")
def page(pages: Path) -> Iterator[Page]:
    with browser(pages) as opened:
        yield opened


def save_npy(path: Path, values: np.ndarray, version: tuple[int, int] = (1, 0)) -> Path:
    with path.open("wb") as file:
        np.lib.format.write_array(file, values, version=version)
    return path


def encoded(made: Made, x: np.ndarray, per_frame: int = 4) -> bytes:
    return StreamEncoder(made.model, made.model.program, samples_per_frame=per_frame, kind=FileKind.LOSSY).whole(x)


CODES = """(async simd => {
  const { load, golden } = await import('./index.mjs');
  const model = await load({ simd });
  const { data, code } = golden();
  const text = values => btoa(String.fromCharCode(...new Uint8Array(values.buffer)));
  return [model.simd, text(model.encode(data)), text(model.decode(code))];
})"""


def test_the_page_preloads_every_module_that_it_needs_first(pages: Path) -> None:
    """Those that app.mjs imports, and those that they import: else a browser finds them one after the other."""
    folder = pages / "image"
    wanted, todo = set(), [folder / "page" / "app.mjs"]
    while todo:
        script = todo.pop()
        for path in re.findall(r"^(?:import\b.*|\}) from '(.+)';$", script.read_text(), re.MULTILINE):
            found = (script.parent / path).resolve()
            if found not in wanted:
                wanted.add(found)
                todo.append(found)
    loaded = re.findall(r'<link rel="modulepreload" href="(.+)">', (folder / "index.html").read_text())
    assert len(wanted) > 8 and {(folder / path).resolve() for path in loaded} == wanted


@pytest.mark.parametrize("simd", [True, False], ids=["simd", "scalar"])
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_golden_codes_and_samples_in_the_browser(page: Page, made: dict[str, Made], name: str, simd: bool) -> None:
    page.open(name, 1000, "light")
    used, code, decoded = page.look(f"{CODES}({str(simd).lower()})")
    golden = made[name].golden
    assert used is simd and base64.b64decode(code) == golden.code.tobytes()
    assert base64.b64decode(decoded) == golden.floats.get("decoded", golden.decoded).tobytes()
    assert page.troubles() == [] and page.text("status").startswith("A golden sample of the model is shown")


def test_the_result_is_the_programs(page: Page, made: dict[str, Made]) -> None:
    page.open("image", 1000, "light")
    golden = made["image"].golden
    x, y = golden.data[0].astype(int), golden.decoded[0].astype(int)
    assert page.pixels("original") == x.tolist() and page.pixels("reconstruction") == y.tolist()
    facts = page.facts()
    assert float(facts["Mean squared error"].split()[0].replace(",", "")) == pytest.approx(np.mean((x - y) ** 2), rel=1e-3)
    assert facts["Largest difference"].strip() == str(abs(x - y).max())
    alone = len(encoded(made["image"], golden.data[:1], 64))
    assert alone > 25 and facts["Alone in a .tae file"] == f"{alone} bytes {alone / 25:.1f} × larger"
    assert facts["PSNR"].endswith("peak 255")
    page.until("[...document.querySelectorAll('dt')].some(each => each.textContent === 'Time')")
    assert re.match(r"[\d.,]+ µs ", page.facts()["Time"])


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_score_and_verdict(page: Page, made: dict[str, Made], name: str) -> None:
    page.open(name, 1000, "light")
    golden, factor = made[name].golden, made[name].detector.scoring.factor
    assert golden.scores is not None and golden.anomalies is not None
    for i, anomaly in enumerate(golden.anomalies.tolist()):
        page.fill("#number", str(i + 1))
        found = re.match(r"(Anomaly|Normal): score ([\d.,e+-]+), (not )?above the threshold", page.text("verdict"))
        assert found and (found[1] == "Anomaly") == bool(anomaly) == (found[3] is None)
        assert float(found[2].replace(",", "")) == pytest.approx(golden.scores[i] * factor, rel=1e-3)
        assert page.look("document.getElementById('verdict').className") == found[1].lower()


def test_drawing_with_the_pointer_and_with_keys(page: Page) -> None:
    page.open("image", 1000, "light")
    page.drag("#pad", [0.1, 0.5], [0.9, 0.5])
    assert page.text("status") == "Your drawing, scaled to 5×5."
    drawn = np.array(page.pixels("original")).reshape(5, 5)
    assert drawn[2].min() > 100 and drawn[[0, 4]].max() < 9
    page.click("#clear")
    assert max(page.pixels("original")) == 0
    page.focus("#pad")
    for key in ("ArrowUp", "ArrowUp", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        page.press(key)
    keys = np.array(page.pixels("original")).reshape(5, 5)
    assert keys[0, 3:].min() > 50 and keys[3:].max() == 0
    page.click("#invert")
    assert page.pixels("original") == (255 - keys).ravel().tolist()
    page.click("#golden")
    assert page.text("count") == "of 9" and page.troubles() == []


def test_drawing_by_touch(page: Page) -> None:
    page.open("image", 360, "light", {"hasTouch": True, "isMobile": True})
    page.tap("#pad")
    assert page.pixels("original")[12] > 100 and page.text("status") == "Your drawing, scaled to 5×5."


def test_pictures_are_cropped_scaled_and_made_gray(page: Page, tmp_path: Path) -> None:
    page.open("image", 1000, "light")
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((10, 200, 30), (10, 0, 30, 20))
    image.save(tmp_path / "wide.png")
    Image.new("L", (5, 5), 77).save(tmp_path / "small.png")
    note = page.opened(tmp_path / "wide.png", tmp_path / "small.png")
    right = "2 samples from wide.png: 40×20, cropped to its middle 20×20, scaled to 5×5, made gray; small.png: 5×5, made gray."
    assert note == right
    assert set(page.pixels("original")) == {round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)}
    page.click("#next")
    assert set(page.pixels("original")) == {77} and page.problems() == []


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_file_is_opened_saved_and_decoded_by_python(page: Page, made: dict[str, Made], name: str, tmp_path: Path) -> None:
    page.open(name, 1000, "light")
    spec = made[name].model.program.spec
    x = samples_of(spec, 70)
    assert page.opened(save_npy(tmp_path / "one.npy", x[0].reshape(spec.shape))).startswith("One sample from one.npy")
    assert page.opened(save_npy(tmp_path / "flat.npy", x)) == "70 samples from flat.npy."
    note = page.opened(save_npy(tmp_path / "x.npy", x.reshape(70, *spec.shape), (2, 0)))
    assert note == "70 samples from x.npy." and page.problems() == []
    assert page.save("#save", str(tmp_path / "saved.tae")) == f"{name}.tae"
    data = (tmp_path / "saved.tae").read_bytes()
    assert data == encoded(made[name], x, 64)
    assert page.text("status") == f"Saved 70 samples in {len(data):,} bytes: {name}.tae."
    decoded = StreamDecoder(made[name].model).push(data).reshape(70, -1)
    note = page.opened(tmp_path / "saved.tae")
    assert note == f"70 samples from saved.tae: {len(data):,} bytes, lossy." and page.look(
        "document.getElementById('save').disabled"
    )
    if name == "image":
        assert page.pixels("original") == decoded[0].tolist()
    assert page.troubles() == []


def test_damaged_files_show_what_is_whole(page: Page, made: dict[str, Made], tmp_path: Path) -> None:
    page.open("record", 1000, "light")
    data = bytearray(encoded(made["record"], samples_of(made["record"].model.program.spec, 20)))
    data[len(data) // 2] ^= 1
    (tmp_path / "hurt.tae").write_bytes(data)
    note = page.opened(tmp_path / "hurt.tae")
    assert note.startswith("16 samples from hurt.tae: ") and note.endswith("What is whole is shown; the rest is named below.")
    (problem,) = page.problems()
    assert re.fullmatch(r"hurt\.tae: frame 2 \(samples 8 to 11\) is damaged", problem)
    (tmp_path / "hurt.tae").write_bytes(data[:30])
    assert page.opened(tmp_path / "hurt.tae").startswith("Nothing was loaded")
    assert page.problems()[0].startswith("hurt.tae: no frame is whole: bytes 24 to 29 hold no whole frame")
    (tmp_path / "hurt.tae").write_bytes(encoded(made["table"], samples_of(made["table"].model.program.spec, 3)))
    page.opened(tmp_path / "hurt.tae")
    assert page.problems() == ["hurt.tae: is of another model, must be of record"] and page.text("count") == "of 16"


NPY: dict[str, tuple[np.ndarray, str]] = {
    "shape": (np.zeros((3, 26), np.float32), "got the shape [3, 26], must be one sample [25] or several, [n, 25]"),
    "dtype": (np.zeros((3, 25), np.uint8), "got uint8, must be float32, in the unit of measure of the training data"),
    "nan": (np.array([[0.0] * 25, [0.0] * 24 + [np.nan]]), "value 24 of sample 1 is NaN, must be finite in float32"),
    "order": (np.zeros((3, 25), np.float32, order="F"), "is in Fortran order, must be in C order"),
    "text": (np.array(["a"]), "holds '<U1', must hold integers or floats"),
    "empty": (np.zeros((0, 25), np.float32), "got the shape [0, 25], must be one sample"),
}
CSV = {
    "cell": ("1,2\n3,x\n", "line 2: got “x”, must be a number"),
    "ragged": ("1,2\n\n3\n", "line 3: got 1 values, must be 2 as in the first line"),
    "columns": ("a,b\n1,2\n", "got 2 columns, must be 25"),
    "nothing": ("\n", "holds no numbers"),
}


def test_other_input_is_one_sentence_and_breaks_nothing(page: Page, tmp_path: Path) -> None:
    page.open("table", 1000, "light")
    before = page.look("document.getElementById('values').innerHTML")
    for name, (values, right) in NPY.items():
        page.opened(save_npy(tmp_path / f"{name}.npy", values))
        (problem,) = page.problems()
        assert problem.startswith(f"{name}.npy: {right}"), problem
    for name, (text, right) in CSV.items():
        (tmp_path / f"{name}.csv").write_text(text)
        page.opened(tmp_path / f"{name}.csv")
        (problem,) = page.problems()
        assert problem.startswith(f"{name}.csv: {right}"), problem
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY\x09\x00")
    (tmp_path / "photo.png").write_bytes(b"no picture")
    page.opened(tmp_path / "short.npy", tmp_path / "photo.png")
    assert page.problems() == [
        "short.npy: got version 9 of .npy, must be 1, 2 or 3",
        "photo.png: must be a .npy, .csv or .tae file",
    ]
    assert page.look("document.getElementById('values').innerHTML") == before and page.text("count") == "of 9"
    page.click("#golden")
    assert page.problems() == [] and page.troubles() == []


@pytest.mark.parametrize("text", [True, False], ids=["header", "no header"])
def test_csv_is_read(page: Page, made: dict[str, Made], text: bool, tmp_path: Path) -> None:
    page.open("record", 1000, "light")
    x = samples_of(made["record"].model.program.spec, 5)
    lines = [";".join(f'"{i}th"' for i in range(33))] if text else []
    lines += [";".join(map(str, row)) for row in x.tolist()]
    (tmp_path / "x.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    page.look("document.getElementById('status').textContent = ''")
    page.drop(str(tmp_path / "x.csv"), "x.csv")
    assert page.until("document.getElementById('status').textContent") == "5 samples from x.csv."
    page.save("#save", str(tmp_path / "x.tae"))
    assert (tmp_path / "x.tae").read_bytes() == encoded(made["record"], x, 64)


def test_a_long_record_is_cut_into_windows(page: Page, made: dict[str, Made], tmp_path: Path) -> None:
    page.open("record", 1000, "light")
    x = samples_of(made["record"].model.program.spec, 3).ravel()
    note = page.opened(save_npy(tmp_path / "x.npy", np.append(x, [1, 2]).astype(">i2")))
    assert note == "3 samples from x.npy: cut into 3 windows of 33 time steps; the last 2 are left out."
    page.save("#save", str(tmp_path / "x.tae"))
    assert (tmp_path / "x.tae").read_bytes() == encoded(made["record"], x.reshape(3, 33), 64)


ACTIVE = "document.activeElement.id || document.activeElement.getAttribute('aria-label')"


def test_the_keyboard_reaches_everything(page: Page) -> None:
    page.open("image", 1000, "light")
    reached = []
    for _ in range(18):
        page.press("Tab")
        reached.append(page.look(ACTIVE))
    thumbnails = [f"Sample {i}" for i in range(1, 10)]
    assert reached == ["open", "golden", "save", "previous", "number", "next", *thumbnails, "pad", "clear", "invert"]
    page.focus("#thumbnails button")
    for key, right in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2)):
        page.press(key)
        assert page.look("document.getElementById('number').value") == str(right)
        assert page.look(ACTIVE) == f"Sample {right}"
    for name in ("open", "golden", "number", "pad"):
        page.press("Tab")
        page.focus(f"#{name}")
        ringed = f"(e => getComputedStyle(e.closest('.button') ?? e).outlineStyle)(document.getElementById('{name}'))"
        assert page.look(ringed) == "solid", name


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("name", ["image", "record", "table"])
def test_it_reads_well_in_every_light_and_size(page: Page, tmp_path: Path, name: str, width: int, scheme: str) -> None:
    page.open(name, width, scheme)
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x09\x00")
    page.opened(tmp_path / "x.npy")
    found = page.look(LOOK)
    assert {key: found[key] for key in STUMBLES if found[key]} == {} and found["overflow"] <= 0
    assert (found["background"] == "rgb(21, 23, 26)") == (scheme == "dark")
    live = page.look("[...document.querySelectorAll('[aria-live]')].map(each => each.id)")
    assert live == ["status", "facts"] and page.look("document.querySelectorAll('[onclick], [style]').length") == 0


def test_a_wrong_build_is_said(page: Page, pages: Path, tmp_path: Path) -> None:
    model = pages / "table" / "model.mjs"
    text = model.read_text()
    try:
        model.write_text(re.sub(r'("code": ")(.)', lambda found: found[1] + ("B" if found[2] == "A" else "A"), text))
        page.open("table", 1000, "light")
        assert page.text("status") == "The model does not run here."
        assert page.problems()[0].startswith("table: code of golden sample 0 differs: value 0 is ")
    finally:
        model.write_text(text)
