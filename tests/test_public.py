"""The public surface of each package is what it says, and every name loads."""

from __future__ import annotations

from importlib import import_module

import pytest

import tiedae as ta

NAMES = {
    *("Anomaly", "CheckError", "Codec", "Compression", "Dataset", "Denoising", "ExportedBundle", "Reduction"),
    *("TiedAutoencoder", "TiedAutoencoderTransformer", "TiedaeError", "assert_parity", "assert_tied", "cluster"),
    *("export_bundle", "from_keras", "load", "load_data", "prune", "quantize", "tie"),
}
"""What `import tiedae` offers."""
ORDER = ("base", "config", "data", "compress", "calibration", "program", "entropy", "export")
"""Packages, each of which imports only those before it."""


def test_tiedae_shows_its_public_names_alone() -> None:
    assert set(dir(ta)) == set(ta.__all__) == NAMES


@pytest.mark.parametrize("package", ["compress", "calibration", "export"])
def test_no_package_exports_what_stands_above_it(package: str) -> None:
    module = import_module(f"tiedae.{package}")
    homes = {name: getattr(getattr(module, name), "__module__", module.__name__) for name in module.__all__}
    below = tuple(f"tiedae.{name}" for name in ORDER[: ORDER.index(package) + 1])
    assert {name: home for name, home in homes.items() if not home.startswith(below)} == {}


@pytest.mark.parametrize("package", ["tiedae", "tiedae.compress", "tiedae.calibration", "tiedae.export"])
def test_every_public_name_loads(package: str) -> None:
    module = import_module(package)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute nonsense"):
        _ = module.nonsense
