"""Files of models with batch normalization: float ones give what Keras gives, int8 ones what their programs give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from tiedae.compress import ExportError, LayerConfig, ModelConfig, TiedAutoencoder
from tiedae.export import to_onnx
from tiedae.export.model_file import oriented
from tiedae.export.storage_check import prove
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute
from tiedae.program.lowering import lower
from tiedae.program.operations import AddBias, Dense, Gain, Product
from tiedae.runtimes.table import RUNTIMES

from ..conftest import build_program
from .c.compiled import compiler
from .normalized import LAYOUTS, float_differences, quantized, random_model, values_different, written


def seeds(count: int, few: int = 1) -> list:
    return [seed if seed < few else pytest.param(seed, marks=pytest.mark.ci) for seed in range(count)]


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("seed", seeds(8))
def test_files_give_what_keras_and_their_programs_give(seed: int, tmp_path: Path) -> None:
    model, x = random_model(seed)
    assert float_differences(model, x, tmp_path).keras < 1e-5
    assert values_different(quantized(model, x, seed), x, tmp_path) == 0


@pytest.mark.parametrize("seed", (66, 175))
def test_float_files_round_in_the_order_of_keras(seed: int, tmp_path: Path) -> None:
    """Of these nets a bias that XNNPACK begins its sums with puts files 1.2e-5 to 2.1e-5 from Keras."""
    assert float_differences(*random_model(seed), tmp_path).keras < 1e-5


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_each_output_of_a_wide_decoder_has_its_gain(tmp_path: Path) -> None:
    """More outputs than C holds sums at once; and in ONNX by the specification, since ONNX Runtime does not read the axis."""
    program = build_program((150, 300, 9), gains=True, byte_data=False)
    x = np.random.default_rng(0).integers(0, 256, (200, 150), np.uint8)
    right, files = execute(program, "reconstruct", x), written(program, tmp_path, "fused")
    for name, path in files.items():
        got = RUNTIMES[name].open({"reconstruct": path}).run("reconstruct", x)
        for output in ("code", "y"):
            np.testing.assert_array_equal(got[output], right[output], name)
    evaluator = ReferenceEvaluator(to_onnx(program, io="uint8", opset=21))  # it has no older DequantizeLinear
    for output, values in zip(("code", "y"), evaluator.run(None, {"x": x}), strict=True):
        gap = np.abs(np.asarray(values, int) - right[output])
        assert gap.max() <= 1 and gap.mean() < 1e-3


def test_the_kernel_is_stored_once_and_never_scaled(tmp_path: Path) -> None:
    model, x = random_model(0)
    for each in (model, quantized(model, x, 0)):
        for layout in LAYOUTS:
            program = lower(each, "p", layout=layout)
            for kernel in each.kernels:
                right = kernel.integers() if each.quantized else kernel.matrix
                np.testing.assert_array_equal(program.constants[kernel.name], right)
            for path in {*written(program, tmp_path, layout).values()}:
                contents = read_model(path)
                if each.quantized:
                    proven = lower(each, "p", layout="view" if layout == "view" else "fused")
                    assert [row.text for row in prove(contents, proven) if not row.ok] == []
                for name, kernel in program.kernels.items() if contents.format != "c" else ():
                    views = (
                        (one.storage, view)
                        for one in contents.constants
                        for view in oriented(one.integers, (kernel.inputs, kernel.units))
                    )
                    assert len({storage for storage, view in views if np.array_equal(view, program.constants[name])}) == 1


def test_a_gain_is_one_operation_of_a_split_decoder_and_part_of_every_product_else() -> None:
    layers = (LayerConfig(12, "relu", batch_norm=True), LayerConfig(5))
    model = TiedAutoencoder(ModelConfig(layers, "sigmoid", 24))
    split, fused = (lower(model, "p", layout=layout) for layout in ("split", "fused"))
    assert [type(each) for each in split.decoder][:3] == [Product, Gain, AddBias]
    assert split.encoder == fused.encoder
    products = [each for each in fused.operations if isinstance(each, Dense)]
    assert [each.gains for each in products] == ["encoder_0.gains", None, "decoder_1.gains", None]


def test_a_gain_that_is_not_positive_names_layer_and_channel() -> None:
    model = TiedAutoencoder(ModelConfig((LayerConfig(4, "relu", batch_norm=True), LayerConfig(2)), "linear", 6))
    model.norms[1].gamma.assign([1.0, 1.0, -0.5, 1.0])
    with pytest.raises(ExportError, match=r"^layer decoder_1: the gain of channel 2 is -0.49975, must be positive$"):
        lower(model, "p", layout="split")
