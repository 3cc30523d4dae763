"""What training and saving write lies at the path itself: the folder of a run may be a stranger's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiedae.compress import TiedAutoencoder, TrainConfig
from tiedae.compress.float_training import train_float
from tiedae.compress.train import Training
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig

from .conftest import build_splits

CONFIG = ModelConfig((LayerConfig(3),), "sigmoid", 24)


@pytest.mark.parametrize("put", [Path.symlink_to, lambda path, victim: os.link(victim, path)], ids=["link", "hard link"])
def test_a_saved_model_replaces_a_link(tmp_path: Path, put) -> None:
    (tmp_path / "victim").write_text("somebody's")
    put(tmp_path / "train.safetensors", tmp_path / "victim")
    TiedAutoencoder(CONFIG).save(tmp_path / "train.safetensors")
    assert (tmp_path / "victim").read_text() == "somebody's" and TiedAutoencoder.load(tmp_path / "train.safetensors")


def test_a_checkpoint_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").symlink_to(tmp_path / "victim")
    training = Training(TrainConfig(epochs=1), checkpoint=tmp_path / "checkpoint")
    train_float(TiedAutoencoder(CONFIG), build_splits(), training)
    assert not (tmp_path / "victim").exists() and (tmp_path / "checkpoint").is_file()
