"""Rows, ratios and tables of a benchmark from stated measurements, without any process."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.bench_results import Bench, Latency, Memory, Ratio, Way
from tiedae.export.kinds import Maker, Precision
from tiedae.export.model_file import Signature, TensorInfo
from tiedae.runtimes.machine import Machine
from tiedae.verify.bench import benchmark
from tiedae.verify.bench.benchmark import QUICK, Plan, _baseline, _choices, _footprints, _memory_rows, _sizes, tables, verdict
from tiedae.verify.bench.footprint import Footprint, Load
from tiedae.verify.bench.latency import Timed
from tiedae.verify.bench.subjects import ALONE, OUR_DTYPES, BenchSubject

RUNTIMES = {"tflite": "litert-xnnpack", "onnx": "ort-cpu", "keras": "keras-function"}
SIDES = {"encode": ("x", "code"), "decode": ("code", "y"), "reconstruct": ("x", "y")}


def subject(
    name: str, maker: Maker, files: Mapping[str, str], format: str = "tflite", dtype: str = "uint8", **more: Any
) -> BenchSubject:
    """An int8 model whose inputs and outputs have one dtype."""

    def signature(name: str) -> Signature:
        one, other = ((TensorInfo(side, dtype, (None, 4)),) for side in SIDES[name])
        return Signature(name, one, other, {})

    paths = {each: Path(file) for each, file in files.items()}
    signatures = {each: signature(each) for each in files}
    return BenchSubject(name, maker, format, Precision.INT8, RUNTIMES[format], "", paths, signatures, **more)


ONE = dict.fromkeys(SIDES, "a.tflite")
HALVES = {"encode": "e.onnx", "decode": "d.onnx", "reconstruct": "a.onnx"}


def test_what_is_compared_has_equal_dtypes_or_the_first_of_its_kind_is_named() -> None:
    ours = subject("ours", Maker.TIEDAE, ONE)
    real = subject("real", Maker.STOCK, ONE, dtype="float32")
    wide = subject("wide", Maker.STOCK, ONE, dtype="int16")
    equal = subject("equal", Maker.STOCK, ONE, variant=OUR_DTYPES)
    onnx = subject("other format", Maker.STOCK, ONE, "onnx")
    assert _baseline(ours, [ours, onnx, real, equal, wide], "encode") == ("equal", "")
    assert _baseline(ours, [ours, onnx], "encode") == (None, "no file to compare with")
    for first, second, dtype in ((real, wide, "float32"), (wide, real, "int16")):
        text = f"not compared: the inputs and outputs of {first.name} are {dtype} → {dtype}"
        assert _baseline(ours, [ours, first, second], "encode") == (None, text)


@pytest.mark.parametrize(
    ("files", "format", "maker", "chosen"),
    [
        (ONE, "tflite", Maker.TIEDAE, [("reconstruct",), ("encode",), ("decode",), ("reconstruct", "encode", "decode")]),
        (HALVES, "onnx", Maker.TIEDAE, [("reconstruct",), ("encode",), ("decode",), ("encode", "decode")]),
        (
            {name: HALVES[name] for name in ("encode", "decode")},
            "onnx",
            Maker.TIEDAE,
            [("encode",), ("decode",), ("encode", "decode")],
        ),
        ({"encode": "e.onnx", "reconstruct": "a.onnx"}, "onnx", Maker.TIEDAE, [("reconstruct",), ("encode",)]),
        ({"decode": "d.tflite"}, "tflite", Maker.STOCK, [("decode",)]),
        (ONE, "keras", Maker.KERAS, [("reconstruct",), ("encode",), ("decode",)]),
    ],
    ids=["one file", "three files", "two halves", "no decoder", "one signature", "Keras"],
)
def test_memory_is_measured_of_each_signature_and_of_those_that_are_used_together(
    files: Mapping[str, str], format: str, maker: Maker, chosen: list[tuple[str, ...]]
) -> None:
    assert _choices(subject("a", maker, files, format)) == chosen
    assert _choices(subject("a", maker, files, format, variant=ALONE)) == chosen
    assert _choices(subject("a", maker, files, format, variant=OUR_DTYPES)) == []


def test_each_footprint_is_of_the_subject_that_was_loaded_in_five_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurements come in another order."""
    subjects = [subject("a", Maker.TIEDAE, ONE), subject("b", Maker.STOCK, ONE)]
    inputs = {(each.name, name): Path("x.npy") for each in subjects for name in SIDES}

    def found(loads: Sequence[Load], *, processes: int, announce: Callable[[str], None]) -> Any:
        yield from ((load, Footprint(None, 1.0, 2.0, processes)) for load in reversed(loads))

    monkeypatch.setattr(benchmark, "footprints", found)
    rows = list(_footprints(subjects, inputs, Plan(), print))
    assert [owner.name for owner, _, _ in rows] == ["b"] * 4 + ["a"] * 4
    assert all({run.subject for run in load} == {owner.name} for owner, load, _ in rows)
    assert {each.processes for _, _, each in rows} == {5}
    assert list(_footprints(subjects, inputs, QUICK, print)) == []


def taken(owner: BenchSubject, memory: int | None) -> tuple[BenchSubject, Load, Footprint]:
    run = Timed(owner.name, owner.runtime, str(owner.files["encode"]), "encode", "x.npy")
    return owner, (run,), Footprint(memory, 1.0, 2.0, 5)


def test_memory_is_a_ratio_of_ours_to_the_stock_file() -> None:
    ours, stock = subject("ours", Maker.TIEDAE, ONE), subject("stock", Maker.STOCK, ONE)
    other, keras = subject("other", Maker.TIEDAE, HALVES, "onnx"), subject("keras", Maker.KERAS, ONE, "keras")
    rows = _memory_rows([taken(ours, 300), taken(stock, 400), taken(other, 100), taken(keras, 900)])
    assert {row.subject: (row.against, row.ratio) for row in rows if row.against or row.ratio} == {"ours": ("stock", 0.75)}
    for unknown in ([taken(ours, None), taken(stock, 400)], [taken(ours, 300), taken(stock, None)]):
        assert {(row.against, row.ratio) for row in _memory_rows(unknown)} == {(None, None)}


def test_sizes_are_ratios_of_bytes_and_of_what_gzip_makes_of_them(tmp_path: Path) -> None:
    rng, contents = np.random.default_rng(0), {}
    for name, count in {"ours": 4000, "stock": 6000}.items():
        contents[name] = bytes(rng.integers(0, 3, count, np.uint8)) + bytes(10 * count)
        (tmp_path / f"{name}.tflite").write_bytes(contents[name])
    makers = {"ours": Maker.TIEDAE, "stock": Maker.STOCK}
    files = {name: dict.fromkeys(SIDES, str(tmp_path / f"{name}.tflite")) for name in makers}
    ours, stock = _sizes([subject(name, maker, files[name]) for name, maker in makers.items()])
    packed = {name: len(gzip.compress(data, 9)) for name, data in contents.items()}
    assert (ours.bytes, ours.gzip_bytes) == (44_000, packed["ours"])
    assert (ours.against, ours.ratio) == ("stock.tflite", 44 / 66)
    assert ours.gzip_ratio == packed["ours"] / packed["stock"]
    assert (stock.gzip_bytes, stock.against, stock.ratio, stock.gzip_ratio) == (packed["stock"], None, None, None)
    assert ours.signatures == tuple(SIDES)


def row(name: str, maker: Maker, **more: Any) -> Latency:
    of = (name, maker, "tflite", Precision.INT8, "litert-xnnpack", "CPU", f"{name}.tflite", "encode", Way.INVOKE, 1, 1)
    return replace(Latency(*of, "uint8 → uint8", 10.0, 12.5, 3, 1, 1e5), **more)


EMPTY = Bench((), (), (), (), Machine("a", 1, "", "", "", (), ""), {}, ())
RATIO = Ratio(0.5, 0.4, 0.6)


def table_of(title: str, **rows: Any) -> list[tuple[str, ...]]:
    (found,) = [body for name, _, body in tables(replace(EMPTY, **rows)) if name.startswith(title)]
    return found


def test_a_table_of_latency_has_the_smallest_batch_and_one_thread_by_kind_of_call() -> None:
    ours = row("ours", Maker.TIEDAE, ratio=RATIO, against="stock")
    rows = (
        ours,
        row("alone", Maker.TIEDAE, note="no file to compare with"),
        row("stock", Maker.STOCK, note="a stock file"),
        row("Keras", Maker.KERAS, ratio=RATIO, against="ours"),
        row("Keras without", Maker.KERAS),
        replace(ours, batch=32, median_us=99.0),
        replace(ours, threads=2, median_us=99.0),
        replace(ours, way=Way.CALL, median_us=20.0),
    )
    cells = ("uint8 → uint8", "10.0", "12.5")
    title = "Latency of encode, batch 1, 1 thread, µs: "
    assert table_of(f"{title}the runtime's own call", latency=rows) == [
        ("ours", *cells, "0.500 [0.400, 0.600]"),
        ("alone", *cells, "no file to compare with"),
        ("stock", *cells, ""),
        ("Keras", *cells, "0.500 [0.400, 0.600], to ours"),
        ("Keras without", *cells, ""),
    ]
    called = [("ours", cells[0], "20.0", "12.5", "0.500 [0.400, 0.600]")]
    assert table_of(f"{title}a call from Python, numpy to numpy", latency=rows) == called


def test_a_verdict_is_of_our_files_with_one_thread_at_the_smallest_batch() -> None:
    ours = row("ours", Maker.TIEDAE, ratio=RATIO, against="stock")
    alone = row("alone", Maker.TIEDAE, note="no file to compare with")
    others = (row("stock", Maker.STOCK), replace(ours, threads=0), replace(ours, batch=32), replace(ours, way=Way.CALL))
    assert verdict(replace(EMPTY, latency=(ours, alone, *others))) == [
        "ours.tflite in litert-xnnpack: 10.0 µs for encode at batch 1, 0.500 [0.400, 0.600] times stock",
        "alone.tflite in litert-xnnpack: 10.0 µs for encode at batch 1; no file to compare with",
    ]


def test_memory_is_shown_in_units_of_1024_times_1024_bytes() -> None:
    of = ("ours", Maker.TIEDAE, "tflite", Precision.INT8, "litert-xnnpack", "CPU", "a.tflite", ("encode", "decode"))
    rows = (Memory(*of, 3 * 1024 * 1024 // 2, 5, ratio=0.75), Memory(*of, None, 5))
    shown = table_of("Resident memory, MiB", memory=rows)
    assert shown == [("ours", "encode, decode", "1.50", "0.750"), ("ours", "encode, decode", "not reported", "")]


def test_a_quick_benchmark_is_a_part_of_the_whole_one_in_less_time() -> None:
    whole = Plan()
    assert QUICK.seconds < whole.seconds and QUICK.rounds[0] <= whole.rounds[0] and QUICK.rounds[1] < whole.rounds[1]
    for name in ("signatures", "batches", "call_batches", "threads"):
        assert set(getattr(QUICK, name)) < set(getattr(whole, name))
    assert QUICK.processes == 0 and whole.signatures == ("reconstruct", "decode", "encode")
