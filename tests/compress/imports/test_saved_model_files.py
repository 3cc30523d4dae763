"""SavedModels that are refused or damaged, and what `tiedae inspect` says of others."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import FormatError, InputError, NotInstalledError
from tiedae.cli import main
from tiedae.compress.imports import saved_model
from tiedae.compress.imports.chain import Refused
from tiedae.compress.imports.formats import read_model

from ...variants import every
from .saved_models import Layer, Net, Tensor, dense, tf, tied


def training_batch_norm(_: Net, x: Tensor) -> Tensor:
    image, ones = tf.reshape(x, (-1, 1, 1, 8)), tf.constant([1.0] * 8)
    return tf.compat.v1.nn.fused_batch_norm(image, ones, ones)[0]


REFUSED: tuple[tuple[Layer, str], ...] = (
    (lambda _, x: tf.nn.lrn(tf.reshape(x, (-1, 1, 1, 8))), r"LRN \(LRN\): no operation of a tied autoencoder"),
    (lambda _, x: x + tf.nn.relu(x), r"add \(AddV2\): joins two branches"),
    (
        lambda _, x: tf.matmul(x, tf.random.normal((8, 3))),
        r"random_normal/RandomStandardNormal \(RandomStandardNormal\): computes",
    ),
    (lambda net, x: tf.matmul(x, x, transpose_a=True), r"MatMul \(MatMul\): joins two branches"),
    (lambda net, x: tf.matmul(net.array(4, 8), tf.reshape(x, (8, -1))), r"Reshape \(Reshape\): must keep the 8 values"),
    (lambda _, x: tf.cast(tf.cast(x, tf.float16), tf.float32), r"Cast \(Cast\): must compute in float32"),
    (lambda _, x: tf.clip_by_value(x, 0, 1), r"clip_by_value/Minimum \(Minimum\): clips to -inf … 1, must be"),
    (training_batch_norm, r"FusedBatchNormV3 \(FusedBatchNormV3\): must normalize for inference"),
    (lambda _, x: tf.reshape(x, (-1, 4)), r"Reshape \(Reshape\): must keep the 8 values"),
)


@pytest.mark.parametrize(("layer", "message"), every(3, REFUSED))
def test_refused(layer: Layer, message: str, tmp_path: Path) -> None:
    chain = read_model(Net(layer, lambda _, x: tf.nn.relu(x)).save(tmp_path))
    assert isinstance(chain.layers[-1], Refused), "nothing behind it is read"
    with pytest.raises(InputError, match=rf"net: {message}"):
        chain.require_readable()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Net(dense(3)).save(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "net")
    return tmp_path / "net"


def without(name: str) -> Callable[[Path], Any]:
    return lambda path: (path / name).unlink()


def cut(name: str) -> Callable[[Path], Any]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-40])


def replaced(name: str, data: bytes) -> Callable[[Path], Any]:
    return lambda path: (path / name).write_bytes(data)


DATA_FILE, INDEX = "variables/variables.data-00000-of-00001", "variables/variables.index"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("saved_model.pb"), r"is a folder, must be a file or a SavedModel"),
        (without(INDEX), r"variables/variables\.index or \.data is missing"),
        (without(DATA_FILE), r"variables/variables\.index or \.data is missing"),
        (cut("saved_model.pb"), r"saved_model\.pb is damaged or truncated"),
        (cut(INDEX), r"variables/variables cannot be read: "),
        (cut(DATA_FILE), r"variables/variables"),
        (replaced(INDEX, b"no checkpoint"), r"variables/variables cannot be read: "),
        (replaced("saved_model.pb", b""), r"saved_model\.pb is damaged or truncated: it has no graph"),
    ],
)
def test_damaged_folders(damage: Callable[[Path], None], message: str, copy: Path) -> None:
    damage(copy)
    with pytest.raises(FormatError, match=rf"net: {message}"):
        read_model(copy)(np.zeros((1, 8)))


def test_variables_that_are_larger_than_their_file(copy: Path) -> None:
    prefix = str(copy / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    names = list(reader.get_variable_to_shape_map())
    tensors = [reader.get_tensor(name) for name in names]
    slices = ["1000000 1000000 0,8:0,3" if np.shape(values) == (8, 3) else "" for values in tensors]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=slices, tensors=tensors)
    with pytest.raises(FormatError, match=r"net: variable \S+ is not in variables/variables, or not all of it"):
        read_model(copy)


def test_flipped_bits_of_variables(copy: Path) -> None:
    data = (copy / DATA_FILE).read_bytes()
    (copy / DATA_FILE).write_bytes(bytes(byte ^ 255 for byte in data))
    with pytest.raises(FormatError, match="variables/variables cannot be read: "):
        read_model(copy)(np.zeros((1, 8)))


def test_a_model_of_tensorflow_1(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 8))
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "net"), {"x": x}, {"y": tf.nn.relu(x)})
    with pytest.raises(InputError, match=r"net: a SavedModel of TensorFlow 1, must be one of TensorFlow 2"):
        read_model(tmp_path / "net")


def test_weights_must_be_finite(tmp_path: Path) -> None:
    net = Net(dense(3))
    net(tf.zeros((1, 8)))
    net.arrays[0].assign(np.full((8, 3), np.nan))
    with pytest.raises(InputError, match=r"net: .*: got NaN or infinity, weights must be finite"):
        read_model(net.save(tmp_path))(np.zeros((1, 8)))


def test_shapes_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"net: input x: shape \[\?, \?\], must be \[batch, …\]"):
        read_model(Net(lambda _, x: tf.nn.relu(x)).save(tmp_path, shape=(None, None)))


def test_float16(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"net: input x: dtype float16, must be float32, float64 or integers"):
        read_model(Net(lambda _, x: tf.nn.relu(x)).save(tmp_path, dtype=tf.float16))


def test_two_inputs(tmp_path: Path) -> None:
    spec = tf.TensorSpec((None, 8), tf.float32)
    function = tf.function(lambda x, z: x + z, input_signature=[spec, spec])
    tf.saved_model.save(tf.Module(), str(tmp_path / "net"), signatures=function)
    with pytest.raises(InputError, match=r"net: 2 inputs \(.*\), must be one"):
        read_model(tmp_path / "net")


def test_variables_that_change(tmp_path: Path) -> None:
    def counting(net: Net, x: Tensor) -> Tensor:
        count = net.array(8)
        count.assign_add(tf.ones(8))
        return x * count

    with pytest.raises(InputError, match=r"net: AssignAddVariableOp \(AssignAddVariableOp\): changes a variable"):
        read_model(Net(counting).save(tmp_path))


def test_a_function_without_a_signature(tmp_path: Path) -> None:
    net = tf.Module()
    net.encode = tf.function(lambda x: tf.nn.relu(x), input_signature=[tf.TensorSpec((None, 8), tf.float32)])
    tf.saved_model.save(net, str(tmp_path / "net"))
    assert [layer.class_name for layer in read_model(tmp_path / "net").layers] == ["Relu"]
    net.decode = tf.function(lambda x: tf.nn.tanh(x), input_signature=[tf.TensorSpec((None, 8), tf.float32)])
    tf.saved_model.save(net, str(tmp_path / "two"))
    with pytest.raises(InputError, match=r"two: signatures or functions .*decode.*, .*encode.*, must have serving_default"):
        read_model(tmp_path / "two")


def edited(path: Path, edit: Callable[[Any], None]) -> None:
    """Change the graph of a SavedModel; `edit` gets its functions."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    edit(model.meta_graphs[0].graph_def.library)
    (path / "saved_model.pb").write_bytes(model.SerializeToString())


def calling(library: Any, *, own: bool) -> None:
    """Each function calls itself, or twice another one, of which there are 40."""
    for function in list(library.function):
        for node in list(function.node_def):
            if node.op == "StatefulPartitionedCall":
                node.attr["f"].func.name = function.signature.name if own else "f0"
    for i in range(40):
        function = library.function.add()
        function.signature.name = f"f{i}"
        function.signature.input_arg.extend(library.function[0].signature.input_arg)
        for name in "ab" if i < 39 else "":
            call = function.node_def.add(name=name, op="PartitionedCall")
            call.input.extend(argument.name for argument in function.signature.input_arg)
            call.attr["f"].func.name = f"f{i + 1}"


@pytest.mark.parametrize("own", every(2, [True, False]))
def test_functions_that_never_end_are_damage(own: bool, copy: Path) -> None:
    edited(copy, lambda library: calling(library, own=own))
    with pytest.raises(FormatError, match=r"net: the SavedModel is damaged"):
        read_model(copy)


def test_a_constant_that_is_larger_than_the_file(tmp_path: Path) -> None:
    def enlarge(library: Any) -> None:
        for node in (node for function in library.function for node in function.node_def if node.op == "Const"):
            node.attr["value"].tensor.tensor_shape.dim.add(size=2**40)

    path = Net(lambda _, x: x * 0.5).save(tmp_path)
    edited(path, enlarge)
    with pytest.raises(FormatError, match=r"net: constant mul/y is damaged: its shape is \[1099511627776\]"):
        read_model(path)


@pytest.mark.ci
@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_give_a_chain_or_one_line(seed: int, copy: Path) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(200):
        name = rng.choice(["saved_model.pb", INDEX, DATA_FILE], p=[0.8, 0.1, 0.1])
        whole = (copy / name).read_bytes()
        data = bytearray(whole)
        for i in rng.integers(0, len(data), rng.integers(1, 20)):
            data[i] = int(rng.integers(256)) if rng.random() < 0.5 else 255
        (copy / name).write_bytes(data)
        with contextlib.suppress(InputError), np.errstate(all="ignore"):
            read_model(copy)(np.zeros((1, 8)))
        (copy / name).write_bytes(whole)


def test_without_tensorflow_one_line_names_the_extra(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiedae.base.packages.find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"tensorflow is not installed: .*tiedae\[train\]"):
        saved_model.read_saved_model(copy)


def test_inspect_and_its_option(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Net(tied(transpose=True)).save(tmp_path)
    assert main(["inspect", str(path), "--fail-on-untied"]) == 0
    assert "MatMul (MatMul) and MatMul_1 (MatMul), 8×3: tied: one variable" in capsys.readouterr().out
    assert main(["inspect", str(saved), "--fail-on-untied"]) == 1
    assert "net: no kernel mirrors another" in capsys.readouterr().err
