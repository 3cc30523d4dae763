""".onnx files that are refused or damaged, and what `tiedae inspect` says of others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.errors import FormatError, InputError
from tiedae.cli import main
from tiedae.compress.imports.chain import Refused
from tiedae.compress.imports.formats import read_model

from .onnx_graphs import Graph, close, dense, linear, random_net, tied_by_transposing

# What is refused, by node and operation.


def joined(graph: Graph) -> None:
    graph.add("Relu").add("Add", "x")


def dequantized(graph: Graph) -> None:
    integers = graph.array(np.ones((8, 4), np.int8))
    graph.add("MatMul", graph.weight("DequantizeLinear", integers, graph.array(np.float32(0.1))))


REFUSED: tuple[tuple[Callable[[Graph], Any], str], ...] = (
    (lambda graph: graph.add("LRN", size=3), r"n0 \(LRN\): no operation of a tied autoencoder"),
    (joined, r"n1 \(Add\): joins two branches \(Relu and no operation\), must be a chain"),
    (dequantized, r"n0 \(DequantizeLinear\): computes a constant in a way that is not read"),
    (lambda graph: graph.add("MatMul", "nowhere"), r"n0 \(MatMul\): reads nowhere, which the graph lacks"),
    (lambda graph: graph.add("MatMul", graph.floats(7, 4)), r"n0 \(MatMul\): kernel of 7 inputs behind 8 values"),
    (lambda graph: graph.add("MatMul", graph.floats(4, 9), graph.value, first=False), r"n0 \(MatMul\): must have the samples"),
    (lambda graph: graph.add("MatMul", graph.floats(8)), r"n0 \(MatMul\): must multiply the samples by a kernel"),
    (lambda graph: graph.add("Gemm", graph.floats(5, 3), transA=1), r"n0 \(Gemm\): must multiply samples"),
    (lambda graph: graph.add("Add", graph.floats(1, 1, 8)), r"n0 \(Add\): must add a number or one a value"),
    (lambda graph: graph.add("Div", graph.array(np.float32(0))), r"n0 \(Div\): divides by zero"),
    (lambda graph: graph.add("Clip", graph.array(np.float32(-1))), r"n0 \(Clip\): clips to -1 … inf, must be"),
    (lambda graph: graph.add("Cast", to=TensorProto.FLOAT16), r"n0 \(Cast\): must compute in float32 or float64"),
    (lambda graph: graph.add("Reshape", graph.array(np.array([-1, 4]))), r"n0 \(Reshape\): must keep the 8 values"),
    (lambda graph: graph.add("Reshape", graph.array(np.array([5, 8]))), r"n0 \(Reshape\): must keep the 8 values"),
    (lambda graph: graph.add("Flatten", axis=0), r"n0 \(Flatten\): must keep the 8 values"),
    (
        lambda graph: graph.add("Dropout", graph.array(np.float32(0.5)), graph.array(np.array(True))),
        r"n0 \(Dropout\): is in training mode",
    ),
    (
        lambda graph: graph.add("BatchNormalization", *(graph.floats(8) for _ in range(4)), training_mode=1),
        r"n0 \(BatchNormalization\): is in training mode",
    ),
    (
        lambda graph: graph.add("FusedMatMul", graph.floats(8, 4), domain="com.microsoft"),
        r"n0 \(com.microsoft.FusedMatMul\): no op",
    ),
)


@pytest.mark.parametrize(("write", "message"), REFUSED)
def test_refused(write: Callable[[Graph], Any], message: str, tmp_path: Path) -> None:
    graph = Graph()
    write(graph)
    graph.add("Relu")
    chain = graph.read(tmp_path)
    assert isinstance(chain.layers[-1], Refused), "nothing behind it is read"
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        chain.require_readable()


def with_two_inputs() -> onnx.ModelProto:
    model = Graph().add("Relu").model()
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 8)))
    return model


def with_two_ends() -> onnx.ModelProto:
    graph = Graph().add("Relu")
    graph.outputs, graph.value = [graph.value], "x"
    return graph.add("Tanh").model()


def without_opset() -> onnx.ModelProto:
    model = Graph().add("Relu").model()
    del model.opset_import[:]
    return model


def with_constant_output() -> onnx.ModelProto:
    graph = Graph()
    graph.add("Identity", graph.floats(8), first=False)
    return graph.model()


BAD: tuple[tuple[Callable[[], onnx.ModelProto], str], ...] = (
    (lambda: Graph(opset=6).add("Relu").model(), r"opset 6, must be 7 or newer"),
    (with_two_inputs, r"2 inputs \(x, z\), must be one"),
    (with_two_ends, r"outputs v0, v1 are on different branches"),
    (with_constant_output, r"output v0 is not computed from the input"),
    (without_opset, r"not an ONNX file, or a truncated one"),
    (lambda: Graph(("n", "k")).add("Relu").model(), r"input x: shape \[\?, \?\], must be \[batch, …\] with every axis but"),
    (lambda: Graph((8,)).add("Relu").model(), r"input x: shape \[8\], must be"),
    (lambda: Graph(dtype=TensorProto.FLOAT16).add("Relu").model(), r"input x: dtype float16, must be float32"),
)


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_models_are_one_line(make: Callable[[], onnx.ModelProto], message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        read_model(path)


@pytest.mark.parametrize("data", [b"", b"\x08\x08garbage", b"no model"])
def test_damaged_files(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(FormatError, match=r"net\.onnx: not an ONNX file, or a truncated one"):
        read_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_must_be_finite(bad: float, tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    graph.arrays["w0"][0, 0] = bad
    with pytest.raises(InputError, match=r"net\.onnx: w0: got NaN or infinity, weights must be finite"):
        graph.read(tmp_path)(np.zeros((1, 8)))


def external(folder: Path, location: str) -> Path:
    graph = Graph()
    dense(graph, 8, 64)
    onnx.save(graph.model(), folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(folder / "net.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_external_data_are_read(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    assert close(path, read_model(path))


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "missing.bin", "link.bin", ""])
def test_external_data_must_lie_in_the_files_folder(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder, location)
    (tmp_path / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(FormatError, match=r"net\.onnx: constant 'w0' cannot be read: "):
        read_model(path)(np.zeros((1, 8)))


def test_external_data_may_not_be_short(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(b"1234")
    with pytest.raises(FormatError, match=r"net\.onnx: constant 'w0' cannot be read: "):
        read_model(path)(np.zeros((1, 8)))


def test_a_shape_that_does_not_fit_the_bytes(tmp_path: Path) -> None:
    graph = Graph()
    linear(graph, 8, 4)
    model = graph.model()
    model.graph.initializer[0].raw_data += b"1234"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=r"net\.onnx: constant 'w0' cannot be read: "):
        read_model(tmp_path / "net.onnx")(np.zeros((1, 8)))


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m"])
def test_names_must_be_printable(text: str, tmp_path: Path) -> None:
    model = Graph().add("Relu").model()
    model.graph.node[0].name = text
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=r"net\.onnx: damaged: the name .* is not text"):
        read_model(tmp_path / "net.onnx")


@pytest.mark.ci
@pytest.mark.parametrize("seed", range(8))
def test_changed_bytes_give_a_chain_or_one_line(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    whole = random_net(seed).model().SerializeToString()
    for _ in range(400):
        data = bytearray(whole)
        for i in rng.integers(0, len(data), rng.integers(1, 20)):
            data[i] = int(rng.integers(256)) if rng.random() < 0.5 else 255
        (tmp_path / "net.onnx").write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.1 else data)
        with contextlib.suppress(InputError), np.errstate(all="ignore"):
            chain = read_model(tmp_path / "net.onnx")
            if max(chain.shape) < 10_000:
                chain(np.zeros((1, *chain.shape)))


@pytest.mark.parametrize(
    ("write", "code", "text"),
    [
        (lambda graph: tied_by_transposing(graph, graph.floats(4, 8)), 0, "n0 (Gemm) and n2 (Gemm), 8×4: tied: one variable"),
        (lambda graph: (linear(graph, 8, 4), linear(graph, 4, 8)), 1, "n0 (Gemm) and n1 (Gemm), 8×4: untied (cosine "),
        (
            lambda graph: (linear(graph, 8, 4), linear(graph, 4, 8), graph.add("LRN", size=3)),
            1,
            "net.onnx: no kernel mirrors another; n2 (LRN): no operation",
        ),
        (lambda graph: linear(graph, 8, 4), 1, "no kernel mirrors another"),
    ],
)
def test_inspect_and_its_option(
    write: Callable[[Graph], Any], code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = Graph()
    write(graph)
    path = graph.save(tmp_path)
    assert main(["inspect", str(path), "--fail-on-untied"]) == code
    shown = capsys.readouterr()
    assert text in (shown.err if code else shown.out)
    assert main(["inspect", str(path)]) == 0


def test_inspect_reads_large_kernels_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    graph = Graph(shape=("n", 600))
    kernel = graph.floats(600, 40)
    graph.add("Gemm", kernel)
    graph.add("Gemm", graph.weight("Constant", value=numpy_helper.from_array(graph.arrays[kernel].T.copy())))
    path = graph.save(tmp_path)
    monkeypatch.delattr(onnx, "load_model")
    assert main(["inspect", str(path)]) == 0
    assert "n0 (Gemm) and n2 (Gemm), 600×40: equal copy" in capsys.readouterr().out


def test_inspect_says_nothing_of_imports_where_no_kernels_mirror_each_other(tmp_path: Path, capsys) -> None:
    graph = Graph()
    graph.add("LRN", size=3)
    assert main(["inspect", str(graph.save(tmp_path)), "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert "import" not in shown.err and '"refused": [\n' in shown.out
