"""Convolutions of .onnx files and SavedModels: what they compute against their runtimes, ties, and refusals by operation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.base.windows import Window
from tiedae.compress.imports.chain import ChainReshape, Refused
from tiedae.compress.imports.convolutions import ChainConvolution, ChainTranspose
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.compress.imports.pairs import pairs

from ...variants import every
from . import onnx_graphs, saved_models
from .conv_graphs import EXPORTS, Torch, exported, onnx_file, torch_image
from .conv_models import MODELS, image, sequential
from .hand_made import library

CASES = [
    (name, keras, export, tied)
    for export in EXPORTS
    for name in MODELS
    for keras in ("keras", "tf_keras")
    for tied in (True, False)
]


@pytest.mark.parametrize(("name", "keras", "export", "tied"), every(3, CASES))
def test_an_export_computes_what_keras_does(name: str, keras: str, export: str, tied: bool, tmp_path: Path) -> None:
    if keras == "tf_keras" and tied and export == "export":
        pytest.skip("Keras 2 calls an own layer with unknown lengths as it exports")
    model = MODELS[name](keras, tied=tied)
    chain = read_model(EXPORTS[export](model, tmp_path))
    x = np.random.default_rng(0).normal(size=(3, *chain.shape)).astype(np.float32)
    np.testing.assert_allclose(chain(x), np.asarray(model(x)), atol=2e-5)
    assert {type(layer) for layer in chain.layers} & {Refused, ChainTranspose} == set()
    found = mirror(chain, tie=None)
    assert [layer.kind for layer in found.config.layers] == (["conv2d"] * 2 + ["dense"] if name == "image" else ["conv1d"] * 2)
    if export == "export" or not tied:
        assert found.untied is not tied
    elif name == "image":  # tf2onnx folds the normalization into one kernel and the transpose of the dense one
        assert [pair.status for pair in pairs(chain)] == ["untied", "tied", "equal copy"]
    else:
        assert [pair.status for pair in pairs(chain)] == ["tied", "tied"]


@pytest.mark.parametrize("export", EXPORTS)
def test_a_graph_is_mirrored_as_the_keras_file_is(export: str, tmp_path: Path) -> None:
    model = image("keras")
    with warnings.catch_warnings(action="ignore"):
        model.save(tmp_path / "model.keras")
    from_file, from_graph = (
        mirror(read_model(path), tie=True) for path in (tmp_path / "model.keras", EXPORTS[export](model, tmp_path))
    )
    shapes = [each.config.shapes for each in (from_file, from_graph)]
    assert shapes[0] == shapes[1] and from_file.batch_norm == from_graph.batch_norm
    for a, b in zip(from_file.products, from_graph.products, strict=True):
        assert a.widths == b.widths and type(a) is type(b)
        if isinstance(a, ChainConvolution) and isinstance(b, ChainConvolution):
            assert (a.lengths, a.window.places(a.lengths)) == (b.lengths, b.window.places(b.lengths))


GEOMETRIES = [
    ((24, 3), kind, k, s, padding)
    for kind in ("1D", "2D")
    for k, s in ((3, 1), (3, 2), (4, 2), (5, 3), (2, 2), (1, 1))
    for padding in ("same", "valid")
]


@pytest.mark.parametrize("export", [onnx_file, exported])
@pytest.mark.parametrize(("_", "kind", "kernel", "strides", "padding"), every(6, GEOMETRIES))
def test_windows_of_every_size_are_read(
    _: Any, kind: str, kernel: int, strides: int, padding: str, export: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    kinds = library("keras").layers
    options = {"kernel_size": kernel, "strides": strides, "padding": padding}
    first, last = getattr(kinds, f"Conv{kind}"), getattr(kinds, f"Conv{kind}Transpose")
    shape = (25, 3) if kind == "1D" else (13, 10, 3)
    model = sequential("keras", shape, [first(4, activation="relu", **options), last(3, **options)])
    chain = read_model(export(model, tmp_path))
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_allclose(chain(x), np.asarray(model(x)), atol=2e-5)


@pytest.mark.parametrize("export", [onnx_file, exported])
def test_max_pooling_of_odd_sizes_is_read_and_not_mirrored(export: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    kinds = library("keras").layers
    layers = [kinds.Conv2D(4, 3, padding="same"), kinds.MaxPooling2D(2, padding="same")]
    model = sequential("keras", (7, 9, 2), layers)
    chain = read_model(export(model, tmp_path))
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 2)).astype(np.float32)
    np.testing.assert_allclose(chain(x), np.asarray(model(x)), atol=2e-5)
    with pytest.raises(InputError, match=r"takes windows of \[2, 2\] of \[7, 9\], must divide them"):
        mirror(chain, tie=True)


# As PyTorch writes it: channels first, and flattened so.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_of_pytorch_computes_what_onnx_runtime_does(tied: bool, channels: int, tmp_path: Path) -> None:
    path = torch_image(tied=tied, channels=channels).save(tmp_path)
    chain = read_model(path)
    assert onnx_graphs.close(path, chain)
    assert [pair.status for pair in pairs(chain)] == ["tied" if tied else "untied"] * 2
    if channels > 1:
        with pytest.raises(InputError, match=r"takes \[3, 8, 12\] as \[8, 12, 3\], samples must be channels last"):
            mirror(chain, tie=None)
    else:
        found = mirror(chain, tie=None)
        assert found.untied is not tied and found.config.shapes == ((8, 12, 1), (4, 6, 4), (5,))
        assert not any(isinstance(layer, ChainTranspose) for layer in chain.layers)


def between_dense_and_view(graph: Torch) -> Torch:
    """What a dense layer's values go through before they are channels first."""
    norm = [graph.floats(96), graph.floats(96), graph.floats(96), graph.floats(96, low=0.1)]
    graph.add("Gemm", graph.floats(6, 96), graph.floats(96)).add("BatchNormalization", *norm, epsilon=0.001)
    return graph.add("Mul", graph.floats(96)).add("Tanh").view(2, 48).view(4, 4, 6)


def test_vectors_between_a_dense_layer_and_channels_first_move_too(tmp_path: Path) -> None:
    graph = between_dense_and_view(Torch(6))
    graph.convolution(graph.floats(4, 2, 3, 3), pad=1, back=True)
    path = graph.save(tmp_path)
    chain = read_model(path)
    assert onnx_graphs.close(path, chain)
    assert sum(isinstance(layer, ChainTranspose) for layer in chain.layers) == 1, "that of the output alone"


def test_a_transpose_that_no_dense_layer_takes_stays(tmp_path: Path) -> None:
    graph = Torch(2, 5, 4)
    kernel = graph.floats(3, 2, 3, 3)
    graph.convolution(kernel, pad=1).add("Flatten", axis=1).add("Mul", graph.floats(60)).add("Gemm", graph.floats(60, 4))
    path = graph.save(tmp_path)
    chain = read_model(path)
    assert onnx_graphs.close(path, chain)
    assert sum(isinstance(layer, ChainTranspose) for layer in chain.layers) == 2, "that of the input too"


def random_net(seed: int) -> Torch:
    """Channels-first convolutions, pools, normalizations, upsampling and views at random."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 3))
    graph, shape = Torch(1, seed=seed), (int(rng.integers(1, 4)), *(4 * int(n) for n in rng.integers(1, 4, axes)))
    graph.shape = ("n", *shape)
    for first in (True, *[False] * int(rng.integers(0, 5))):
        match 0 if first else rng.integers(6):
            case 0 | 1:
                filters, size = int(rng.integers(1, 5)), int(rng.integers(0, 2)) * 2 + 1
                bias = graph.floats(filters) if rng.integers(2) else None
                graph.convolution(graph.floats(filters, shape[0], *[size] * axes), bias, pad=size // 2)
                shape = (filters, *shape[1:])
            case 2 if all(n % 2 == 0 for n in shape[1:]):
                graph.pool(2, axes)
                shape = (shape[0], *(n // 2 for n in shape[1:]))
            case 3:
                filters = int(rng.integers(1, 4))
                graph.convolution(graph.floats(shape[0], filters, *[2] * axes), stride=2, back=True)
                shape = (filters, *(2 * n for n in shape[1:]))
            case 4:
                graph.upsample(2, axes)
                shape = (shape[0], *(2 * n for n in shape[1:]))
            case _:
                channels = [graph.floats(shape[0]) for _ in range(3)]
                graph.add("BatchNormalization", *channels, graph.floats(shape[0], low=0.1)).add("Relu")
    if rng.integers(2):
        size = int(np.prod(shape))
        graph.add("Flatten", axis=1).add("Gemm", graph.floats(5, size), graph.floats(5), transB=1)
    return graph


@pytest.mark.parametrize("seed", every(5, range(100)))
def test_random_nets_compute_what_onnx_runtime_does(seed: int, tmp_path: Path) -> None:
    path = random_net(seed).save(tmp_path)
    chain = read_model(path)
    chain.require_readable()
    assert onnx_graphs.close(path, chain, seed=seed)


# What is refused, by operation.


def conv(pads: Any = None, **options: Any) -> Callable[[Torch], Any]:
    def write(graph: Torch) -> None:
        channels = 4 // options.get("group", 1)
        given = {} if "auto_pad" in options else {"pads": pads or [1, 1, 1, 1]}
        graph.add("Conv", graph.floats(4, channels, 3, 3), kernel_shape=[3, 3], **given, **options)

    return write


def pool(**options: Any) -> Callable[[Torch], Any]:
    return lambda graph: graph.add("MaxPool", **{"kernel_shape": [2, 2], "strides": [2, 2], **options})


def resize(mode: str = "nearest", scales: Any = (1, 1, 2, 2), **options: Any) -> Callable[[Torch], Any]:
    return lambda graph: graph.add("Resize", "", graph.array(np.array(scales, np.float32)), mode=mode, **options)


SYMMETRIC = r'padding "same", zeros \[\[0, 1\], \[0, 1\]\] before and after each axis, or none would do'
REFUSED: dict[str, tuple[Callable[[Torch], Any], str]] = {
    "dilated": (conv([2, 2, 2, 2], dilations=[2, 2]), r"n0 \(Conv\): is dilated; a larger kernel or strides would do"),
    "groups": (conv(group=2), r"n0 \(Conv\): has groups; a convolution of all channels would do"),
    "gaps": (conv(strides=[4, 4]), r"n0 \(Conv\): has strides beyond its kernel"),
    "symmetric": (conv(strides=[2, 2]), rf"n0 \(Conv\): has \[4, 6\] windows over \[8, 12\], \[1, 1\] zeros.*{SYMMETRIC}"),
    "lower": (conv(auto_pad="SAME_LOWER"), r"n0 \(Conv\): has padding SAME_LOWER"),
    "channels": (lambda graph: graph.add("Conv", graph.floats(4, 3, 3, 3)), r"n0 \(Conv\): kernel of 3 channels behind 4"),
    "cube": (lambda graph: graph.add("Conv", graph.floats(4, 4, 1, 1, 1)), r"n0 \(Conv\): takes \[4, 8, 12\], must be 3 axes"),
    "computed": (lambda graph: graph.add("Conv", "nowhere"), r"n0 \(Conv\): reads nowhere"),
    "overlapping pool": (pool(strides=[1, 1]), r"n0 \(MaxPool\): pools windows that overlap"),
    "ceil": (pool(kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1), r"n0 \(MaxPool\): takes windows beyond the samples"),
    "average": (
        lambda graph: graph.add("AveragePool", kernel_shape=[2, 2]),
        r"n0 \(AveragePool\): averages, which runtimes round differently",
    ),
    "all places": (lambda graph: graph.add("GlobalAveragePool"), r"n0 \(GlobalAveragePool\): leaves no place of a sample"),
    "linear": (resize("linear"), r"n0 \(Resize\): interpolates values, linear; interpolation nearest would do"),
    "floor": (resize(nearest_mode="floor"), r"n0 \(Resize\): gives \[16, 24\] of \[8, 12\] by half_pixel, floor"),
    "fraction": (resize(scales=(1, 1, 1.5, 1.5)), r"n0 \(Resize\): gives \[12, 18\]"),
    "more channels": (resize(scales=(1, 2, 1, 1)), r"n0 \(Resize\): gives .*, must keep batch and channels"),
    "edges": (lambda graph: graph.add("Pad", graph.array(np.array([0, 0, 1, 1] * 2))), r"n0 \(Pad\): moves the edges"),
    "cut": (
        lambda graph: graph.add("Slice", *(graph.array(np.array([each])) for each in (1, 7, 2))),
        r"n0 \(Slice\): moves the edges",
    ),
    "every other": (
        lambda graph: graph.add("Slice", *(graph.array(np.array([each])) for each in (0, 8, 2, 2))),
        r"n0 \(Slice\): leaves values between others out",
    ),
    "tiled": (lambda graph: graph.add("Tile", graph.array(np.array([1, 1, 2, 1]))), r"n0 \(Tile\): repeats values"),
    "parts": (lambda graph: graph.add("Split", axis=1, num_outputs=1), r"n0 \(Split\): joins or moves tensors"),
    "output padding": (
        lambda graph: graph.add("ConvTranspose", graph.floats(4, 2, 3, 3), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),
        r"n0 \(ConvTranspose\): has \[8, 12\] windows over \[16, 24\], \[1, 1\] zeros.* has output_padding",
    ),
}


@pytest.mark.parametrize(("write", "message"), REFUSED.values(), ids=REFUSED)
def test_operations_that_no_chain_has_are_refused_by_name(write: Callable[[Torch], Any], message: str, tmp_path: Path) -> None:
    graph = Torch(4, 8, 12)
    write(graph)
    chain = graph.read(tmp_path)
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        chain.require_readable()


CONV: dict[str, Any] = {"filters": 4, "kernel_size": 3, "padding": "same"}
REFUSED_LAYERS = {
    "dilated": ("Conv2D", CONV | {"dilation_rate": 2}, r"is dilated; a larger kernel or strides would do"),
    "groups": ("Conv2D", CONV | {"groups": 2}, r"\(Conv2D\): has groups; a convolution of all channels would do"),
    "average": ("AveragePooling2D", {"pool_size": 2}, r"\(AvgPool\): averages, which runtimes round differently"),
    "bilinear": ("UpSampling2D", {"interpolation": "bilinear"}, r"interpolates values; interpolation nearest would do"),
    "depthwise": ("DepthwiseConv2D", {"kernel_size": 3}, r"\(DepthwiseConv2dNative\): has kernels of single channels"),
    "edges": ("ZeroPadding2D", {}, r"\(Pad\): moves the edges of a sample"),
    "all places": ("GlobalMaxPooling2D", {}, r"\(Max\): leaves no place of a sample"),
    "overlapping pool": ("MaxPooling2D", {"pool_size": 3, "strides": 2}, r"\(MaxPool\): pools windows that overlap"),
}


@pytest.mark.parametrize(("kind", "options", "message"), every(3, REFUSED_LAYERS.values()))
def test_layers_of_a_saved_model_are_refused_by_operation(kind: str, options: Any, message: str, tmp_path: Path) -> None:
    model = sequential("keras", (8, 12, 4), [getattr(library("keras").layers, kind)(**options)])
    with pytest.raises(InputError, match=message):
        read_model(exported(model, tmp_path)).require_readable()


def test_a_saved_model_that_computes_channels_first_is_read(tmp_path: Path) -> None:
    tf = saved_models.tf

    def layer(net: Any, x: Any) -> Any:
        y = tf.nn.conv2d(x, net.array(3, 3, 2, 4), 1, "VALID")
        return tf.transpose(tf.transpose(y, (0, 3, 1, 2)), (0, 2, 3, 1))

    path = saved_models.Net(layer).save(tmp_path, shape=(None, 6, 7, 2))
    assert saved_models.close(path, read_model(path))


def test_axes_of_one_value_are_no_layers(tmp_path: Path) -> None:
    graph = Torch(3, 6)
    axes = graph.array(np.array([2]))
    graph.add("Unsqueeze", axes).convolution(graph.floats(4, 3, 1, 3)).add("Squeeze", axes)
    path = graph.save(tmp_path)
    chain = read_model(path)
    assert onnx_graphs.close(path, chain)
    (layer,) = [layer for layer in chain.layers if isinstance(layer, ChainConvolution)]
    assert layer.window == Window((3,), (1,)) and not any(isinstance(layer, ChainReshape) for layer in chain.layers)
