"""Convolutions in .onnx files against the stock converter's: equality, bytes, latency.

    python benchmarks/convolution_onnx.py --json convolution_onnx.json

Stock is tf2onnx and ONNX Runtime's quantizer on the same net. Inputs and outputs of its file are float32, so x and y of ours
are too where bytes and times are measured. Nets have random weights, which cost as much as trained ones. It runs from a
checkout, since it takes the random programs of the tests.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row, arguments_of, report
from tiedae.bundle.bench_results import Way
from tiedae.compress.windows import Lengths
from tiedae.console import Console
from tiedae.export import to_onnx
from tiedae.program.interpreter import execute
from tiedae.program.operations import Convolution, Dense, MaxPool, Operation, Reshape, Upsample
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups
from tiedae.verify.stock.converters import stock_onnx_int8

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.program.convolutions import Building, integer_program, random_program

RANDOM = 200
SECONDS, ROUNDS, BATCHES = 6.0, (60, 2000), (1, 32)
SAMPLES = 128


@dataclass(frozen=True)
class Net:
    """3×3 convolutions of `filters` with strides or pooling by 2, and a dense layer of `units`."""

    shape: tuple[int, int, int]
    filters: tuple[int, ...]
    units: int
    pooled: bool = False


NETS = {
    "28²×1, strides, 16-32, dense 16": Net((28, 28, 1), (16, 32), 16),
    "28²×1, pooling, 16-32, dense 16": Net((28, 28, 1), (16, 32), 16, pooled=True),
    "32²×3, strides, 32-64-128, dense 64": Net((32, 32, 3), (32, 64, 128), 64),
}
"""The first one gives the rows, the others are told beside it."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        return report("Convolutions in ONNX", lambda console: onnx_rows(Path(folder), console), parser.parse_args().json)


def onnx_rows(folder: Path, console: Console) -> list[Row]:
    programs = {name: quantized(float_net(net)) for name, net in NETS.items()}
    console.note("stock converters")
    for index, (name, (program, _)) in enumerate(programs.items()):
        (folder / f"{index}.ours.onnx").write_bytes(to_onnx(program, io="float32"))
        (folder / f"{index}.stock.onnx").write_bytes(stock(float_net(NETS[name]), samples(program)))
        np.save(folder / f"{index}.x.npy", samples(program))
    return [equality_row(folder, console, list(programs.values())), bytes_row(folder), *latency_rows(folder, console)]


def equality_row(folder: Path, console: Console, nets: Sequence[tuple[Program, np.ndarray]]) -> Row:
    """Values of `code` and `y` that differ from the program's."""
    different = count = 0
    for index, (program, x) in enumerate([*nets, *map(random_program, range(RANDOM))]):
        if index % 50 == 0:
            console.note(f"equality: net {index + 1} of {RANDOM + len(nets)}")
        (folder / "equal.onnx").write_bytes(to_onnx(program, io="uint8"))
        got = RUNTIMES["ort-cpu"].open({"reconstruct": folder / "equal.onnx"}).run("reconstruct", x)
        expected = execute(program, "reconstruct", x)
        for name in ("code", "y"):
            different += int(np.count_nonzero(got[name] != expected[name]))
            count += got[name].size
    detail = f"of {count:,} values of code and y, {len(NETS)} nets and {RANDOM} random programs, ONNX Runtime"
    return Row("conv_onnx_values_different", different, "values", "== 0", "", detail)


def bytes_row(folder: Path) -> Row:
    sizes = [[(folder / f"{i}.{kind}.onnx").stat().st_size for kind in ("ours", "stock")] for i in range(len(NETS))]
    text = "; ".join(f"{net}: {ours:,} B against {stock:,} B" for net, (ours, stock) in zip(NETS, sizes, strict=True))
    return Row("conv_onnx_bytes_ratio", sizes[0][0] / sizes[0][1], "x", "<= 0.65", "<= 0.55", text)


def latency_rows(folder: Path, console: Console) -> list[Row]:
    """Ours by stock, reconstruct, one thread, in turns."""
    console.note("latency")
    loads = [
        tuple(Timed(kind, "ort-cpu", f"{each}.{kind}.onnx", "reconstruct", f"{each}.x.npy") for kind in ("ours", "stock"))
        for each in (folder / str(i) for i in range(len(NETS)))
    ]
    rows = []
    for batch in BATCHES:
        groups = [TimedGroup(each, batch, Way.INVOKE) for each in loads]
        timings = [each.timings for each in time_groups(groups, threads=1, seconds=SECONDS, rounds=ROUNDS)]
        found = [ratio(each["ours"], each["stock"]) for each in timings]
        text = "; ".join(
            f"{net}: {each['ours'].median_us:.1f} against {each['stock'].median_us:.1f} µs, ratio {value.text}"
            for net, each, value in zip(NETS, timings, found, strict=True)
        )
        name = "conv_onnx_latency_ratio" + (f"_{batch}" if batch > 1 else "")
        rows.append(Row(name, found[0].value, "x", "<= 1.05", "<= 0.9", f"batch {batch}; {text}"))
    return rows


def float_net(net: Net) -> Program:
    """The float program with random weights."""
    building = Building(np.random.default_rng(1))
    source, shape = building.tensor("x", net.shape), net.shape
    for index, filters in enumerate(net.filters):
        source, shape = _layer(building, net, index, filters, source, shape)
    _dense(building, len(net.filters), net.units, source, shape)
    decoder = tuple(operation for part in reversed(building.decoders) for operation in part)
    return Program("net", building.tensors, building.kernels, tuple(building.encoder), decoder, building.constants)


def _layer(
    building: Building, net: Net, index: int, filters: int, source: str, shape: tuple[int, ...]
) -> tuple[str, tuple[int, ...]]:
    *lengths, channels = shape
    pool: Lengths = (2, 2) if net.pooled else ()
    options: dict[str, Any] = {"sizes": (3, 3), "strides": (1, 1) if pool else (2, 2), "padding": "same"}
    places = tuple(lengths) if pool else tuple(-(-n // 2) for n in lengths)
    small = tuple(n // 2 for n in places) if pool else places
    name, mirror, kernel = f"encoder_{index}", _mirror(index), building.kernel(index, 9 * channels, filters)
    before = f"{name}.unpooled" if pool else name
    bias = building.vector(f"{name}.bias", filters)
    building.tensor(before, (*places, filters))
    building.encoder.append(Convolution(source, before, kernel, False, bias, "relu", **options))
    z, part = _mirror(index + 1), []
    if pool:
        building.encoder.append(MaxPool(before, building.tensor(name, (*small, filters)), pool))
        z = building.tensor(f"{mirror}.upsampled", (*places, filters))
        part.append(Upsample(_mirror(index + 1), z, pool))
    activation, back = "relu" if index else "linear", building.vector(f"{mirror}.bias", channels)
    part.append(Convolution(z, building.tensor(mirror, shape), kernel, True, back, activation, **options))
    building.decoders.append(part)
    return name, (*small, filters)


def _dense(building: Building, index: int, units: int, source: str, shape: tuple[int, ...]) -> None:
    size, mirror = math.prod(shape), _mirror(index)
    kernel, flat, rows = building.kernel(index, size, units), building.tensor("flat", (size,)), building.tensor("rows", (size,))
    code, mirrored = building.tensor("code", (units,)), building.tensor(mirror, shape)
    bias, back = building.vector("code.bias", units), building.vector(f"{mirror}.bias", size)
    building.encoder += [Reshape(source, flat), Dense(flat, code, kernel, False, bias, "linear")]
    building.decoders.append([Dense(code, rows, kernel, True, back, "relu"), Reshape(rows, mirrored)])


def _mirror(index: int) -> str:
    return f"decoder_{index}" if index else "y"


def quantized(program: Program) -> tuple[Program, np.ndarray]:
    """The integer program, and samples of its x as uint8."""
    x = samples(program)
    integer = integer_program(program, x, np.random.default_rng(1))
    return integer, integer.quantization("x").quantize(x)


def samples(program: Program) -> np.ndarray:
    return np.random.default_rng(2).random((SAMPLES, *program.tensors["x"].shape)).astype(np.float32)


def stock(program: Program, x: np.ndarray) -> bytes:
    """tf2onnx's file of the same net, quantized by ONNX Runtime."""
    import tensorflow as tf
    import tf2onnx

    @tf.function(input_signature=[tf.TensorSpec([None, *program.tensors["x"].shape], tf.float32, name="x")])
    def reconstruct(x: Any) -> dict[str, Any]:
        values = {"x": x}
        for each in program.operations:
            values[each.y] = TENSORFLOW[type(each)](program, each, values[each.x])
        return {name: tf.identity(values[name], name) for name in ("code", "y")}

    converted, _ = tf2onnx.convert.from_function(reconstruct, input_signature=reconstruct.input_signature, opset=17)
    return stock_onnx_int8(converted.SerializeToString(), x)


def _tf_convolution(program: Program, operation: Convolution, x: Any) -> Any:
    import tensorflow as tf

    tensor = program.tensors[operation.y if operation.transposed else operation.x]
    kernel = program.constants[operation.kernel].reshape(*operation.sizes, tensor.shape[-1], -1)
    if operation.transposed:
        shape = (tf.shape(x)[0], *tensor.shape)
        y = tf.nn.conv2d_transpose(x, kernel, shape, operation.strides, operation.padding.upper())
    else:
        y = tf.nn.conv2d(x, kernel, operation.strides, operation.padding.upper())
    return _tf_activated(program, operation, y)


def _tf_dense(program: Program, operation: Dense, x: Any) -> Any:
    import tensorflow as tf

    return _tf_activated(program, operation, tf.matmul(x, operation.matrix(program).copy()))


def _tf_activated(program: Program, operation: Dense, y: Any) -> Any:
    import tensorflow as tf

    assert operation.bias is not None
    y = tf.nn.bias_add(y, program.constants[operation.bias])
    return tf.nn.relu(y) if operation.activation == "relu" else y


def _tf_pool(_program: Program, operation: MaxPool, x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.max_pool2d(x, operation.sizes, operation.sizes, "VALID")


def _tf_upsample(program: Program, operation: Upsample, x: Any) -> Any:
    import tensorflow as tf

    return tf.image.resize(x, program.tensors[operation.y].shape[:2], "nearest")


def _tf_reshape(program: Program, operation: Reshape, x: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(x, (-1, *program.tensors[operation.y].shape))


TENSORFLOW: dict[type[Operation], Callable[[Program, Any, Any], Any]] = {
    Convolution: _tf_convolution,
    Dense: _tf_dense,
    MaxPool: _tf_pool,
    Upsample: _tf_upsample,
    Reshape: _tf_reshape,
}
"""The operations as TensorFlow's, as Keras writes them."""


if __name__ == "__main__":
    sys.exit(main())
