"""Convolutions in .onnx files against the stock converter's: equality, bytes, latency (parts of `convolution.py`).

Stock is tf2onnx and ONNX Runtime's quantizer. Inputs and outputs of its file are float32, so x and y of ours are too where
bytes and times are measured. Bytes are those of `reconstruct` against two stock files: of the untied twin, whose decoder has
kernels of its own, and (`…_tied`) of the same net, whose convolutions tf2onnx stores once too, as their scale is one per
tensor. Latency is against the latter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from convolution_stock import NETS, stock_onnx
from rows import Row

from tiedae.bundle.bench_results import Way
from tiedae.export import to_onnx
from tiedae.report.console import Console
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups

SECONDS, ROUNDS, BATCHES = 4.0, (60, 2000), (1, 32)
KINDS = ("ours", "stock")


def onnx_costs(console: Console) -> Sequence[Row]:
    """Bytes and latency, ours / stock."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        console.note("ONNX: stock converters")
        for index, net in enumerate(NETS.values()):
            (folder / f"{index}.ours.onnx").write_bytes(to_onnx(net.program, io="float32"))
            (folder / f"{index}.stock.onnx").write_bytes(stock_onnx(net.float_program, net.samples))
            (folder / f"{index}.untied.onnx").write_bytes(stock_onnx(net.untied, net.samples))
            np.save(folder / f"{index}.x.npy", net.samples)
        untied = _bytes(folder, "untied", "conv_onnx_bytes_ratio", "<= 0.60", "<= 0.53")
        return [untied, _bytes(folder, "stock", "conv_onnx_bytes_ratio_tied"), *_latencies(folder, console)]


def _bytes(folder: Path, other: str, name: str, reach: str = "", stretch: str = "") -> Row:
    sizes = [[(folder / f"{i}.{kind}.onnx").stat().st_size for kind in ("ours", other)] for i in range(len(NETS))]
    text = "; ".join(f"{net}: {ours:,} B against {stock:,} B" for net, (ours, stock) in zip(NETS, sizes, strict=True))
    return Row(name, max(ours / stock for ours, stock in sizes), "x", reach, stretch, text)


def _latencies(folder: Path, console: Console) -> list[Row]:
    """reconstruct, one thread, in turns."""
    console.note("ONNX: latency")
    loads = [
        tuple(Timed(kind, "ort-cpu", f"{each}.{kind}.onnx", "reconstruct", f"{each}.x.npy") for kind in KINDS)
        for each in (folder / str(i) for i in range(len(NETS)))
    ]
    rows = []
    for batch in BATCHES:
        groups = [TimedGroup(each, batch, Way.INVOKE) for each in loads]
        timings = [each.timings for each in time_groups(groups, threads=1, seconds=SECONDS, rounds=ROUNDS)]
        found = [ratio(each["ours"], each["stock"]) for each in timings]
        text = "; ".join(
            f"{net}: {each['ours'].median_us:.1f} against {each['stock'].median_us:.1f} µs, ratio {value.text}"
            for net, each, value in zip(NETS, timings, found, strict=True)
        )
        suffix, reach, stretch = ("", "<= 1.10", "<= 0.95") if batch == 1 else (f"_{batch}", "", "")
        worst = max(each.value for each in found)
        rows.append(Row(f"conv_onnx_latency_ratio{suffix}", worst, "x", reach, stretch, f"batch {batch}; {text}"))
    return rows
