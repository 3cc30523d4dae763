"""Residuals as docs/reference/format.md states them, one value at a time, in Python's integers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from tiedae.entropy.residuals import ContextTables


class Stream:
    """The symbols of a stream, read as the document says. IndexError past its end."""

    def __init__(self, part: ContextTables, payload: bytes) -> None:
        self.part, self.payload, self.at = part, payload, 4
        self.x = int.from_bytes(payload[:4], "little")

    def advance(self, frequency: int, start: int) -> None:
        self.x = frequency * (self.x >> 14) + self.x % 2**14 - start
        if self.x < 2**16:
            self.x = self.x << 16 | self.payload[self.at] | self.payload[self.at + 1] << 8
            self.at += 2

    def bits(self, count: int) -> int:
        value = self.x % 2**14 >> 14 - count
        self.advance(2 ** (14 - count), value << 14 - count)
        return value

    def leaf(self, features: list[int]) -> int:
        child = 0 if len(self.part.tree.nodes) else 128
        while child < 128:
            feature, threshold, below, above = self.part.tree.nodes[child].tolist()
            child = above if features[feature] >= threshold else below
        return child - 128

    def residual(self, leaf: int) -> int:
        table = self.part.tables.frequencies[leaf].tolist()
        token, start = 0, 0
        while self.x % 2**14 >= start + table[token]:
            start += table[token]
            token += 1
        self.advance(table[token], start)
        if token == 256:
            token = self.bits(8)
        place = abs(token - 128)
        if place < 32:
            magnitude = place
        else:
            extra = (place - 32) // 8 + 2
            magnitude = ((8 + place % 8) << extra) + (self.bits(extra) if extra else 0)
        return magnitude if token > 128 else -magnitude


def decode(
    kind: str, shape: Sequence[int], limits: tuple[int, int], part: ContextTables, payload: bytes, samples: int, bound: int,
    y: Sequence[Sequence[int]],
) -> list[list[int]]:  # fmt: skip
    stream = Stream(part, payload)
    inputs = len(y[0])
    out = [[0] * inputs for _ in range(samples)]
    if kind == "image":
        images = [image(shape, each, limits, bound) for each in y]
        for step, sample in product(range(inputs), range(samples)):
            out[sample][step] = take(images[sample], stream)
    elif kind == "record" and len(shape) > 1:
        decode_channels(shape, limits, part, stream, bound, y, out)
    elif kind == "record":
        series = signal([each for row in y for each in row], part.weights.tolist(), limits, bound)
        for sample, step in product(range(samples), range(inputs)):
            out[sample][step] = take(series, stream)
    else:
        columns = [signal([row[i] for row in y], part.weights.tolist(), limits, bound) for i in range(inputs)]
        for sample, step in product(range(samples), range(inputs)):
            out[sample][step] = take(columns[step], stream)
    assert stream.x == 2**16
    assert stream.at == len(payload)
    return out


def decode_channels(
    shape: Sequence[int], limits: tuple[int, int], part: ContextTables, stream: Stream, bound: int, y: Sequence[Sequence[int]],
    out: list[list[int]],
) -> None:  # fmt: skip
    """Samples of several channels: in a wave u the step u − k of each channel k."""
    steps, channels = shape[0], len(y[0]) // shape[0]
    assert part.links is not None
    links = [list(zip(*(each[k].tolist() for each in (part.links.distances, part.links.lags, part.links.weights)), strict=True))
             for k in range(channels)]  # fmt: skip
    changes: list[dict[int, int]] = [{} for _ in range(channels)]

    def linked(k: int, t: int) -> int:
        total = sum(weight * (changes[k + j][t - lag] if t >= lag else 0) for j, lag, weight in links[k])
        return clip(total, (-(2**37), 2**37 - 1))

    series = [
        signal([row[i * channels + k] for row in y for i in range(steps)], part.weights[k].tolist(), limits, bound, k,
               lambda t, k=k: linked(k, t), changes[k])
        for k in range(channels)
    ]  # fmt: skip
    for sample, wave, k in product(range(len(y)), range(steps + channels - 1), range(channels)):
        if 0 <= wave - k < steps:
            out[sample][(wave - k) * channels + k] = take(series[k], stream)


def take(series: object, stream: Stream) -> int:
    features, sign = next(series)  # type: ignore[call-overload]
    return series.send(sign * stream.residual(stream.leaf(features)))  # type: ignore[attr-defined]


def clip(value: int, limits: tuple[int, int]) -> int:
    return min(max(value, limits[0]), limits[1])


def half_octave(m: int) -> int:
    thresholds = [1, *(m << e >> 1 for e in range(1, 20) for m in (2, 3))]
    return sum(m >= each for each in thresholds)


def distance(value: int, bound: int) -> int:
    reached = sum(8 * abs(value) >= each * (2 * bound + 1) for each in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256))
    return -reached if value < 0 else reached


def signal(  # type: ignore[no-untyped-def]
    y: Sequence[int], weights: list[int], limits: tuple[int, int], bound: int, channel=None, linked=lambda _: 0, changes=None
):
    w, h, recent, last, slow, sign = list(weights), [0] * 16, [0] * 8, 0, 0, 1
    for t, base in enumerate(y):
        others = linked(t)
        change = (64 * sum(a * b for a, b in zip(w, h, strict=True)) + others + 2**19) >> 20
        quantum = 2 * bound + 1
        prediction = clip(base + last + (change + bound) // quantum * quantum, limits)
        activity = sum(a * b for a, b in zip((4, 3, 2, 2, 1, 1, 1, 1), recent, strict=True))
        differences = [base + last + change - prediction, change, h[0], h[1], sum(h[:4]), sum(h)]
        features = [half_octave(activity), half_octave(slow >> 6), *(distance(sign * each, bound) for each in differences)]
        q = yield [*features, bound.bit_length(), *([] if channel is None else [min(channel, 127)])], sign
        value = clip(prediction + q * quantum, limits)
        if changes is not None:
            changes[t] = value - base - last if t else 0
        yield value
        if t:
            up = (q > 0) - (q < 0)
            w = [clip(a + 16 * up * ((b > 0) - (b < 0)), (-(2**15), 2**15 - 1)) for a, b in zip(w, h, strict=True)]
            h = [value - base - last - ((others + 2**19) >> 20), *h[:-1]]
            recent = [abs(q), *recent[:-1]]
            slow += (min(abs(q), 1023) << 8) - (slow >> 6)
            if abs(value - base - last) > bound:
                sign = 1 if value - base > last else -1
        last = value - base


def edge(left: int, up: int, corner: int) -> int:
    return sorted((left, up, left + up - corner))[1]


def image(shape: Sequence[int], y: Sequence[int], limits: tuple[int, int], bound: int):  # type: ignore[no-untyped-def]
    width = shape[0] if len(shape) == 1 else shape[1]
    channels = 1
    for size in shape[2:]:
        channels *= size
    values: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    for i, base in enumerate(y):
        row, column, channel = i // (width * channels), i // channels % width, i % channels
        left, up = (row, column - 1, channel), (row - 1, column, channel)
        corner, right = (row - 1, column - 1, channel), (row - 1, column + 1, channel)
        if row == 0:
            up = corner = right = left
        elif column == 0:
            left = corner = up
        if row and column == width - 1:
            right = up
        near = [values.get(each, (0, 0, 0)) for each in (left, up, corner, right)]
        (a, b, c, d), (ea, eb, ec, _) = [n[0] for n in near], [n[0] - n[1] for n in near]
        prediction = clip(sorted((edge(a, b, c), base + edge(ea, eb, ec), base))[1], limits)
        activity = 2 * near[0][2] + 2 * near[1][2] + near[2][2] + near[3][2] + abs(a - c) + abs(b - c) + abs(b - d)
        lightness = sum(prediction - limits[0] >= each for each in (1, 4, 16, 64, 192))
        features = [half_octave(activity), lightness, *(distance(each - prediction, bound) for each in (a, b, d, base))]
        q = yield [*features, min(near[0][2], 8), min(near[1][2], 8), bound.bit_length()], 1
        value = clip(prediction + q * (2 * bound + 1), limits)
        yield value
        values[row, column, channel] = value, base, abs(q)
