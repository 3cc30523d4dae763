"""The latency of two files: their calls or their sessions take turns, and long calls are not timed."""

from functools import partial

import numpy as np
import pytest
from tiedae.compress.errors import FormatError
from tiedae.export.runtimes import probes
from tiedae.export.runtimes.litert import open_litert
from tiedae.export.runtimes.probes import LATENCY, LEAST, MOST, ROUNDS, CallTurns, SessionTurns
from tiedae.export.runtimes.sandbox import Job, TrialRun, run_apart

from ..deduplicate.tflite_files import tied_pair

X = np.ones((1, 12), np.float32)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.tflite"
    path.write_bytes(tied_pair())
    return path


@pytest.fixture
def opened(path):
    return partial(open_litert, "litert-builtin", path)


def test_calls_take_turns(opened):
    times = CallTurns(opened(), opened()).call("main", {"x": X})
    assert times.keys() == {"before", "after"} and times["before"].size == times["after"].size == MOST
    assert min(*times["before"], *times["after"]) > 0


def test_sessions_take_turns_and_one_is_open_at_a_time(opened):
    log = []

    def logged(name):
        log.append(name)
        return opened()

    times = SessionTurns(partial(logged, "before"), partial(logged, "after")).call("main", {"x": X})
    assert log == ROUNDS * ["before", "after"]
    assert all(LEAST * ROUNDS <= each.size <= MOST * ROUNDS for each in times.values())


def test_long_calls_are_not_timed(opened, monkeypatch):
    monkeypatch.setattr(probes, "TOO_LONG", 0.0)
    for turns in (CallTurns(opened(), opened()), SessionTurns(opened, opened)):
        with pytest.raises(FormatError, match="timed are calls of up to 0 s"):
            turns.call("main", {"x": X})


@pytest.mark.parametrize("hold", [True, False])
def test_both_ways_in_a_process_of_their_own(path, hold):
    jobs = [Job("litert-xnnpack", (path,)), Job("litert-xnnpack", (path,)), Job(LATENCY["tflite"], (path, path), 1)]
    *_, timed = run_apart(2 * [TrialRun("main", {"x": X})], jobs, hold=hold)
    assert timed.problem == "" and isinstance(timed.runs[0], dict) and timed.runs[1] is None
    assert timed.runs[0]["before"].size == timed.runs[0]["after"].size
