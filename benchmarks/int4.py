"""What 4-bit kernels cost and save in the files of a 784-512-256-30 with random weights: bytes, and latency per signature.

    python benchmarks/int4.py

Three files of equal operations: kernels of 8 bits, of 4 bits as bytes, and packed, two values a byte. Latency is that of
one sample on one thread; the files take turns, in blocks, and the best block's median counts.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tiedae.calibration import Representative, quantize_post_training
from tiedae.compress import LayerConfig, ModelConfig, QuantizeConfig, Scaling, TiedAutoencoder
from tiedae.export import lower, to_onnx, to_tflite
from tiedae.program.program import SIGNATURES
from tiedae.runtimes.table import RUNTIMES

LAYERS = (LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(30))
KINDS = {"8 bits": (8, "bytes"), "4 bits, bytes": (4, "bytes"), "4 bits, packed": (4, "packed")}
RUNTIME = {"tflite": "litert-xnnpack", "onnx": "ort-cpu"}
ROUNDS, BLOCK = 10, 100


def main() -> None:
    print("| kernels | file | bytes | gzip | encode | decode | reconstruct |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        files = {(form, kind): write(Path(folder), form, kind) for form in RUNTIME for kind in KINDS}
        times = latencies(files)
        for (form, kind), paths in files.items():
            data = paths["reconstruct"].read_bytes()
            spent = " | ".join(f"{times[form, kind, signature]:.1f} µs" for signature in SIGNATURES)
            print(f"| {kind} | .{form} | {len(data):,} | {len(gzip.compress(data, 9)):,} | {spent} |")


def write(folder: Path, form: str, kind: str) -> dict[str, Path]:
    """The file of each signature."""
    bits, int4 = KINDS[kind]
    model = TiedAutoencoder(ModelConfig(LAYERS, "sigmoid", 784))
    x = np.random.default_rng(0).uniform(size=(256, 784)).astype(np.float32)
    data = Representative(np.arange(len(x)), x, 0, Scaling("byte", 0.0, 255.0), len(x))
    quantize_post_training(model, data, QuantizeConfig(method="ptq", bits=(bits,)))
    if form == "tflite":
        path = folder / f"{bits}.{int4}.tflite"
        path.write_bytes(to_tflite(lower(model, "net", layout="split"), int4=int4))
        return dict.fromkeys(SIGNATURES, path)
    paths = {signature: folder / f"{bits}.{int4}.{signature}.onnx" for signature in SIGNATURES}
    for signature, path in paths.items():
        path.write_bytes(to_onnx(lower(model, "net", layout="fused"), signature=signature, int4=int4))
    return paths


def latencies(files: dict[tuple[str, str], dict[str, Path]]) -> dict[tuple[str, str, str], float]:
    """Microseconds by (form, kind, signature)."""
    calls: dict[tuple[str, str, str], Callable[[], object]] = {}
    for (form, kind), paths in files.items():
        session = RUNTIMES[RUNTIME[form]].open(paths)
        for signature in SIGNATURES:
            x = np.full((1, 30 if signature == "decode" else 784), 100, np.uint8)
            calls[form, kind, signature] = lambda session=session, signature=signature, x=x: session.run(signature, x)
    medians: dict[tuple[str, str, str], list[float]] = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            medians[key].append(1e6 * float(np.median([seconds(call) for _ in range(BLOCK)])))
    return {key: min(values) for key, values in medians.items()}


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
