"""Latency of two .onnx files at each level of ONNX Runtime's graph optimizations, without tiedae, in turns, one thread.

    python benchmarks/strangers_speed.py BEFORE AFTER --name PACKAGE/FILE [--seconds 10]

Both run the first inputs of strangers_inputs.py. Prints as JSON the medians in ms, level → [before, after].
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import onnxruntime
from strangers_inputs import cases
from strangers_judge import OnnxFile

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
BURN_IN = 3


def medians(files: list[Path], name: str, level: str, seconds: float) -> list[float]:
    """ms of each file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    sessions = [onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in files]
    feeds = dict(next(cases(name, OnnxFile(files[0]).inputs())).calls[0])
    times: list[list[float]] = [[] for _ in sessions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) <= 2 * BURN_IN:
        for session, found in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(None, feeds)
            found.append(1000 * (time.perf_counter() - start))
    return [median(found[BURN_IN:]) for found in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs=2, metavar="FILE")
    parser.add_argument("--name", required=True, metavar="PACKAGE/FILE")
    parser.add_argument("--seconds", type=float, default=10.0, help="per level")
    arguments = parser.parse_args()
    print(json.dumps({level: medians(arguments.files, arguments.name, level, arguments.seconds) for level in LEVELS}))


if __name__ == "__main__":
    main()
