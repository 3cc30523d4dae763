"""LiteRT's CompiledModel: equal to the program for any net, its buffers right when the batch changes and the session ends."""

import gc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.runtimes.litert import CHUNK

from ..conftest import build_program
from .opening import open_tflite


@settings(max_examples=15, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=4).map(tuple),
    activation=st.sampled_from(["linear", "relu", "relu6", "tanh", "sigmoid"]),
    granularity=st.sampled_from(["tensor", "unit"]),
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
def test_equals_the_program(widths, activation, granularity, counts):
    program = build_program(widths, (activation,) * (len(widths) - 1), form="split", granularity=granularity)
    session = open_tflite("litert-compiled", to_tflite(program))
    for count in counts:
        x = np.random.default_rng(count).integers(0, 256, (count, widths[0]), np.uint8)
        expected, got = execute(program, "reconstruct", x), session.run("reconstruct", x)
        for name, values in got.items():
            np.testing.assert_array_equal(values, expected[name])


def test_signatures_keep_batches_of_their_own():
    program = build_program(form="split")
    session = open_tflite("litert-compiled", to_tflite(program), threads=2)
    x = np.random.default_rng(0).integers(0, 256, (CHUNK + 3, 20), np.uint8)
    expected = execute(program, "reconstruct", x)
    code = session.run("encode", x)["code"]
    np.testing.assert_array_equal(session.run("decode", code[:2])["y"], expected["y"][:2])
    np.testing.assert_array_equal(session.run("encode", x[:5])["code"], expected["code"][:5])
    np.testing.assert_array_equal(code, expected["code"])


def test_results_outlive_their_session(capfd):
    program = build_program(form="split")
    x = np.random.default_rng(0).integers(0, 256, (30, 20), np.uint8)
    session = open_tflite("litert-compiled", to_tflite(program))
    code = session.run("encode", x)["code"]
    del session
    gc.collect()
    np.testing.assert_array_equal(code, execute(program, "encode", x)["code"])
    assert capfd.readouterr() == ("", "")


def test_says_whether_all_is_accelerated():
    """A float file is taken whole; the edge of an int8 file is left to the builtin kernels, as the Interpreter counts."""
    assert open_tflite("litert-compiled", to_tflite(build_program(form="split", quantized=False))).provider.endswith(
        "all operations"
    )
    data = to_tflite(build_program(form="split"))
    assert open_tflite("litert-compiled", data).provider.endswith("the rest in builtin kernels")
    assert "builtin kernels: QUANTIZE" in open_tflite("litert-xnnpack", data).provider
