"""`tiedae report`: the pages of an existing bundle, rendered again from what is in it, or refused whole."""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tiedae.base.errors import FormatError
from tiedae.bundle.bundle import PAGES
from tiedae.bundle.results import Kind, Maker, Precision, read_metrics
from tiedae.report.rendering import render_bundle
from tiedae.verify.verify import verify_bundle

from ..without_openvino import without_openvino


@pytest.fixture
def bundle(finished_run, tmp_path) -> Path:
    return Path(shutil.copytree(finished_run / "bundle", tmp_path / "bundle"))


def contents(bundle: Path) -> dict[str, bytes]:
    return {str(path.relative_to(bundle)): path.read_bytes() for path in sorted(bundle.rglob("*")) if path.is_file()}


def restate(bundle: Path, name: str) -> None:
    """Let the manifest state the file as it is now."""
    manifest, data = json.loads((bundle / "manifest.json").read_bytes()), (bundle / name).read_bytes()
    manifest["files"][name] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_bundle_renders_to_the_bytes_that_the_run_wrote(bundle):
    before = contents(bundle)
    for name in PAGES:
        (bundle / name).unlink()
    assert [path.name for path in render_bundle(bundle)] == list(PAGES)
    after = contents(bundle)
    assert [name for name in before if after.get(name) != before[name]] == [], pages_differ(before, after)
    assert after.keys() == before.keys()


def pages_differ(before: dict[str, bytes], after: dict[str, bytes]) -> str:
    """The lines of the pages that differ."""
    texts = ([files[page].decode().splitlines() for page in PAGES] for files in (before, after))
    lines = (line for pair in zip(*texts, strict=True) for line in difflib.unified_diff(*pair, n=0, lineterm=""))
    return "\n".join(line[:500] for line in lines)


def test_new_metrics_come_into_the_pages_and_verify_holds(bundle):
    metrics = json.loads((bundle / "metrics.json").read_bytes())
    metrics["skipped"].append({"kind": "opens", "why": "unavailable", "what": "a gpu", "reason": "nobody brought one"})
    (bundle / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    restate(bundle, "metrics.json")
    for path in render_bundle(bundle):
        assert "nobody brought one" in path.read_text(encoding="utf-8")
    with without_openvino():
        hashes = [check for check in verify_bundle(bundle).checks if check.kind is Kind.SHA256]
    assert len(hashes) > 10 and all(check.ok for check in hashes)


DAMAGE = {
    "no manifest": ("manifest.json", None, False, "not a bundle"),
    "no metrics": ("metrics.json", None, False, "metrics.json: missing or changed"),
    "metrics changed": ("metrics.json", b"{}", False, "metrics.json: missing or changed, its sha256 is not the manifest's"),
    "metrics cut": ("metrics.json", b'{"name": ', True, "metrics.json: damaged"),
    "metrics of another kind": ("metrics.json", b"[]", True, "metrics.json: not metrics of tiedae: it has no schema"),
    "metrics not finite": ("metrics.json", b'{"name": NaN}', True, "metrics.json: damaged: not JSON (JSON is malformed"),
    "metrics empty": ("metrics.json", b"{}", True, "metrics.json: not metrics of tiedae: it has no schema"),
    "metrics without rows": ("metrics.json", b'{"schema": 2}', True, "damaged: name: is missing, must be a string"),
    "metrics of 0.1": ("metrics.json", b'{"schema": 1}', True, "metrics of schema 1, this tiedae reads schema 2"),
    "metrics of tomorrow": ("metrics.json", b'{"schema": 3}', True, "metrics of schema 3, this tiedae reads schema 2"),
    "no golden": ("golden/y.npy", None, False, "y.npy: missing or changed"),
    "golden cut": ("golden/x.npy", b"\x93NUMPY", True, "x.npy: its header is damaged"),
    "no masks": ("golden/program.npz", b"PK", True, "program.npz"),
    "no file": ("mini.int8.tflite", None, False, "mini.int8.tflite: no such file"),
    "file cut": ("mini.int8.tflite", b"TFL3", False, "mini.int8.tflite"),
}


@pytest.mark.parametrize(("name", "data", "stated", "text"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_bundle_is_refused_and_left_as_it_was(bundle, name, data, stated, text):
    if data is None:
        (bundle / name).unlink()
    else:
        (bundle / name).write_bytes(data)
    if stated:
        restate(bundle, name)
    before = contents(bundle)
    with pytest.raises(FormatError) as caught:
        render_bundle(bundle)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert contents(bundle) == before


@pytest.mark.parametrize("key", ["storage", "quality", "checks", "parity", "files"])
def test_metrics_with_rows_of_another_shape_are_refused(bundle, key):
    metrics = json.loads((bundle / "metrics.json").read_bytes())
    metrics[key] = [{"no": "such row"}]
    (bundle / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    restate(bundle, "metrics.json")
    before = contents(bundle)
    with pytest.raises(FormatError, match="damaged"):
        render_bundle(bundle)
    assert contents(bundle) == before


def test_it_runs_without_tensorflow(bundle):
    block = "import sys; sys.modules['tensorflow'] = sys.modules['tf_keras'] = None\n"
    call = f"from tiedae.__main__ import main; sys.argv = ['tiedae', 'report', {str(bundle)!r}]; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", block + call], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(bundle / "report.html"), str(bundle / "MODEL_CARD.md")]


def test_rows_of_stock_files_name_what_they_were_compared_with(finished_run):
    metrics = read_metrics(finished_run / "bundle" / "metrics.json")
    stock = {file.file for file in metrics.files if file.maker is Maker.STOCK}
    references = {(row.kind, row.precision, row.reference) for row in metrics.parity if row.file in stock}
    floats, codes = (Kind.FLOAT, Precision.F32, "keras"), (Kind.WITNESS, Precision.INT8, "litert-reference")
    assert floats in references and references <= {floats, codes}
