"""Residuals of integer samples against a predictor: lossless, or within a bound. docs/format.md, "Residuals".

Integers alone, 64 bits: the same samples on every device. The autoencoder's reconstruction `y` is optional.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from ...compress.errors import DataError, FormatError, InputError
from ...compress.sample_spec import INTEGERS, Integer, Kind
from .damage import DamagedFrames, refuse
from .lanes import LaneReader, write
from .predictors import TAPS, contexts_of, fit_start_weights, frames_of, open_predictor, streams_of, within
from .tables import RAW_BITS, SUM, SUM_BITS, FrequencyTables, fit_counts
from .tokens import BITS, LARGEST, ZERO, extra_bits, is_token, residuals_of, tokens_of

T = TypeVar("T")
LARGEST_BOUND = LARGEST
_AT_ONCE = 1 << 22
"""Values of frames that are coded together, about: enough lanes for speed, few enough for memory."""
_TRAINING_VALUES = 1 << 22
"""Training values that `fit_residuals` takes, at most."""
_TRAINING_BOUNDS: Mapping[Integer, tuple[int, ...]] = {"uint8": (1, 2, 4, 8), "int16": (1, 4, 16, 64), "uint16": (1, 4, 16, 64)}
"""Bounds whose residuals the tables for bounded errors are fitted to, all together."""
_LEAST_COUNT = 256
"""Residuals that a table is fitted to, at least; contexts of fewer share one."""
_HEADER = struct.Struct(f"<4s{TAPS}hHI")
_MAGIC = b"TAER"
_SIZE = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class ContextTables:
    """A predictor's start weights, int16 [16], and the frequency tables: `tables` unit `places[c]` is that of context c."""

    weights: np.ndarray
    places: np.ndarray
    tables: FrequencyTables

    def __post_init__(self) -> None:
        if self.weights.dtype != np.int16 or self.weights.shape != (TAPS,):
            raise InputError(f"start weights: got {self.weights.dtype} {list(self.weights.shape)}, must be int16 [{TAPS}]")
        if self.places.dtype != np.uint8 or self.tables.bits != BITS or self.places.max(initial=0) >= self.tables.units:
            raise InputError(f"places: got {self.places.dtype}, must be uint8 below {self.tables.units} over tables of 8 bits")
        if self.tables.units > len(self.places):
            raise InputError(f"tables: got {self.tables.units}, must be {len(self.places)} at most, one per context")

    @property
    def least_bits(self) -> float:
        """Bits by which a residual lengthens a stream at least, above 0; docs/format.md, "Bounds", derives it."""
        tokens, escapes = self.tables.frequencies[:, :-1], self.tables.frequencies[:, -1]
        return min(_least_growth(int(tokens.max())), _least_growth(int(escapes.max())) + _least_growth(SUM >> RAW_BITS))

    def to_bytes(self) -> bytes:
        tables = self.tables.to_bytes()
        return _HEADER.pack(_MAGIC, *self.weights.tolist(), len(self.places), len(tables)) + self.places.tobytes() + tables

    @classmethod
    def from_bytes(cls, data: bytes, source: object) -> ContextTables:
        """What `to_bytes` wrote; FormatError, which starts with `source`, for anything else."""
        if len(data) < _HEADER.size or data[: len(_MAGIC)] != _MAGIC:
            raise FormatError(f"{source}: not the tables of residuals")
        _, *weights, contexts, size = _HEADER.unpack_from(data)
        if len(data) != _HEADER.size + contexts + size:
            raise FormatError(f"{source}: damaged: {len(data)} bytes, must be {_HEADER.size + contexts + size}")
        places = np.frombuffer(data, np.uint8, contexts, _HEADER.size)
        tables = FrequencyTables.from_bytes(data[_HEADER.size + contexts :], source)
        try:
            return cls(np.array(weights, np.int16), places, tables)
        except InputError as error:
            raise FormatError(f"{source}: damaged: {error}") from None


def _least_growth(frequency: int) -> float:
    return math.log2(0.8 * (frequency + 4 * SUM) / (4 * frequency + 1))


@dataclass(frozen=True)
class ResidualCoder:
    """Codes the samples of frames, integers [samples, inputs], as residuals of a predictor.

    `lossless` and `bounded` are the tables for bound 0 and for all others. `kind`, `shape` and `dtype` are the samples'.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: Integer
    lossless: ContextTables = field(repr=False)
    bounded: ContextTables = field(repr=False)

    def __post_init__(self) -> None:
        for name, part in (("lossless", self.lossless), ("bounded", self.bounded)):
            if len(part.places) != contexts_of(self.kind):
                raise InputError(f"{name}: got {len(part.places)} contexts, must be {contexts_of(self.kind)} for {self.kind}")

    def to_bytes(self) -> bytes:
        """Both tables; kind, shape and dtype are the bundle's."""
        lossless = self.lossless.to_bytes()
        return _SIZE.pack(len(lossless)) + lossless + self.bounded.to_bytes()

    @classmethod
    def from_bytes(cls, kind: Kind, shape: tuple[int, ...], dtype: Integer, data: bytes, source: object) -> ResidualCoder:
        """What `to_bytes` wrote; FormatError, which starts with `source`, for anything else."""
        size = _SIZE.unpack_from(data)[0] if len(data) >= _SIZE.size else 0
        parts = (data[_SIZE.size :][:size], data[_SIZE.size + size :])
        lossless, bounded = (ContextTables.from_bytes(part, source) for part in parts)
        try:
            return cls(kind, shape, dtype, lossless, bounded)
        except InputError as error:
            raise FormatError(f"{source}: damaged: {error}") from None

    @property
    def inputs(self) -> int:
        return math.prod(self.shape)

    def encode(self, frames: Sequence[np.ndarray], bound: int, y: Sequence[np.ndarray] | None = None) -> list[bytes]:
        """The payload of each frame of samples; `decode` gives samples within `bound`, in the data's unit of measure.

        `y`: the frames' reconstructions, of the same shapes and dtype. Raises InputError for a bound that is not in 0…65,535,
        DataError for samples of another shape or dtype.
        """
        part = self._part(bound)
        for i, frame in enumerate(frames):
            self._require(frame, len(frame), f"frame {i}: samples")
            if y is not None:
                self._require(y[i], len(frame), f"frame {i}: y")

        def encode_lanes(lanes: list[int]) -> list[bytes]:
            x = self._streams(frames, lanes)
            base = np.zeros_like(x) if y is None else self._streams(y, lanes)
            residuals, contexts = self._residuals(part, x, base, bound)
            return _write(part, residuals.reshape(-1, len(lanes)), contexts.reshape(-1, len(lanes)))

        return self._by_length([len(frame) for frame in frames], encode_lanes)

    def decode(
        self, payloads: Sequence[bytes], samples: Sequence[int], bound: int, y: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The samples of frames, [samples, inputs], from their payloads; `y` as it was encoded with.

        Raises DamagedFrames for payloads that are cut, too long, or hold a residual that no sample has. A damaged one that
        passes decodes to other samples, about one in 2¹⁶: files hold a checksum of each payload.
        """
        part = self._part(bound)
        refuse(
            {
                i: f"{len(payload)} bytes cannot hold {count} samples"
                for i, (payload, count) in enumerate(zip(payloads, samples, strict=True))
                if not 0 <= count * self.inputs <= 8 * len(payload) / part.least_bits
            }
        )
        for i, (each, count) in enumerate(zip(y or (), samples, strict=y is not None)):
            self._require(each, count, f"frame {i}: y")

        def decode_lanes(lanes: list[int]) -> list[np.ndarray]:
            blank = np.zeros((samples[lanes[0]], self.inputs), self.dtype)
            base = self._streams([blank] * len(samples) if y is None else y, lanes)
            reader = _ResidualReader(part, [payloads[i] for i in lanes], lanes, (self._span + bound) // (2 * bound + 1))
            values = self._run(part, base, bound, lambda _, prediction, contexts: reader.read(contexts))
            reader.finish()
            return list(frames_of(self.kind, values, self.inputs).astype(self.dtype))

        return self._by_length(samples, decode_lanes)

    @cached_property
    def _limits(self) -> tuple[int, int]:
        limits = np.iinfo(self.dtype)
        return int(limits.min), int(limits.max)

    @property
    def _span(self) -> int:
        return self._limits[1] - self._limits[0]

    def _part(self, bound: int) -> ContextTables:
        if not 0 <= bound <= LARGEST_BOUND:
            raise InputError(f"bound: got {bound}, must be an integer in 0…{LARGEST_BOUND}")
        return self.bounded if bound else self.lossless

    def _require(self, frame: np.ndarray, samples: int, source: str) -> None:
        if frame.dtype != self.dtype or frame.shape != (samples, self.inputs):
            right = f"{self.dtype} {[samples, self.inputs]}"
            raise DataError(f"{source}: got {frame.dtype} {list(frame.shape)}, must be {right}")

    def _streams(self, frames: Sequence[np.ndarray], lanes: list[int]) -> np.ndarray:
        return streams_of(self.kind, np.stack([frames[i] for i in lanes]).astype(np.int32))

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

    def _residuals(
        self, part: ContextTables, x: np.ndarray, y: np.ndarray, bound: int | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Residuals, in quanta, int32, and their contexts, uint8, [steps, streams, lanes] as `x` and `y`.

        `bound`: of all lanes, or of each, int32 [lanes].
        """
        residuals, contexts = np.empty_like(x), np.empty(x.shape, np.uint8)

        def quantize(step: int, prediction: np.ndarray, context: np.ndarray) -> np.ndarray:
            contexts[step] = context
            residuals[step] = (x[step] - prediction + bound) // (2 * bound + 1)
            return residuals[step]

        self._run(part, y, bound, quantize)
        return residuals, contexts

    def _run(
        self,
        part: ContextTables,
        y: np.ndarray,
        bound: int | np.ndarray,
        residuals_at: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """The decoded values, int32 [steps, streams, lanes]; `residuals_at` takes a step, its predictions and contexts."""
        limits = self._limits
        predictor = open_predictor(self.kind, self.shape, part.weights, y, limits)
        values = np.empty_like(y)
        for step in range(len(y)):
            prediction, contexts = predictor.predict(step)
            residuals = residuals_at(step, prediction, contexts)
            values[step] = within(limits, prediction + residuals * (2 * bound + 1))
            predictor.learn(step, values[step], residuals)
        return values


def _write(part: ContextTables, residuals: np.ndarray, contexts: np.ndarray) -> list[bytes]:
    """The streams of residuals [symbols, lanes]: of each a token, the raw token of an escape, and the extra bits."""
    tokens, counts, extra = tokens_of(residuals)
    units = part.places[contexts]
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

    def read(self, contexts: np.ndarray) -> np.ndarray:
        """The next residuals, int64 [streams, lanes], of these contexts."""
        return np.array([self._next(units) for units in self._part.places[contexts]], np.int64).reshape(contexts.shape)

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

    Of many samples it takes frames at equal distances. `bounds`: those that it is made for beside 0, by default some of each
    size. Raises DataError for less than one sample, or another dtype.
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
        return streams_of(kind, cut.astype(np.int32))

    x = training(samples)
    base = np.zeros_like(x) if y is None else training(y)
    zero = ContextTables(np.zeros(TAPS, np.int16), np.zeros(contexts_of(kind), np.uint8), _any_token())
    blank = ResidualCoder(kind, shape, dtype, zero, zero)
    chosen = _TRAINING_BOUNDS[dtype] if bounds is None else bounds
    lossless, bounded = (_fit_part(blank, x, base, each) if each else zero for each in ((0,), chosen))
    return ResidualCoder(kind, shape, dtype, lossless, bounded)


def _any_token() -> FrequencyTables:
    return FrequencyTables(BITS, np.array([[0] * (1 << BITS) + [SUM]], np.uint16))


def _fit_part(blank: ResidualCoder, x: np.ndarray, y: np.ndarray, bounds: tuple[int, ...]) -> ContextTables:
    """Start weights and tables for streams [steps, streams, lanes], pooled over bounds."""
    weights = blank.lossless.weights
    if blank.kind != "images":
        weights = fit_start_weights((x - y).reshape(len(x), -1), bounds)
    start = ContextTables(weights, blank.lossless.places, blank.lossless.tables)
    together, lanes = max(1, _AT_ONCE // x.size), x.shape[2]
    runs = []
    for some in (bounds[at : at + together] for at in range(0, len(bounds), together)):
        side_by_side = np.tile(x, len(some)), np.tile(y, len(some))
        runs.append(blank._residuals(start, *side_by_side, np.repeat(np.array(some, np.int32), lanes)))
    symbols = [contexts * np.int64(1 << BITS) + tokens_of(residuals)[0] for residuals, contexts in runs]
    counts = np.sum([np.bincount(each.ravel(), minlength=len(start.places) << BITS) for each in symbols], axis=0)
    counts = counts.reshape(-1, 1 << BITS)
    places = _shared(counts.sum(axis=1))
    pooled = [counts[places == place].sum(axis=0, keepdims=True) for place in range(int(places.max()) + 1)]
    tables = [fit_counts(each, BITS).frequencies for each in pooled]
    return ContextTables(weights, places, FrequencyTables(BITS, np.concatenate(tables)))


def _shared(counts: np.ndarray) -> np.ndarray:
    """The table of each context, uint8: consecutive contexts share one until it has enough residuals."""
    places, place, held = np.zeros(len(counts), np.uint8), 0, 0
    left = int(counts.sum())
    for context, count in enumerate(counts.tolist()):
        if held >= _LEAST_COUNT and left >= _LEAST_COUNT and count:
            place, held = place + 1, 0
        places[context] = place
        held, left = held + count, left - count
    return places
