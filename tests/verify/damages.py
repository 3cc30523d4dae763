"""The table of damages: what is changed in a bundle, and the checks that it turns red."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.bundle.bundle import PROGRAM_FILE
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics
from tiedae.export.kinds import Kind
from tiedae.verify.verify import verify_bundle

from .damaging import (
    COUNTED,
    Damage,
    after,
    again,
    another_recipe,
    appended,
    beside_keras,
    blind,
    both,
    consistent,
    constant,
    content,
    described,
    embedded,
    flagged_above,
    golden,
    graph,
    large_pairs,
    many_samples,
    moved,
    operator,
    read_as_float,
    renamed,
    rewritten,
    without_score,
)


@dataclass(frozen=True)
class Red:
    """A check that fails: of a kind and detail, perhaps of one file, with this in its text. Of kind storage: a `statement`."""

    kind: Kind
    detail: str
    text: str
    file: str = ""
    statement: str = ""


def stored(statement: str, text: str, file: str) -> Red:
    return Red(Kind.STORAGE, "", text, file, statement)


@dataclass(frozen=True)
class Case:
    """A damage of a bundle, and what turns red.

    `data`: the test samples are given; `baseline`: the metrics of the whole bundle are; `measure`: another verification, of the
    bundle and a file of samples.
    """

    bundle: str
    damage: Damage
    red: tuple[Red, ...]
    data: bool = False
    baseline: bool = False
    measure: Callable[[Path, Path], Metrics] | None = None


def better(data: bytes) -> bytes:
    """Metrics whose int8 files have half the error."""
    written = json.loads(data)
    for row in written["quality"]:
        row["error"] *= 0.5 if row["precision"] == "int8" else 1
    return json.dumps(written).encode()


TFLITE, ONNX, HALF, FLOAT = "bytes.int8.tflite", "bytes.int8.onnx", "bytes.decoder.int8.onnx", "bytes.f32.onnx"
ENCODER, FLOAT_ENCODER, FLOAT_DECODER = "bytes.encoder.int8.onnx", "bytes.encoder.f32.onnx", "bytes.decoder.f32.onnx"
ONE_UP = {"multiplier": [1] * 24, "addend": [1] * 24, "shift": [0] * 24}
TABLES, C, SCORES = "bytes.codec", "bytes.c", "table.score.int8.onnx"
CASES = {
    "a byte more": Case(
        "bytes",
        content("report.html", lambda data: data + b" "),
        (Red(Kind.SHA256, "", "report.html was changed: its sha256 is "),),
    ),
    "a file less": Case(
        "bytes", lambda bundle: (bundle / "MODEL_CARD.md").unlink(), (Red(Kind.SHA256, "", "MODEL_CARD.md is missing"),)
    ),
    "no model": Case("bytes", content(TFLITE, lambda _: b"hello"), (Red(Kind.FORMAT, "", TFLITE, TFLITE),)),
    "tables cut off": Case(
        "bytes c",
        consistent(TABLES, content(TABLES, lambda data: data[:-9])),
        (Red(Kind.FORMAT, "", TABLES, TABLES), Red(Kind.PROGRAM, "c", "cannot be written again of the bundle's program")),
    ),
    "a program cut off": Case("bytes", content(PROGRAM_FILE, lambda data: data[:-9]), (Red(Kind.PROGRAM, "", "program.npz"),)),
    "another comment in C": Case(
        "bytes c",
        consistent(C, content(C, lambda data: data.replace(b"/*", b"/* ", 1))),
        (Red(Kind.PROGRAM, "text", f"{C}: its text is not what", C),),
    ),
    "files that store kernels otherwise": Case(
        "bytes",
        both(
            embedded(FLOAT, again),
            embedded(FLOAT_ENCODER, appended("more", np.ones((3, 5), np.float32))),
            embedded(ENCODER, constant("kernel_0", lambda integers: np.where(integers == 128, 99, integers))),
            embedded(HALF, constant("kernel_0.scale", lambda scale: scale * 2)),
            embedded(ONNX, large_pairs),
        ),
        (
            stored("copies", "kernel_1: stored 2 times with the manifest's values, expected once", FLOAT),
            stored("weights", "matrices of 351 values in all, kernels of 336", FLOAT_ENCODER),
            stored("values", "values of kernel_0 differ from the program's, first at ", ENCODER),
            stored("zeros", "pruned places are not zero, first at ", ENCODER),
            stored("scales", "kernel_0 has scales [", HALF),
            stored("pairs", "pairs of neighbours add to more than 128; int8 saturates on x86-64 without VNNI", ONNX),
        ),
    ),
    "kernels of another recipe": Case(
        "bytes",
        rewritten(another_recipe),
        (
            stored("pattern", "of 4 values along its inputs are not zero, expected at most 2", TFLITE),
            stored("clusters", "distinct values, expected at most 2", TFLITE),
        ),
    ),
    "other constants of a table": Case(
        "table c",
        both(
            rewritten(lambda manifest: manifest["recipe"]["export"].update(scaled=False)),
            rewritten(lambda manifest: manifest["detector"].update(thresholds={"split": 1, "fused": 1})),
            consistent("table.c", content("table.c", lambda data: data.replace(b"sha256", b"sha25_", 1))),
        ),
        (
            stored("scaling", "0 constants scaling.offset, expected one", "table.int8.tflite"),
            stored("score", "score.threshold", "table.int8.tflite"),
            stored("sha256", "expected ", "table.c"),
        ),
    ),
    "kernels": Case(
        "bytes",
        rewritten(lambda manifest: manifest["kernels"][0].update(pruned=999)),
        (Red(Kind.MANIFEST, "kernels", "manifest kernels: states"),),
    ),
    "tensors": Case(
        "bytes",
        rewritten(lambda manifest: manifest["tensors"]["code"].update(scale=9.0)),
        (Red(Kind.MANIFEST, "tensors", "scale=9.0"),),
    ),
    "interleave": Case(
        "bytes",
        rewritten(lambda manifest: manifest["model"].update(interleave=4)),
        (Red(Kind.MANIFEST, "interleave", "states 4, found 1"),),
    ),
    "maps of integers one up": Case(
        "bytes",
        rewritten(lambda manifest: manifest.update(integer_maps={"x": ONE_UP, "y": ONE_UP})),
        (Red(Kind.MANIFEST, "integer_maps", " values of uint8 or y differ from the files' operations, expected 0"),),
    ),
    "inputs of a file": Case(
        "bytes",
        rewritten(lambda manifest: manifest["files"][ONNX]["signatures"]["reconstruct"]["inputs"][0].update(scale=9.0)),
        (Red(Kind.MANIFEST, "", f"manifest {ONNX}: states", ONNX),),
    ),
    "a file that is not listed": Case(
        "bytes",
        rewritten(lambda manifest: manifest["files"].pop(FLOAT)),
        (
            Red(Kind.MANIFEST, "files", f"the manifest does not list {FLOAT}"),
            Red(Kind.BASELINE, "checks", f"held in the baseline, not checked now: sha256 {FLOAT}, "),
        ),
        baseline=True,
    ),
    "a copy in a text of a file, and one beside it": Case(
        "bytes c",
        both(
            graph(ONNX, described("A" * 500)),
            embedded(FLOAT, described("A" * 500)),
            consistent(C, content(C, lambda data: data + b"/* " + b"A" * 30_000 + b" */\n")),
            content("weights.bin", lambda _: bytes(range(48)), new=True),
            consistent("more.bin", content("more.bin", lambda _: bytes(range(48)), new=True)),
        ),
        (
            stored("account", "the most are 500: graph.doc_string, bytes ", ONNX),
            stored("account", "the most are 500: graph.doc_string, bytes ", FLOAT),
            stored("account", "names, shapes and small constants beyond ", C),
            Red(Kind.MANIFEST, "folder", "weights.bin: in the folder, not in the manifest"),
            Red(Kind.MANIFEST, "folder", "more.bin: in the manifest, no file of a bundle"),
        ),
    ),
    "a calibration of another program": Case(
        "bytes",
        rewritten(lambda manifest: manifest["calibration"].update(program="1" * 64)),
        (Red(Kind.PROGRAM, "made for", "manifest.json: calibration: was made for the program of sha256 111111111111…"),),
    ),
    "better figures": Case(
        "bytes",
        consistent(METRICS, content(METRICS, better)),
        (Red(Kind.MANIFEST, "figures", f"{METRICS}: quality "),),
        data=True,
    ),
    "no detector": Case(
        "table c",
        rewritten(lambda manifest: manifest.update(detector=None)),
        (Red(Kind.GOLDEN, "arrays", "golden arrays: states ['anomaly', "),),
    ),
    "a golden output that is not named": Case(
        "bytes",
        rewritten(lambda manifest: manifest["golden"]["ports"][ONNX].pop("code")),
        (Red(Kind.MANIFEST, "golden", "manifest golden: states"),),
    ),
    "another golden code": Case(
        "bytes",
        golden("code", moved),
        (Red(Kind.GOLDEN, "code", "golden/code.npy: 1 of 160 values differ from the program's"),),
    ),
    "an unknown operator": Case(
        "bytes", graph(ONNX, operator("Gemm", "Gemn")), (Red(Kind.OPENS, "int8 onnx", f"{ONNX} in ort-cpu: "),)
    ),
    "an input of another dtype": Case(
        "bytes",
        graph(HALF, read_as_float),
        (Red(Kind.RUNS, "", "refuses the samples", HALF), Red(Kind.TRACES, "", HALF, HALF)),
    ),
    "an output of another name": Case("bytes", graph(HALF, renamed), (Red(Kind.RUNS, "", "gives z, expected y", HALF),)),
    "codes one up": Case(
        "bytes",
        graph(ENCODER, constant("code.zero", lambda zero: zero + 1)),
        (Red(Kind.CODES, "", "by at most 1 LSB", ENCODER), Red(Kind.FORMATS, "code", "by at most 1 LSB", ONNX)),
    ),
    "inputs in other steps": Case(
        "table c",
        graph("table.encoder.int8.onnx", constant("x.scale", lambda scale: scale * 1.1)),
        (Red(Kind.INPUTS, "", "values differ from the program", "table.encoder.int8.onnx"),),
    ),
    "a scale of the decoder": Case(
        "bytes",
        graph(HALF, constant("decoder_1.scale", lambda scale: scale * 1.1)),
        (
            Red(Kind.OUTPUT, "", "values differ from the program", HALF),
            Red(Kind.OPERATIONS, "", "operation ", HALF),
            Red(Kind.CROSSING, "", "y of litert-xnnpack's codes", HALF),
            Red(Kind.CROSSING, "own codes", "values differ from ort-cpu", HALF),
        ),
    ),
    "another y in a larger batch": Case(
        "bytes",
        graph(HALF, after("y", *COUNTED)),
        (Red(Kind.TRACE, "y", "values differ from its own trace, by at most ", HALF),),
        measure=lambda bundle, data: verify_bundle(bundle, many_samples(bundle, data)),
    ),
    "no score": Case("table c", rewritten(without_score), (Red(Kind.SCORE, "", "they have no signature score"),)),
    "another threshold": Case(
        "table c",
        graph(SCORES, constant("score.threshold", lambda limit: limit * 0)),
        (Red(Kind.SCORE, "anomaly of golden samples", "flags of golden samples differ from the program's", SCORES),),
    ),
    "another score": Case(
        "table c",
        graph(SCORES, constant("score.y.scale", lambda scale: scale * 1.01)),
        (Red(Kind.SCORE, "score of golden samples", "differ from the program's by at most", SCORES),),
    ),
    "NaN is normal": Case(
        "table c",
        graph(SCORES, flagged_above),
        (Red(Kind.SCORE, "NaN and infinity in golden samples", "9 of 9 samples with NaN or infinity are not flagged", SCORES),),
    ),
    "other golden floats": Case(
        "bytes",
        golden("y.f32", moved),
        (
            Red(Kind.FLOAT, "program", "no float file holds constants that give the golden vectors of Keras"),
            Red(Kind.FLOAT, "y", "float y (reconstruct) differs from Keras by at most 1", FLOAT),
            Red(Kind.CROSSING, "y", "y of litert-xnnpack's codes"),
        ),
    ),
    "NaN in a float bias": Case(
        "bytes",
        graph(FLOAT, constant("code.bias", lambda bias: np.where(np.arange(bias.size) == 2, np.nan, bias))),
        (
            Red(Kind.FLOAT, "constants", "code.bias differ, first at [2]: got nan", FLOAT),
            Red(Kind.FLOAT, "code", "not finite, first at [0, 2]: got nan", FLOAT),
        ),
    ),
    "NaN in a float half": Case(
        "bytes",
        graph(FLOAT_ENCODER, constant("code.bias", lambda bias: np.where(np.arange(bias.size) == 2, np.nan, bias))),
        (Red(Kind.LAYERS, "", "values are not finite, first at [0, 2]", FLOAT_ENCODER),),
    ),
    "another float bias": Case(
        "bytes", graph(FLOAT, constant("y.bias", lambda bias: bias + 0.1)), (Red(Kind.FORMATS, "y", "of full scale", FLOAT),)
    ),
    "a much larger scale": Case(
        "bytes",
        graph(ONNX, constant("y.scale", lambda scale: scale * 0.2)),
        (Red(Kind.QUALITY, "", "against Keras float", ONNX), Red(Kind.BASELINE, f"quality {ONNX} ort-cpu", "in the baseline")),
        data=True,
        baseline=True,
    ),
    "y of another shape": Case(
        "bytes",
        both(*(graph(name, after("y", ("Concat", ["inner", "inner"], "y", {"axis": 1}))) for name in (ONNX, HALF))),
        (Red(Kind.QUALITY, "", f"{ONNX} in ort-cpu: no finite y of the expected shape", ONNX),),
        data=True,
    ),
    "tables cut off, with samples": Case(
        "bytes",
        consistent(TABLES, content(TABLES, lambda data: data[:-9])),
        (Red(Kind.TASK, "compression", "the figures of the task, compression: not measured: "),),
        data=True,
    ),
    "tables that are not listed, with samples": Case(
        "bytes",
        rewritten(lambda manifest: manifest["files"].pop(TABLES)),
        (Red(Kind.TASK, "compression", "not measured: the bundle lists no tables of codes"),),
        data=True,
    ),
    "a baseline that is named": Case(
        "bytes",
        rewritten(lambda manifest: manifest["recipe"].setdefault("verify", {}).update(better_than=["pca"])),
        (Red(Kind.VERDICT, "pca", "PCA: was not compared with"),),
        data=True,
    ),
    "thresholds of none": Case(
        "table c",
        rewritten(blind),
        (
            Red(Kind.TASK, "threshold split", "threshold of the layout split: 1, of "),
            Red(Kind.TASK, "threshold fused", "threshold of the layout fused: 1, of "),
            Red(Kind.QUALITY, "alarm rate", "lost"),
        ),
        measure=beside_keras,
    ),
    "a runtime that no longer opens": Case(
        "bytes",
        both(*(graph(name, operator("Gemm", "Gemn")) for name in (ONNX, HALF, ENCODER, FLOAT, FLOAT_ENCODER, FLOAT_DECODER))),
        (
            Red(Kind.BASELINE, "runtime ort-cpu", "ort-cpu ran in the baseline and does not now"),
            Red(Kind.BASELINE, "unmeasured", "not measured now: quality"),
        ),
        baseline=True,
    ),
}
