"""Patterns of pruning: each mask has its pattern along both axes, and keeps the most that the pattern allows."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.compress import LayerConfig, ModelConfig, PruneConfig, RecipeError
from tiedae.compress.patterns import HELD, PATTERNS, check_pattern, kept, largest, tiles, transposable, unit_scores

SCORES = st.floats(0, 1, width=32)


def kernels(shape: tuple[int, int], count: int = 2, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = [shape[0], *(shape[1] * (count - i) // count or 1 for i in range(count))]
    return [rng.random((inputs, units)) for inputs, units in pairwise(sizes)]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), scope=st.sampled_from(["layer", "global"]), fraction=st.floats(0, 0.99))
def test_the_smallest_go_and_each_kernel_keeps_one(data: st.DataObject, scope: str, fraction: float) -> None:
    scores = [data.draw(arrays(np.float32, shape, elements=SCORES)) for shape in ((6, 4), (4, 3))]
    masks = largest(scores, fraction, scope)
    groups = list(zip(scores, masks, strict=True))
    if scope == "global":
        groups = [(np.concatenate([s.ravel() for s in scores]), np.concatenate([m.ravel() for m in masks]))]
    for values, stays in groups:
        forgiven = len(scores) if scope == "global" else 1
        assert round(fraction * values.size) - forgiven <= (~stays).sum() <= round(fraction * values.size)
        assert stays.all() or values[~stays].max() <= np.sort(values[stays])[min(forgiven, stays.sum()) - 1]
    assert all(stays.flat[np.argmax(values)] for values, stays in zip(scores, masks, strict=True))


def best_total(tile: np.ndarray, n: int) -> float:
    """The largest kept sum of all masks with n in every row and column, one by one."""
    m = len(tile)
    rows = [row for row in product((False, True), repeat=m) if sum(row) == n]
    masks = (np.array(choice) for choice in product(rows, repeat=m))
    return max(float(tile[mask].sum()) for mask in masks if (mask.sum(axis=0) == n).all())


@pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4)])
@settings(max_examples=10, deadline=None)
@given(tile=st.integers(1, 2**32 - 1))
def test_a_small_tile_keeps_the_most_that_is_possible(n: int, m: int, tile: int) -> None:
    scores = np.random.default_rng(tile).random((m, m)) ** 3
    mask = transposable(scores, n, m)
    assert scores[mask].sum() == pytest.approx(best_total(scores, n))


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (1, 4), (2, 8), (4, 8), (7, 8), (3, 5), (5, 16)])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), coarse=st.booleans())
def test_n_of_m_holds_along_both_axes(n: int, m: int, seed: int, coarse: bool) -> None:
    scores = np.random.default_rng(seed).random((3 * m, 2 * m))
    scores = np.round(scores) if coarse else scores
    mask = transposable(scores, n, m)
    each = tiles(mask, m, m)
    assert (each.sum(axis=1) == n).all() and (each.sum(axis=3) == n).all()
    assert scores[mask].mean() >= scores.mean()
    if m <= 4 and not coarse:
        np.testing.assert_array_equal(mask.T, transposable(scores.T, n, m))


@pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 4), (3, 4)])
def test_what_a_group_of_rows_keeps_is_what_its_best_mask_keeps(n: int, m: int) -> None:
    scores = np.random.default_rng(0).random((3 * m, 2 * m)).astype(np.float32)
    groups = np.random.default_rng(1).permutation(3 * m).reshape(3, m)
    expected = [scores[rows][transposable(scores[rows], n, m)].sum() for rows in groups]
    np.testing.assert_allclose(kept(scores, groups, n, m), expected, rtol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(1, 5), (2, 6), (4, 8)])
def test_no_exchange_of_two_weights_improves_a_large_tile(n: int, m: int) -> None:
    """Kept (a, c) and (b, d) against left out (a, d) and (b, c)."""
    for scores in np.random.default_rng(0).random((6, m, m)):
        mask = transposable(scores, n, m)
        for (a, c), (b, d) in product(np.argwhere(mask), repeat=2):
            if not mask[a, d] and not mask[b, c]:
                assert scores[a, d] + scores[b, c] <= scores[a, c] + scores[b, d] + 1e-9


def test_the_largest_weights_of_a_large_tile_stay_where_they_are_a_mask() -> None:
    rng = np.random.default_rng(0)
    mask = np.stack([np.roll(np.arange(16) < 8, place) for place in rng.permutation(16)])[:, rng.permutation(16)]
    np.testing.assert_array_equal(transposable(mask + rng.random(mask.shape), 8, 16), mask)


def test_a_large_tile_comes_close_to_the_bound_of_one_axis() -> None:
    scores = np.abs(np.random.default_rng(0).normal(size=(64, 64)))
    along_one = np.sort(scores.reshape(64, 8, 8), axis=2)[:, :, 4:].sum()
    assert scores[transposable(scores, 4, 8)].sum() > 0.95 * along_one


def test_exchanges_improve_what_the_greedy_choice_leaves() -> None:
    """The largest first takes (0, 0) = 1.0 and with it a zero; the two of 0.9 are better."""
    scores = np.kron(np.eye(3), np.array([[1.0, 0.9], [0.9, 0.0]])) + 1e-3
    mask = transposable(scores, 1, 6)
    assert scores[mask].sum() == pytest.approx(6 * 0.9, abs=0.02)


@settings(max_examples=15, deadline=None)
@given(
    blocks=st.sampled_from([(2, 2), (1, 4), (4, 1), (4, 2)]),
    fraction=st.floats(0, 0.9),
    scope=st.sampled_from(["layer", "global"]),
    seed=st.integers(0, 99),
)
def test_blocks_stay_or_go_whole(blocks: tuple[int, int], fraction: float, scope: str, seed: int) -> None:
    config = PruneConfig("block", fraction, block=blocks, scope=scope)
    scores = kernels((16, 8), seed=seed)
    masks = PATTERNS["block"](scores, fraction, config)
    for each, mask in zip(scores, masks, strict=True):
        parts = tiles(mask, *blocks)
        np.testing.assert_array_equal(parts.any(axis=(1, 3)), parts.all(axis=(1, 3)))
        assert HELD["block"](each * mask, mask, config)[0]
        sums = tiles(each, *blocks).sum(axis=(1, 3))
        stays = parts.any(axis=(1, 3))
        if scope == "layer" and not stays.all():
            assert sums[~stays].max() <= sums[stays].min()


@settings(max_examples=15, deadline=None)
@given(code=st.booleans(), fraction=st.floats(0, 0.9), scope=st.sampled_from(["layer", "global"]), seed=st.integers(0, 99))
def test_a_unit_goes_with_its_column_and_its_row(code: bool, fraction: float, scope: str, seed: int) -> None:
    scores = kernels((10, 9), 3, seed)
    config = PruneConfig("structured", fraction, code=code, scope=scope)
    masks = PATTERNS["structured"](scores, fraction, config)
    for i, total in enumerate(unit_scores(scores)):
        made = masks[i].any(axis=0)
        read = masks[i + 1].any(axis=1) if i + 1 < len(masks) else made
        np.testing.assert_array_equal(made, read)
        if i + 1 == len(masks) and not code:
            assert made.all()
        elif scope == "layer":
            assert (~made).sum() == min(round(fraction * len(made)), len(made) - 1)
            assert made.all() or total[~made].max() <= total[made].min()


@pytest.mark.parametrize("code", [False, True])
def test_every_hidden_layer_loses_units_and_the_code_only_where_asked(code: bool) -> None:
    masks = PATTERNS["structured"](kernels((10, 8), 3), 0.5, PruneConfig("structured", 0.5, code=code))
    lost = [int((~mask.any(axis=0)).sum()) for mask in masks]
    assert lost == [round(mask.shape[1] / 2) if code or i < 2 else 0 for i, mask in enumerate(masks)]


def test_the_score_of_a_unit_counts_what_makes_it_and_what_reads_it() -> None:
    first, second = unit_scores([np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[10.0], [20.0]])])
    np.testing.assert_array_equal(first, [14, 26])
    np.testing.assert_array_equal(second, [30])


def test_a_unit_has_a_row_of_the_next_kernel_at_each_place() -> None:
    scores = [np.arange(1.0, 7.0).reshape(3, 2), np.arange(6.0).reshape(6, 1)]
    first, second = unit_scores(scores)
    np.testing.assert_array_equal(first, [9 + 0 + 2 + 4, 12 + 1 + 3 + 5])
    np.testing.assert_array_equal(second, [15])
    masks = PATTERNS["structured"](scores, 0.5, PruneConfig("structured", 0.5))
    np.testing.assert_array_equal(masks[0], np.tile([False, True], (3, 1)))
    np.testing.assert_array_equal(masks[1][:, 0], np.tile([False, True], 3))


@pytest.mark.parametrize("pattern", ["2:4", "1:3", "4:8"])
def test_a_ramp_leaves_out_ever_more_of_what_the_pattern_does(pattern: str) -> None:
    n, m = map(int, pattern.split(":"))
    config = PruneConfig(pattern, 1 - n / m)
    scores = [np.random.default_rng(0).random((24, 24))]
    final = transposable(scores[0], n, m)
    before = np.ones_like(final)
    for fraction in np.linspace(0, config.sparsity, 5, dtype=np.float32):
        (mask,) = PATTERNS["n:m"](scores, float(fraction), config)
        assert (mask <= before).all() and (mask >= final).all()
        assert 1 - mask.mean() == pytest.approx(fraction, abs=1e-3)
        before = mask
    np.testing.assert_array_equal(before, final)


HOLDING = np.tile(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]), (2, 1))


@pytest.mark.parametrize(
    ("config", "values", "text"),
    [
        (PruneConfig("2:4"), HOLDING, "at most 2 of every 4 values are not zero, along inputs and along units"),
        (
            PruneConfig("2:4"),
            np.tile([[1, 1, 0, 0]], (4, 1)),
            "4 of 4 values along its inputs are not zero, expected at most 2",
        ),
        (PruneConfig("1:4", 0.75), np.eye(4), "at most 1 of every 4 values are not zero, along inputs and along units"),
        (PruneConfig("1:4", 0.75), HOLDING, "2 of 4 values along its inputs are not zero, expected at most 1"),
        (PruneConfig("3:4", 0.25), 1 - np.eye(4), "at most 3 of every 4 values are not zero"),
        (PruneConfig("2:4"), np.tile([[1, 1, 0, 0]], (4, 1)).T, "4 of 4 values along its units are not zero"),
        (PruneConfig("block", block=(2, 2)), HOLDING, "4 of 8 blocks of 2 × 2 are zero"),
        (PruneConfig("block", block=(4, 2)), HOLDING, "4 of 4 blocks of 4 × 2 are pruned in part"),
    ],
)
def test_values_have_a_pattern_or_it_is_said_where_not(config: PruneConfig, values: np.ndarray, text: str) -> None:
    ok, got = HELD[config.kind](values, values, config)
    assert ok == ("expected" not in got and "in part" not in got)
    assert text in got


def test_a_live_value_in_a_block_that_is_left_out_is_seen() -> None:
    values = HOLDING.copy()
    values[0, 3] = 5
    assert HELD["block"](values, HOLDING, PruneConfig("block", block=(2, 2))) == (
        False,
        "1 of 8 blocks of 2 × 2 are pruned in part",
    )


@pytest.mark.parametrize(
    ("settings_of", "text"),
    [
        ({"pattern": "random"}, "pattern: got 'random', must be unstructured, block, structured or N:M such as 2:4"),
        ({"pattern": "4:4"}, "pattern: got '4:4', must be N:M with 1 ≤ N < M ≤ 16"),
        ({"pattern": "0:4"}, "pattern: got '0:4', must be N:M with"),
        ({"pattern": "8:32"}, "pattern: got '8:32', must be N:M with"),
        ({"pattern": "1:4"}, "sparsity: got 0.5, must be 0.75, the fraction that 1:4 prunes"),
        ({"pattern": "2:4", "scope": "global"}, "scope: got 'global', must be layer: 2:4 holds in every kernel"),
        ({"pattern": "block"}, "block: got [1, 1], must be [rows, columns] of more than one weight"),
        ({"pattern": "block", "block": (4,)}, "block: got [4], must be a list of 2: an integer, 1 or more"),
        ({"pattern": "block", "block": (0, 4)}, "block[0]: got 0, must be an integer, 1 or more"),
        ({"block": (4, 4)}, "block: got [4, 4], must be left out, or pattern block"),
        ({"code": True}, "code: got True, must be false, or pattern structured"),
        ({"pattern": "structured", "skip": (0,)}, "skip: got [0], must be left out with pattern structured"),
        ({"skip": (-1,)}, "skip[0]: got -1, must be an integer, 0 or more"),
        ({"saliency": "luck"}, "saliency: got 'luck', must be one of curvature, gradient, magnitude, movement"),
        (
            {"saliency": "movement", "schedule": "constant"},
            "schedule: got 'constant', must be polynomial with saliency movement",
        ),
        ({"samples": 0}, "samples: got 0, must be an integer, 1 or more"),
    ],
)
def test_a_setting_that_contradicts_the_pattern_is_refused(settings_of: dict, text: str) -> None:
    with pytest.raises(RecipeError) as error:
        PruneConfig(**settings_of)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("config", "widths", "text"),
    [
        (
            PruneConfig("2:4"),
            (24, 12, 6),
            "pattern: got '2:4', must be one that divides kernel 1, 12 × 6; skip = [1] leaves that kernel whole",
        ),
        (PruneConfig("block", block=(5, 2)), (24, 12, 6), "block: got [5, 2], must be one that divides kernel 0, 24 × 12"),
        (PruneConfig(skip=(2,)), (24, 12, 6), "skip: got 2, must be below 2, the number of kernels"),
        (PruneConfig(skip=(0, 1)), (24, 12, 6), "skip: got (0, 1), must be fewer than all kernels"),
        (PruneConfig("structured"), (24, 6), "pattern: got 'structured', must be another: the model has no hidden units"),
        (PruneConfig("structured", 0.9), (24, 4, 2), "sparsity: got 0.9, must be at most 0.75, so that one of the 4 units of"),
        (
            PruneConfig("structured", 0.8, code=True),
            (24, 12, 2),
            "must be at most 0.5, so that one of the 2 units of layer 1 stays",
        ),
    ],
)
def test_a_pattern_that_the_kernels_cannot_have_is_refused(config: PruneConfig, widths: tuple[int, ...], text: str) -> None:
    model = ModelConfig(tuple(LayerConfig(units) for units in widths[1:]), inputs=widths[0])
    with pytest.raises(RecipeError) as error:
        check_pattern(config, model)
    assert text in str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        PruneConfig("2:4", skip=(1,)),
        PruneConfig("block", block=(3, 2)),
        PruneConfig("structured"),
        PruneConfig("structured", 11 / 12),
        PruneConfig("structured", 0.99, scope="global"),
    ],
)
def test_a_pattern_that_they_can_have_is_not(config: PruneConfig) -> None:
    check_pattern(config, ModelConfig((LayerConfig(12), LayerConfig(6)), inputs=24))
