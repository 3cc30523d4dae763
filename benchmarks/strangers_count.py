"""Counts constants that a .tflite or .onnx file stores more than once, without tiedae: from flatbuffers and onnx, by numpy.

    python benchmarks/strangers_count.py FILE --minimum 64

Two constants of one dtype and of at least `--minimum` bytes are copies if their bytes are equal, or if one is a matrix whose
transpose has the bytes of the other. Prints a JSON list of groups; of each stored constant in it the names and bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stored:
    """One stored constant: all names that refer to it, its dtype as the format calls it, its values."""

    names: tuple[str, ...]
    dtype: str
    values: np.ndarray

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """Hashes of the bytes as stored, and of the transposed matrix's; twice the first of what is no matrix."""
        own = hashlib.sha256(self.values.tobytes()).digest()
        matrix = self.values.squeeze()
        if matrix.ndim != 2:
            return own, own
        return own, hashlib.sha256(matrix.T.tobytes()).digest()


def groups_of(constants: Sequence[Stored], minimum: int) -> list[list[Stored]]:
    """Groups of two or more constants that are copies of each other."""
    parents = list(range(len(constants)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    as_stored: dict[tuple[str, bytes], int] = {}
    large = [i for i, constant in enumerate(constants) if constant.values.nbytes >= minimum]
    marks = {i: constants[i].marks for i in large}
    for i in large:
        parents[root(i)] = root(as_stored.setdefault((constants[i].dtype, marks[i][0]), i))
    for i in large:
        if (other := as_stored.get((constants[i].dtype, marks[i][1]))) is not None:
            parents[root(i)] = root(other)
    found: dict[int, list[Stored]] = defaultdict(list)
    for i in large:
        found[root(i)].append(constants[i])
    return [group for group in found.values() if len(group) > 1]


def tflite_constants(path: Path) -> list[Stored]:
    """The buffers that tensors refer to, as the first tensor shapes them; bytes alone if they do not fill its shape."""
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    types = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    uses: dict[int, list[Any]] = defaultdict(list)
    for graph in model.subgraphs or []:
        for tensor in graph.tensors or []:
            uses[tensor.buffer].append(tensor)
    constants = []
    for index, tensors in uses.items():
        buffer = (model.buffers or [])[index]
        raw = np.frombuffer(data, np.uint8, buffer.size, buffer.offset) if buffer.offset > 1 else buffer.data
        if raw is None or not len(raw):
            continue
        values, first = np.asarray(raw, np.uint8), tensors[0]
        shape = [] if first.shape is None else [int(length) for length in first.shape]
        count = int(np.prod(shape)) if shape else 1
        if count and values.nbytes % count == 0:
            width = values.nbytes // count
            values = values.view(f"V{width}").reshape(shape)
        constants.append(Stored(tuple(_text(tensor.name) for tensor in tensors), types[first.type], values))
    return constants


def _text(name: bytes | str | None) -> str:
    return (name or b"").decode(errors="replace") if isinstance(name, bytes | None) else name


def onnx_constants(path: Path) -> list[Stored]:
    """Initializers and `Constant` nodes with a tensor, of nested graphs and functions too; strings have no bytes."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)

    def nested(proto: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for tensor in getattr(proto, "initializer", ()):
            yield prefix + tensor.name, tensor
        for node in proto.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    yield prefix + node.output[0], attribute.t
                for graph in [attribute.g] * attribute.HasField("g") + [*attribute.graphs]:
                    yield from nested(graph, f"{prefix}{node.name or node.output[0]}/{attribute.name}/")

    tensors = [*nested(model.graph, "")]
    for function in model.functions:
        tensors += nested(function, f"{function.domain}.{function.name}/")
    return [
        Stored((name,), onnx.TensorProto.DataType.Name(tensor.data_type), numpy_helper.to_array(tensor, str(path.parent)))
        for name, tensor in tensors
        if tensor.data_type != onnx.TensorProto.STRING
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--minimum", type=int, required=True, metavar="BYTES")
    arguments = parser.parse_args()
    constants = (onnx_constants if arguments.file.suffix == ".onnx" else tflite_constants)(arguments.file)
    groups = groups_of(constants, arguments.minimum)
    print(json.dumps([[{"names": each.names, "bytes": each.values.nbytes} for each in group] for group in groups]))


if __name__ == "__main__":
    main()
