"""Every check that a verification can report is seen red: a damaged bundle fails it, and its text names what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import helper, numpy_helper
from tiedae.bundle.bundle import PROGRAM_FILE, Bundle, describe_files
from tiedae.bundle.manifest import FILE, encode
from tiedae.bundle.results import Metrics
from tiedae.compress.records import plain
from tiedae.export.kinds import Kind
from tiedae.run_artifacts import load_measured
from tiedae.runtimes.table import RUNTIMES
from tiedae.tasks.from_files import with_task
from tiedae.tasks.losses import with_losses
from tiedae.verification import verify
from tiedae.verify.checks import CHECKS, CheckRow, row_of
from tiedae.verify.collecting import MeasuredSamples
from tiedae.verify.verify import verify_bundle

from ..apps.c.test_bundle import with_c
from ..codec.conftest import extract_runs
from ..without_openvino import without_openvino

ROOT = Path(__file__).parents[2]
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of a name, as it was written: `bytes`, `table`, or with a detector and a C file `bytes c`, `table c`."""
    runs = extract_runs(tmp_path_factory.mktemp("runs"))

    def of(name: str) -> Path:
        run, _, source = name.partition(" ")
        if not source:
            return runs / run / "bundle"
        folder = runs / source / run
        if not folder.exists():
            with pytest.warns(UserWarning, match="pairs of neighbours"):
                shutil.copytree(runs / run, folder, ignore=shutil.ignore_patterns("bundle"), dirs_exist_ok=True)
                with_c(runs / run, folder, ("tflite", "onnx", "c"), detects=True)
        return folder / "bundle"

    return of


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


def content(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda bundle: (bundle / name).write_bytes(change((bundle / name).read_bytes())) and None  # type: ignore[return-value]


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


def one_more_golden(bundle: Path) -> None:
    shutil.copy(bundle / "golden" / "y.npy", bundle / "golden" / "z.npy")
    rewritten(
        lambda manifest: manifest["golden"]["arrays"].update({"golden/z.npy": manifest["golden"]["arrays"]["golden/y.npy"]})
    )(bundle)


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
    manifest["detector"]["thresholds"] = {"split": 1, "fused": 1}


@dataclass(frozen=True)
class Red:
    """A check that fails: of a kind and detail, perhaps of one file, with this in its text."""

    kind: Kind
    detail: str
    text: str
    file: str = ""


@dataclass(frozen=True)
class Case:
    """A damage of a bundle, and what turns red.

    `data`: the test samples are given; `baseline`: the metrics of the whole bundle are; `measure`: another verification, of the
    bundle and a file of samples.
    """

    bundle: str
    damage: Damage
    red: tuple[Red, ...]
    data: bool = False
    baseline: bool = False
    measure: Callable[[Path, Path], Metrics] | None = None


TFLITE, ONNX, HALF, FLOAT = "bytes.int8.tflite", "bytes.int8.onnx", "bytes.decoder.int8.onnx", "bytes.f32.onnx"
ENCODER, FLOAT_ENCODER, FLOAT_DECODER = "bytes.encoder.int8.onnx", "bytes.encoder.f32.onnx", "bytes.decoder.f32.onnx"
TABLES, C, SCORES = "bytes.codec", "bytes.c", "table.score.int8.onnx"
CASES = {
    "a byte more": Case(
        "bytes",
        content("report.html", lambda data: data + b" "),
        (Red(Kind.SHA256, "", "report.html was changed: its sha256 is "),),
    ),
    "a file less": Case(
        "bytes", lambda bundle: (bundle / "MODEL_CARD.md").unlink(), (Red(Kind.SHA256, "", "MODEL_CARD.md is missing"),)
    ),
    "no model": Case("bytes", content(TFLITE, lambda _: b"hello"), (Red(Kind.FORMAT, "", TFLITE, TFLITE),)),
    "tables cut off": Case(
        "bytes c",
        consistent(TABLES, content(TABLES, lambda data: data[:-9])),
        (Red(Kind.FORMAT, "", TABLES, TABLES), Red(Kind.PROGRAM, "c", "cannot be written again of the bundle's program")),
    ),
    "a program cut off": Case("bytes", content(PROGRAM_FILE, lambda data: data[:-9]), (Red(Kind.PROGRAM, "", "program.npz"),)),
    "another comment in C": Case(
        "bytes c",
        consistent(C, content(C, lambda data: data.replace(b"/*", b"/* ", 1))),
        (Red(Kind.PROGRAM, "text", f"{C}: its text is not what", C),),
    ),
    "kernels": Case(
        "bytes",
        rewritten(lambda manifest: manifest["kernels"][0].update(pruned=999)),
        (Red(Kind.MANIFEST, "kernels", "manifest kernels: states"),),
    ),
    "tensors": Case(
        "bytes",
        rewritten(lambda manifest: manifest["tensors"]["code"].update(scale=9.0)),
        (Red(Kind.MANIFEST, "tensors", "scale=9.0"),),
    ),
    "interleave": Case(
        "bytes",
        rewritten(lambda manifest: manifest["model"].update(interleave=4)),
        (Red(Kind.MANIFEST, "interleave", "states 4, found 1"),),
    ),
    "inputs of a file": Case(
        "bytes",
        rewritten(lambda manifest: manifest["files"][ONNX]["signatures"]["reconstruct"]["inputs"][0].update(scale=9.0)),
        (Red(Kind.MANIFEST, "", f"manifest {ONNX}: states", ONNX),),
    ),
    "a file that is not listed": Case(
        "bytes",
        rewritten(lambda manifest: manifest["files"].pop(FLOAT)),
        (
            Red(Kind.MANIFEST, "files", f"the manifest does not list {FLOAT}"),
            Red(Kind.BASELINE, "checks", f"held in the baseline, not checked now: sha256 {FLOAT}, "),
        ),
        baseline=True,
    ),
    "one more golden array": Case(
        "bytes",
        one_more_golden,
        (Red(Kind.GOLDEN, "arrays", "golden arrays: states"), Red(Kind.MANIFEST, "files", "golden/z.npy")),
    ),
    "another shape of golden samples": Case(
        "bytes",
        rewritten(lambda manifest: manifest["golden"]["ports"][ONNX].pop("code")),
        (Red(Kind.MANIFEST, "golden", "manifest golden: states"),),
    ),
    "another golden code": Case(
        "bytes",
        golden("code", moved),
        (Red(Kind.GOLDEN, "code", "golden/code.npy: 1 of 160 values differ from the program's"),),
    ),
    "an unknown operator": Case(
        "bytes", graph(ONNX, operator("Gemm", "Gemn")), (Red(Kind.OPENS, "int8 onnx", f"{ONNX} in ort-cpu: "),)
    ),
    "an input of another dtype": Case(
        "bytes",
        graph(HALF, read_as_float),
        (Red(Kind.RUNS, "", "refuses the samples", HALF), Red(Kind.TRACES, "", HALF, HALF)),
    ),
    "an output of another name": Case("bytes", graph(HALF, renamed), (Red(Kind.RUNS, "", "gives z, expected y", HALF),)),
    "codes one up": Case(
        "bytes",
        graph(ENCODER, constant("code.zero", lambda zero: zero + 1)),
        (Red(Kind.CODES, "", "by at most 1 LSB", ENCODER), Red(Kind.FORMATS, "code", "by at most 1 LSB", ONNX)),
    ),
    "inputs in other steps": Case(
        "table c",
        graph("table.encoder.int8.onnx", constant("x.scale", lambda scale: scale * 1.1)),
        (Red(Kind.INPUTS, "", "values differ from the program", "table.encoder.int8.onnx"),),
    ),
    "a scale of the decoder": Case(
        "bytes",
        graph(HALF, constant("decoder_1.scale", lambda scale: scale * 1.1)),
        (
            Red(Kind.OUTPUT, "", "values differ from the program", HALF),
            Red(Kind.OPERATIONS, "", "operation ", HALF),
            Red(Kind.CROSSING, "", "y of litert-xnnpack's codes", HALF),
            Red(Kind.CROSSING, "own codes", "values differ from ort-cpu", HALF),
        ),
    ),
    "another y in a larger batch": Case(
        "bytes",
        graph(HALF, after("y", *COUNTED)),
        (Red(Kind.TRACE, "y", "values differ from its own trace, by at most ", HALF),),
        measure=lambda bundle, data: verify_bundle(bundle, many_samples(bundle, data)),
    ),
    "no score": Case("table c", rewritten(without_score), (Red(Kind.SCORE, "", "they have no signature score"),)),
    "another threshold": Case(
        "table c",
        graph(SCORES, constant("score.threshold", lambda limit: limit * 0)),
        (Red(Kind.SCORE, "anomaly of golden samples", "flags of golden samples differ from the program's", SCORES),),
    ),
    "another score": Case(
        "table c",
        graph(SCORES, constant("score.y.scale", lambda scale: scale * 1.01)),
        (Red(Kind.SCORE, "score of golden samples", "differ from the program's by at most", SCORES),),
    ),
    "NaN is normal": Case(
        "table c",
        graph(SCORES, flagged_above),
        (Red(Kind.SCORE, "NaN and infinity in golden samples", "9 of 9 samples with NaN or infinity are not flagged", SCORES),),
    ),
    "other golden floats": Case(
        "bytes",
        golden("y.f32", moved),
        (
            Red(Kind.FLOAT, "program", "no float file holds constants that give the golden vectors of Keras"),
            Red(Kind.FLOAT, "y", "float y (reconstruct) differs from Keras by at most 1", FLOAT),
            Red(Kind.CROSSING, "y", "y of litert-xnnpack's codes"),
        ),
    ),
    "NaN in a float bias": Case(
        "bytes",
        graph(FLOAT, constant("code.bias", lambda bias: np.where(np.arange(bias.size) == 2, np.nan, bias))),
        (
            Red(Kind.FLOAT, "constants", "code.bias differ, first at [2]: got nan", FLOAT),
            Red(Kind.FLOAT, "code", "not finite, first at [0, 2]: got nan", FLOAT),
        ),
    ),
    "NaN in a float half": Case(
        "bytes",
        graph(FLOAT_ENCODER, constant("code.bias", lambda bias: np.where(np.arange(bias.size) == 2, np.nan, bias))),
        (Red(Kind.LAYERS, "", "values are not finite, first at [0, 2]", FLOAT_ENCODER),),
    ),
    "another float bias": Case(
        "bytes", graph(FLOAT, constant("y.bias", lambda bias: bias + 0.1)), (Red(Kind.FORMATS, "y", "of full scale", FLOAT),)
    ),
    "a much larger scale": Case(
        "bytes",
        graph(ONNX, constant("y.scale", lambda scale: scale * 0.2)),
        (Red(Kind.QUALITY, "", "against Keras float", ONNX), Red(Kind.BASELINE, f"quality {ONNX} ort-cpu", "in the baseline")),
        data=True,
        baseline=True,
    ),
    "y of another shape": Case(
        "bytes",
        both(*(graph(name, after("y", ("Concat", ["inner", "inner"], "y", {"axis": 1}))) for name in (ONNX, HALF))),
        (Red(Kind.QUALITY, "", f"{ONNX} in ort-cpu: no finite y of the expected shape", ONNX),),
        data=True,
    ),
    "tables cut off, with samples": Case(
        "bytes",
        consistent(TABLES, content(TABLES, lambda data: data[:-9])),
        (Red(Kind.TASK, "compression", "the figures of the task, compression: not measured: "),),
        data=True,
    ),
    "a baseline that is named": Case(
        "bytes",
        rewritten(lambda manifest: manifest["recipe"].setdefault("verify", {}).update(better_than=["pca"])),
        (Red(Kind.VERDICT, "pca", "PCA: was not compared with"),),
        data=True,
    ),
    "thresholds of none": Case(
        "table c",
        rewritten(blind),
        (
            Red(Kind.TASK, "threshold split", "threshold of the layout split: 1, of "),
            Red(Kind.TASK, "threshold fused", "threshold of the layout fused: 1, of "),
            Red(Kind.QUALITY, "alarm rate", "lost"),
        ),
        measure=beside_keras,
    ),
    "a runtime that no longer opens": Case(
        "bytes",
        both(*(graph(name, operator("Gemm", "Gemn")) for name in (ONNX, HALF, ENCODER, FLOAT, FLOAT_ENCODER, FLOAT_DECODER))),
        (
            Red(Kind.BASELINE, "runtime ort-cpu", "ort-cpu ran in the baseline and does not now"),
            Red(Kind.BASELINE, "unmeasured", "not measured now: quality"),
        ),
        baseline=True,
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_damage_turns_its_checks_red(what: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    case = CASES[what]
    source = whole(case.bundle)
    bundle = Path(shutil.copytree(source, tmp_path / "bundle"))
    case.damage(bundle)
    with without_openvino():
        metrics = verified(case, bundle, source)
    for red in case.red:
        found = [check for check in metrics.failed if (check.kind, check.detail) == (red.kind, red.detail)]
        texts = [check.text for check in found if red.file in ("", check.file)]
        assert any(red.text in text for text in texts), f"{red}: got {texts or [check.name for check in metrics.failed]}"


def verified(case: Case, bundle: Path, source: Path) -> Metrics:
    name = case.bundle.partition(" ")[0]
    run = next(folder for folder in source.parents if (folder / f"{name}.toml").is_file())
    data = run / ("bytes.npy" if name == "bytes" else "table.csv")
    if case.measure is not None:
        return case.measure(bundle, data)
    if not case.data and not case.baseline:
        return verify_bundle(bundle)
    baseline = source / "metrics.json" if case.baseline else None
    given = str(data) if case.data else None
    return verify(bundle, model=None, data=given, baseline=baseline, announce=lambda _text: None)


def rows_seen() -> Iterator[CheckRow]:
    for case in CASES.values():
        for red in case.red:
            yield row_of(red.kind, red.detail)


def test_every_check_has_a_damage_that_turns_it_red() -> None:
    seen = set(rows_seen())
    assert [row.name for row in CHECKS if row not in seen] == []
