"""Streams in Java, JavaScript and Swift: values and files are Python's, byte for byte; what was cut off is gone on with."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tiedae.codec.container import FrameSpan, Gap, is_index, pack_end, pack_frame, pack_index, read, scan
from tiedae.codec.header import FileKind
from tiedae.codec.reader import Reader, last_whole
from tiedae.data.windows import Stream, Windows

from ..export.c.models import Case, Made, samples_of
from .stream_drivers import LANGUAGES, Driver, driver
from .stream_expected import (
    MODELS,
    RECORD_MODELS,
    Expected,
    encoder_of,
    kinds_of,
    record_files,
    record_of,
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


def test_a_stream_is_as_before_a_push_that_fails(of_records: Driver, tmp_path: Path) -> None:
    """In Java and Swift a result fails, and NaN in floats; JavaScript, whose results do not fail, gets no typed array."""
    spec = of_records.made.model.spec
    steps, each = record_of(of_records.made, 4 * spec.window), spec.inputs // spec.window
    steps.tofile(tmp_path / "record")
    right = Stream(spec, 3, of_records.made.model.program.encode).push(steps)
    whole = spec.window * each
    pushes = f"!{whole} {each} !{whole} {whole} !{2 * whole} 99999"
    (answer,) = of_records.run(f"stream code {3} {tmp_path / 'record'} {tmp_path / 'codes'} {pushes}")
    value = {"int16": "Int16Array", "float32": "Float32Array"}[spec.dtype]
    message = "the result fails" if of_records.language != "javascript" else f"steps: got Array, must be {value}"
    message = "steps: got a value that is not finite" if steps.dtype.kind == "f" else message
    assert answer == "ok" + 3 * f" | {message}"
    assert (tmp_path / "codes").read_bytes() == right.tobytes()


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
    if kept and isinstance(kept[-1], Gap) and not is_index(data, kept[-1], contents.header):
        kept.pop()
    stop = kept[-1].stop if kept else contents.header.size
    whole = last_whole(data[:stop], read(data[:stop], "file"))
    before = 0 if whole is None else whole.stop
    written = [part for part in kept if part.offset >= before and not isinstance(part, Gap)]
    encoder = encoder_of(
        made, contents.header.kind, int(contents.header.bound), contents.header.samples_per_frame, after=whole, written=written
    )
    return b"".join([data[:stop] if kept else b"", *encoder.push(x), *encoder.finish()])


def require_appends(program: Driver, whole: bytes, x: np.ndarray, folder: Path) -> None:
    """Cut off at every byte: in the header it is damaged, elsewhere the bytes are those of Python for the whole parts."""
    x.tofile(folder / "more")
    for size in range(len(whole) + 1):
        (folder / f"{size}.tae").write_bytes(whole[:size])
    answers = program.run(
        *(f"append {folder / f'{size}.tae'} {folder / 'more'} {x.size} close" for size in range(len(whole) + 1))
    )
    for size, answer in enumerate(answers):
        right = python_append(program.made, whole[:size], x)
        if right is None:
            assert answer.startswith("file: is damaged or cut off"), size
        else:
            assert (answer, (folder / f"{size}.tae").read_bytes()) == ("ok", right), size


@pytest.mark.parametrize("most", [1, 3])
def test_a_new_writer_goes_on_where_a_file_was_cut_off(program: Driver, tmp_path: Path, most: int) -> None:
    x = samples_of(program.made.model.spec, 7)
    require_appends(program, encoder_of(program.made, FileKind.LOSSY, 0, most).whole(x[:5]), x[5:], tmp_path)


def test_a_new_writer_goes_on_where_a_file_of_records_was_cut_off(of_records: Driver, tmp_path: Path) -> None:
    """With ends of two records, and an index behind each."""
    made = of_records.made
    x, file = samples_of(made.model.spec, 6), b""
    for start, stop in ((0, 3), (3, 4)):
        after = last_whole(file, read(file, "file")) if file else None
        encoder = encoder_of(made, FileKind.LOSSY, 0, 2, after=after)
        file += b"".join([*encoder.push(x[start:stop], [(stop - start, 1)]), *encoder.finish()])
    require_appends(of_records, file, x[4:], tmp_path)


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


def test_a_record_shorter_than_a_window_is_written_as_in_python(of_records: Driver, tmp_path: Path) -> None:
    """Alone, behind others, ended by `close`, and appended; the time steps that are read are those that were written."""
    made, spec = of_records.made, of_records.made.model.spec
    each, window = spec.inputs // spec.window, spec.window
    every = itertools.product(((2,), (1, 2 * window, 3), (2 * window, 2)), kinds_of(made), (1, 2))
    expected = []
    for i, (sizes, (kind, bound), most) in enumerate(every):
        steps, encoder, chunks = record_of(made, sum(sizes)), encoder_of(made, kind, bound, most), []
        steps.tofile(tmp_path / f"x-{i}")
        for record in np.split(steps, np.cumsum(sizes)[:-1]):
            windows = Windows.of(record, spec)
            chunks += encoder.push(windows[:], windows.ends)
        pushed = " end ".join(str(size * each) for size in sizes)
        line = f"write {tmp_path / f'{i}.tae'} {kind:d} {bound} {most} {tmp_path / f'x-{i}'} {pushed} close"
        expected.append(Expected(line, tmp_path / f"{i}.tae", b"".join([*chunks, *encoder.finish()])))
    follow(of_records, expected)
    file, data = expected[0].path, expected[0].right
    assert of_records.run(f"append {file} {tmp_path / 'x-0'} {2 * each} close") == ["ok"]
    steps = record_of(made, 2)
    encoder = encoder_of(made, FileKind.LOSSY, 0, 1, after=last_whole(data, read(data, "file")))
    windows = Windows.of(steps, spec)
    assert file.read_bytes() == data + b"".join([*encoder.push(windows[:], windows.ends), *encoder.finish()])
    assert of_records.run(f"read {file} steps 0 2 {tmp_path / 'y'}") == ["ok 2 true"]
    right = np.concatenate(list(Reader(made.model, file.read_bytes(), "file").time_steps(0, 2)))
    assert (tmp_path / "y").read_bytes() == right.tobytes() and len(right) == 4


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


NUMBERS = {"a needless byte": b"\x81\x00", "more than 32 bits": b"\x81\x80\x80\x80\x10", "no end": b"\x81\x80\x80\x80\x80\x00"}
"""What a lenient reader takes for 1."""


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_are_as_strict_as_in_python(program: Driver, number: str, tmp_path: Path) -> None:
    """In an index, which is none then, and in a frame that seems cut off: it is damaged, and nothing is appended."""
    made = program.made
    x = samples_of(made.model.spec, 1)
    x.tofile(tmp_path / "x")
    encoder = encoder_of(made, FileKind.LOSSY, 0, 2)
    whole, header = encoder.whole(x), encoder.header
    (frame,) = read(whole, "file").frames
    entries = b"\xa7\xef" + NUMBERS[number] + bytes((frame.size,))
    index = entries + (len(entries) + 8).to_bytes(4, "little")
    index += zlib.crc32(index, header.checksum).to_bytes(4, "little")
    cut = b"\xa7\xe0" + NUMBERS[number] + bytes((100, *range(9)))
    files = {name: whole[: frame.stop] + tail for name, tail in {"index": index, "cut": cut}.items()}
    assert frame.size < 128 and not read(files["index"], "file").indexed
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    answers = program.run(
        *(f"read {tmp_path / name} all 0 0 {tmp_path / 'y'}" for name in files),
        f"append {tmp_path / 'cut'} {tmp_path / 'x'} {x.size} close",
    )
    assert answers[:2] == ["ok 1 false"] * 2 and answers[2].startswith("file: is damaged")
    assert (tmp_path / "cut").read_bytes() == files["cut"]


BORDER = 1 << 16
"""Bytes behind the header that a reader scans at once."""


def test_a_part_at_the_border_of_what_is_read_at_once_is_that_of_python(of_records: Driver, tmp_path: Path) -> None:
    """An end that is not right behind a frame is damage, also where a reader begins with it, or had it cut off."""
    made = of_records.made
    encoder = encoder_of(made, FileKind.LOSSY, 0, 1)
    one, header, end = encoder.whole(samples_of(made.model.spec, 1)), encoder.header, pack_end(encoder.header, 0)
    (frame,) = read(one, "file").frames
    first, index = one[: frame.stop], pack_index(header, [(0, 7)])
    files = {"at once": one[: header.size] + end + one[header.size :]}
    for name, before in {"frame": b"", "end": end, "index": index}.items():
        for cut in range(len(end)):
            rest = header.size + BORDER - cut - len(before) - len(first)
            filler = pack_frame(header, 0, 1, bytes(rest - 9))  # 9: its head
            assert len(filler) == rest
            files[f"{name} {cut}"] = first + filler + before + end + one[header.size :]
    for name, data in files.items():
        (tmp_path / name.replace(" ", "-")).write_bytes(data)
    answers = of_records.run(*(f"read {tmp_path / name.replace(' ', '-')} samples 0 1 {tmp_path / 'y'}" for name in files))
    right = {}
    for name, data in files.items():
        parts = list(scan(data, header.size, header))
        damage = next((part for part in parts if isinstance(part, Gap) and not is_index(data, part, header)), None)
        found = parts if damage is None else parts[: parts.index(damage)]
        right[name] = f"ok {sum(isinstance(part, FrameSpan) for part in found)} false"
    right["at once"] = "samples 0:1: must be a range in 0:0"
    assert right["frame 3"] == "ok 3 false" and right["end 3"] == "ok 2 false"
    assert dict(zip(files, answers, strict=True)) == right


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(
    language: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is cut when a reader has scanned part of it."""
    program = driver_of(language, "record", tmp_path_factory.getbasetemp() / f"{language}-record")
    encoder, file = encoder_of(program.made, FileKind.LOSSY, 0, 1), tmp_path / "x.tae"
    one = encoder.whole(samples_of(program.made.model.spec, 1))
    (frame,) = read(one, "file").frames
    file.write_bytes(one[: frame.offset] + one[frame.offset : frame.stop] * (30_000_000 // frame.size))
    with subprocess.Popen(program.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(f"read {file} all 0 0 {tmp_path / 'y'}\n")
        process.stdin.close()
        before = bytes_read_at_open(process.pid, file)
        while bytes_read(process.pid) < before + 4 * BORDER:
            assert process.poll() is None
        os.truncate(file, BORDER)
        try:
            process.wait(60)
        finally:
            process.kill()
        assert re.fullmatch(
            r"file: got 0 bytes at \d+, must be 65536: it became shorter while it was read\n", process.stdout.read()
        )


def bytes_read(pid: int) -> int:
    """What a process has read, of all files."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def bytes_read_at_open(pid: int, file: Path) -> int:
    """What it has read as soon as it has opened a file."""
    while True:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if each.readlink() == file:
                    return bytes_read(pid)


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
        none = "record: got none of its time steps, must be one or more"
        cases += [
            (f"write {file} 0 0 2 {values} end", none),
            (f"write {file} 0 0 2 {values} {2 * each} end end", none),
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
