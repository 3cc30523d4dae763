"""The public surface of each room is what it says, and every name loads."""

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize("room", ["tiedae.compress", "tiedae.calibration", "tiedae.export"])
def test_every_public_name_loads(room: str) -> None:
    module = import_module(room)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute nonsense"):
        _ = module.nonsense
