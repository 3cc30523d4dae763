"""Stock files are measured as ours are: floats against Keras, integers in the runtime that witnesses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiedae.bundle.results import Fit
from tiedae.export import to_onnx, to_tflite
from tiedae.export.kinds import Kind, Maker, Precision, Stage
from tiedae.pipeline.recipe import load_recipe
from tiedae.program.interpreter import execute
from tiedae.runtimes.native_output import quiet
from tiedae.verify.stock import measurement
from tiedae.verify.stock.converters import ConversionSource, _signatures
from tiedae.verify.stock.measurement import measure_stock

from ...conftest import smallest_recipe

FLOAT, INT8, REAL = "toy.stock.f32.onnx", "toy.stock.int8.tflite", "toy.stock.int8.onnx"


def test_each_file_has_its_rows(make_program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float file, one of integers, and one of integers whose inputs and outputs are floats, and so the code by no witness."""
    floats, split, fused = make_program(quantized=False), make_program(form="split"), make_program()
    sources: list[ConversionSource] = []

    def written(name: str, source: ConversionSource) -> dict[str, bytes]:
        sources.append(source)
        return {
            FLOAT: to_onnx(floats, signature="reconstruct"),
            INT8: to_tflite(split, io="uint8"),
            REAL: to_onnx(fused, signature="reconstruct", io="uint8"),
        }

    monkeypatch.setattr(measurement, "stock_files", written)
    x = np.random.default_rng(0).uniform(size=(32, 20)).astype(np.float32)
    keras = execute(floats, "reconstruct", x)
    model: Any = SimpleNamespace(config=SimpleNamespace(matrices=((20, 12), (12, 5))))
    (tmp_path / "r.toml").write_text(smallest_recipe())

    def errors(y: np.ndarray) -> tuple[float, Fit]:
        mse = float(np.square(y - keras["y"]).sum(axis=1).mean())
        return mse, Fit("R²", "", mse, None)

    answers = (keras["code"], keras["y"] + np.float32(0.5))
    files, quality, parity = measure_stock(
        model, "int8", x, x, errors, lambda given: answers, load_recipe(tmp_path / "r.toml"), tmp_path
    )
    assert [source.io for source in sources] == ["float32"]
    assert [(row.file, row.format, row.precision, row.kernel_copies) for row in files] == [
        (FLOAT, "onnx", Precision.F32, 1),
        (INT8, "tflite", Precision.INT8, 1),
        (REAL, "onnx", Precision.INT8, 1),
    ]
    assert {row.maker for row in files} == {Maker.STOCK}
    assert all(row.bytes >= (tmp_path / row.file).stat().st_size for row in files)
    assert [(row.file, row.stage, row.precision, row.runtime) for row in quality] == [
        (FLOAT, Stage.STOCK, Precision.F32, "ort-cpu"),
        (INT8, Stage.STOCK, Precision.INT8, "litert-xnnpack"),
        (REAL, Stage.STOCK, Precision.INT8, "ort-cpu"),
    ]
    assert quality[0].error < 1e-9 < 1e-4 < quality[1].error < 0.1
    assert [(row.kind, row.file, row.tensor, row.reference, row.runtime, row.signature) for row in parity] == [
        (Kind.FLOAT, FLOAT, "code", "keras", "ort-cpu", "reconstruct"),
        (Kind.FLOAT, FLOAT, "y", "keras", "ort-cpu", "reconstruct"),
        (Kind.WITNESS, INT8, "code", "litert-reference", "litert-xnnpack", "reconstruct"),
    ]
    assert parity[0].max_abs < 1e-5 and parity[1].max_abs == pytest.approx(0.5, abs=1e-5) and parity[2].max_lsb <= 4


def test_what_a_model_computes_is_traced_as_it_is_written() -> None:
    """No code is rewritten, which would need its source: a branch on a value of the samples is an error."""
    with quiet():
        import tensorflow as tf

    def encoder(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:
            return x
        return -x

    config = SimpleNamespace(size=3, shapes=((3,), (3,)))
    whole: Any = SimpleNamespace(config=config, encoder=lambda x: -x, decoder=lambda code: code)
    branching: Any = SimpleNamespace(config=config, encoder=encoder, decoder=encoder)
    for name, function in _signatures(whole).items():
        assert function.get_concrete_function().structured_outputs.keys() == {"encode": {"code"}, "decode": {"y"}}.get(
            name, {"code", "y"}
        )
    for function in _signatures(branching).values():
        with pytest.raises(TypeError, match="as a Python `bool` is not allowed"):
            function.get_concrete_function()
