"""Convolutions go through every step from float training to the integer program; their files are tested beside the writers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies

from tiedae.base.windows import Padding, Window
from tiedae.bundle.reference_outputs import float_program
from tiedae.calibration.calibration_file import read_calibration, write_calibration
from tiedae.calibration.diagnosis import diagnose
from tiedae.calibration.equalization import unit_scales
from tiedae.calibration.post_training import product_means
from tiedae.calibration.ranges import calibrate
from tiedae.calibration.representative import representative
from tiedae.calibration.sensitivity import sensitivity
from tiedae.compress import (
    ClusterConfig,
    Dataset,
    ExportError,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizationSpec,
    QuantizeConfig,
    RecipeError,
    TiedAutoencoder,
    TrainConfig,
)
from tiedae.compress.convolution import repeated
from tiedae.compress.curvature import influence
from tiedae.compress.patterns import HELD
from tiedae.compress.symmetries import permute_units, rescale_units, shrink
from tiedae.config.layer_kinds import Conv1DConfig, Conv2DConfig, ConvolutionConfig, layer_tables
from tiedae.pipeline.recipe import check_inputs, load_recipe, recipe_schema, recipe_text, recipe_to_toml
from tiedae.pipeline.searching.space import space_of
from tiedae.pipeline.stages import cluster, prune, quantize
from tiedae.program.interpreter import execute
from tiedae.program.lowering import lower
from tiedae.program.operations import Activate, Convolution, Dense, MaxPool, Patches, Product, Reshape, Unpatch, Upsample
from tiedae.program.program import Program

from ..compress.test_curvature import squared_change
from ..variants import every
from .convolutions import NETS, SHAPES, dataset

LAYOUTS = {"split": {}, "fused": {"targets": ("onnx",)}, "view": {"targets": ("tflite",), "decoder": "view"}}
"""Options of `quantize` by the layout that they train for."""


@pytest.fixture(scope="module")
def data() -> dict[str, Dataset]:
    return {name: dataset(name) for name in NETS}


@pytest.fixture(scope="module")
def trained(data: dict[str, Dataset]) -> Callable[[str], TiedAutoencoder]:
    models: dict[str, TiedAutoencoder] = {}

    def model(name: str) -> TiedAutoencoder:
        if name not in models:
            models[name] = fitted(name, data[name])
        return models[name]

    return model


def fitted(name: str, data: Dataset, epochs: int = 6) -> TiedAutoencoder:
    model = TiedAutoencoder(NETS[name], seed=1)
    model.fit(data, train=TrainConfig(epochs=epochs, batch_size=16, learning_rate=0.01), verbose=0)
    return model


def scaled(data: Dataset, count: int = 24) -> np.ndarray:
    return data.scaling.apply(data.test.take(np.arange(count)))


LENGTHS = (1, 2, 7, 8, 13)


@pytest.mark.parametrize("size", range(1, 8))
def test_a_decoder_gives_the_size_that_its_encoder_takes(size: int) -> None:
    rng = np.random.default_rng(size)
    for stride, padding, height, width in itertools.product(range(1, size + 1), ("same", "valid"), LENGTHS, (9, 10)):
        window, one = Window((size, min(size, 3)), (stride, min(stride, 3)), padding), (height, width)
        if 0 in window.places(one):
            continue
        x, kernel = rng.normal(size=(2, *one, 2)), rng.normal(size=(size * window.sizes[1] * 2, 3))
        matrix = kernel.reshape(*window.sizes, 2, 3)
        y = tf.nn.conv2d(x, matrix, window.strides, padding.upper()).numpy()
        np.testing.assert_allclose(window.rows(x) @ kernel, y, atol=1e-12)
        back = tf.nn.conv2d_transpose(y, matrix, x.shape, window.strides, padding.upper()).numpy()
        np.testing.assert_allclose(window.added(y @ kernel.T, one), back, atol=1e-12)
        assert window.added(y @ kernel.T, one).shape == x.shape


@settings(max_examples=25)
@given(
    strategies.integers(1, 2),
    strategies.integers(1, 7),
    strategies.data(),
    strategies.sampled_from(["same", "valid"]),
    strategies.tuples(strategies.integers(7, 13), strategies.integers(7, 13)),
)
def test_a_decoder_layer_is_the_transpose_of_its_encoder_layer(
    axes: int, size: int, drawn: strategies.DataObject, padding: Padding, lengths: tuple[int, int]
) -> None:
    kind, stride = (Conv1DConfig, Conv2DConfig)[axes - 1], drawn.draw(strategies.integers(1, size))
    layer = kind(units=3, kernel=size, strides=stride, padding=padding)
    model = TiedAutoencoder(ModelConfig([layer], "linear", (*lengths[:axes], 2)), seed=size)
    (encode, decode), matrix = model.pairs[0], model.kernels[0].matrix
    rng = np.random.default_rng(size)
    x = rng.normal(size=(2, *lengths[:axes], 2)).astype(np.float32)
    y = encode.product(tf.constant(x), tf.constant(matrix)).numpy()
    np.testing.assert_allclose(encode.rows(tf.constant(x)) @ matrix, y, atol=1e-5)
    assert y.shape[1:] == model.config.shapes[1]
    z = rng.normal(size=y.shape).astype(np.float32)
    back = decode.product(tf.constant(z), tf.constant(matrix)).numpy()
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(y, z), np.vdot(x, back), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(decode.mean_product(z, matrix), back.mean((0, *range(1, axes + 1))), atol=1e-5)


def test_shapes_flow_through_the_stack(trained: Callable[[str], TiedAutoencoder]) -> None:
    image, tiles, signal = (trained(name).config for name in NETS)
    assert image.shapes == ((8, 12, 3), (4, 6, 8), (2, 6, 4), (12,)) and image.matrices == ((27, 8), (72, 4), (48, 12))
    assert tiles.shapes == ((8, 12, 3), (4, 6, 8), (2, 1, 4)) and tiles.matrices == ((12, 8), (48, 4))
    assert signal.shapes == ((33, 2), (5, 8), (5, 4)) and signal.matrices == ((10, 8), (16, 4))


def test_tables_without_a_kernel_become_keys() -> None:
    conv = {"kind": "conv2d", "filters": 3}
    pooled, dense, code = layer_tables([conv, {"kind": "maxpool", "size": [2, 1]}, {"kind": "flatten"}, 7, {"units": 5}])
    assert pooled == Conv2DConfig(units=3, pool=(2, 1))
    assert dense == LayerConfig(7, "relu", flatten=True) and code == LayerConfig(5)
    assert layer_tables([conv, {"kind": "maxpool"}])[0].pools == (2, 2)
    assert layer_tables([{"kind": "flatten"}, 4]) == [LayerConfig(4, flatten=True)]


@pytest.mark.parametrize(
    ("kind", "shape", "inputs"),
    [
        ("conv2d", (28, 28), (28, 28, 1)),
        ("conv2d", (28, 28, 3), (28, 28, 3)),
        ("conv1d", (256,), (256, 1)),
        ("conv1d", (256, 2), (256, 2)),
    ],
)
def test_samples_get_a_channel(kind: str, shape: tuple[int, ...], inputs: tuple[int, ...]) -> None:
    model = ModelConfig(layer_tables([{"kind": kind, "filters": 4}]))
    assert model.of_samples(shape).inputs == inputs
    assert model.layers[0].filter(shape) == (*(1,) * (3 - len(inputs)), *(3,) * (len(inputs) - 1), inputs[-1])


@pytest.mark.parametrize(("shape", "axis", "count"), [((2, 5, 3), 1, 2), ((2, 5, 4, 3), 1, 3), ((2, 5, 4, 3), 2, 2)])
def test_repeated_values_are_neighbours(shape: tuple[int, ...], axis: int, count: int) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    np.testing.assert_array_equal(repeated(tf.constant(x), count, axis), np.repeat(x, count, axis))


def test_bytes_are_those_of_weights_and_biases_each_kernel_once() -> None:
    layers = [{"kind": "conv2d", "filters": 4, "kernel": 3, "strides": 2, "batch_norm": True}, {"kind": "flatten"}, 5]
    model = TiedAutoencoder(ModelConfig(layer_tables(layers), inputs=(8, 8, 1)))
    kernels, biases, norms = 9 * 4 + 64 * 5, 4 + 5 + 64 + 1, 3 * (4 + 64)
    assert model.bytes == 4 * (kernels + biases + norms)


@pytest.mark.parametrize("name", NETS)
def test_training_learns(name: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]) -> None:
    model, test = trained(name), data[name].test
    history = model.lineage.history
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    assert model.encode(test).shape == (len(test), *model.config.shapes[-1])
    assert model.predict(test).shape == (len(test), *SHAPES[name])


@pytest.mark.parametrize("name", every(3, NETS))
def test_training_repeats_itself(name: str, data: dict[str, Dataset]) -> None:
    one, two = (fitted(name, data[name], epochs=2).arrays() for _ in range(2))
    for key, values in one.items():
        np.testing.assert_array_equal(values, two[key], err_msg=key)


@pytest.mark.parametrize("name", NETS)
def test_an_archive_keeps_the_layers(name: str, trained: Callable[[str], TiedAutoencoder], tmp_path: Path) -> None:
    model, x = trained(name), np.ones((2, np.prod(SHAPES[name])), np.float32)
    model.save(tmp_path / "m.safetensors")
    again = TiedAutoencoder.load(tmp_path / "m.safetensors")
    assert again.config == model.config
    np.testing.assert_array_equal(again(x), model(x))


RECIPE = """
[data]
source = "samples.npy"
validation = 0.1
[model]
layers = [
  { kind = "conv2d", filters = 16, kernel = [5, 3], activation = "relu" },
  { kind = "maxpool" },
  { kind = "flatten" },
  32,
  8,
]
"""


def test_a_recipe_names_the_kinds(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    recipe = load_recipe(path)
    first = Conv2DConfig(units=16, kernel=(5, 3), activation="relu", pool=2)
    assert recipe.model.layers == (first, LayerConfig(32, "relu", flatten=True), LayerConfig(8))
    assert check_inputs(recipe, (8, 12)).model.inputs == (8, 12, 1)
    path.write_text(recipe_to_toml(check_inputs(recipe, (8, 12))))
    assert 'kind = "conv2d"' in path.read_text() and "filters = 16" in path.read_text()
    assert load_recipe(path).model == check_inputs(recipe, (8, 12)).model
    with pytest.raises(
        RecipeError, match=r"^model.layers\[0\].pool: got 2, must be a divisor of each axis .* \[7, 12\]: none,"
    ):
        check_inputs(recipe, (7, 12))
    path.write_text(RECIPE.replace("filters", "units"))
    with pytest.raises(RecipeError, match=r"model.layers\[0\].units: unknown key; "):
        load_recipe(path)


def test_the_schema_and_the_text_of_a_recipe_have_the_kinds() -> None:
    definitions = recipe_schema()["$defs"]
    assert definitions["Conv2DConfig"]["required"] == ["kind", "filters"]
    assert definitions["MaxPoolTable"]["properties"]["kind"] == {"enum": ["maxpool"]}
    names = {
        each.get("$ref", "").rpartition("/")[2] for each in definitions["ModelConfig"]["properties"]["layers"]["items"]["anyOf"]
    }
    assert names >= {"Conv1DConfig", "Conv2DConfig", "MaxPoolTable", "FlattenTable"}
    text = recipe_text()
    assert all(f'kind = "{kind}"' in text for kind in ("conv1d", "conv2d", "maxpool", "flatten"))
    assert text.count("filters = 16") == 1 and text.count('padding = "same"') == 1


def test_search_takes_filters_as_units(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    recipe = check_inputs(load_recipe(tmp_path / "small.toml"), (8, 12))
    axis = next(each for each in space_of(recipe).axes if each.name == "hidden_0")
    assert axis.values[:3] == (2, 4, 6) and axis.apply(recipe, 8).model.layers[0].units == 8


PRUNINGS = {
    "structured": PruneConfig("structured", 0.25, epochs=2, code=True),
    "unstructured": PruneConfig(epochs=2),
    "2:4": PruneConfig("2:4", epochs=2, saliency="gradient", skip=(0,)),
    "block": PruneConfig("block", block=(2, 2), epochs=2, skip=(0,)),
    "movement": PruneConfig(saliency="movement", epochs=2, scope="global", distill=0.5),
}


@pytest.mark.parametrize("pattern", every(5, PRUNINGS))
@pytest.mark.parametrize("name", every(3, NETS))
def test_every_pattern_prunes(
    name: str, pattern: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    config, floating = PRUNINGS[pattern], trained(name)
    model = prune(floating, data[name], config=config, verbose=0)
    if pattern == "structured":
        units = [round(0.75 * layer.units) for layer in floating.config.layers]
        assert [layer.units for layer in model.config.layers] == units
    elif config.scope == "layer":
        live = [kernel.live.mean() for i, kernel in enumerate(model.kernels) if i not in config.skip]
        assert live == pytest.approx([0.5] * len(live), abs=0.05)
    for kernel in model.kernels[len(config.skip) :] if config.kind in HELD else ():
        ok, text = HELD[config.kind](kernel.matrix, kernel.live, config)
        assert ok, text
    assert np.isfinite(model(scaled(data[name]))).all()


def test_a_pattern_that_does_not_divide_a_matrix_is_refused(
    trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    with pytest.raises(
        RecipeError, match=r"pattern: got '2:4', must be one that divides kernel 0, 27 × 8; skip = \[0\] leaves"
    ):
        prune(trained("image"), data["image"], pattern="2:4", verbose=0)


@pytest.mark.parametrize("name", every(3, NETS))
def test_channels_that_are_pruned_leave_without_a_change(
    name: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    from tiedae.compress.pruning import prune as in_place

    model, x = trained(name).copy(), scaled(data[name])
    in_place(model, data[name], PruneConfig("structured", 0.5, epochs=1), TrainConfig(batch_size=32))
    smaller = shrink(model)
    assert smaller.kernels[0].units == 4 and smaller.kernels[1].inputs == model.kernels[1].inputs // 2
    np.testing.assert_allclose(smaller(x), model(x), atol=1e-5)


@pytest.mark.ci
def test_kernels_share_values(trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]) -> None:
    model = cluster(trained("image"), data["image"], config=ClusterConfig(8, epochs=1, distill=0.5), verbose=0)
    assert all(len(np.unique(kernel.matrix)) <= 8 for kernel in model.kernels)
    quantized = quantize(model, data["image"], epochs=0, verbose=0)
    assert all(len(np.unique(kernel.integers())) <= 8 for kernel in quantized.kernels)


def with_biases_of(program: Program, model: TiedAutoencoder) -> TiedAutoencoder:
    """A copy whose biases are the program's integers of 32 bits, which the simulation does not round."""
    other = model.copy()
    layers = {layer.tensor_name: layer for layer in other.stack}
    for operation in (each for each in program.operations if isinstance(each, Dense) and each.bias is not None):
        layer = layers[operation.y.split(".")[0]]
        offset = (program.constants[operation.bias] * operation.bias_scales(program))[: layer.size()]
        layer.bias.assign_add(offset - layer.offset)
    return other


def differing(model: TiedAutoencoder, program: Program, x: np.ndarray) -> dict[str, float]:
    """The mean difference of `code` and `y` of the program from the simulation, in LSB."""
    values = execute(program, "reconstruct", program.tensors["x"].shaped(program.quantization("x").quantize(x)))
    found = {}
    for name, simulated in zip(("code", "y"), with_biases_of(program, model).encode_decode(x), strict=True):
        quantization = program.quantization(name)
        off = quantization.dequantize(values[name]).reshape(simulated.shape) - simulated
        found[name] = float(np.abs(off / quantization.scale).mean())
    return found


TIES = 0.35
"""Of these samples many values are ½: 128 steps of a sigmoid's 1/256, a tie of 1/255, which the simulation rounds otherwise."""
CASES = [
    (name, granularity, layout, bits)
    for layout, (granularity, bits), name in itertools.product(LAYOUTS, (("tensor", 8), ("unit", 4)), NETS)
]


@pytest.mark.parametrize(("name", "granularity", "layout", "bits"), every(9, CASES))
def test_quantization_after_training_with_all_steps(
    name: str,
    granularity: str,
    layout: str,
    bits: int,
    trained: Callable[[str], TiedAutoencoder],
    data: dict[str, Dataset],
) -> None:
    floating, x = trained(name), scaled(data[name])
    model = quantize(floating, data[name], epochs=0, bits=bits, granularity=granularity, verbose=0, **LAYOUTS[layout])
    assert np.square(model(x) - floating(x)).mean() < (2e-4 if bits == 8 else 6e-3)
    off = differing(model, lower(model, "p", layout=layout), x)
    assert off["code"] < 0.02 and off["y"] < TIES, off


@pytest.mark.parametrize("bits", every(3, [2, 3, 5, 6, 7]))
def test_kernels_of_any_width(bits: int, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]) -> None:
    model = quantize(trained("signal"), data["signal"], epochs=0, bits=bits, config=QuantizeConfig(refinements=()), verbose=0)
    program = lower(model, "p", layout="fused")
    top = 2 ** (bits - 1)
    assert all(np.abs(program.constants[name].astype(int)).max() in (top, top - 1) for name in program.kernels)
    assert differing(model, lower(model, "p", layout="split"), scaled(data["signal"]))["code"] < 0.02


@pytest.mark.parametrize(("name", "layout"), every(9, [(name, layout) for layout in LAYOUTS for name in NETS]))
def test_quantization_aware_training(
    name: str, layout: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    config = QuantizeConfig(granularity="unit", bits=(4,), epochs=1, samples=64, distill=0.5)
    model = quantize(trained(name), data[name], config=config, verbose=0, **LAYOUTS[layout])
    assert model.lineage.history[-1]["stage"] == "quantize" and model.quantized
    off = differing(model, lower(model, "p", layout=layout), scaled(data[name]))
    assert off["code"] < 0.02 and off["y"] < TIES, off


def random_model(layers: list, shape: tuple[int, ...], output: str, **options: object) -> TiedAutoencoder:
    """A model of random weights and statistics, quantized by its samples without refinements."""
    model = TiedAutoencoder(ModelConfig(layer_tables(layers), output, shape), seed=1)  # type: ignore[arg-type]
    rng = np.random.default_rng(2)
    for kernel in model.kernels:
        kernel.variable.assign(rng.laplace(0, 0.5 / np.sqrt(kernel.inputs), kernel.variable.shape))
    for layer in model.stack:
        layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))
        if layer.norm is not None:
            layer.norm.gamma.assign(np.exp(rng.normal(0, 0.3, layer.bias.shape)))
            layer.norm.mean.assign(rng.normal(0, 0.2, layer.bias.shape))
    x = rng.integers(0, 256, (80, *shape)).astype(np.uint8)
    config = QuantizeConfig(refinements=(), samples=64)
    return quantize(model, Dataset.from_array(x), epochs=0, config=config, verbose=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("activation", "output"),
    every(3, [(activation, output) for activation in ("relu", "tanh", "relu6", "linear") for output in ("sigmoid", "linear")]),
)
@pytest.mark.parametrize("stride", every(2, [1, 2]))
def test_the_program_gives_what_the_simulation_gives(stride: int, activation: str, output: str, layout: str) -> None:
    """Up to the 32-bit rounding of biases, as dense layers. Stride 2: windows of the second layer tile its input."""
    layers = [
        {"kind": "conv2d", "filters": 5, "activation": activation, "pool": [2, 1], "batch_norm": True},
        {"kind": "conv2d", "filters": 3, "kernel": 2, "strides": stride},
    ]
    model = random_model(layers, (8, 6, 2), output, **LAYOUTS[layout])
    x = np.random.default_rng(3).integers(0, 256, (40, 96)).astype(np.uint8) / np.float32(255)
    off = differing(model, lower(model, "p", layout=layout), x)
    assert off["code"] < 0.002 and off["y"] < 0.02, off


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("layout", ["split", "fused"])
def test_a_float_model_lowers_to_what_keras_computes(
    name: str, layout: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    model, x = trained(name), scaled(data[name])
    program = lower(model, "p", layout=layout)
    values = execute(program, "reconstruct", program.tensors["x"].shaped(x))
    code, y = model.encode_decode(x)
    np.testing.assert_allclose(values["code"], code, atol=1e-5)
    np.testing.assert_allclose(values["y"].reshape(len(x), -1), y, atol=1e-5)


def test_operations_of_windows_that_overlap_and_of_windows_that_tile(trained: Callable[[str], TiedAutoencoder]) -> None:
    image, tiles = (lower(trained(name), "p", layout="split") for name in ("image", "tiles"))
    assert [type(each) for each in image.encoder] == [Convolution, MaxPool, Convolution, Reshape, Dense]
    assert [each.y for each in image.encoder][:2] == ["encoder_0.unpooled", "encoder_0"]
    kinds = [type(each) for each in image.decoder]
    assert kinds[-4:] == [Convolution, Upsample, Convolution, Activate] and Product in kinds and Reshape in kinds
    assert [type(each) for each in tiles.encoder] == [Patches, Dense, Activate, Patches, Dense, MaxPool]
    kinds = [type(each) for each in tiles.decoder]
    assert kinds[:2] == [Upsample, Product] and kinds[-2:] == [Unpatch, Activate] and Convolution not in kinds
    assert tiles.constants["y.bias8"].shape == (12,)


@pytest.mark.parametrize("name", NETS)
def test_the_float_program_is_read_from_the_integer_program(
    name: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    model, x = trained(name), scaled(data[name])
    config = QuantizeConfig(refinements=(), granularity="unit")
    integer = lower(quantize(model, data[name], epochs=0, config=config, verbose=0), "p", layout="fused")
    program = float_program(integer, lower(model, "p", layout="fused").constants)
    values = execute(program, "reconstruct", program.tensors["x"].shaped(x))
    np.testing.assert_allclose(values["y"].reshape(len(x), -1), model(x), atol=1e-5)


@pytest.mark.ci
@pytest.mark.parametrize("name", NETS)
def test_training_for_rate(name: str, data: dict[str, Dataset]) -> None:
    model = TiedAutoencoder(NETS[name], seed=1)
    model.fit(data[name], train=TrainConfig(epochs=4, batch_size=16, learning_rate=0.01, rate=0.002), verbose=0)
    assert model.code_scale is not None and np.isfinite(model.code_scale) and model.lineage.history[-1]["bits"] > 0
    quantized = quantize(model, data[name], epochs=0, verbose=0)
    assert lower(quantized, "p", layout="split").quantization("code").scale == np.float32(model.code_scale)


def test_calibration_diagnosis_and_sensitivity(
    trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset], tmp_path: Path
) -> None:
    model, chosen = trained("image"), representative(data["image"].train, 128)
    dead = model.copy()
    dead.kernels[0].variable.assign(dead.kernels[0].matrix * (np.arange(8) != 5))
    calibration = calibrate(dead, chosen)
    assert not any(name.endswith(".unpooled") for name in calibration.tensors)
    write_calibration(tmp_path / "c.json", calibration)
    assert read_calibration(tmp_path / "c.json").to_json() == calibration.to_json()
    findings = [each for each in diagnose(dead, chosen, calibration, QuantizationSpec()).findings if each.kind == "dead units"]
    assert findings[0].text.startswith("encoder_0: 1 of 8 units have one value for all 128 samples (5)")
    levels = {"kernel bits": (4,), "activation bits": (4,)}
    places = [row.place for row in sensitivity(model, chosen, levels)]
    assert places == ["kernel_0", "kernel_1", "kernel_2", "x", "encoder_0", "encoder_1", "code", "decoder_2", "decoder_1", "y"]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("pool", [1, 2])
def test_the_influence_of_a_kernel_counts_every_place(pool: int, index: int) -> None:
    """Exact where windows tile; overlapping windows of one sample are taken as independent."""
    layers = [
        {"kind": "conv2d", "filters": 5, "kernel": 2, "strides": 2, "pool": [pool, 1]},
        {"kind": "conv2d", "filters": 3, "kernel": 1},
    ]
    model, rng = TiedAutoencoder(ModelConfig(layer_tables(layers), "linear", (4, 8, 2)), seed=1), np.random.default_rng(0)
    x = rng.normal(size=(800, 64)).astype(np.float32)
    change = rng.normal(0, 0.02, model.kernels[index].variable.shape).astype(np.float32)
    predicted = influence(model, x).kernels[f"kernel_{index}"].loss(change)
    assert predicted == pytest.approx(squared_change(model, x, index, change), rel=0.15)


@pytest.mark.parametrize("name", NETS)
def test_means_of_products(name: str, trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]) -> None:
    model, x = trained(name), scaled(data[name])
    kernels, outputs = [kernel.unquantized() for kernel in model.kernels], {}
    tensors = {"x": model.encoder.arranged(tf.constant(x))}
    source = tensors["x"]
    for layer, i in zip(model.stack, (*range(len(kernels)), *reversed(range(len(kernels)))), strict=True):
        product = layer.product(source, kernels[i]).numpy()
        outputs[layer.tensor_name] = product.reshape(-1, product.shape[-1]).mean(0)
        source = tensors[layer.tensor_name] = layer(source)
    for tensor, means in product_means(model, tensors, kernels).items():
        np.testing.assert_allclose(means, outputs[tensor], atol=1e-5, err_msg=tensor)


def test_channels_that_are_scaled_or_moved_leave_the_function(
    trained: Callable[[str], TiedAutoencoder], data: dict[str, Dataset]
) -> None:
    """Through pooling, batch normalization and the rows of a flattened map."""
    model, x, rng = trained("image").copy(), scaled(data["image"], 20), np.random.default_rng(0)
    y = model(x).numpy()
    scales = unit_scales(model, influence(model, x), [127] * 3)
    assert [each.shape for each in scales] == [(8,), (2, 4)] and np.ptp(scales[0]) > 0.1
    rescale_units(model, scales)
    for layer, units in enumerate((8, 4)):
        permute_units(model, layer, rng.permutation(units))
    np.testing.assert_allclose(model(x), y, atol=1e-5)


def test_a_pooled_code_is_not_rotated(data: dict[str, Dataset]) -> None:
    from tiedae.compress.symmetries import balance_code

    for pool, balanced in ((1, True), (2, False)):
        layer = Conv2DConfig(units=3, kernel=2, strides=2, pool=pool)
        model = TiedAutoencoder(ModelConfig([layer], inputs=SHAPES["image"]), seed=1)
        x = scaled(data["image"])
        y = model(x).numpy()
        assert balance_code(model, x) == balanced
        np.testing.assert_allclose(model(x), y, atol=1e-5)


def test_a_record_of_a_convolution_has_windows() -> None:
    layer = Conv1DConfig(units=3, kernel=5, strides=2, pool=4)
    assert isinstance(layer, ConvolutionConfig)
    assert layer.window == Window((5,), (2,), "same") and layer.pools == (4,) and Conv1DConfig(units=3).pools == ()


@pytest.mark.parametrize(("half", "index", "name", "terms"), [("encoder", 0, "encoder_0", 18), ("decoder", 1, "y", 5 * 9)])
def test_an_accumulator_that_could_overflow_is_refused(half: str, index: int, name: str, terms: int) -> None:
    """A value of the decoder's output is under the windows that overlap there, each with a product per filter."""
    layers = [{"kind": "conv2d", "filters": 5, "activation": "relu"}, {"kind": "conv2d", "filters": 3, "kernel": 2}]
    model = random_model(layers, (8, 6, 2), "linear")
    layer = getattr(model, half).stack[index]
    layer.bias.assign(np.full(layer.bias.shape, 1e6, np.float32))
    with pytest.raises(ExportError, match=f"layer {name}: {terms} products and the bias can overflow a 32-bit accumulator"):
        lower(model, "p", layout="split")
