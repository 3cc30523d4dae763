"""The recipes to start from, as they ship: each run passes its own checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiedae.cli import main


@pytest.mark.night
@pytest.mark.parametrize("kind", ["record", "ecg-conv", "table", "anomaly", "ecg-anomaly", "reduction"])
def test_a_run_of_a_recipe_to_start_from_passes_its_checks(kind: str, tmp_path: Path) -> None:
    """Images and denoising take longer: `tiedae demo` and benchmarks/tasks.py run them."""
    recipe = tmp_path / f"{kind}.toml"
    assert main(["recipe", "--for", kind, "--out", str(recipe), "-q"]) == 0
    assert main(["run", str(recipe), "--out", str(tmp_path / "run"), "-q"]) == 0
