"""Reads any .tflite file without running it. A damaged file raises FormatError.

Slot numbers are those of the TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import ml_dtypes
import numpy as np

from tiedae.base.errors import FormatError, InputError, printable
from tiedae.base.files import open_regular
from tiedae.compress.affine import unsigned
from tiedae.program.file_io import MODEL

from ..model_file import MAX_AXES, Constant, Contents, Signature, TensorInfo, program_names
from .builder import INNER
from .flatbuffer import Flatbuffer, Table
from .schema import OPERATORS, Op, Type
from .sparse import Sparsity
from .views import without_pixels

T = TypeVar("T")
_SUBGRAPHS, _SIGNATURES = 2, 7
"""Slots of the root table."""
MAPPED = 1 << 20
"""Minimum size, in bytes, of a file that is memory-mapped."""

_TYPES: Mapping[int, str] = {value: name for name, value in vars(Type).items() if isinstance(value, int)}
_DTYPES = {
    name: np.dtype(name.lower())
    for name in (
        *("FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16", "FLOAT8_E4M3FN", "FLOAT8_E5M2", "COMPLEX64", "COMPLEX128", "BOOL"),
        *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    )
}
_PACKED = {
    "INT4": (4, np.dtype(ml_dtypes.int4)),
    "UINT4": (4, np.dtype(ml_dtypes.uint4)),
    "INT2": (2, np.dtype(ml_dtypes.int2)),
}
"""Packed types, first value in the lowest bits: (bits, dtype of the unpacked values)."""
_NESTED: Mapping[str, tuple[int, ...]] = {"CALL": (0,), "CALL_ONCE": (0,), "IF": (0, 1), "WHILE": (0, 1)}
"""Option fields that are indices of subgraphs."""


def read_tflite_file(path: Path) -> Contents:
    """Parse a .tflite file, memory-mapped if it is large (`MAPPED`); see `read_tflite`."""
    with open_regular(path) as file:
        small = path.stat().st_size < MAPPED
        try:
            return read_tflite(file.read() if small else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error


def read_tflite(data: bytes | mmap.mmap) -> Contents:
    """Parse a .tflite file.

    Returns one `Constant` per tensor with data; tensors of equal name, shape, buffer and quantization in several subgraphs
    are one. `storage` is the buffer's index. Values have the file's dtype and shape; 2- and 4-bit values are unpacked
    (int4, uint4, int2 of ml_dtypes); a view has the axes of its tensor; sparse tensors and strings are returned as their
    stored bytes. A file without signatures gets one for its first subgraph. Constants in other files
    (`Tensor.external_buffer`) are not read but named in `details`. Raises FormatError for a truncated, empty, damaged or
    foreign file.
    """
    model = _TfliteModel.parse(Flatbuffer(data, ".tflite"))
    metadata = {entry.text(0): _at(model.buffers, entry.integer(1, "I"), "buffer") for entry in model.root.tables(6)}
    details = {
        "schema version": str(model.root.integer(0, "I")),
        "description": model.root.text(3),
        "subgraphs": str(len(model.subgraphs)),
    }
    if "min_runtime_version" in metadata:
        details["min_runtime_version"] = _metadata_text(metadata.pop("min_runtime_version"))
    tensors = (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors)
    outside = list(dict.fromkeys(tensor.text(3) for tensor in tensors if tensor.integer(10, "I")))
    if outside:
        names = ", ".join(outside[:3]) + (", …" if len(outside) > 3 else "")
        details["constants in other files, not read"] = f"{len(outside)} ({names})"
    texts = {name: _metadata_text(buffer) for name, buffer in metadata.items()}
    return Contents("tflite", len(data), tuple(_constants(model)), tuple(_signatures(model)), details, texts)


def _metadata_text(buffer: np.ndarray) -> str:
    """The text of a metadata buffer, or its size if it holds none."""
    data = buffer.tobytes().rstrip(b"\0")
    text = data.decode(errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else f"{buffer.size:,} bytes"


@dataclass(frozen=True)
class _Subgraph:
    name: str
    tensors: Sequence[Table]
    inputs: Sequence[int]
    outputs: Sequence[int]
    operators: Sequence[Table]


@dataclass(frozen=True)
class _TfliteModel:
    root: Table
    operators: Sequence[str]
    """Names of the operator codes, in file order."""
    subgraphs: Sequence[_Subgraph]
    buffers: Sequence[np.ndarray]

    @classmethod
    def parse(cls, file: Flatbuffer) -> _TfliteModel:
        root = file.root(b"TFL3")
        subgraphs = [
            _Subgraph(table.text(4), table.tables(0), table.numbers(1), table.numbers(2), table.tables(3))
            for table in root.tables(_SUBGRAPHS)
        ]
        if not subgraphs:
            raise FormatError("damaged .tflite file: it has no subgraph")
        numbers = [(max(code.integer(0, "b"), code.integer(3)), code) for code in root.tables(1)]
        names = [code.text(1) if n == Op.CUSTOM else OPERATORS.get(n, f"operator {n}") for n, code in numbers]
        return cls(root, names, subgraphs, [_buffer(file, table) for table in root.tables(4)])


def _buffer(file: Flatbuffer, table: Table) -> np.ndarray:
    """The bytes of a buffer, inside the flatbuffer or appended to it."""
    offset, size = table.integer(1, "Q"), table.integer(2, "Q")
    if offset <= 1 or size == 0:
        return table.vector(0, "u1")
    file.check(offset, size)
    return np.frombuffer(file.data, np.uint8, size, offset)


def _at(items: Sequence[T], index: int, what: str) -> T:
    if not 0 <= index < len(items):
        raise FormatError(f"damaged .tflite file: {what} {index} of {len(items)}")
    return items[index]


def _constants(model: _TfliteModel) -> list[Constant]:
    constants, read = {}, {}
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            index = tensor.integer(2, "I")
            data = _at(model.buffers, index, "buffer")
            if data.size == 0:
                continue
            name, stored, quantization = tensor.text(3), _TensorEncoding.of(tensor), _quantization(tensor)
            if (name, index, stored, quantization) in constants:
                continue
            if (index, stored) not in read:
                read[index, stored] = stored.values(data, tensor)
            values, encoded = read[index, stored], None
            if values is None:
                values, encoded = data, stored.encoded
            values.flags.writeable = False
            size = data.size + (stored.sparsity.nbytes if stored.sparsity else 0)
            constant = Constant(
                name, values, str(index), *quantization, None if values.nbytes == size else size, encoded=encoded
            )
            constants[name, index, stored, quantization] = constant
    return list(constants.values())


def _quantization(tensor: Table) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    table = tensor.table(4)
    if table is None:
        return (), (), 0
    return table.numbers(2, "<f4"), table.numbers(3, "<i8"), table.integer(6)


@dataclass(frozen=True)
class _TensorEncoding:
    """Encoding of a tensor's bytes."""

    shape: tuple[int, ...]
    kind: str
    sparsity: Sparsity | None

    @property
    def encoded(self) -> tuple[str, tuple[int, ...]]:
        """See `Constant.encoded`, of bytes that are not the values."""
        kind = self.kind.lower() or "unknown"
        return kind if self.sparsity is None else f"sparse {kind}", self.shape

    @classmethod
    def of(cls, tensor: Table) -> _TensorEncoding:
        kind, sparsity = _TYPES.get(tensor.integer(1, "b"), ""), tensor.table(6)
        return cls(_shape(tensor, 0), kind, None if sparsity is None else Sparsity.of(sparsity))

    def values(self, data: np.ndarray, tensor: Table) -> np.ndarray | None:
        """The values of a tensor; None if its bytes are only an encoding of them."""
        if self.sparsity is not None:
            return self._sparse(data, tensor) if self.kind in _DTYPES else None
        if self.kind not in _DTYPES and self.kind not in _PACKED:
            return None
        bits, dtype = _PACKED.get(self.kind) or (8 * _DTYPES[self.kind].itemsize, _DTYPES[self.kind])
        count = math.prod(self.shape)
        if min(self.shape, default=0) < 0 or -(-count * bits // 8) != data.size:
            what, shape = f"tensor {printable(tensor.text(3))}", list(self.shape)
            raise FormatError(f"damaged .tflite file: {what} of shape {shape} and type {self.kind} has {data.size} bytes")
        return (_unpack(data, bits, dtype, count) if self.kind in _PACKED else data.view(dtype)).reshape(self.shape)

    def _sparse(self, data: np.ndarray, tensor: Table) -> np.ndarray | None:
        assert self.sparsity is not None
        dtype = _DTYPES[self.kind]
        if data.size % dtype.itemsize or min(self.shape, default=0) < 0:
            return None
        tensor.expand(math.prod(self.shape))
        return self.sparsity.tensor(data.view(dtype), self.shape)


def _shape(tensor: Table, slot: int) -> tuple[int, ...]:
    shape = tensor.numbers(slot)
    if len(shape) > MAX_AXES:
        raise FormatError(
            f"damaged .tflite file: tensor {printable(tensor.text(3))} has {len(shape)} axes, must have at most {MAX_AXES}"
        )
    return shape


def _unpack(data: np.ndarray, bits: int, dtype: np.dtype, count: int) -> np.ndarray:
    """The low bits of each value are those of its dtype, signed or not."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return (data[:, None] >> shifts & (1 << bits) - 1).reshape(-1)[:count].astype(dtype)


def _signatures(model: _TfliteModel) -> list[Signature]:
    definitions = model.root.tables(_SIGNATURES)
    if not definitions:
        first = model.subgraphs[0]
        inputs, outputs = ([_tensor_info(first, index) for index in indices] for indices in (first.inputs, first.outputs))
        return [Signature(first.name or "main", tuple(inputs), tuple(outputs), _operations(model, 0))]
    signatures = []
    for definition in definitions:
        index = definition.integer(4, "I")
        subgraph = _at(model.subgraphs, index, "subgraph")
        inputs, outputs = (
            tuple(_tensor_info(subgraph, entry.integer(1, "I"), entry.text(0)) for entry in definition.tables(slot))
            for slot in (0, 1)
        )
        signatures.append(Signature(definition.text(2), inputs, outputs, _operations(model, index)))
    return signatures


def _tensor_info(subgraph: _Subgraph, index: int, name: str | None = None) -> TensorInfo:
    tensor = _at(subgraph.tensors, index, "tensor")
    shape = _shape(tensor, 7) or _shape(tensor, 0)
    scales, zero_points, _ = _quantization(tensor)
    single = len(scales) == len(zero_points) == 1
    return TensorInfo(
        tensor.text(3) if name is None else name,
        _TYPES.get(tensor.integer(1, "b"), "unknown").lower(),
        tuple(None if size < 0 else size for size in shape),
        scales[0] if single else None,
        zero_points[0] if single else None,
    )


def _operations(model: _TfliteModel, index: int) -> Mapping[str, int]:
    """Number of operators by kind in a subgraph and the subgraphs that it calls, each counted once."""
    return dict(Counter(name for each in _reached(model, index) for name, _ in _operators(model, each)))


def _operators(model: _TfliteModel, index: int) -> Iterator[tuple[str, Table]]:
    for operator in _at(model.subgraphs, index, "subgraph").operators:
        yield _at(model.operators, operator.integer(0, "I"), "operator code"), operator


def _reached(model: _TfliteModel, index: int) -> list[int]:
    """A subgraph and those that it calls."""
    waiting, seen = [index], []
    while waiting:
        index = waiting.pop()
        if index not in seen:
            seen.append(index)
            for name, operator in _operators(model, index):
                options = operator.table(4) if name in _NESTED else None
                waiting += [options.integer(slot) for slot in _NESTED[name]] if options else []
    return seen


def reached(data: bytes, index: int) -> list[int]:
    """The indices of a file's subgraph and of those that it calls."""
    return _reached(_TfliteModel.parse(Flatbuffer(data, ".tflite")), index)


@dataclass(frozen=True)
class Entry:
    """A signature with one input: subgraph index, input name, output names in the subgraph's order.

    `sample`: dtype and shape of one input sample. `tensors`: names of the subgraph's tensors by index. `batched`: indices of
    the tensors with a dynamic batch.
    """

    subgraph: int
    x: str
    sample: tuple[np.dtype, tuple[int, ...]]
    outputs: tuple[str, ...]
    tensors: tuple[str, ...]
    batched: frozenset[int]


@lru_cache(maxsize=1)
def contents_of(data: bytes) -> Contents:
    """`read_tflite`, cached for the last file: a runtime asks several things of one."""
    return read_tflite(data)


@lru_cache(maxsize=1)
def read_entries(data: bytes) -> Mapping[str, Entry]:
    """The signatures of a .tflite file by name, cached for the last file.

    Raises FormatError for a damaged file, InputError for a signature with several inputs.
    """
    contents, model = contents_of(data), _TfliteModel.parse(Flatbuffer(data, ".tflite"))
    definitions = {table.text(2): table for table in model.root.tables(_SIGNATURES)}
    entries = {}
    for signature in contents.signatures:
        if len(signature.inputs) != 1:
            raise InputError(f"signature {signature.name}: has {len(signature.inputs)} inputs, must have one")
        (x,) = signature.inputs
        definition = definitions.get(signature.name)
        index = definition.integer(4, "I") if definition else 0
        subgraph = model.subgraphs[index]
        named = {entry.integer(1, "I"): entry.text(0) for entry in definition.tables(1)} if definition else {}
        names = tuple(tensor.text(3) for tensor in subgraph.tensors)
        outputs = tuple(named.get(place, names[place]) for place in subgraph.outputs)
        batched = frozenset(i for i, tensor in enumerate(subgraph.tensors) if tensor.numbers(7)[:1] == (-1,))
        entries[signature.name] = Entry(index, x.name, x.sample, outputs, names, batched)
    return entries


INSTEAD_OF_VIEWS = 'decoder = "split" and kernels = "portable" make a file for it'
"""What a runtime without DENSIFY says."""


def has_fixed_batch(data: bytes) -> bool:
    """Whether a TRANSPOSE_CONV has its output's shape as a constant, whose batch XNNPACK alone replaces by the input's."""
    kinds = _kinds(data)
    return "TRANSPOSE_CONV" in kinds and "SHAPE" not in kinds


def has_computed_shapes(data: bytes) -> bool:
    """Whether a TRANSPOSE_CONV computes its output's shape (`kernels = "portable"`)."""
    return {"TRANSPOSE_CONV", "SHAPE"} <= _kinds(data)


def has_views(data: bytes) -> bool:
    """Whether a kernel is read as a view, see `views`."""
    return "DENSIFY" in _kinds(data)


def _kinds(data: bytes) -> set[str]:
    return {kind for signature in contents_of(data).signatures for kind in signature.operations}


def with_primary(data: bytes, index: int, *, alone: bool = False) -> bytes:
    """Copy of a file with subgraph `index` first, the only one that some runtimes list or run; without signatures.

    `alone`: without other subgraphs, which some runtimes load faster. Vector entries are offsets relative to their position.
    """
    copy, root = bytearray(data), Flatbuffer(data, ".tflite").root(b"TFL3")
    if index == 0 and not alone:
        return data
    subgraphs, signatures = (root.extent(slot, 4)[0] for slot in (_SUBGRAPHS, _SIGNATURES))
    (offset,) = struct.unpack_from("<I", copy, subgraphs + 4 * index)
    struct.pack_into("<I", copy, subgraphs, offset + 4 * index)
    for start, count in ((subgraphs, 1), (signatures, 0)) if alone else ((signatures, 0),):
        struct.pack_into("<I", copy, start - 4, count)
    return bytes(copy)


def named_activations(values: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rename a file's tensors of two axes or more to the program's names, int8 as uint8 (+ 128).

    An input or output of another unit or dtype is replaced by the tensor in scaled values, then by the int8 tensor behind it.
    """
    kept = {name: unsigned(each) for name, each in values if each.ndim >= 2 and each.dtype in (np.int8, np.uint8, np.float32)}
    return program_names(without_pixels(kept), MODEL, INNER)
