"""Weight clustering: few values, each trained as one, kept by masks, quantization-aware training and archives."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    ClusterConfig,
    DataConfig,
    DataError,
    FormatError,
    InputError,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
    RecipeError,
    TiedAutoencoder,
    TiedKernel,
    TrainConfig,
    Training,
    cluster,
    prune,
    train_quantized,
)
from tiedae.compress.clustering import k_means, share_values
from tiedae.compress.integers import exceeding_pairs
from tiedae.compress.kernel import _smaller_clusters

from ..variants import every

SHAPE = (7, 4)
TRAIN = TrainConfig(epochs=3, batch_size=32)


def model_of() -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig((LayerConfig(12, "relu"), LayerConfig(4)), "sigmoid", 24))


def weights(model: TiedAutoencoder) -> dict[str, bytes]:
    return {name: variable.numpy().tobytes() for name, variable in model.state().items()}


@settings(max_examples=60, deadline=None)
@given(values=arrays(np.float32, st.integers(1, 40), elements=st.floats(-4, 4, width=32)), count=st.integers(1, 12))
def test_no_centroid_moves_and_none_is_empty(values: np.ndarray, count: int) -> None:
    centroids = k_means(values, count)
    assert 1 <= len(centroids) <= count and (np.diff(centroids) > 0).all()
    nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values.astype(np.float64))
    means = [values[nearest == number].astype(np.float64).mean() for number in range(len(centroids))]
    np.testing.assert_allclose(centroids, means, rtol=1e-6, atol=1e-9)
    if len(np.unique(values)) <= count:
        np.testing.assert_array_equal(centroids, np.unique(values))


@pytest.mark.parametrize(("count", "distortion"), [(2, 0.3634), (4, 0.1175), (8, 0.03454), (16, 0.009497), (32, 0.002499)])
def test_normal_values_are_shared_as_well_as_can_be(count: int, distortion: float) -> None:
    """Max 1960, "Quantizing for Minimum Distortion", table I."""
    values = np.random.default_rng(0).normal(size=20_000)
    centroids = k_means(values, count)
    nearest = centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]
    assert np.square(values - nearest).mean() == pytest.approx(distortion, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), count=st.integers(2, 9))
def test_pruned_places_alone_hold_zero_and_there_are_few_values(data: st.DataObject, count: int) -> None:
    values = data.draw(arrays(np.float32, SHAPE, elements=st.floats(-4, 4, width=32).filter(lambda v: abs(v) > 1e-3)))
    mask = data.draw(arrays(np.float32, SHAPE, elements=st.sampled_from([0.0, 1.0])))
    kernel = TiedKernel(*SHAPE, name="kernel")
    kernel.variable.assign(values)
    kernel.set_mask(mask)
    share_values(kernel, count)
    shared = kernel(training=False).numpy()
    assert len(np.unique(shared)) <= count
    assert not shared[mask == 0].any()
    assert not (set(kernel.clusters.numpy()[mask == 0]) & set(kernel.clusters.numpy()[mask == 1]))
    np.testing.assert_array_equal(kernel.variable, shared)
    kernel.attach_quantizer("tensor")
    assert len(np.unique(kernel.integers())) <= count
    assert not kernel.integers()[mask == 0].any()


def test_the_gradient_of_a_shared_value_is_the_sum_over_its_weights() -> None:
    rng = np.random.default_rng(0)
    kernel = TiedKernel(*SHAPE, name="kernel")
    mask = (rng.uniform(size=SHAPE) < 0.7).astype(np.float32)
    kernel.set_mask(mask)
    share_values(kernel, 4)
    factors = rng.normal(size=SHAPE).astype(np.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(factors * kernel(training=True))
    gradient, clusters = tf.convert_to_tensor(tape.gradient(total, kernel.variable)).numpy(), kernel.clusters.numpy()
    for number in np.unique(clusters):
        expected = factors[clusters == number].sum() * mask[clusters == number][0]
        assert gradient[clusters == number].sum() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert np.count_nonzero(gradient) <= 3


@pytest.mark.usefixtures("any_gain")
@pytest.mark.parametrize(("clusters", "sparsity"), every(3, [(5, 0.6), (2, 0.6), (16, 0.0)]))
def test_clusters_and_zeros_survive_quantization_aware_training(make_splits, clusters: int, sparsity: float) -> None:
    splits, model = make_splits(), model_of()
    if sparsity:
        prune(model, splits, PruneConfig(sparsity=sparsity, epochs=1), TRAIN)
    masks = model.masks()
    history = cluster(model, splits, ClusterConfig(clusters, epochs=1), TRAIN)
    assert [record["stage"] for record in history] == ["cluster"]
    numbers = [kernel.clusters.numpy() for kernel in model.kernels]
    floats = [len(np.unique(kernel.variable.numpy())) for kernel in model.kernels]
    quantize_post_training(model, representative(splits.train, 64), QuantizeConfig(refinements=()))
    before = [kernel.variable.numpy() for kernel in model.kernels]
    train_quantized(model, splits, QuantizeConfig(epochs=2), TRAIN)
    for kernel, same, values, distinct in zip(model.kernels, numbers, before, floats, strict=True):
        np.testing.assert_array_equal(kernel.clusters, same)
        assert distinct <= clusters and len(np.unique(kernel.variable.numpy())) <= clusters
        assert len(np.unique(kernel.integers())) <= clusters
        assert not kernel.integers()[~masks[kernel.name]].any()
        assert not np.array_equal(kernel.variable.numpy(), values)


def test_training_moves_the_values_to_a_lower_loss(make_splits) -> None:
    history = cluster(model_of(), make_splits(), ClusterConfig(6, epochs=8, learning_rate=5e-3), TRAIN)
    assert history[-1]["loss"] < 0.95 * history[0]["loss"]


def test_an_archive_keeps_clusters_and_their_values(make_splits, tmp_path: Path) -> None:
    splits, model = make_splits(), model_of()
    prune(model, splits, PruneConfig(sparsity=0.5, epochs=1), TRAIN)
    cluster(model, splits, ClusterConfig(5, epochs=1), TRAIN)
    model.save(tmp_path / "model.safetensors")
    again = TiedAutoencoder.load(tmp_path / "model.safetensors")
    assert weights(again) == weights(model)
    gradients = []
    for each in (model, again):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.square(each.kernels[0](training=True) - 0.3))
        gradients.append(tf.convert_to_tensor(tape.gradient(total, each.kernels[0].variable)).numpy())
    np.testing.assert_array_equal(*gradients)


def test_an_archive_whose_pruned_places_share_a_cluster_with_weights_is_refused(make_splits, tmp_path: Path) -> None:
    splits, model = make_splits(), model_of()
    prune(model, splits, PruneConfig(sparsity=0.5, epochs=1), TRAIN)
    share_values(model.kernels[0], 5)
    kernel = model.kernels[0]
    kernel.clusters.assign(np.where(kernel.mask.numpy() == 0, 1, kernel.clusters.numpy()))
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(FormatError, match=r"model\.safetensors: the archive contradicts itself: kernel_0: "):
        TiedAutoencoder.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("stage", every(2, ["quantize", "cluster"]))
def test_an_interrupted_stage_goes_on_to_the_same_weights(make_splits, tmp_path: Path, stage: str) -> None:
    checkpoint, left = tmp_path / "checkpoint.safetensors", tmp_path / "left.safetensors"

    def leave(at: str, epoch: int, *_rest: object) -> None:
        if (at, epoch) == (stage, 2):
            shutil.copy(checkpoint, left)

    splits, start = make_splits(), model_of()
    if stage == "quantize":
        cluster(start, splits, ClusterConfig(5, epochs=1), TRAIN)
        quantize_post_training(start, representative(splits.train, 64), QuantizeConfig(refinements=()))

    def run(**options) -> TiedAutoencoder:
        model, training = start.copy(), Training(TRAIN, **options)
        if stage == "cluster":
            cluster(model, splits, ClusterConfig(5, epochs=2), training)
        else:
            train_quantized(model, splits, QuantizeConfig(epochs=2), training)
        return model

    whole = run(checkpoint=checkpoint, progress=leave)
    assert weights(run(checkpoint=left)) == weights(whole)


def test_a_refused_training_leaves_the_kernels_as_they_are(make_splits) -> None:
    model = model_of()
    before = weights(model)
    with pytest.raises(RecipeError, match=r"distill: got 0\.5, but no teacher"):
        cluster(model, make_splits(), ClusterConfig(5, distill=0.5), TRAIN)
    with pytest.raises(DataError, match="samples have 10 values"):
        cluster(model, make_splits(inputs=10), ClusterConfig(5), TRAIN)
    assert weights(model) == before


@pytest.mark.parametrize("clusters", [-1, 1, 256])
def test_a_number_of_clusters_that_int8_cannot_hold_is_refused(clusters: int) -> None:
    with pytest.raises(RecipeError, match=rf"clusters: got {clusters}, must be an integer in \[2, 255\]"):
        ClusterConfig(clusters)


def test_scales_per_unit_are_refused_before_and_after_clustering() -> None:
    config = ModelConfig((LayerConfig(4),))
    with pytest.raises(RecipeError, match=r"quantize\.granularity: got 'unit', must be tensor with \[cluster\]"):
        Recipe("r", DataConfig("fashion"), config, cluster=ClusterConfig(), quantize=QuantizeConfig(granularity="unit"))
    model = model_of()
    for kernel in model.kernels:
        share_values(kernel, 4)
    with pytest.raises(RecipeError, match="granularity: got 'unit', must be 'tensor' for a clustered kernel"):
        model.quantize_kernels("unit")


def test_pruning_after_clustering_or_quantization_is_refused(make_splits) -> None:
    model = model_of()
    share_values(model.kernels[1], 4)
    with pytest.raises(InputError, match="kernel_1 is clustered or quantized; prune before"):
        prune(model, make_splits(), PruneConfig(epochs=1), TRAIN)
    model = model_of()
    model.quantize_kernels("unit")
    with pytest.raises(InputError, match="kernel_0 is clustered or quantized; prune before"):
        prune(model, make_splits(), PruneConfig(epochs=1), TRAIN)


def clustered(values: np.ndarray, mask: np.ndarray | None = None) -> TiedKernel:
    """A kernel whose equal values are its clusters."""
    kernel = TiedKernel(*values.shape, name="kernel")
    kernel.variable.assign(values)
    if mask is not None:
        kernel.set_mask(mask)
    kernel.set_clusters(np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.uint8))
    kernel.reassign_pairs()
    kernel.attach_quantizer("tensor")
    return kernel


@pytest.mark.parametrize("pruned", [False, True])
def test_weights_of_a_pair_that_saturates_move_to_near_values_of_the_codebook(pruned: bool):
    values = np.random.default_rng(0).integers(-20, 21, (40, 20)).astype(np.float32)
    values[:2, 0], values[0, 1] = (127, 5), 5
    values[5, 5], values[4, 5], values[5, 4] = 124, -3, -3
    kernel = clustered(values, values != 0 if pruned else None)
    assert exceeding_pairs(kernel.integers()) == 0
    moved = kernel.matrix != values
    assert 1 <= moved.sum() <= 3 and not moved[2:].any()
    assert set(np.unique(kernel.unquantized())) <= set(np.unique(values))
    assert kernel.largest.numpy() <= 127


@pytest.mark.parametrize("seed", range(4))
def test_a_codebook_without_smaller_values_gets_a_wider_range(seed: int):
    values = np.random.default_rng(seed).choice(np.float32([-1, 0.8, 1]), (9, 7))
    kernel = clustered(values)
    integers = kernel.integers()
    assert exceeding_pairs(integers) == 0
    assert len(np.unique(integers)) == len(np.unique(kernel.unquantized())) <= 3
    assert np.abs(kernel() - kernel.matrix).max() < 0.01


def test_clusters_of_opposite_signs_need_no_wider_range():
    kernel = clustered(np.array([[1], [-1]], np.float32))
    assert kernel.integers().tolist() == [[127], [-127]]
    np.testing.assert_array_equal(kernel(), [[1], [-1]])


@pytest.mark.parametrize(("second", "near", "first"), [(2, 125, 125), (127, 64, 127)], ids=["moves", "stays"])
def test_a_pair_moves_where_that_costs_less_than_the_rounding_of_a_wider_range(second: int, near: int, first: int):
    lone = [value for number in range(1, 101, 2) for value in (number, 0)]
    kernel = clustered(np.array([127, second, near, 0, *lone], np.float32)[:, None] / np.float32(127))
    assert kernel.matrix[0, 0] * 127 == pytest.approx(first)


CODEBOOK = np.array([0, 4, 7, 9, 10, -3, -5, -8], np.float32)


@pytest.mark.parametrize("limit", [8, 10, 11, 13, 16])
@pytest.mark.parametrize("scale", [1.0, 0.05])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_pair_moves_to_the_nearest_smaller_values_of_its_sign_that_hold_the_limit(limit: int, scale: float, axis: int):
    def nearest(values: tuple[float, float]) -> tuple[float, float]:
        smaller = [[each for each in CODEBOOK if each * value > 0 and abs(each) <= abs(value)] for value in values]
        pairs = [pair for pair in product(*smaller) if abs(sum(pair)) <= limit]
        return min(pairs, key=lambda pair: np.square(np.subtract(pair, values)).sum(), default=values)

    for numbers in product(range(len(CODEBOOK)), repeat=2):
        values = tuple(CODEBOOK[list(numbers)])
        expected = nearest(values) if abs(sum(values)) > limit else values
        clusters = np.uint8(numbers).reshape((2, 1) if axis == 0 else (1, 2))
        held = _smaller_clusters(clusters, scale * CODEBOOK, np.arange(len(CODEBOOK)), np.float32(scale) * limit)
        cost = [np.square(np.subtract(pair, values)).sum() for pair in (CODEBOOK[held].ravel(), expected)]
        assert cost[0] == cost[1] and ((abs(CODEBOOK[held].sum()) <= limit) == (abs(sum(expected)) <= limit)), (values, held)


def test_a_pair_for_which_there_are_no_values_keeps_no_other_from_moving() -> None:
    held = _smaller_clusters(np.uint8([[0], [4], [4], [2]]), CODEBOOK, np.arange(len(CODEBOOK)), np.float32(8))
    assert CODEBOOK[held].ravel().tolist() == [0, 10, 4, 4]
