"""A manifest, metrics, golden vectors, kernels and masks as a run writes them, for tests of the pages without any run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tiedae.base.records import plain
from tiedae.data.samples import Samples
from tiedae.data.scaling_fit import fit_scaling
from tiedae.report.samples import is_image

RUNTIMES = {"litert-xnnpack": "XNNPACK", "litert-reference": "reference kernels", "ort-cpu": "CPUExecutionProvider"}


def skipped_row(what: str, reason: str) -> dict[str, str]:
    return {"kind": "opens", "why": "not installed", "what": what, "reason": reason}


RECIPE = {"model": {"layers": [{"units": 12, "activation": "relu"}, {"units": 5}]}, "prune": {}}


def program_text(inputs: int) -> dict[str, Any]:
    """A float program of two layers, as the manifest has it."""
    sizes = {"x": inputs, "encoder_0": 12, "code": 5, "decoder_1": 12, "y": inputs}
    kernels = {"kernel_0": (inputs, 12), "kernel_1": (12, 5)}
    steps = [("x", "encoder_0", 0), ("encoder_0", "code", 1), ("code", "decoder_1", 1), ("decoder_1", "y", 0)]
    operations = [
        {"op": "Dense", "x": x, "y": y, "kernel": f"kernel_{i}", "transposed": at > 1, "bias": None, "activation": "linear"}
        for at, (x, y, i) in enumerate(steps)
    ]
    return {
        "tensors": {name: {"size": size, "quantization": None} for name, size in sizes.items()},
        "kernels": {name: {"name": name, "inputs": n, "units": m, "scales": [], "bits": 8} for name, (n, m) in kernels.items()},
        "encoder": operations[:2],
        "decoder": operations[2:],
        "constants": {},
    }


def bundle_parts(shape=(8, 8), dtype="uint8", rule: Any = "byte", *, samples=64, stock=True, seed=0):
    """(manifest, metrics, golden, kernels, masks) as a run writes them, around random samples."""
    rng = np.random.default_rng(seed)
    inputs = int(np.prod(shape))
    if dtype == "uint8":
        x = rng.integers(0, 256, (samples, inputs)).astype(np.uint8)
    else:
        x = (rng.normal(size=(samples, inputs)).cumsum(axis=1) * 40).astype(dtype)
    scaling = fit_scaling(rule, Samples(x))
    y = scaling.apply(x) + rng.normal(0, 0.05, x.shape).astype(np.float32)
    quantization = {"scale": float(np.float32(1 / 255)), "zero_point": 0, "bits": 8}
    golden = {
        "x": x,
        "code": rng.integers(0, 256, (samples, 5)).astype(np.uint8),
        "y": np.clip(np.rint(y * 255), 0, 255).astype(np.uint8),
        "code.f32": rng.normal(size=(samples, 5)).astype(np.float32),
        "y.f32": y.astype(np.float32),
    }
    data = {"source": "toy.npy", "inputs": inputs, "shape": list(shape), "dtype": dtype, "scaling": plain(scaling)}
    data |= {"kind": "image" if is_image(shape) else "record", "train": 9000, "validation": 0, "test": 1000}
    data |= {"sha256": "12" * 32}
    manifest = {
        "schema": 1,
        "created_by": "tiedae 0.1.0",
        "name": "toy",
        "seed": 7,
        "recipe": {"name": "toy", "data": {"source": "toy.npy", "window": 0 if dtype == "uint8" else 256}} | RECIPE,
        "data": data,
        "model": {"widths": [inputs, 12, 5], "activations": ["relu", "linear"], "output_activation": "sigmoid"},
        "tensors": {name: dict(quantization) for name in ("x", "code", "y")},
        "operations": dict.fromkeys(("split", "fused"), program_text(inputs)),
        "versions": {},
        "kernels": [
            {"name": "kernel_0", "shape": [inputs, 12], "scale": [0.01], "sha256": "ab" * 32, "pruned": inputs * 6},
            {"name": "kernel_1", "shape": [12, 5], "scale": [0.01] * 5, "sha256": "cd" * 32, "pruned": 0},
        ],
        "files": {},
    }
    masks = {"kernel_0": np.arange(inputs * 12).reshape(inputs, 12) % 2 == 1, "kernel_1": np.ones((12, 5), bool)}
    kernels = {name: (rng.integers(-127, 128, mask.shape) * mask).astype(np.int8) for name, mask in masks.items()}
    return manifest, _metrics(data, stock), golden, kernels, masks


def _metrics(data, stock):
    files = [
        ("toy.int8.tflite", 552_352, "tflite", "int8", "tiedae", 1),
        ("toy.int8.onnx", 565_397, "onnx", "int8", "tiedae", 1),
        ("toy.f32.tflite", 2_170_004, "tflite", "f32", "tiedae", 1),
    ]
    quality = [
        {"title": "Keras float", "stage": "train", "error": 6.8214},
        {"title": "Keras pruned", "stage": "prune", "error": 6.9127},
        {"title": "Keras int8 simulation", "stage": "quantize", "error": 6.8931},
        *(
            {"title": f"tiedae {file}", "stage": "export", "error": error, "precision": precision, "runtime": runtime}
            for file, error, precision, runtime in (
                ("toy.int8.tflite", 6.8955, "int8", "litert-xnnpack"),
                ("toy.int8.tflite", 6.9049, "int8", "litert-reference"),
                ("toy.int8.onnx", 6.8933, "int8", "ort-cpu"),
                ("toy.f32.tflite", 6.9128, "f32", "litert-xnnpack"),
            )
        ),
    ]
    if stock:
        files += [
            ("toy.stock.int8.tflite", 1_149_792, "tflite", "int8", "stock", 2, 0.079),
            ("toy.stock.int8.onnx", 1_096_765, "onnx", "int8", "stock", 2),
        ]
        quality += [{"title": "stock toy.stock.int8.tflite", "stage": "stock", "error": 8.0231, "precision": "int8"}]
    keys = ("file", "bytes", "format", "precision", "maker", "kernel_copies", "agreement")
    parity = []
    for (runtime, provider), differing in zip(RUNTIMES.items(), (0, 1, 0), strict=True):
        file = "toy.int8.onnx" if runtime == "ort-cpu" else "toy.int8.tflite"
        identity = {"file": file, "runtime": runtime, "provider": provider, "precision": "int8", "signature": "encode"}
        histogram = {"0": 300_000 - differing} | ({"1": differing} if differing else {})
        codes = {
            "kind": "codes",
            "tensor": "code",
            "count": 300_000,
            "differing": differing,
            "max_lsb": differing,
            "histogram": histogram,
        }
        product = {"kind": "operations", "tensor": "y", "count": 200, "differing": 3, "max_lsb": 1}
        product |= {"histogram": {"-1": 3, "0": 197}}
        parity += [identity | codes, identity | product]
    floats = {"kind": "float", "precision": "f32", "tensor": "y", "signature": "decode", "reference": "keras"}
    floats |= {"file": "toy.f32.tflite", "runtime": "litert-xnnpack", "provider": "XNNPACK"}
    parity.append(floats | {"count": 64, "differing": 9, "max_abs": 3e-7})
    stages = {"train": (24, 0.041), "prune": (8, 0.0102), "quantize": (8, 0.0094)}
    return {
        "name": "toy",
        "errors": [],
        "data": data,
        "history": [
            {"stage": stage, "epoch": epoch, "loss": loss / epoch**0.5, "validation_loss": 1.1 * loss / epoch**0.5}
            for stage, (epochs, loss) in stages.items()
            for epoch in range(1, epochs + 1)
        ],
        "quality": quality,
        "files": [dict(zip(keys, row, strict=False)) for row in files],
        "parity": parity,
        "storage": [
            {"file": row[0], "kernel": name, "statement": "copies", "ok": True, "text": "stored once, 768 integers equal"}
            for row in files
            if row[4] == "tiedae"
            for name in ("kernel_0", "kernel_1")
        ],
        "checks": [
            {"kind": "codes", "file": "toy.int8.tflite", "ok": True, "value": 0.99999, "limit": ">= 0.999"}
            | {"text": "1 of 300000 differs"},
            {"kind": "storage", "file": "toy.int8.onnx", "ok": True, "value": 0, "limit": "== 0"}
            | {"text": "every kernel stored once"},
        ],
        "skipped": [skipped_row("ort-cuda on int8", "no CUDA device <here>")],
        "versions": {"tensorflow": "2.21.0", "numpy": "2.4.6"},
    }


@pytest.fixture(scope="session")
def make_parts() -> Callable[..., tuple]:
    return bundle_parts


def bench(prefix: str = "") -> dict[str, Any]:
    """What `tiedae bench` adds to metrics.json: three cases of five subjects."""
    dtypes = "uint8 → uint8"
    subjects = [
        ("tiedae int8 tflite", "tiedae", "tflite", "int8", "litert-xnnpack", 15.2, 0.953),
        ("TFLiteConverter int8 tflite", "stock", "tflite", "int8", "litert-xnnpack", 16.0, None),
        ("tiedae int8 onnx", "tiedae", "onnx", "int8", "ort-cpu", 21.5, 1.021),
        ("ONNX Runtime int8 onnx", "stock", "onnx", "int8", "ort-cpu", 21.1, None),
        ("Keras, tf.function", "keras", "keras", "f32", "tensorflow", 1903.0, 125.2),
    ]
    latency = [
        {
            "subject": prefix + subject,
            "file": f"toy.{precision}.{format_}",
            "maker": maker,
            "format": format_,
            "precision": precision,
            "signature": "reconstruct",
            "runtime": runtime,
            "provider": "CPU",
            "way": way,
            "batch": batch,
            "threads": 1,
            "dtypes": dtypes,
            "median_us": median * batch,
            "p95_us": 1.2 * median * batch,
            "throughput": 1e6 / median,
            "rounds": 100,
            "calls_per_sample": 1,
            "ratio": ratio and {"value": ratio, "low": 0.98 * ratio, "high": 1.02 * ratio},
            "against": prefix + "TFLiteConverter int8 tflite" if ratio else None,
            "note": "",
        }
        for way, batch in (("call", 1), ("invoke", 32), ("invoke", 1))
        for subject, maker, format_, precision, runtime, median, ratio in subjects
    ]
    owner = {"subject": prefix + "tiedae int8 tflite", "maker": "tiedae", "file": "toy.int8.tflite"}
    owner |= {"format": "tflite", "precision": "int8", "runtime": "litert-xnnpack", "provider": "XNNPACK", "processes": 5}
    memory = {"signatures": ["reconstruct"], "resident_bytes": 3 << 20, "ratio": 0.81, "against": "stock"}
    machine = {"cpu": "A <CPU>", "cores": 2, "governor": "", "system": "Linux", "python": "3.12.0", "load_average": [0.9]}
    return {
        "latency": latency,
        "memory": [owner | memory],
        "startup": [owner | {"signature": "reconstruct", "startup_ms": 1.25, "import_ms": 80.0}],
        "sizes": [],
        "machine": machine | {"warning": "the machine is busy"},
        "versions": {},
        "skipped": [skipped_row("ort-cuda", "no GPU <here>")],
    }


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., dict[str, Any]]:
    return bench
