"""The model card: the usual sections, the numbers of the metrics, and programs that run as they stand."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from tiedae.base.records import plain
from tiedae.bundle.bundle import Programs, describe_files, model_files, write_files
from tiedae.bundle.manifest import describe_kernels
from tiedae.config.config import ExportConfig
from tiedae.config.scaling import Scaling
from tiedae.program.file_io import FileIO
from tiedae.program.interpreter import execute, program_input

from .drawn import render_card

OFFSETS, SCALES = np.linspace(-1, 1, 20), np.linspace(1, 2, 20)


@pytest.mark.parametrize(
    ("dtype", "scaling", "lines"),
    [
        ("uint8", Scaling("byte", 0.0, 255.0), 5),
        ("float32", Scaling(), 5),
        ("int16", Scaling("minmax", -3.0, 7.5), 5),
        ("float64", Scaling("minmax", tuple(OFFSETS.tolist()), tuple(SCALES.tolist())), 8),
    ],
    ids=["bytes", "float", "one scale", "a scale per feature"],
)
@pytest.mark.parametrize(
    "signatures",
    [("encode", "decode", "reconstruct"), ("encode", "decode"), ("encode",), ("decode",)],
    ids=["all", "pair", "encode", "decode"],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_programs_of_the_card_run_on_the_files(
    make_parts, make_program, tmp_path, monkeypatch, dtype, scaling, lines, signatures, scaled
):
    """All programs, as a reader copies them, give what the reference program gives; files of unscaled data need none of it."""
    manifest, metrics, programs = written_bundle(make_parts, make_program, tmp_path, dtype, scaling, signatures, scaled=scaled)
    expected = golden_values(tmp_path, programs, scaling)
    card = render_card(manifest, metrics)
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(snippets) == (2 if "reconstruct" in signatures else 2 * len(signatures))
    outputs = set()
    for snippet in snippets:
        assert ".int8." in snippet and ".f32." not in snippet
        assert snippet.count("\n") == (5 if "golden/code.npy" in snippet or not scaled else lines)
        assert scaled or not re.search(r"scaling| / | - ", snippet)
        names: dict[str, Any] = {}
        exec(compile(snippet, "MODEL_CARD.md", "exec"), names)
        result = names.get("result", names)
        if "reconstruct" in signatures or "encode(" in snippet or "encoder." in snippet:
            assert result["code"].dtype == np.uint8
            assert np.mean(result["code"] == expected["code"]) > 0.995
            outputs.add("code")
        if "reconstruct" in signatures or "decode(" in snippet or "decoder." in snippet:
            y = result["y"] if result["y"].dtype == np.float32 else programs.fused.quantization("y").dequantize(result["y"])
            y = scaling.apply(y) if not scaled and dtype != "uint8" else y
            np.testing.assert_allclose(y, expected["y"], atol=4 * programs.fused.quantization("y").scale)
            outputs.add("y")
    assert outputs == {"encode": {"code"}, "decode": {"y"}}.get(signatures[0] if len(signatures) == 1 else "", {"code", "y"})
    for kernel in manifest["kernels"]:
        assert kernel["sha256"] in card


def written_bundle(make_parts, make_program, folder, dtype, scaling, signatures, io="auto", scaled=True):
    """Real files of a bundle, int8 and float; returns (manifest, metrics, integer programs)."""
    forms = {form: make_program(form=form, byte_data=dtype == "uint8") for form in ("split", "fused")}
    programs = Programs(**forms)
    floats = Programs(**{form: make_program(form=form, quantized=False) for form in ("split", "fused")})
    manifest, metrics, *_ = make_parts((20,))
    io = {"auto": "uint8" if dtype == "uint8" else "float32"}.get(io, io)
    config = ExportConfig(signatures=signatures, scaled=scaled)
    file_io = FileIO(io, FileIO.of(config, scaling, dtype).scaling)
    files = model_files({"int8": programs, "f32": floats}, config, file_io)
    x = scaling.invert(np.random.default_rng(1).uniform(0, 1, (64, 20)), dtype)
    masks = {name: np.ones((kernel.inputs, kernel.units), bool) for name, kernel in programs.fused.kernels.items()}
    manifest |= {"kernels": plain(describe_kernels(programs.fused, masks))}
    manifest["recipe"]["export"] = {**manifest["recipe"].get("export", {}), "scaled": scaled}
    manifest["data"] |= {"shape": [20], "dtype": x.dtype.name, "scaling": plain(scaling)}
    manifest["tensors"] = plain({name: programs.fused.quantization(name) for name in ("x", "code", "y")})
    write_files(folder, files | {"manifest.json": json.dumps(manifest).encode()})
    manifest["files"] = plain(describe_files(folder, files, scaled=file_io.scaled))
    (folder / "golden").mkdir()
    np.save(folder / "golden/x.npy", x)
    return manifest, metrics, programs


def golden_values(folder, programs, scaling):
    """`code` and float32 `y` of the reference program; saves the code where the programs of the card look for it."""
    x = program_input(programs.fused, scaling.apply(np.load(folder / "golden/x.npy")))
    values = execute(programs.fused, "reconstruct", x)
    np.save(folder / "golden/code.npy", values["code"])
    return {"code": values["code"], "y": programs.fused.quantization("y").dequantize(values["y"])}


FLOATS, MINMAX = ("float32", Scaling()), ("float32", Scaling("minmax", -3.0, 7.5))
BYTES = ("uint8", Scaling("byte", 0.0, 255.0))
BOTH = ("encode", "decode", "reconstruct")
MEANINGS = {
    "code": "A uint8 `code` means (code − {code.zero_point}) · {code.scale!r} of a float one.",
    "uint8": "A uint8 `y` means (y − {y.zero_point}) · {y.scale!r} in scaled values.",
    "int8": "An int8 `y` means (y − {int8}) · {y.scale!r} in scaled values.",
    "float32": "A float32 `y` is in scaled values.",
    "own": "A float32 `y` is in the unit of measure of the samples, as a float32 `x` is.",
    "bytes": "`x` and `y` are the bytes themselves where a file takes bytes.",
    "scaled": "Scaled values times `scale` plus `offset` (manifest.json, data.scaling) are those of the samples.",
}


@pytest.mark.parametrize(
    ("data", "io", "signatures", "told"),
    [
        (MINMAX, "data", BOTH, ("code", "own")),
        (BYTES, "auto", BOTH, ("code", "uint8", "float32", "bytes")),
        (FLOATS, "auto", BOTH, ("code", "float32")),
        (MINMAX, "auto", ("decode",), ("code", "float32", "scaled")),
        (MINMAX, "uint8", ("decode",), ("code", "uint8", "float32", "scaled")),
        (FLOATS, "int8", BOTH, ("code", "int8", "float32")),
        (MINMAX, "auto", ("encode",), ("code",)),
        (BYTES, "auto", ("encode",), ("code",)),
    ],
)
def test_what_the_numbers_mean_where_the_files_have_them(make_parts, make_program, tmp_path, data, io, signatures, told):
    of = {"scaled": False} if io == "data" else {"io": io}
    manifest, metrics, programs = written_bundle(make_parts, make_program, tmp_path, *data, signatures=signatures, **of)
    card = render_card(manifest, metrics)
    tensors: dict = {name: programs.fused.quantization(name) for name in ("code", "y")}
    for key, text in MEANINGS.items():
        assert (str.format_map(text, tensors | {"int8": tensors["y"].zero_point - 128}) in card) == (key in told), key
    assert re.search(rf"\| `toy.int8.tflite` \| [\d,]+ B \| {', '.join(signatures)} \|", card)


def test_card_sections_and_numbers(make_parts):
    manifest, metrics, *_ = make_parts()
    x, code = ({"name": name, "dtype": "uint8", "shape": ["batch", size]} for name, size in (("x", 64), ("code", 5)))
    signatures = {"encode": {"inputs": [x], "outputs": [code]}}
    info = {"format": "onnx", "precision": "int8", "signatures": signatures, "bytes": 9, "sha256": "0" * 64}
    manifest["files"]["toy.encoder.int8.onnx"] = info
    card = render_card(manifest, metrics)
    titles = re.findall(r"^## (.*)$", card, re.M)
    assert titles == [
        "Model details",
        "Uses",
        "Bias, risks and limitations",
        "How to get started",
        "Training details",
        "Evaluation",
        "Environmental impact",
        "Technical specifications",
        "Citation",
    ]
    assert "| licence | not recorded |" in card
    assert "6.905 (+1.2 % against Keras float)" in card and "0.4804 × the 1,149,792 B of the stock converter" in card
    manifest["data"] |= {"licence": "MIT", "origin": "somewhere | else"}
    card = render_card(manifest, metrics)
    assert "| licence | MIT |" in card and "| origin | somewhere \\| else |" in card


def test_card_tells_latency_where_it_was_measured(make_parts, make_bench):
    manifest, metrics, *_ = make_parts()
    assert "Not measured; run `tiedae bench`." in render_card(manifest, metrics)
    card = render_card(manifest, metrics | {"bench": make_bench()})
    assert (
        "reconstruct, batch 1, 1 thread, the runtime's own call; measured on A \\<CPU>, Linux. Take care: the machine is busy."
        in card
    )
    assert "| tiedae int8 tflite | uint8 → uint8 | 15.2 µs | 0.953 × TFLiteConverter int8 tflite |" in card
    assert "Not measured; `tiedae bench`" not in card


def test_card_admits_what_is_not_proved(make_parts):
    manifest, metrics, *_ = make_parts()
    card = render_card(manifest, metrics)
    assert "weights, each stored once" in card
    assert "| multiply-adds of a sample | 828 to encode, 828 to decode |" in card
    metrics["storage"][0] |= {"ok": False}
    metrics["skipped"] = [
        {"what": f"runtime {i}", "reason": "not here", "kind": "opens", "why": "not installed"} for i in range(5)
    ]
    card = render_card(manifest, metrics)
    assert "; not shown to be stored once" in card
    assert "- Not measured: runtime 0; runtime 1; and 3 more (not here)" in card


def test_card_tells_the_procedure_and_cites_what_it_follows(make_parts):
    manifest, metrics, *_ = make_parts()
    metrics["history"].append({"stage": "dream", "epoch": 1, "loss": 0.25})
    card = render_card(manifest, metrics)
    prune = "schedule polynomial, weight decay 0.02, pattern unstructured, saliency curvature, sparsity 0.5"
    assert f"| prune | 8 | learning rate 0.002, {prune}, distilled fraction 0.0, scope layer | 0.0102 → 0.003606 |" in card
    assert "| dream | 1 | not recorded | 0.25 → 0.25 |" in card and "Seed 7." in card
    assert "Training took 41 epochs of 9,000 samples." in card and "arXiv:1710.01878" in card
    metrics["history"] = [row for row in metrics["history"] if row["stage"] == "train"]
    assert "arXiv:1710.01878" not in render_card(manifest, metrics)


def test_card_names_kernels_and_codes_of_few_bits(make_parts):
    manifest, metrics, *_ = make_parts()
    assert "| int8 kernels, uint8 activations |" in render_card(manifest, metrics)
    for kernel in manifest["kernels"]:
        kernel["bits"] = 4
    manifest["tensors"]["code"]["bits"] = 5
    bits = ", ".join("4" for _ in manifest["kernels"])
    assert f"kernels of {bits} bits, uint8 activations, a code of 5 bits |" in render_card(manifest, metrics)
