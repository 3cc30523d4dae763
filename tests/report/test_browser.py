"""report.html of a real run in a real browser: nothing broken, nothing loaded, nothing off the page, in every light and size.

Chromium is driven over its DevTools pipe (https://chromedevtools.github.io/devtools-protocol/): JSON messages that end in a
zero byte, on descriptors 3 and 4. So the page under test is the file as it is, with its own content security policy.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiedae.report.pages import render
from tiedae.report.pages.charts import Line, LineChart
from tiedae.report.rendering import render_bundle
from tiedae.report.search.page import render as render_front

from .drawn import render_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe")
ON_3_AND_4 = """
import os, sys
reading, writing, *command = sys.argv[1:]
os.dup2(int(writing), 14), os.dup2(int(reading), 3), os.dup2(14, 4)
os.execv(command[0], command)
"""
SECONDS = 60


class Browser:
    """One page of a headless Chromium; `events` are what it reported since the last `open`."""

    def __init__(self, reading: int, writing: int):
        self.reading, self.writing, self.rest, self.count, self.events = reading, writing, b"", 0, []
        self.session = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reading], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self.reading, 1 << 20)
            assert part, "Chromium has ended"
            self.rest += part
        first, _, self.rest = self.rest.partition(b"\0")
        return json.loads(first)

    def open(self, path: Path, *, width: int, scheme: str = "light", media: str = "") -> None:
        self.events.clear()
        mobile = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=mobile)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    assert CHROMIUM
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    launcher = [sys.executable, "-I", "-c", ON_3_AND_4, str(commands_out), str(answers_in)]
    process = subprocess.Popen(
        [*launcher, CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(commands_out, answers_in),
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_out)
    os.close(answers_in)
    try:
        yield Browser(answers_out, commands_in)
    finally:
        process.kill()
        process.wait()
        os.close(commands_in)
        os.close(answers_out)


pytestmark = [pytest.mark.ci, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(finished_run, tmp_path_factory, make_bench) -> dict[str, Path]:
    """Reports of a real run: as it is, its data drawn as curves; and as pictures, with a benchmark and names without end."""
    folder = Path(shutil.copytree(finished_run / "bundle", tmp_path_factory.mktemp("report") / "bundle"))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    metrics = json.loads((folder / "metrics.json").read_bytes())
    manifest["data"]["shape"] = [4, 6]
    metrics["name"] = "a-name-without-any-end-" * 9
    metrics["skipped"].append({"kind": "opens", "why": "unavailable", "what": "w" * 300, "reason": "r" * 300})
    long = {"file": "c" * 200, "value": "v" * 90, "limit": "l" * 90, "text": "t" * 400}
    metrics["checks"].append(long | {"kind": "storage", "ok": False})
    metrics["parity"].append(metrics["parity"][0] | {"runtime": "q" * 120, "provider": "p" * 200})
    metrics["bench"] = make_bench("/".join(["a", "long", "subject", "x" * 90]))
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    written = (folder / "metrics.json").read_bytes()
    manifest["files"]["metrics.json"] |= {"bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    pictures, _ = render_bundle(folder)
    return {"curves": finished_run / "bundle" / "report.html", "pictures": pictures}


LOOK = """(() => {
  const inside = e => e.closest('.wide') && !e.matches('.wide');
  const name = e => `${e.tagName.toLowerCase()}.${e.getAttribute('class') || ''} ${(e.textContent || '').trim().slice(0, 60)}`;
  const seen = [...document.querySelectorAll('main *, footer *')].filter(e => e.getClientRects().length);
  const boxes = seen.filter(e => !inside(e)).map(e => [e, e.getBoundingClientRect()]);
  const scrolling = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
  const scrolls = seen.filter(e => e.scrollWidth > e.clientWidth + 1 && scrolling(e));
  const drawings = [...document.querySelectorAll('main > section svg')].filter(e => !e.parentElement.closest('svg'));
  return {
    images: document.images.length,
    broken: [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(name),
    unnamed: [...document.images].filter(i => !i.alt).map(name)
      .concat([...document.querySelectorAll('svg[role=img]')].filter(e => !e.getAttribute('aria-label')).map(name)),
    silent: drawings.filter(e => !e.getAttribute('aria-hidden') && e.getAttribute('role') !== 'img').map(name),
    overflow: document.documentElement.scrollWidth - innerWidth,
    outside: boxes.filter(([e, b]) => b.width && (b.right > innerWidth + 1 || b.left < -1)).map(([e]) => name(e)),
    unreachable: scrolls.filter(e => e.tabIndex < 0).map(name),
    dead: [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).map(name),
    faint: faint(seen),
    background: getComputedStyle(document.body).backgroundColor,
  };
  function colour(text) { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; }
  function behind(e) {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(colour(getComputedStyle(at).backgroundColor));
    const over = (under, [r, g, b, a]) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
    return layers.reverse().reduce(over, [255, 255, 255]);
  }
  function light(c) {
    const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function faint(elements) {
    const written = elements.filter(e => !e.closest('svg') && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
    return written.filter(e => {
      const [a, b] = [light(colour(getComputedStyle(e).color)), light(behind(e))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map(name);
  }
})()"""
"""What a reader would stumble over, as lists of elements; `faint`: contrast below 4.5 : 1 (WCAG 2.2, 1.4.3)."""
STUMBLES = ("broken", "unnamed", "silent", "outside", "unreachable", "dead", "faint")
PRINTED = 688
"""Width of A4 within the margins of the style sheet, in CSS pixels."""


VIEWS = {
    "wide, light": (1280, "light", ""),
    "wide, dark": (1280, "dark", ""),
    "tablet": (768, "light", ""),
    "phone, light": (360, "light", ""),
    "phone, dark": (360, "dark", ""),
    "print, by a reader of the dark": (PRINTED, "dark", "print"),
}


@pytest.mark.parametrize("kind", ["curves", "pictures"])
@pytest.mark.parametrize(("width", "scheme", "media"), VIEWS.values(), ids=VIEWS)
def test_nothing_is_broken_hidden_or_off_the_page(browser, reports, kind, width, scheme, media):
    path = reports[kind]
    browser.open(path, width=width, scheme=scheme, media=media)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = browser.evaluate(LOOK)
    assert {key: found[key] for key in STUMBLES} == {key: [] for key in STUMBLES}
    assert found["overflow"] <= 0
    assert found["images"] >= (24 * 4 + 1 if kind == "pictures" else 2)
    assert (found["background"] == "rgb(21, 23, 26)") == (scheme == "dark" and media != "print")
    complaints = [event for event in browser.events if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]
    requested = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert complaints == []
    assert [url for url in requested if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.parametrize("kind", ["curves", "pictures"])
def test_what_scrolls_shows_it_on_a_phone(browser, reports, kind):
    """A shade at the edge beyond which a wide table goes on, that of the other edge covered; and a thin bar."""
    browser.open(reports[kind], width=360)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    shown = browser.evaluate("""[...document.querySelectorAll('.wide')]
      .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => getComputedStyle(e))
      .map(s => [s.overflowX, s.scrollbarWidth, s.backgroundAttachment, s.backgroundImage.match(/gradient/g).length])""")
    assert len(shown) >= 5
    assert all(each == ["auto", "thin", "local, local, scroll, scroll, scroll", 4] for each in shown)


OUTSIDE = """(() => {
  const found = [];
  for (const drawing of document.querySelectorAll('.axes')) {
    const frame = drawing.getBoundingClientRect();
    for (const mark of drawing.querySelectorAll('text, circle, line, polyline, p')) {
      const box = mark.getBoundingClientRect();
      const over = [frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom];
      if (Math.max(...over) > 1.5) found.push(`${mark.tagName} ${mark.textContent} ${over.map(v => v.toFixed(1))}`);
    }
  }
  return [document.querySelectorAll('.axes').length, found];
})()"""
"""How many charts there are, and the marks and labels that lie outside of their drawing."""


def chart_page(folder: Path, chart: LineChart) -> str:
    """A page of one chart, from a template of its own."""
    template = folder / "chart.html.j2"
    template.write_text(
        '{% extends "base.html.j2" %}{% from "charts.html.j2" import line_chart %}'
        "{% block main %}{{ line_chart(chart) }}{% endblock %}{% block footer %}{% endblock %}",
        encoding="utf-8",
    )
    return render(template, title="t", chart=chart)


@pytest.mark.parametrize("width", [320, 360, 1280])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3], [0.05, 0.01, 0.0094]),
        ([1, 2], [1.00025e-9, 1.0003e-9]),
        (range(1, 1001), [10.0 ** (i % 19 - 9) for i in range(1000)]),
        ([1, 2, 3], [-123456.5, 0.0, 99999.25]),
        ([7], [0.0]),
    ],
    ids=["usual", "narrow", "wide", "signed", "one"],
)
def test_charts_stay_inside_their_drawing(browser, tmp_path, width, x, y):
    title = "squared error per validation sample, in scaled values"
    path = tmp_path / "chart.html"
    path.write_text(chart_page(tmp_path, LineChart([Line("train", x, y)], "t", "epoch", title, [1.5])), encoding="utf-8")
    browser.open(path, width=width)
    assert browser.evaluate(OUTSIDE) == [1, []]


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("factor", [1, 1_000_000])
def test_the_charts_of_a_search_stay_inside_their_drawing(browser, tmp_path, width, factor):
    """Points on all edges: the smallest and largest file, the lowest error, and one far above it."""
    errors = {60_000: 9.5, 80_000: 7.25, 552_352: 6.125, 1_149_792: 5.0, 70_000: 5e6}
    rows = [
        {"trial": i, "state": "complete", "point": {"code": i}, "error": error * factor, "bytes": size * factor}
        | {"gzip_bytes": size, "bits": 9.0 * i, "latency_us": None, "error_increase": 0.5, "meets": True}
        for i, (size, error) in enumerate(errors.items(), 1)
    ]
    found = {
        "limits": {"bytes": 2_000_000 * factor, "error_increase": 0.5, "latency_us": None, "bits": None},
        "size": "file",
        "reference": {"error": 8.0 * factor, "bytes": 900_000, "latency_us": None},
        "chosen": "point-104",
        "front": [row | {"name": f"point-{100 + row['trial']}"} for row in rows[:4]],
        "trials": rows,
        "others": {"points": [{"coder": "pca", "bits": 20.0, "error": 8.0 * factor, "setting": "x"}], "skipped": []},
    }
    path = tmp_path / "front.html"
    path.write_text(render_front(found, "a search", ".tflite"), encoding="utf-8")
    browser.open(path, width=width)
    assert browser.evaluate(OUTSIDE) == [2, []]
    assert {key: value for key, value in browser.evaluate(LOOK).items() if key in STUMBLES and value} == {}


@pytest.mark.parametrize(("width", "scheme", "media"), VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("shape", [(64,), (64, 8)], ids=str)
def test_waveforms_stay_inside_their_drawing(browser, tmp_path, make_parts, shape, width, scheme, media):
    """One channel, and eight, of which two are in a fold, with long names and labels."""
    manifest, metrics, golden, *rest = make_parts(shape, "float32", "minmax")
    names = [f"accelerometer-{i}" for i in range(shape[1])] if shape[1:] else []
    signal = {"rate": 25_600.0, "unit_of_measure": "m/s²", "channel_names": names}
    manifest["data"] |= {"kind": "record", "signal": signal}
    golden["x"] *= 1.3e9
    path = tmp_path / "record.html"
    path.write_text(render_report(manifest, metrics, golden, *rest), encoding="utf-8")
    browser.open(path, width=width, scheme=scheme, media=media)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    count, outside = browser.evaluate(OUTSIDE)
    assert count >= 2 * 12 + 3 and outside == []
    assert {key: value for key, value in browser.evaluate(LOOK).items() if key in STUMBLES and value} == {}


def test_labels_of_a_report_stay_inside_on_a_phone(browser, reports):
    browser.open(reports["curves"], width=320)
    count, found = browser.evaluate(OUTSIDE)
    assert count >= 1 and found == []


def test_a_label_outside_is_seen(browser, tmp_path):
    drawn = chart_page(tmp_path, LineChart([Line("train", [1, 2], [1.0, 2.0])], "t", "epoch", "loss"))
    (tmp_path / "chart.html").write_text(drawn.replace('x="-8"', 'x="-90"', 1), encoding="utf-8")
    browser.open(tmp_path / "chart.html", width=360)
    assert len(browser.evaluate(OUTSIDE)[1]) == 1


@pytest.mark.parametrize("kind", ["curves", "pictures"])
def test_it_prints_on_a_few_pages(browser, reports, kind):
    browser.open(reports[kind], width=1280)
    pages = re.findall(rb"/Type\s*/Page\b", browser.pdf())
    assert 3 <= len(pages) <= 24


def test_the_check_sees_what_is_wrong(browser, tmp_path):
    """A page with one fault of each kind: none goes unnoticed."""
    path = tmp_path / "wrong.html"
    path.write_text(
        "<main><nav><a href='#nowhere'>x</a></nav><section><img src='data:image/png;base64,AAAA'><svg></svg>"
        "<p style='color: #999; background: #fff'>faint</p><div style='width: 3000px'>wide</div>"
        "<div class='wide' style='overflow-x: auto; width: 50px'><b>wordthatislongerthanthat</b></div></section></main>"
        "<script>undefined.name</script>",
        encoding="utf-8",
    )
    browser.open(path, width=360)
    found = browser.evaluate(LOOK)
    assert [key for key in STUMBLES if not found[key]] == [] and found["overflow"] > 0
    assert any(event.get("method") == "Runtime.exceptionThrown" for event in browser.events)
