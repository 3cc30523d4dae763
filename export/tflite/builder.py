"""One subgraph of a .tflite file while it is written: tensors, constants, operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tiedae.compress.affine import SIGNED_SHIFT, Quantization, signed
from tiedae.config.config import Kernels
from tiedae.program.file_io import MODEL, OFFSET, SCALE, FileIO
from tiedae.program.operations import Convolution, Dense
from tiedae.program.program import Program

from ..packing import stored_bytes, stored_kernel
from .schema import Op, buffer_of, int32, new_operator, quantization

INNER = ".int8"
"""Suffix of the int8 tensor behind an input or output of another dtype."""

SHIFTED = ".shifted"
"""Suffix of the shifted int8 tensor that clamps a tensor of fewer than 8 bits."""
TFLITE_FUNCTIONS = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6", "tanh": "TANH", "sigmoid": "LOGISTIC"}
"""TFLite's name of each elementwise function."""


class TfliteGraphBuilder:
    """Builds a subgraph. `version` is the version of most operators."""

    def __init__(self, program: Program, io: FileIO, int4: str, model: Any, kernels: Kernels = "view") -> None:
        self.program, self.io, self.int4, self.kernels = program, io, int4, kernels
        self.edges = program.io_dtypes(io)
        self.dtype, self.version = ("int8", 2) if program.quantized else ("float32", 1)
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self._model = model
        self._tensors: list[Any] = []
        self._indices: dict[str, int] = {}
        self._operators: list[Any] = []

    @property
    def reads_views(self) -> bool:
        """Whether the decoder reads kernels by views. XNNPACK is what runs such a file: TFLM and OpenVINO read none."""
        return self.kernels in ("view", "sparse") and any(isinstance(each, Dense) for each in self.program.decoder)

    def outer(self, name: str) -> int:
        """The input or output tensor of a program tensor, in the file's dtype."""
        return self._activation(name, name, self.edges[name])

    def inner(self, name: str) -> int:
        """The tensor of a program tensor that the operations read and write."""
        converted = self.edges.get(name, self.dtype) != self.dtype
        return self._activation(name, name + INNER, self.dtype) if converted else self.scaled_values(name)

    def scaled_values(self, name: str) -> int:
        """The tensor of an input or output in the file's dtype, and in scaled values if it is float32."""
        scaled = name in ("x", "y") and self.io.folded is not None
        return self._activation(name, name + MODEL if scaled else name, self.edges.get(name, self.dtype))

    def _activation(self, name: str, label: str, dtype: str, shape: tuple[int, ...] = ()) -> int:
        tensor = self.program.tensors[name]
        shape = shape or tensor.shape
        table = None
        if dtype != "float32" and tensor.quantization is not None:
            zero_point = tensor.quantization.zero_point - (SIGNED_SHIFT if dtype == "int8" else 0)
            table = quantization([tensor.quantization.scale], zero_point)
        return self._tensor(label, (1, *shape), dtype, table, signature=(-1, *shape))

    def unclamped(self, name: str, target: int) -> int:
        """The tensor that an operation writes for `name`: `target`, or with fewer than 8 bits a shifted one.

        The shift maps the largest integer to 127, so that saturation clamps.
        """
        own, shape = self.program.tensors[name].quantization, self.shape(target)
        if own is None or own.bits == 8:
            return target
        shifted = quantization([own.scale], own.zero_point + 127 - own.top)
        return self._tensor(name + SHIFTED, (1, *shape), self.dtype, shifted, signature=(-1, *shape))

    def requantized(self, name: str) -> int:
        """The tensor that a QUANTIZE writes for `name`: the output `y` if it is uint8, else `inner`."""
        return self.outer(name) if name == "y" and self.edges["y"] == "uint8" else self.inner(name)

    def kernel(self, name: str, label: str, scales: Sequence[float] | np.ndarray, shape: tuple[int, ...] = ()) -> int:
        """A view of a kernel, [units, inputs] or the same order in another `shape`."""
        return self.constant(label, self.stored(name), scales, shape=shape)

    def product(self, kind: str, version: int, inputs: Sequence[int], operation: Dense, target: int, **options: Any) -> None:
        """Append a product with its gains and activation, and clamp a tensor of fewer than 8 bits."""
        output = self.unclamped(operation.y, target)
        if operation.gains is not None and self.adds_bias_last(operation):
            shape = self.shape(target)
            product, gained = (self.between(f"{operation.y}.{part}", operation.y, shape) for part in ("product", "gained"))
            self.add(kind, version, inputs, product, **options)
            self.add("MUL", 1, [product, self.operand(operation.gains, None)], gained)
            self.add("ADD", 1, [gained, self._addend(operation, operation.bias)], output, operation.activation)
        else:
            self.add(kind, version, inputs, output, operation.activation, **options)
        if output != target:
            self.add("QUANTIZE", 1, [output], target)

    def densified(self, view: int) -> int:
        """Read a view into a tensor in its own order, by DENSIFY."""
        tensor = self._tensors[view]
        dense = self._tensor(f"{tensor.name}.dense", tensor.shape, self.dtype, tensor.quantization)
        self.add("DENSIFY", 1, [view], dense)
        return dense

    def transposed(self, label: str, constant: int, axes: Sequence[int]) -> int:
        """A constant in another order of axes, which the runtime computes; scales are along its first one."""
        tensor = self._tensors[constant]
        table = None if tensor.quantization is None else quantization(tensor.quantization.scale)
        target = self._tensor(label, tuple(tensor.shape[axis] for axis in axes), self.dtype, table)
        order = self.constant(f"axes.{''.join(map(str, axes))}", int32(axes))
        self.add("TRANSPOSE", self.version, [constant, order], target)
        return target

    def shape_like(self, source: int, shape: tuple[int, ...]) -> int:
        """int32 [batch of `source`, *shape]. A constant of batch 1 unless the kernels are portable: XNNPACK reads no other, and
        takes the batch from the input; the builtin kernels run it one sample at a time."""
        text = "x".join(map(str, shape))
        if self.kernels != "portable":
            return self.constant(f"shape.1x{text}", int32((1, *shape)))
        numbers = [self._tensor(f"{self._tensors[source].name}.{text}.{i}", (4,), "int32", None) for i in range(3)]
        self.add("SHAPE", 1, [source], numbers[0], outType=schema.TensorType.INT32)
        self.add("MUL", 1, [numbers[0], self.constant("shape.batch", int32((1, 0, 0, 0)))], numbers[1])
        self.add("ADD", 1, [numbers[1], self.constant(f"shape.0x{text}", int32((0, *shape)))], numbers[2])
        return numbers[2]

    def bias(self, operation: Dense, *, needed: bool = True) -> int:
        """The bias of an operator, float32 or int32. Without one zeros, which convolutions need, or −1."""
        name = None if self.adds_bias_last(operation) else operation.bias
        return -1 if name is None and not needed else self._addend(operation, name)

    def adds_bias_last(self, operation: Dense) -> bool:
        """Whether a bias is added behind the gains, by an ADD: in a float file, which then rounds as Keras does."""
        return operation.gains is not None and not self.program.quantized

    def _addend(self, operation: Dense, name: str | None) -> int:
        """A constant that is added to a product, or zeros."""
        program = self.program
        scales = operation.bias_scales(program) if program.quantized else ()
        zeros = np.zeros(program.tensors[operation.y].shape[-1], np.int32 if program.quantized else np.float32)
        return self.constant(
            f"{operation.y}.zeros" if name is None else name, zeros if name is None else program.constants[name], scales
        )

    def call(self, subgraph: int, x: str, y: str) -> None:
        """Run another subgraph, from `x` to `y` in the file's dtypes: IF, with this one in both branches."""
        inputs = [self.constant("always", np.ones(1, bool)), self.outer(x)]
        self.add("IF", 1, inputs, self.outer(y), thenSubgraphIndex=subgraph, elseSubgraphIndex=subgraph)

    def stored(self, name: str) -> np.ndarray:
        """A kernel as its buffer holds it, [units, inputs]. Those of convolutions are bytes."""
        whole_rows = self.program.kernels[name].inputs % 2 == 0
        convolves = any(isinstance(each, Convolution) and each.kernel == name for each in self.program.operations)
        return stored_kernel(self.program, name, self.int4 if whole_rows and not convolves else "bytes")

    def between(self, label: str, name: str, shape: tuple[int, ...]) -> int:
        """An intermediate tensor: a program tensor in another shape."""
        return self._activation(name, label, self.dtype, shape)

    def reshape(self, source: int, target: int, shape: tuple[int, ...]) -> None:
        sizes = self.constant(f"shape.{'x'.join(map(str, shape))}", int32((-1, *shape)))
        self.add("RESHAPE", 1, [source, sizes], target)

    def constant(
        self,
        label: str,
        values: np.ndarray,
        scales: Sequence[float] | np.ndarray = (),
        zero_point: int = 0,
        *,
        axis: int = 0,
        shape: tuple[int, ...] = (),
        sparsity: Any = None,
    ) -> int:
        """A tensor over the one buffer with these bytes; not quantized without `scales`, which are along `axis`. `shape` and
        `sparsity`: of a view."""
        buffer = buffer_of(self._model, stored_bytes(values))
        table = quantization(scales, zero_point, axis if len(scales) > 1 else 0) if len(scales) else None
        return self._tensor(label, shape or values.shape, values.dtype.name, table, buffer=buffer, sparsity=sparsity)

    def operand(self, name: str, own: Quantization | None) -> int:
        """A constant of an elementwise operation: int8 (the program's uint8 − 128), or float32."""
        values = self.program.constants[name]
        if own is None:
            return self.constant(name, values)
        return self.constant(name, signed(values), [own.scale], own.zero_point - SIGNED_SHIFT)

    def plain(self, label: str, shape: tuple[int, ...], dtype: str) -> int:
        """A tensor that is none of the program, `shape` per sample; not quantized."""
        return self._tensor(label, (1, *shape), dtype, None, signature=(-1, *shape))

    def shape(self, tensor: int) -> tuple[int, ...]:
        """That of a tensor, per sample."""
        return tuple(self._tensors[tensor].shape[1:])

    def find(self, label: str) -> int | None:
        """The tensor of this name in the file, if there is one so far."""
        return self._indices.get(label)

    def is_packed(self, tensor: int) -> bool:
        return self._tensors[tensor].type == schema.TensorType.INT4

    def unpacked(self, packed: int) -> int:
        """Unpack a constant to int8 by DEQUANTIZE and QUANTIZE."""
        tensor = self._tensors[packed]
        real = self._tensor(f"{tensor.name}.real", tensor.shape, "float32", None)
        integers = self._tensor(f"{tensor.name}{INNER}", tensor.shape, "int8", tensor.quantization)
        self.add("DEQUANTIZE", 6, [packed], real)
        self.add("QUANTIZE", 1, [real], integers)
        return integers

    def real(self, source: int, name: str, label: str) -> int:
        """Integers of a program tensor as float32 in scaled values."""
        real = self._activation(name, label, "float32")
        self._dequantize(source, real)
        return real

    def _dequantize(self, source: int, target: int) -> None:
        self.add("DEQUANTIZE", 1 if self._tensors[source].type == schema.TensorType.UINT8 else 2, [source], target)

    def _recode(self, name: str, source: int, target: int) -> None:
        """Convert between float32, uint8 and int8, integers without rounding. XNNPACK leaves QUANTIZE of integers to a builtin
        kernel that takes 0.8 ns a value, and runs DEQUANTIZE and QUANTIZE in less: files with views, which are for it alone,
        have these two."""
        given, wanted = (self._tensors[each].type == schema.TensorType.FLOAT32 for each in (source, target))
        if wanted:
            self._dequantize(source, target)
            return
        if not given and self.reads_views:
            source = self.real(source, name, f"{name}.real")
        self.add("QUANTIZE", 1, [source], target)

    def enter(self, name: str) -> None:
        """Make a program tensor an input; convert it if the file's unit or dtype differs."""
        self.inputs[name] = self.outer(name)
        if name == "x":
            self._convert("x", self.outer(name), self.scaled_values(name), ("SUB", OFFSET), ("DIV", SCALE))
        if self.edges[name] != self.dtype:
            self._recode(name, self.scaled_values(name), self.inner(name))

    def leave(self, name: str) -> None:
        """Convert an output if the file's dtype or unit differs, unless an operation wrote it directly."""
        if self.find(name + INNER) is not None:
            self._recode(name, self.inner(name), self.scaled_values(name))
        if name == "y":
            self._convert("y", self.scaled_values(name), self.outer(name), ("MUL", SCALE), ("ADD", OFFSET))

    def _convert(self, name: str, source: int, target: int, *steps: tuple[str, str]) -> None:
        """Two float operations (kind, name of the constant) between data and scaled values, if they differ."""
        if self.io.folded is None:
            return
        values = self.io.constants(self.program.tensors[name].shape)
        between = self._activation(name, f"{name}.centred", "float32")
        for (kind, label), x, y in zip(steps, (source, between), (between, target), strict=True):
            self.add(kind, 1, [x, self.constant(label, values[label])], y)

    def _tensor(
        self,
        label: str,
        shape: tuple[int, ...],
        dtype: str,
        table: Any,
        *,
        signature: tuple[int, ...] | None = None,
        buffer: int = 0,
        sparsity: Any = None,
    ) -> int:
        if label not in self._indices:
            self._indices[label] = len(self._tensors)
            self._tensors.append(
                schema.TensorT(
                    shape=int32(shape),
                    type=getattr(schema.TensorType, dtype.upper()),
                    buffer=buffer,
                    name=label,
                    quantization=table,
                    shapeSignature=None if signature is None else int32(signature),
                    sparsity=sparsity,
                    hasRank=True,
                )
            )
        return self._indices[label]

    def add(
        self, kind: str, version: int, inputs: Sequence[int], output: int, activation: str = "linear", **options: Any
    ) -> None:
        """Append an operator with a fused `activation` and these options."""
        fused = getattr(schema.ActivationFunctionType, TFLITE_FUNCTIONS[activation])
        self._operators.append(new_operator(self._model, getattr(Op, kind), version, inputs, output, fused, **options))

    def table(self, name: str) -> schema.SubGraphT:
        return schema.SubGraphT(
            tensors=self._tensors,
            inputs=int32(self.inputs.values()),
            outputs=int32(self.outputs.values()),
            operators=self._operators,
            name=name,
        )

    def signature(self, key: str, index: int) -> schema.SignatureDefT:
        return schema.SignatureDefT(
            inputs=[schema.TensorMapT(name=name, tensorIndex=tensor) for name, tensor in self.inputs.items()],
            outputs=[schema.TensorMapT(name=name, tensorIndex=tensor) for name, tensor in self.outputs.items()],
            signatureKey=key,
            subgraphIndex=index,
        )
