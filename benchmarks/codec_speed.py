"""Rows of the codec's Python interface: start to first code, and what it adds to the runtime's own call."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from install import install
from rows import Row

from tiedae.bundle.bundle import Bundle
from tiedae.codec.codec import Codec
from tiedae.codec.opening import load
from tiedae.report.console import Console

ROOT = Path(__file__).parents[1]
SAMPLES = 100_000
BATCHES = (256, 512, 1024, 2048)
SECONDS = 6.0
FRESH = 9


def readme_row() -> Row:
    """Import lines in the README's Python."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if re.match(r"\s*(import|from)\s", line)]
    return Row("readme_imports", len(lines), "lines", "== 1", "", "; ".join(lines))


def load_row(bundle: Path, folder: Path, console: Console) -> Row:
    """Wall time of a fresh process with the light install: interpreter start, import, load and the first code."""
    console.note("installing the wheel with [cpu]")
    packages = install(folder, "[cpu]")
    python = packages.parents[2] / "bin" / "python"
    sample = folder / "sample.npy"
    np.save(sample, _samples(load(bundle))[0])
    program = f"import numpy, tiedae; tiedae.load({str(bundle)!r}).encode(numpy.load({str(sample)!r}))"
    times = []
    for _ in range(FRESH + 1):
        begun = time.perf_counter()
        subprocess.run([python, "-c", program], check=True, cwd=folder, capture_output=True)
        times.append(time.perf_counter() - begun)
    middle = float(np.median(times[1:]))
    detail = f"median of {FRESH} processes, {min(times[1:]):.2f} to {max(times[1:]):.2f} s, the first {times[0]:.2f} s"
    return Row("load_encode_seconds", middle, "s", "<= 1.0", "<= 0.5", detail)


def overhead_rows(bundle: Path) -> list[Row]:
    """`Codec.encode` against a bare signature runner of LiteRT on the same file, in turns, one thread."""
    codec = load(bundle, runtime="litert-xnnpack")
    opened = Bundle.open(bundle)
    file = opened.path / opened.files_of("tflite", "int8")["encode"]
    bare = Interpreter(model_path=str(file), num_threads=1).get_signature_runner("encode")
    x = _samples(codec)
    one = x[0]
    inputs = codec.backend.input(x)
    first = np.ascontiguousarray(inputs[:1])
    codes = codec.encode(x)
    if not np.array_equal(codes, np.concatenate([bare(x=inputs[i : i + 512])["code"] for i in range(0, len(x), 512)])):
        raise AssertionError("the codec gives other codes than the runtime")
    ours, theirs = _in_turns(lambda: codec.encode(one), lambda: bare(x=first), SECONDS)
    single = np.median(ours) / np.median(theirs)
    detail = f"{np.median(ours):.2f} against {np.median(theirs):.2f} µs, medians of {len(ours):,} calls, {codec.runtime}"
    works = {0: lambda: codec.encode(x)} | {batch: partial(_loop, bare, inputs, batch) for batch in BATCHES}
    seconds = _medians(works)
    whole, loops = seconds.pop(0), seconds
    best = min(loops, key=lambda batch: loops[batch])
    speed = f"{SAMPLES / whole:,.0f} against {SAMPLES / loops[best]:,.0f} samples/s at batch {best}, the best of {BATCHES}"
    return [
        Row("codec_overhead_ratio", float(single), "x", "<= 1.5", "<= 1.2", detail),
        Row("codec_rows_s_ratio", loops[best] / whole, "x", ">= 0.9", ">= 0.97", speed),
    ]


def _samples(codec: Codec) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (SAMPLES, codec.spec.inputs)).astype(codec.spec.dtype)


def _loop(runner: Any, x: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([runner(x=x[start : start + batch])["code"] for start in range(0, len(x), batch)])


def _in_turns(one: Callable[[], object], other: Callable[[], object], seconds: float) -> tuple[list[float], list[float]]:
    """Microseconds of each call, in turns of 200 calls after a warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (one, other):
        for _ in range(500):
            call()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for call, found in zip((one, other), times, strict=True):
            for _ in range(200):
                begun = time.perf_counter_ns()
                call()
                found.append((time.perf_counter_ns() - begun) / 1e3)
    return times


def _medians(works: Mapping[int, Callable[[], object]], rounds: int = 9) -> dict[int, float]:
    """Seconds of each, in turns, after a first round that does not count."""
    found: dict[int, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - begun)
    return {name: float(np.median(times[1:])) for name, times in found.items()}
