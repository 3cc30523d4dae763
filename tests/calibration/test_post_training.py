"""Post-training quantization as a whole, up to the exported files."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.calibration import Representative, calibrate, post_training, quantize_post_training
from tiedae.calibration.post_training import ALL_MARGINS_COST, MARGIN_COST, MARGINS, REFINEMENTS, MarginCosts, Reference
from tiedae.compress import QuantizeConfig, RecipeError, TiedAutoencoder, interleave
from tiedae.compress.held_out import ENOUGH
from tiedae.compress.integers import within_pairs
from tiedae.config.config import Refinement
from tiedae.dedupe.inspection import inspect_file
from tiedae.export import lower, to_onnx, to_tflite

from ..variants import every
from .conftest import model_of, trained_model

ALL = get_args(Refinement)


def quantized(
    model: TiedAutoencoder, samples: Representative, refinements: tuple[str, ...] = ALL, granularity: str = "tensor"
) -> TiedAutoencoder:
    quantize_post_training(model, samples, QuantizeConfig(method="ptq", refinements=refinements, granularity=granularity))
    return model


Quantized = Callable[..., TiedAutoencoder]


@pytest.fixture(scope="module")
def made(trained_state: dict[str, np.ndarray], samples: Representative) -> Quantized:
    """`quantized` of the trained model, once for each refinements and granularity: models that no test may change."""

    @functools.cache
    def once(refinements: tuple[str, ...], granularity: str) -> TiedAutoencoder:
        return quantized(model_of(trained_state), samples, refinements, granularity)

    return lambda refinements=ALL, granularity="tensor": once(refinements, granularity)


def error(model: TiedAutoencoder, floating: Callable[[np.ndarray], Any], x: np.ndarray) -> float:
    return float(np.square(model(x) - floating(x)).sum(1).mean())


def test_a_recipes_steps_are_those_of_the_table() -> None:
    assert tuple(itertools.chain.from_iterable(REFINEMENTS.values())) == ALL == QuantizeConfig().refinements


@pytest.mark.parametrize("refinements", [("equalise",), ("round", "round")])
def test_other_steps_are_refused(refinements: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="refinements"):
        QuantizeConfig(refinements=refinements)


@pytest.mark.parametrize("granularity", every(2, ["tensor", "unit"]))
def test_steps_before_ranges_are_better_than_none_on_unseen_samples(
    trained: Callable[[], TiedAutoencoder], made: Quantized, unseen: np.ndarray, granularity: str
) -> None:
    floating = trained()
    errors = {refinements: error(made(refinements, granularity), floating, unseen) for refinements in ((), ALL[:-1])}
    assert errors[ALL[:-1]] < 0.7 * errors[()]


def widened(plain: TiedAutoencoder, wide: TiedAutoencoder) -> list[str]:
    """The free ranges that have a margin, both ends in proportion."""
    assert plain.quantizers is not None and wide.quantizers is not None
    before, after = plain.quantizers.ranges(), wide.quantizers.ranges()
    free = [name for name in before if plain.quantizers.is_free(name) and not name.endswith(".bias")]
    return [name for name in free if any(after[name] == pytest.approx(m * np.array(before[name])) for m in MARGINS)]


def reconstruction_error(model: TiedAutoencoder, samples: Representative) -> float:
    return error(model, lambda x: x, samples.inputs)


def test_each_range_gets_the_margin_that_it_may_cost_where_few_samples_speak(made: Quantized, samples: Representative) -> None:
    plain, wide = made(()), made(("ranges",))
    assert samples.population < ENOUGH and widened(plain, wide)
    most = (1 + MARGIN_COST / len(samples.inputs)) ** len(plain.quantizers.ranges())
    assert reconstruction_error(wide, samples) <= reconstruction_error(plain, samples) * most


@pytest.mark.parametrize("cost", [ALL_MARGINS_COST, 0.02])
def test_margins_of_many_ranges_share_one_cost_where_many_samples_speak(
    trained: Callable[[], TiedAutoencoder],
    made: Quantized,
    samples: Representative,
    monkeypatch: pytest.MonkeyPatch,
    cost: float,
) -> None:
    monkeypatch.setattr(post_training, "CLIP_FRACTIONS", ())  # shrinking is judged by the float model's output
    monkeypatch.setattr(post_training, "ALL_MARGINS_COST", cost)
    few, many = (
        quantized(trained(), replace(samples, population=population), ("ranges",)) for population in (ENOUGH - 1, ENOUGH)
    )
    most = (1 + cost) * reconstruction_error(made(()), samples)
    assert reconstruction_error(many, samples) <= most < reconstruction_error(few, samples)
    assert bool(widened(made(()), many)) == (cost > ALL_MARGINS_COST)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(1e-3, 1e3))
def test_margins_never_cost_more_than_all_of_them_may(fractions: list[float], error: float) -> None:
    costs, before = MarginCosts(error, ENOUGH), np.full(4, error)
    for left, fraction in zip(range(len(fractions), 0, -1), fractions, strict=True):
        after = before + fraction * ALL_MARGINS_COST * error
        if costs.allow(before, after, ranges=left):
            costs.spent += (after - before).mean()
            before = after
    assert before.mean() - error <= ALL_MARGINS_COST * error * (1 + 1e-6)


@pytest.mark.parametrize("population", [ENOUGH - 1, ENOUGH])
def test_what_chance_explains_is_no_saving_where_many_samples_speak(population: int) -> None:
    """Of two samples one gains what the other loses: other samples may lose that."""
    before = np.ones(2)
    assert MarginCosts(1.0, population).allow(before, before, ranges=1)
    assert MarginCosts(1.0, population).allow(before, np.array([1.3, 0.7]), ranges=1) == (population < ENOUGH)


@pytest.mark.ci
def test_without_a_margin_ranges_shrink_where_that_helps(
    trained: Callable[[], TiedAutoencoder], made: Quantized, samples: Representative, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_training, "MARGIN_COST", -1e6)
    models = [made(()), quantized(trained(), samples, ("ranges",))]
    before, after = (model.quantizers.ranges() for model in models if model.quantizers)
    assert all(low <= after[name][0] and after[name][1] <= high for name, (low, high) in before.items())
    assert before != after
    plain, shrunk = (error(model, trained(), samples.inputs) for model in models)
    assert shrunk < plain


@pytest.mark.ci
def test_steps_are_judged_by_reconstructions_in_the_order_of_the_samples(samples: Representative, unseen: np.ndarray) -> None:
    """Inside an interleaved model inputs have another order; what the refinements compare with has not."""

    def errors(seed: int) -> tuple[float, float]:
        plain = trained_model(seed)
        other = interleave(plain.copy(), 4)
        wanted = other(samples.inputs)
        np.testing.assert_array_equal(Reference.of(other, samples, (127,) * 3, per_unit=False).output, wanted)
        of_plain, of_other = (error(quantized(each.copy(), samples), each, unseen) for each in (plain, other))
        return of_plain, of_other

    plain, other = np.mean([errors(seed) for seed in (1, 2, 3)], axis=0)
    assert other < 1.2 * plain


def test_none_is_plain_rounding_to_nearest(trained: Callable[[], TiedAutoencoder], made: Quantized) -> None:
    model = made(())
    for kernel, original in zip(model.kernels, trained().kernels, strict=True):
        values = original.variable.numpy()
        np.testing.assert_array_equal(kernel.variable, values)
        assert kernel.scales()[0] == np.float32(kernel.headroom * np.abs(values).max()) / np.float32(127)
        np.testing.assert_array_equal(kernel.integers(), within_pairs(np.rint(values / kernel.scales())))


@pytest.mark.parametrize("bits", every(2, [((8,),), ((4, 8, 8),)]))
def test_training_starts_from_what_ptq_gives(
    trained: Callable[[], TiedAutoencoder], samples: Representative, bits: tuple[int, ...]
) -> None:
    models = [trained(), trained()]
    for model, method in zip(models, ("qat", "ptq"), strict=True):
        quantize_post_training(model, samples, QuantizeConfig(method=method, bits=bits, granularity="unit"))
    first, second = (model.arrays() for model in models)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@pytest.mark.parametrize("granularity", every(2, ["unit", "tensor"]))
def test_twice_the_same_and_saved_as_it_is(
    trained: Callable[[], TiedAutoencoder],
    made: Quantized,
    samples: Representative,
    granularity: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second time the kernels, which are computed once for all errors of a step, are compared with the model's."""
    first, errors = made(ALL, granularity), Reference.errors

    def compared(
        reference: Reference, model: TiedAutoencoder, kernels: Sequence[Any] | None = None
    ) -> tuple[float, np.ndarray]:
        assert kernels is not None
        for tensor, kernel in zip(kernels, model.kernels, strict=True):
            np.testing.assert_array_equal(tensor, kernel())
        return errors(reference, model, kernels)

    monkeypatch.setattr(Reference, "errors", compared)
    again = quantized(trained(), samples, granularity=granularity)
    assert to_tflite(lower(first, "a", layout="split")) == to_tflite(lower(again, "a", layout="split"))
    first.save(tmp_path / "a.safetensors")
    loaded = TiedAutoencoder.load(tmp_path / "a.safetensors")
    assert to_tflite(lower(loaded, "a", layout="split")) == to_tflite(lower(first, "a", layout="split"))
    for kernel in first.kernels:
        np.testing.assert_allclose(kernel.integers() * kernel.scales(), kernel.variable, rtol=1e-6)


def test_zeros_of_a_mask_and_one_copy_in_the_files(
    trained: Callable[[], TiedAutoencoder], samples: Representative, tmp_path: Path
) -> None:
    model = trained()
    masks = [np.abs(kernel.variable.numpy()) > np.quantile(np.abs(kernel.variable), 0.3) for kernel in model.kernels]
    for kernel, mask in zip(model.kernels, masks, strict=True):
        kernel.set_mask(mask.astype(np.float32))
    quantized(model, samples)
    for kernel, mask in zip(model.kernels, masks, strict=True):
        assert not kernel.integers()[~mask].any() and kernel.integers()[mask].any()
    files = {
        tmp_path / "a.tflite": to_tflite(lower(model, "a", layout="split")),
        tmp_path / "a.onnx": to_onnx(lower(model, "a", layout="fused")),
    }
    for path, data in files.items():
        path.write_bytes(data)
        assert not inspect_file(path)["copies"]


def test_clusters_keep_their_shared_values(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    model = trained()
    values = model.kernels[1].variable.numpy()
    _, clusters = np.unique(np.rint(values / np.abs(values).max() * 3), return_inverse=True)
    model.kernels[1].set_clusters(clusters.reshape(values.shape).astype(np.uint8))
    quantized(model, samples)
    integers = model.kernels[1].integers()
    assert len(set(zip(clusters.ravel().tolist(), integers.ravel().tolist(), strict=True))) == len(np.unique(clusters))


@pytest.mark.parametrize("bits", every(2, [((8, 4, 8),), ((4,),)]))
def test_few_bits_gain_the_most(
    trained: Callable[[], TiedAutoencoder], samples: Representative, unseen: np.ndarray, bits: tuple[int, ...]
) -> None:
    def loss(refinements: tuple[str, ...]) -> float:
        model = trained()
        quantize_post_training(model, samples, QuantizeConfig(method="ptq", bits=bits, refinements=refinements))
        integers = model.kernels[1].integers()
        assert integers.max() == 7 and integers.min() >= -8
        return error(model, trained(), unseen)

    assert loss(ALL) < 0.5 * loss(())


def test_a_given_calibration_leaves_the_units_that_it_is_of(
    trained: Callable[[], TiedAutoencoder], made: Quantized, samples: Representative, unseen: np.ndarray
) -> None:
    plain, model = trained(), trained()
    plain.quantize_kernels("tensor")
    given = calibrate(plain, samples)
    config = QuantizeConfig(method="ptq", refinements=ALL[:-1])
    assert quantize_post_training(model, samples, config, calibration=given) is given
    assert error(model, trained(), unseen) < error(made(()), trained(), unseen)
