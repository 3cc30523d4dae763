"""`tiedae bench` measures every file beside its stock twin; ratios are of equal input and output dtypes."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs

from tiedae.base.records import decode, encode
from tiedae.bundle.bench_results import Bench
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Kind, Maker
from tiedae.export import read_onnx, to_onnx
from tiedae.runtimes.machine import cores, describe_machine
from tiedae.runtimes.ort import OrtSession
from tiedae.verify.bench import benchmark
from tiedae.verify.bench.benchmark import Plan, _choices, bench_bundle, tables
from tiedae.verify.bench.footprint import Footprint, Load, footprints
from tiedae.verify.bench.latency import Timed
from tiedae.verify.bench.subjects import find_subjects
from tiedae.verify.stock.converters import stock_onnx_int8, with_integer_io

QUICK = Plan(batches=(2,), call_batches=(2,), threads=(1,), seconds=0.0, rounds=(3, 3), processes=1)


def measure(run: Path, plan: Plan, stock: Path, keras: Path | None = None):
    bundle = Bundle.open(run / "bundle")
    golden = bundle.golden()
    x = bundle.manifest.data.scaling.apply(golden["x"])
    return bench_bundle(bundle, {"x": x, "code": golden["code.f32"]}, stock=stock, keras=keras, plan=plan)


def one_of_a_kind(
    loads: Sequence[Load], *, processes: int, announce: Callable[[str], None]
) -> Iterator[tuple[Load, Footprint]]:
    """`footprints` with a process for one load of each runtime, number of files and of signatures, whose figures all have."""
    kinds = [(load[0].runtime, len({run.path for run in load}), len(load)) for load in loads]
    chosen = [loads[kinds.index(kind)] for kind in dict.fromkeys(kinds)]
    found = dict(zip(dict.fromkeys(kinds), footprints(chosen, processes=processes, announce=announce), strict=True))
    yield from ((load, found[kind][1]) for load, kind in zip(loads, kinds, strict=True))


@pytest.fixture(scope="module")
def measured(finished_run: Path) -> Bench:
    """All there is to measure but Keras' memory, of which every process imports TensorFlow."""
    stock = finished_run / "stock"
    timed = measure(finished_run, replace(QUICK, processes=0), stock, finished_run / "model" / "prune.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "footprints", one_of_a_kind)
        loaded = measure(finished_run, replace(QUICK, signatures=()), stock)
    return structs.replace(timed, memory=loaded.memory, startup=loaded.startup)


@pytest.mark.ci
def test_every_file_is_timed_in_every_signature_it_has(measured):
    rows = [row for row in measured.latency if row.maker == "tiedae" and row.runtime != "ort-cuda"]
    found = {(row.format, row.precision, row.signature, row.way) for row in rows}
    forms, signatures = ("tflite", "onnx"), ("encode", "decode", "reconstruct")
    assert found == {(f, p, s, w) for f in forms for p in ("int8", "f32") for s in signatures for w in ("invoke", "call")}
    for row in measured.latency:
        assert row.median_us > 0 and row.p95_us >= row.median_us and row.rounds == 3 and row.provider
        assert row.throughput == pytest.approx(2 / row.median_us * 1e6)


@pytest.mark.ci
def test_ratios_are_of_equal_dtypes_and_every_other_row_says_why_not(measured):
    rows = {(row.subject, row.signature, row.way): row for row in measured.latency}
    compared = [row for row in rows.values() if row.ratio is not None]
    assert {(row.maker, row.format, row.precision) for row in compared if row.maker == "tiedae"} == {
        (maker, form, precision) for maker in ["tiedae"] for form in ("tflite", "onnx") for precision in ("int8", "f32")
    }
    for row in compared:
        peer = rows[row.against, row.signature, row.way]
        assert peer.dtypes == row.dtypes and peer.precision == row.precision
        assert row.ratio is not None and row.ratio.value == pytest.approx(row.median_us / peer.median_us)
        assert row.ratio.low <= row.ratio.value <= row.ratio.high
    assert all(row.note for row in rows.values() if row.maker == "tiedae" and row.ratio is None)
    plain = rows["ORT quantizer int8 onnx", "reconstruct", "invoke"]
    changed = rows["ORT quantizer int8 onnx, our dtypes", "reconstruct", "invoke"]
    assert (plain.dtypes, changed.dtypes) == ("float32 → float32, float32", "uint8 → uint8, uint8")
    assert changed.note


@pytest.mark.ci
def test_the_keras_original_is_timed_both_ways(measured):
    keras = {row.subject: row for row in measured.latency if row.maker == "keras" and row.signature == "reconstruct"}
    assert keras.keys() == {"Keras f32, eager call", "Keras f32, tf.function"}
    assert all(row.provider.startswith(("CPU", "GPU")) and row.against == "tiedae f32 tflite" for row in keras.values())


@pytest.mark.ci
def test_memory_is_told_per_choice_of_signatures(measured):
    found = {(row.subject, *row.signatures) for row in measured.memory}
    assert ("tiedae int8 tflite, reconstruct alone", "reconstruct") in found
    for maker in ("tiedae", "TFLiteConverter"):
        for precision in ("int8", "f32"):
            name = f"{maker} {precision} tflite"
            assert {
                (name, "reconstruct"),
                (name, "encode"),
                (name, "decode"),
                (name, "reconstruct", "encode", "decode"),
            } <= found
    assert {("tiedae int8 onnx", "encode", "decode"), ("tf2onnx f32 onnx", "reconstruct")} <= found
    assert all(row.resident_bytes and row.resident_bytes > 0 for row in measured.memory)
    assert all((row.against is None) == (row.ratio is None) for row in measured.memory)
    assert measured.startup and all(row.startup_ms > 0 for row in measured.startup)


@pytest.mark.ci
def test_keras_is_loaded_in_a_process_of_its_own_too(finished_run: Path, tmp_path: Path):
    archive, bundle = finished_run / "model" / "prune.safetensors", Bundle.open(finished_run / "bundle")
    subjects = find_subjects(bundle, finished_run / "stock", archive, tmp_path).subjects
    assert {each.name: _choices(each) for each in subjects if each.maker is Maker.KERAS} == {
        "Keras f32, eager call": [],
        "Keras f32, tf.function": [("reconstruct",), ("encode",), ("decode",)],
    }
    np.save(tmp_path / "x.npy", np.zeros((1, 24), np.float32))
    load = Timed("keras", "keras-function", str(archive), "reconstruct", str(tmp_path / "x.npy"))
    ((_, found),) = footprints([(load,)], processes=1)
    assert found.memory and found.memory > 0 and found.startup_ms > 0


@pytest.mark.ci
def test_sizes_are_those_of_the_files(measured, finished_run: Path):
    sizes = {row.file: row for row in measured.sizes}
    for name in ("mini.int8.tflite", "mini.f32.onnx", "mini.int8.kernels.bin"):
        data = (finished_run / "bundle" / name).read_bytes()
        assert sizes[name].bytes == len(data)
        assert sizes[name].gzip_bytes == len(gzip.compress(data, 9, mtime=0))
    ours, stock = sizes["mini.f32.tflite"], sizes["mini.stock.f32.tflite"]
    assert (ours.against, ours.ratio) == (stock.file, ours.bytes / stock.bytes)
    assert not any("our dtypes" in name for name in sizes)


@pytest.mark.ci
def test_the_rows_are_json_and_a_table_has_as_many_cells_as_columns(measured):
    assert decode(Bench, json.loads(encode(measured)), "bench") == measured
    titles = [title for title, _, _ in tables(measured)]
    assert titles[0] == "Files" and titles[-1] == "Machine" and "Not measured" in titles
    for _, header, rows in tables(measured):
        assert rows and all(len(row) == len(header) for row in rows)


def test_what_is_not_there_is_a_row_with_the_reason(finished_run: Path, tmp_path: Path):
    stock = shutil.copytree(finished_run / "stock", tmp_path / "stock")
    (stock / "mini.stock.f32.tflite").unlink()
    (stock / "mini.stock.f32.onnx").write_bytes(b"nonsense")
    plan = Plan(("reconstruct",), (1,), (), (1,), 0.0, (3, 3), processes=0)
    measured = measure(finished_run, plan, stock)
    skipped = {row.what: row.reason for row in measured.skipped}
    assert "mini.stock.f32.tflite is not in" in skipped["TFLiteConverter f32 tflite"]
    assert "mini.stock.f32.onnx" in skipped["tf2onnx f32 onnx"]
    assert "--model" in skipped["Keras original"]
    assert len(measured.skipped) == len(set(measured.skipped))
    assert {row.kind for row in measured.skipped} == {Kind.BENCH}
    ours = {row.subject: row for row in measured.latency if row.maker == "tiedae" and row.precision == "f32"}
    assert {row.note for row in ours.values()} == {"no file to compare with"}
    assert measured.memory == measured.startup == ()
    assert all(rows for _, _, rows in tables(measured))


def test_the_machine_says_who_it_is():
    machine = describe_machine()
    assert machine.cpu and machine.cores == cores() >= 1 and len(machine.load_average) == 3
    assert bool(machine.warning) == (machine.load_average[0] >= 0.25 * cores())


@pytest.mark.parametrize("names", [("x", "code", "y"), ("code",), ("x",)], ids=str)
def test_integer_inputs_and_outputs_change_nothing_else(make_program, tmp_path: Path, names):
    x = np.random.default_rng(0).uniform(size=(64, 20)).astype(np.float32)
    data = stock_onnx_int8(to_onnx(make_program(quantized=False), signature="reconstruct"), x)
    paths = {"plain": tmp_path / "plain.onnx", "bytes": tmp_path / "bytes.onnx"}
    paths["plain"].write_bytes(data)
    paths["bytes"].write_bytes(with_integer_io(data, names))
    onnx.checker.check_model(paths["bytes"])
    tensors = {tensor.name: tensor for each in read_onnx(paths["bytes"]).signatures for tensor in (*each.inputs, *each.outputs)}
    assert {name for name, tensor in tensors.items() if tensor.dtype == "uint8"} == set(names)
    q = np.clip(np.rint(x / np.float32(tensors["x"].scale or 1)) + (tensors["x"].zero_point or 0), 0, 255).astype(np.uint8)
    plain = OrtSession("ort-cpu", {"reconstruct": paths["plain"]}).run("reconstruct", x)
    found = OrtSession("ort-cpu", {"reconstruct": paths["bytes"]}).run("reconstruct", q if "x" in names else x)
    for name, values in found.items():
        tensor = tensors[name]
        if name in names:
            values = (values.astype(np.float32) - (tensor.zero_point or 0)) * np.float32(tensor.scale or 1)
        np.testing.assert_array_equal(values, plain[name])
