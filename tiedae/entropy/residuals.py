"""Residuals of integer samples against a predictor: lossless, or within a bound. docs/reference/format.md, "Residuals".

Integers alone, 64 bits: the same samples on every device. The autoencoder's reconstruction `y` is optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.config.sample_spec import INTEGERS, Integer, Kind, channels_of

from .channels import Links, fit_links, unexplained
from .contexts import ALONE, ContextTree, grow
from .lanes import LaneReader, write
from .predictors import (
    TAPS,
    features_of,
    fit_start_weights,
    frames_of,
    open_predictor,
    streams_of,
    waves_of,
    within,
)
from .rans import RAW_BITS, SUM, SUM_BITS, DamagedFrames, least_bits, refuse
from .tables import FrequencyTables, fit_counts
from .tokens import BITS, LARGEST, ZERO, extra_bits, is_token, residuals_of, tokens_of

T = TypeVar("T")
LARGEST_BOUND = LARGEST
_AT_ONCE = 1 << 22
"""Values of frames that are coded together, about: enough lanes for speed, few enough for memory."""
_TRAINING_VALUES = 1 << 19
"""Training values that `fit_residuals` takes, at most."""
_TRAINING_BOUNDS = (0, 1, *(3 << octave for octave in range(15)))
"""Bounds whose residuals the tables are fitted to, all together: those between two parts of the training values' range."""
_FINEST_OCTAVE, _COARSEST_OCTAVE = 12, 2
"""These parts are 2⁻ⁱ of the range."""
_TREE_VALUES = 1 << 20
"""Training residuals of all bounds that a tree and its tables are fitted to, at most."""
_FINE_OCTAVE = 7
"""Start weights are fitted to bounds of a part of 2⁻ⁱ at most: coarser ones leave little to learn."""
_MAGIC = b"TAER"
_WEIGHT = np.dtype("<i2")


@dataclass(frozen=True, eq=False)
class ContextTables:
    """A predictor's start weights, int16 [16], the tree of its contexts, and a frequency table for each leaf of it.

    Of a record of channels: the start weights of each, int16 [channels, 16], and their `links`.
    """

    weights: np.ndarray
    tree: ContextTree
    tables: FrequencyTables
    links: Links | None = None

    def __post_init__(self) -> None:
        shape = (TAPS,) if self.links is None else (self.links.channels, TAPS)
        if self.weights.dtype != np.int16 or self.weights.shape != shape:
            raise InputError(f"start weights: got {self.weights.dtype} {list(self.weights.shape)}, must be int16 {list(shape)}")
        if self.tables.bits != BITS or self.tables.units != self.tree.leaves:
            right = f"{self.tree.leaves} of {BITS} bits, one per context"
            raise InputError(f"tables: got {self.tables.units} of {self.tables.bits} bits, must be {right}")

    @property
    def least_bits(self) -> float:
        """Bits by which a residual lengthens a stream at least, above 0; docs/reference/format.md, "Bounds", derives it."""
        tokens, escapes = self.tables.frequencies[:, :-1], self.tables.frequencies[:, -1]
        token, escape, raw = least_bits(np.array([tokens.max(), escapes.max(), SUM >> RAW_BITS])).tolist()
        return min(token, escape + raw)

    def to_bytes(self) -> bytes:
        links = b"" if self.links is None else self.links.to_bytes()
        return _MAGIC + self.weights.astype(_WEIGHT).tobytes() + links + self.tree.to_bytes() + self.tables.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, source: object, channels: int = 1) -> ContextTables:
        """What `to_bytes` wrote for this many channels; FormatError, which starts with `source`, for anything else."""
        links_at = len(_MAGIC) + channels * TAPS * _WEIGHT.itemsize
        tree_at = links_at + Links.size_of(channels)
        if len(data) < tree_at or data[: len(_MAGIC)] != _MAGIC:
            raise FormatError(f"{source}: not the tables of residuals")
        weights = np.frombuffer(data[len(_MAGIC) : links_at], _WEIGHT).astype(np.int16)
        try:
            links = Links.from_bytes(data[links_at:tree_at], channels) if channels > 1 else None
            tree, size = ContextTree.from_bytes(data[tree_at:])
            tables = FrequencyTables.from_bytes(data[tree_at + size :], source)
            return cls(weights if links is None else weights.reshape(channels, TAPS), tree, tables, links)
        except InputError as error:
            raise FormatError(f"{source}: damaged: {error}") from None


@dataclass(frozen=True)
class ResidualCoder:
    """Codes the samples of frames, integers [samples, inputs], as residuals of a predictor.

    `kind`, `shape` and `dtype` are the samples'. The tables are those of every bound.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: Integer
    part: ContextTables = field(repr=False)

    def __post_init__(self) -> None:
        channels = self.channels
        linked = 1 if self.part.links is None else self.part.links.channels
        if linked != channels:
            raise InputError(f"links: got those of {linked} channels, must be of {channels}")
        features = features_of(self.kind, channels)
        if self.part.tree.features > features:
            raise InputError(f"nodes: got feature {self.part.tree.features - 1}, must be below {features} for {self.kind}")

    @property
    def inputs(self) -> int:
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        return channels_of(self.kind, self.shape)

    def encode(self, frames: Sequence[np.ndarray], bound: int, y: Sequence[np.ndarray] | None = None) -> list[bytes]:
        """The payload of each frame of samples; `decode` gives samples within `bound`, in the data's unit of measure.

        `y`: the frames' reconstructions, of the same shapes and dtype. Raises InputError for a bound that is not in 0…65,535,
        DataError for samples of another shape or dtype.
        """
        _require_bound(bound)
        for i, frame in enumerate(frames):
            self._require(frame, len(frame), f"frame {i}: samples")
            if y is not None:
                self._require(y[i], len(frame), f"frame {i}: y")

        def encode_lanes(lanes: list[int]) -> list[bytes]:
            x = self._streams(frames, lanes)
            base = np.zeros_like(x) if y is None else self._streams(y, lanes)
            residuals, leaves, _ = self.residuals(x, base, bound)
            return _write(self.part, residuals, leaves)

        return self._by_length([len(frame) for frame in frames], encode_lanes)

    def decode(
        self, payloads: Sequence[bytes], samples: Sequence[int], bound: int, y: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The samples of frames, [samples, inputs], from their payloads; `y` as it was encoded with.

        Raises DamagedFrames for payloads that are cut, too long, or hold a residual that no sample has. A damaged one that
        passes decodes to other samples, about one in 2¹⁶: files hold a checksum of each payload.
        """
        _require_bound(bound)
        refuse(
            {
                i: f"{len(payload)} bytes cannot hold {count} samples"
                for i, (payload, count) in enumerate(zip(payloads, samples, strict=True))
                if not 0 <= count * self.inputs <= 8 * len(payload) / self.part.least_bits
            }
        )
        for i, (each, count) in enumerate(zip(y or (), samples, strict=y is not None)):
            self._require(each, count, f"frame {i}: y")

        def decode_lanes(lanes: list[int]) -> list[np.ndarray]:
            blank = np.zeros((samples[lanes[0]], self.inputs), self.dtype)
            base = self._streams([blank] * len(samples) if y is None else y, lanes)
            reader = _ResidualReader(self.part, [payloads[i] for i in lanes], lanes, (self._span + bound) // (2 * bound + 1))
            values = self._run(
                base, bound, lambda _step, _active, _, features, signs: signs * reader.read(self.part.tree.leaves_of(features))
            )
            reader.finish()
            return list(frames_of(self.kind, self.shape, values).astype(self.dtype))

        return self._by_length(samples, decode_lanes)

    @cached_property
    def _limits(self) -> tuple[int, int]:
        limits = np.iinfo(self.dtype)
        return int(limits.min), int(limits.max)

    @property
    def _span(self) -> int:
        return self._limits[1] - self._limits[0]

    def _require(self, frame: np.ndarray, samples: int, source: str) -> None:
        if frame.dtype != self.dtype or frame.shape != (samples, self.inputs):
            right = f"{self.dtype} {[samples, self.inputs]}"
            raise DataError(f"{source}: got {frame.dtype} {list(frame.shape)}, must be {right}")

    def _streams(self, frames: Sequence[np.ndarray], lanes: list[int]) -> np.ndarray:
        return streams_of(self.kind, self.shape, np.stack([frames[i] for i in lanes]).astype(np.int32))

    def _by_length(self, counts: Sequence[int], code: Callable[[list[int]], list[T]]) -> list[T]:
        """The results of `code`, in the frames' order; it takes frames of one number of samples together.

        Raises DamagedFrames for all that `code` raises it for.
        """
        found: dict[int, T] = {}
        problems: dict[int, str] = {}
        for count in set(counts):
            same = [i for i, each in enumerate(counts) if each == count]
            most = max(1, _AT_ONCE // max(1, count * self.inputs))
            for start in range(0, len(same), most):
                lanes = same[start : start + most]
                try:
                    found.update(zip(lanes, code(lanes), strict=True))
                except DamagedFrames as error:
                    problems |= error.problems
        refuse(problems)
        return [found[i] for i in range(len(counts))]

    def residuals(
        self, x: np.ndarray, y: np.ndarray, bound: int | np.ndarray, *, with_features: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals as they are coded, in quanta and with the signs of their contexts, int32, and the leaves of these, uint8.

        Both are [symbols, lanes], in their order in a payload; `x` and `y` are [steps, streams, lanes]. `bound`: of all lanes,
        or of each, int32 [lanes]. `with_features`: also the features, int8 [features, symbols, lanes].
        """
        whole = self.part.links is None
        shape = len(x) * x.shape[1] if whole else len(x) // waves_of(self.shape).count * self.inputs, x.shape[2]
        residuals, leaves = np.empty(shape, np.int32), np.empty(shape, np.uint8)
        kept = np.empty((features_of(self.kind, self.channels) if with_features else 0, *shape), np.int8)
        end = 0

        def quantize(step: int, active: slice, prediction: np.ndarray, features: np.ndarray, signs: np.ndarray) -> np.ndarray:
            nonlocal end
            found = (x[step, active] - prediction + bound) // (2 * bound + 1)
            start, end = end, end + len(found)
            residuals[start:end] = signs * found
            if with_features:
                kept[:, start:end] = features
            else:
                leaves[start:end] = self.part.tree.leaves_of(features)
            return found

        self._run(y, bound, quantize)
        return residuals, leaves, kept

    def _run(
        self,
        y: np.ndarray,
        bound: int | np.ndarray,
        residuals_at: Callable[[int, slice, np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """The decoded values, int32 [steps, streams, lanes]; `residuals_at` takes a step and what the predictor gives."""
        limits, part = self._limits, self.part
        predictor = open_predictor(self.kind, self.shape, part.weights, y, limits, bound, part.links)
        values = np.zeros_like(y)
        for step in range(len(y)):
            active = predictor.active(step)
            prediction, features, signs = predictor.predict(step)
            residuals = residuals_at(step, active, prediction, features, signs)
            values[step, active] = within(limits, prediction + residuals * (2 * bound + 1))
            predictor.learn(step, values[step, active], residuals)
        return values


def _require_bound(bound: int) -> None:
    if not 0 <= bound <= LARGEST_BOUND:
        raise InputError(f"bound: got {bound}, must be an integer in 0…{LARGEST_BOUND}")


def _write(part: ContextTables, residuals: np.ndarray, units: np.ndarray) -> list[bytes]:
    """The streams of residuals [symbols, lanes] under these units: a token, the raw token of an escape, and the extra bits."""
    tokens, counts, extra = tokens_of(residuals)
    escaped = part.tables.frequencies[units, tokens] == 0
    symbols = np.where(escaped, part.tables.escape, tokens)
    raw = escaped * RAW_BITS
    frequencies = [part.tables.frequencies[units, symbols], SUM >> raw, SUM >> counts]
    starts = [part.tables.starts[units, symbols], escaped * tokens << SUM_BITS - raw, extra << SUM_BITS - counts]
    lanes = residuals.shape[1]
    return write(
        *(np.stack(each, axis=1, dtype=np.uint16, casting="unsafe").reshape(-1, lanes) for each in (frequencies, starts))
    )


class _ResidualReader:
    """Reads residuals from the streams of frames; of damaged ones 0 or any that are in range, until `finish` names them."""

    def __init__(self, part: ContextTables, payloads: list[bytes], frames: list[int], largest: int) -> None:
        self._part, self._frames, self._largest = part, frames, largest
        self._reader = LaneReader(payloads, frames)
        self._damaged = np.zeros(len(payloads), bool)

    def read(self, leaves: np.ndarray) -> np.ndarray:
        """The next residuals, int64 [streams, lanes], in these contexts."""
        return np.array([self._next(units) for units in leaves], np.int64).reshape(leaves.shape)

    def _next(self, units: np.ndarray) -> np.ndarray:
        tables = self._part.tables
        tokens = self._reader.symbols(tables, units)
        escaped = tokens == tables.escape
        if escaped.any():
            raw = self._reader.bits(escaped * RAW_BITS)
            self._damaged |= escaped & (tables.frequencies[units, raw] > 0)
            tokens = np.where(escaped, raw, tokens)
        unknown = ~is_token(tokens)
        tokens = np.where(unknown, ZERO, tokens)
        counts = extra_bits(tokens)
        residuals = residuals_of(tokens, self._reader.bits(counts) if counts.any() else counts)
        beyond = np.abs(residuals) > self._largest
        self._damaged |= unknown | beyond
        return np.where(beyond, 0, residuals)

    def finish(self) -> None:
        """Raise DamagedFrames unless each stream ends here and held residuals of samples."""
        impossible = dict.fromkeys(np.array(self._frames)[self._damaged].tolist(), "a residual that no sample has")
        refuse(self._reader.problems() | impossible)


def fit_residuals(
    kind: Kind,
    shape: tuple[int, ...],
    samples: np.ndarray,
    per_frame: int,
    y: np.ndarray | None = None,
    bounds: tuple[int, ...] | None = None,
) -> ResidualCoder:
    """A coder for samples like these training samples, [n, inputs], in frames of `per_frame`; `y` as in `ResidualCoder.encode`.

    Of many samples it takes frames at equal distances. `bounds`: those that it is made for, by default 0 and some of each size.
    Raises DataError for less than one sample, or another dtype.
    """
    dtype: Integer | None = next((each for each in INTEGERS if samples.dtype == each), None)
    if dtype is None or samples.ndim != 2 or not samples.size:
        right = f"{', '.join(INTEGERS)} [n, inputs], one or more"
        raise DataError(f"training samples: got {samples.dtype} {list(samples.shape)}, must be {right}")
    per_frame = min(per_frame, len(samples))
    frames = len(samples) // per_frame
    wanted = max(1, _TRAINING_VALUES // (per_frame * samples.shape[1]))
    taken = np.arange(frames)[:: -(-frames // wanted)]

    def training(values: np.ndarray) -> np.ndarray:
        cut = values[: frames * per_frame].reshape(frames, per_frame, -1)[taken]
        return streams_of(kind, shape, cut.astype(np.int32))

    x = training(samples)
    base = np.zeros_like(x) if y is None else training(y)
    span = int(x.max()) - int(x.min())
    finest, coarsest = span >> _FINEST_OCTAVE, max(1, span >> _COARSEST_OCTAVE)
    chosen = bounds or tuple(bound for bound in _TRAINING_BOUNDS if not bound or finest <= bound <= coarsest)
    weights, links = np.zeros(TAPS, np.int16), None
    if kind != "image":
        fine = [bound for bound in chosen if bound <= span >> _FINE_OCTAVE]
        if channels_of(kind, shape) > 1:
            series = waves_of(shape).series(x - base)
            links = fit_links(series)
            left = unexplained(series, links)
            weights = np.stack([fit_start_weights(each, fine) for each in left.swapaxes(0, 1)])
        else:
            weights = fit_start_weights((x - base).reshape(len(x), -1), fine)
    any_token = FrequencyTables(BITS, np.array([[0] * (1 << BITS) + [SUM]], np.uint16))
    return _fitted(ResidualCoder(kind, shape, dtype, ContextTables(weights, ALONE, any_token, links)), x, base, chosen)


def _fitted(blank: ResidualCoder, x: np.ndarray, y: np.ndarray, bounds: tuple[int, ...]) -> ResidualCoder:
    """A coder with the tree and tables of streams [steps, streams, lanes], coded within each of the bounds."""
    together, lanes = max(1, _AT_ONCE // x.size), x.shape[2]
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for some in (bounds[at : at + together] for at in range(0, len(bounds), together)):
        side_by_side = np.tile(x, len(some)), np.tile(y, len(some)), np.repeat(np.array(some, np.int32), lanes)
        residuals, _, features = blank.residuals(*side_by_side, with_features=True)
        parts.append((residuals.ravel(), features.reshape(len(features), -1)))
    rows = np.random.default_rng(0).permutation(sum(len(part[0]) for part in parts))[:_TREE_VALUES]
    residuals = np.concatenate([part[0] for part in parts])[rows]
    features = np.concatenate([part[1] for part in parts], axis=1)[:, rows]
    tree = grow(features, residuals)
    cells = tree.leaves_of(features) << BITS | tokens_of(residuals)[0]
    counts = np.bincount(cells, minlength=tree.leaves << BITS).reshape(-1, 1 << BITS)
    return replace(blank, part=replace(blank.part, tree=tree, tables=fit_counts(counts, BITS)))
