"""The result of a search: the Pareto front and the chosen point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tiedae.base.records import Record, plain
from tiedae.bundle.results import Fit
from tiedae.report.search.front import COUNTED

from .constraints import SearchLimits
from .other_coders import CodersMeasured
from .space import Space
from .trial import Outcome

SCHEMA = 1


class FloatBaseline(Record, frozen=True):
    """The recipe's float model: validation error and fidelity, bytes and latency of its .tflite file."""

    error: float
    bytes: int
    latency_us: float | None = None
    fidelity: Fit | None = None


def bits_count(space: Space, limits: SearchLimits) -> bool:
    """Whether the front has bits per sample beside error and bytes: they are limited, or the space has several rates."""
    return limits.bits < math.inf or len(space.values.get("rate", ())) > 1


NOISE = 0.05
"""Latencies within this fraction count as equal."""


def pareto(outcomes: Sequence[Outcome], counted: str, *, timed: bool, rated: bool = False) -> list[Outcome]:
    """The finished outcomes that no other dominates in error and size, in latency if `timed` and bits if `rated`, by size."""

    def costs(outcome: Outcome) -> tuple[float, float, float, float]:
        size = outcome.size(counted)
        assert outcome.error is not None and size is not None
        return size, outcome.error, (outcome.bits or 0.0) if rated else 0.0, (outcome.latency_us or 0.0) if timed else 0.0

    front: dict[tuple[float, float, float, float], Outcome] = {}
    for outcome in sorted((each for each in outcomes if each.state == "complete"), key=costs):
        size, error, bits, latency = costs(outcome)
        if not any(s <= size and e <= error and b <= bits and t <= latency * (1 + NOISE) for s, e, b, t in front):
            front[size, error, bits, latency] = outcome
    return list(front.values())


def describe(
    front: Sequence[Outcome],
    trials: Sequence[Outcome],
    latency_us: Mapping[int | None, float | None],
    limits: SearchLimits,
    reference: FloatBaseline,
    space: Space,
    others: CodersMeasured | None = None,
) -> dict[str, Any]:
    """The front as JSON: limits, reference, space, chosen and closest point, all points and all trials.

    The chosen point has the lowest error within the limits if bytes or bits are limited, else the least bits of several rates,
    else the smallest file. `others`: what other coders need, where bits count.
    """
    assert space.recipe.search is not None
    counted = space.recipe.search.size
    points = [
        _row(outcome, limits, reference, counted, latency_us.get(outcome.number, outcome.latency_us))
        | {"name": f"point-{place:02}"}
        for place, outcome in enumerate(front, 1)
    ]
    met = [point for point in points if point["meets"]]
    limited = min(limits.bytes, limits.bits) < math.inf
    cost = "error" if limited else "bits" if bits_count(space, limits) else COUNTED[counted]
    return {
        "schema": SCHEMA,
        "limits": limits.to_json(),
        "size": counted,
        "reference": plain(reference),
        "space": space.values,
        "chosen": min(met, key=lambda point: point[cost])["name"] if met else None,
        "closest": min(points, key=lambda point: point["excess"])["name"] if points else None,
        "front": points,
        "trials": [_row(outcome, limits, reference, counted, outcome.latency_us) for outcome in trials],
        "others": plain(others),
    }


def _row(
    outcome: Outcome, limits: SearchLimits, reference: FloatBaseline, counted: str, latency_us: float | None
) -> dict[str, Any]:
    row = {
        "trial": outcome.number,
        "state": outcome.state,
        "point": dict(outcome.point),
        "error": outcome.error,
        "fidelity": plain(outcome.fidelity),
        "bytes": outcome.bytes,
        "gzip_bytes": outcome.gzip_bytes,
        "bits": outcome.bits,
        "latency_us": latency_us,
    }
    size = outcome.size(counted)
    if outcome.error is None or size is None:
        return row | {"note": outcome.note}
    increase = outcome.error / reference.error - 1
    excess = limits.excess(size, increase, latency_us, outcome.bits)
    return row | {
        "error_increase": increase,
        "meets": max(excess.values()) <= 0,
        "excess": sum(max(0.0, each) for each in excess.values()),
    }
