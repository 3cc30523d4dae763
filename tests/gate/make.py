"""Trains the archives of tests/gate on the ECG record that ships: python tests/gate/make.py, by hand, never in a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from tiedae.base.archive import SUFFIX
from tiedae.compress import (
    ClusterConfig,
    DataConfig,
    ExportConfig,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
    TrainConfig,
)
from tiedae.pipeline.runs import run_recipe
from tiedae.report.console import Console

HERE = Path(__file__).parent
LAYERS = (LayerConfig(48, "relu"), LayerConfig(8))
PLAIN = Recipe(
    "plain",
    DataConfig("ecg"),
    ModelConfig(LAYERS, "linear"),
    TrainConfig(epochs=5),
    quantize=QuantizeConfig(epochs=2, samples=64),
    export=ExportConfig(("tflite",)),
)
RECIPES: Mapping[str, Recipe] = {
    "plain": PLAIN,
    "ptq": replace(PLAIN, quantize=replace(PLAIN.quantize, method="ptq")),
    "bits4": replace(PLAIN, quantize=replace(PLAIN.quantize, bits=(4,))),
    "unit": replace(PLAIN, quantize=replace(PLAIN.quantize, granularity="unit")),
    "nm24": replace(
        PLAIN,
        model=ModelConfig((LayerConfig(32, "relu"), LayerConfig(8)), "linear", interleave=4),
        prune=PruneConfig(pattern="2:4", epochs=3),
    ),
    "clusters": replace(PLAIN, cluster=ClusterConfig(16, epochs=2)),
    "code4": replace(PLAIN, quantize=replace(PLAIN.quantize, code_bits=4)),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Console() as console:
        for name, recipe in RECIPES.items():
            out = Path(folder) / name
            run_recipe(replace(recipe, name=name), base=Path(), out=out, resume=False, force=False, console=console)
            shutil.copy(out / "model" / f"quantize{SUFFIX}", HERE / f"{name}{SUFFIX}")
            if name == "plain":
                shutil.copy(out / "model" / f"train{SUFFIX}", HERE / f"float{SUFFIX}")


if __name__ == "__main__":
    main()
