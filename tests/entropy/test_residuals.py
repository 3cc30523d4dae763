"""Residual payloads: equal to the specification, within the bound for every sample, and safe on any bytes."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.config.sample_spec import Integer, Kind, SampleSpec
from tiedae.data.data_sets import ASSETS
from tiedae.entropy.channels import Links
from tiedae.entropy.contexts import ALONE, ContextTree
from tiedae.entropy.lanes import write
from tiedae.entropy.predictors import features_of, fit_start_weights, streams_of
from tiedae.entropy.residual_tables import ResidualTables, fit_tables
from tiedae.entropy.residuals import LARGEST_BOUND, ContextTables, ResidualCoder, fit_residuals
from tiedae.entropy.tables import FrequencyTables, fit, signed
from tiedae.entropy.tokens import LARGEST, extra_bits, is_token, residuals_of, tokens_of

from ..variants import every
from . import residual_reference as reference

KINDS, DTYPES = get_args(Kind), get_args(Integer)
SHAPES = {"image": ((3, 4), (5,), (2, 3, 2), (1, 1)), "record": ((12,), (1,), (4, 3), (1, 8), (6, 2)), "table": ((5,), (1,))}
CONTENTS = ("constant", "lowest", "highest", "random", "extremes", "walk", "impulses")
Case = tuple[ResidualCoder, list[np.ndarray], list[np.ndarray] | None, int]


def samples_of(content: str, shape: tuple[int, int], dtype: str, seed: int) -> np.ndarray:
    """Integers [n, inputs]; `extremes` alternates the dtype's ends, `impulses` are ends in a constant."""
    rng, limits = np.random.default_rng(seed), np.iinfo(dtype)
    middle = rng.integers(limits.min, limits.max, endpoint=True)
    match content:
        case "constant":
            values = np.full(shape, middle)
        case "lowest" | "highest":
            values = np.full(shape, limits.min if content == "lowest" else limits.max)
        case "random":
            values = rng.integers(limits.min, limits.max, shape, endpoint=True)
        case "extremes":
            values = np.resize([limits.min, limits.max], shape)
        case "walk":
            values = middle + rng.integers(-9, 9, shape).cumsum().reshape(shape)
        case _:
            values = np.where(rng.random(shape) < 0.1, rng.choice([limits.min, limits.max], shape), middle)
    return np.clip(values, limits.min, limits.max).astype(dtype)


@functools.cache
def coder(kind: Kind, shape: tuple[int, ...], dtype: Integer, content: str) -> ResidualCoder:
    training = samples_of(content, (40, math.prod(shape)), dtype, 7)
    return fit_residuals(kind, shape, training, 8)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A coder fitted to some data, frames of other data, a reconstruction or none, and a bound."""
    kind, dtype = draw(st.sampled_from(KINDS)), draw(st.sampled_from(DTYPES))
    shape = draw(st.sampled_from(SHAPES[kind]))
    made = coder(kind, shape, dtype, draw(st.sampled_from(("constant", "random", "walk", "impulses"))))
    bound = draw(st.one_of(st.sampled_from((0, 1, 2, 16, 127, 128, 32768, LARGEST_BOUND)), st.integers(0, LARGEST_BOUND)))
    counts = draw(st.lists(st.integers(0, 12), max_size=5))
    content, seed = st.sampled_from(CONTENTS), st.integers(0, 99)
    frames = [samples_of(draw(content), (count, made.inputs), dtype, draw(seed)) for count in counts]
    y = (
        [samples_of(draw(content), (count, made.inputs), dtype, draw(seed)) for count in counts]
        if draw(st.booleans())
        else None
    )
    return made, frames, y, bound


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_those_of_the_residuals_of_every_bound_by_their_contexts(kind: Kind) -> None:
    shape = SHAPES[kind][0]
    training = samples_of("walk", (800, math.prod(shape)), "int16", 7)
    y = training + np.random.default_rng(0).integers(-40, 40, training.shape).astype(np.int16)
    made = fit_residuals(kind, shape, training, 80, y, bounds=(0, 1, 5, 64))
    x, base = (streams_of(kind, shape, each.reshape(10, 80, -1).astype(np.int32)) for each in (training, y))
    tokens: dict[int, list[int]] = {}
    for residuals, leaves, _ in (made.residuals(x, base, bound) for bound in (0, 1, 5, 64)):
        for token, leaf in zip(tokens_of(residuals)[0].flat, leaves.flat, strict=True):
            tokens.setdefault(int(leaf), []).append(int(token))
    assert tokens.keys() == set(range(made.part.tables.units)) and len(tokens) > 4
    for leaf, found in tokens.items():
        expected = fit(np.array(found, np.uint8)[:, None]).frequencies[0]
        np.testing.assert_array_equal(made.part.tables.frequencies[leaf], expected, f"table {leaf}")


@given(cases())
def test_payloads_decode_as_the_specification_says_within_the_bound(case: Case) -> None:
    made, frames, y, bound = case
    payloads = made.encode(frames, bound, y)
    found = made.decode(payloads, [len(frame) for frame in frames], bound, y)
    limits = np.iinfo(made.dtype)
    for i, (payload, got) in enumerate(zip(payloads, found, strict=True)):
        assert (got.dtype, got.shape) == (frames[i].dtype, frames[i].shape)
        assert np.abs(got.astype(np.int64) - frames[i]).max(initial=0) <= bound
        if not len(got):
            assert payload == bytes.fromhex("00000100")
            continue
        base = np.zeros_like(got) if y is None else y[i]
        right = reference.decode(
            made.kind, made.shape, (int(limits.min), int(limits.max)), made.part, payload, len(got), bound, base.tolist()
        )
        assert got.tolist() == right


@pytest.fixture(scope="module")
def heart() -> tuple[ResidualCoder, np.ndarray]:
    """A coder fitted to the first half of a real record, and the other half."""
    x = np.load(next((ASSETS / "ecg").glob("*.npy")))[:65_536].reshape(-1, 128)
    return fit_residuals("record", (128,), x[:256], 64), x[256:]


@pytest.mark.parametrize("part", every(3, [0.1, 0.01, 0.03]))
def test_files_within_coarse_bounds_are_below_the_entropy_of_changes(
    heart: tuple[ResidualCoder, np.ndarray], part: float
) -> None:
    """The residuals of the previous decoded value are what a simple coder would write."""
    made, test = heart
    bound = round(part * (int(test.max()) - int(test.min())))
    size = sum(map(len, made.encode(np.split(test, 4), bound)))
    last, residuals = 0, []
    for value in test.ravel().tolist():
        residuals.append((value - last + bound) // (2 * bound + 1))
        last += residuals[-1] * (2 * bound + 1)
    counts = np.unique(residuals, return_counts=True)[1]
    assert size < -(counts * np.log2(counts / counts.sum())).sum() / 8


@pytest.mark.parametrize("content", every(5, CONTENTS))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_on_long_frames(kind: Kind, dtype: Integer, content: str) -> None:
    """Half of the bounds for each content, as `cases` has all of them for short frames."""
    shape = SHAPES[kind][0]
    made = coder(kind, shape, dtype, "walk")
    frames = [samples_of(content, (30, made.inputs), dtype, seed) for seed in range(2)]
    for bound in ((0, 16), (1, 255))[CONTENTS.index(content) % 2]:
        found = made.decode(made.encode(frames, bound), [30, 30], bound)
        assert max(np.abs(got.astype(int) - right).max() for got, right in zip(found, frames, strict=True)) <= bound


def test_every_residual_has_a_token() -> None:
    residuals = np.arange(-LARGEST, LARGEST + 1)
    tokens, counts, extra = tokens_of(residuals)
    assert is_token(tokens).all()
    assert (tokens.min(), tokens.max()) == (9, 247)
    assert (np.diff(tokens) >= 0).all()
    assert (extra_bits(tokens) == counts).all()
    assert (extra < 1 << counts).all()
    np.testing.assert_array_equal(residuals_of(tokens, extra), residuals)
    assert not is_token(np.array([0, 8, 248, 255])).any()


GOLDEN = {
    ("record", 0, False): "069fc400fcbab03fbf3f3f61636131bfd1effbfeae3e837ea4becffeb8d524ff47ffa7552fd530150015",
    ("record", 2, True): "631fb3aaf2d3ebcb03ffd511d84a",
    ("image", 0, True): "fa5ef9342fa1a56285bec53effbebe6170e2ba3f5e7fe404297fb0fe277fa53e94fe",
    ("image", 16, False): "1b65be03d01bb9ac5c15",
    ("table", 0, False): "addf08074465b63b4defd7ceb7c7e0437efa13dfe351f8fe91ce457f64df43efcefe5cbfc03e",
    ("table", 2, True): "a99f0600d99f32207d61fde00c9f6b9f33fff71ee470",
}
"""Payloads of `golden_case`. They hold the format: files with such payloads exist."""


def golden_tables(kind: Kind, links: Links | None = None) -> ContextTables:
    """Two tables, by every feature in turn: residuals of −3…3, and those of −40…40, each with escapes."""
    frequencies = np.zeros((2, 257), np.uint16)
    frequencies[0, 125:132] = 500, 1000, 3000, 7000, 3000, 1000, 500
    frequencies[1, 95:162] = 240
    frequencies[:, 256] = (1 << 14) - frequencies.sum(axis=1)
    channels = 1 if links is None else links.channels
    count = features_of(kind, channels)
    nodes = [(feature, 3, feature + 1 if feature + 1 < count else 128 + count, 128 + feature) for feature in range(count)]
    tree = ContextTree(np.array(nodes, np.int16))
    tables = FrequencyTables(8, frequencies[np.arange(tree.leaves) % 2])
    weights = np.array([16000, -4000, *[100] * 14], np.int16)
    return ContextTables(weights if links is None else np.tile(weights, (channels, 1)), tree, tables, links)


def golden_case(kind: Kind, with_y: bool) -> tuple[ResidualCoder, np.ndarray, np.ndarray | None]:
    part = golden_tables(kind)
    made = ResidualCoder(kind, (2, 4) if kind == "image" else (8,), "uint8" if kind == "image" else "int16", part)
    ramp = np.arange(24).reshape(3, 8)
    x = (ramp * ramp % 91 + ramp).astype(made.dtype)
    return made, x, (x // 16 * 16).astype(made.dtype) if with_y else None


@pytest.mark.parametrize(("kind", "bound", "with_y"), GOLDEN)
def test_golden_bytes(kind: Kind, bound: int, with_y: bool) -> None:
    made, x, y = golden_case(kind, with_y)
    bases = None if y is None else [y]
    assert made.encode([x], bound, bases)[0].hex() == GOLDEN[kind, bound, with_y]
    (found,) = made.decode([bytes.fromhex(GOLDEN[kind, bound, with_y])], [3], bound, bases)
    assert np.abs(found.astype(int) - x).max() <= bound


@given(cases(), st.data())
def test_damaged_payloads_are_refused_or_decode_to_samples(case: Case, data: st.DataObject) -> None:
    made, frames, y, bound = case
    assume(frames)
    (payload,) = made.encode(frames[:1], bound, y and y[:1])
    at = data.draw(st.integers(0, len(payload) - 1))
    flipped = payload[:at] + bytes((payload[at] ^ data.draw(st.integers(1, 255)),)) + payload[at + 1 :]
    for damaged in (payload[:at], payload[at:], payload + b"\0\0", flipped, data.draw(st.binary(max_size=40))):
        try:
            (found,) = made.decode([damaged], [len(frames[0])], bound, y and y[:1])
        except FormatError as error:
            assert str(error).startswith("frame 0: damaged: ")
            assert "\n" not in str(error)
        else:
            assert found.shape == frames[0].shape
            assert damaged == payload or len(damaged) >= 4


@pytest.mark.parametrize(
    ("token", "extra", "valid"),
    [(165, 0, True), (128, 0, False), (8, 0, False), (248, 0, False), (183, 15, True), (184, 0, False)],
    ids=["52", "0, of a frequency", "below all tokens", "above all tokens", "255", "256, beyond uint8"],
)
def test_an_escape_holds_a_token_without_a_frequency(token: int, extra: int, valid: bool) -> None:
    """The only symbols of a stream: the escape, its raw token, the extra bits."""
    part = golden_tables("record")
    part = ContextTables(part.weights, ALONE, FrequencyTables(8, part.tables.frequencies[:1]))
    made = ResidualCoder("record", (1,), "uint8", part)
    count = int(extra_bits(np.clip(token, 9, 247)))
    frequencies = [[part.tables.frequencies[0, 256]], [1 << 6], [1 << 14 - count]]
    starts = [[part.tables.starts[0, 256]], [token << 6], [extra << 14 - count]]
    (payload,) = write(np.array(frequencies, np.uint16), np.array(starts, np.uint16))
    if valid:
        assert made.encode(made.decode([payload], [1], 0), 0) == [payload]
    else:
        with pytest.raises(FormatError, match=r"^frame 0: damaged: a residual that no sample has"):
            made.decode([payload], [1], 0)


def test_damage_names_its_frame_and_no_other() -> None:
    made = coder("record", (12,), "int16", "walk")
    frames = [samples_of("walk", (count, 12), "int16", count) for count in (3, 5, 3)]
    payloads = made.encode(frames, 0)
    with pytest.raises(FormatError, match=r"^frame 2: damaged: "):
        made.decode([*payloads[:2], payloads[2][:-2]], [3, 5, 3], 0)
    found = made.decode(payloads[::-1], [3, 5, 3], 0)
    assert [each.tolist() for each in found] == [each.tolist() for each in frames[::-1]]


@pytest.mark.parametrize("samples", [-1, 2**31, 2**70])
def test_more_samples_than_the_bytes_can_hold_are_refused_before_any_work(samples: int) -> None:
    made = coder("table", (5,), "uint16", "constant")
    with pytest.raises(FormatError, match=f"frame 0: damaged: 4 bytes cannot hold {samples} samples"):
        made.decode([b"\0\0\1\0"], [samples], 0)


def test_other_samples_and_bounds_are_refused() -> None:
    made = coder("table", (5,), "uint16", "walk")
    with pytest.raises(DataError, match=r"frame 0: samples: got int16 \[2, 5\], must be uint16 \[2, 5\]"):
        made.encode([np.zeros((2, 5), np.int16)], 0)
    with pytest.raises(DataError, match=r"frame 0: y: got uint16 \[2, 4\], must be uint16 \[2, 5\]"):
        made.encode([np.zeros((2, 5), np.uint16)], 0, [np.zeros((2, 4), np.uint16)])
    for bound in (-1, LARGEST_BOUND + 1):
        with pytest.raises(InputError, match=f"bound: got {bound}, must be an integer in 0…65535"):
            made.encode([], bound)
    with pytest.raises(DataError, match=r"got float32 \[2, 5\], must be uint8, int16, uint16 \[n, inputs\], one or more"):
        fit_residuals("table", (5,), np.zeros((2, 5), np.float32), 8)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_hold_the_coder(kind: Kind) -> None:
    made = coder(kind, SHAPES[kind][0], "int16", "walk")
    spec, written = SampleSpec(made.shape, "int16", kind=kind), ResidualTables(made, made).to_bytes()
    tables = ResidualTables.from_bytes(spec, written, "demo.residuals")
    found = tables.corrections
    assert tables.to_bytes() == written
    frames = [samples_of("random", (5, made.inputs), "int16", 1)]
    assert found.encode(frames, 1) == made.encode(frames, 1)
    beyond = dataclasses.replace(made.part, tree=ContextTree(np.array([[9, 0, 128, 129]], np.int16)), tables=two_tables())
    head, part = written[: written.index(b"TAER") - 4], beyond.to_bytes()
    wrong = signed(head + len(part).to_bytes(4, "little") + part + part)
    with pytest.raises(FormatError, match=rf"demo\.residuals: damaged: nodes: got feature 9, must be below 9 for {kind}"):
        ResidualTables.from_bytes(spec, wrong, "demo.residuals")


def two_tables() -> FrequencyTables:
    return FrequencyTables(8, golden_tables("record").tables.frequencies[:2])


@given(st.data())
@example(None)
def test_damaged_tables_are_refused(data: st.DataObject | None) -> None:
    written = coder("record", (12,), "int16", "walk").part.to_bytes()
    if data is None:
        damaged = [b"", written[:20], written[:36], written + b"\0", b"PK\3\4" + written[4:]]
    else:
        damaged = [written[: data.draw(st.integers(0, len(written) - 1))]]
    for each in damaged:
        with pytest.raises(FormatError, match=r"^demo\.codec: "):
            ContextTables.from_bytes(each, "demo.codec")
    for child in (0, 127, 255):
        changed = bytearray(written)
        changed[39] = child
        with pytest.raises(FormatError, match=r"^demo\.codec: damaged: nodes: each but the first, and each leaf, must be"):
            ContextTables.from_bytes(bytes(changed), "demo.codec")


def test_start_weights_are_those_of_a_known_recursion() -> None:
    """Differences that are 0.9 of the last one, less half the one before: an autoregression's weights are its own."""
    rng = np.random.default_rng(0)
    differences = np.zeros(20_000)
    for t, noise in enumerate(rng.normal(0, 50, len(differences) - 2), 2):
        differences[t] = 0.9 * differences[t - 1] - 0.5 * differences[t - 2] + noise
    series = np.rint(differences.cumsum()).astype(np.int64)[:, None]
    weights = fit_start_weights(series)
    assert weights.dtype == np.int16
    np.testing.assert_allclose(weights[:3] / 2**14, (0.9, -0.5, 0), atol=0.03)
    assert np.abs(fit_start_weights(np.zeros((100, 2), np.int64))).max() == 0
    assert np.abs(fit_start_weights(np.zeros((1, 1), np.int64))).max() == 0


def test_a_file_of_tables_holds_both_coders_and_is_checked() -> None:
    x = samples_of("walk", (40, 12), "uint8", 7)
    spec = SampleSpec((3, 4), "uint8")
    data = fit_tables(spec, x, np.clip(x, 9, 240), 8).to_bytes()
    found = ResidualTables.from_bytes(spec, data, "demo.residuals")
    assert found.to_bytes() == data
    assert found.prediction.part.to_bytes() == fit_residuals("image", (3, 4), x, 8).part.to_bytes()
    assert found.prediction.part.to_bytes() != found.corrections.part.to_bytes()
    for at in range(len(data)):
        damaged = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        for each in (damaged, data[:at]):
            with pytest.raises(FormatError, match=r"^demo\.residuals: (not a file|damaged|residuals' tables of version)"):
                ResidualTables.from_bytes(spec, each, "demo.residuals")
