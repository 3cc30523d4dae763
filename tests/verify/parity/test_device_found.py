"""The device of this machine is what was found on it, and the module that looks needs no model."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from tiedae.verify.parity import keras_device
from tiedae.verify.parity.keras_device import choose, look_around


def test_a_product_runs_on_the_device_that_is_chosen() -> None:
    """A machine where it does not is named by `settle`; here it does."""
    assert keras_device.keras_device() == choose(look_around())


@pytest.mark.parametrize("found", ["/dev/nvidia0", "/dev/dxg", "nvidia-smi", ""])
def test_a_driver_is_seen_by_its_device_or_by_its_tool(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == found)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == found else None)
    assert look_around().driver is bool(found)


def test_the_module_is_imported_without_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of what compares files, on machines without TensorFlow."""
    for name in ("tiedae.compress.autoencoder", "tiedae.compress.tying", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "tiedae.verify.parity.keras_device")
    assert "choose" in runpy.run_module("tiedae.verify.parity.keras_device", run_name="__main__")
