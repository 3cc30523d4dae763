"""Files that Keras 2 and Keras 3 write, and real ones: what the reader's chain computes, and what it says is tied."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.pairs import pairs

from .conftest import DATA, HOLDERS, MODELS, Written, needs_data

VERSIONS = ("Keras 2", "Keras 3")
Models = Mapping[str, Mapping[str, Written]]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", [*MODELS, *HOLDERS])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_chain_gives_what_keras_gives(version: str, name: str, suffix: str, models: Models) -> None:
    model = models[version][name]
    chain = read_model(model.files[suffix == ".keras"])
    assert chain.format.startswith(version)
    assert chain.shape == model.x.shape[1:]
    chain.require_readable()
    assert np.abs(chain(model.x) - model.y).max() <= 1e-5 * np.abs(model.y).max()


PROVEN = {
    ("Holder", ".h5"): "tied",
    ("Holder", ".keras"): "tied",
    ("Silent", ".h5"): "tied",
    ("Silent", ".keras"): "assumed",
    ("Listed", ".h5"): "tied",
    ("Listed", ".keras"): "assumed",
    ("Hidden", ".h5"): "assumed",
    ("Hidden", ".keras"): "assumed",
    ("Copied", ".h5"): "equal copy",
    ("Copied", ".keras"): "equal copy",
    ("sequentials", ".h5"): "untied",
    ("functionals", ".keras"): "untied",
}
"""What a file proves: an .h5 repeats the names of held variables, an archive the number of a held layer that is configured."""


@pytest.mark.parametrize(("name", "suffix"), PROVEN)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_tie_is_as_proven_as_the_file_says(version: str, name: str, suffix: str, models: Models) -> None:
    found = pairs(read_model(models[version][name].files[suffix == ".keras"]))
    assert {pair.status for pair in found} == {PROVEN[name, suffix]}
    assert len(found) == (1 if name == "functionals" else 2)


REAL = {
    "ad01/ad01.h5": ("", ["untied"] * 5),
    "deep/deep_autoencoder.h5": ("", ["untied"] * 3),
    "pydl/ae.h5": ("", ["untied"]),
    "eit/autoencoder_model.keras": ("leaky_re_lu (LeakyReLU)", ["untied"] * 4),
    "tanmej/autoencoder.h5": ("", ["untied"] * 2),
    "conv1d/cnn_autoencoder.keras": ("", ["untied"]),
    "conv2d/autoencoder.keras": ("", ["untied"]),
    "spectrum/autoencoder.h5": ("", []),
    "conv3d/trained_autoencoder_test_epoch1.h5": ("conv3d_1 (Conv3D)", []),
    "vae/vae.keras": ("VAE (VAE)", ["unknown"]),
}
"""The layer that is refused first, and the status of each pair."""


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    chain = read_model(DATA / name)
    refused, statuses = REAL[name]
    titles = [layer.title for layer in chain.layers if hasattr(layer, "reason")]
    assert titles[:1] == ([refused] if refused else [])
    assert [pair.status for pair in pairs(chain)] == statuses


@needs_data
def test_the_published_score_of_a_recording() -> None:
    x = np.load(DATA / "ad01" / "windows.npy")
    assert np.square(read_model(DATA / "ad01" / "ad01.h5")(x) - x).mean() == pytest.approx(9.491290, rel=1e-5)


@needs_data
def test_an_untied_pair_may_look_alike() -> None:
    (pair,) = pairs(read_model(DATA / "pydl" / "ae.h5"))
    assert pair.text == "encoder (Dense) and decoder (Dense), 20×15: untied (cosine 0.825)"
