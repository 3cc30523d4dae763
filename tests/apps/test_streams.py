"""Streams in Java, JavaScript and Swift: values and files are Python's, byte for byte; what was cut off is gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tiedae.codec.container import Gap, read, scan
from tiedae.codec.header import FileKind
from tiedae.codec.reader import Reader, last_whole

from ..export.c.models import Case, Made, samples_of
from .stream_drivers import LANGUAGES, Driver, driver
from .stream_expected import (
    MODELS,
    RECORD_MODELS,
    Expected,
    encoder_of,
    kinds_of,
    record_files,
    sample_files,
    window_results,
)

pytestmark = pytest.mark.ci


@cache
def made_of(case: Case) -> Made:
    return case.made()


@cache
def driver_of(language: str, name: str, folder: Path) -> Driver:
    return driver(language, made_of(MODELS[name]), folder)


@pytest.fixture(scope="module", params=[(language, name) for language in LANGUAGES for name in MODELS], ids="-".join)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    language, name = request.param
    return driver_of(language, name, tmp_path_factory.getbasetemp() / f"{language}-{name}")


@pytest.fixture(scope="module", params=[(language, name) for language in LANGUAGES for name in RECORD_MODELS], ids="-".join)
def of_records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    language, name = request.param
    return driver_of(language, name, tmp_path_factory.getbasetemp() / f"{language}-{name}")


def follow(program: Driver, expected: Sequence[Expected]) -> None:
    assert program.run(*(each.line for each in expected)) == ["ok"] * len(expected)
    for each in expected:
        assert each.right and each.path.read_bytes() == each.right, each.line


def test_files_of_samples_are_those_of_python(program: Driver, tmp_path: Path) -> None:
    follow(program, sample_files(program.made, tmp_path))


def test_packets_decode_alone(program: Driver, tmp_path: Path) -> None:
    made = program.made
    x = samples_of(made.model.spec, 7)
    x.tofile(tmp_path / "x")
    cases = [(kind, bound, most) for kind, bound in kinds_of(made) for most in (1, 5)]
    lines = [
        f"packets {kind:d} {bound} {most} {tmp_path / 'x'} {tmp_path / str(i)}" for i, (kind, bound, most) in enumerate(cases)
    ]
    answers = program.run(*lines)
    for i, (kind, bound, most) in enumerate(cases):
        encoder = encoder_of(made, kind, bound, most, frame_only=True)
        right = [*encoder.push(x), *encoder.finish()]
        whole = Reader(made.model, encoder_of(made, kind, bound, most).whole(x), "file")
        assert answers[i] == f"ok {sum(map(len, right))}"
        assert (tmp_path / str(i)).read_bytes() == np.concatenate(list(whole.samples())).tobytes()


def test_results_of_windows_are_those_of_python(of_records: Driver, tmp_path: Path) -> None:
    follow(of_records, window_results(of_records.made, tmp_path))


def test_files_of_records_are_those_of_python(of_records: Driver, tmp_path: Path) -> None:
    """And the time steps of ranges of their windows are."""
    made, files = of_records.made, record_files(of_records.made, tmp_path)
    follow(of_records, files)
    for file in files:
        ranges = [(start, stop, tmp_path / f"{start}-{stop}") for start, stop in ((0, 9), (3, 5), (4, 9), (8, 9))]
        lines = [f"read {file.path} steps {start} {stop} {path}" for start, stop, path in ranges]
        assert of_records.run(*lines) == ["ok 9 true"] * len(lines)
        for start, stop, path in ranges:
            right = np.concatenate(list(Reader(made.model, file.right, "file").time_steps(start, stop)))
            assert path.read_bytes() == right.tobytes(), (start, stop)


def python_append(made: Made, data: bytes, x: np.ndarray) -> bytes | None:
    """What goes on behind the whole frames of a file; None where there is no whole header."""
    if len(data) < 24:
        return None
    contents = read(data, "file")
    kept = list(scan(data, contents.header.size, contents.header))
    while kept and isinstance(kept[-1], Gap) and not contents.indexed:
        kept.pop()
    stop = kept[-1].stop if kept else contents.header.size
    whole = last_whole(data[:stop], read(data[:stop], "file")) if contents.indexed else None
    written = [part for part in kept if not isinstance(part, Gap)] if whole is None else ()
    encoder = encoder_of(
        made, contents.header.kind, int(contents.header.bound), contents.header.samples_per_frame, after=whole, written=written
    )
    return b"".join([data[:stop] if kept else b"", *encoder.push(x), *encoder.finish()])


@pytest.mark.parametrize("most", [1, 3])
def test_a_new_writer_goes_on_where_a_file_was_cut_off(program: Driver, tmp_path: Path, most: int) -> None:
    """At 60 places: in the header it is damaged, elsewhere the bytes are those of Python for the whole frames."""
    made = program.made
    x = samples_of(made.model.spec, 9)
    x[7:].tofile(tmp_path / "more")
    whole = encoder_of(made, FileKind.LOSSY, 0, most).whole(x[:7])
    frames = [frame.stop for frame in read(whole, "file").frames]
    cuts = [0, 5, *range(24, len(whole) + 1, max(1, len(whole) // 60)), *frames, len(whole) - 1, len(whole)]
    for i, size in enumerate(cuts):
        (tmp_path / f"{i}.tae").write_bytes(whole[:size])
    inputs = made.model.spec.inputs
    answers = program.run(*(f"append {tmp_path / f'{i}.tae'} {tmp_path / 'more'} {2 * inputs} close" for i in range(len(cuts))))
    for i, size in enumerate(cuts):
        right = python_append(made, whole[:size], x[7:])
        if right is None:
            assert answers[i].startswith("file: is damaged or cut off"), size
        else:
            assert (answers[i], (tmp_path / f"{i}.tae").read_bytes()) == ("ok", right), size


def test_appends_are_those_of_python(program: Driver, tmp_path: Path) -> None:
    """Twice behind a whole file; then the last index is cut off, and the frames behind two earlier ones are kept."""
    made = program.made
    x, inputs = samples_of(made.model.spec, 12), made.model.spec.inputs
    file = tmp_path / "x.tae"
    file.write_bytes(right := encoder_of(made, FileKind.LOSSY, 0, 2).whole(x[:5]))
    for start, stop in ((5, 8), (8, 9)):
        x[start:stop].tofile(tmp_path / "more")
        assert program.run(f"append {file} {tmp_path / 'more'} {inputs * (stop - start)} close") == ["ok"]
        encoder = encoder_of(made, FileKind.LOSSY, 0, 2, after=last_whole(right, read(right, "file")))
        right += b"".join([*encoder.push(x[start:stop]), *encoder.finish()])
        assert file.read_bytes() == right
    file.write_bytes(right[:-3])
    x[9:].tofile(tmp_path / "more")
    assert program.run(
        f"append {file} {tmp_path / 'more'} {inputs * 3} close", f"read {file} samples 0 12 {tmp_path / 'y'}"
    ) == ["ok", "ok 12 true"]
    reader = Reader(made.model, file.read_bytes(), "file")
    assert reader.problems == [] and reader.contents.indexed
    assert (tmp_path / "y").read_bytes() == np.concatenate(list(reader.samples())).tobytes()


def test_records_are_appended_behind_an_end_and_its_index(of_records: Driver, tmp_path: Path) -> None:
    """The index lists the end before it and the old index as one entry."""
    made, file = of_records.made, record_files(of_records.made, tmp_path)[0]
    file.path.write_bytes(file.right)
    x = samples_of(made.model.spec, 2)
    x.tofile(tmp_path / "more")
    assert of_records.run(f"append {file.path} {tmp_path / 'more'} {x.size} end close") == ["ok"]
    encoder = encoder_of(made, FileKind.LOSSY, 0, 1, after=last_whole(file.right, read(file.right, "file")))
    assert file.path.read_bytes() == file.right + b"".join([*encoder.push(x, [(2, 0)]), *encoder.finish()])


def test_a_range_reads_no_other_frame(program: Driver, tmp_path: Path) -> None:
    made = program.made
    x = samples_of(made.model.spec, 300)
    for kind, bound in kinds_of(made):
        data = bytearray(encoder_of(made, kind, bound, 7).whole(x))
        right = np.concatenate(list(Reader(made.model, bytes(data), "file").samples(100, 200)))
        (tmp_path / "whole.tae").write_bytes(data)
        for frame in read(bytes(data), "file").frames:
            if frame.first + frame.samples <= 100 or frame.first >= 200:
                data[frame.offset : frame.stop] = bytes(frame.size)
        (tmp_path / "rest.tae").write_bytes(data)
        answers = program.run(
            f"read {tmp_path / 'rest.tae'} samples 100 200 {tmp_path / 'y'}",
            f"read {tmp_path / 'rest.tae'} samples 90 200 {tmp_path / 'z'}",
            f"read {tmp_path / 'whole.tae'} samples 290 301 {tmp_path / 'z'}",
            f"read {tmp_path / 'whole.tae'} all 0 0 {tmp_path / 'all'}",
        )
        assert answers[0] == "ok 300 true" and (tmp_path / "y").read_bytes() == right.tobytes()
        assert answers[1].startswith("file: is damaged") and answers[2] == "samples 290:301: must be a range in 0:300"
        everything = np.concatenate(list(Reader(made.model, (tmp_path / "whole.tae").read_bytes(), "file").samples()))
        assert answers[3] == "ok 300 true" and (tmp_path / "all").read_bytes() == everything.tobytes()


def test_a_file_without_its_index_gives_its_whole_frames(program: Driver, tmp_path: Path) -> None:
    """Cut in its index and in a frame; with another byte in a frame, what is before it, and nothing is appended."""
    made = program.made
    x = samples_of(made.model.spec, 200)
    data = encoder_of(made, FileKind.LOSSY, 0, 1).whole(x)
    frames = read(data, "file").frames
    turned = bytearray(data[:-9])
    turned[frames[40].stop - 1] ^= 1
    files = {"index": (data[:-9], 200), "frame": (data[: frames[150].stop - 2], 150), "turned": (bytes(turned), 40)}
    for name, (content, count) in files.items():
        (tmp_path / name).write_bytes(content)
        x.tofile(tmp_path / "x")
        answers = program.run(
            f"read {tmp_path / name} samples {count - 30} {count} {tmp_path / 'y'}",
            f"read {tmp_path / name} all 0 0 {tmp_path / 'z'}",
        )
        right = made.model.program.samples(made.model.program.reconstruct(x[:count])[1])
        assert answers == [f"ok {count} false"] * 2
        assert (tmp_path / "y").read_bytes() == right[-30:].tobytes() and (tmp_path / "z").read_bytes() == right.tobytes()
    indexed = bytes(turned) + data[-9:]
    (tmp_path / "indexed").write_bytes(indexed)
    answers = program.run(*(f"append {tmp_path / name} {tmp_path / 'x'} close" for name in ("turned", "indexed")))
    assert all(answer.startswith("file: is damaged") for answer in answers)
    assert [(tmp_path / name).read_bytes() for name in ("turned", "indexed")] == [bytes(turned), indexed]


def test_the_header_is_written_at_the_first_write(program: Driver, tmp_path: Path) -> None:
    """So a writer that was killed before its first frame leaves a file that is appended to."""
    made, file = program.made, tmp_path / "x.tae"
    x = samples_of(made.model.spec, 3)
    x.tofile(tmp_path / "x")
    encoder = encoder_of(made, FileKind.LOSSY, 0, 2)
    assert program.run(f"write {file} 0 0 2 {tmp_path / 'x'} {made.model.spec.inputs}") == ["ok"]
    assert file.read_bytes() == encoder.whole(x)[: encoder.header.size]
    assert program.run(f"append {file} {tmp_path / 'x'} {x.size} close") == ["ok"]
    assert file.read_bytes() == encoder_of(made, FileKind.LOSSY, 0, 2).whole(x)


CRAFTED = {
    "markers of frames of half a megabyte": bytes((0xA7, 0xEF)) + bytes((0xA7, 0xD0, 0x80, 0x80, 0x20)) * 300_000,
    "places that state an index up to there": bytes((0xA7, 0xEF))
    + b"".join((place + 8).to_bytes(4, "little") for place in range(2, 1_000_000, 4)),
}
"""Bytes behind a header that are no index, which begins with a7 ef."""


@pytest.mark.parametrize("crafted", CRAFTED)
def test_crafted_bytes_are_read_within_the_time_limit_of_the_driver(program: Driver, crafted: str, tmp_path: Path) -> None:
    made = program.made
    encoder = encoder_of(made, FileKind.LOSSY, 0, 2)
    header = encoder.whole(samples_of(made.model.spec, 1))[: encoder.header.size]
    (tmp_path / "x.tae").write_bytes(header + CRAFTED[crafted])
    assert program.run(f"read {tmp_path / 'x.tae'} all 0 0 {tmp_path / 'y'}") == ["ok 0 false"]


def test_what_cannot_be_is_refused(program: Driver, tmp_path: Path) -> None:
    made = program.made
    spec = made.model.spec
    x, other = samples_of(spec, 4), made_of(next(case for case in MODELS.values() if case.name != made.program.name))
    x.tofile(tmp_path / "x")
    foreign = encoder_of(other, FileKind.LOSSY, 0, 2).whole(samples_of(other.model.spec, 3))
    (tmp_path / "other.tae").write_bytes(foreign)
    each = spec.inputs // spec.window
    file, values = tmp_path / "new.tae", tmp_path / "x"
    twice = "writer: is closed" if program.language == "javascript" else "ok"
    cases = [
        (f"append {tmp_path / 'other.tae'} {values} close", f"file: is of another model, must be of {made.program.name}"),
        (f"write {file} 0 0 2 {values} close", "samples: got none, must be one or more"),
        (f"write {file} 0 0 2 {values} {spec.inputs} close {spec.inputs}", "writer: is closed"),
        (f"write {file} 0 0 0 {values} close", "samplesPerFrame: got 0, must be 1 to 65535"),
        (f"write {file} 0 0 2 {values} {x.size} close close", twice),
    ]
    if each > 1:
        cases.append(
            (f"write {file} 0 0 2 {values} {each + 1}", f"samples: got {each + 1} values, must be a multiple of {each}")
        )
    if spec.kind == "record":
        short = f"record: got 2 time steps, must be {spec.window} or more, a window"
        cases += [
            (f"write {file} 0 0 2 {values} {2 * each} end", short),
            (f"write {file} 0 0 2 {values} {2 * each} close", short),
            (f"stream code 0 {values} {file} {each}", f"hop: got 0, must be 1 to {spec.window}"),
        ]
    if x.dtype.kind == "f":
        odd = x.copy()
        odd[0, 0] = np.nan
        odd.tofile(tmp_path / "odd")
        cases.append((f"write {file} 0 0 2 {tmp_path / 'odd'} {spec.inputs}", "samples: got a value that is not finite"))
    assert program.run(*(line for line, _ in cases)) == [text for _, text in cases]
    assert (tmp_path / "other.tae").read_bytes() == foreign


def test_a_full_disk_is_an_error_and_no_index_follows(program: Driver, tmp_path: Path) -> None:
    """A write after it is refused, and `close` writes nothing: it does not fail again. In JavaScript the caller writes."""
    made = program.made
    samples_of(made.model.spec, 4).tofile(tmp_path / "x")
    full = ("No space left on device", "ENOSPC", "There isn’t enough space")
    if program.language == "javascript":
        (answer,) = program.run(f"write /dev/full 0 0 1 {tmp_path / 'x'} {made.model.spec.inputs} close")
        assert any(text in answer for text in full)
        return
    (answer,) = program.run(f"write /dev/full 0 0 1 {tmp_path / 'x'} ! ! close close")
    done, first, second = answer.split(" | ")
    assert done == "ok" and any(text in first for text in full)
    assert second == "writer: an earlier write failed; append continues behind the whole frames of the file"
