"""The figures of streams in Java, JavaScript and, where it is found, Swift: equality with Python, kills, the time of a push."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from apps_native import bench_times
from rows import Row

from tiedae.bundle.bundle import Bundle
from tiedae.codec.container import read
from tiedae.codec.header import FileKind
from tiedae.codec.opening import bundle_of
from tiedae.codec.reader import Reader
from tiedae.compress import CheckError
from tiedae.report.console import Console

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from tests.apps.stream_drivers import LANGUAGES, Driver, driver  # noqa: E402
from tests.apps.stream_expected import (  # noqa: E402
    MODELS,
    RECORD_MODELS,
    Expected,
    encoder_of,
    record_files,
    sample_files,
    window_results,
)
from tests.export.c.models import Made, samples_of  # noqa: E402

KILLED = ("java", "javascript")
KILLS, SAMPLES, SEED = 25, 3000, 0
"""Kills of each of those, in frames of one sample."""


def stream_rows(folder: Path, console: Console) -> list[Row]:
    languages = [name for name in LANGUAGES if name != "swift" or shutil.which("swift-build")]
    values, files, counts = 0, 0, [0, 0]
    for language in languages:
        console.note(f"streams in {language} …")
        for name, case in MODELS.items():
            place = folder / f"{language}-{name}"
            place.mkdir()
            made = case.made()
            program, is_record = driver(language, made, place), name in RECORD_MODELS
            results = window_results(made, place) if is_record else []
            written = [*sample_files(made, place), *(record_files(made, place) if is_record else [])]
            values += differing(program, results)
            files += differing(program, written)
            counts = [counts[0] + len(results), counts[1] + len(written)]
            if language in KILLED and name == "record":
                require_kills(program, made, place)
    without = "" if "swift" in languages else "; no Swift here"
    what = f"{', '.join(languages)}{without}; {len(MODELS)} models, hops of 1, 2 and a window, pieces of any size"
    java, c = push_times(folder)
    times = f"{np.median(java) / 1000:.2f} µs in Java, {np.median(c) / 1000:.2f} µs in C, in turns; the model of examples/"
    overhead = float(np.median(java - c)) / 1000
    kills = (
        f"kill −9 of {KILLS} writers in Java and {KILLS} in Node.js, at a random size; the next one goes on to Python's bytes"
    )
    return [
        Row("stream_values_different", values, "", "== 0", "", f"of {counts[0]} streams: {what}"),
        Row("stream_files_different", files, "", "== 0", "", f"of {counts[1]} files: {what}"),
        Row("stream_kills_survived", 1, "", "== 1", "", kills),
        Row("push_overhead_us", overhead, "µs", "<= 8", "<= 2", f"a push of one window: {times}"),
    ]


def differing(program: Driver, expected: Sequence[Expected]) -> int:
    """How many files are not what they have to be."""
    answers = program.run(*(each.line for each in expected))
    return sum(answer != "ok" or each.path.read_bytes() != each.right for answer, each in zip(answers, expected, strict=True))


def require_kills(program: Driver, made: Made, folder: Path) -> None:
    """Kill writers; CheckError where what is left is not whole frames, or a new writer does not end in Python's file."""
    rng, file, rest = random.Random(SEED), folder / "killed.tae", folder / "rest"
    x, inputs = samples_of(made.model.spec, SAMPLES), made.model.spec.inputs
    right = encoder_of(made, FileKind.LOSSY, 0, 1).whole(x)
    x.tofile(folder / "all")
    killed = 0
    while killed < KILLS:
        file.unlink(missing_ok=True)
        line = f"write {file} 0 0 1 {folder / 'all'} {f'{inputs} ' * SAMPLES}close\n"
        if not _killed(program, line, file, rng.randrange(len(right))):
            continue
        killed += 1
        left = file.read_bytes()
        if not right.startswith(left) or len(left) < 24:
            raise CheckError(f"{program.language}: {len(left)} bytes of a killed writer are not the start of the file")
        count = sum(map(len, Reader(made.model, left, "left").samples()))
        x[count:].tofile(rest)
        if program.run(f"append {file} {rest} {inputs * SAMPLES} close") != ["ok"] or file.read_bytes() != right:
            raise CheckError(f"{program.language}: after {len(left)} bytes of a killed writer: another file than Python's")


def _killed(program: Driver, line: str, file: Path, size: int) -> bool:
    """Whether a writer was killed when it had written more than `size` bytes; it may have ended before."""
    with subprocess.Popen(program.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stdin
        process.stdin.write(line)
        process.stdin.flush()
        while process.poll() is None and not (file.exists() and file.stat().st_size > max(size, 24)):
            time.sleep(0.0002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return read(file.read_bytes(), file).indexed is False


def push_times(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Nanoseconds of pushes of a window in Java and of calls in C, by turn, of the example's bundle."""
    place = folder / "push"
    place.mkdir()
    with zipfile.ZipFile(ROOT / "examples" / "bundle.zip") as archive:
        archive.extractall(place / "run")
    bundle: Bundle = bundle_of(place / "run")
    (place / "window.bin").write_bytes(bundle.golden()["x"][0].tobytes())
    return bench_times(place, bundle, "PushBench", place / "window.bin")
