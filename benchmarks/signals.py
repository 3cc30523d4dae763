"""Signals: splits by groups, streams in Python and in C against whole arrays, channels in lossless files, warnings, intervals.

    python benchmarks/signals.py --json signals.json

The records are the ECG that ships, and six channels of it: at three lags, and three mixtures. The nets are small and trained
for few epochs: how well they reconstruct does not matter here. Times are medians of interleaved turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row, report_parts
from signals_channels import channels_row
from signals_intervals import interval_rows
from signals_splits import groups_leaked_row
from signals_warnings import record_warning_row

from tiedae import Anomaly, Dataset, TiedAutoencoder, export_bundle, quantize
from tiedae.codec.codec import Codec
from tiedae.compress import CheckError, DataConfig, ExportConfig
from tiedae.data.samples import Samples
from tiedae.data.scaling_fit import fit_scaling
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

sys.path.append(str(Path(__file__).parent.parent))
from tests.export.c.stream_library import OK, CStream, cut, stream_source, windows_of

WINDOW = 32
SAMPLES = 1500
"""Windows of a record that a net is trained and measured on."""
HOPS = (5, 16, WINDOW)
PUSHES = 1000
LARGEST_PUSH = 3 * WINDOW // 2
TURNS = 400
"""Short ones, of 20 windows, so that other processes disturb both sides of most."""


def main() -> int:
    return report_parts(__doc__ or "", "Signals", PARTS)


def stream_rows(console: Console) -> Sequence[Row]:
    with tempfile.TemporaryDirectory() as work:
        codecs = {channels: codec_of(record(channels), Path(work) / f"record-{channels}") for channels in (1, 6)}
        found = {}
        for channels, codec in codecs.items():
            for hop in HOPS:
                found[f"{channels} channels, hop {hop}"] = differing(codec, hop, Path(work))
                console.note(f"{channels} channels, hop {hop}: {found[f'{channels} channels, hop {hop}']} values differ")
        detail = f"{PUSHES:,} pushes of 0 to {LARGEST_PUSH} steps, Python ({codecs[1].runtime}) and C; {', '.join(found)}"
        different = Row("stream_values_different", sum(found.values()), "values", "== 0", "", detail)
        return [different, ratio_row(codecs[1])]


PARTS: Mapping[str, Callable[[Console], Sequence[Row]]] = {
    "splits": lambda _: [groups_leaked_row()],
    "streams": stream_rows,
    "channels": lambda _: [channels_row()],
    "warnings": lambda _: [record_warning_row()],
    "intervals": interval_rows,
}


def record(channels: int) -> np.ndarray:
    """int16 [n] of one channel: the ECG; [n, 6]: at three lags, and in three mixtures."""
    first = load_dataset(DataConfig("ecg", window=WINDOW, split="tail"), "linear").train.values.reshape(-1)
    lags = np.stack([np.roll(first, lag) for lag in (0, 7, 19)], axis=1).astype(np.float64)
    mixtures = lags @ np.array([[0.5, 0.5, 0.0], [0.3, 0.0, 0.7], [-1.0, 1.0, 1.0]]).T
    return first if channels == 1 else np.rint(np.concatenate([lags, mixtures], axis=1)).astype(np.int16)


def codec_of(steps: np.ndarray, folder: Path) -> Codec:
    """The codec of an anomaly bundle of windows of a record."""
    windows = steps[: SAMPLES * WINDOW].reshape(-1, WINDOW, *steps.shape[1:])
    cuts = [SAMPLES * 7 // 10, SAMPLES * 17 // 20]
    train, validation, test = (Samples(part) for part in np.split(windows, cuts))
    scaling = fit_scaling("auto", train, output_activation="linear")
    config = DataConfig("array", test=0.15, validation=0.15)
    data = Dataset(train, validation, test, scaling, windows=True, config=config).with_scaling(scaling)
    model = TiedAutoencoder([24, 8], activation="relu", output_activation="linear")
    model.fit(data, epochs=4, verbose=0)
    export = ExportConfig(stock=False, targets=("onnx",))
    small = quantize(model, data, epochs=0)
    return export_bundle(small, folder, data=data, export=export, task=Anomaly(), verbose=False).load()


def differing(codec: Codec, hop: int, work: Path) -> int:
    """Codes, values of y, scores and flags of streams in Python and in C that differ from those of whole arrays."""
    assert codec.bundle is not None and codec.detector is not None
    rng, spec = np.random.default_rng(hop), codec.spec
    sizes = rng.integers(0, LARGEST_PUSH + 1, PUSHES).tolist()
    steps = record(spec.inputs // WINDOW)[: sum(sizes)]
    pieces, windows = cut(steps, sizes), windows_of(steps, WINDOW, hop)
    right = [codec.encode(windows), codec.reconstruct(windows), codec.score(windows), codec.is_anomaly(windows)]
    streams = [codec.stream(result, hop=hop) for result in ("code", "reconstruction", "score", "anomaly")]
    python = [np.concatenate([stream.push(piece) for piece in pieces]) for stream in streams]
    with tempfile.TemporaryDirectory(dir=work) as folder:
        compiled = CStream(stream_source(codec.file_model, codec.detector), spec, codec.code.size, Path(folder))
        in_c = by_c(compiled, hop, pieces, codec.detector.scoring.factor)
    return sum(unequal(found, wanted) for each in (python, in_c) for found, wanted in zip(each, right, strict=True))


def by_c(stream: CStream, hop: int, pieces: Sequence[np.ndarray], factor: float) -> list[np.ndarray]:
    if stream.begin(hop) != OK:
        raise CheckError(f"stream in C: refuses a hop of {hop}")
    parts = [stream.push(piece) for piece in pieces]
    names = ("codes", "y", "scores", "flags")
    codes, y, totals, flags = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return [codes, y, totals * factor, flags]


def unequal(found: np.ndarray, wanted: np.ndarray) -> int:
    """How many values differ; all of them where there are not as many."""
    return int((found != wanted).sum()) if found.shape == wanted.shape else max(found.size, wanted.size)


def ratio_row(codec: Codec) -> Row:
    """Rows a second of pushes of one window / of `codec.encode` of one sample."""
    windows = windows_of(record(1)[: 20 * WINDOW], WINDOW, WINDOW)
    calls: tuple[Callable[[Any], Any], ...] = (codec.encode, codec.stream(hop=WINDOW).push)
    times = np.array([[seconds(call, windows) for call in calls] for _ in range(TURNS)])[TURNS // 4 :]
    one, pushed = np.median(times, axis=0) / len(windows)
    detail = f"{codec.runtime}, {1e6 * pushed:.1f} µs a push, {1e6 * one:.1f} µs a sample, medians of {len(times)} turns"
    return Row("stream_rows_ratio", one / pushed, "x", ">= 0.8", ">= 1.0", detail)


def seconds(call: Callable[[Any], Any], windows: np.ndarray) -> float:
    started = time.perf_counter()
    for window in windows:
        call(window)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
