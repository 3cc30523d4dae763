"""Dead units are counted, and get weights by which they live; the reconstruction hardly changes."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.compress import dead_units as dead_units_module
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.dead_units import dead_units, revive
from tiedae.compress.optimizer import Optimizer
from tiedae.config.config import TrainConfig
from tiedae.config.layer_kinds import Conv1DConfig, LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import Dataset

from .test_float_training import CONFIG, begun_of, train_float
from .test_pca_start import correlated

DEAD = [3, 7, 8]


def killed(*layers: LayerConfig) -> tuple[TiedAutoencoder, np.ndarray]:
    """A model of which units `DEAD` of the first layer give 0 in both directions, and samples."""
    model = TiedAutoencoder(ModelConfig(layers, "linear", (20, 2) if layers[0].kind != "dense" else 40), seed=1)  # pyright: ignore
    for layer in (model.encoder.stack[0], model.decoder.stack[-2]):
        bias = layer.bias.numpy()
        bias.reshape(-1, 12)[:, DEAD] = -1e3
        layer.bias.assign(bias)
    return model, correlated(200) - 2


NETS = {
    "dense": (LayerConfig(12, "relu"), LayerConfig(10, "relu"), LayerConfig(4)),
    "convolution": (Conv1DConfig(units=12, activation="relu", kernel=5), LayerConfig(10, "relu", flatten=True), LayerConfig(4)),
}


@pytest.mark.parametrize("net", NETS)
def test_dead_units_live_again(net: str) -> None:
    model, x = killed(*NETS[net])
    optimizer = Optimizer(model, TrainConfig(), 10)
    for slot in optimizer.slots.values():
        slot.assign(np.ones(slot.shape, slot.dtype.as_numpy_dtype))
    assert {name: units.tolist() for name, units in dead_units(model, x).items()} == {"encoder_0": DEAD}
    before, first = model(x).numpy(), model.kernels[0].variable.numpy()
    assert revive(model, x, optimizer.slots) == {"encoder_0": len(DEAD)}
    assert not dead_units(model, x)
    kernel, above = model.kernels[0].variable.numpy(), model.kernels[1].variable.numpy()
    others = [int(np.flatnonzero((first == -kernel[:, [unit]]).all(axis=0))[0]) for unit in DEAD]
    assert len(set(others)) == len(DEAD) and not set(others) & set(DEAD)
    rows = above.reshape(-1, 12, above.shape[1])
    assert np.allclose(rows[:, DEAD], -0.01 * rows[:, others])
    assert np.linalg.norm(model(x).numpy() - before) < 0.05 * np.linalg.norm(before)
    assert not optimizer.slots["adam.m.kernel_0"].numpy()[:, DEAD].any() and optimizer.slots["adam.v.kernel_0"].numpy().any()
    kept = np.delete(np.arange(12), DEAD)
    assert np.array_equal(kernel[:, kept], first[:, kept])


def test_batches_find_the_same_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only the last sample activates is alive; variances, by which others are chosen, are those of all."""
    model, x = killed(*NETS["dense"])
    whole = dead_units_module._hidden(model, x)
    monkeypatch.setattr(dead_units_module, "TENSOR_VALUES", 3 * 40)
    for few, many in zip(dead_units_module._hidden(model, x), whole, strict=True):
        assert np.array_equal(few.dead, many.dead) and few.name == many.name
        np.testing.assert_allclose(few.variances, many.variances, rtol=1e-6, atol=1e-9)
    values = model.encoder.stack[0](x).numpy()
    np.testing.assert_allclose(whole[0].variances, values.var(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-9)
    only = np.concatenate([x[:-1] * 0 + x[:1], x[-1:]])
    late = (model.encoder.stack[0](only[-1:]).numpy()[0] > 0) & (model.encoder.stack[0](only[:1]).numpy()[0] <= 0)
    assert late.any() and not dead_units_module._hidden(model, only)[0].dead[late].any()


def test_training_revives_once_and_names_what_is_dead_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset.from_array(correlated(), test=0.2)
    seen = []

    def counted(model: TiedAutoencoder, x: np.ndarray, slots: dict) -> dict[str, int]:
        seen.append(len(x))
        return {"encoder_0": 2}

    monkeypatch.setattr("tiedae.compress.dead_units.revive", counted)
    model = TiedAutoencoder(ModelConfig((LayerConfig(24, "relu"), LayerConfig(6)), "linear", 40), seed=1)
    begun = begun_of(train_float(model, data, replace(CONFIG, epochs=12)))
    assert seen == [320] and begun.revived == {"encoder_0": 2} and "other weights: encoder_0 2" in begun.text
    model.encoder.stack[0].bias.assign(np.full(24, -1e3, np.float32))
    assert {name: len(units) for name, units in dead_units(model, correlated()).items()} == {"encoder_0": 24}
    train_float(model, data, replace(CONFIG, start="random", epochs=1))
    assert len(seen) == 1, "random starts train as before"
