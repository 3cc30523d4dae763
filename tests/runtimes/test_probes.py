"""The latency of files: their calls take turns, and long calls are not timed."""

from functools import partial

import numpy as np
import pytest

from tiedae.base.errors import FormatError
from tiedae.runtimes import probes
from tiedae.runtimes.probes import LATENCY, LEAST, MOST, CallTurns
from tiedae.runtimes.sandbox import Job, TrialRun, _open, run_apart

from ..dedupe.tflite_files import tied_pair
from .opening import open_tflite

X = np.ones((1, 12), np.float32)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.tflite"
    path.write_bytes(tied_pair())
    return path


@pytest.fixture
def opened(path):
    return partial(open_tflite, "litert-builtin", path)


@pytest.mark.parametrize("count", [1, 2])
def test_calls_take_turns(opened, count):
    times = CallTurns(*(opened() for _ in range(count))).call("main", {"x": X})
    assert [*times] == ["0", "1"][:count] and {each.size for each in times.values()} == {MOST}
    assert min(seconds for each in times.values() for seconds in each) > 0


def test_long_calls_are_not_timed(opened, monkeypatch):
    monkeypatch.setattr(probes, "TOO_LONG", 0.0)
    with pytest.raises(FormatError, match="timed are calls of up to 0 s"):
        CallTurns(opened(), opened()).call("main", {"x": X})


@pytest.mark.parametrize("hold", [True, False])
def test_files_that_are_open_are_timed_as_they_are(path, opened, hold):
    """Others are opened; where one file is open at a time, it is closed before."""
    plan, key = {"hold": hold, "runs": [{"signature": "main"}]}, ("litert-xnnpack", str(path))
    held = {key: opened()}
    turns = _open({"runtime": LATENCY["tflite"], "paths": [str(path)]}, plan, held)
    assert isinstance(turns, CallTurns) and turns.sessions == (held[key],)
    other = path.with_name("other.tflite")
    other.write_bytes(path.read_bytes())
    _open({"runtime": LATENCY["tflite"], "paths": [str(other)]}, plan, held)
    assert [*held] == ([key] if hold else [])


def test_in_a_process_of_its_own(path):
    jobs = [Job("litert-xnnpack", (path,)), Job(LATENCY["tflite"], (path,), 1)]
    _, timed = run_apart(2 * [TrialRun("main", {"x": X})], jobs)
    assert timed.problem == "" and isinstance(timed.runs[0], dict) and timed.runs[1] is None
    assert timed.runs[0]["0"].size >= LEAST
