"""A layer kind of another package: `blocks` goes through every step of the product, of which no line knows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tiedae.base.errors import UnavailableError
from tiedae.bundle.reference_outputs import float_program
from tiedae.calibration.diagnosis import diagnose
from tiedae.calibration.equalization import unit_scales
from tiedae.calibration.ranges import calibrate
from tiedae.calibration.representative import representative
from tiedae.compress import (
    ClusterConfig,
    Dataset,
    ExportConfig,
    ExportError,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizationSpec,
    RecipeError,
    TiedAutoencoder,
    TrainConfig,
)
from tiedae.compress.curvature import influence
from tiedae.compress.layers import DIRECTIONS
from tiedae.compress.patterns import HELD
from tiedae.compress.symmetries import permute_units, rescale_units
from tiedae.config.layer_kinds import LAYER_KINDS
from tiedae.export.storage_check import prove
from tiedae.export.targets import TARGETS
from tiedae.pipeline.recipe import check_inputs, load_recipe, recipe_schema, recipe_text, recipe_to_toml
from tiedae.pipeline.stages import cluster, prune, quantize
from tiedae.program.file_io import FileIO
from tiedae.program.interpreter import execute
from tiedae.program.lowering import LOWERINGS, lower
from tiedae.runtimes.session import Session
from tiedae.runtimes.table import RUNTIMES

from ..compress.test_curvature import squared_change
from ..variants import every
from .blocks import BlocksConfig, registered

LAYERS = (BlocksConfig(16, "relu", side=4), LayerConfig(4))
"""Sixteen units of 4 × 4 × 3 values, then a code of 4 units, both per block."""
DEEP = (BlocksConfig(8, "tanh", side=2), BlocksConfig(4, side=2))
"""Blocks of blocks."""
SHAPE = (8, 12, 3)


def samples(count: int = 300) -> np.ndarray:
    """Bytes [count, 8, 12, 3] of four components."""
    rng = np.random.default_rng(0)
    mixed = np.tensordot(rng.normal(size=(count, 4)), rng.normal(size=(4, *SHAPE)), 1)
    return np.clip(30 * mixed + 128, 0, 255).astype(np.uint8)


CONFIG = TrainConfig(epochs=8, batch_size=16, learning_rate=0.01, start="random")


@pytest.fixture(autouse=True)
def blocks() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_array(samples(), validation=0.1)


@pytest.fixture(scope="module")
def trained(data: Dataset) -> dict[str, TiedAutoencoder]:
    """A trained model of `LAYERS` and one of `DEEP`."""
    models = {}
    with registered():
        for name, layers in (("flat", LAYERS), ("deep", DEEP)):
            models[name] = TiedAutoencoder(ModelConfig(layers), seed=1)
            models[name].fit(data, train=CONFIG, verbose=0)
    return models


def test_shapes_flow_through_the_stack(trained: dict[str, TiedAutoencoder]) -> None:
    flat, deep = trained["flat"].config, trained["deep"].config
    assert flat.inputs == SHAPE and flat.size == 288
    assert flat.shapes == (SHAPE, (2, 3, 16), (2, 3, 4)) and flat.matrices == ((48, 16), (16, 4))
    assert deep.shapes == (SHAPE, (4, 6, 8), (2, 3, 4)) and deep.matrices == ((12, 8), (32, 4))
    assert flat.widths == (288, 96, 24)


def test_a_block_has_a_code_of_its_own(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    model, x = trained["flat"], data.scaling.apply(data.test.take(np.arange(5))).reshape(5, *SHAPE)
    code, y = (each.numpy() for each in model.encode_decode(x.reshape(5, -1)))
    block = x[:, 4:8, 8:12].reshape(5, -1)
    hidden = np.maximum(block @ model.kernels[0].matrix + model.encoder.stack[0].bias.numpy(), 0)
    np.testing.assert_allclose(code[:, 1, 2], hidden @ model.kernels[1].matrix + model.encoder.stack[1].bias.numpy(), atol=1e-5)
    other = x.copy()
    other[:, 4:8, 8:12] = 0
    changed = (model(other.reshape(5, -1)).numpy() != y).reshape(5, *SHAPE)
    assert changed[:, 4:8, 8:12].any() and not changed[:, :4].any() and not changed[:, :, :8].any()


def test_training_learns(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    for model in trained.values():
        history = model.lineage.history
        assert history[-1]["loss"] < 0.8 * history[0]["loss"]
        assert model.encode(data.test).shape == (len(data.test), 2, 3, 4)
        assert model.predict(data.test).shape == (len(data.test), *SHAPE)


def test_a_kind_begins_at_pca_too(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    model = TiedAutoencoder(ModelConfig(LAYERS), seed=1)
    model.fit(data, train=structs.replace(CONFIG, start="auto"), verbose=0)
    assert model.lineage.history[0]["begun"]["start"] == "pca"
    assert model.lineage.history[-1]["loss"] < trained["flat"].lineage.history[-1]["loss"]


def test_an_archive_keeps_the_kind_and_the_shape(trained: dict[str, TiedAutoencoder], tmp_path: Path) -> None:
    model = trained["deep"]
    model.save(tmp_path / "m.safetensors")
    again = TiedAutoencoder.load(tmp_path / "m.safetensors")
    assert again.config == model.config and [type(layer) for layer in again.stack] == [type(layer) for layer in model.stack]
    np.testing.assert_array_equal(again(np.ones((2, 288), np.float32)), model(np.ones((2, 288), np.float32)))


RECIPE = """
[data]
source = "samples.npy"
validation = 0.1
[model]
layers = [{ kind = "blocks", units = 16, activation = "relu", side = 4 }, 4]
"""


def test_a_recipe_names_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    recipe = load_recipe(path)
    assert recipe.model.layers == (BlocksConfig(16, "relu", side=4), LayerConfig(4))
    assert check_inputs(recipe, SHAPE).model.inputs == SHAPE and check_inputs(recipe, (8, 12)).model.inputs == (8, 12, 1)
    path.write_text(recipe_to_toml(check_inputs(recipe, SHAPE)))
    assert load_recipe(path).model == check_inputs(recipe, SHAPE).model
    assert recipe_schema()["$defs"]["BlocksConfig"]["properties"]["kind"] == {"enum": ["blocks"]}
    assert 'kind = "blocks"' in recipe_text() and "side = 2" in recipe_text()
    with pytest.raises(RecipeError, match=r"^model.layers\[0\].side: got 4, must be a divisor of .* \[6, 8, 1\]$"):
        check_inputs(recipe, (6, 8))
    path.write_text(RECIPE.replace("blocks", "block"))
    with pytest.raises(
        RecipeError,
        match=r"model.layers\[0\].kind: got 'block', must be one of dense, conv1d, conv2d, blocks, maxpool, flatten$",
    ):
        load_recipe(path)


PRUNINGS = {
    "unstructured": PruneConfig(epochs=2),
    "2:4": PruneConfig("2:4", epochs=2, saliency="gradient"),
    "structured": PruneConfig("structured", 0.25, epochs=2, code=True),
    "block": PruneConfig("block", block=(4, 2), epochs=2),
}


@pytest.mark.parametrize("pattern", PRUNINGS)
@pytest.mark.parametrize("name", every(2, ["deep", "flat"]))
def test_every_pattern_prunes(name: str, pattern: str, trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    config = PRUNINGS[pattern]
    model = prune(trained[name], data, config=config, verbose=0)
    if pattern == "structured":
        assert [layer.units for layer in model.config.layers] == [
            round(0.75 * layer.units) for layer in trained[name].config.layers
        ]
        assert model.config.shapes[-1] == (2, 3, 3)
    else:
        assert [kernel.live.mean() for kernel in model.kernels] == pytest.approx([0.5, 0.5], abs=0.05)
    for kernel in model.kernels if config.kind in HELD else ():
        ok, text = HELD[config.kind](kernel.matrix, kernel.live, config)
        assert ok, text
    _, y = model.encode_decode(data.scaling.apply(data.test.take(np.arange(9))))
    assert np.isfinite(y).all()


def test_whole_units_that_are_pruned_leave_without_a_change(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    from tiedae.compress.pruning import prune as in_place
    from tiedae.compress.symmetries import shrink

    model, x = trained["deep"].copy(), data.scaling.apply(data.test.take(np.arange(9)))
    in_place(model, data, PRUNINGS["structured"], TrainConfig(batch_size=32))
    smaller = shrink(model)
    assert smaller.kernels[1].inputs == 4 * smaller.kernels[0].units == 24
    np.testing.assert_allclose(smaller(x), model(x), atol=1e-6)


def test_kernels_share_values(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    model = cluster(trained["flat"], data, config=ClusterConfig(8, epochs=1), verbose=0)
    assert all(len(np.unique(kernel.matrix)) <= 8 for kernel in model.kernels)


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("bits", every(2, [8, 4]))
@pytest.mark.parametrize("name", every(2, ["flat", "deep"]))
def test_quantization_after_training_with_all_steps(
    name: str, bits: int, granularity: str, trained: dict[str, TiedAutoencoder], data: Dataset
) -> None:
    model, floating = quantize(trained[name], data, epochs=0, bits=bits, granularity=granularity, verbose=0), trained[name]
    x = data.scaling.apply(data.test.take(np.arange(len(data.test))))
    lost = np.square(model(x) - floating(x)).mean()
    assert lost < (2e-4 if bits == 8 else 6e-3)
    program = lower(model, "p", layout="split")
    values = execute(program, "reconstruct", program.tensors["x"].shaped(program.quantization("x").quantize(x)))
    for each, simulated in zip(("code", "y"), model.encode_decode(x), strict=True):
        quantization = program.quantization(each)
        off = quantization.dequantize(values[each]).reshape(simulated.shape) - simulated
        assert np.abs(off / quantization.scale).mean() < 0.2, each


def test_quantization_aware_training(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    model = quantize(trained["flat"], data, epochs=1, bits=4, granularity="unit", verbose=0)
    assert model.lineage.history[-1]["stage"] == "quantize" and model.quantized


def test_training_for_rate(data: Dataset) -> None:
    model = TiedAutoencoder(ModelConfig(LAYERS), seed=1)
    model.fit(data, rate=0.002, epochs=4, verbose=0)
    assert model.code_scale is not None and np.isfinite(model.code_scale)
    assert model.lineage.history[-1]["bits"] > 0


@pytest.fixture(scope="module")
def eight(trained: dict[str, TiedAutoencoder], data: Dataset) -> dict[str, TiedAutoencoder]:
    """The models, quantized after training to 8 bits, with a scale per kernel: no runtime rounds otherwise than the program."""
    with registered():
        return {name: quantize(model, data, epochs=0, verbose=0) for name, model in trained.items()}


def sessions(target: str, precision: str, files: dict[str, Path]) -> Iterator[Session]:
    """The session of every runtime that is installed and rounds as the program does."""
    for runtime in RUNTIMES.values():
        if runtime.format == target and precision in runtime.precisions and runtime.rounding == "program":
            with contextlib.suppress(UnavailableError):
                yield runtime.open(files)


@pytest.mark.parametrize(
    ("target", "precision"), [("tflite", "f32"), ("tflite", "int8"), ("onnx", "f32"), ("onnx", "int8"), ("c", "int8")]
)
@pytest.mark.parametrize("name", every(2, ["flat", "deep"]))
def test_files_hold_the_program_and_compute_it(
    name: str,
    target: str,
    precision: str,
    trained: dict[str, TiedAutoencoder],
    eight: dict[str, TiedAutoencoder],
    data: Dataset,
    tmp_path: Path,
) -> None:
    row, model = TARGETS[target], (eight if precision == "int8" else trained)[name]
    program = lower(model, "p", layout=row.layout)
    io = FileIO("uint8" if precision == "int8" else "float32")
    for file, text in row.write(program, f"p.{precision}", ExportConfig(), io).items():
        (tmp_path / file).write_bytes(text)
    found = {
        signature.name: (path, contents)
        for path in tmp_path.glob(f"*{row.suffix}")
        for contents in [row.read(path)]
        for signature in contents.signatures
    }
    for _, contents in found.values():
        assert [finding.text for finding in prove(contents, program) if not finding.ok] == []
    x = data.test.take(np.arange(20))
    given = program.tensors["x"].shaped(x if precision == "int8" else data.scaling.apply(x))
    expected, ran = execute(program, "reconstruct", given), []
    for session in sessions(target, precision, {signature: path for signature, (path, _) in found.items()}):
        got, ran = session.run("reconstruct", given), [*ran, session.runtime]
        for each, values in got.items():
            np.testing.assert_allclose(values, expected[each], atol=0 if precision == "int8" else 1e-5, err_msg=session.runtime)
    assert ran


@pytest.mark.parametrize("name", ["flat", "deep"])
def test_the_float_program_is_read_from_the_integer_program(
    name: str, trained: dict[str, TiedAutoencoder], eight: dict[str, TiedAutoencoder], data: Dataset
) -> None:
    model, x = trained[name], data.scaling.apply(data.test.take(np.arange(9)))
    program = float_program(lower(eight[name], "p", layout="fused"), lower(model, "p", layout="fused").constants)
    np.testing.assert_allclose(
        execute(program, "reconstruct", program.tensors["x"].shaped(x))["y"].reshape(9, -1), model(x), atol=1e-5
    )


def test_the_tables_have_the_same_kinds() -> None:
    assert list(LAYER_KINDS) == list(DIRECTIONS) == list(LOWERINGS) == ["dense", "conv1d", "conv2d", "blocks"]


def test_a_kind_that_is_not_registered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delitem(LOWERINGS, "blocks")
        with pytest.raises(ExportError, match="layers of kind blocks have no lowering, must be one of dense"):
            lower(TiedAutoencoder(ModelConfig(LAYERS, inputs=SHAPE)), "p", layout="split")
    monkeypatch.delitem(LAYER_KINDS, "blocks")
    with pytest.raises(RecipeError, match=r"layers\[0\]: got BlocksConfig, must be one of LayerConfig, .*, Conv2DConfig$"):
        ModelConfig(LAYERS)
    with pytest.raises(RecipeError, match=r"model.layers\[0\].kind: got 'blocks', must be one of dense, conv1d, conv2d$"):
        TiedAutoencoder.rebuild({"model": {"layers": [{"kind": "blocks", "units": 8}]}}, {})
    with pytest.raises(RecipeError, match=r"layers\[0\].kind: got \['dense'\], must be one of dense, conv1d, conv2d$"):
        ModelConfig([{"kind": ["dense"], "units": 8}])  # type: ignore[list-item]


def test_dead_units_are_counted_by_unit(trained: dict[str, TiedAutoencoder], data: Dataset) -> None:
    model, chosen = trained["deep"].copy(), representative(data.train, 200)
    model.kernels[0].variable.assign(model.kernels[0].matrix * (np.arange(8) != 5))
    findings = diagnose(model, chosen, calibrate(model, chosen), QuantizationSpec()).findings
    found = [each for each in findings if each.kind == "dead units"]
    assert found[0].text.startswith("encoder_0: 1 of 8 units have one value for all 200 samples (5)")


@pytest.mark.parametrize("index", [0, 1])
def test_the_influence_of_a_kernel_counts_every_place(index: int) -> None:
    layers = (BlocksConfig(5, side=2), BlocksConfig(3, side=2))
    model, rng = TiedAutoencoder(ModelConfig(layers, "linear", (4, 8, 2)), seed=1), np.random.default_rng(0)
    x = rng.normal(size=(800, 64)).astype(np.float32)
    change = rng.normal(0, 0.1, model.kernels[index].variable.shape).astype(np.float32)
    predicted = influence(model, x).kernels[f"kernel_{index}"].loss(change)
    assert predicted == pytest.approx(squared_change(model, x, index, change), rel=0.1)


def test_units_that_are_scaled_or_moved_leave_the_function() -> None:
    layers = (BlocksConfig(8, "relu", side=2), BlocksConfig(4, side=2))
    model, rng = TiedAutoencoder(ModelConfig(layers, inputs=(4, 8, 2)), seed=1), np.random.default_rng(0)
    x = rng.normal(size=(20, 64)).astype(np.float32)
    y = model(x).numpy()
    scales = unit_scales(model, influence(model, x), [127, 127])
    assert scales[0].shape == (8,) and np.ptp(scales[0]) > 0.1
    rescale_units(model, scales)
    permute_units(model, 0, rng.permutation(8))
    np.testing.assert_allclose(model(x), y, atol=1e-5)


def test_interleaving_is_for_samples_of_one_axis() -> None:
    with pytest.raises(RecipeError, match="interleave: got 4, must be 1 for samples of several axes"):
        ModelConfig(LAYERS, inputs=SHAPE, interleave=4)
