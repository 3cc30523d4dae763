"""Records are values: nothing changes a field after construction, but in the few that collect."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

FOLDERS = ("program", "entropy", "codec", "verify", "tasks", "export")
COLLECTING = {
    "tiedae.verify.findings.Findings",
    "tiedae.verify.bench.subjects.Cast",
    "tiedae.export.onnx.tensors.TensorData",
    "tiedae.export.c.builder.CBuilder",
    "tiedae.export.tflite.flatbuffer.Flatbuffer",
}


def dataclasses_of(folder: str) -> Iterator[type]:
    package = importlib.import_module(f"tiedae.{folder}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if each.__module__ == module.name and "__dataclass_params__" in vars(each):
                yield each


@pytest.mark.parametrize("folder", FOLDERS)
def test_dataclasses_are_frozen_but_those_that_collect(folder: str) -> None:
    found = list(dataclasses_of(folder))
    open_ones = {f"{each.__module__}.{each.__qualname__}" for each in found if not each.__dataclass_params__.frozen}
    assert found and open_ones == {name for name in COLLECTING if name.startswith(f"tiedae.{folder}.")}
