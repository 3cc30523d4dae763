"""`tiedae verify` for other people's CI: its options, what it writes, its exit codes, and the documentation of all that."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tiedae.base.errors import RecipeError
from tiedae.bundle.results import Source, read_metrics, to_json
from tiedae.bundle.task_results import CompressionResult
from tiedae.cli import entry as cli
from tiedae.cli.verification import parse_limits, verify
from tiedae.compress import VerifyConfig
from tiedae.export.kinds import Kind, Why

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "github-actions.yml").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")


def call(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def bundle(finished_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run / "bundle", tmp_path / "bundle")


def test_tolerances_replace_those_of_the_recipe_the_last_one_of_a_key() -> None:
    stated = VerifyConfig(max_quality_loss=0.5, codes_max_lsb=3)
    found = parse_limits(["max_quality_loss=0.02", "operation_max_lsb=4", "max_quality_loss=0.03"], stated)
    assert found == VerifyConfig(max_quality_loss=0.03, codes_max_lsb=3, operation_max_lsb=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_quality_loss", "--limit: got 'max_quality_loss', must be KEY=VALUE, such as max_quality_loss=0.02"),
        ("max_loss=1", "--limit max_loss: unknown key; did you mean max_quality_loss?"),
        ("max_quality_loss=much", "--limit max_quality_loss: got 'much', must be a finite number"),
        ("max_quality_loss=inf", "--limit max_quality_loss: got 'inf', must be a finite number"),
        ("codes_max_lsb=1.5", "--limit codes_max_lsb: got '1.5', must be an integer"),
        ("codes_max_lsb=", "--limit codes_max_lsb: got '', must be an integer"),
        ("codes_equal_share=2", "--limit codes_equal_share: got '2', must be a number in [0, 1]"),
    ],
)
def test_a_wrong_tolerance_is_one_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_limits([text], VerifyConfig())
    assert str(caught.value).startswith(message)


def test_tolerances_and_wrong_ones_reach_the_checks(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = finished_run / "bundle"
    assert call("verify", bundle, "-q", "--limit", "float_max_abs=1e-12") == 1
    assert "checks failed: " in capsys.readouterr().err
    assert call("verify", bundle, "--limit", "speed=1") == 2
    assert capsys.readouterr().err.startswith("tiedae: --limit speed: unknown key")


def test_every_form_is_written_even_where_checks_fail(bundle: Path, tmp_path: Path) -> None:
    (bundle / "report.html").unlink()
    outcomes = {"json": tmp_path / "m.json", "junit": tmp_path / "v.xml", "markdown": tmp_path / "new" / "s.md"}
    assert call("verify", bundle, "-q", *(part for kind, path in outcomes.items() for part in (f"--{kind}", path))) == 1
    failed = [check.text for check in read_metrics(outcomes["json"]).failed]
    assert failed == ["report.html is missing"]
    (failure,) = ElementTree.parse(outcomes["junit"]).getroot().iter("failure")
    assert failure.attrib["message"] == failed[0]
    assert "checks failed" in outcomes["markdown"].read_text(encoding="utf-8").splitlines()[0]


def worsen(path: Path, out: Path, **changes: Any) -> Path:
    """A baseline that was better: smaller files, or of another name or schema."""
    metrics = json.loads(path.read_text(encoding="utf-8"))
    shrink = changes.pop("shrink", 1)
    for row in metrics["files"]:
        row["bytes"] = int(row["bytes"] * shrink)
    out.write_text(json.dumps(metrics | changes), encoding="utf-8")
    return out


@pytest.mark.ci
def test_a_baseline_is_the_bundle_s_own_metrics_or_earlier_ones(
    finished_run: Path, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = finished_run / "bundle"
    now, data = tmp_path / "now.json", ("--data", recipe_file.parent / "samples.npy")
    assert call("verify", bundle, "-q", *data, "--baseline", bundle / "metrics.json", "--json", now) == 0
    metrics = read_metrics(now)
    assert metrics.baseline and metrics.baseline.compared > 20 and metrics.baseline.improved == ()
    assert metrics.baseline.uncompared == (), "the bundle keeps the float model's error on the same samples"
    own, again = (
        [check for check in each.checks if check.kind is Kind.QUALITY]
        for each in (read_metrics(bundle / "metrics.json"), metrics)
    )
    measured = [(check.file, check.runtime, check.value, check.ok) for check in own]
    assert measured == [(check.file, check.runtime, check.value, check.ok) for check in again]
    assert {check.limit for check in own} == {"<= 20 beyond noise"}, "the recipe's"
    assert {check.limit for check in again} == {"<= 0.05 beyond noise"}, "which do not loosen a verification"
    names = {check.name for check in metrics.checks}
    expected = {"bytes mini.int8.tflite", "parity mini.int8.onnx ort-cpu", "task compression", "checks", "unmeasured"}
    assert {f"baseline {name}" for name in expected} <= names
    assert call("verify", bundle, "-q", *data, "--baseline", now, "--allow", 0) == 0
    capsys.readouterr()
    better = worsen(now, tmp_path / "better.json", shrink=0.9)
    assert call("verify", bundle, "-q", *data, "--baseline", better) == 1
    error = capsys.readouterr().err
    assert re.search(r"8 of \d+ checks failed: bytes mini\S+: [\d,]+ bytes, in the baseline [\d,]+ bytes", error)
    assert call("verify", bundle, "-q", *data, "--baseline", better, "--allow", 0.2) == 0


def test_a_task_is_measured_through_the_files_as_the_run_measured_it(finished_run: Path, recipe_file: Path) -> None:
    bundle, lines = finished_run / "bundle", []
    arguments: dict[str, Any] = {"model": None, "data": str(recipe_file.parent / "samples.npy"), "announce": lines.append}
    metrics, stated = verify(bundle, **arguments), read_metrics(bundle / "metrics.json")
    assert isinstance(metrics.task, CompressionResult) and isinstance(stated.task, CompressionResult)
    assert metrics.task_runtime == stated.task_runtime == "ort-cpu" and "task, through the files" in lines
    assert metrics.task.points == stated.task.points[:1], "other coders are not measured again"


@pytest.mark.ci
def test_a_call_that_cannot_measure_the_baseline_s_quality_fails(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = {"junit": tmp_path / "v.xml", "markdown": tmp_path / "s.md"}
    baseline = finished_run / "bundle" / "metrics.json"
    options = [part for kind, path in outcomes.items() for part in (f"--{kind}", path)]
    command = ("verify", finished_run / "bundle", "-q", "--baseline", baseline, *options)
    what = "quality and the figures of the task (no test samples given; the golden vectors serve parity only)"
    assert call(*command) == 1
    failed = f"1 of {checks_of(outcomes)} checks failed: not measured now: {what}; --allow-unmeasured accepts that"
    assert failed in capsys.readouterr().err
    assert call(*command, "--allow-unmeasured", "--force") == 0
    said = f"mini: all {checks_of(outcomes)} checks hold; not compared with {baseline}: {what}"
    assert ElementTree.parse(outcomes["junit"]).getroot().attrib["name"] == f"tiedae verify {said}"
    first = outcomes["markdown"].read_text(encoding="utf-8").splitlines()[0]
    assert first.replace("\\", "") == f"## ⚠️ {said}", "amber: every check holds, and PCA is better"


def checks_of(outcomes: dict[str, Path]) -> int:
    return int(ElementTree.parse(outcomes["junit"]).getroot().attrib["tests"])


@pytest.mark.ci
def test_a_baseline_with_quality_holds_the_error_on_the_same_samples(
    finished_run: Path, recipe_file: Path, tmp_path: Path
) -> None:
    bundle, data = finished_run / "bundle", str(recipe_file.parent / "samples.npy")
    stated = read_metrics(bundle / "metrics.json")
    stated = replace(stated, quality=tuple(replace(row, error=0.9 * row.error) for row in stated.quality))
    better = tmp_path / "better.json"
    better.write_text(to_json(stated), encoding="utf-8")
    arguments: dict[str, Any] = {"model": None, "data": data, "announce": lambda _text: None}
    metrics = verify(bundle, baseline=better, **arguments)
    failed = [check.name for check in metrics.failed]
    assert "baseline quality mini.int8.tflite litert-xnnpack" in failed
    assert all(name.startswith("baseline quality ") for name in failed)
    better.write_text(to_json(replace(stated, samples=Source("others", "0"))), encoding="utf-8")
    (failed,) = verify(bundle, baseline=better, **arguments).failed
    assert "in the baseline on other samples (others)" in failed.text
    assert not verify(bundle, baseline=better, allow_unmeasured=True, **arguments).failed


def test_a_bundle_does_not_loosen_its_own_limits(
    small_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small_runs / "table")
    manifest = json.loads(Path("bundle/manifest.json").read_text())
    manifest["recipe"].setdefault("verify", {}).update(max_quality_loss=0.05, codes_equal_share=0.0, float_max_abs=1e-9)
    Path("bundle/manifest.json").write_text(json.dumps(manifest))
    assert call("verify", "bundle", "--limit", "float_max_abs=1e-5") == 0
    said = capsys.readouterr()
    assert "codes_equal_share" not in said.out
    assert "limits are looser and are not applied: codes_equal_share 0 (default 1); --bundle-limits applies them" in said.err
    assert call("verify", "bundle", "--bundle-limits", "--limit", "float_max_abs=1e-5") == 0
    assert "checks hold; limits that are not the defaults: codes_equal_share 0 (default 1)" in capsys.readouterr().out
    assert call("verify", "bundle", "-q") == 1, "a stricter limit counts"


@pytest.mark.parametrize(
    ("changes", "allow", "message"),
    [
        ({"name": "other"}, 0.01, "better.json: the baseline is of other 24-12-4, this bundle is mini 24-12-4"),
        (
            {"model": {"widths": [23, 12, 4]}},
            0.01,
            "better.json: the baseline is of mini 23-12-4, this bundle is mini 24-12-4",
        ),
        ({"schema": 7}, 0.01, "better.json: metrics of schema 7, this tiedae reads schema 2"),
        ({"checks": 3}, 0.01, "better.json: damaged: "),
        ({}, -1, "tiedae: allow: got -1, must be a fraction of 0 or more, such as 0.01"),
        (None, 0.01, "better.json: no such file, must be metrics of a verification"),
    ],
)
def test_a_wrong_baseline_is_a_wrong_call(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: Any, allow: float, message: str
) -> None:
    bundle, path = finished_run / "bundle", tmp_path / "better.json"
    if changes is not None:
        worsen(bundle / "metrics.json", path, **changes)
    assert call("verify", bundle, "--baseline", path, "--allow", allow, "--json", tmp_path / "now.json") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tiedae: ")]
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "now.json").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 3),
        ("recipe", []),
        ("recipe", {"speed": 1}),
        ("model", None),
        ("model", {}),
        ("data", {}),
        ("files", {"a.onnx": {}}),
        ("operations", []),
        ("seed", float("nan")),
    ],
)
def test_a_damaged_manifest_is_one_line(bundle: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    assert call("verify", bundle, "--baseline", bundle / "metrics.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tiedae: {bundle}") and "damaged: " in line


def test_a_missing_runtime_fails_unless_it_is_allowed_however_its_reason_reads(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_metrics(bundle / "metrics.json")
    checks = tuple(replace(check, runtime="ort-node") for check in before.checks if check.runtime == "ort-cpu")
    parity = tuple(replace(row, runtime="ort-node") for row in before.parity if row.runtime == "ort-cpu")
    assert checks and parity
    before = replace(before, checks=before.checks + checks, parity=before.parity + parity)
    (tmp_path / "before.json").write_text(to_json(before), encoding="utf-8")
    (tmp_path / "node").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TIEDAE_NODE_MODULES", str(tmp_path))
    out = tmp_path / "now.json"
    command = ("verify", bundle, "-q", "--baseline", tmp_path / "before.json", "--json", out)
    assert call(*command) == 1
    assert "runtime ort-node (" in capsys.readouterr().err
    assert call(*command, "--allow-unmeasured", "--force") == 0, capsys.readouterr().err
    (row,) = [row for row in read_metrics(out).skipped if row.kind is Kind.BASELINE and row.what == "baseline runtime ort-node"]
    assert row.why is Why.NOT_COMPARABLE and "TIEDAE_NODE_MODULES names" in row.reason


@pytest.mark.ci
def test_all_of_it_needs_no_tensorflow(finished_run: Path, recipe_file: Path, tmp_path: Path) -> None:
    bundle = finished_run / "bundle"
    outcomes = [part for kind in ("json", "junit", "markdown") for part in (f"--{kind}", str(tmp_path / kind))]
    command = ["verify", str(bundle), "-q", "--baseline", str(bundle / "metrics.json"), "--limit", "codes_max_lsb=2"]
    command += ["--data", str(recipe_file.parent / "samples.npy")]
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tensorflow', 'tf_keras', 'keras'): raise ImportError(name + ' is blocked')\n"
        "sys.meta_path.insert(0, Block())\n"
        "from tiedae.cli import main\n"
        f"sys.exit(main({[*command, *outcomes]!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / kind).stat().st_size for kind in ("json", "junit", "markdown"))


def commands_of(text: str) -> list[str]:
    """The calls of `tiedae` in a text, continued lines joined."""
    return re.findall(r"^ *(?:run: |\$ )?(tiedae .+)$", re.sub(r" *\\\n *", " ", text), re.MULTILINE)


@pytest.mark.parametrize("command", [*commands_of(EXAMPLE), *commands_of(GUIDE)])
def test_the_commands_of_the_example_and_the_guide_parse(command: str) -> None:
    arguments = cli.command_parser().parse_args(shlex.split(command)[1:])
    assert callable(arguments.command.run)
    if command.startswith("tiedae verify"):
        parse_limits(arguments.limit, VerifyConfig())


def test_the_example_uses_what_the_guide_tells() -> None:
    (copies, verification) = commands_of(EXAMPLE)
    assert "--fail-on-copies" in copies
    for option in ("--json", "--junit", "--markdown", "--limit", "--baseline", "--allow", "--force"):
        assert option in verification and f"`{option}" in GUIDE


def test_the_workflows_are_yaml() -> None:
    yaml = pytest.importorskip("yaml", reason="no YAML library is installed")
    example = yaml.safe_load(EXAMPLE)
    steps = example["jobs"]["verify"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    for name in ("ci", "nightly"):
        own = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
        assert [step["run"] for step in own["jobs"]["test"]["steps"] if "run" in step] == [".ci/run"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert f"- id: {hook['id']}" in GUIDE


@pytest.mark.ci
@pytest.mark.parametrize("index", range(2))
def test_the_tests_of_the_guide_pass(finished_run: Path, tmp_path: Path, index: int) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "test_models.py").write_text(blocks[index].replace("clothes", "mini"), encoding="utf-8")
    shutil.copytree(finished_run / "bundle", tmp_path / "models" / "mini")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_models.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{(1, 5)[index]} passed" in done.stdout, done.stdout + done.stderr
