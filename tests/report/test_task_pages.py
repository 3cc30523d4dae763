"""Card and report of each task, in its own words; every program of the cards runs unchanged, for every target."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiedae as ta
from tiedae.bundle.bundle import Bundle
from tiedae.compress import ExportConfig
from tiedae.config.tasks import Task
from tiedae.export.targets import TARGETS
from tiedae.tasks import reduction

from ..export.c.compiled import tool
from ..tasks.test_denoising import blobs
from ..without_openvino import without_openvino

pytestmark = pytest.mark.ci
NOISE = {"kind": "gaussian", "level": 0.2}
TASKS: dict[str, Task] = {
    "compression": ta.Compression(),
    "anomaly": ta.Anomaly(quantile=0.9),
    "denoising": ta.Denoising(),
    "reduction": ta.Reduction(neighbours=3),
}
PURPOSES = {
    "compression": "encodes samples of 144 values to codes of 6 bytes",
    "anomaly": "finds anomalies among samples of 144 values",
    "denoising": "removes noise from samples of 144 values",
    "reduction": "turns samples of 144 values into codes of 6 values",
}
LEADS = {
    "compression": r"\w+ turns 144 uint8 values into a code of 6 bytes",
    "anomaly": r"\w+ flags \d+ of 60 test samples as anomalies, turns 144",
    "denoising": r"\w+ removes gaussian noise of level 0.2 with a gain of [+−].* dB, turns 144",
    "reduction": r"\w+ keeps neighbours with a trustworthiness of 0.\d+ \(PCA [01].\d+\), turns 144",
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A bundle of each task for TFLite, without UMAP, which is slow; and one of an anomaly task with C alone."""
    return made_in(tmp_path_factory.mktemp("tasks"), "tflite")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The same with all targets."""
    return made_in(tmp_path_factory.mktemp("whole"), *TARGETS)


def made_in(folder: Path, *targets: str) -> Mapping[str, Path]:
    tool("cc")
    with pytest.MonkeyPatch.context() as patch, without_openvino():
        patch.setattr(reduction, "find_spec", lambda name: None)
        return written(folder, targets)


def written(folder: Path, targets: Sequence[str]) -> Mapping[str, Path]:
    data = ta.Dataset.from_array(blobs(), test=0.2, validation=0.2)
    for noise in (None, NOISE):
        model = ta.TiedAutoencoder([12, 6], output_activation="sigmoid")
        model.fit(data, epochs=1, verbose=0, **({} if noise is None else {"noise": noise}))
        small = ta.quantize(model, data, epochs=0, verbose=0)
        for name, task in TASKS.items():
            if (name == "denoising") == (noise is not None):
                options: dict[str, Any] = {"data": data, "task": task, "export": ExportConfig(stock=False), "verbose": False}
                ta.export_bundle(small, folder / name, targets=targets, **options)
                if name == "anomaly":
                    ta.export_bundle(small, folder / "c", targets=["c"], **options)
    return {path.name: path for path in folder.iterdir()}


def card_of(bundle: Path) -> str:
    return (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")


def programs_of(bundle: Path) -> list[tuple[str, str]]:
    """(runtime, text) of each program of a card."""
    return re.findall(r"\n([^\n]*), `\w+`, from the folder of the bundle:\n\n```python\n(.*?)```", card_of(bundle), re.S)


@pytest.mark.parametrize("name", [*TASKS, "c"])
def test_every_program_of_a_card_runs(whole: Mapping[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole[name])
    x = np.load("golden/x.npy")
    detects = name in ("anomaly", "c")
    programs = programs_of(whole[name])
    assert [runtime.rpartition(" and ")[2] for runtime, _ in programs] == [
        target.package for format_, target in TARGETS.items() if name != "c" or format_ == "c"
    ]
    for (_, text), runtime in zip(programs, ("litert-xnnpack", "ort-cpu", "c")[-len(programs) :], strict=True):
        names: dict[str, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(text, "MODEL_CARD.md", "exec"), names)
        found = names.get("result", names)
        if not detects:
            codes = np.load("golden/code.npy")  # C takes one sample
            assert np.array_equal(found["code"], codes if found["code"].ndim > 1 else codes[0])
            assert "score" not in found
        else:
            np.testing.assert_allclose(found["score"], ta.load(whole[name], runtime=runtime).score(x), rtol=1e-5)
            threshold = float(re.findall(r"# anomaly: score above (\S+)", text)[0])
            near = np.isclose(found["score"], threshold, rtol=1e-4)
            assert (np.asarray(found["anomaly"]) == (found["score"] > threshold))[~near].all() and not near.all()


@pytest.mark.parametrize("name", [*TASKS])
def test_card_and_report_speak_of_their_task(bundles: Mapping[str, Path], name: str) -> None:
    card, page = card_of(bundles[name]), (bundles[name] / "report.html").read_text(encoding="utf-8")
    assert f"A tied autoencoder that {PURPOSES[name]}" in card
    assert "1 epochs" not in card + page and "Training took 1 epoch of" in card
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', page, re.S)
    assert re.match(LEADS[name], lead)
    top = page[page.index('class="lead"') : page.index("<nav>")]
    assert "scaled values" not in top and not re.search("litert|ort-|openvino", top)
    assert "root mean squared error" in top and " of 255" in top


def test_a_denoising_report_compares_with_the_clean_sample(bundles: Mapping[str, Path]) -> None:
    page = (bundles["denoising"] / "report.html").read_text(encoding="utf-8")
    arrays = Bundle.open(bundles["denoising"]).task_arrays()
    clean, noisy = (arrays[name].astype(float) for name in ("clean", "noisy"))
    assert "<h2>Reconstructions</h2>" not in page and "int8 against the clean samples" in page
    levels = len(noisy)
    psnr = 10 * np.log10(255**2 / np.square(noisy[levels // 2, 0] - clean[0]).mean())
    assert f"<figcaption>{psnr:.1f} dB<br>" in page and page.count("<figcaption>exact<br>") == len(clean)


def test_only_bundles_with_float_files_name_them(bundles: Mapping[str, Path]) -> None:
    text = "float32 files beside them"
    assert {name: text in card_of(path) for name, path in bundles.items()} == {name: name != "c" for name in bundles}
