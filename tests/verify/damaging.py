"""Changes of a bundle: each takes its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import helper, numpy_helper

from tiedae.base.records import plain
from tiedae.bundle.bundle import Bundle, describe_files
from tiedae.bundle.manifest import FILE, encode
from tiedae.bundle.results import Metrics
from tiedae.pipeline.run_artifacts import load_measured
from tiedae.runtimes.table import RUNTIMES
from tiedae.tasks.from_files import with_task
from tiedae.tasks.losses import with_losses
from tiedae.verify.collecting import MeasuredSamples
from tiedae.verify.verify import verify_bundle

Damage = Callable[[Path], None]


def rewritten(change: Callable[[dict[str, Any]], object]) -> Damage:
    """The manifest states something else."""

    def damage(bundle: Path) -> None:
        manifest = json.loads((bundle / FILE).read_text("utf-8"))
        change(manifest)
        (bundle / FILE).write_text(json.dumps(manifest), encoding="utf-8")

    return damage


def consistent(name: str, change: Damage) -> Damage:
    """A file is changed, and the manifest states its hash, its size and its signatures."""

    def damage(bundle: Path) -> None:
        change(bundle)
        rewritten(lambda manifest: manifest["files"].update(plain(describe_files(bundle, [name]))))(bundle)

    return damage


def content(name: str, change: Callable[[bytes], bytes], *, new: bool = False) -> Damage:
    """A file has other bytes, or is `new`."""

    def damage(bundle: Path) -> None:
        path = bundle / name
        path.write_bytes(change(b"" if new else path.read_bytes()))

    return damage


def described(text: str) -> Callable[[onnx.GraphProto], None]:
    """A text that no runtime reads."""
    return lambda graph: setattr(graph, "doc_string", text)


def graph(name: str, change: Callable[[onnx.GraphProto], object]) -> Damage:
    """An .onnx file computes something else, and the manifest states its hash."""

    def damage(bundle: Path) -> None:
        model = onnx.load(bundle / name, load_external_data=False)
        change(model.graph)
        onnx.save(model, bundle / name)

    return consistent(name, damage)


def constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.GraphProto], None]:
    def apply(graph: onnx.GraphProto) -> None:
        (tensor,) = [each for each in graph.initializer if each.name == name]
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(values)).astype(values.dtype), name))

    return apply


def after(output: str, *nodes: tuple[str, Sequence[str], str, Mapping[str, object]], **constants: np.ndarray) -> Callable:
    """An output goes through more nodes: `inner` is what it was."""

    def apply(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            node.output[:] = ["inner" if name == output else name for name in node.output]
        for operator, inputs, name, attributes in nodes:
            graph.node.append(helper.make_node(operator, list(inputs), [name], **attributes))
        for name, values in constants.items():
            graph.initializer.append(numpy_helper.from_array(values, name))

    return apply


def read_as_float(graph: onnx.GraphProto) -> None:
    (x,) = graph.input
    x.type.tensor_type.elem_type, x.name = onnx.TensorProto.FLOAT, "code.float"
    graph.node.insert(0, helper.make_node("Cast", ["code.float"], ["code"], to=onnx.TensorProto.UINT8))


def renamed(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        node.output[:] = ["z" if name == "y" else name for name in node.output]
    graph.output[0].name = "z"


def operator(old: str, new: str, at: int = 0) -> Callable[[onnx.GraphProto], None]:
    def apply(graph: onnx.GraphProto) -> None:
        [node for node in graph.node if node.op_type == old][at].op_type = new

    return apply


def flagged_above(graph: onnx.GraphProto) -> None:
    """anomaly is score > threshold, which NaN is not."""
    (node,) = [node for node in graph.node if node.op_type == "LessOrEqual"]
    node.op_type, node.output[0] = "Greater", "anomaly"
    graph.node.remove(graph.node[-1])


COUNTED = (
    ("Shape", ["inner"], "count", {"end": 1}),
    ("Cast", ["count"], "low byte", {"to": onnx.TensorProto.UINT8}),
    ("Add", ["inner", "low byte"], "y", {}),
)
"""`y` depends on how many samples a call has; of the 256 of which the inside is seen it is right."""


def both(*damages: Damage) -> Damage:
    def damage(bundle: Path) -> None:
        for each in damages:
            each(bundle)

    return damage


def golden(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(bundle: Path) -> None:
        path = bundle / "golden" / f"{name}.npy"
        np.save(path, change(np.load(path)))

    return consistent(f"golden/{name}.npy", damage)


def moved(values: np.ndarray) -> np.ndarray:
    """The first value is another."""
    values = values.copy()
    values.flat[0] = values.flat[0] + 1 if values.dtype.kind == "f" else values.flat[0] ^ 1
    return values


def without_score(manifest: dict[str, Any]) -> None:
    for table in (manifest["files"], manifest["golden"]["ports"]):
        del table["table.score.int8.onnx"]


def many_samples(bundle: Path, data: Path) -> MeasuredSamples:
    """The training samples, which are more than are seen inside."""
    return MeasuredSamples.of(load_measured(bundle, Bundle.open(bundle).manifest, str(data)).train)


def beside_keras(bundle: Path, data: Path) -> Metrics:
    """The task's figures of both classes of the table, beside those of the float file, and the thresholds."""
    float_file = RUNTIMES["ort-cpu"].open({"reconstruct": bundle / "table.f32.onnx"})

    def keras(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        got = float_file.run("reconstruct", scaled)
        return got["code"], got["y"]

    opened = Bundle.open(bundle)
    manifest, splits = opened.manifest, load_measured(bundle, opened.manifest, str(data))
    manifest = replace(manifest, data=replace(manifest.data, sha256=splits.train.sha256))
    (bundle / FILE).write_bytes(encode(manifest))
    metrics = verify_bundle(bundle)
    metrics, measured = with_task(metrics, Bundle.open(bundle), splits, keras)
    return with_losses(metrics, manifest, measured, manifest.recipe.verify)


def blind(manifest: dict[str, Any]) -> None:
    """Nearly every sample is an anomaly."""
    manifest["recipe"]["task"]["normal"] = ["a"]
    manifest["recipe"]["verify"]["max_alarms_added"] = 0.5
    manifest["detector"]["thresholds"] = {"split": 1, "fused": 1}


def appended(name: str, values: np.ndarray) -> Callable[[onnx.GraphProto], None]:
    return lambda graph: graph.initializer.append(numpy_helper.from_array(values, name))


def again(graph: onnx.GraphProto) -> None:
    (tensor,) = [each for each in graph.initializer if each.name == "kernel_1"]
    appended("again", numpy_helper.to_array(tensor).T.copy())(graph)


def large_pairs(graph: onnx.GraphProto) -> None:
    """Int8 kernels whose neighbours add to 254."""
    for name in ("kernel_0", "kernel_0.zero"):
        (tensor,) = [each for each in graph.initializer if each.name == name]
        shape = numpy_helper.to_array(tensor).shape
        tensor.CopyFrom(numpy_helper.from_array(np.full(shape, 127 if shape else 0, np.int8), name))


def embedded(name: str, change: Callable[[onnx.GraphProto], object]) -> Damage:
    """As `graph`, with the kernels in the file."""

    def damage(bundle: Path) -> None:
        model = onnx.load(bundle / name)
        change(model.graph)
        onnx.save(model, bundle / name)

    return consistent(name, damage)


def another_recipe(manifest: dict[str, Any]) -> None:
    manifest["recipe"]["prune"].update(pattern="2:4")
    manifest["recipe"]["cluster"] = {"clusters": 2}
