"""A target as an example: a program as steps in JSON, with every operation of dense layers, in integers and in floats.

docs/explanation/architecture.md, "A target", adds its rows. The runtime shares no code with the program's interpreter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.compress import ExportConfig, ExportError, FormatError
from tiedae.export.model_file import Constant, Contents, Signature, TensorInfo
from tiedae.export.operation_table import OperationTable
from tiedae.program.arithmetic import EXACT, activation_table, add_parameters, clamp, product_multiplier
from tiedae.program.file_io import FileIO
from tiedae.program.operations import Activate, AddBias, Dense, Gain, Interleave, Product, Requantize, Rescale
from tiedae.program.program import Program
from tiedae.runtimes.session import Session, require_files, served

FLOAT_LIMITS = {"linear": (None, None), "relu": (0, None), "relu6": (0, 6)}


class Graph:
    """The steps of one signature while they are written."""

    def __init__(self, program):
        self.program, self.steps = program, []

    def add(self, kind, operation, **values):
        self.steps.append({"do": kind, "x": operation.x, "y": operation.y, **values})

    def ends(self, operation):
        return [self.program.tensors[name].quantization for name in (operation.x, operation.y)]

    def output(self, operation, activation="linear", scales=1.0):
        """Turns an accumulator into y: in integers times the scale of x · scales / scale of y, rounded, plus a zero point."""
        x, y = self.ends(operation)
        if x is None:
            return {"limits": FLOAT_LIMITS[activation]}
        factor = np.minimum(product_multiplier(x, scales, y), np.float32(EXACT))
        return {"from": x.zero_point, "factor": factor.tolist(), "to": y.zero_point, "limits": clamp(activation, y)}


def write_dense(graph, dense):
    output = graph.output(dense, dense.activation, dense.scales(graph.program))
    if dense.gains is not None and not graph.program.quantized:  # in integers they are in the scales
        output |= {"gains": dense.gains}
    graph.add("product", dense, kernel=dense.kernel, transposed=dense.transposed, bias=dense.bias, **output)


def write_product(graph, product):
    write_dense(graph, product.dense)


def write_add(graph, operation):
    (x, y), bias = graph.ends(operation), operation.quantization
    output = graph.output(operation, operation.activation)
    if x is not None:
        *factors, shift = add_parameters(x, bias, y)
        output |= {"from": [x.zero_point, bias.zero_point], "factor": factors, "shift": shift}
    graph.add("add", operation, bias=operation.bias, **output)


def write_times(graph, operation):
    own = operation.quantization
    zero, scale = (0, 1.0) if own is None else (own.zero_point, own.scale)
    graph.add("times", operation, factors=operation.constant, zero=zero, **graph.output(operation, scales=scale))


def write_activation(graph, operation):
    x, y = graph.ends(operation)
    table = None if x is None else activation_table(operation.function, x, y).tolist()
    graph.add("function", operation, function=operation.function, table=table)


def write_requantize(graph, operation):
    graph.add("requantize", operation, **graph.output(operation))


def write_interleave(graph, operation):
    graph.add("interleave", operation, groups=operation.ways)


STEPS_OPERATIONS = OperationTable(
    "Steps",
    {
        Dense: write_dense,
        Product: write_product,
        AddBias: write_add,
        Rescale: write_times,
        Gain: write_times,
        Activate: write_activation,
        Requantize: write_requantize,
        Interleave: write_interleave,
    },
)


def write(program: Program, stem: str, config: ExportConfig, io: FileIO) -> dict[str, bytes]:
    """The bytes of a program's file, by its name."""
    if io.folded is not None or program.file_io(io).dtype not in ("uint8", "float32")[: 2 - program.quantized]:
        raise ExportError(f"io: got {io.dtype}, a Steps file has uint8, or float32 in scaled values")
    signatures = {}
    for name in config.signatures:
        operations, source, outputs = program.part(name)
        graph = Graph(program)
        for operation in operations:
            STEPS_OPERATIONS.write(graph, operation)
        signatures[name] = {"input": source, "outputs": outputs, "steps": graph.steps}
    tensors = {name: [tensor.dtype, *tensor.shape] for name, tensor in program.tensors.items()}
    scales = {name: [own.scale, own.zero_point] for name in tensors if (own := program.tensors[name].quantization)}
    constants = {name: [values.dtype.name, values.tolist()] for name, values in program.constants.items()}
    kernels = {name: kernel.scales for name, kernel in program.kernels.items()}
    file = {"format": "steps", "signatures": signatures, "tensors": tensors, "scales": scales, "kernels": kernels}
    return {f"{stem}.steps": json.dumps(file | {"constants": constants}).encode()}


def parsed(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A file and its constants as arrays."""
    try:
        file = json.loads(path.read_bytes())
        return file, {name: np.array(values, dtype) for name, (dtype, values) in file["constants"].items()}
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: is no Steps file: {error}") from error


def read(path: Path) -> Contents:
    """What a file has, for the storage proof, `tiedae inspect` and the report."""
    file, arrays = parsed(path)

    def info(name):
        dtype, *shape = file["tensors"][name]
        return TensorInfo(name, dtype, (None, *shape), *file["scales"].get(name, ()))

    constants = [Constant(name, values, name, tuple(file["kernels"].get(name, ()))) for name, values in arrays.items()]
    signatures = []
    for name, each in file["signatures"].items():
        kinds = [step["do"] for step in each["steps"]]
        counts = {kind: kinds.count(kind) for kind in kinds}
        signatures.append(Signature(name, (info(each["input"]),), tuple(map(info, each["outputs"])), counts))
    return Contents("steps", path.stat().st_size, tuple(constants), tuple(signatures))


FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def finished(total, step):
    """Output of an accumulator: integers times a binary32 factor, rounded to nearest, ties to even; floats within limits."""
    if "factor" not in step:
        return np.clip(total, *step["limits"]).astype(np.float32)
    whole = np.rint(total.astype(np.float32) * np.array(step["factor"], np.float32)) + step["to"]
    return np.clip(whole, *step["limits"]).astype(np.uint8)


def run_product(step, constants, x):
    kernel = constants[step["kernel"]]
    if "from" in step:
        x, kernel = x.astype(np.int64) - step["from"], kernel.astype(np.int64)
    total = x @ (kernel.T if step["transposed"] else kernel)
    total = total * constants[step["gains"]] if "gains" in step else total
    return finished(total if step["bias"] is None else total + constants[step["bias"]], step)


def run_add(step, constants, x):
    terms = x, constants[step["bias"]]
    if "shift" not in step:
        return finished(sum(terms), step)
    parts = zip(terms, step["from"], step["factor"], strict=True)
    total = sum((values.astype(np.int64) - zero) * factor for values, zero, factor in parts)
    whole = (total + (1 << step["shift"] - 1) >> step["shift"]) + step["to"]
    return np.clip(whole, *step["limits"]).astype(np.uint8)


def run_times(step, constants, x):
    factors = constants[step["factors"]]
    if "from" in step:
        x, factors = x.astype(np.int64) - step["from"], factors.astype(np.int64) - step["zero"]
    return finished(x * factors, step)


def run_function(step, constants, x):
    if step["table"] is None:
        function = FUNCTIONS[step["function"]]
        return function(x).astype(np.float32)
    return np.array(step["table"], np.uint8)[x]


def run_requantize(step, constants, x):
    return finished(x.astype(np.int64) - step["from"], step)


def run_interleave(step, constants, x):
    return x.reshape(len(x), step["groups"], -1).swapaxes(1, 2).reshape(x.shape)


RUN = {
    "product": run_product,
    "add": run_add,
    "times": run_times,
    "function": run_function,
    "requantize": run_requantize,
    "interleave": run_interleave,
}


class StepsSession(Session):
    """Runs files in NumPy. `trace` gives every tensor, so that `verify` compares each operation."""

    runtime, provider = "steps-numpy", "NumPy"

    def __init__(self, files, *, threads=1):
        require_files(self.runtime, files)
        self.files = {signature: parsed(path) for signature, path in files.items()}

    def run(self, signature, x):
        values, (file, _) = self.trace(signature, x), self.files[signature]
        return {name: values[name] for name in file["signatures"][signature]["outputs"]}

    def trace(self, signature, x):
        file, constants = served(self.runtime, signature, self.files)
        part = file["signatures"][signature]
        values = {part["input"]: x}
        for step in part["steps"]:
            run = RUN[step["do"]]
            values[step["y"]] = run(step, constants, values[step["x"]])
        return values
