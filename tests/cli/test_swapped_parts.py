"""Parts of another model under refreshed hashes, and figures that were edited: `verify` finds each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import FormatError
from tiedae.base.records import plain
from tiedae.bundle.bundle import TASK_FILE, Bundle, npy
from tiedae.bundle.results import Metrics, read_metrics
from tiedae.cli import main
from tiedae.cli.verification import verify
from tiedae.export.file_info import FileInfo
from tiedae.export.kinds import Kind

pytestmark = pytest.mark.ci
TABLES = ("plane.codec", "plane.residuals", "task/arrays.npz", "metrics.json")
GOLDEN = ("golden/y.npy", "golden/code.npy", "golden/program.npz")
SECTIONS = ("detector", "scores", "calibration")
TABLE = """
name = "plane"
[data]
source = "t.csv"
label = "class"
validation = 0.2
[model]
layers = [ {units = 8, activation = "relu"}, {units = 3} ]
output_activation = "linear"
[train]
epochs = EPOCHS
batch_size = 32
seed = SEED
[quantize]
method = "ptq"
[task]
kind = "anomaly"
normal = ["good"]
quantile = 0.9
[export]
stock = false
[verify]
max_quality_loss = 100.0
max_points_lost = 1.0
max_alarms_added = 100.0
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two anomaly bundles of one name and shape, `own` and `other`, that start from other seeds."""
    folder = tmp_path_factory.mktemp("swapped")
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 12)), 3 * rng.normal(size=(60, 12))
    rows = [[*map(str, row), label] for label, part in (("good", good), ("bad", bad)) for row in part]
    text = "\n".join(",".join(row) for row in [[*(f"c{i}" for i in range(12)), "class"], *rows])
    (folder / "t.csv").write_text(text, encoding="utf-8")
    for name, seed in (("own", 0), ("other", 1)):
        recipe = folder / f"{name}.toml"
        recipe.write_text(TABLE.replace("SEED", str(seed)).replace("EPOCHS", str(4 + seed)), encoding="utf-8")
        assert main(["run", str(recipe), "--out", str(folder / name), "-q"]) == 0
    return folder


@pytest.fixture
def bundle(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "own" / "bundle", tmp_path / "bundle"))


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    written = json.loads(path.read_bytes())
    change(written)
    path.write_text(json.dumps(written), encoding="utf-8")


def put(bundle: Path, name: str, data: bytes) -> None:
    """Write a file and state its hash and size anew, as who swaps it would."""
    (bundle / name).write_bytes(data)
    info = FileInfo.of(data)
    rewrite(bundle, lambda written: written["files"][name].update(sha256=info.sha256, bytes=info.bytes))


def failed(bundle: Path, **given: Any) -> list[str]:
    return [check.text for check in verify(bundle, model=None, data=given.get("data"), announce=lambda _: None).failed]


def test_a_bundle_as_it_was_written_passes(bundle: Path, runs: Path) -> None:
    found = verify(bundle, model=None, data=str(runs / "t.csv"), announce=lambda _: None)
    (figures,) = [check for check in found.checks if check.detail == "figures"]
    made = {check.file for check in found.checks if check.detail == "made for"}
    sections = {f"manifest.json: {section}" for section in SECTIONS}
    assert made == {*TABLES, *sections}
    assert not found.failed and figures.text.endswith(" figures are those measured")


@pytest.mark.parametrize("part", [*TABLES, *GOLDEN, "plane.int8.onnx", "plane.int8.tflite", *SECTIONS])
def test_swapped_tables(bundle: Path, runs: Path, part: str) -> None:
    other, named = runs / "other" / "bundle", ""
    if part in SECTIONS:
        theirs = json.loads((other / "manifest.json").read_bytes())[part]
        rewrite(bundle, lambda written: written.update({part: theirs}))
        named = f"manifest.json: {part}: was made for the program of sha256 "
    else:
        put(bundle, part, (other / part).read_bytes())
        named = "was made for " if part in TABLES else ""
    texts = failed(bundle)
    assert texts and any(named in text for text in texts)


@pytest.mark.parametrize("name", ["plane.codec", "plane.residuals"])
def test_tables_of_another_program_code_nothing(bundle: Path, runs: Path, name: str) -> None:
    put(bundle, name, (runs / "other" / "bundle" / name).read_bytes())
    opened = Bundle.open(bundle)
    with pytest.raises(FormatError, match=rf"{name}: was made for another program: its sha256 is \w+…, must be \w+…"):
        (opened.tables if name.endswith("codec") else opened.residuals)()


def test_a_part_that_names_no_program_beside_others_that_do(bundle: Path) -> None:
    rewrite(bundle, lambda written: written["scores"].pop("program"))
    assert [text for text in failed(bundle) if "manifest.json: scores: names no program that it was made for" in text]


def test_an_earlier_bundle_says_that_its_parts_name_none(small_runs: Path) -> None:
    found = verify(small_runs / "table" / "bundle", model=None, data=None, announce=lambda _: None)
    assert not [check for check in found.checks if check.detail == "made for"]
    assert [row.what for row in found.skipped if row.kind is Kind.PROGRAM] == [
        "the program that tables and figures were made for"
    ]


def test_arrays_of_an_earlier_bundle_are_read(bundle: Path) -> None:
    """Each had a file of its own; the page is drawn of them."""
    arrays = Bundle.open(bundle).task_arrays()
    (bundle / TASK_FILE).unlink()
    files = {f"task/{name}.npy": npy(values) for name, values in arrays.items()}
    for name, data in files.items():
        (bundle / name).write_bytes(data)
    infos = {name: plain(FileInfo.of(data)) for name, data in files.items()}
    rewrite(bundle, lambda written: (written["files"].pop(TASK_FILE), written["files"].update(infos)))
    found = Bundle.open(bundle).task_arrays()
    assert found.keys() == arrays.keys() and all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert main(["report", str(bundle), "-q"]) == 0


def spoil(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    written = json.loads((bundle / "metrics.json").read_bytes())
    change(written)
    put(bundle, "metrics.json", json.dumps(written).encode())


def rows_of(written: dict[str, Any], **of: str) -> list[dict[str, Any]]:
    return [row for row in written["quality"] if all(row.get(key) == value for key, value in of.items())]


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "error": (lambda m: [row.update(error=0.9 * row["error"]) for row in rows_of(m, precision="int8")], "error"),
    "float error": (lambda m: rows_of(m, stage="train")[0].update(error=1e3), "Keras float: states error 1000, measured"),
    "bytes": (lambda m: m["files"][0].update(bytes=1), "states 1 bytes, measured"),
    "area": (lambda m: [row["roc_auc"].update(value=0.5, low=0.25) for row in m["task"]["methods"]], "ROC-AUC: states"),
}


@pytest.mark.parametrize("what", EDITS)
def test_edited_figures(bundle: Path, runs: Path, what: str) -> None:
    change, named = EDITS[what]
    spoil(bundle, change)
    (text,) = failed(bundle, data=str(runs / "t.csv"))
    assert text.startswith("metrics.json: ") and named in text


def test_a_reference_is_measured_where_the_float_files_hold_it(bundle: Path, runs: Path) -> None:
    """What the bundle says of Keras float changes nothing then."""
    data = str(runs / "t.csv")

    def reference(metrics: Metrics) -> list[str]:
        return [check.text for check in metrics.checks if check.kind is Kind.QUALITY]

    honest = reference(verify(bundle, model=None, data=data, announce=lambda _: None))
    spoil(bundle, lambda written: rows_of(written, stage="train")[0].update(error=1e3))
    assert reference(verify(bundle, model=None, data=data, announce=lambda _: None)) == honest
    assert all("the float files" in text for text in honest)


def test_a_reference_that_cannot_be_measured_is_the_bundles_own_word(finished_run: Path, recipe_file: Path) -> None:
    """This run prunes: its float files hold the pruned model."""
    path = finished_run / "bundle"
    assert read_metrics(path / "metrics.json").program_sha256 == Bundle.open(path).program_sha256
    found = verify(path, model=None, data=str(recipe_file.parent / "samples.npy"), announce=lambda _: None)
    texts = [check.text for check in found.checks if check.kind is Kind.QUALITY]
    assert texts and all("against Keras float by the bundle's own word" in text for text in texts)
