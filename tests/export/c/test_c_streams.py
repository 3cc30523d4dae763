"""Streams in C: results of every window are Python's of whole arrays, whatever the pieces; errors leave a stream as it was."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tiedae.codec.detector import integer_errors
from tiedae.codec.streams import StreamEncoder
from tiedae.config.sample_spec import SampleSpec
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import to_c

from ...variants import every
from .compiled import STRICT, compiler
from .models import Made, samples_of
from .stream_library import ARGUMENT, OK, RECORDS, CStream, StreamResults, cut, stream_source, windows_of

NAMES = [case.name for case in RECORDS]
STEPS = 100
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Made, CStream]]:
    found = {}
    for case in RECORDS:
        made = case.made()
        units = made.program.tensors["code"].size
        source = stream_source(made.model, made.detector)
        found[case.name] = made, CStream(source, made.model.spec, units, tmp_path_factory.mktemp(case.name))
    return found


def steps_of(spec: SampleSpec) -> np.ndarray:
    return samples_of(spec, STEPS // spec.shape[0] + 1).reshape(-1, *spec.shape[1:])[:STEPS]


def right(made: Made, hop: int) -> StreamResults:
    """Of whole arrays, by the program."""
    backend, scoring = made.model.program, made.detector.scoring
    x = windows_of(steps_of(backend.spec), backend.spec.shape[0], hop).reshape(-1, backend.spec.inputs)
    codes, y = backend.reconstruct(x)
    totals = scoring.totals(integer_errors(scoring, backend, x)[0])
    encoder = StreamEncoder(made.model, backend, samples_per_frame=1, frame_only=True)
    samples = backend.samples(y).reshape(-1, *backend.spec.shape)
    return StreamResults(codes, samples, totals, totals > made.detector.thresholds.fused, tuple(encoder.push(x)))


def same(parts: list[StreamResults | int], wanted: StreamResults) -> None:
    for name in ("codes", "y", "scores", "flags"):
        found = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(found, getattr(wanted, name), name)
    assert tuple(frame for part in parts if isinstance(part, StreamResults) for frame in part.frames) == wanted.frames


@pytest.mark.parametrize("name", every(2, NAMES))
@settings(max_examples=20)
@given(st.data())
def test_pieces_of_any_size_give_what_python_does(
    streams: dict[str, tuple[Made, CStream]], name: str, data: st.DataObject
) -> None:
    made, stream = streams[name]
    window = made.model.spec.shape[0]
    hop = data.draw(st.integers(1, window))
    pieces = cut(steps_of(made.model.spec), data.draw(st.lists(st.integers(0, 3 * window), max_size=20)))
    assert stream.begin(hop) == OK
    same([stream.push(piece) for piece in pieces], right(made, hop))


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_a_window_and_two_numbers(streams: dict[str, tuple[Made, CStream]], name: str) -> None:
    made, stream = streams[name]
    window, size = made.model.sample_bytes, np.dtype(np.uintp).itemsize
    assert stream.bytes == 2 * size + -(-window // size) * size


@pytest.mark.parametrize("name", NAMES)
def test_a_hop_that_skips_steps_is_a_status(streams: dict[str, tuple[Made, CStream]], name: str) -> None:
    made, stream = streams[name]
    window = made.model.spec.shape[0]
    assert [stream.begin(hop) for hop in (0, 1, window, window + 1)] == [ARGUMENT, OK, OK, ARGUMENT]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_leaves_the_stream_as_it_was(streams: dict[str, tuple[Made, CStream]], bad: float) -> None:
    """Before, in and behind a window that is full."""
    made, stream = streams["floats"]
    steps, wanted = steps_of(made.model.spec), right(made, 2)
    assert stream.begin(2) == OK
    parts = []
    for start in range(0, STEPS, 4):
        wrong = steps[start : start + 1].copy()
        wrong[0, 5] = bad
        assert stream.push(wrong) == ARGUMENT
        parts.append(stream.push(steps[start : start + 4]))
    same(parts, wanted)


def test_only_a_file_that_encodes_a_record_has_streams(streams: dict[str, tuple[Made, CStream]]) -> None:
    made, _ = streams["axes"]
    backend = made.model.program
    unit = DataUnit(backend.spec, backend.maps, backend.io)
    images = replace(unit, spec=structs.replace(unit.spec, kind="image"))
    there = {
        name: "stream" in "".join(to_c(made.program, **options).files.values())
        for name, options in {
            "record": {"unit": unit},
            "encoder": {"unit": unit, "signatures": ["encode"]},
            "decoder": {"unit": unit, "signatures": ["decode"]},
            "image": {"unit": images},
            "no unit": {},
        }.items()
    }
    assert there == {"record": True, "encoder": True, "decoder": False, "image": False, "no unit": False}


@pytest.mark.parametrize("name", NAMES)
def test_a_null_pointer_is_a_status(streams: dict[str, tuple[Made, CStream]], name: str) -> None:
    assert streams[name][1].nulls() == 4


def test_the_program_of_the_documentation_compiles(tmp_path: Path) -> None:
    (text,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "guides" / "c.md").read_text(encoding="utf-8"), re.DOTALL)
    prototype = "int on_steps(const heartbeat_value *steps, size_t count, void (*send)(const uint8_t *code));\n"
    (tmp_path / "own.c").write_text(text.replace("/* Any", f"{prototype}/* Any"), encoding="utf-8")
    command = [compiler(), *STRICT, "-I", ROOT / "examples" / "c" / "src", "-c", tmp_path / "own.c", "-o", tmp_path / "own.o"]
    subprocess.run(command, check=True, timeout=60)
