"""Small ONNX models for the tests of `dedupe`, and the comparison of a rewritten one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tiedae.dedupe.equivalence import Shared
from tiedae.dedupe.share_onnx import share_onnx
from tiedae.export.duplicates import MINIMUM

F32 = TensorProto.FLOAT


def node(operation: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """`inputs` and `output` are names between blanks."""
    return helper.make_node(operation, inputs.split(), output.split(), **attributes)


def qdq(source: str, parameters: str, integers: str, real: str) -> list[NodeProto]:
    """QuantizeLinear and DequantizeLinear; `parameters` are the names of scale and zero point between a blank."""
    return [
        node("QuantizeLinear", f"{source} {parameters}", integers),
        node("DequantizeLinear", f"{integers} {parameters}", real),
    ]


def graph(
    nodes: Sequence[NodeProto],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[Any]] = {"x": ("batch", 24)},
    outputs: Mapping[str, Sequence[Any] | None] = {"y": None},
    element: int = F32,
) -> GraphProto:
    """A graph; shapes by input or output."""
    return helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(name, element, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element, shape and list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in constants.items()],
    )


def model(graph: GraphProto, opset: int = 17, ir: int = 8, **fields: Any) -> ModelProto:
    """A model; outputs without a shape get the inferred one."""
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("local", 1)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=ir, **fields)
    outputs = onnx.shape_inference.infer_shapes(made).graph.output
    del made.graph.output[:]
    made.graph.output.extend(outputs)
    return made


def weights(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=shape)
    return (40 * values).clip(-127, 127).astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)


def share(
    folder: Path, file: ModelProto | Path, *, tolerance: float | None = None, minimum: int = MINIMUM
) -> tuple[Shared, Path, Path]:
    """What `share_onnx` makes of a model, the file, and the new one: checked in full by onnx."""
    source = file if isinstance(file, Path) else folder / "source.onnx"
    if isinstance(file, ModelProto):
        source.write_bytes(file.SerializeToString())
    shared = share_onnx(source, name="shared.onnx", tolerance=tolerance, minimum=minimum)
    out = folder / "shared.onnx"
    for name, parts in {out.name: [shared.data], **shared.external}.items():
        (folder / name).write_bytes(b"".join(parts))
    onnx.checker.check_model(str(out), full_check=True)
    return shared, source, out


LEVELS = ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def run(path: Path, seed: int = 1, batch: int = 5, level: Any = LEVELS[0]) -> dict[str, np.ndarray]:
    """All outputs for random inputs; integers are token numbers below 24."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng, feeds = np.random.default_rng(seed), {}
    for tensor in session.get_inputs():
        shape = [size if isinstance(size, int) else batch for size in tensor.shape]
        kind = str(tensor.type).removeprefix("tensor(").removesuffix(")")
        dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
        if dtype == "bool":
            feeds[tensor.name] = np.array(seed % 2 == 0)
        else:
            values = rng.normal(size=shape) if "float" in dtype else rng.integers(0, 24, shape)
            feeds[tensor.name] = np.asarray(values).astype(dtype)
    names = [tensor.name for tensor in session.get_outputs()]
    return {name: np.asarray(values) for name, values in zip(names, session.run(names, feeds), strict=True)}


def require_same(before: Path, after: Path) -> None:
    """Integers equal; floats within 1e-6 of the largest value (half precision: 1e-3). Optimized and operation by operation."""
    for seed, level in itertools.product((1, 2), LEVELS):
        expected, got = run(before, seed, level=level), run(after, seed, level=level)
        assert expected.keys() == got.keys()
        for name, values in expected.items():
            assert (got[name].shape, got[name].dtype) == (values.shape, values.dtype)
            if values.dtype.kind == "f":
                bound = (1e-3 if values.dtype == np.float16 else 1e-6) * max(float(np.abs(values).max(initial=0)), 1.0)
                np.testing.assert_allclose(got[name], values, rtol=0, atol=bound)
            else:
                np.testing.assert_array_equal(got[name], values)


def operations(path: Path) -> list[str]:
    """What ONNX Runtime makes of a file when it loads it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [each.op_type for each in onnx.load(options.optimized_model_filepath, load_external_data=False).graph.node]
