"""Pairs of mirrored kernels: one variable is tied whatever its values are, and two are compared by values alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiedae.compress.imports.chain import ChainFunction, ChainProduct, Refused, stored
from tiedae.compress.imports.pairs import NEAR, TILE, pairs

from .model_files import chain_of

RNG = np.random.default_rng(0)


def product(name: str, kernel: np.ndarray, variable: str | None = None, **more) -> ChainProduct:
    return ChainProduct(name, "Dense", stored(variable or name, kernel), **more)


E, F = RNG.normal(size=(700, 6)), RNG.normal(size=(6, 3))
UNTIED = RNG.normal(size=(6, 700))
NOISE = RNG.normal(size=E.shape) * np.linalg.norm(E) / np.linalg.norm(RNG.normal(size=E.shape))


@pytest.mark.parametrize(
    ("decoder", "status"),
    [
        (product("d", E, "e", transposed=True), "tied"),
        (product("d", E, "e", transposed=True, tie="assumed"), "assumed"),
        (product("d", E.T), "equal copy"),
        (product("d", E, transposed=True), "equal copy"),
        (product("d", (E + 0.5 * NEAR * NOISE).T), "near"),
        (product("d", (E + 2 * NEAR * NOISE).T), "untied"),
        (product("d", UNTIED), "untied"),
        (product("d", 2 * E.T), "untied"),
        (product("d", np.zeros((6, 700))), "untied"),
        (product("d", E, "e", transposed=True, mask=stored("m", (E > 0) * 1.0)), "untied"),
    ],
)
def test_the_status_of_a_pair(decoder: ChainProduct, status: str) -> None:
    assert len(E) > TILE
    chain = chain_of(
        [product("e", E), product("f", F), ChainFunction("f", "Dense", "relu"), product("g", F.T), decoder], (700,)
    )
    outer, inner = pairs(chain)
    assert (outer.encoder, outer.decoder, outer.shape) == ("e (Dense)", "d (Dense)", (700, 6))
    assert (outer.status, inner.status) == (status, "equal copy")


def test_the_values_of_a_tied_pair_are_not_read() -> None:
    def read() -> np.ndarray:
        raise AssertionError

    kernel = replace(stored("e", E), read=read)
    chain = chain_of([ChainProduct("e", "Dense", kernel), ChainProduct("d", "Dense", kernel, transposed=True)], (700,))
    assert [pair.status for pair in pairs(chain)] == ["tied"]


def test_a_mask_counts_in_both() -> None:
    mask = stored("m", (E > 0) * 1.0)
    tied = chain_of([product("e", E, mask=mask), product("d", E, "e", transposed=True, mask=mask)], (700,))
    copied = chain_of([product("e", E, mask=mask), product("d", (E * (E > 0)).T)], (700,))
    assert [pairs(chain)[0].status for chain in (tied, copied)] == ["tied", "equal copy"]


def test_distance_and_cosine() -> None:
    (pair,) = pairs(chain_of([product("e", E), product("d", UNTIED)], (700,)))
    cosine = np.vdot(E, UNTIED.T) / np.linalg.norm(E) / np.linalg.norm(UNTIED)
    assert pair.cosine == pytest.approx(cosine, rel=1e-2)
    assert pair.distance == pytest.approx(np.linalg.norm(E - UNTIED.T) / max(map(np.linalg.norm, (E, UNTIED))), rel=1e-2)
    assert pair.text == f"e (Dense) and d (Dense), 700×6: untied (cosine {pair.cosine})"


@pytest.mark.parametrize(
    ("layers", "statuses"),
    [
        ([product("a", E), product("b", F)], []),  # a classifier
        ([product("a", E)], []),
        ([product("a", E), product("b", RNG.normal(size=(6, 6))), product("c", UNTIED)], ["untied"]),
        ([product("a", F @ F.T), product("b", F @ F.T, "a")], ["equal copy"]),  # one kernel, used twice as it is, and symmetric
        ([product("a", E[:6]), product("b", E[:6], "a")], ["untied"]),
    ],
)
def test_kernels_that_mirror_each_other(layers, statuses) -> None:
    assert [pair.status for pair in pairs(chain_of(layers, layers[0].widths[:1]))] == statuses


def test_a_class_of_ones_own_with_kernels_is_unknown_and_others_are_not_pairs() -> None:
    own = Refused("d", "Mine", "is a class whose code is not read", {"k": stored("k", E)}, custom=True)
    noise = Refused("n", "Noise", "is a class whose code is not read", {}, custom=True)
    conv = Refused("c", "Conv2D", "cannot be imported yet", {"k": stored("c", E)})
    (pair,) = pairs(chain_of([conv, product("e", E), noise, own], (700,)))
    assert pair.text == "e (Dense) and d (Mine): unknown: the code of Mine is not read"
    (whole,) = pairs(chain_of([own], (700,)))
    assert whole.text == "d (Mine): unknown: the code of Mine is not read"
