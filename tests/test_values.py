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
    "tiedae.export.onnx.extents._MessageBytes",
    "tiedae.export.tflite.extents._TableBytes",
    "tiedae.export.tflite.flatbuffer.Flatbuffer",
    "tiedae.tasks.compression.Opponents",
}


def records_of(folder: str) -> Iterator[tuple[type, bool]]:
    """Dataclasses and structs of a folder, and whether each is frozen."""
    package = importlib.import_module(f"tiedae.{folder}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            settings = vars(each).get("__dataclass_params__") or getattr(each, "__struct_config__", None)
            if each.__module__ == module.name and settings:
                yield each, settings.frozen


@pytest.mark.parametrize("folder", FOLDERS)
def test_records_are_frozen_but_those_that_collect(folder: str) -> None:
    found = list(records_of(folder))
    open_ones = {f"{each.__module__}.{each.__qualname__}" for each, frozen in found if not frozen}
    assert found and open_ones == {name for name in COLLECTING if name.startswith(f"tiedae.{folder}.")}
