"""Trains the archives of tests/gate on the ECG record that ships: python tests/gate/make.py, by hand, never in a test."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace
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
from tiedae.compress.archive import FORMAT, archive_path, pack_npz, unpack
from tiedae.console import Console
from tiedae.pipeline import run_recipe

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


def keep(name: str, folder: Path, stage: str) -> None:
    """Keep a stage's model as .npz: what `test_gate` looks for, and archives of earlier versions are read with it."""
    (HERE / f"{name}.npz").write_bytes(pack_npz(*unpack(archive_path(folder, stage), FORMAT)))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Console() as console:
        for name, recipe in RECIPES.items():
            out = Path(folder) / name
            run_recipe(replace(recipe, name=name), base=Path(), out=out, resume=False, force=False, console=console)
            keep(name, out / "model", "quantize")
            if name == "plain":
                keep("float", out / "model", "train")


if __name__ == "__main__":
    main()
