"""`[export] decoder = "view"`: a whole run whose formats give one `y`, and what is made of its bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Kind, read_metrics
from tiedae.cli import main
from tiedae.codec.opening import load

from ..without_openvino import without_openvino

EXPORT = '[export]\nstock = false\ntargets = ["tflite", "onnx", "c"]\ndecoder = "view"\n'
TASKS = {
    "compression": "",
    "anomaly": '[task]\nkind = "anomaly"\nscore = "standardized"\n',
    "batch normalization": "",
}


@pytest.fixture(scope="module", params=TASKS)
def run(request: pytest.FixtureRequest, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run of the task, per unit for anomalies."""
    text = recipe_file.read_text(encoding="utf-8")
    if request.param == "anomaly":
        text = text.replace("samples = 64", 'samples = 64\ngranularity = "unit"').replace("[data]", "[data]\nvalidation = 0.4")
    if request.param == "batch normalization":
        text = text.replace('"relu"}, {units = 4}', '"relu", batch_norm = true}, {units = 4, batch_norm = true}')
        text = text.replace("samples = 64", 'samples = 64\ngranularity = "unit"')
    recipe = recipe_file.with_name(f"{request.param}.toml")
    recipe.write_text(text + EXPORT + TASKS[request.param], encoding="utf-8")
    out = tmp_path_factory.mktemp("view") / "out"
    with without_openvino():
        assert main(["run", str(recipe), "--out", str(out), "-q"]) == 0
    return out


@pytest.mark.ci
def test_a_run_by_view_has_one_y(run: Path) -> None:
    bundle, metrics = Bundle.open(run / "bundle"), read_metrics(run / "bundle" / "metrics.json")
    assert {name.partition(".")[0] for name in bundle.golden()} >= {"x", "code", "y"}
    assert not [name for name in bundle.golden() if name in ("y.tflite", "y.c")]
    assert all(check.ok for check in metrics.checks)
    exact = ("litert-xnnpack", "ort-cpu", "c")
    outputs = [row for row in metrics.parity if row.kind in (Kind.CODES, Kind.OUTPUT, Kind.CROSSING) and row.runtime in exact]
    integers = [row for row in outputs if row.precision == "int8"]
    assert {row.runtime for row in integers} == set(exact) and all(row.differing == 0 for row in integers)
    assert {row.layout for row in metrics.errors if row.layout} == {"fused"}
    normalized = any(layer.batch_norm for layer in bundle.manifest.recipe.model.layers)
    for page in ("report.html", "MODEL_CARD.md"):
        text = (run / "bundle" / page).read_text(encoding="utf-8")
        assert "read the encoder" in text and ("a gain and a bias per channel and direction" in text) == normalized
    x = np.load(run / "bundle" / "golden" / "x.npy")
    codecs = [load(run / "bundle", runtime=each) for each in (*exact, "program")]
    decoded = [codec.decode(codec.encode(x)) for codec in codecs]
    for values in decoded[1:]:
        np.testing.assert_array_equal(values, decoded[0])


@pytest.mark.night
def test_its_bundle_is_rescaled_and_packaged(run: Path, recipe_file: Path, tmp_path: Path) -> None:
    data, out = recipe_file.with_name("samples.npy"), tmp_path / "rescaled"
    assert main(["rescale", str(run), "--data", str(data), "--factor", "1.2", "-o", str(out), "-q"]) in (0, 1)
    bundle = Bundle.open(out)
    (name,) = (each for each in bundle.models if each.endswith(".int8.tflite"))
    assert "DENSIFY" in bundle.manifest.models[name].signatures["decode"].operations
    with without_openvino():
        assert main(["verify", str(out), "-q"]) == 0
    assert main(["package", str(run / "bundle"), "--for", "c", "-o", str(tmp_path / "c"), "-q"]) == 0
