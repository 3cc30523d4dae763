"""Calls are timed in turns, fairly, and ratios carry honest intervals."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import UnavailableError
from tiedae.bundle.bench_results import Way
from tiedae.export import to_onnx, to_tflite
from tiedae.verify.bench.latency import WARM_UP, Timed, TimedGroup, Timing, interleave, ratio, time_groups


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage of other tests, which takes a second to collect, does not matter on a clock of their own."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


class Calls:
    """Calls that take a stated time on a clock of their own, and write down when they came."""

    def __init__(self, **costs: int) -> None:
        self.now, self.log, self.costs = 0, [], costs

    def call(self, name: str):
        def run() -> None:
            self.log.append(name)
            self.now += self.costs[name]
            assert not gc.isenabled()

        return run

    def timings(self, rounds, seconds=0.0, sample_ns=1000) -> dict[str, Timing]:
        calls = {name: self.call(name) for name in self.costs}
        return interleave(calls, seconds=seconds, rounds=rounds, sample_ns=sample_ns, clock=lambda: self.now)


def test_a_sample_is_long_enough_and_its_mean_exact():
    calls = Calls(quick=30, slow=5000)
    timings = calls.timings((7, 7))
    assert {name: timing.inner for name, timing in timings.items()} == {"quick": 64, "slow": 1}
    assert timings["quick"].samples.tolist() == [30] * 7
    assert (timings["slow"].median_us, timings["slow"].p95_us) == (5, 5)
    assert gc.isenabled()


def test_every_round_times_each_once_after_an_untimed_call_and_the_order_rotates():
    calls = Calls(a=1000, b=1000, c=1000)
    calls.timings((3, 3))
    rounds = 3 * 3 * 2
    assert "".join(calls.log[-rounds:]) == "aabbcc" + "bbccaa" + "ccaabb"
    calibration = 3 * WARM_UP + 3 * 2 * WARM_UP
    assert len(calls.log) == calibration + rounds


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 5), (20e-6, 10), (1.0, 30)])
def test_rounds_fill_the_time_within_their_bounds(seconds, expected):
    timings = Calls(only=1000).timings((5, 30), seconds)
    assert len(timings["only"].samples) == expected


def test_the_collector_comes_back_where_a_call_fails():
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interleave({"fail": fail}, seconds=0)
    assert gc.isenabled()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(10, 1e6), min_size=5, max_size=40), st.floats(0.1, 10))
def test_what_both_share_in_a_round_cancels(samples, factor):
    baseline = np.array(samples)
    found = ratio(Timing(factor * baseline, 1), Timing(baseline, 1), resamples=50)
    assert np.allclose([found.value, found.low, found.high], factor)


def noisy_pairs(count: int) -> Iterator[tuple[Timing, Timing]]:
    """Timings whose true ratio is 1.2."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield Timing(1.2 * rng.lognormal(0, 0.1, 60), 1), Timing(rng.lognormal(0, 0.1, 60), 1)


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says():
    found = [ratio(*pair, resamples=300) for pair in noisy_pairs(100)]
    assert all(each.low <= each.value <= each.high for each in found)
    assert 88 <= sum(each.low <= 1.2 <= each.high for each in found) <= 100


def test_the_interval_is_the_same_for_the_same_seed():
    pair = next(noisy_pairs(1))
    assert ratio(*pair, seed=3) == ratio(*pair, seed=3) != ratio(*pair, seed=4)


@pytest.fixture
def subjects(make_program, tmp_path: Path) -> dict[str, Timed]:
    """The same toy model in both formats, for bytes."""
    split, fused = make_program(form="split"), make_program()
    (tmp_path / "toy.tflite").write_bytes(to_tflite(split, io="uint8"))
    (tmp_path / "toy.onnx").write_bytes(to_onnx(fused, signature="reconstruct", io="uint8"))
    np.save(tmp_path / "x.npy", np.zeros((4, 20), np.uint8))
    runtimes = {"toy.tflite": "litert-xnnpack", "toy.onnx": "ort-cpu"}
    x = str(tmp_path / "x.npy")
    return {name: Timed(name, runtime, str(tmp_path / name), "reconstruct", x) for name, runtime in runtimes.items()}


def test_a_child_times_real_runtimes_and_tells_the_provider(subjects):
    groups = [TimedGroup(tuple(subjects.values()), batch, way) for batch, way in ((1, Way.INVOKE), (4, Way.CALL))]
    measured = list(time_groups(groups, threads=1, seconds=0, rounds=(3, 3)))
    assert [each.group for each in measured] == groups
    for each in measured:
        assert each.timings.keys() == subjects.keys()
        assert all(len(timing.samples) == 3 and (timing.samples > 0).all() for timing in each.timings.values())
        assert each.providers["toy.onnx"] == "CPUExecutionProvider"


def test_a_child_that_fails_is_named_with_its_last_words(subjects, tmp_path: Path):
    Path(subjects["toy.onnx"].path).write_bytes(b"nonsense")
    with pytest.raises(UnavailableError, match=r"latency: the process failed: .*toy\.onnx"):
        list(time_groups([TimedGroup(tuple(subjects.values()), 1, Way.INVOKE)], threads=1, seconds=0, rounds=(3, 3)))
