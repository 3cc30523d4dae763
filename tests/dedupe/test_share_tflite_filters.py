"""Convolutions whose filter is stored in both orders, [units, *window, channels] and [channels, *window, units]."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.dedupe.inspection import inspect_file
from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import pack_model, unpack_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.program.operations import Convolution

from ..program.convolutions import random_program
from ..runtimes.opening import open_tflite
from ..variants import every
from .tflite_files import File, Op, convolution, run

SEEDS = (1, 2, 3, 5, 18)


@pytest.mark.parametrize(("seed", "quantized"), every(2, [(seed, quantized) for seed in SEEDS for quantized in (True, False)]))
def test_a_pair_in_both_orders_is_stored_once_by_a_view(seed: int, quantized: bool) -> None:
    program, x = random_program(seed, quantized=quantized)
    io = "uint8" if quantized else "auto"
    twice, once = (to_tflite(program, kernels=kernels, io=io) for kernels in ("copies", "view"))
    shared = share_tflite(twice, minimum=1)
    merged = {each.name: each.how for each in shared.merged}
    convolved = {f"{each.kernel}.decode" for each in program.decoder if isinstance(each, Convolution)}
    large = {name for name in convolved if program.constants[name.removesuffix(".decode")].size >= 64}
    assert large <= set(merged) and len(shared.data) < len(once) + 600
    assert all("on a view, by DENSIFY" in merged[name] for name in large)
    before, after = (open_tflite("litert-xnnpack", data).run("reconstruct", x) for data in (twice, shared.data))
    assert open_tflite("litert-xnnpack", shared.data).provider.endswith("builtin kernels: QUANTIZE") or not quantized
    expected = execute(program, "reconstruct", x)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
        if quantized:
            np.testing.assert_array_equal(values, expected[name])


def _two_convolutions(change=lambda values: values) -> bytes:
    file, rng = File(), np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 3, 5)).astype(np.float32)
    graph = file.graph("main")
    x, y = graph.tensor("x", (1, 8, 8, 5)), graph.tensor("y", (1, 6, 6, 4))
    z = graph.tensor("z", (1, 4, 4, 5))
    bias = [graph.constant(f"bias {size}", rng.normal(size=size).astype(np.float32)) for size in (4, 5)]
    graph.add(Op.CONV_2D, [x, graph.constant("ahead", kernel), bias[0]], [y], convolution())
    back = graph.constant("back", np.ascontiguousarray(change(kernel.transpose(3, 1, 2, 0))))
    graph.add(Op.CONV_2D, [y, back, bias[1]], [z], convolution())
    graph.set_io([x], [z])
    return file.data()


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-reference"])
def test_other_peoples_convolutions_share_a_kernel(runtime: str) -> None:
    data = _two_convolutions()
    shared = share_tflite(data)
    ((name, how),) = [(each.name, each.how) for each in shared.merged]
    assert (name, how) == ("back", "CONV_2D on a view, by DENSIFY") and not shared.kept
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(shared.data, "main", x, runtime)["z"], run(data, "main", x, runtime)["z"])
    stored = {each.name: each.storage for each in read_tflite(shared.data).constants}
    assert stored["back"] == stored["ahead"]


def test_inspect_names_the_pair_and_what_dedupe_makes_of_it(tmp_path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(_two_convolutions())
    (copy,) = inspect_file(path)["copies"]
    assert (copy["name"], copy["original"], copy["order"], copy["merged"]) == ("back", "ahead", "transposed", True)
    assert copy["dedupe"] == "dedupe: CONV_2D on a view, by DENSIFY"


def test_a_filter_of_other_values_is_kept() -> None:
    def one_changed(values):
        values = values.copy()
        values[0, 0, 0, 0] += 1
        return values

    assert share_tflite(_two_convolutions(one_changed)).merged == ()


def test_operators_that_metadata_count_stay() -> None:
    model = unpack_model(_two_convolutions())
    model.metadata = [schema.MetadataT(b"model_control_dependencies", 0)]
    (kept,) = share_tflite(pack_model(model)).kept
    assert kept.reason == "metadata refers to operators by index, which new operators would shift"
