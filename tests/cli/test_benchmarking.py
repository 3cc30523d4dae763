"""`tiedae bench`: measured beside the run, recorded in the bundle whole or not at all, without TensorFlow."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tiedae.base.errors import DataError, FormatError
from tiedae.bundle.bench_results import Bench
from tiedae.bundle.results import Maker, Metrics, read_metrics
from tiedae.cli import main
from tiedae.cli.recording import record
from tiedae.cli.verification import bench
from tiedae.compress import InputError
from tiedae.runtimes.machine import describe_machine
from tiedae.verify.bench.benchmark import Plan
from tiedae.verify.verify import verify_bundle

QUICK = Plan(("reconstruct",), (1,), (), (1,), 0.0, (3, 3), processes=0)


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run that a test may change."""
    return shutil.copytree(finished_run, tmp_path / "mini")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def metrics_of(run: Path) -> Metrics:
    return read_metrics(run / "bundle" / "metrics.json")


def measure(run: Path, **options: Any) -> tuple[Bench, list[str]]:
    said: list[str] = []
    return bench(run / "bundle", **{"model": None, "data": None, "plan": QUICK, "announce": said.append, **options}), said


def test_the_rows_go_into_a_bundle_that_still_verifies(run: Path):
    before = metrics_of(run)
    files = digests(run / "bundle")
    measured, _ = measure(run)
    assert before.bench is None and measured.latency
    assert metrics_of(run) == replace(before, bench=measured)
    changed = {name for name, digest in digests(run / "bundle").items() if files.get(name) != digest}
    assert changed - {"MODEL_CARD.md"} == {"metrics.json", "manifest.json", "report.html"}
    assert not verify_bundle(run / "bundle").failed
    assert "tiedae int8 tflite" in (run / "bundle" / "report.html").read_text()


def test_quiet_and_quick_say_the_verdict_only(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", str(run / "bundle"), "--quick", "-q"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mini.")]
    assert lines[0].startswith("mini.int8.tflite in litert-xnnpack: ") and " times TFLiteConverter int8 tflite" in lines[0]
    bench = metrics_of(run).bench
    assert bench is not None
    ours = [row for row in bench.latency if row.maker is Maker.TIEDAE]
    assert len(lines) == len(ours) and {row.signature for row in ours} == {"reconstruct"} and not bench.memory
    for row, line in zip(ours, lines, strict=True):
        assert row.ratio and f"{row.median_us:.1f} µs for reconstruct at batch 1, {row.ratio.value:.3f} [" in line


def test_a_second_measurement_replaces_the_first(run: Path):
    for versions in ({"a": "1"}, {"a": "2"}):
        nothing = Bench((), (), (), (), describe_machine(), versions, ())
        record(run / "bundle", nothing)
        assert metrics_of(run).bench == nothing


def test_a_damaged_bundle_is_measured_but_stays_as_it_is(run: Path):
    page = run / "bundle" / "report.html"
    page.write_text("changed")
    before = digests(run / "bundle")
    measured, said = measure(run)
    assert measured.latency and digests(run / "bundle") == before
    assert f"not recorded in the bundle: {page}: missing or changed, its sha256 is not the manifest's" in said


@pytest.mark.parametrize(("key", "value"), [("model", {}), ("files", {"a.onnx": {}}), ("operations", {"split": 0})])
def test_a_damaged_manifest_is_one_line(run: Path, key: str, value: Any):
    path = run / "bundle" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(FormatError, match="damaged: "):
        measure(run)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"model": Path("nowhere")}, InputError, "nowhere: holds no model"),
        ({"data": "fashion"}, DataError, "fashion: has 784 values per sample, must be 24"),
    ],
    ids=["model", "data"],
)
def test_what_does_not_fit_is_refused_before_anything_is_measured(run: Path, options, error, text):
    before = digests(run / "bundle")
    with pytest.raises(error, match=text):
        measure(run, **options)
    assert digests(run / "bundle") == before


def test_a_model_of_other_widths_is_refused(run: Path, tmp_path: Path):
    from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder

    TiedAutoencoder(ModelConfig((LayerConfig(3),), inputs=9)).save(tmp_path / "train.safetensors")
    with pytest.raises(InputError, match=r"a model of widths \[9, 3\], must be \[24, 12, 4\]"):
        measure(run, model=tmp_path)


REPLACING = """
import signal, sys
from pathlib import Path
from tiedae.cli.recording import record
from tiedae.runtimes.machine import describe_machine
from tiedae.bundle.bench_results import Bench
replace = Path.replace
def interrupted(self, target):
    if self.parent.name.startswith(".bench.") and target.parent.name == "bundle":
        signal.raise_signal(signal.SIGINT)
    return replace(self, target)
Path.replace = interrupted
record(Path(sys.argv[1]), Bench((), (), (), (), describe_machine(), {}, ()))
"""


def test_ctrl_c_while_files_are_replaced_waits_until_all_are(run: Path):
    done = subprocess.run([sys.executable, "-c", REPLACING, str(run / "bundle")], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert metrics_of(run).bench is not None
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    found = digests(run / "bundle")
    assert {name: found[name] for name in manifest["files"]} == {n: each["sha256"] for n, each in manifest["files"].items()}
    assert not list((run / "bundle").glob(".*"))


INTERRUPTED = """
import sys
sys.modules |= dict.fromkeys(("tensorflow", "tf_keras", "keras"))
from tiedae.cli import main
sys.exit(main(["bench", sys.argv[1]]))
"""


@pytest.mark.ci
def test_ctrl_c_ends_the_command_and_leaves_the_bundle_whole(run: Path):
    """Without TensorFlow, too: its import is blocked."""
    before = digests(run / "bundle")
    command = [sys.executable, "-c", INTERRUPTED, str(run / "bundle")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = (line for line in process.stderr if line.startswith("latency: "))
        next(lines)  # behind it numpy.random is imported, whose Cython modules lose a KeyboardInterrupt
        line = next(lines)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert line.startswith("latency: reconstruct, batch 32, 1 thread")
    assert (process.returncode, out) == (130, "") and err.splitlines()[-1] == "tiedae: interrupted"
    assert digests(run / "bundle") == before
