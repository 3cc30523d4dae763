"""The nodes and constants of one ONNX model while it is written."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tiedae.compress.affine import SIGNED_SHIFT
from tiedae.program.file_io import MODEL, OFFSET, SCALE, FileIO
from tiedae.program.operations.convolution import Moving
from tiedae.program.program import Program

from ..packing import is_packed
from .kernels import places, stored
from .scopes import annotation

EDGE = ".quantized"
"""Suffix of the uint8 tensor behind an input or output of another dtype."""
PLANES = ".planes"
"""Suffix of a tensor with channels before its other axes, as convolutions, pooling and upsampling take it."""
ONNX_FUNCTIONS = {"relu": "Relu", "relu6": "Clip", "tanh": "Tanh", "sigmoid": "Sigmoid"}
"""The operator of each elementwise function."""


class OnnxGraphBuilder:
    """The nodes and constants of one model while it is written; a constant is stored once per name.

    `edges` are the dtypes of `x`, `code` and `y`.
    """

    def __init__(self, program: Program, io: FileIO, int4: str) -> None:
        self.program, self.io, self.int4 = program, io, int4
        self.edges = program.io_dtypes(io)
        self.nodes: list[onnx.NodeProto] = []
        self.outputs: set[str] = set()
        self.constants: dict[str, np.ndarray] = {}
        self.annotated: dict[str, tuple[str, str]] = {}

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        self.outputs.add(output)
        return output

    def value_info(self, name: str) -> onnx.ValueInfoProto:
        element = helper.np_dtype_to_tensor_dtype(np.dtype(self.edges[name]))
        return helper.make_tensor_value_info(name, element, ["batch", *self.program.tensors[name].shape])

    def real(self, name: str, label: str) -> str:
        """`x` as given or the integers of `y`, float32 in scaled values.

        Integers by Cast: ONNX Runtime would drop a DequantizeLinear behind the QuantizeLinear of `y`, and with it the rounding.
        """
        dtype, source = self.edges[name], self.scaled_values(name)
        if dtype == "float32":
            return source
        quantization = self.program.quantization(name)
        zero_point = quantization.zero_point - (SIGNED_SHIFT if dtype == "int8" else 0)
        whole = self.node("Cast", [source], f"{label}.integers", to=TensorProto.FLOAT)
        shifted = self.node("Sub", [whole, self.constant(f"{label}.zero", zero_point, np.float32)], f"{label}.shifted")
        return self.node("Mul", [shifted, self.constant(f"{label}.scale", quantization.scale, np.float32)], label)

    def inner(self, name: str) -> str:
        """Name, in the file, of a program tensor in the program's dtype; transposes one that is there as planes alone."""
        label = self._label(name)
        if label not in self.outputs and label + PLANES in self.outputs:
            self._transpose(name, label + PLANES, label, to_planes=False)
        return label

    def planes(self, name: str) -> str:
        """The name of a program tensor as [batch, channels, *lengths]; transposes it where it was written otherwise."""
        label = self._label(name) + PLANES
        if label not in self.outputs:
            self._transpose(name, self._label(name), label, to_planes=True)
        return label

    def new_planes(self, name: str) -> str:
        """The name of a program tensor that a node is about to write as planes."""
        return self._label(name) + PLANES

    def in_place(self, x: str, y: str) -> tuple[str, str]:
        """Names of x, as it was written, and of y in the same order of axes: for elementwise operations."""
        suffix = PLANES if self.in_planes(x) else ""
        return self._label(x) + suffix, self._label(y) + suffix

    def in_planes(self, name: str) -> bool:
        """Whether a tensor was written as planes, not channels last."""
        return self._label(name) not in self.outputs and self._label(name) + PLANES in self.outputs

    def _label(self, name: str) -> str:
        converted = self.program.quantized and self.edges.get(name, "uint8") != "uint8"
        return name + EDGE if converted else self.scaled_values(name)

    def _transpose(self, name: str, source: str, target: str, *, to_planes: bool) -> None:
        """Between channels last and planes."""
        last = len(self.program.tensors[name].shape)
        perm = (0, last, *range(1, last)) if to_planes else (0, *range(2, last + 1), 1)
        self.node("Transpose", [source], target, perm=perm)

    def scaled_values(self, name: str) -> str:
        """Name of an input or output in the file's dtype, and in scaled values if it is float32."""
        return name + MODEL if name in ("x", "y") and self.io.folded is not None else name

    def parameters(self, name: str) -> list[str]:
        """Constants of a tensor's scale and zero point, which all that its values are moved to or from share."""
        quantization, label = self.program.quantization(name), min(self.moved(name), key=self._order)
        scale = self.constant(f"{label}.scale", quantization.scale, np.float32)
        return [scale, self.constant(f"{label}.zero", quantization.zero_point, np.uint8)]

    def moved(self, name: str) -> set[str]:
        """A tensor and all that its values are moved to or from: they have one quantization."""
        names, operations = {name}, tuple(self.program.operations)
        for each in (*operations, *reversed(operations)):
            if isinstance(each, Moving) and not names.isdisjoint((each.x, each.y)):
                names |= {each.x, each.y}
        return names

    def _order(self, name: str) -> tuple[bool, int]:
        """Inputs and outputs first."""
        return name not in self.edges, list(self.program.tensors).index(name)

    def signed_parameters(self, name: str) -> list[str]:
        """The same for the tensor as int8 (uint8 − 128)."""
        zero_point = self.program.quantization(name).zero_point - SIGNED_SHIFT
        return [self.parameters(name)[0], self.constant(f"{name}.signed.zero", zero_point, np.int8)]

    def dequantize(self, name: str, integers: str = "") -> str:
        """Dequantize a uint8 tensor, or `integers` of its scale, for one consumer."""
        return self.node("DequantizeLinear", [integers or self.inner(name), *self.parameters(name)], f"{name}.real")

    def quantize(self, real: str, name: str, output: str = "") -> str:
        return self.node("QuantizeLinear", [real, *self.parameters(name)], output or self.inner(name))

    def reshape(self, x: str, y: str, label: str, shape: tuple[int, ...]) -> str:
        """A tensor in another shape, stored as `label`: a 0 keeps a dimension."""
        return self.node("Reshape", [x, self.constant(label, shape, np.int64)], y)

    def per_plane(self, y: str, constant: str) -> str:
        """A constant of one value per channel, for the planes of y: [channels, 1, …]."""
        axes = len(self.program.tensors[y].shape) - 1
        return self.reshape(constant, f"{constant}{PLANES}", f"channels.{axes}", (-1, *(1,) * axes))

    def enter(self, name: str) -> None:
        """Convert the model's input to the program's unit and dtype, if they differ."""
        real = self.scaled_values(name)
        if real != name:
            self._convert(name, name, real, ("Sub", OFFSET), ("Div", SCALE))
        if self.inner(name) != real:
            if self.edges[name] == "int8":
                real = self.node("DequantizeLinear", [name, *self.signed_parameters(name)], f"{name}.edge")
            self.quantize(real, name)

    def leave(self, name: str) -> None:
        """Convert a program tensor to the model's output dtype and unit, if they differ."""
        if self.inner(name) != self.scaled_values(name):
            signed = self.edges[name] == "int8"
            inputs = [self.inner(name), *self.parameters(name)]
            real = self.node("DequantizeLinear", inputs, f"{name}.edge" if signed else self.scaled_values(name))
            if signed:
                self.node("QuantizeLinear", [real, *self.signed_parameters(name)], name)
        if self.scaled_values(name) != name:
            self._convert(name, self.scaled_values(name), name, ("Mul", SCALE), ("Add", OFFSET))

    def _convert(self, name: str, source: str, target: str, *steps: tuple[str, str]) -> None:
        """Two float operations (kind, name of the constant) between the data's unit of measure and scaled values."""
        values = self.io.constants(self.program.tensors[name].shape)
        for (kind, label), y in zip(steps, (f"{name}.centred", target), strict=True):
            source = self.node(kind, [source, self.constant(label, values[label], np.float32)], y)

    def kernel(self, name: str) -> str:
        """A kernel as float32, uint8 or int8, for any number of consumers."""
        values = stored(self.program, name, self.int4)
        first = name not in self.constants
        self.constant(name, values, values.dtype)
        if not is_packed(values):
            return name
        return self.node("Cast", [name], f"{name}.int8", to=TensorProto.INT8) if first else f"{name}.int8"

    def zero_point(self, kernel: str, shape: tuple[int, ...]) -> str:
        """Constant of a kernel's zero point, 128 if it is uint8, else 0, which kernels of as many scales share."""
        value, dtype = (SIGNED_SHIFT, np.uint8) if kernel in self.program.exceeding_pairs else (0, np.int8)
        return self.constant(".".join(map(str, ("zero", value, *shape))), np.full(shape, value), dtype)

    def function(self, name: str, x: str, y: str) -> str:
        """Add a node of an elementwise function."""
        ends = {"relu6.low": 0, "relu6.high": 6} if name == "relu6" else {}
        bounds = [self.constant(label, value, np.float32) for label, value in ends.items()]
        return self.node(ONNX_FUNCTIONS[name], [x, *bounds], y)

    def annotate(self, name: str, scale: str, zero_point: str) -> None:
        """State the constants of the scale and zero point of a kernel, or of a tensor and all that it is `moved` to or from,
        where no QuantizeLinear or DequantizeLinear shows them."""
        self.annotated |= dict.fromkeys(sorted(self.moved(name)), (scale, zero_point))

    def proto(
        self, name: str, source: onnx.ValueInfoProto, results: Sequence[onnx.ValueInfoProto], external: str | None
    ) -> onnx.GraphProto:
        """The graph, with annotations of kernels and of inputs and outputs that are the program's integers."""
        self._shorten({each.name for each in results})
        graph = helper.make_graph(self.nodes, name, [source], results, self._initializers(external))
        ends = {each.name for each in (source, *results) if self.edges.get(each.name) == "uint8"}
        shown = (each for each in self.annotated.items() if each[0] in ends | set(self.program.kernels))
        graph.quantization_annotation.extend(annotation(each, *constants) for each, constants in shown)
        return graph

    def _shorten(self, results: Collection[str]) -> None:
        """Number the values that are no tensor of the program, whose labels serve only while a graph is written."""
        kept = {name + end + order for name in self.program.tensors for end in ("", EDGE, MODEL) for order in ("", PLANES)}
        free = (name for name in map(str, itertools.count()) if name not in kept | self.constants.keys())
        short = {output: next(free) for node in self.nodes for output in node.output if output not in kept | set(results)}
        for node in self.nodes:
            node.input[:] = [short.get(each, each) for each in node.input]
            node.output[:] = [short.get(each, each) for each in node.output]

    def _initializers(self, external: str | None) -> list[TensorProto]:
        offsets = {} if external is None else places(self.program, self.int4)
        tensors = []
        for name, values in self.constants.items():
            tensor = numpy_helper.from_array(values, name)
            if name in offsets:
                offset, length = offsets[name]
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", external), ("offset", offset), ("length", length)):
                    tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
        return tensors


def channels_last(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of a file's tensors by name; one that is there as planes alone, channels last."""
    planes = {name: each for name, each in values.items() if name.endswith(PLANES)}
    return {name.removesuffix(PLANES): np.moveaxis(each, 1, -1) for name, each in planes.items()} | {
        name: each for name, each in values.items() if name not in planes
    }
