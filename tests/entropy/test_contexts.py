"""Trees of contexts: leaves as the document says, bytes, refusals, and what grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import InputError
from tiedae.entropy.contexts import ALONE, LEAF, MOST_LEAVES, ContextTree, grow


@st.composite
def trees(draw: st.DrawFn) -> ContextTree:
    """Any tree over four features: leaves are split in turn."""
    nodes: list[list[int]] = []
    open_ends: list[tuple[int, int]] = []
    for node in range(draw(st.integers(0, 20))):
        if nodes:
            parent, side = open_ends.pop(draw(st.integers(0, len(open_ends) - 1)))
            nodes[parent][side] = node
        nodes.append([draw(st.integers(0, 3)), draw(st.integers(-128, 127)), 0, 0])
        open_ends += [(node, 2), (node, 3)]
    for leaf, (parent, side) in enumerate(open_ends):
        nodes[parent][side] = LEAF + leaf
    return ContextTree(np.array(nodes, np.int16).reshape(len(nodes), 4))


def walked(tree: ContextTree, features: np.ndarray) -> int:
    child = 0 if len(tree.nodes) else LEAF
    while child < LEAF:
        feature, threshold, below, above = tree.nodes[child].tolist()
        child = above if features[feature] >= threshold else below
    return child - LEAF


@given(trees(), st.integers(0, 99))
def test_leaves_are_those_of_a_walk(tree: ContextTree, seed: int) -> None:
    features = np.random.default_rng(seed).integers(-128, 128, (4, 5, 40)).astype(np.int8)
    right = [walked(tree, each) for each in features.reshape(4, -1).T]
    assert tree.leaves_of(features).shape == (5, 40)
    assert tree.leaves_of(features).ravel().tolist() == right


@given(trees(), st.binary(max_size=9))
def test_bytes_hold_a_tree(tree: ContextTree, rest: bytes) -> None:
    found, size = ContextTree.from_bytes(tree.to_bytes() + rest)
    np.testing.assert_array_equal(found.nodes, tree.nodes)
    assert size == len(tree.to_bytes()) == 1 + 4 * len(tree.nodes)


@pytest.mark.parametrize(
    "nodes",
    [
        [(0, 0, 0, 128)],
        [(0, 0, 128, 128)],
        [(0, 0, 128, 130)],
        [(0, 0, 1, 128)],
        [(0, 0, 2, 128), (0, 0, 129, 130), (0, 0, 1, 131)],
        [(0, 0, 128, 129)] * MOST_LEAVES,
    ],
    ids=["its own child", "a leaf twice", "no leaf 1", "no such node", "an earlier node", "too many"],
)
def test_nodes_that_are_no_tree_are_refused(nodes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match=r"^nodes: "):
        ContextTree(np.array(nodes, np.int16))


def test_splits_are_where_the_residuals_change() -> None:
    """Small below 5 in feature 1, large from there on; where feature 0 is 2 or more, above 0. Noise is not split."""
    rng = np.random.default_rng(0)
    features = np.stack([rng.integers(0, 4, 20_000), rng.integers(-8, 9, 20_000), rng.integers(0, 9, 20_000)]).astype(np.int8)
    residuals = rng.integers(-2, 3, 20_000)
    residuals = np.where(features[1] >= 5, 40 * residuals, np.where(features[0] >= 2, residuals + 5, residuals))
    tree = grow(features, residuals)
    assert {tuple(node) for node in tree.nodes[:, :2].tolist()} == {(1, 5), (0, 2)}
    assert grow(features, rng.integers(-2, 3, 20_000)) is not tree
    assert grow(features, rng.integers(-2, 3, 20_000)).leaves == ALONE.leaves == 1
