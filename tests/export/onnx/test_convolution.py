"""Convolutions in .onnx files: one initializer in both directions, every value the program's, nothing transposed in between."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tiedae.base.errors import ExportError
from tiedae.base.windows import Window
from tiedae.compress.affine import Quantization
from tiedae.export.onnx.convolution import largest_sums
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.export.storage_check import prove
from tiedae.program.arithmetic import EXACT
from tiedae.program.interpreter import execute
from tiedae.program.operations import Convolution, Dense, MaxPool, Rescale, Reshape, Upsample
from tiedae.program.program import Program
from tiedae.program.scoring import Detector, Scoring, Thresholds
from tiedae.program.tensors import Kernel, Tensor
from tiedae.runtimes.ort import OrtSession

from ...program.convolutions import random_program
from .test_writer import run, session

TOLERANCE = 2e-5
"""Of float values, relative to the largest."""


def conv_program(
    lengths: tuple[int, ...],
    window: Window,
    *,
    channels: int = 1,
    units: int = 4,
    gained: bool = False,
    bits: int = 8,
    zero_point: int = 37,
    bias: int = 900,
    free: bool = False,
    seed: int = 0,
) -> Program:
    """One convolution and its transpose, in integers. `free`: kernels that break the pair rule."""
    rng = np.random.default_rng(seed)
    inputs = math.prod(window.sizes) * channels
    largest = 127 if free else min(64, 2 ** (bits - 1) - 1)
    kernel = rng.integers(-largest, largest + 1, (inputs, units)).astype(np.int8)
    code = (*window.places(lengths), units)
    scales = [1 / 64]
    for terms in (inputs, units * window.overlap):
        scales.append(float(np.float32(scales[-1] / 128 * (30 * largest * math.sqrt(terms) + bias) / 32)))
    shapes = {"x": (*lengths, channels), "code": code, "y": (*lengths, channels)}
    ends = zip(shapes.items(), scales, (zero_point, 121, 130), strict=True)
    tensors = {name: Tensor(name, shape, Quantization(scale, zero)) for (name, shape), scale, zero in ends}
    constants = {"kernel": kernel}
    for name, size in (("code", units), ("y", channels)):
        constants[f"{name}.bias"] = rng.integers(-bias, bias + 1, size).astype(np.int32)
        constants[f"{name}.gains"] = np.exp(rng.normal(0, 0.3, size)).astype(np.float32)
    options = {"sizes": window.sizes, "strides": window.strides, "padding": window.padding}
    forward, back = (
        Convolution(x, y, "kernel", back, f"{y}.bias", "linear", f"{y}.gains" if gained else None, **options)
        for x, y, back in (("x", "code", False), ("code", "y", True))
    )
    kernels = {"kernel": Kernel("kernel", inputs, units, (1 / 128,), bits)}
    return Program("conv", tensors, kernels, (forward,), (back,), constants)


def bytes_for(program: Program, samples: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (samples, *program.tensors["x"].shape), np.uint8)


def require_equal(program: Program, **options) -> None:
    x = bytes_for(program)
    got, expected = run(to_onnx(program, io="uint8", **options), x), execute(program, "reconstruct", x)
    for name in ("code", "y"):
        np.testing.assert_array_equal(got[name], expected[name])
    assert len(np.unique(expected["y"])) >= program.tensors["y"].shape[-1]
    assert len(np.unique(expected["code"])) > 3


SEEDS = [*range(20), *(pytest.param(seed, marks=pytest.mark.ci) for seed in range(20, 120))]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_integer_programs_are_equal_in_every_value(seed: int) -> None:
    program, x = random_program(seed)
    got, expected = run(to_onnx(program, io="uint8"), x), execute(program, "reconstruct", x)
    for name in ("code", "y"):
        np.testing.assert_array_equal(got[name], expected[name])


@pytest.mark.parametrize("seed", range(0, 40, 3))
def test_random_float_programs_are_equal_within_rounding(seed: int) -> None:
    program, x = random_program(seed, quantized=False)
    got, expected = run(to_onnx(program), x), execute(program, "reconstruct", x)
    for name in ("code", "y"):
        np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=TOLERANCE * max(1, np.abs(expected[name]).max()))


@pytest.mark.parametrize("size", range(1, 8))
def test_the_decoder_gives_the_encoders_lengths_for_all_windows(size: int) -> None:
    for stride, padding, length in itertools.product(range(1, size + 1), ("same", "valid"), (size + 6, size + 7)):
        window = Window((size,), (stride,), padding)
        require_equal(conv_program((length,), window, channels=2, seed=size))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("sizes", "strides"), [((3, 5), (2, 1)), ((4, 3), (3, 2)), ((2, 7), (1, 4)), ((5, 5), (3, 3))])
def test_axes_of_images_have_windows_of_their_own(sizes, strides, padding) -> None:
    for lengths in ((9, 12), (10, 7)):
        require_equal(conv_program(lengths, Window(sizes, strides, padding), channels=3))


VARIANTS = {
    "gains": {"gained": True, "channels": 3},
    "gains of one channel and unit": {"gained": True, "units": 1},
    "kernels that break the pair rule": {"free": True, "channels": 3},
    "gains over uint8": {"free": True, "gained": True, "channels": 3},
    "4 bits": {"bits": 4, "channels": 3},
    "a zero point of 0": {"zero_point": 0},
    "sums beyond 2^24": {"units": 600, "free": True, "gained": True, "channels": 2},
}


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_other_kernels_and_sums_are_exact_too(options, tmp_path: Path) -> None:
    program = conv_program((9, 8), Window((3, 3), (1, 1), "same"), **options)
    assert (largest_sums(program, program.decoder[0]).sum(-1).max() > EXACT) == (options.get("units") == 600)
    require_equal(program)
    (tmp_path / "p.onnx").write_bytes(to_onnx(program))
    assert [row.text for row in prove(read_onnx(tmp_path / "p.onnx"), program) if not row.ok] == []


HALF = [127] * 1100
"""Weights that bring 1100 · 127 · 134 > 2²⁴."""
SUMS = {
    "terms that cancel": ([*HALF, 3, -5, *(-weight for weight in HALF)], 1),
    "a bias that cancels, which float32 has not": ([-127] * 985 + [3, -5, -108], 2**24 + 1),
}


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
@pytest.mark.parametrize(("weights", "bias"), SUMS.values(), ids=SUMS)
def test_sums_that_pass_2_24_lose_no_bit(weights: list[int], bias: int) -> None:
    """One step of the sum is one of y. Codes are 134 steps but for two units, in which they differ."""
    program = conv_program((3,), Window((3,), (1,)), units=len(weights), free=True)
    code, y = program.tensors["code"], program.tensors["y"]
    fine = replace(y, quantization=Quantization(float(np.float32(code.affine.scale / 128)), 130))
    constants = {"kernel": np.array([weights] * 3, np.int8), "y.bias": np.array([bias], np.int32)}
    program = replace(program, tensors={**program.tensors, "y": fine}, constants={**program.constants, **constants})
    codes = np.full((64, 1, len(weights)), 255, np.uint8)
    small = [weights.index(3), weights.index(-5)]
    codes[:, 0, small] = np.random.default_rng(0).integers(115, 127, (64, 2))
    expected = execute(program, "decode", codes)["y"]
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(run(to_onnx(program, signature="decode", io="uint8"), codes)["y"], expected)


LANES = 16
"""ONNX Runtime may add every n-th product apart, for an n up to this."""


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
def test_ones_that_are_added_above_2_24_are_not_lost() -> None:
    """1000 · 127 · 134 is between 2²⁴ and 2²⁵; up to 24 products of 1 are added, of which the 13th changes y."""
    large, ones = np.arange(1000) * LANES, (1000 + 32 * np.arange(24)) * LANES
    weights = np.zeros((3, ones[-1] + 1), np.int8)
    weights[:, large], weights[:, ones] = 127, 1
    program = conv_program((3,), Window((3,), (3,)), units=weights.shape[1], free=True)
    scale = program.quantization("code").scale / 128 * (1000 * 127 * 134 + 12.5) / 100.5
    y = replace(program.tensors["y"], quantization=Quantization(float(np.float32(scale)), 0))
    constants = {"kernel": weights, "y.bias": np.zeros(1, np.int32)}
    program = replace(program, tensors={**program.tensors, "y": y}, constants={**program.constants, **constants})
    assert EXACT < largest_sums(program, program.decoder[0]).sum(-1).max() < 2 * EXACT
    codes = np.full((25, 1, weights.shape[1]), 255, np.uint8)
    codes[:, 0, ones] = 121 + np.tri(25, 24, -1, np.uint8)
    expected = execute(program, "decode", codes)["y"]
    assert set(expected[:, 0, 0].tolist()) == {100, 101}
    np.testing.assert_array_equal(run(to_onnx(program, signature="decode", io="uint8"), codes)["y"], expected)


def test_a_code_that_is_written_channels_last_is_returned_and_read_as_planes() -> None:
    program = conv_program((8, 9), Window((3, 3), (2, 2), "same"), units=1)
    code = program.tensors["code"]
    x = replace(code, name="x", shape=(code.size,))
    program = replace(program, tensors={**program.tensors, "x": x}, encoder=(Reshape("x", "code"),))
    require_equal(program)


def test_a_rescale_between_convolutions_keeps_planes() -> None:
    window = Window((3, 3), (2, 2), "same")
    program = conv_program((9, 8), window, channels=2)
    code, factors = program.tensors["code"], Quantization(float(np.float32(1 / 255)), 0)
    (back,) = program.decoder
    rescale = Rescale("code", "code.rescaled", "factors", factors)
    program = replace(
        program,
        tensors={**program.tensors, "code.rescaled": replace(code, name="code.rescaled")},
        decoder=(rescale, replace(back, x="code.rescaled")),
        constants={**program.constants, "factors": np.array([255, 100, 31, 180], np.uint8)},
    )
    require_equal(program)


def test_stacked_products_over_several_axes_name_no_value_twice() -> None:
    shapes = {"x": (5, 7, 6), "encoder_0": (5, 7, 4), "code": (5, 7, 3), "decoder_1": (5, 7, 4), "y": (5, 7, 6)}
    rng = np.random.default_rng(0)
    tensors = {name: Tensor(name, shape, Quantization(1 / 64, 60)) for name, shape in shapes.items()}
    kernels = {f"kernel_{i}": Kernel(f"kernel_{i}", *sizes, (1 / 128,)) for i, sizes in enumerate([(6, 4), (4, 3)])}
    constants = {name: rng.integers(-64, 65, (each.inputs, each.units)).astype(np.int8) for name, each in kernels.items()}
    layers = [("x", "encoder_0", 0), ("encoder_0", "code", 1), ("code", "decoder_1", 1), ("decoder_1", "y", 0)]
    dense = [Dense(x, y, f"kernel_{i}", y in ("decoder_1", "y"), None, "relu") for x, y, i in layers]
    program = Program("stacked", tensors, kernels, tuple(dense[:2]), tuple(dense[2:]), constants)
    onnx.checker.check_model(to_onnx(program), full_check=True)
    require_equal(program)


@pytest.mark.parametrize("factor", range(2, 8))
@pytest.mark.parametrize("axes", [1, 2])
def test_upsampling_repeats_values_of_any_length(factor: int, axes: int) -> None:
    scale = Quantization(1 / 8, 3)
    shapes = {"x": (60,) * axes + (2,), "code": (60 * factor,) * axes + (2,), "y": (60,) * axes + (2,)}
    tensors = {name: Tensor(name, shape, scale) for name, shape in shapes.items()}
    sizes = (factor,) * axes
    program = Program("up", tensors, {}, (Upsample("x", "code", sizes),), (MaxPool("code", "y", sizes),), {})
    x = bytes_for(program, 1)
    got = run(to_onnx(program, io="uint8"), x)
    np.testing.assert_array_equal(got["code"], execute(program, "reconstruct", x)["code"])
    np.testing.assert_array_equal(got["y"], x)


def kinds_run(program: Program, folder: Path) -> list[str]:
    """The operations that ONNX Runtime runs, after its optimizations."""
    session(to_onnx(program, io="uint8"), str(folder / "optimized.onnx"))
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def test_onnx_runtime_fuses_the_encoder_and_transposes_twice(tmp_path: Path) -> None:
    """Seed 4: two convolutions with pooling and upsampling between them, and sigmoids."""
    kinds = kinds_run(random_program(4)[0], tmp_path)
    encoder, rest = kinds[: kinds.index("Transpose")], kinds[kinds.index("Transpose") :]
    assert set(encoder) == {"QLinearConv", "QLinearSigmoid", "NhwcMaxPool"}
    assert set(rest) == {
        *("Transpose", "DequantizeLinear", "ConvTranspose", "Mul", "QuantizeLinear", "QLinearSigmoid", "Resize")
    }
    assert kinds.count("Transpose") == 2 and kinds[-1] == "Transpose"
    assert rest.count("ConvTranspose") == rest.count("Mul") == rest.count("DequantizeLinear") == 3


@pytest.mark.parametrize("seed", [2, 3, 4, 8, 12])
@pytest.mark.parametrize("quantized", [True, False])
def test_a_pair_shares_one_kernel_in_each_file(seed: int, quantized: bool, tmp_path: Path) -> None:
    program, x = random_program(seed, quantized=quantized)
    io = "uint8" if quantized else "float32"
    encoder, decoder, kernels = to_onnx_pair(program, io=io, kernels_file="kernels.bin")
    files = {"encode": encoder, "decode": decoder, "reconstruct": to_onnx(program, io=io)}
    (tmp_path / "kernels.bin").write_bytes(kernels)
    for name, data in files.items():
        (tmp_path / f"{name}.onnx").write_bytes(data)
        onnx.checker.check_model(tmp_path / f"{name}.onnx")
        contents = read_onnx(tmp_path / f"{name}.onnx")
        assert [row.text for row in prove(contents, program) if not row.ok] == []
        for tensor in (*contents.signatures[0].inputs, *contents.signatures[0].outputs) if quantized else ():
            right = program.quantization(tensor.name)
            assert (tensor.name, tensor.scale, tensor.zero_point) == (tensor.name, right.scale, right.zero_point)
    opened = OrtSession("ort-cpu", {name: tmp_path / f"{name}.onnx" for name in files})
    expected = execute(program, "reconstruct", x)
    for signature, source, output in (("encode", x, "code"), ("decode", expected["code"], "y")):
        got = opened.run(signature, source)[output]
        np.testing.assert_allclose(got, expected[output], rtol=0, atol=0 if quantized else TOLERANCE * 10)
    if quantized:
        traced = opened.trace("reconstruct", x)
        for name in program.tensors.keys() - {"x"}:
            np.testing.assert_array_equal(traced[name], expected[name], name)


@pytest.mark.parametrize("window", [Window((3, 3), (2, 2), "same"), Window((2, 2), (2, 2))])
def test_a_score_compares_x_and_y_in_one_order(window: Window) -> None:
    program = conv_program((8, 6), window, channels=2)
    y = program.quantization("y")
    detector = Detector(Scoring("mse", 96, y.scale, y.zero_point), Thresholds(1, 1), 0.9, 8)
    x = bytes_for(program, 9)
    got = run(to_onnx(program, signature="score", io="uint8", detector=detector), x)["score"]
    expected = execute(program, "reconstruct", x)["y"]
    errors = y.dequantize(expected).astype(np.float64) - program.quantization("x").dequantize(x)
    np.testing.assert_allclose(got, np.square(errors).mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 21, 23])
def test_the_checker_accepts_every_opset(opset: int) -> None:
    program, x = random_program(4)
    model = to_onnx(program, io="uint8", opset=opset)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(run(model, x)["y"], execute(program, "reconstruct", x)["y"])


def damaged(model: bytes, change) -> bytes:
    proto = onnx.load_from_string(model)
    (kernel,) = [each for each in proto.graph.initializer if each.name == "kernel"]
    values = change(onnx.numpy_helper.to_array(kernel))
    kernel.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), "kernel"))
    return proto.SerializeToString()


DAMAGES = {
    "rows as they are in the program": lambda values: np.moveaxis(values, 1, -1).reshape(values.shape),
    "axes of the window exchanged": lambda values: values.swapaxes(2, 3),
    "channels last": lambda values: np.moveaxis(values, 1, -1),
    "one integer": lambda values: np.where(np.arange(values.size).reshape(values.shape) == 7, 1 - values, values),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_the_proof_sees_another_order(change, tmp_path: Path) -> None:
    program = conv_program((9, 8), Window((3, 2), (1, 1)), channels=3)
    (tmp_path / "p.onnx").write_bytes(damaged(to_onnx(program), lambda values: values))
    assert all(row.ok for row in prove(read_onnx(tmp_path / "p.onnx"), program))
    (tmp_path / "p.onnx").write_bytes(damaged(to_onnx(program), change))
    assert {"kernel.order"} <= {row.name for row in prove(read_onnx(tmp_path / "p.onnx"), program) if not row.ok}


def test_a_kernel_with_two_windows_is_named() -> None:
    program = conv_program((9,), Window((3,), (1,), "same"), channels=2)
    back = Dense("code", "y.flat", "kernel", True, None, "linear")
    shapes = {**program.tensors, "y.flat": replace(program.tensors["y"], name="y.flat", shape=(9, 6))}
    pool = MaxPool("y.flat", "y", (1,))
    shapes["y"] = replace(shapes["y.flat"], name="y")
    program = replace(program, tensors=shapes, decoder=(back, pool))
    with pytest.raises(ExportError, match=r"^kernel: got windows of \(\) and \(3,\), must be one in all operations"):
        to_onnx(program)
