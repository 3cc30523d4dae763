"""A gate by `verify --data --baseline`: the table of benchmarks/jobs_gate.py in small, on data that ship with the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec import structs

from tiedae.compress import ExportConfig, QuantizeConfig
from tiedae.config.tasks import Anomaly
from tiedae.export.kinds import Kind

from ..variants import every


@pytest.fixture(scope="module")
def gate(benchmark_module: Callable[[str], ModuleType]) -> Iterator[Any]:
    """The module of the benchmark, with the runtimes of `tiedae[cpu]`."""
    module = benchmark_module("jobs_gate")
    with module.runtimes_of_cpu():
        yield module


@pytest.fixture(scope="module")
def table(gate: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A job on the record 208 as a table, an alarm on one row in ten."""
    recipe = structs.replace(
        gate.RECIPES["table"], task=Anomaly(0.9), quantize=QuantizeConfig(method="ptq", refinements=(), samples=64)
    )
    recipe = structs.replace(recipe, train=structs.replace(recipe.train, epochs=8))
    return gate.Job("table", tmp_path_factory.mktemp("gate"), recipe)


def lowered(thresholds: Any) -> Any:
    return structs.replace(thresholds, split=thresholds.split // 8)


def cases(gate: Any) -> dict[str, tuple[Any, str]]:
    """What is written, and a part of the failure that must be among those of the comparison."""
    few = QuantizeConfig(method="ptq", refinements=(), samples=64, bits=(3,))
    return {
        "a column lost": (gate.changed(kernel_0=gate.zeroed(rows=7)), "quality table.int8.onnx ort-cpu"),
        "constant output": (gate.changed(encoder_0__bias=gate.shifted(50.0)), "quality table.int8.tflite litert-xnnpack"),
        "few bits": (gate.keyed(quantize=few), "quality table.int8.onnx ort-cpu"),
        "a target dropped": (gate.keyed(export=ExportConfig(targets=("onnx",))), "bytes table.int8.tflite"),
        "a threshold": (gate.thresholds(lowered), "task table.int8.tflite litert-xnnpack alarm rate"),
        "a quantile": (gate.keyed(task=Anomaly(0.8)), "task anomaly"),
    }


NAMES = ("a column lost", "constant output", "few bits", "a target dropped", "a threshold", "a quantile")


@pytest.mark.parametrize("name", every(3, NAMES))
def test_a_bundle_that_was_made_worse_fails(gate: Any, table: Any, name: str, tmp_path: Path) -> None:
    write, text = cases(gate)[name]
    write(table, tmp_path / "bundle")
    failed = table.verify(tmp_path / "bundle", baseline=table.baseline).failed
    assert {check.kind for check in failed} <= {Kind.BASELINE, Kind.TASK}, "every other check holds"
    assert any(text in check.text for check in failed if check.kind is Kind.BASELINE), [check.text for check in failed]


def test_the_same_model_exported_again_passes_and_a_call_without_data_does_not(gate: Any, table: Any, tmp_path: Path) -> None:
    gate.again(table, tmp_path / "bundle")
    exact = table.verify(tmp_path / "bundle", baseline=table.baseline, allow=0)
    assert not exact.failed and exact.baseline.uncompared == ()
    (failed,) = table.verify(tmp_path / "bundle", baseline=table.baseline, data=None).failed
    assert failed.detail == "unmeasured" and failed.text.startswith("not measured now: quality and the figures of the task")
    allowed = table.verify(tmp_path / "bundle", baseline=table.baseline, data=None, allow_unmeasured=True)
    assert not allowed.failed and len(allowed.baseline.uncompared) == 2


@pytest.mark.night
def test_a_runtime_fewer_needs_allow_unmeasured(gate: Any, table: Any) -> None:
    (failed,) = gate.verify_without("onnxruntime", table, table.bundle, allow_unmeasured=False).failed
    allowed = gate.verify_without("onnxruntime", table, table.bundle, allow_unmeasured=True)
    assert "runtime ort-cpu (onnxruntime is not installed" in failed.text
    assert not allowed.failed and allowed.task_runtime == "litert-xnnpack"
